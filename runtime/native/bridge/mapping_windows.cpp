// Windows' part of what mapping.cpp is for: views of a bundle reach no further than the member that is being loaded.
#if defined(_WIN32)

#include "members.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#ifndef NOMINMAX
#    define NOMINMAX
#endif
#include <windows.h>

namespace {

struct range {
    uintptr_t begin, end;
};

std::mutex                 views_mutex;
std::map<uintptr_t, range> views; // where the file would begin -> the view of the member

constexpr int attempts = 8; // another thread may take the address that was just found free

// Maps a part of the file to where it would lie if all of the file were mapped at the address that this returns: the
// caller computes addresses as (start of the mapping + offset in the file). What lies outside of the part is never touched.
void * map_part(HANDLE mapping, DWORD access, uint64_t begin, size_t length) {
    for (int i = 0; i < attempts; i++) {
        char * free_range = (char *) VirtualAlloc(nullptr, begin + length, MEM_RESERVE, PAGE_NOACCESS);
        if (free_range == nullptr) {
            return nullptr;
        }
        VirtualFree(free_range, 0, MEM_RELEASE);
        if (MapViewOfFileEx(mapping, access, (DWORD) (begin >> 32), (DWORD) begin, length, free_range + begin) != nullptr) {
            return free_range;
        }
    }
    return nullptr;
}

using prefetch_function = BOOL(WINAPI *)(HANDLE, ULONG_PTR, PWIN32_MEMORY_RANGE_ENTRY, ULONG);

prefetch_function system_prefetch() {
    return (prefetch_function) (void *) GetProcAddress(GetModuleHandleW(L"kernel32.dll"), "PrefetchVirtualMemory");
}

// The part of a range that is mapped: all of it when no view of ours begins there.
bool limit(WIN32_MEMORY_RANGE_ENTRY & entry) {
    const uintptr_t             first = (uintptr_t) entry.VirtualAddress, last = first + entry.NumberOfBytes;
    std::lock_guard<std::mutex> lock(views_mutex);
    for (const auto & [start, view] : views) {
        if (first >= start && first < view.end) {
            const uintptr_t begin = std::max(first, view.begin), end = std::min(last, view.end);
            entry.VirtualAddress = (void *) begin;
            entry.NumberOfBytes  = begin < end ? end - begin : 0;
            return entry.NumberOfBytes > 0;
        }
    }
    return true;
}

BOOL WINAPI prefetch(HANDLE process, ULONG_PTR count, PWIN32_MEMORY_RANGE_ENTRY entries, ULONG flags) {
    std::vector<WIN32_MEMORY_RANGE_ENTRY> limited;
    for (ULONG_PTR i = 0; i < count; i++) {
        WIN32_MEMORY_RANGE_ENTRY entry = entries[i];
        if (limit(entry)) {
            limited.push_back(entry);
        }
    }
    return limited.empty() ? TRUE : system_prefetch()(process, limited.size(), limited.data(), flags);
}

} // namespace

extern "C" void * solofile_map_view(HANDLE mapping, DWORD access, DWORD offset_high, DWORD offset_low, SIZE_T length) {
    const solofile::member * member = solofile::member_being_loaded();
    if (member == nullptr || offset_high != 0 || offset_low != 0 || length != 0) {
        return MapViewOfFile(mapping, access, offset_high, offset_low, length);
    }
    SYSTEM_INFO system;
    GetSystemInfo(&system);
    const uint64_t begin  = member->offset / system.dwAllocationGranularity * system.dwAllocationGranularity;
    const size_t   size   = (size_t) (member->offset + member->size - begin);
    char *         mapped = (char *) map_part(mapping, access, begin, size);
    if (mapped == nullptr) {
        return nullptr;
    }
    std::lock_guard<std::mutex> lock(views_mutex);
    views[(uintptr_t) mapped] = { (uintptr_t) mapped + begin, (uintptr_t) mapped + begin + size };
    return mapped;
}

extern "C" BOOL solofile_unmap_view(const void * address) {
    std::lock_guard<std::mutex> lock(views_mutex);
    const auto                  it = views.find((uintptr_t) address);
    if (it == views.end()) {
        return UnmapViewOfFile(address);
    }
    const void * view = (const void *) it->second.begin;
    views.erase(it);
    return UnmapViewOfFile(view);
}

extern "C" FARPROC solofile_get_proc_address(HMODULE library, const char * name) {
    if (std::strcmp(name, "PrefetchVirtualMemory") == 0) {
        return system_prefetch() != nullptr ? (FARPROC) (void *) prefetch : nullptr;
    }
    return GetProcAddress(library, name);
}

#endif
