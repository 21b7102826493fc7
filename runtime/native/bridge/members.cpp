// The core opens models and adapters by path. In the sources that do so these functions stand in place of llama.cpp's
// own (hooks.h): a registered name is read from its place inside the bundle, any other path as before.
#include "members.h"

#include "bridge.h"
#include "ggml.h"
#include "llama.h"
#include "text.h"

#include <map>
#include <mutex>

namespace solofile {

static std::mutex                    members_mutex;
static std::map<std::string, member> members;
static thread_local const member *   loading = nullptr;

const member * member_being_loaded() {
    return loading;
}

bool find_member(const char * name, member & found) {
    std::lock_guard<std::mutex> lock(members_mutex);
    const auto                  it = members.find(name);
    if (it != members.end()) {
        found = it->second;
    }
    return it != members.end();
}

file_ptr open_member(const member & m) {
    file_ptr file(ggml_fopen(m.file.c_str(), "rb")); // UTF-8 paths on Windows too
#if defined(_WIN32)
    const bool sought = file && _fseeki64(file.get(), (int64_t) m.offset, SEEK_SET) == 0;
#else
    const bool sought = file && fseeko(file.get(), (off_t) m.offset, SEEK_SET) == 0;
#endif
    return sought ? std::move(file) : nullptr;
}

struct loading_scope {
    explicit loading_scope(const member & m) { loading = &m; }
    ~loading_scope() { loading = nullptr; }
};

} // namespace solofile

extern "C" struct llama_model * solofile_model_load_from_file(const char * path, struct llama_model_params params) {
    solofile::member m;
    if (!solofile::find_member(path, m)) {
        return llama_model_load_from_file(path, params);
    }
    const auto file = solofile::open_member(m);
    if (!file) {
        return nullptr;
    }
    const solofile::loading_scope scope(m);
    return llama_model_load_from_file_ptr(file.get(), params);
}

extern "C" struct llama_adapter_lora * solofile_adapter_lora_init(struct llama_model * model, const char * path) {
    solofile::member m;
    if (!solofile::find_member(path, m)) {
        return llama_adapter_lora_init(model, path);
    }
    const auto file = solofile::open_member(m);
    return file ? llama_adapter_lora_init_from_file_ptr(model, file.get()) : nullptr;
}

extern "C" int sf_member_add(const char * name, const char * file, uint64_t offset, uint64_t length, char * error,
                             size_t size) {
    try {
        const solofile::member m{ file, offset, length };
        if (!solofile::open_member(m)) {
            solofile::put_text(std::string("cannot open ") + file, error, size);
            return 1;
        }
        std::lock_guard<std::mutex> lock(solofile::members_mutex);
        solofile::members[name] = m;
        return 0;
    } catch (...) {
        solofile::put_text("out of memory", error, size);
        return 1;
    }
}
