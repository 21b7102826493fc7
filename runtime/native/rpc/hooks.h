// What ggml-rpc.cpp calls instead of the original; the source itself is not changed (compare ../bridge/hooks.h).
#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace std {
// Nothing is steered by the environment.
inline char * solofile_getenv(const char *) { return nullptr; }
namespace filesystem {
// Asked of a weight in the cache, and of nothing else: is it there, and whole?
bool solofile_cached(const path & file, error_code & error);
} // namespace filesystem
} // namespace std

// The server would announce itself and its clients on standard output, which belongs to answers.
inline int solofile_silent() { return 0; }

#define getenv solofile_getenv
#define exists solofile_cached
#define printf(...) solofile_silent()
