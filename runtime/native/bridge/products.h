// Products of a model's weights with inputs of ours, as a decode step (one token) or a prompt (several) makes them.
#pragma once

#include "member_view.h"
#include "probe_device.h"
#include "weights.h"

#include <chrono>

namespace solofile {

struct amount {
    int64_t rows;   // of each matrix, from the first on
    size_t  count;  // tensors of the family, each at another place in memory
    int64_t tokens; // at once
};

// Where llama.cpp would have the weights of this family. Throws std::runtime_error when the device has no use for them.
ggml_backend_buffer_type_t place_for(const probe_device & device, const family & kind, int64_t used_experts, bool repack);

// One graph: the same product over several tensors of a family.
class products {
  public:
    // Loads no more tensors once the deadline has passed, but always one.
    products(probe_device & device, member_view & file, const family & kind, int64_t used_experts,
             ggml_backend_buffer_type_t place, const amount & wanted, std::chrono::steady_clock::time_point deadline);

    double         run() { return device_.compute(graph_); } // seconds
    const amount & measured() const { return amount_; }
    size_t         bytes() const; // of weights that a run reads

    // How far the last product of a run is from the same in double precision, relative to its length (Euclidean norms).
    double error() const;

  private:
    struct column { // of a result
        int64_t matrix, input;
    };

    ggml_tensor * add_weights();
    void          load(ggml_tensor * tensor, uint64_t place);
    void          make_inputs();
    void          make_graph(const std::vector<ggml_tensor *> & loaded);
    column        column_at(int64_t i) const;

    probe_device & device_;
    member_view &  file_;
    family         kind_;
    int64_t        used_; // experts of a token
    amount         amount_;
    bool           in_place_; // the weights are where the file is mapped

    ggml_context_ptr        weights_, inputs_, operations_;
    ggml_backend_buffer_ptr weight_buffer_, input_buffer_;
    std::vector<float>      input_;
    std::vector<int32_t>    chosen_; // experts
    ggml_tensor *           input_tensor_  = nullptr;
    ggml_tensor *           chosen_tensor_ = nullptr;
    ggml_tensor *           result_        = nullptr; // room for one, which each product overwrites
    ggml_tensor *           last_          = nullptr;
    uint64_t                last_place_    = 0;
    ggml_cgraph *           graph_         = nullptr;
};

} // namespace solofile
