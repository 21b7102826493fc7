// The cache of the RPC server holds weights under the FNV-1a hash of their bytes. It takes a file for whole that a full
// disk, or the end of the process, cut short, and would compute with half a weight; so a file's bytes are hashed again
// before they count. A file that is not what its name says is removed; one that is used becomes the newest, and the
// oldest are the first to make room (rpc_cache.py).
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

static std::string fnv_of(std::ifstream & file) {
    std::vector<char> block(1 << 20);
    uint64_t          hash = 0xcbf29ce484222325ULL;
    while (file) {
        file.read(block.data(), (std::streamsize) block.size());
        for (std::streamsize i = 0; i < file.gcount(); i++) {
            hash = (hash ^ (uint8_t) block[(size_t) i]) * 0x100000001b3ULL;
        }
    }
    char text[17];
    std::snprintf(text, sizeof(text), "%016" PRIx64, hash);
    return text;
}

namespace std::filesystem {

bool solofile_cached(const path & name, error_code & error) {
    ifstream file(name, ios::binary);
    if (!file) {
        return false;
    }
    const bool whole = fnv_of(file) == name.filename().string();
    file.close();
    if (whole) {
        last_write_time(name, file_time_type::clock::now(), error);
    } else {
        remove(name, error);
    }
    return whole;
}

} // namespace std::filesystem
