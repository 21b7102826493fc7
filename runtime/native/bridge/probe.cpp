// How fast a device multiplies by the weights of a model, and whether it computes right: in a second, without loading the
// model, in a process that may crash.
#include "attention_probe.h"
#include "bridge.h"
#include "json.h"
#include "products.h"
#include "text.h"

#include <algorithm>
#include <cmath>
#include <memory>

namespace solofile {

namespace {

using clock = std::chrono::steady_clock;

constexpr size_t  trial_bytes  = 1u << 20;  // of a family, for a first idea of the speed
constexpr size_t  sample_bytes = 64u << 20; // of all families: more than caches hold
constexpr size_t  tensor_bytes = 32u << 20; // of a tensor; of a larger one some rows say enough
constexpr size_t  most_kinds   = 12;        // families; the smaller ones are taken to be as fast as the others
constexpr size_t  most_layers  = 8;         // of attention
constexpr int64_t least_rows   = 32;        // CPU kernels work on up to 16 rows at once, in two threads at least
constexpr double  brief        = 0.004;     // seconds of a run of several tokens: a busy system lets most of these through

struct job {
    std::string          member, device;
    int                  threads;
    bool                 repack, attention;
    double               seconds; // for each of the measurements
    std::vector<int64_t> tokens;  // ascending
};

job read_job(const char * text) {
    const common_json facts = common_json::parse(text);
    job               wanted{ facts.value("member", ""),
                              facts.value("device", "CPU"),
                              facts.value<int>("threads", 1),
                              facts.value<bool>("repack", true),
                              facts.value<int>("attention", 0) != 0,
                              facts.value<double>("seconds", 0.25),
                              {} };
    for (const int tokens : facts.value<std::vector<int>>("tokens", { 1, 64 })) {
        if (tokens < 1 || tokens > 4096) {
            throw std::runtime_error("A probe takes 1 to 4096 tokens at once, not " + std::to_string(tokens) + ".");
        }
        wanted.tokens.push_back(tokens);
    }
    std::sort(wanted.tokens.begin(), wanted.tokens.end());
    if (wanted.tokens.empty() || wanted.tokens.size() > 8) {
        throw std::runtime_error("A probe takes one to eight numbers of tokens.");
    }
    if (wanted.threads < 1 || wanted.threads > GGML_MAX_N_THREADS) {
        throw std::runtime_error("A probe takes 1 to " + std::to_string(GGML_MAX_N_THREADS) + " threads, not " +
                                 std::to_string(wanted.threads) + ".");
    }
    if (!(wanted.seconds > 0 && wanted.seconds <= 60)) {
        throw std::runtime_error("A probe takes up to 60 seconds for each measurement.");
    }
    return wanted;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const size_t middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

clock::time_point after(double seconds) {
    return clock::now() + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds));
}

// Runs each of the graphs once to warm up, then all of them in turn until the deadline: seconds of each, the median.
template <typename Graph>
std::vector<double> time_in_turn(std::vector<std::unique_ptr<Graph>> & graphs, clock::time_point deadline) {
    constexpr int                    least_rounds = 3, most_rounds = 500;
    std::vector<std::vector<double>> times(graphs.size());
    for (auto & graph : graphs) {
        graph->run();
    }
    for (int round = 0; round < most_rounds && (round < least_rounds || clock::now() < deadline); round++) {
        for (size_t i = 0; i < graphs.size(); i++) {
            times[i].push_back(graphs[i]->run());
        }
    }
    std::vector<double> medians;
    for (const auto & all : times) {
        medians.push_back(median(all));
    }
    return medians;
}

// The same for a GPU, which is not disturbed by what else runs: its drivers like it better (Mesa's lavapipe 22.3 corrupts
// its memory when short graphs of different kinds alternate).
template <typename Graph>
std::vector<double> time_one_by_one(std::vector<std::unique_ptr<Graph>> & graphs, double seconds) {
    std::vector<double> medians;
    for (auto & graph : graphs) {
        std::vector<std::unique_ptr<Graph>> one;
        one.push_back(std::move(graph));
        medians.push_back(time_in_turn(one, after(seconds / (double) graphs.size())).front());
        graph = std::move(one.front());
    }
    return medians;
}

// A family, where its weights go, and what is known of its speed.
struct candidate {
    family                     kind;
    ggml_backend_buffer_type_t place;
    double                     row_seconds = 0; // of the trial before, for `tokens`
    int64_t                    tokens      = 0;

