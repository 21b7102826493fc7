#include "bridge.h"
#include "ggml-backend.h"
#include "llama.h"
#include "log.h"
#include "text.h"

#include <string>

#if defined(_WIN32)
#    include "ggml/src/ggml-backend-impl.h"

#    ifndef NOMINMAX
#        define NOMINMAX
#    endif
#    include <windows.h>
#endif

namespace {

#if defined(_WIN32)

std::wstring wide(const char * text) {
    std::wstring result((size_t) MultiByteToWideChar(CP_UTF8, 0, text, -1, nullptr, 0), L'\0');
    MultiByteToWideChar(CP_UTF8, 0, text, -1, &result[0], (int) result.size());
    result.resize(result.empty() ? 0 : result.size() - 1);
    return result;
}

// ggml takes a path as one in the system's code page, which has no letters for most names of users. So this does what
// ggml_backend_load does, with a path in UTF-8.
ggml_backend_reg_t load(const char * path) {
    const HMODULE library = LoadLibraryExW(wide(path).c_str(), nullptr,
                                           LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_SYSTEM32);
    if (library == nullptr) {
        return nullptr;
    }
    const auto score = (ggml_backend_score_t) (void *) GetProcAddress(library, "ggml_backend_score");
    const auto init  = (ggml_backend_init_t) (void *) GetProcAddress(library, "ggml_backend_init");
    if (init == nullptr || (score != nullptr && score() == 0)) {
        return nullptr;
    }
    ggml_backend_reg_t registration = init();
    if (registration == nullptr || registration->api_version != GGML_BACKEND_API_VERSION) {
        return nullptr;
    }
    ggml_backend_register(registration);
    return registration;
}

#else

ggml_backend_reg_t load(const char * path) {
    return ggml_backend_load(path);
}

#endif

} // namespace

extern "C" int sf_backend_load(const char * path, char * error, size_t size) {
    try {
        llama_log_set(common_log_default_callback, nullptr); // ggml announces each backend on standard error otherwise
        if (load(path) != nullptr) {
            return 0;
        }
        solofile::put_text(std::string(path) + " did not load or does not fit this CPU", error, size);
    } catch (...) {
        solofile::put_text("out of memory", error, size);
    }
    return 1;
}
