// Small helpers for the C interface: text out through a caller's buffer.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>

namespace solofile {

inline size_t put_text(const std::string & text, char * out, size_t size) {
    if (out != nullptr && size > 0) {
        const size_t n = std::min(text.size(), size - 1);
        std::memcpy(out, text.data(), n);
        out[n] = '\0';
    }
    return text.size();
}

} // namespace solofile
