// Reading a member from its first byte to its last before it is loaded: on a slow medium the loader's page faults, here
// and there in the file, take many times as long.
#pragma once

#include "members.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace solofile {

class reading {
  public:
    explicit reading(const std::vector<std::string> & names);

    // Reads the members into the page cache, in order. Ends early when `stop` says so, which is asked every MB; a
    // member that cannot be read is left to the loader, which will say so.
    void run(const std::function<bool()> & stop);

    bool     under_way() const { return !over_; }
    uint64_t done() const { return done_; } // bytes
    uint64_t total() const { return total_; }

  private:
    void read(const member & m, const std::function<bool()> & stop);

    std::vector<member>   members_;
    uint64_t              total_ = 0;
    std::atomic<uint64_t> done_{ 0 };
    std::atomic<bool>     over_;
};

} // namespace solofile
