// What every use of llama.cpp's core begins with, as its tools/server/server.cpp does it.
#pragma once

#include "common.h"

namespace solofile {

void initialize_once();

// What is settled between parsing the arguments and loading.
void settle(common_params & params);

} // namespace solofile
