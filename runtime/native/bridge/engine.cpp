#include "engine.h"

#include "core.h"
#include "json.h"
#include "last_error.h"
#include "llama.h"
#include "parser.h"
#include "server-common.h"
#include "server-stream.h"

#include <chrono>
#include <mutex>

namespace solofile {

using clock = std::chrono::steady_clock;

engine::engine(const std::vector<std::string> & arguments) : wishes_(take_wishes()), reading_(wishes_.read_first),
    prompts_(wishes_.prompts) {
    initialize_once();
    forget_errors();
    parse_arguments(arguments, params_);
    if (params_.model.path.empty()) {
        throw std::invalid_argument("no model is named");
    }
    llama_numa_init(params_.numa);
    server_stream_session_manager_start();
    context_     = std::make_unique<server_context>();
    core_routes_ = std::make_unique<server_routes>(params_, *context_);
    table_       = make_routes(core_routes_.get());
    loop_        = std::thread([this] { run(); });
}

engine::~engine() {
    if (loop_.joinable()) {
        loop_.detach(); // stop() was not called or did not end: the process is about to end
        prompts_.abandon();
        context_.release();
        core_routes_.release();
        pools_.release();
    }
}

void engine::run() {
    bool loaded = false;
    try {
        loaded = read() && load();
        if (loaded) {
            prompts_.restore(*context_, [this] { return stopping_.load(); });
        }
    } catch (const std::exception & e) {
        set_state(SF_FAILED, e.what());
    } catch (...) {
        set_state(SF_FAILED, "unknown error");
    }
    if (loaded) {
        set_state(SF_READY, "");
        try {
            calibrate();
            context_->start_loop();
        } catch (const std::exception & e) {
            set_state(SF_FAILED, e.what());
        } catch (...) {
            set_state(SF_FAILED, "unknown error");
        }
    }
    std::lock_guard<std::mutex> lock(mutex_);
    loop_ended_ = true;
    changed_.notify_all();
}

// False when the engine was stopped meanwhile; from here on a stop has to wait for the load.
bool engine::read() {
    reading_.run([this] { return stopping_.load(); });
    std::lock_guard<std::mutex> lock(mutex_);
    may_stop_ = false;
    return !stopping_;
}

bool engine::load() {
    settle(params_);
    context_->set_state_callback([this](server_state state, common_json facts) {
        if (state == SERVER_STATE_LOADING) {
            progress_ = json_value(facts, "value", progress_.load());
        } else if (state == SERVER_STATE_READY) {
            watch_context(); // also after a sleep, which makes a new context
        }
    });
    if (!context_->load_model(params_)) {
        const std::string reason = first_error();
        set_state(SF_FAILED, reason.empty() ? "llama.cpp could not load the model" : reason);
        return false;
    }
    core_routes_->update_meta(*context_);
    watch_context();
    progress_ = 1.0f;
    return true;
}

// A stop must not wait for the batch under way: 2,048 tokens of a prompt may take minutes.
void engine::watch_context() {
    llama_context * context = context_->get_llama_context();
    if (context != nullptr) {
        llama_set_abort_callback(
            context, [](void * self) { return ((engine *) self)->stopping_.load(std::memory_order_relaxed); }, this);
    }
    if (context != nullptr && pools_) {
        pools_->use(context, calibration_.threads, calibration_.threads_batch);
    }
}

// On the loop's thread, before the loop: a request that comes meanwhile waits for it in the queue, and ends it.
void engine::calibrate() {
    llama_context * context = context_->get_llama_context();
    if (wishes_.calibration.seconds <= 0 || context == nullptr) {
        return;
    }
    const auto stop = [this] { return wanted_.load() || stopping_.load(); };
    pools_          = std::make_unique<thread_pools>(params_);
    calibration_    = solofile::calibrate(context, params_, wishes_.calibration, *pools_, stop);
    watch_context();
    std::lock_guard<std::mutex> lock(mutex_);
    calibration_text_ = calibration_.json();
}

std::string engine::calibration_text() {
    std::lock_guard<std::mutex> lock(mutex_);
    return calibration_text_;
}

bool engine::is_reading(uint64_t * done, uint64_t * total) const {
    *done  = reading_.done();
    *total = reading_.total();
    return reading_.under_way();
}

void engine::set_state(sf_state state, const std::string & message) {
    std::lock_guard<std::mutex> lock(mutex_);
    state_   = state;
    message_ = message;
    changed_.notify_all();
}

sf_state engine::state(float * progress, std::string * message) {
    std::lock_guard<std::mutex> lock(mutex_);
    *progress = progress_;
    *message  = message_;
    return state_;
}

sf_state engine::wait(int timeout_ms) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto                   settled = [this] { return state_ != SF_LOADING; };
    if (timeout_ms < 0) {
        changed_.wait(lock, settled);
    } else {
        changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), settled);
    }
    return state_;
}

