// Steps of a context that stands apart from its use: tokens without meaning, computed and timed.
#pragma once

#include "common.h"

#include <chrono>
#include <functional>

namespace solofile {

using seconds = std::chrono::duration<double>;

class stepper {
  public:
    // `stop` is asked in the middle of each step, many times a second.
    stepper(llama_context * context, const common_params & params, const std::function<bool()> & stop);

    // Computes that many tokens in one go. False when they could not be computed, were given up because of `stop`, or
    // took until `deadline`: then the context is as before, or empty.
    bool step(int tokens);

    // Takes everything after the first `tokens` out of the context; all, where it cannot give up a part.
    void rewind(int tokens);

    // Takes everything out and sets the counters to zero.
    void finish();

    bool remembers() const { return memory_ != nullptr; } // an encoder has no memory: it computes whole inputs
    int  position() const { return position_; }
    int  length() const { return length_; } // tokens that the context takes
    int  room() const { return length_ - position_; }
    int  largest() const; // tokens of one step
    bool on_gpu() const;  // a step there cannot be given up

    // Of the time that the threads wanted to run, what the system let them: they never sleep in a step. 1 on a GPU.
    double cpu_share() const;

    seconds                               last{ 0 }; // what the last whole step took
    std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();

  private:
    bool compute(int tokens);

    llama_context *             context_;
    const std::function<bool()> stop_;
    llama_memory_t              memory_;
    common_batch                batch_;
    const bool                  all_outputs_;
    const int                   length_, vocabulary_;
    int                         position_ = 0;
    seconds                     wanted_{ 0 }, given_{ 0 }; // of CPU time
};

} // namespace solofile
