#include "probe_device.h"

#include "ggml-cpu.h"

#include <chrono>

namespace solofile {

ggml_context_ptr descriptions(size_t tensors) {
    const size_t     size = tensors * ggml_tensor_overhead() + ggml_graph_overhead_custom(tensors, false);
    ggml_context_ptr context(ggml_init({ /*.mem_size =*/ size, /*.mem_buffer =*/ nullptr, /*.no_alloc =*/ true }));
    if (!context) {
        throw std::bad_alloc();
    }
    return context;
}

static std::string device_names() {
    std::string names;
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        names += (i > 0 ? ", " : "") + std::string(ggml_backend_dev_name(ggml_backend_dev_get(i)));
    }
    return names.empty() ? "none" : names;
}

probe_device::probe_device(const std::string & name, int threads) :
    name_(name), device_(ggml_backend_dev_by_name(name.c_str())) {
    if (device_ == nullptr) {
        throw std::runtime_error("There is no device " + name + ": the loaded backends have " + device_names() + ".");
    }
    backend_.reset(ggml_backend_dev_init(device_, nullptr));
    if (!backend_) {
        throw std::runtime_error("The device " + name + " cannot be started.");
    }
    set_threads(threads);
}

probe_device::~probe_device() {
    backend_.reset();
    if (pool_ != nullptr) {
        function<decltype(ggml_threadpool_free)>("ggml_threadpool_free")(pool_);
    }
}

// As llama.cpp's server does it: a pool of just so many threads, which wait for work awake for a while.
void probe_device::set_threads(int threads) {
    const auto set_count = function<decltype(ggml_backend_cpu_set_n_threads)>("ggml_backend_set_n_threads");
    const auto make_pool = function<decltype(ggml_threadpool_new)>("ggml_threadpool_new");
    const auto set_pool  = function<decltype(ggml_backend_cpu_set_threadpool)>("ggml_backend_cpu_set_threadpool");
    if (set_count != nullptr) {
        set_count(backend_.get(), threads);
    }
    if (make_pool != nullptr && set_pool != nullptr) {
        ggml_threadpool_params wanted = ggml_threadpool_params_default(threads);
        pool_                         = make_pool(&wanted);
        set_pool(backend_.get(), pool_);
    }
}

bool probe_device::is_cpu() const {
    return ggml_backend_dev_type(device_) == GGML_BACKEND_DEVICE_TYPE_CPU;
}

ggml_backend_buffer_type_t probe_device::for_weights(ggml_tensor * product, bool repack) const {
    // A device looks at the buffer of the weights too; an empty one says enough.
    const auto fits = [&](ggml_backend_buffer_type_t type) {
        const ggml_backend_buffer_ptr empty(ggml_backend_buft_alloc_buffer(type, 0));
        product->src[0]->buffer = empty.get();
        const bool supported    = supports(product);
        product->src[0]->buffer = nullptr;
        return supported;
    };
    const auto extra = function<ggml_backend_buffer_type_t *(ggml_backend_dev_t)>("ggml_backend_dev_get_extra_bufts");
    if (repack && is_cpu() && extra != nullptr) {
        for (auto * type = extra(device_); *type != nullptr; type++) {
            if (fits(*type)) {
                return *type;
            }
        }
    }
    return fits(plain()) ? plain() : nullptr;
}

ggml_backend_buffer_ptr probe_device::allocate(ggml_context * tensors, ggml_backend_buffer_type_t type) const {
    ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors_from_buft(tensors, type));
    if (!buffer) {
        throw std::runtime_error("The device " + name_ + " has not enough free memory for a measurement.");
    }
    return buffer;
}

double probe_device::compute(ggml_cgraph * graph) {
    const auto begin  = std::chrono::steady_clock::now();
    const auto status = ggml_backend_graph_compute(backend_.get(), graph);
    const auto end    = std::chrono::steady_clock::now();
    if (status == GGML_STATUS_ALLOC_FAILED) {
        throw std::runtime_error("The device " + name_ + " has not enough free memory to compute.");
    }
    if (status != GGML_STATUS_SUCCESS) {
        throw std::runtime_error("The device " + name_ + " failed to compute: " + ggml_status_to_string(status) + ".");
    }
    return std::chrono::duration<double>(end - begin).count();
}

} // namespace solofile
