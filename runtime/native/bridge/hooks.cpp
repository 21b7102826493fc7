// The other side of hooks.h, but for the model loader (members.cpp) and the mappings (mapping.cpp).
#include "hooks.h"

#include "busy.h"
#include "download.h"
#include "llama.h"
#include "mtmd.h"
#include "parser.h"

#include <atomic>
#include <chrono>
#include <cstdarg>

namespace solofile {

static thread_local std::string parser_text;

void hook_exit(int code) {
    throw parser_exit(code);
}

void hook_report(const char * format, ...) {
    char line[4096];
    va_list args;
    va_start(args, format);
    std::vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    parser_text += line;
}

// One engine a process, one loop: one living scope. Times are those of the steady clock; 0: none.
static std::atomic<int64_t> busy_since{ 0 };

static int64_t now_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

busy_scope::busy_scope() { busy_since = now_ms(); }
busy_scope::~busy_scope() { busy_since = 0; }

int64_t busy_milliseconds() {
    const int64_t since = busy_since;
    return since == 0 ? -1 : now_ms() - since;
}

std::string take_parser_text() {
    std::string text;
    std::swap(text, parser_text);
    return text;
}

} // namespace solofile

extern "C" void solofile_backend_load_all(void) {}

// An image_url or a video_url with http: the only outbound connection that a request could cause.
std::pair<long, std::vector<char>> solofile_remote_get_content(const std::string & url, const common_remote_params &) {
    throw std::invalid_argument("This program makes no outbound connection: " + url.substr(0, 200) +
                                " was not fetched; send the media itself as a data: URL.");
}

// 2 means that the abort callback ended the batch. The core does not know it (it would halve the batch and try again);
// as a compute error it ends the requests of all slots, which is what a stop wants.
extern "C" int32_t solofile_process(struct llama_context * context, enum llama_process_type type,
                                    struct llama_batch_ext * batch) {
    constexpr int32_t          aborted = 2, compute_error = -3;
    const solofile::busy_scope busy;
    const int32_t              result = llama_process(context, type, batch);
    return result == aborted ? compute_error : result;
}

// Here the core waits for what a GPU was given.
extern "C" void solofile_synchronize(struct llama_context * context) {
    const solofile::busy_scope busy;
    llama_synchronize(context);
}

// A projector computes on the GPU too.
extern "C" int32_t solofile_batch_encode(struct mtmd_batch * batch) {
    const solofile::busy_scope busy;
    return mtmd_batch_encode(batch);
}
