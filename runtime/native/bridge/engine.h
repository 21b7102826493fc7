// One loaded model: llama.cpp's server context, its loop's thread, and the calls that are open on it.
#pragma once

#include "bridge.h"
#include "calibrate.h"
#include "common.h"
#include "prompts.h"
#include "reading.h"
#include "routes.h"
#include "wishes.h"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace solofile {

struct call;

class engine {
  public:
    // Throws std::invalid_argument on wrong arguments; the model loads on a thread of its own afterwards.
    explicit engine(const std::vector<std::string> & arguments);
    ~engine();

    sf_state state(float * progress, std::string * message);
    sf_state wait(int timeout_ms);
    bool     stop(int timeout_ms);

    // nullptr while it is neither ready nor wanted: then the answer is in `refusal`.
    const route * find(const std::string & method, const std::string & path, std::map<std::string, std::string> & params,
                       server_http_res_ptr & refusal);

    std::string calibration_text(); // empty while there is none
    bool        is_reading(uint64_t * done, uint64_t * total) const;
    prompts &   stored_prompts() { return prompts_; }

    bool stopping() const { return stopping_; }
    void opened(call * c);
    void closed(call * c);

  private:
    void run();
    bool read();
    bool load();
    void watch_context();
    void calibrate();
    void set_state(sf_state state, const std::string & message);
    bool end_loop(std::chrono::steady_clock::time_point deadline);
    void end_calls(std::chrono::steady_clock::time_point deadline, bool & all);

    common_params                   params_; // the core keeps references to it
    const wishes                    wishes_;
    std::unique_ptr<server_context> context_;
    std::unique_ptr<thread_pools>   pools_; // once calibrated
    calibration                     calibration_;
    std::unique_ptr<server_routes>  core_routes_;
    std::vector<route>              table_;

    std::mutex              mutex_;
    std::condition_variable changed_;
    sf_state                state_ = SF_LOADING;
    std::string             message_;
    std::string             calibration_text_;
    bool                    loop_ended_ = false;
    bool                    may_stop_   = true; // while nothing is loaded
    std::set<call *>        calls_;

    std::atomic<float> progress_{ 0.0f };
    std::atomic<bool>  stopping_{ false };
    std::atomic<bool>  wanted_{ false }; // a request needs the loop
    reading            reading_;
    prompts            prompts_;
    std::thread        loop_;
};

// A request and its answer. One thread runs and reads it; any thread may cancel it.
struct call {
    call(std::shared_ptr<engine> owner, std::string method, std::string path, std::string query, std::string body);
    ~call();

    int  run();
    bool next(); // fills chunk; false: that was the last
    void finish(); // gives the answer back to the core; the caller holds `busy`

    std::shared_ptr<engine>             owner;
    std::string                         method;
    std::atomic<bool>                   cancelled{ false };
    const std::function<bool()>         should_stop; // once true, it stays so: the core asserts it
    server_http_req                     request;
    std::string                         chunk;
    std::string                         content_type;
    std::vector<std::pair<std::string, std::string>> headers;
    int                                 status = 0;

    std::mutex          busy; // held while a thread is inside the core for this call
    server_http_res_ptr response;
    bool                body_given = false;
};

} // namespace solofile