    int64_t tokens_of(int64_t pass) const { return kind.output ? 1 : pass; }
    size_t  row_bytes() const { return kind.row_bytes() * (size_t) kind.depth; }

    // As many rows, or a multiple of least_rows below; all of them when it comes to that.
    int64_t rows_for(double wanted) const {
        const double  bounded = std::min(wanted, (double) kind.rows);
        const int64_t rounded = std::max<int64_t>(least_rows, (int64_t) bounded / least_rows * least_rows);
        return bounded >= (double) kind.rows ? kind.rows : std::min(rounded, kind.rows);
    }
};

class prober {
  public:
    prober(const job & wanted, const member & place) :
        job_(wanted), model_(read_outline(wanted.member, place)), file_(wanted.member, place),
        device_(wanted.device, wanted.threads) {
        for (const auto & kind : model_.families) {
            model_bytes_ += model_.bytes(kind);
            if (candidates_.size() < most_kinds) {
                candidates_.push_back({ kind, place_for(device_, kind, model_.used_experts, job_.repack) });
                kept_bytes_ += model_.bytes(kind);
            }
        }
    }

    common_json run() {
        common_json seconds = common_json::object();
        for (const int64_t tokens : job_.tokens) {
            seconds[std::to_string(tokens)] = pass(tokens);
        }
        if (!std::isfinite(error_)) {
            throw std::runtime_error("The device " + device_.name() +
                                     " computes no numbers: it cannot be used for this model.");
        }
        common_json result    = common_json::object();
        result["device"]      = device_.name();
        result["error"]       = error_;
        result["bytes"]       = measured_bytes_;
        result["model_bytes"] = (uint64_t) model_bytes_;
        result["repacked"]    = (uint64_t) repacked_bytes();
        result["seconds"]     = seconds;
        if (job_.attention) {
            result["attention"] = attention();
        }
        return result;
    }

  private:
    using graphs = std::vector<std::unique_ptr<products>>;

    std::unique_ptr<products> graph(const candidate & c, int64_t rows, size_t count, int64_t tokens, double seconds) {
        return std::make_unique<products>(device_, file_, c.kind, model_.used_experts, c.place,
                                          amount{ rows, count, c.tokens_of(tokens) }, after(seconds));
    }

    double share() const { return job_.seconds / (double) candidates_.size(); }

    // A few rows of one tensor, so that a slow device is found out before it gets much to do.
    void try_out(candidate & c, int64_t tokens) {
        double rows = (double) trial_bytes / (double) c.row_bytes();
        if (c.tokens > 0 && c.tokens_of(tokens) > c.tokens) {
            const double slowest = c.row_seconds * (double) c.tokens_of(tokens) / (double) c.tokens;
            rows                 = std::min(rows, share() / 2 / slowest);
        } else if (c.tokens_of(tokens) > 1 && c.tokens == 0) {
            rows = (double) least_rows;
        }
        const auto trial = graph(c, c.rows_for(rows), 1, tokens, job_.seconds);
        double     taken = trial->run();
        if (taken < share()) {
            taken = trial->run(); // the first one prepares things
        }
        c.row_seconds = taken / (double) trial->measured().rows;
        c.tokens      = c.tokens_of(tokens);
    }

    // What is measured of a family: its part of sample_bytes, less if one pass over all of them would take too long.
    amount sample(const candidate & c, double fraction) const {
        const double tensor = (double) c.kind.tensor_bytes();
        const double bytes  = (double) sample_bytes * model_.bytes(c.kind) / kept_bytes_;
        const double count  = std::min(bytes / tensor, (double) c.kind.places.size()) * fraction;
        if (count >= 1) {
            return { c.kind.rows, (size_t) count, 0 };
        }
        const double whole = std::min(1.0, (double) tensor_bytes / tensor);
        return { c.rows_for((double) c.kind.rows * whole * (fraction < 1 ? std::max(count, fraction) : 1)), 1, 0 };
    }

    double predicted(double fraction) const {
        double seconds = 0;
        for (const auto & c : candidates_) {
            const amount some = sample(c, fraction);
            seconds += c.row_seconds * (double) some.rows * (double) some.count;
        }
        return seconds;
    }

    // Several tokens are computed with what the caches hold; for a single one they must not hold all of it.
    double round_seconds(int64_t tokens) const {
        const double longest = job_.seconds / 4;
        return tokens > 1 ? std::min(longest, brief * (double) candidates_.size()) : longest;
    }

