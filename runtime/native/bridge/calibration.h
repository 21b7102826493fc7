// What a calibration is asked for, and what it finds.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace solofile {

struct calibration_wish {
    double           seconds = 0; // that it may take; 0: no calibration
    std::vector<int> decode_threads;
    std::vector<int> prompt_threads;
    int              depth = 0; // tokens that are in the context while single ones are computed
};

// Reads {"seconds":2.0,"decode_threads":[1,2],"prompt_threads":[1,2],"depth":128}; an empty text wishes nothing.
// Throws std::invalid_argument with a sentence.
calibration_wish read_calibration_wish(const std::string & text);

struct calibration {
    bool                  interrupted = false;
    double                seconds     = 0;
    std::map<int, double> decode, prompt; // threads -> tokens per second
    int                   depth = 0, batch = 0; // tokens in the context while decoding, and of a prompt's batch
    int                   threads = 0, threads_batch = 0; // what the context computes with now
    double                cpu_share = 1; // of the time that the threads wanted to run, what the system let them

    std::string json() const;
};

} // namespace solofile
