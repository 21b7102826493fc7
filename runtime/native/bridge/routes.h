// The paths that server.cpp maps in single-model mode, and the handlers of llama.cpp's core behind them.
#pragma once

#include "server-context.h"
#include "server-http.h"

#include <map>
#include <string>
#include <vector>

namespace solofile {

using handler = server_http_context::handler_t;

struct route {
    const char * method;
    const char * path; // a segment that starts with ':' is a parameter
    handler      answer;
};

// With nullptr the handlers are empty and only the paths are of use.
std::vector<route> make_routes(server_routes * core);

// True when the answer comes from the loop, or may; the others are given while it is busy with something else.
bool waits_for_loop(const route & route);

// True when path fits; the parameters found are added to params.
bool match_path(const std::string & pattern, const std::string & path, std::map<std::string, std::string> & params);

// Adds the decoded parameters of a query string.
void parse_query(const std::string & query, std::map<std::string, std::string> & params);

// The handler's answer; what it throws becomes llama.cpp's error JSON with its status.
server_http_res_ptr answer_safely(const handler & answer, const server_http_req & request);

// llama.cpp's error JSON.
server_http_res_ptr error_answer(const std::string & message, error_type type);

} // namespace solofile
