#include "thread_pools.h"

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "src/llama-context.h"

namespace solofile {

// The CPU backend is a library loaded at run time: its functions are asked for by name.
template <typename function> static function * of_cpu(const char * name) {
    ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    return (function *) ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), name);
}

struct thread_pools::pool {
    explicit pool(ggml_threadpool_params params) :
        params(params),
        it(of_cpu<decltype(ggml_threadpool_new)>("ggml_threadpool_new")(&params)) {}
    ~pool() { of_cpu<decltype(ggml_threadpool_free)>("ggml_threadpool_free")(it); }

    const ggml_threadpool_params params;
    ggml_threadpool * const      it;
};

thread_pools::thread_pools(const common_params & params) : single_(params.cpuparams), batch_(params.cpuparams_batch) {}

thread_pools::~thread_pools() = default;

std::shared_ptr<thread_pools::pool> thread_pools::find_or_make(const common_cpu_params & cpu, int threads) {
    auto params      = ggml_threadpool_params_from_cpu_params(cpu);
    params.n_threads = threads;
    params.paused    = true; // until it is given work
    for (const auto & known : pools_) {
        if (known && ggml_threadpool_params_match(&known->params, &params)) {
            return known;
        }
    }
    return std::make_shared<pool>(params);
}

// A backend keeps a pointer to the pool of its last graph, and looks at that pool when it is given another one.
static void point_backend(llama_context * context, ggml_threadpool * pool) {
    const auto           set   = of_cpu<decltype(ggml_backend_cpu_set_threadpool)>("ggml_backend_cpu_set_threadpool");
    ggml_backend_sched_t sched = context->get_sched();
    for (int i = 0; i < ggml_backend_sched_get_n_backends(sched); i++) {
        ggml_backend_t backend = ggml_backend_sched_get_backend(sched, i);
        if (ggml_backend_dev_type(ggml_backend_get_device(backend)) == GGML_BACKEND_DEVICE_TYPE_CPU) {
            set(backend, pool);
        }
    }
}

void thread_pools::use(llama_context * context, int threads, int threads_batch) {
    const auto before = pools_; // ended only when the backend has let go of them
    pools_[0]         = find_or_make(single_, threads);
    pools_[1]         = find_or_make(batch_, threads_batch);
    llama_set_n_threads(context, threads, threads_batch);
    llama_attach_threadpool(context, pools_[0]->it, pools_[1]->it);
    point_backend(context, pools_[0]->it);
}

} // namespace solofile
