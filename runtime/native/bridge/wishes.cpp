#include "wishes.h"

#include "bridge.h"
#include "members.h"

#include <mutex>
#include <utility>

namespace solofile {

static std::mutex               mutex;
static std::string              calibration_asked;
static std::vector<std::string> first_asked;
static bool                     prompts_asked = false;

wishes take_wishes() {
    std::lock_guard<std::mutex> lock(mutex);
    auto                        first = std::exchange(first_asked, {});
    const bool                  prompts = std::exchange(prompts_asked, false);
    return { read_calibration_wish(std::exchange(calibration_asked, {})), std::move(first), prompts };
}

} // namespace solofile

extern "C" void sf_calibration_ask(const char * spec) {
    try {
        std::lock_guard<std::mutex> lock(solofile::mutex);
        solofile::calibration_asked = spec;
    } catch (...) {
        // out of memory: there will be no calibration
    }
}

extern "C" void sf_prompts_ask(void) {
    std::lock_guard<std::mutex> lock(solofile::mutex);
    solofile::prompts_asked = true;
}

extern "C" int sf_read_first(const char * name) {
    try {
        solofile::member m;
        if (!solofile::find_member(name, m)) {
            return 1;
        }
        std::lock_guard<std::mutex> lock(solofile::mutex);
        solofile::first_asked.push_back(name);
        return 0;
    } catch (...) {
        return 1;
    }
}
