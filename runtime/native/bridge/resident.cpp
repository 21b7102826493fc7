// How much of a member is in the page cache.
#include "bridge.h"
#include "members.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <vector>

#if !defined(_WIN32)
#    include <fcntl.h>
#    include <sys/mman.h>
#    include <sys/stat.h>
#    include <sys/uio.h>
#    include <unistd.h>
#endif
#if defined(__linux__)
#    include <sys/syscall.h>
#    ifndef RWF_NOWAIT
#        define RWF_NOWAIT 8 // Linux 4.14; the build's headers are older
#    endif
#endif

namespace solofile {

#if !defined(_WIN32)

// Asks page by page, a window at a time: the answer takes a byte a page.
static bool count_pages(int fd, const member & m, uint64_t & resident) {
    constexpr uint64_t window = 1u << 30; // bytes
    const uint64_t     page   = (uint64_t) sysconf(_SC_PAGESIZE);
    const uint64_t     begin  = m.offset / page * page, end = m.offset + m.size;
    uint64_t           pages  = 0;
    for (uint64_t at = begin; at < end; at += window) {
        const size_t length = (size_t) std::min(window, end - at);
        void *       mapped = mmap(nullptr, length, PROT_READ, MAP_SHARED, fd, (off_t) at);
        if (mapped == MAP_FAILED) {
            return false;
        }
#    if defined(__linux__)
        std::vector<unsigned char> flags((length + page - 1) / page);
#    else
        std::vector<char> flags((length + page - 1) / page);
#    endif
        const bool told = mincore(mapped, length, flags.data()) == 0;
        munmap(mapped, length);
        if (!told) {
            return false;
        }
        pages += (uint64_t) std::count_if(flags.begin(), flags.end(), [](auto flag) { return (flag & 1) != 0; });
    }
    resident = std::min(pages * page, m.size);
    return true;
}

#    if defined(__linux__)
// Linux shows the pages of a file only to those who own it or may write to it; to others all look resident.
static bool shows_pages(int fd) {
    struct stat facts;
    return fstat(fd, &facts) == 0 &&
           (geteuid() == 0 || facts.st_uid == geteuid() ||
            faccessat(AT_FDCWD, ("/proc/self/fd/" + std::to_string(fd)).c_str(), W_OK, AT_EACCESS) == 0);
}

// Tries single bytes, evenly spread, that must not wait for the medium. The kernel begins to read what is not there: a
// page each, so there are few of them, and not the same ones each time.
static bool sample(int fd, const member & m, uint64_t & resident) {
    constexpr uint64_t samples = 64;
    const uint64_t     step    = std::max<uint64_t>(1, m.size / samples);
    const uint64_t     shift   = (uint64_t) std::chrono::steady_clock::now().time_since_epoch().count() / 1000 % step;
    uint64_t           there   = 0;
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM); // and not the pages that follow
    for (uint64_t i = 0; i < samples; i++) {
        char           byte;
        iovec          into{ &byte, 1 };
        const uint64_t at  = m.offset + std::min(step * i + shift, m.size - 1);
        const long     got = syscall(SYS_preadv2, fd, &into, 1UL, (long) at, 0L, (long) RWF_NOWAIT);
        if (got < 0 && errno != EAGAIN) {
            return false; // an older kernel, or a file system that cannot tell
        }
        there += got == 1 ? 1 : 0;
    }
    resident = m.size * there / samples;
    return true;
}
#    endif

static bool count_resident(const member & m, uint64_t & resident) {
    const file_ptr file = open_member(m);
    if (!file) {
        return false;
    }
    const int fd = fileno(file.get());
#    if defined(__linux__)
    if (!shows_pages(fd)) {
        return sample(fd, m, resident);
    }
#    endif
    return count_pages(fd, m, resident);
}

#else

static bool count_resident(const member &, uint64_t &) {
    return false; // Windows does not say
}

#endif

} // namespace solofile

extern "C" int sf_member_resident(const char * name, uint64_t * resident) {
    try {
        solofile::member m;
        *resident = 0;
        return solofile::find_member(name, m) && solofile::count_resident(m, *resident) ? 0 : 1;
    } catch (...) {
        return 1;
    }
}
