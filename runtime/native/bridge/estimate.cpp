// How much memory a model would take, laid out by llama.cpp without loading a weight.
#include "bridge.h"
#include "core.h"
#include "ggml-backend.h"
#include "json.h"
#include "last_error.h"
#include "mtmd.h"
#include "parser.h"
#include "speculative.h"
#include "src/llama-ext.h"
#include "text.h"

#include <map>
#include <stdexcept>

namespace solofile {

namespace {

// Bytes by where they are; those that belong to no device are the host's.
struct usage {
    llama_memory_breakdown_data                               host;
    uint64_t                                                  repacked = 0; // of the host's model
    std::map<ggml_backend_dev_t, llama_memory_breakdown_data> devices;

    void add(llama_context * context, bool with_model) {
        for (auto [type, bytes] : llama_get_memory_breakdown(context)) {
            ggml_backend_dev_t device  = ggml_backend_buft_get_device(type);
            const bool         on_host = ggml_backend_buft_is_host(type);
            bytes.model                = with_model ? bytes.model : 0;
            if (!on_host && device != nullptr && ggml_backend_dev_type(device) != GGML_BACKEND_DEVICE_TYPE_CPU) {
                sum(devices[device], bytes);
                continue;
            }
            sum(host, bytes);
            repacked += on_host ? 0 : bytes.model; // a layout of the CPU's own, which nothing else can read
        }
    }

    void add_model(ggml_backend_dev_t device, size_t size) {
        const bool on_cpu = device == nullptr || ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU;
        (on_cpu ? host : devices[device]).model += size;
        repacked += on_cpu ? size : 0; // read into memory of its own
    }

    static void sum(llama_memory_breakdown_data & total, const llama_memory_breakdown_data & more) {
        total.model += more.model;
        total.context += more.context;
        total.compute += more.compute;
    }
};

bool contains(const std::vector<common_speculative_type> & types, common_speculative_type wanted) {
    return std::find(types.begin(), types.end(), wanted) != types.end();
}

// What the server core sets before it loads (server_context_impl::load_model): it sizes the buffers of the context.
void limit_outputs(common_params & params) {
    const bool embeds = params.embedding || (params.pooling_type != LLAMA_POOLING_TYPE_UNSPECIFIED &&
                                             params.pooling_type != LLAMA_POOLING_TYPE_NONE);
    const auto limits = common_speculative_get_output_limits(params.n_batch, params.n_parallel,
                                                             common_speculative_n_max(&params.speculative));
    params.n_outputs_max         = embeds ? params.n_batch : std::max<int32_t>(1, limits.total);
    params.n_outputs_max_per_seq = embeds ? 1 : std::max<int32_t>(1, limits.per_seq);
}

// Nothing is loaded, so nothing is mapped, warmed up, adapted or computed.
void load_nothing(common_params & params) {
    params.no_alloc            = true;
    params.load_mode           = LLAMA_LOAD_MODE_NONE;
    params.warmup              = false;
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1;
    params.cpuparams.priority  = params.cpuparams_batch.priority = GGML_SCHED_PRIO_NORMAL;
    params.lora_adapters.clear();
    params.control_vectors.clear();
}

bool has_gpu() {
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        const auto type = ggml_backend_dev_type(ggml_backend_dev_get(i));
        if (type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU) {
            return true;
        }
    }
    return false;
}

void add_draft(usage & total, const common_params & params, common_init_result & main) {
    const bool has_draft = params.speculative.has_dft();
    if (!has_draft && !contains(params.speculative.types, COMMON_SPECULATIVE_TYPE_DRAFT_MTP)) {
        return;
    }
    common_params draft  = common_base_params_to_speculative(params);
    const auto    loaded = common_speculative_init_from_params(draft, main.model(), main.context());
    if (loaded->context() != nullptr) {
        total.add(loaded->context(), has_draft); // else it computes with the main model's weights
    }
}

// The projector of pictures and sound, which is loaded beside the model: what is fitted to a GPU leaves room for it.
void add_projector(usage & total, common_params & params) {
    if (params.mmproj.path.empty()) {
        return;
    }
    mtmd_context_params projector = mtmd_context_params_default();
    projector.use_gpu             = params.mmproj_use_gpu;
    projector.device              = params.mmproj_device;
    projector.flash_attn_type     = params.flash_attn_type;
    projector.image_min_tokens    = params.image_min_tokens;
    projector.image_max_tokens    = params.image_max_tokens;
    projector.batch_max_tokens    = params.mtmd_batch_max_tokens;
    for (const auto & [device, size] : mtmd_get_memory_usage(params.mmproj.path.c_str(), projector)) {
        total.add_model(device, size);
        for (size_t i = 0; i < std::min(ggml_backend_dev_count(), params.fit_params_target.size()); i++) {
            params.fit_params_target[i] += ggml_backend_dev_get(i) == device ? size : 0;
        }
    }
}

common_json bytes_json(const llama_memory_breakdown_data & bytes) {
    common_json json = common_json::object();
    json["model"]    = bytes.model;
    json["context"]  = bytes.context;
    json["compute"]  = bytes.compute;
    return json;
}

common_json devices_json(const usage & total) {
    common_json list = common_json::array();
    for (const auto & [device, bytes] : total.devices) {
        size_t free = 0, all = 0;
        ggml_backend_dev_memory(device, &free, &all);
        common_json json = bytes_json(bytes);
        json["name"]     = std::string(ggml_backend_dev_name(device));
        json["free"]     = free;
        json["total"]    = all;
        list.push_back(json);
    }
    return list;
}

std::string estimate(const std::vector<std::string> & arguments) {
    initialize_once();
    forget_errors();
    const quiet_log quiet;
    common_params   params;
    parse_arguments(arguments, params);
    if (params.model.path.empty()) {
        throw std::invalid_argument("no model is named");
    }
    settle(params);
    limit_outputs(params);
    load_nothing(params);
    // Without a GPU llama.cpp's fit only finds out how long a context is that nobody gave, and only for several slots.
    const bool several = params.n_parallel > 1 && !params.kv_unified;
    params.fit_params  = params.fit_params && (has_gpu() || (params.n_ctx == 0 && several));
    usage total;
    add_projector(total, params);
    common_init_result loaded(params);
    if (loaded.context() == nullptr) {
        const std::string reason = first_error();
        throw std::runtime_error(reason.empty() ? "llama.cpp could not read the model" : reason);
    }
    total.add(loaded.context(), true);
    add_draft(total, params, loaded);

    common_json json      = common_json::object();
    json["context"]       = llama_n_ctx(loaded.context());
    json["context_train"] = llama_model_n_ctx_train(loaded.model());
    json["layers"]        = llama_model_n_layer(loaded.model());
    json["host"]          = bytes_json(total.host);
    json["repacked"]      = total.repacked;
    json["devices"]       = devices_json(total);
    return json.dump_safe();
}

} // namespace

} // namespace solofile

extern "C" size_t sf_estimate(int argc, const char * const * argv, char * out, size_t size) {
    std::string text;
    try {
        try {
            text = solofile::estimate(std::vector<std::string>(argv, argv + argc));
        } catch (const std::exception & e) {
            common_json json = common_json::object();
            json["error"]    = std::string(e.what());
            text             = json.dump_safe();
        }
        return solofile::put_text(text, out, size);
    } catch (...) {
        return 0;
    }
}