    // Seconds of one pass of so many tokens over all weights of the model.
    double pass(int64_t tokens) {
        const auto deadline = after(job_.seconds);
        for (auto & c : candidates_) {
            try_out(c, tokens);
        }
        const double fraction = std::min(1.0, round_seconds(tokens) / predicted(1));
        graphs       all;
        for (const auto & c : candidates_) {
            const amount some = sample(c, fraction);
            all.push_back(graph(c, some.rows, some.count, tokens, share() / 2));
        }
        const auto times = device_.is_cpu() ? time_in_turn(all, std::max(deadline, after(job_.seconds / 2)))
                                            : time_one_by_one(all, job_.seconds);
        double     sum = 0, bytes = 0;
        for (size_t i = 0; i < all.size(); i++) {
            const auto & some = all[i]->measured();
            const auto & kind = candidates_[i].kind;
            sum += times[i] / (double) some.count * (double) kind.rows / (double) some.rows *
                   (double) kind.places.size();
            bytes += (double) all[i]->bytes();
            const double error = all[i]->error();
            error_             = std::isfinite(error) ? std::max(error_, error) : error;
        }
        measured_bytes_ = std::max(measured_bytes_, (uint64_t) bytes);
        return sum * model_bytes_ / kept_bytes_;
    }

    double repacked_bytes() const {
        double bytes = 0;
        for (const auto & c : candidates_) {
            bytes += c.place != device_.plain() ? model_.bytes(c.kind) : 0;
        }
        return bytes;
    }

    common_json attention() {
        common_json flash = common_json::object(), plain = common_json::object(), result = common_json::object();
        for (const int64_t tokens : job_.tokens) {
            if (model_.attention.layers > 0) {
                compare_attention(tokens, flash, plain);
            }
        }
        result["flash"] = flash;
        result["plain"] = plain;
        return result;
    }

    // Both ways with the same inputs.
    void compare_attention(int64_t tokens, common_json & flash, common_json & plain) {
        const std::string name    = std::to_string(tokens);
        const double      seconds = job_.seconds / (double) job_.tokens.size();
        const auto        make    = [&](int64_t layers, bool in_one) {
            return std::make_unique<attention_probe>(device_, model_.attention, layers, tokens, in_one);
        };
        const auto        deadline = after(seconds);
        int64_t           layers = std::min<int64_t>(model_.attention.layers, most_layers);
        std::vector<bool> kinds;
        for (const bool in_one : { true, false }) {
            auto one = make(1, in_one);
            if (one->supported()) {
                kinds.push_back(in_one);
                one->run();
                layers = std::max<int64_t>(1, std::min(layers, (int64_t) (std::min(seconds / 8, brief) / one->run())));
            }
        }
        std::vector<std::unique_ptr<attention_probe>> all;
        for (const bool in_one : kinds) {
            all.push_back(make(layers, in_one));
        }
        const auto times = device_.is_cpu() ? time_in_turn(all, std::max(deadline, after(seconds / 2)))
                                            : time_one_by_one(all, seconds);
        for (size_t i = 0; i < all.size(); i++) {
            (kinds[i] ? flash : plain)[name] = times[i] / (double) layers * (double) model_.attention.layers;
        }
    }

    job                    job_;
    outline                model_;
    member_view            file_;
    probe_device           device_;
    std::vector<candidate> candidates_;
    double                 model_bytes_ = 0, kept_bytes_ = 0;
    uint64_t               measured_bytes_ = 0;
    double                 error_          = 0;
};

std::string probe(const char * spec) {
    const job wanted = read_job(spec);
    member    place;
    if (!find_member(wanted.member.c_str(), place)) {
        throw std::runtime_error("There is no model " + wanted.member + " to measure with.");
    }
    return prober(wanted, place).run().dump();
}

} // namespace

} // namespace solofile

extern "C" int sf_probe(const char * spec, char * out, size_t size) {
    std::string text = "There is not enough memory for a measurement.";
    int         failed = 1;
    try {
        text   = solofile::probe(spec);
        failed = 0;
    } catch (const common_json_error & e) {
        text = std::string("The probe's job is not as it should be: ") + e.what() + ".";
    } catch (const std::bad_alloc &) {
    } catch (const std::exception & e) {
        text = e.what();
    } catch (...) {
        text = "The device failed for a reason that it does not give.";
    }
    solofile::put_text(text, out, size);
    return failed;
}
