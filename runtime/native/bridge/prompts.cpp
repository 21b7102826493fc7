#include "prompts.h"

#include "bridge.h"
#include "json.h"
#include "last_error.h"
#include "server-common.h"

#include <chrono>

namespace solofile {

void prompts::give(std::vector<std::string> files) {
    std::lock_guard<std::mutex> lock(mutex_);
    files_ = std::move(files);
    given_ = true;
    changed_.notify_all();
}

void prompts::restore(server_context & core, const std::function<bool()> & stop) {
    constexpr auto               pause = std::chrono::milliseconds(50);
    std::unique_lock<std::mutex> lock(mutex_);
    while (!given_ && !stop()) {
        changed_.wait_for(lock, pause);
    }
    if (files_.empty() || stop()) {
        return;
    }
    forget_errors();
    for (size_t i = 0; i < files_.size(); i++) {
        readers_.emplace_back(new server_response_reader(core.get_response_reader()));
        server_task task(SERVER_TASK_TYPE_SLOT_RESTORE);
        task.id                   = readers_.back()->get_new_id();
        task.slot_action.id_slot  = (int) i;
        task.slot_action.filepath = files_[i];
        readers_.back()->post_task(std::move(task));
    }
    follower_ = std::thread([this, stop] {
        try {
            follow(stop);
        } catch (...) {
            // out of memory: nothing will be told of them
        }
    });
}

// The answers come once the loop runs, which is after a calibration.
void prompts::follow(const std::function<bool()> & stop) {
    common_json list = common_json::array();
    for (const auto & reader : readers_) {
        const auto result = reader->next(stop);
        if (result == nullptr) {
            return;
        }
        const common_json facts = result->to_json();
        common_json       entry = common_json::object();
        if (result->is_error()) {
            const std::string cause = first_error();
            entry["error"]          = cause.empty() ? json_value(facts, "message", std::string("unknown error")) : cause;
        } else {
            entry["tokens"]       = json_value(facts, "n_restored", 0);
            entry["milliseconds"] = json_value(json_value(facts, "timings", common_json::object()), "restore_ms", 0.0);
        }
        list.push_back(entry);
    }
    std::lock_guard<std::mutex> lock(mutex_);
    text_ = list.dump();
}

void prompts::end() {
    if (follower_.joinable()) {
        follower_.join();
    }
    readers_.clear();
}

void prompts::abandon() {
    if (follower_.joinable()) {
        follower_.detach();
    }
    for (auto & reader : readers_) {
        reader.release();
    }
}

std::string prompts::text() {
    std::lock_guard<std::mutex> lock(mutex_);
    return text_;
}

} // namespace solofile
