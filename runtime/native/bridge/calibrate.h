// How many threads are fastest, measured in the loaded context: no table of processors knows it.
#pragma once

#include "calibration.h"
#include "thread_pools.h"

#include <functional>

namespace solofile {

// Measures, gives the context the fastest numbers of threads, and leaves its memory empty and its counters at zero.
// Where fewer than two numbers could be measured, or once `stop` says so (asked many times a second, also in the middle
// of a step), the context keeps the numbers it had. Takes the seconds wished for and at most one step more. Replaces the
// context's abort callback.
calibration calibrate(llama_context * context, const common_params & params, const calibration_wish & wish,
                      thread_pools & pools, const std::function<bool()> & stop);

} // namespace solofile
