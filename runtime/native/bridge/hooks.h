// What llama.cpp's sources call instead of the original, in the few of them that are compiled with these names put in
// place (see replace_sources in CMakeLists.txt). The sources themselves are not changed.
//
// Included before everything else in such a source; the system headers come first, so that only the calls are renamed
// and never a declaration of the system.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

#if defined(_WIN32)
#    ifndef NOMINMAX
#        define NOMINMAX
#    endif
#    include <windows.h>
#    include <shellapi.h>
#else
#    include <fcntl.h>
#    include <sys/mman.h>
#    include <sys/stat.h>
#endif

// The core must not be steered by the environment: LLAMA_ARG_* (one of them connects while it is parsed), LLAMA_API_KEY,
// HF_TOKEN, LLAMA_CACHE and the like all read as unset.
namespace solofile {
inline char * hook_getenv(const char *) { return nullptr; }

// exit() inside the argument parser ends the parse, not the process.
struct parser_exit : std::runtime_error {
    explicit parser_exit(int code) : std::runtime_error("the argument parser ended"), code(code) {}
    int code;
};
[[noreturn]] void hook_exit(int code);

// What the parser would print becomes the text of the error.
void hook_report(const char * format, ...);
} // namespace solofile

namespace std {
inline char * solofile_getenv(const char * name) { return solofile::hook_getenv(name); }
namespace filesystem {
// The argument parser asks with this, and only with this, for llama.cpp's config files (system and user): there are none.
inline bool solofile_no_config(const path &, error_code &) { return false; }
} // namespace filesystem
} // namespace std

inline char * solofile_getenv(const char * name) { return solofile::hook_getenv(name); }

#if defined(SOLOFILE_HOOK_ENVIRONMENT)
#    define getenv solofile_getenv
#endif

#if defined(SOLOFILE_HOOK_PARSER)
#    define exit solofile::hook_exit
#    define fprintf(stream, ...) solofile::hook_report(__VA_ARGS__)
#    define printf(...) solofile::hook_report(__VA_ARGS__)
#    define exists solofile_no_config
#    if defined(_WIN32)
// The parser prefers the command line of the process to the argv that it is given: it gets none.
#        define CommandLineToArgvW(text, count) (*(count) = 0, (LPWSTR *) nullptr)
#    endif
#endif

#if defined(SOLOFILE_HOOK_BACKENDS)
// With no backend loaded this would search the folder of the executable and the current directory, and load what
// GGML_BACKEND_PATH names. Ours are loaded by name before; here there is nothing left to do.
#    define ggml_backend_load_all solofile_backend_load_all
#endif

#if defined(SOLOFILE_HOOK_MODELS)
#    define llama_model_load_from_file solofile_model_load_from_file
#    define llama_adapter_lora_init solofile_adapter_lora_init
#endif

#if defined(SOLOFILE_HOOK_REMOTE)
#    define common_remote_get_content solofile_remote_get_content
#endif

#if defined(SOLOFILE_HOOK_DECODE)
#    define llama_process solofile_process
#    define llama_synchronize solofile_synchronize
#    define mtmd_batch_encode solofile_batch_encode
#endif

#if defined(SOLOFILE_HOOK_MAPPING) && defined(_WIN32)
extern "C" {
void *  solofile_map_view(HANDLE mapping, DWORD access, DWORD offset_high, DWORD offset_low, SIZE_T length);
BOOL    solofile_unmap_view(const void * address);
FARPROC solofile_get_proc_address(HMODULE library, const char * name);
}
#    define MapViewOfFile solofile_map_view
#    define UnmapViewOfFile solofile_unmap_view
#    define GetProcAddress solofile_get_proc_address // asked for PrefetchVirtualMemory, and for nothing else
#elif defined(SOLOFILE_HOOK_MAPPING)
extern "C" {
void * solofile_mmap(void * address, size_t length, int protection, int flags, int fd, off_t offset);
int    solofile_posix_madvise(void * address, size_t length, int advice);
int    solofile_posix_fadvise(int fd, off_t offset, off_t length, int advice);
}
#    define mmap solofile_mmap
#    define posix_madvise solofile_posix_madvise
#    define posix_fadvise solofile_posix_fadvise
#endif
