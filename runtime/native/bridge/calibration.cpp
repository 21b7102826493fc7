#include "calibration.h"

#include "ggml.h"
#include "json.h"

#include <cmath>
#include <set>
#include <stdexcept>

namespace solofile {

namespace {

std::vector<int> read_threads(const common_json & wish, const char * name) {
    std::vector<int> found = wish.value(name, std::vector<int>());
    std::set<int>    sorted;
    for (const int threads : found) {
        if (threads < 1 || threads > GGML_MAX_N_THREADS) {
            throw std::invalid_argument(std::string(name) + " must be numbers of threads");
        }
        sorted.insert(threads);
    }
    return { sorted.begin(), sorted.end() }; // the fewest first: too many on too few cores may take seconds a step
}

double rounded(double value) {
    return std::round(value * 100) / 100;
}

common_json rates_json(const std::map<int, double> & rates) {
    common_json object = common_json::object();
    for (const auto & [threads, rate] : rates) {
        object[std::to_string(threads)] = rounded(rate);
    }
    return object;
}

} // namespace

calibration_wish read_calibration_wish(const std::string & text) {
    calibration_wish wish;
    if (text.empty()) {
        return wish;
    }
    try {
        const common_json json = common_json::parse(text);
        wish.seconds           = json.at("seconds").get<double>();
        wish.depth             = json.value("depth", 0);
        wish.decode_threads    = read_threads(json, "decode_threads");
        wish.prompt_threads    = read_threads(json, "prompt_threads");
    } catch (const std::exception & e) {
        throw std::invalid_argument(std::string("the calibration that was asked for cannot be read: ") + e.what());
    }
    if (!(wish.seconds > 0)) {
        throw std::invalid_argument("a calibration must be given some seconds");
    }
    return wish;
}

std::string calibration::json() const {
    common_json text      = common_json::object();
    text["interrupted"]   = interrupted;
    text["seconds"]       = rounded(seconds);
    text["decode"]        = rates_json(decode);
    text["prompt"]        = rates_json(prompt);
    text["depth"]         = depth;
    text["batch"]         = batch;
    text["threads"]       = threads;
    text["threads_batch"] = threads_batch;
    text["cpu_share"]     = rounded(cpu_share);
    return text.dump();
}

} // namespace solofile
