#include "core.h"

#include "llama.h"
#include "log.h"

#include <clocale>
#include <mutex>

namespace solofile {

void initialize_once() {
    static std::once_flag once;
    std::call_once(once, [] {
        std::setlocale(LC_NUMERIC, "C"); // as server.cpp does: numbers in prompts and JSON
        llama_log_set(common_log_default_callback, nullptr);
        llama_backend_init();
    });
}

void settle(common_params & params) {
    if (params.embedding && params.n_batch > params.n_ubatch) {
        params.n_batch = params.n_ubatch; // embeddings need all tokens of an input in one physical batch
    }
    if (params.n_parallel < 0) {
        params.n_parallel = 4;
        params.kv_unified = true;
    }
    const bool pool_auto_sized = params.kv_unified_per_slot > 0 && params.n_ctx == 0 &&
                                 (uint32_t) params.fit_params_min_ctx != UINT32_MAX;
    if (pool_auto_sized) {
        params.n_ctx = params.n_parallel * params.kv_unified_per_slot;
    }
    const auto name = params.model.get_name();
    if (params.model_alias.empty() && !name.empty()) {
        params.model_alias.insert(name);
    }
}

} // namespace solofile
