#include "stepper.h"

#include "busy.h"
#include "src/llama-ext.h"

#include <algorithm>
#include <ctime>

namespace solofile {

using clock = std::chrono::steady_clock;

// What this process has computed for. Windows' clock() goes on while it waits.
static seconds process_time() {
    return seconds((double) std::clock() / CLOCKS_PER_SEC);
}

stepper::stepper(llama_context * context, const common_params & params, const std::function<bool()> & stop) :
    context_(context),
    stop_(stop),
    memory_(llama_get_memory(context)),
    batch_(context),
    all_outputs_(params.embedding),
    // An encoder may hold no positions past those that it was trained with.
    length_(std::min((int) llama_n_ctx_seq(context), llama_model_n_ctx_train(llama_get_model(context)))),
    vocabulary_(std::max(1, llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context))))) {
    llama_set_abort_callback(
        context,
        [](void * self) {
            const auto * it = (const stepper *) self;
            return it->stop_() || clock::now() > it->deadline;
        },
        this);
}

int stepper::largest() const {
    return (int) std::min(llama_n_batch(context_), llama_n_ubatch(context_));
}

bool stepper::on_gpu() const {
    return llama_model_n_devices(llama_get_model(context_)) > 0;
}

bool stepper::step(int tokens) {
    if (remembers() && tokens > room()) {
        return false;
    }
    batch_.clear();
    for (int i = 0; i < tokens; i++) {
        // Different tokens, since they choose the experts of a mixture; the same ones at the same place each time.
        const uint64_t place = (uint64_t) (position_ + i) * 2654435761u;
        batch_.add((llama_token) (place % (uint64_t) vocabulary_), position_ + i, 0, all_outputs_ || i == tokens - 1);
    }
    const auto begin = clock::now();
    const auto given = process_time();
    const bool done  = compute(tokens);
    last             = done ? clock::now() - begin : last;
    wanted_ += (tokens > 1 ? llama_n_threads_batch(context_) : llama_n_threads(context_)) * seconds(clock::now() - begin);
    given_ += process_time() - given;
    return done;
}

bool stepper::compute(int tokens) {
    const busy_scope busy;
    if (llama_process(context_, LLAMA_PROCESS_TYPE_DECODE, batch_.get()) != 0) {
        if (remembers() && llama_memory_seq_pos_max(memory_, 0) != position_ - 1) {
            llama_memory_clear(memory_, false); // a recurrent memory cannot give up what it holds of the step alone
            position_ = 0;
        }
        return false;
    }
    llama_synchronize(context_);
    position_ += remembers() ? tokens : 0;
    return true;
}

double stepper::cpu_share() const {
    return wanted_ > seconds(0) && !on_gpu() ? std::min(1.0, given_ / wanted_) : 1.0;
}

void stepper::rewind(int tokens) {
    if (!remembers() || position_ <= tokens) {
        return;
    }
    if (tokens > 0 && llama_memory_seq_rm(memory_, 0, tokens, -1)) {
        position_ = tokens;
    } else {
        llama_memory_clear(memory_, false);
        position_ = 0;
    }
}

void stepper::finish() {
    llama_synchronize(context_); // a step that was given up still counts as queued
    if (remembers()) {
        llama_memory_clear(memory_, true);
    }
    llama_perf_context_reset(context_);
}

} // namespace solofile
