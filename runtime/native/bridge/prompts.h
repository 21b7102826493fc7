// The states of prompts that a bundle brings along: restored into the first slots before anybody asks anything.
#pragma once

#include "server-context.h"

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace solofile {

class prompts {
  public:
    // Not asked for, there will be none to wait for.
    explicit prompts(bool asked) : given_(!asked) {}

    void give(std::vector<std::string> files);

    // On the loop's thread, before the loop: waits until they were given, and puts their restoring into the queue, ahead
    // of every request.
    void restore(server_context & core, const std::function<bool()> & stop);

    void        end();     // once `stop` has come true
    void        abandon(); // where the process ends before the loop does
    std::string text();    // empty until all has been tried

  private:
    void follow(const std::function<bool()> & stop);

    std::mutex                                           mutex_;
    std::condition_variable                              changed_;
    bool                                                 given_;
    std::vector<std::string>                             files_;
    std::vector<std::unique_ptr<server_response_reader>> readers_;
    std::string                                          text_;
    std::thread                                          follower_;
};

} // namespace solofile
