// llama.cpp maps and prefaults the whole file that a model lies in. A bundle holds other things too (the runtime, other
// models), so its calls come here (hooks.h) and reach no further than the member that is being loaded.
//
// The caller computes addresses as (start of the mapping + offset in the file), so the address range of the whole file
// is reserved and only the member's part of it is backed by the file.
#if !defined(_WIN32)

#include "members.h"

#include <algorithm>
#include <cstdint>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__linux__) && !defined(MADV_POPULATE_READ)
#    define MADV_POPULATE_READ 22 // Linux 5.14; the build's headers are older
#endif

namespace {

struct range {
    uintptr_t begin, end;
};

// The kernel reads ahead of and around a page fault, past the ends of a mapping: into the neighbours in the file. Within
// this distance of the ends faults are told to be random, which reads just the page, and the pages are asked for by range.
constexpr size_t edge  = 32u << 20; // bytes; read-ahead windows of 8 MiB exist, and sequential reading doubles them
constexpr size_t chunk = 128u << 10; // bytes; the kernel cuts a larger request to its window

std::mutex                 mappings_mutex;
std::map<uintptr_t, range> mappings; // start of a reserved range -> the part that is the member

void read_edge(int fd, const range & part, uintptr_t first, off_t file_offset) {
#if defined(__linux__)
    const uintptr_t last = std::min(first + edge, part.end);
    madvise((void *) first, last - first, MADV_RANDOM);
    for (uintptr_t at = first; at < last; at += chunk) {
        posix_fadvise(fd, file_offset + (off_t) (at - part.begin), (off_t) std::min<size_t>(chunk, last - at),
                      POSIX_FADV_WILLNEED);
    }
#else
    (void) fd, (void) part, (void) first, (void) file_offset;
#endif
}

// Reads the part into the page cache, maps its pages, and touches nothing outside.
void populate(int fd, const range & part, off_t file_offset) {
    read_edge(fd, part, part.begin, file_offset);
    if (part.end - part.begin > edge) {
        read_edge(fd, part, part.end - edge, file_offset);
    }
#if defined(__linux__)
    madvise((void *) part.begin, part.end - part.begin, MADV_WILLNEED);
    madvise((void *) part.begin, part.end - part.begin, MADV_POPULATE_READ); // an older kernel faults the pages in later
    madvise((void *) part.begin, part.end - part.begin, MADV_NORMAL);
#endif
}

bool is_whole_file(int fd, size_t length, off_t offset) {
    struct stat facts;
    return offset == 0 && fstat(fd, &facts) == 0 && (size_t) facts.st_size == length;
}

} // namespace

extern "C" void * solofile_mmap(void * address, size_t length, int protection, int flags, int fd, off_t offset) {
    const solofile::member * member = solofile::member_being_loaded();
    if (member == nullptr || address != nullptr || !is_whole_file(fd, length, offset)) {
        return mmap(address, length, protection, flags, fd, offset);
    }
    const size_t page  = (size_t) sysconf(_SC_PAGESIZE);
    const size_t begin = member->offset / page * page;
    const size_t end   = std::min<size_t>((member->offset + member->size + page - 1) / page * page, length);

    char * reserved = (char *) mmap(nullptr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) {
        return MAP_FAILED;
    }
    bool prefault = false;
#if defined(MAP_POPULATE)
    prefault = (flags & MAP_POPULATE) != 0;
    flags &= ~MAP_POPULATE;
#endif
    if (mmap(reserved + begin, end - begin, protection, flags | MAP_FIXED, fd, (off_t) begin) == MAP_FAILED) {
        munmap(reserved, length);
        return MAP_FAILED;
    }
    const range part{ (uintptr_t) reserved + begin, (uintptr_t) reserved + end };
    if (prefault) {
        populate(fd, part, (off_t) begin);
    }
    std::lock_guard<std::mutex> lock(mappings_mutex);
    mappings[(uintptr_t) reserved] = part;
    return reserved;
}

extern "C" int solofile_posix_madvise(void * address, size_t length, int advice) {
    uintptr_t begin = (uintptr_t) address, end = begin + length;
    {
        std::lock_guard<std::mutex> lock(mappings_mutex);
        const auto                  it = mappings.find(begin);
        if (it != mappings.end()) {
            begin = std::max(begin, it->second.begin);
            end   = std::min(end, it->second.end);
        }
    }
    return begin < end ? posix_madvise((void *) begin, end - begin, advice) : 0;
}

extern "C" int solofile_posix_fadvise(int fd, off_t offset, off_t length, int advice) {
#if defined(__APPLE__)
    (void) fd, (void) offset, (void) length, (void) advice;
    return 0;
#else
    const solofile::member * member = solofile::member_being_loaded();
    if (member != nullptr && offset == 0 && length == 0) {
        offset = (off_t) member->offset;
        length = (off_t) member->size;
    }
    return posix_fadvise(fd, offset, length, advice);
#endif
}

#endif
