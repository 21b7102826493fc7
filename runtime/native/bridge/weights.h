// What a GGUF's header says of the weights that a model multiplies by, read without loading the model.
#pragma once

#include "ggml-cpp.h"
#include "members.h"

#include <string>
#include <vector>

namespace solofile {

// Tensors of one type, shape and use: what is measured on some of them holds for all.
struct family {
    enum ggml_type type       = GGML_TYPE_F32;
    int64_t        columns    = 0; // of a matrix: the length of its input
    int64_t        rows       = 0; // the length of its output
    int64_t        depth      = 1; // matrices in a tensor
    bool           experts    = false; // each token takes a few of the matrices, else all
    bool           own_inputs = false; // … and each of these has an input of its own
    bool           output     = false; // makes the logits, which a prompt needs for its last token alone

    std::vector<uint64_t> places; // of the tensors' first bytes in the file; those in the middle of the model first

    size_t row_bytes() const { return ggml_row_size(type, columns); }
    size_t tensor_bytes() const { return row_bytes() * (size_t) (rows * depth); }
};

struct attention_shape {
    int64_t layers = 0; // 0: the model has no attention that we know
    int64_t heads = 0, heads_kv = 0, key_length = 0, value_length = 0;
};

struct outline {
    std::vector<family> families; // the largest first
    int64_t             used_experts = 1;
    attention_shape     attention;

    // Bytes of a family's weights that one token is multiplied by.
    double bytes(const family & kind) const;
};

// Throws std::runtime_error with a sentence when the member is no GGUF or has no weights.
outline read_outline(const std::string & name, const member & place);

} // namespace solofile
