#include "products.h"

#include "noise.h"

#include <algorithm>
#include <cmath>

namespace solofile {

namespace {

// A product as llama.cpp's models write it. `inputs` and `chosen` are as long as the tokens ask for.
ggml_tensor * multiply(ggml_context * context, const family & kind, ggml_tensor * weights, ggml_tensor * inputs,
                       ggml_tensor * chosen) {
    return kind.experts ? ggml_mul_mat_id(context, weights, inputs, chosen) : ggml_mul_mat(context, weights, inputs);
}

ggml_tensor * inputs_of(ggml_context * context, const family & kind, int64_t used, int64_t tokens) {
    return kind.experts
               ? ggml_new_tensor_3d(context, GGML_TYPE_F32, kind.columns, kind.own_inputs ? used : 1, tokens)
               : ggml_new_tensor_3d(context, GGML_TYPE_F32, kind.columns, tokens, kind.depth);
}

ggml_tensor * chosen_of(ggml_context * context, const family & kind, int64_t used, int64_t tokens) {
    return kind.experts ? ggml_new_tensor_2d(context, GGML_TYPE_I32, used, tokens) : nullptr;
}

// As ggml's CPU kernels want the data of a tensor to be.
bool is_aligned(const family & kind) {
    constexpr uint64_t alignment = 32;
    return std::all_of(kind.places.begin(), kind.places.end(), [](uint64_t at) { return at % alignment == 0; });
}

} // namespace

ggml_backend_buffer_type_t place_for(const probe_device & device, const family & kind, int64_t used_experts,
                                     bool repack) {
    constexpr int64_t tokens  = 512; // with which llama.cpp asks
    const auto        context = descriptions(8);
    const int64_t     used    = std::min(used_experts, kind.depth);
    ggml_tensor *     weights = ggml_new_tensor_3d(context.get(), kind.type, kind.columns, kind.rows, kind.depth);
    ggml_tensor *     product = multiply(context.get(), kind, weights, inputs_of(context.get(), kind, used, tokens),
                                         chosen_of(context.get(), kind, used, tokens));
    const auto        place   = device.for_weights(product, repack);
    if (place == nullptr) {
        throw std::runtime_error("The device " + device.name() + " cannot multiply by weights of the type " +
                                 ggml_type_name(kind.type) + ".");
    }
    return place;
}

products::products(probe_device & device, member_view & file, const family & kind, int64_t used_experts,
                   ggml_backend_buffer_type_t place, const amount & wanted,
                   std::chrono::steady_clock::time_point deadline) :
    device_(device), file_(file), kind_(kind), used_(std::min(used_experts, kind.depth)), amount_(wanted),
    in_place_(device.is_cpu() && place == device.plain() && file.buffer() != nullptr && is_aligned(kind)),
    weights_(descriptions(wanted.count + 1)) {
    std::vector<ggml_tensor *> tensors;
    for (size_t i = 0; i < wanted.count; i++) {
        tensors.push_back(add_weights());
    }
    if (!in_place_) {
        weight_buffer_ = device_.allocate(weights_.get(), place);
        ggml_backend_buffer_set_usage(weight_buffer_.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    }
    size_t loaded = 0;
    while (loaded < tensors.size() && (loaded == 0 || std::chrono::steady_clock::now() < deadline)) {
        load(tensors[loaded], kind_.places[loaded]);
        loaded++;
    }
    amount_.count = loaded;
    last_place_   = kind_.places[loaded - 1];
    tensors.resize(loaded);
    make_inputs();
    make_graph(tensors);
}

ggml_tensor * products::add_weights() {
    ggml_tensor * tensor = ggml_new_tensor_3d(weights_.get(), kind_.type, kind_.columns, amount_.rows, kind_.depth);
    if (in_place_) {
        tensor->nb[2] = kind_.row_bytes() * (size_t) kind_.rows; // the rows that are left out stay between the matrices
        tensor->nb[3] = tensor->nb[2] * (size_t) kind_.depth;
    }
    return tensor;
}

void products::load(ggml_tensor * tensor, uint64_t place) {
    const size_t whole = kind_.row_bytes() * (size_t) kind_.rows, part = kind_.row_bytes() * (size_t) amount_.rows;
    std::vector<char> packed;
    const char *      data = nullptr;
    for (int64_t i = 0; i < kind_.depth; i++) {
        const char * matrix = file_.bytes(place + (uint64_t) i * whole, part);
        if (i == 0) {
            data = matrix;
        }
        if (!in_place_ && kind_.depth > 1) {
            packed.insert(packed.end(), matrix, matrix + part);
        }
    }
    if (in_place_) {
        ggml_backend_tensor_alloc(file_.buffer(), tensor, (void *) data);
    } else {
        ggml_backend_tensor_set(tensor, packed.empty() ? data : packed.data(), 0, ggml_nbytes(tensor));
    }
}

void products::make_inputs() {
    inputs_        = descriptions(8);
    input_tensor_  = inputs_of(inputs_.get(), kind_, used_, amount_.tokens);
    chosen_tensor_ = chosen_of(inputs_.get(), kind_, used_, amount_.tokens);
    const int64_t columns = kind_.experts ? used_ * amount_.tokens : amount_.tokens * kind_.depth;
    result_       = ggml_new_tensor_1d(inputs_.get(), GGML_TYPE_F32, amount_.rows * columns);
    input_buffer_ = device_.allocate(inputs_.get(), device_.plain());

    noise random;
    input_.resize((size_t) ggml_nelements(input_tensor_));
    for (auto & value : input_) {
        value = random.number();
    }
    ggml_backend_tensor_set(input_tensor_, input_.data(), 0, ggml_nbytes(input_tensor_));
    if (chosen_tensor_ != nullptr) {
        for (int64_t token = 0; token < amount_.tokens; token++) {
            const uint32_t first = random.bits();
            for (int64_t i = 0; i < used_; i++) {
                chosen_.push_back((int32_t) ((first + i) % kind_.depth));
            }
        }
        ggml_backend_tensor_set(chosen_tensor_, chosen_.data(), 0, ggml_nbytes(chosen_tensor_));
    }
}

void products::make_graph(const std::vector<ggml_tensor *> & loaded) {
    operations_ = descriptions(2 * loaded.size() + 8);
    graph_      = ggml_new_graph_custom(operations_.get(), 2 * loaded.size() + 8, false);
    for (ggml_tensor * weights : loaded) {
        last_ = multiply(operations_.get(), kind_, weights, input_tensor_, chosen_tensor_);
        ggml_backend_tensor_alloc(result_->buffer, last_, result_->data);
        if (!device_.supports(last_)) {
            throw std::runtime_error("The device " + device_.name() + " cannot multiply " +
                                     std::to_string(amount_.tokens) + " tokens by weights of the type " +
                                     ggml_type_name(kind_.type) + ".");
        }
        ggml_build_forward_expand(graph_, last_);
    }
}

size_t products::bytes() const {
    return amount_.count * kind_.row_bytes() * (size_t) (amount_.rows * (kind_.experts ? used_ : kind_.depth));
}

products::column products::column_at(int64_t i) const {
    if (kind_.experts) {
        return { chosen_[(size_t) i], kind_.own_inputs ? i : i / used_ };
    }
    return { i / amount_.tokens, i };
}

double products::error() const {
    constexpr int64_t most = 16; // rows, columns
    const int64_t     columns = ggml_nelements(last_) / amount_.rows;
    const auto        to_float = ggml_get_type_traits(kind_.type)->to_float;
    std::vector<float> got((size_t) ggml_nelements(last_)), row((size_t) kind_.columns);
    ggml_backend_tensor_get(last_, got.data(), 0, ggml_nbytes(last_));

    double distance = 0, length = 0;
    for (int64_t c = 0; c < columns; c += std::max<int64_t>(1, columns / most)) {
        const column  source = column_at(c);
        const float * input  = input_.data() + source.input * kind_.columns;
        for (int64_t r = 0; r < amount_.rows; r += std::max<int64_t>(1, amount_.rows / most)) {
            const uint64_t place = last_place_ + (uint64_t) (source.matrix * kind_.rows + r) * kind_.row_bytes();
            const char *   data  = file_.bytes(place, kind_.row_bytes());
            const float *  plain = kind_.type == GGML_TYPE_F32 ? (const float *) data : row.data();
            if (plain == row.data()) {
                to_float(data, row.data(), kind_.columns);
            }
            double expected = 0;
            for (int64_t k = 0; k < kind_.columns; k++) {
                expected += (double) plain[k] * (double) input[k];
            }
            const double difference = (double) got[(size_t) (c * amount_.rows + r)] - expected;
            distance += difference * difference;
            length += expected * expected;
        }
    }
    return length > 0 ? std::sqrt(distance / length) : std::sqrt(distance);
}

} // namespace solofile
