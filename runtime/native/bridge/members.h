// Files inside the bundle that the core may open by a name of ours.
#pragma once

#include <cstdint>
#include <string>

namespace solofile {

struct member {
    std::string file;   // the bundle
    uint64_t    offset; // of the first byte, from the start of the file
    uint64_t    size;   // bytes
};

// The member whose loading is under way on this thread, or nullptr.
const member * member_being_loaded();

} // namespace solofile
