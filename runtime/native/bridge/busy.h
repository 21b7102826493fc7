// Since when the core has been computing: a GPU's driver that hangs never comes back.
#pragma once

#include <cstdint>

namespace solofile {

// The loop's thread is inside llama.cpp's computing while one of these lives; only one may at a time.
struct busy_scope {
    busy_scope();
    ~busy_scope();
};

// Milliseconds since the living one was made; -1 when there is none.
int64_t busy_milliseconds();

} // namespace solofile
