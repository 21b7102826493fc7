// Attention as llama.cpp's graphs compute it, in one operation ("flash") or in three plain ones.
#pragma once

#include "probe_device.h"
#include "weights.h"

#include <vector>

namespace solofile {

// One graph: `layers` layers, each with a cache of its own, for `tokens` at once after a text of some length.
class attention_probe {
  public:
    static constexpr int64_t length = 512; // tokens in the cache

    attention_probe(probe_device & device, const attention_shape & shape, int64_t layers, int64_t tokens, bool flash);

    bool               supported() const { return supported_; }
    double             run() { return device_.compute(graph_); } // seconds
    std::vector<float> result() const; // of the last layer

  private:
    void          make_inputs(int64_t layers);
    ggml_tensor * layer(ggml_tensor * keys, ggml_tensor * values);
    void          make_graph();

    probe_device &  device_;
    attention_shape shape_;
    int64_t         tokens_;
    bool            flash_;
    bool            supported_ = true;

    ggml_context_ptr           inputs_, operations_;
    ggml_backend_buffer_ptr    input_buffer_;
    ggml_gallocr_ptr           results_;
    ggml_tensor *              queries_ = nullptr;
    ggml_tensor *              mask_    = nullptr;
    std::vector<ggml_tensor *> keys_, values_;
    ggml_tensor *              last_  = nullptr;
    ggml_cgraph *              graph_ = nullptr;
};

} // namespace solofile
