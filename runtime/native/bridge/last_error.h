// What the core logs: what it has logged as an error, and how to keep it quiet.
#pragma once

#include <string>

namespace solofile {

void        forget_errors();
std::string first_error(); // since forget_errors: the cause; the later ones mostly repeat it

// While one lives, llama.cpp's own lines count as debugging, whatever they say: for work that no user asked about. Its
// errors are kept as ever.
struct quiet_log {
    quiet_log();
    ~quiet_log();
};

} // namespace solofile
