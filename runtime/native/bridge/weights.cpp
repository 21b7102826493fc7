#include "weights.h"

#include "last_error.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

namespace solofile {

namespace {

constexpr int64_t least_columns = 32; // a shorter row is the kernel of a convolution or a table, no weight

// A number of the metadata, or the numbers of each layer; empty when the key is missing or is something else.
std::vector<int64_t> numbers(const gguf_context * header, const std::string & key) {
    const int64_t id = gguf_find_key(header, key.c_str());
    if (id < 0) {
        return {};
    }
    switch (gguf_get_kv_type(header, id)) {
        case GGUF_TYPE_UINT32: return { (int64_t) gguf_get_val_u32(header, id) };
        case GGUF_TYPE_INT32:  return { (int64_t) gguf_get_val_i32(header, id) };
        case GGUF_TYPE_UINT64: return { (int64_t) gguf_get_val_u64(header, id) };
        case GGUF_TYPE_INT64:  return { gguf_get_val_i64(header, id) };
        case GGUF_TYPE_BOOL:   return { gguf_get_val_bool(header, id) ? 1 : 0 };
        case GGUF_TYPE_ARRAY:  break;
        default:               return {};
    }
    const auto type = gguf_get_arr_type(header, id);
    if (type != GGUF_TYPE_UINT32 && type != GGUF_TYPE_INT32) {
        return {};
    }
    const auto * first = (const int32_t *) gguf_get_arr_data(header, id);
    return std::vector<int64_t>(first, first + gguf_get_arr_n(header, id));
}

int64_t largest(const std::vector<int64_t> & values, int64_t otherwise) {
    return values.empty() ? otherwise : *std::max_element(values.begin(), values.end());
}

std::string architecture(const gguf_context * header) {
    const int64_t id = gguf_find_key(header, "general.architecture");
    return id >= 0 && gguf_get_kv_type(header, id) == GGUF_TYPE_STRING ? gguf_get_val_str(header, id) : "";
}

attention_shape read_attention(const gguf_context * header, const std::string & prefix) {
    const auto      heads    = numbers(header, prefix + "attention.head_count");
    const auto      heads_kv = numbers(header, prefix + "attention.head_count_kv");
    const int64_t   width    = largest(numbers(header, prefix + "embedding_length"), 0);
    const auto &    by_layer = heads_kv.size() > 1 ? heads_kv : heads;
    attention_shape shape;
    shape.heads        = largest(heads, 0);
    shape.heads_kv     = largest(heads_kv, shape.heads);
    const int64_t each = shape.heads > 0 ? width / shape.heads : 0;
    shape.key_length   = largest(numbers(header, prefix + "attention.key_length"), each);
    shape.value_length = largest(numbers(header, prefix + "attention.value_length"), each);
    shape.layers       = by_layer.size() > 1
                             ? (int64_t) by_layer.size() - std::count(by_layer.begin(), by_layer.end(), (int64_t) 0)
                             : largest(numbers(header, prefix + "block_count"), 0);
    const auto sane = [](int64_t value) { return value > 0 && value <= 1024; };
    if (!sane(shape.heads) || !sane(shape.heads_kv) || shape.heads % shape.heads_kv != 0 || !sane(shape.key_length) ||
        !sane(shape.value_length) || !sane(shape.layers)) {
        return {};
    }
    return shape;
}

bool has(const std::string & name, const char * part) {
    return name.find(part) != std::string::npos;
}

bool ends_with(const std::string & name, const std::string & end) {
    return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
}

// Rows of these are looked up, one for a token; or they wait for a use that a plain answer does not make.
bool is_looked_up(const std::string & name) {
    for (const char * part : { "token_embd", "position_embd", "token_types", "attn_rel_b", ".nextn." }) {
        if (has(name, part)) {
            return true;
        }
    }
    return false;
}

struct reader {
    const gguf_context * header;
    bool                 weights_are_named   = false; // as llama.cpp names them, not only biases and norms
    bool                 embedding_is_output = false;

    std::string name(int64_t i) const { return gguf_get_tensor_name(header, i); }
    uint64_t    at(int64_t i) const { return gguf_get_data_offset(header) + gguf_get_tensor_offset(header, i); }

