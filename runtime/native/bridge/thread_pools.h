// The CPU threads of a context: how many compute single tokens, and how many compute batches.
#pragma once

#include "common.h"

#include <array>
#include <memory>

namespace solofile {

// llama.cpp attaches pools of a fixed size to a context; these take their place, with other numbers of threads and
// otherwise the same (priority, polling, CPU masks).
class thread_pools {
  public:
    explicit thread_pools(const common_params & params);
    ~thread_pools(); // after the contexts that were given pools
    thread_pools(const thread_pools &)             = delete;
    thread_pools & operator=(const thread_pools &) = delete;

    // Makes the context compute with pools of exactly these sizes, and ends those that it had from here before. A pool
    // that came from elsewhere only sleeps from now on. Nothing may be computing in the context.
    void use(llama_context * context, int threads, int threads_batch);

  private:
    struct pool;
    std::shared_ptr<pool> find_or_make(const common_cpu_params & cpu, int threads);

    const common_cpu_params              single_, batch_;
    std::array<std::shared_ptr<pool>, 2> pools_; // both the same where one does for both
};

} // namespace solofile
