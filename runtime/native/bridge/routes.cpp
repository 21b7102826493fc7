#include "routes.h"

#include "bridge.h"
#include "json.h"
#include "server-common.h"
#include "server-stream.h"
#include "text.h"

#include <set>

namespace solofile {

std::vector<route> make_routes(server_routes * core) {
    // The order and the paths are those of tools/server/server.cpp; a test compares the two.
    std::vector<route> table;
    const auto         add = [&table](const char * method, const char * path, handler answer) {
        table.push_back({ method, path, std::move(answer) });
    };
    const auto of = [core](handler server_routes::*member) { return core != nullptr ? core->*member : handler(); };
    using r       = server_routes;

    add("GET",  "/health",                               of(&r::get_health));
    add("GET",  "/v1/health",                            of(&r::get_health));
    add("GET",  "/metrics",                              of(&r::get_metrics));
    add("GET",  "/props",                                of(&r::get_props));
    add("POST", "/props",                                of(&r::post_props));
    add("GET",  "/models",                               of(&r::get_models));
    add("GET",  "/v1/models",                            of(&r::get_models));
    add("POST", "/completion",                           of(&r::post_completions));
    add("POST", "/completions",                          of(&r::post_completions));
    add("POST", "/v1/completions",                       of(&r::post_completions_oai));
    add("POST", "/chat/completions",                     of(&r::post_chat_completions));
    add("POST", "/v1/chat/completions",                  of(&r::post_chat_completions));
    add("POST", "/v1/chat/completions/control",          of(&r::post_control));
    add("POST", "/v1/responses",                         of(&r::post_responses_oai));
    add("POST", "/responses",                            of(&r::post_responses_oai));
    add("POST", "/v1/audio/transcriptions",              of(&r::post_transcriptions_oai));
    add("POST", "/audio/transcriptions",                 of(&r::post_transcriptions_oai));
    add("POST", "/v1/messages",                          of(&r::post_anthropic_messages));
    add("POST", "/infill",                               of(&r::post_infill));
    add("POST", "/embedding",                            of(&r::post_embeddings));
    add("POST", "/embeddings",                           of(&r::post_embeddings));
    add("POST", "/v1/embeddings",                        of(&r::post_embeddings_oai));
    add("POST", "/rerank",                               of(&r::post_rerank));
    add("POST", "/reranking",                            of(&r::post_rerank));
    add("POST", "/v1/rerank",                            of(&r::post_rerank));
    add("POST", "/v1/reranking",                         of(&r::post_rerank));
    add("POST", "/tokenize",                             of(&r::post_tokenize));
    add("POST", "/detokenize",                           of(&r::post_detokenize));
    add("POST", "/apply-template",                       of(&r::post_apply_template));
    add("POST", "/chat/completions/input_tokens",        of(&r::post_chat_completions_tok));
    add("POST", "/v1/chat/completions/input_tokens",     of(&r::post_chat_completions_tok));
    add("POST", "/responses/input_tokens",               of(&r::post_responses_tok_oai));
    add("POST", "/v1/responses/input_tokens",            of(&r::post_responses_tok_oai));
    add("POST", "/v1/messages/count_tokens",             of(&r::post_anthropic_count_tokens));
    add("GET",  "/lora-adapters",                        of(&r::get_lora_adapters));
    add("POST", "/lora-adapters",                        of(&r::post_lora_adapters));
    add("GET",  "/slots",                                of(&r::get_slots));
    add("POST", "/slots/:id_slot",                       of(&r::post_slots));
    add("GET",  "/v1/stream",         core != nullptr ? server_stream_make_get_handler() : handler());
    add("POST", "/v1/streams/lookup", core != nullptr ? server_stream_make_lookup_handler() : handler());
    add("DELETE", "/v1/stream",       core != nullptr ? server_stream_make_delete_handler() : handler());
    return table;
}

static std::vector<std::string> segments(const std::string & path) {
    std::vector<std::string> parts;
    size_t                   begin = 0;
    while (true) {
        const size_t end = path.find('/', begin);
        parts.push_back(path.substr(begin, end - begin));
        if (end == std::string::npos) {
            return parts;
        }
        begin = end + 1;
    }
}

bool waits_for_loop(const route & route) {
    static const std::set<std::string> asked_of_loop = { "/metrics", "/slots", "/lora-adapters" };
    return std::string(route.method) != "GET" || asked_of_loop.count(route.path) != 0;
}

bool match_path(const std::string & pattern, const std::string & path, std::map<std::string, std::string> & params) {
    const auto wanted = segments(pattern), given = segments(path);
    if (wanted.size() != given.size()) {
        return false;
    }
    std::map<std::string, std::string> found;
    for (size_t i = 0; i < wanted.size(); i++) {
        if (!wanted[i].empty() && wanted[i][0] == ':') {
            found[wanted[i].substr(1)] = given[i];
        } else if (wanted[i] != given[i]) {
            return false;
        }
    }
    params.insert(found.begin(), found.end());
    return true;
}

static std::string percent_decoded(const std::string & text) {
    std::string out;
    for (size_t i = 0; i < text.size(); i++) {
        if (text[i] == '+') {
            out += ' ';
        } else if (text[i] == '%' && i + 2 < text.size() && isxdigit((unsigned char) text[i + 1]) &&
                   isxdigit((unsigned char) text[i + 2])) {
            out += (char) std::stoi(text.substr(i + 1, 2), nullptr, 16);
            i += 2;
        } else {
            out += text[i];
        }
    }
    return out;
}

void parse_query(const std::string & query, std::map<std::string, std::string> & params) {
    size_t begin = 0;
    while (begin < query.size()) {
        const size_t      end  = std::min(query.find('&', begin), query.size());
        const std::string pair = query.substr(begin, end - begin);
        const size_t      eq   = std::min(pair.find('='), pair.size());
        if (!pair.empty()) {
            params.emplace(percent_decoded(pair.substr(0, eq)),
                           percent_decoded(eq < pair.size() ? pair.substr(eq + 1) : ""));
        }
        begin = end + 1;
    }
}

server_http_res_ptr error_answer(const std::string & message, error_type type) {
    auto              response = std::make_unique<server_http_res>();
    const common_json facts    = format_error_response(message, type);
    response->status           = json_value(facts, "code", 500);
    response->data             = safe_json_to_str({ { "error", facts } });
    return response;
}

server_http_res_ptr answer_safely(const handler & answer, const server_http_req & request) {
    // llama.cpp's ex_wrapper: a wrong argument is the client's fault, anything else the server's.
    try {
        return answer(request);
    } catch (const std::invalid_argument & e) {
        return error_answer(e.what(), ERROR_TYPE_INVALID_REQUEST);
    } catch (const std::exception & e) {
        return error_answer(e.what(), ERROR_TYPE_SERVER);
    } catch (...) {
        return error_answer("unknown error", ERROR_TYPE_SERVER);
    }
}

} // namespace solofile

extern "C" size_t sf_routes(char * out, size_t size) {
    try {
        common_json list = common_json::array();
        for (const auto & route : solofile::make_routes(nullptr)) {
            common_json entry = common_json::object();
            entry["method"]   = std::string(route.method);
            entry["path"]     = std::string(route.path);
            list.push_back(entry);
        }
        return solofile::put_text(list.dump(), out, size);
    } catch (...) {
        return 0;
    }
}