    // False: nothing is multiplied by this tensor.
    bool describe(int64_t i, family & kind) const {
        const std::string text  = name(i);
        const int64_t *   ne    = gguf_get_tensor_ne(header, i);
        const bool        tied  = embedding_is_output && text == "token_embd.weight";
        const bool        named = ends_with(text, ".weight") || (!weights_are_named && !ends_with(text, ".bias"));
        kind.type               = gguf_get_tensor_type(header, i);
        kind.columns            = ne[0];
        kind.rows               = ne[1];
        kind.depth              = ne[2];
        kind.experts            = ne[2] > 1 && has(text, "exps");
        kind.own_inputs         = kind.experts && has(text, "down");
        kind.output             = tied || text == "output.weight";
        const auto * traits     = ggml_get_type_traits(kind.type);
        const bool   computable = kind.type == GGML_TYPE_F32 || traits->to_float != nullptr;
        return named && computable && (tied || !is_looked_up(text)) && ne[0] >= least_columns && ne[1] > 1 &&
               ne[2] > 0 && ne[3] == 1;
    }
};

bool alike(const family & a, const family & b) {
    return a.type == b.type && a.columns == b.columns && a.rows == b.rows && a.depth == b.depth &&
           a.experts == b.experts && a.own_inputs == b.own_inputs && a.output == b.output;
}

void add(std::vector<family> & families, family & kind, uint64_t at) {
    auto it = std::find_if(families.begin(), families.end(), [&](const family & f) { return alike(f, kind); });
    if (it == families.end()) {
        it = families.insert(families.end(), kind);
    }
    it->places.push_back(at);
}

// The first and the last blocks are often stored with more bits than the others, and are on their own in a family.
void put_middle_first(std::vector<uint64_t> & places) {
    std::vector<uint64_t> ordered;
    const size_t          middle = places.size() / 2;
    for (size_t i = 0; ordered.size() < places.size(); i++) {
        if (middle + i < places.size()) {
            ordered.push_back(places[middle + i]);
        }
        if (i > 0 && i <= middle) {
            ordered.push_back(places[middle - i]);
        }
    }
    places = ordered;
}

gguf_context_ptr read_header(const std::string & name, const member & place) {
    forget_errors();
    const auto       file = open_member(place);
    gguf_context_ptr header(
        file ? gguf_init_from_file_ptr(file.get(), { /*.no_alloc =*/ true, /*.ctx =*/ nullptr }) : nullptr);
    if (!header) {
        const std::string reason = first_error();
        throw std::runtime_error("The header of the model " + name + " cannot be read" +
                                 (reason.empty() ? "." : ": " + reason + "."));
    }
    return header;
}

} // namespace

double outline::bytes(const family & kind) const {
    const int64_t used  = kind.experts ? std::min(used_experts, kind.depth) : kind.depth;
    return (double) kind.places.size() * (double) kind.row_bytes() * (double) (kind.rows * used);
}

outline read_outline(const std::string & name, const member & place) {
    const auto        header = read_header(name, place);
    const std::string prefix = architecture(header.get()) + ".";
    outline           model;
    model.attention    = read_attention(header.get(), prefix);
    model.used_experts = std::max<int64_t>(1, largest(numbers(header.get(), prefix + "expert_used_count"), 2));

    reader        tensors{ header.get() };
    const bool    answers = largest(numbers(header.get(), prefix + "attention.causal"), 1) != 0;
    const int64_t count   = gguf_get_n_tensors(header.get());
    tensors.embedding_is_output = answers && gguf_find_tensor(header.get(), "output.weight") < 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t * ne = gguf_get_tensor_ne(header.get(), i);
        tensors.weights_are_named |= ne[1] > 1 && ends_with(tensors.name(i), ".weight");
    }
    for (int64_t i = 0; i < count; i++) {
        family kind;
        if (!tensors.describe(i, kind)) {
            continue;
        }
        const uint64_t at = tensors.at(i), end = place.offset + place.size;
        if (at > end || kind.tensor_bytes() > end - at) {
            throw std::runtime_error("The model " + name + " ends before the weights of " + tensors.name(i) +
                                     ": copy or download it again.");
        }
        add(model.families, kind, at);
    }
    if (model.families.empty()) {
        throw std::runtime_error("The model " + name + " has no weights to measure with.");
    }
    for (auto & kind : model.families) {
        put_middle_first(kind.places);
    }
    std::stable_sort(model.families.begin(), model.families.end(),
                     [&](const family & a, const family & b) { return model.bytes(a) > model.bytes(b); });
    return model;
}

} // namespace solofile
