#include "attention_probe.h"

#include "noise.h"

#include <cmath>
#include <cstring>

namespace solofile {

attention_probe::attention_probe(probe_device & device, const attention_shape & shape, int64_t layers, int64_t tokens,
                                 bool flash) :
    device_(device), shape_(shape), tokens_(tokens), flash_(flash) {
    make_inputs(layers);
    make_graph();
}

// Numbers of ours, or zeros, in a type of ours.
static std::vector<uint8_t> numbers(const ggml_tensor * like, bool zero) {
    noise                random;
    std::vector<float>   values((size_t) ggml_nelements(like));
    std::vector<uint8_t> bytes(ggml_nbytes(like));
    for (auto & value : values) {
        value = zero ? 0.0f : random.number();
    }
    if (like->type == GGML_TYPE_F16) {
        ggml_fp32_to_fp16_row(values.data(), (ggml_fp16_t *) bytes.data(), (int64_t) values.size());
    } else {
        std::memcpy(bytes.data(), values.data(), bytes.size());
    }
    return bytes;
}

static void fill(const std::vector<ggml_tensor *> & tensors, bool zero) {
    const auto bytes = numbers(tensors.front(), zero);
    for (ggml_tensor * tensor : tensors) {
        ggml_backend_tensor_set(tensor, bytes.data(), 0, bytes.size());
    }
}

// The caches have the layout of llama.cpp's: the values are stored transposed for the plain operations.
void attention_probe::make_inputs(int64_t layers) {
    inputs_              = descriptions(2 * (size_t) layers + 8);
    ggml_context * c     = inputs_.get();
    const auto     cache = GGML_TYPE_F16;
    queries_ = ggml_new_tensor_3d(c, GGML_TYPE_F32, shape_.key_length, shape_.heads, tokens_);
    mask_    = ggml_new_tensor_2d(c, flash_ ? GGML_TYPE_F16 : GGML_TYPE_F32, length, tokens_);
    for (int64_t i = 0; i < layers; i++) {
        keys_.push_back(ggml_new_tensor_3d(c, cache, shape_.key_length, shape_.heads_kv, length));
        values_.push_back(flash_ ? ggml_new_tensor_3d(c, cache, shape_.value_length, shape_.heads_kv, length)
                                 : ggml_new_tensor_3d(c, cache, length, shape_.value_length, shape_.heads_kv));
    }
    input_buffer_ = device_.allocate(c, device_.plain());
    fill({ queries_ }, false);
    fill({ mask_ }, true);
    fill(keys_, false);
    fill(values_, false);
}

ggml_tensor * attention_probe::layer(ggml_tensor * keys, ggml_tensor * values) {
    ggml_context * c     = operations_.get();
    const float    scale = 1.0f / std::sqrt((float) shape_.key_length);
    ggml_tensor *  q     = ggml_permute(c, queries_, 0, 2, 1, 3);
    ggml_tensor *  k     = ggml_permute(c, keys, 0, 2, 1, 3);
    if (flash_) {
        ggml_tensor * both = ggml_flash_attn_ext(c, q, k, ggml_permute(c, values, 0, 2, 1, 3), mask_, scale, 0, 0);
        ggml_prec_set_acc(both, GGML_PREC_F32);
        return both;
    }
    ggml_tensor * scores = ggml_mul_mat(c, k, q);
    ggml_prec_set_acc(scores, GGML_PREC_F32);
    scores            = ggml_soft_max_ext(c, scores, mask_, scale, 0);
    ggml_tensor * out = ggml_permute(c, ggml_mul_mat(c, values, scores), 0, 2, 1, 3);
    return ggml_cont_2d(c, out, out->ne[0] * out->ne[1], out->ne[2]);
}

void attention_probe::make_graph() {
    const size_t room = 8 * keys_.size() + 8;
    operations_       = descriptions(room);
    graph_            = ggml_new_graph_custom(operations_.get(), room, false);
    for (size_t i = 0; i < keys_.size(); i++) {
        last_ = layer(keys_[i], values_[i]);
        ggml_build_forward_expand(graph_, last_);
    }
    for (int i = 0; i < ggml_graph_n_nodes(graph_); i++) {
        supported_ = supported_ && device_.supports(ggml_graph_node(graph_, i));
    }
    results_.reset(ggml_gallocr_new(device_.plain()));
    if (supported_ && !ggml_gallocr_alloc_graph(results_.get(), graph_)) {
        throw std::runtime_error("The device " + device_.name() + " has not enough free memory for the attention.");
    }
}

std::vector<float> attention_probe::result() const {
    std::vector<float> values((size_t) ggml_nelements(last_));
    ggml_backend_tensor_get(last_, values.data(), 0, ggml_nbytes(last_));
    return values;
}

} // namespace solofile