bool engine::stop(int timeout_ms) {
    const auto deadline = clock::now() + std::chrono::milliseconds(timeout_ms);
    {
        std::lock_guard<std::mutex> lock(mutex_);
        if (state_ == SF_STOPPED) {
            return true;
        }
        if (state_ == SF_LOADING && !may_stop_) {
            return false;
        }
        stopping_ = true; // every open call's should_stop, llama's abort callback, and the reading's end
    }
    server_stream_session_manager_stop();
    bool all_calls = false;
    end_calls(deadline, all_calls);
    if (!end_loop(deadline) || !all_calls) {
        return false;
    }
    loop_.join();
    prompts_.end();
    table_.clear();
    core_routes_.reset();
    context_.reset();
    pools_.reset();
    set_state(SF_STOPPED, "");
    return true;
}

// The loop forgets a terminate() that comes before it has begun, right after the load; so it is told until it has ended.
bool engine::end_loop(clock::time_point deadline) {
    constexpr auto               pause = std::chrono::milliseconds(20);
    std::unique_lock<std::mutex> lock(mutex_);
    while (!loop_ended_ && clock::now() < deadline) {
        lock.unlock();
        context_->terminate();
        lock.lock();
        changed_.wait_for(lock, pause, [this] { return loop_ended_; });
    }
    return loop_ended_;
}

// Gives every answer back to the core, which must outlive them. A thread inside the core for a call comes back within
// a second: that is how often it looks at should_stop.
void engine::end_calls(clock::time_point deadline, bool & all) {
    constexpr auto pause = std::chrono::milliseconds(5);
    do {
        all = true;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            for (call * c : calls_) {
                std::unique_lock<std::mutex> idle(c->busy, std::try_to_lock);
                if (idle) {
                    c->finish();
                } else {
                    all = false;
                }
            }
        }
        if (!all) {
            std::this_thread::sleep_for(pause);
        }
    } while (!all && clock::now() < deadline);
}

void engine::opened(call * c) {
    std::lock_guard<std::mutex> lock(mutex_);
    calls_.insert(c);
}

void engine::closed(call * c) {
    std::lock_guard<std::mutex> lock(mutex_);
    calls_.erase(c);
}

const route * engine::find(const std::string & method, const std::string & path,
                           std::map<std::string, std::string> & params, server_http_res_ptr & refusal) {
    float       progress;
    std::string message;
    const auto  now = state(&progress, &message);
    if (now == SF_LOADING) {
        refusal = error_answer("Loading model", ERROR_TYPE_UNAVAILABLE);
    } else if (now == SF_FAILED) {
        refusal = error_answer("The model did not load: " + message, ERROR_TYPE_SERVER);
    } else if (now == SF_STOPPED || stopping_) {
        refusal = error_answer("The server is stopping", ERROR_TYPE_UNAVAILABLE);
    } else {
        for (const auto & route : table_) {
            if (method == route.method && match_path(route.path, path, params)) {
                wanted_ = wanted_ || waits_for_loop(route);
                return &route;
            }
        }
        refusal = error_answer("File Not Found", ERROR_TYPE_NOT_FOUND);
    }
    return nullptr;
}

} // namespace solofile
