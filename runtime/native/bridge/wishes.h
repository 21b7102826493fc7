// What is asked for before the engine is started that it is for: the next one takes it.
#pragma once

#include "calibration.h"

#include <string>
#include <vector>

namespace solofile {

struct wishes {
    calibration_wish         calibration;
    std::vector<std::string> read_first; // names of members
    bool                     prompts;    // wait for sf_prompts_give
};

// Throws std::invalid_argument when what was asked for cannot be read.
wishes take_wishes();

} // namespace solofile
