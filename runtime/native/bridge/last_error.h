// What the core has logged as an error.
#pragma once

#include <string>

namespace solofile {

void        forget_errors();
std::string first_error(); // since forget_errors: the cause; the later ones mostly repeat it

} // namespace solofile
