// One device of a loaded backend, ready to compute.
#pragma once

#include "ggml-cpp.h"

#include <stdexcept>
#include <string>

struct ggml_threadpool;

namespace solofile {

// Room for the descriptions of `tensors` tensors, graphs included; never for their data.
ggml_context_ptr descriptions(size_t tensors);

class probe_device {
  public:
    // Throws std::runtime_error with a sentence when there is no device of that name. The threads are the CPU's.
    probe_device(const std::string & name, int threads);
    ~probe_device();
    probe_device(const probe_device &)             = delete;
    probe_device & operator=(const probe_device &) = delete;

    const std::string & name() const { return name_; }
    bool                is_cpu() const;

    // Where inputs and results are.
    ggml_backend_buffer_type_t plain() const { return ggml_backend_dev_buffer_type(device_); }

    // Where llama.cpp would put the weights that `product` takes as its first source, whose data need not exist: with
    // `repack` in a layout for this CPU, if it has one for them. nullptr when the device cannot compute this.
    ggml_backend_buffer_type_t for_weights(ggml_tensor * product, bool repack) const;

    bool supports(const ggml_tensor * operation) const { return ggml_backend_dev_supports_op(device_, operation); }

    // Gives the tensors of a context their memory, in a buffer of that type.
    ggml_backend_buffer_ptr allocate(ggml_context * tensors, ggml_backend_buffer_type_t type) const;

    // Seconds that it took. Throws std::runtime_error with a sentence.
    double compute(ggml_cgraph * graph);

  private:
    template <typename F> F * function(const char * name) const {
        return (F *) ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device_), name);
    }
    void set_threads(int threads);

    std::string        name_;
    ggml_backend_dev_t device_ = nullptr;
    ggml_threadpool *  pool_   = nullptr;
    ggml_backend_ptr   backend_;
};

} // namespace solofile
