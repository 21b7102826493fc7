// How long llama-server's core waits for a result before it asks whether anybody still wants it. The core has a second
// for that, and begins anew with each result of any client: while others are answered, the slot of a client that went
// would be free at the end of its answer and not before. Here it is a tenth of a second, whatever else comes.
//
// Included before everything else in server-queue.cpp, for which hooks.h holds as well.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace solofile {

// What is left of the tenth of a second since this thread last asked; nothing when it is to ask now.
inline std::chrono::milliseconds until_next_look() {
    using clock = std::chrono::steady_clock;
    constexpr auto                 tick = std::chrono::milliseconds(100);
    thread_local clock::time_point last = clock::now();
    const auto                     now  = clock::now();
    if (now - last >= tick) {
        last = now;
        return std::chrono::milliseconds(0);
    }
    return std::chrono::ceil<std::chrono::milliseconds>(tick - (now - last));
}

} // namespace solofile

namespace std {
namespace chrono {
// The loop of the core, for which this is a constant, has its second: it is woken when there is something to do.
constexpr milliseconds solofile_wait(int count) {
    return __builtin_is_constant_evaluated() ? milliseconds(1000 * count) : solofile::until_next_look();
}
} // namespace chrono
} // namespace std

#define seconds(count) solofile_wait(count)
