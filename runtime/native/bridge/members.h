// Files inside the bundle that the core may open by a name of ours.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

namespace solofile {

struct member {
    std::string file;   // the bundle
    uint64_t    offset; // of the first byte, from the start of the file
    uint64_t    size;   // bytes
};

// False when no member has that name.
bool find_member(const char * name, member & found);

struct close_file {
    void operator()(FILE * file) const { std::fclose(file); }
};
using file_ptr = std::unique_ptr<FILE, close_file>;

// The member's file, standing at the member's first byte; nullptr when it cannot be opened.
file_ptr open_member(const member & m);

// The member whose loading is under way on this thread, or nullptr.
const member * member_being_loaded();

} // namespace solofile
