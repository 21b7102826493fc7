// A member's bytes as memory: what is touched of them is read, nothing else.
#pragma once

#include "ggml-cpp.h"
#include "members.h"

#include <string>
#include <vector>

namespace solofile {

class member_view {
  public:
    // Throws std::runtime_error with a sentence when the file is shorter than the member.
    member_view(const std::string & name, const member & place);
    ~member_view();
    member_view(const member_view &)             = delete;
    member_view & operator=(const member_view &) = delete;

    // `size` bytes from `at` in the file on, which lie within the member; valid as long as the view.
    const char * bytes(uint64_t at, size_t size);

    // The whole of it as a buffer that the CPU computes on in place; nullptr where that is not possible.
    ggml_backend_buffer_t buffer() const { return buffer_.get(); }

  private:
    [[noreturn]] void refuse() const;

    std::string                    name_;
    file_ptr                       file_;
    ggml_backend_buffer_ptr        buffer_;
    char *                         base_   = nullptr; // of the mapping
    uint64_t                       begin_  = 0;       // what lies there, as a place in the file
    size_t                         length_ = 0;
    std::vector<std::vector<char>> copies_; // where files are not mapped
};

} // namespace solofile
