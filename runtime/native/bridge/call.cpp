#include "busy.h"
#include "engine.h"
#include "text.h"

namespace solofile {

call::call(std::shared_ptr<engine> owner_, std::string method_, std::string path, std::string query, std::string body) :
    owner(std::move(owner_)),
    method(std::move(method_)),
    should_stop([this] { return cancelled.load() || owner->stopping(); }),
    request{ {}, {}, std::move(path), std::move(query), std::move(body), {}, should_stop } {
    owner->opened(this);
}

call::~call() {
    {
        std::lock_guard<std::mutex> lock(busy);
        finish();
    }
    owner->closed(this); // only now: until here a stop waits for this call
}

void call::finish() {
    if (response) {
        try {
            response->on_complete(); // a resumable stream is read to its end here
        } catch (...) {
            // the answer is gone either way, and the core has logged it
        }
        response.reset();
    }
}

int call::run() {
    std::lock_guard<std::mutex> lock(busy);
    const route *               route = owner->find(method, request.path, request.params, response);
    if (route != nullptr) {
        parse_query(request.query_string, request.params);
        response = answer_safely(route->answer, request);
    }
    if (!response || cancelled || (route != nullptr && should_stop())) {
        return 0;
    }
    status       = response->status;
    content_type = response->content_type;
    headers.assign(response->headers.begin(), response->headers.end());
    return status;
}

bool call::next() {
    std::lock_guard<std::mutex> lock(busy);
    chunk.clear();
    if (!response) {
        return false;
    }
    if (!response->is_stream()) {
        chunk = std::move(response->data);
        finish();
        return false;
    }
    const bool more = response->next(chunk);
    if (!more) {
        finish();
    }
    return more;
}

} // namespace solofile

using solofile::call;
using solofile::engine;
using solofile::put_text;

struct sf_engine {
    std::shared_ptr<engine> it;
};
struct sf_call {
    call it;
};

extern "C" {

int sf_abi_version(void) {
    return SF_ABI_VERSION;
}

sf_engine * sf_engine_start(int argc, const char * const * argv, char * error, size_t size) {
    try {
        return new sf_engine{ std::make_shared<engine>(std::vector<std::string>(argv, argv + argc)) };
    } catch (const std::exception & e) {
        put_text(e.what(), error, size);
    } catch (...) {
        put_text("unknown error", error, size);
    }
    return nullptr;
}

int sf_engine_state(sf_engine * engine, float * progress, char * message, size_t size) {
    try {
        std::string text;
        const int   state = engine->it->state(progress, &text);
        put_text(text, message, size);
        return state;
    } catch (...) {
        return SF_FAILED;
    }
}

int sf_engine_wait(sf_engine * engine, int timeout_ms) {
    try {
        return engine->it->wait(timeout_ms);
    } catch (...) {
        return SF_FAILED;
    }
}

size_t sf_calibration(sf_engine * engine, char * out, size_t size) {
    try {
        return put_text(engine->it->calibration_text(), out, size);
    } catch (...) {
        return 0;
    }
}

void sf_prompts_give(sf_engine * engine, int count, const char * const * files) {
    try {
        engine->it->stored_prompts().give({ files, files + count });
    } catch (...) {
        engine->it->stored_prompts().give({}); // out of memory: they are computed
    }
}

size_t sf_prompts(sf_engine * engine, char * out, size_t size) {
    try {
        return put_text(engine->it->stored_prompts().text(), out, size);
    } catch (...) {
        return 0;
    }
}

int sf_engine_reading(sf_engine * engine, uint64_t * done, uint64_t * total) {
    return engine->it->is_reading(done, total) ? 1 : 0;
}

int sf_engine_busy(sf_engine *, uint64_t * milliseconds) {
    const int64_t time = solofile::busy_milliseconds();
    *milliseconds      = time < 0 ? 0 : (uint64_t) time;
    return time < 0 ? 0 : 1;
}

int sf_engine_stop(sf_engine * engine, int timeout_ms) {
    try {
        return engine->it->stop(timeout_ms) ? 0 : 1;
    } catch (...) {
        return 1;
    }
}

void sf_engine_free(sf_engine * engine) {
    delete engine;
}

sf_call * sf_call_new(sf_engine * engine, const char * method, const char * path, const char * query, const char * body,
                      size_t body_size) {
    try {
        return new sf_call{ { engine->it, method, path, query, std::string(body, body_size) } };
    } catch (...) {
        return nullptr;
    }
}

void sf_call_header(sf_call * call, const char * name, const char * value) {
    try {
        call->it.request.headers.emplace(name, value);
    } catch (...) {
        call->it.cancelled = true; // out of memory
    }
}

void sf_call_file(sf_call * call, const char * field, const char * filename, const char * content_type,
                  const char * data, size_t size) {
    try {
        call->it.request.files[field] = { raw_buffer(data, data + size), filename, content_type };
    } catch (...) {
        call->it.cancelled = true; // out of memory
    }
}

int sf_call_run(sf_call * call) {
    try {
        return call->it.run();
    } catch (...) {
        return 500;
    }
}

const char * sf_call_content_type(sf_call * call) {
    return call->it.content_type.c_str();
}

int sf_call_answer_header(sf_call * call, size_t i, const char ** name, const char ** value) {
    if (i >= call->it.headers.size()) {
        return 0;
    }
    *name  = call->it.headers[i].first.c_str();
    *value = call->it.headers[i].second.c_str();
    return 1;
}

int sf_call_next(sf_call * call, const char ** data, size_t * size) {
    int more = 0;
    try {
        more = call->it.next() ? 1 : 0;
    } catch (...) {
        call->it.chunk.clear();
    }
    *data = call->it.chunk.data();
    *size = call->it.chunk.size();
    return more;
}

void sf_call_cancel(sf_call * call) {
    call->it.cancelled = true;
}

void sf_call_free(sf_call * call) {
    delete call;
}

} // extern "C"
