#include "bridge.h"
#include "ggml-backend.h"
#include "llama.h"
#include "log.h"
#include "text.h"

#include <string>

extern "C" int sf_backend_load(const char * path, char * error, size_t size) {
    try {
        llama_log_set(common_log_default_callback, nullptr); // ggml announces each backend on standard error otherwise
        if (ggml_backend_load(path) != nullptr) {
            return 0;
        }
        solofile::put_text(std::string(path) + " did not load or does not fit this CPU", error, size);
    } catch (...) {
        solofile::put_text("out of memory", error, size);
    }
    return 1;
}
