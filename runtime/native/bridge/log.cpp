// In place of llama.cpp's common/log.cpp, behind the same header: the log of a program that is quiet unless asked.
//
// The original writes from a thread of its own, prints at info level by default and keeps nothing. Here a line is written
// at once, by default nowhere, and the first error is kept, for the sentence that says why a model did not load.
#include "log.h"

#include "bridge.h"
#include "json.h"
#include "last_error.h"

#include <atomic>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <string>

namespace {

std::atomic<int> threshold{ LOG_DEFAULT_LLAMA }; // set by the parser's --verbosity
std::atomic<int> allowed{ 0 };                   // set by sf_log_level: nothing above it is printed
std::atomic<bool> jsonl{ false };
std::atomic<int> quiet{ 0 };                     // living quiet_log

std::string level_letter(ggml_log_level level) {
    switch (level) {
        case GGML_LOG_LEVEL_DEBUG: return "D ";
        case GGML_LOG_LEVEL_INFO:  return "I ";
        case GGML_LOG_LEVEL_WARN:  return "W ";
        case GGML_LOG_LEVEL_ERROR: return "E ";
        default:                   return "";
    }
}

std::string vformat(const char * format, va_list args) {
    va_list again;
    va_copy(again, args);
    const int size = std::vsnprintf(nullptr, 0, format, again);
    va_end(again);
    std::string text(size > 0 ? (size_t) size : 0, '\0');
    if (size > 0) {
        std::vsnprintf(&text[0], text.size() + 1, format, args);
    }
    return text;
}

} // namespace

struct common_log {
    std::mutex  mutex;
    std::string error; // the first since forget_errors
    FILE *      file       = nullptr;
    bool        prefix     = false;
    bool        timestamps = false;
    bool        paused     = false;

    void keep_error(ggml_log_level level, const std::string & text) {
        std::lock_guard<std::mutex> lock(mutex);
        if (level == GGML_LOG_LEVEL_ERROR && error.empty()) {
            error = text;
        }
    }

    void add(ggml_log_level level, const std::string & text) {
        keep_error(level, text);
        std::lock_guard<std::mutex> lock(mutex);
        if (paused) {
            return;
        }
        const std::string line = (prefix ? stamp() + level_letter(level) : std::string()) + text;
        if (common_log_get_verbosity(level) <= allowed) {
            write(stderr, line);
        }
        if (file != nullptr) {
            write(file, line);
        }
    }

    std::string stamp() const {
        if (!timestamps) {
            return "";
        }
        const auto now = std::chrono::system_clock::now().time_since_epoch();
        return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(now).count()) + " ";
    }

    static void write(FILE * out, const std::string & line) {
        std::fwrite(line.data(), 1, line.size(), out);
        std::fflush(out);
    }
};

int  common_log_get_verbosity_thold(void) { return std::max(LOG_LEVEL_ERROR, threshold.load()); }
void common_log_set_verbosity_thold(int verbosity) { threshold = verbosity; }
bool common_log_get_jsonl(void) { return jsonl; }
void common_log_set_jsonl(bool on) { jsonl = on; }

int common_log_get_verbosity(enum ggml_log_level level) {
    switch (level) {
        case GGML_LOG_LEVEL_DEBUG: return LOG_LEVEL_DEBUG;
        case GGML_LOG_LEVEL_INFO:  return LOG_LEVEL_TRACE;
        case GGML_LOG_LEVEL_CONT:  return LOG_LEVEL_TRACE;
        case GGML_LOG_LEVEL_WARN:  return LOG_LEVEL_WARN;
        case GGML_LOG_LEVEL_ERROR: return LOG_LEVEL_ERROR;
        default:                   return LOG_LEVEL_INFO;
    }
}

// llama's and ggml's own lines come through here.
void common_log_default_callback(enum ggml_log_level level, const char * text, void *) {
    if (quiet > 0) {
        common_log_main()->keep_error(level, text);
        level = GGML_LOG_LEVEL_DEBUG;
    }
    if (common_log_get_verbosity(level) <= common_log_get_verbosity_thold()) {
        common_log_main()->add(level, text);
    }
}

struct common_log * common_log_init() { return new common_log; }
struct common_log * common_log_main() {
    static common_log * log = new common_log; // never freed: threads may log while the process ends
    return log;
}
void common_log_free(struct common_log * log) { delete log; }

void common_log_pause(struct common_log * log) {
    std::lock_guard<std::mutex> lock(log->mutex);
    log->paused = true;
}
void common_log_resume(struct common_log * log) {
    std::lock_guard<std::mutex> lock(log->mutex);
    log->paused = false;
}
void common_log_flush(struct common_log *) {}

void common_log_add(struct common_log * log, enum ggml_log_level level, const char * format, ...) {
    va_list args;
    va_start(args, format);
    const std::string text = vformat(format, args);
    va_end(args);
    log->add(level, text);
}

void common_log_add_json(struct common_log * log, const char * type, const common_json & data) {
    if (jsonl) {
        common_json line = common_json::object();
        line["type"]     = std::string(type);
        line["data"]     = data;
        log->add(GGML_LOG_LEVEL_NONE, line.dump_safe() + "\n");
    }
}

void common_log_set_file(struct common_log * log, const char * path) {
    std::lock_guard<std::mutex> lock(log->mutex);
    if (log->file != nullptr) {
        std::fclose(log->file);
    }
    log->file = path != nullptr ? ggml_fopen(path, "w") : nullptr;
}

void common_log_set_colors(struct common_log *, log_colors) {} // the log is for files and support, not for reading
void common_log_set_prefix(struct common_log * log, bool prefix) {
    std::lock_guard<std::mutex> lock(log->mutex);
    log->prefix = prefix;
}
void common_log_set_timestamps(struct common_log * log, bool timestamps) {
    std::lock_guard<std::mutex> lock(log->mutex);
    log->timestamps = timestamps;
}

namespace solofile {

void forget_errors() {
    auto *                      log = common_log_main();
    std::lock_guard<std::mutex> lock(log->mutex);
    log->error.clear();
}

std::string first_error() {
    auto *                      log = common_log_main();
    std::lock_guard<std::mutex> lock(log->mutex);
    std::string                 text = log->error;
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) {
        text.pop_back();
    }
    return text;
}

quiet_log::quiet_log() { quiet++; }
quiet_log::~quiet_log() { quiet--; }

} // namespace solofile

extern "C" void sf_log_level(int level) {
    allowed = level;
}
