// Numbers between -1 and 1 to measure with: the same at each run.
#pragma once

#include <cstdint>

namespace solofile {

class noise {
  public:
    uint32_t bits() { return (state_ = state_ * 1664525u + 1013904223u) >> 8; }
    float    number() { return (float) bits() / (float) (1u << 23) - 1.0f; }

  private:
    uint32_t state_ = 1;
};

} // namespace solofile
