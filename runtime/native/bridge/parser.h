// llama.cpp's argument parser, held on a short leash.
#pragma once

#include "common.h"

#include <string>
#include <vector>

namespace solofile {

// Parses llama-server's arguments (without a program name) into params. Throws std::invalid_argument with the parser's
// own words when they are wrong. Reads neither the environment nor a config file, prints nothing, never exits.
void parse_arguments(const std::vector<std::string> & arguments, common_params & params);

// Every option of the parser as JSON text.
std::string options_json();

// What hook_report has collected on this thread, emptied by the call.
std::string take_parser_text();

} // namespace solofile
