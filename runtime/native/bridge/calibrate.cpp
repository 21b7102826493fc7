#include "calibrate.h"

#include "contest.h"
#include "last_error.h"
#include "stepper.h"

namespace solofile {

using clock = std::chrono::steady_clock;

namespace {

constexpr int     decode_rounds = 5, prompt_rounds = 3;
constexpr seconds longest_burst{ 0.1 }, shortest_burst{ 0.02 };

// A quota of CPU time is counted by periods of 100 ms, in which the time is used up first and then there is none: where
// the threads get less than they want, few and long bursts say more than many short ones.
constexpr double undisturbed    = 0.8;
constexpr int    held_up_rounds = 2;

// A step that takes this many times as long as the fastest of its kind has lost and is given up, but not before a time
// in which a quota may well have held it up.
constexpr double  slower = 4;
constexpr double  surely = 0.8; // what reaches less than this of the best is not as fast, whatever the noise
constexpr seconds patience{ 0.2 };

class calibrator {
  public:
    calibrator(llama_context * context, const common_params & params, const calibration_wish & wish,
               thread_pools & pools, const std::function<bool()> & stop) :
        context_(context),
        params_(params),
        wish_(wish),
        pools_(pools),
        stop_(stop),
        steps_(context, params, stop) {
        result_.threads       = llama_n_threads(context);
        result_.threads_batch = llama_n_threads_batch(context);
    }

    calibration run() {
        const llama_model * model = llama_get_model(context_);
        if (!(llama_model_has_encoder(model) && llama_model_has_decoder(model))) { // one needs the other's output
            decode();
            prompt();
        }
        finish();
        return result_;
    }

  private:
    using time_point = clock::time_point;

    time_point after(double part) const {
        return begin_ + std::chrono::duration_cast<clock::duration>(seconds(wish_.seconds * part));
    }

    static time_point in(seconds time) { return clock::now() + std::chrono::duration_cast<clock::duration>(time); }

    // Single tokens: one step with each number of threads, then bursts of them at the depth that was wished for.
    void decode() {
        if (!steps_.remembers() || params_.embedding || wish_.decode_threads.empty()) {
            return;
        }
        if (!params_.warmup) {
            steps_.step(1); // the first ever reads weights and reserves memory
        }
        const double share = wish_.prompt_threads.empty() ? 1.0 : 0.5;
        contest      quick(wish_.decode_threads);
        quick.run([&](int threads) { return decode_burst(threads, shortest_burst); }, 1, after(share), after(1));

        contest   deep(quick.candidates());
        const int candidates = (int) quick.candidates().size();
        if (candidates > 1 && after(share) - clock::now() > decode_rounds * candidates * fastest_) {
            fill();
            const bool held_up = steps_.cpu_share() < undisturbed;
            const int  rounds  = held_up ? held_up_rounds : decode_rounds;
            const auto length  = seconds(after(share) - clock::now()) / (rounds * candidates);
            const auto burst   = std::clamp(length, shortest_burst, longest_burst * decode_rounds / rounds);
            deep.run([&](int threads) { return decode_burst(threads, burst); }, rounds, after(share), after(share));
        }
        result_.decode  = merged(quick, deep);
        result_.threads = stop_() ? result_.threads : choose(result_.decode, result_.threads);
    }

    // Tokens per second over about `length` of single steps; 0 when they could not be computed.
    double decode_burst(int threads, seconds length) {
        use(threads, result_.threads_batch);
        steps_.rewind(depth_);
        if (8 * fastest_ < length) {
            steps_.step(1); // wakes the threads
        }
        const auto begin = clock::now();
        seconds    time{ 0 };
        int        count = 0;
        do {
            limit(fastest_, time_point::max());
            const bool done = steps_.step(1);
            time            = clock::now() - begin;
            if (!done) {
                return at_most((count + 1) / time.count(), 1 / fastest_.count());
            }
            count++;
            fastest_ = std::min(fastest_, steps_.last);
        } while (time < length && clock::now() < after(1) && steps_.room() > 0);
        return count / time.count();
    }

    // Brings the context to the depth that was wished for, or to what it holds and the time allows.
    void fill() {
        constexpr double part = 0.05, of_a_step = 0.6; // of the time; a token of a batch costs this or less
        const double     affordable = part * wish_.seconds / (of_a_step * fastest_.count());
        const int        tokens     = std::min({ wish_.depth, steps_.room() / 2, steps_.largest() });
        steps_.rewind(0);
        limit(unknown, after(1));
        steps_.step((int) std::max(1.0, std::min<double>(tokens, affordable)));
        depth_ = result_.depth = steps_.position();
    }

    // Batches: a small one with each number of threads, then as large ones as the time allows.
    void prompt() {
        batch_ = first_batch();
        // A GPU does not give up a batch: it is not begun where it might take too long.
        const double steps = steps_.on_gpu() ? batch_ : slower;
        if (wish_.prompt_threads.empty() || stop_() || in(known(fastest_) * steps) > after(1)) {
            return;
        }
        prepare();
        contest quick(wish_.prompt_threads);
        quick.run([&](int threads) { return prompt_burst(threads, true); }, 1, after(1), after(1));
        contest large(quick.candidates());
        result_.batch = quick.medians().empty() ? 0 : batch_;
        if (quick.complete() && quick.candidates().size() > 1 && grow((int) quick.candidates().size())) {
            prepare();
            large.run([&](int threads) { return prompt_burst(threads, false); }, prompt_rounds, after(1), after(1));
            result_.batch = large.complete() ? batch_ : result_.batch;
        }
        result_.prompt        = merged(quick, large);
        result_.threads_batch = stop_() ? result_.threads_batch : choose(result_.prompt, result_.threads_batch);
    }

    // Tokens of the first batches: fewer where the usual number would take up too much of the time that is left.
    int first_batch() const {
        constexpr int    usual = 32, least = 16;
        constexpr double of_a_step = 0.7; // that a token of a batch may cost
        int              tokens    = usual;
        const auto       rate      = result_.decode.find(wish_.prompt_threads.empty() ? 0 : wish_.prompt_threads[0]);
        if (rate != result_.decode.end()) {
            const seconds share = (after(1) - clock::now()) / (int) (wish_.prompt_threads.size() + 1);
            tokens              = usual * of_a_step / rate->second > share.count() ? least : usual;
        }
        return std::min({ tokens, steps_.largest(), steps_.length() });
    }

    // Makes the batches as large as leaves time for some rounds of them; false when there is none for any.
    bool grow(int candidates) {
        const seconds left = after(1) - clock::now();
        const double  most = std::min(steps_.largest(), steps_.length());
        const double  fit  = batch_ * (left.count() / (prompt_rounds * candidates)) / slowest_batch_.count();
        const bool    any  = left > slowest_batch_;
        batch_             = std::max(batch_, (int) std::min(most, fit) / batch_ * batch_);
        fastest_batch_     = unknown;
        slowest_batch_     = seconds(0);
        return any;
    }

    // Tokens per second of one batch; `over_time`: it may end after the time, if it is the faster one.
    double prompt_burst(int threads, bool over_time) {
        use(result_.threads, threads);
        steps_.rewind(0);
        const auto begin = clock::now();
        const auto end   = after(1) + std::chrono::duration_cast<clock::duration>(known(fastest_));
        limit(fastest_batch_, over_time ? std::max(end, in(known(fastest_batch_) / surely)) : end);
        if (!steps_.step(batch_)) {
            return at_most(batch_ / seconds(clock::now() - begin).count(), batch_ / fastest_batch_.count());
        }
        fastest_batch_ = std::min(fastest_batch_, steps_.last);
        slowest_batch_ = std::max(slowest_batch_, steps_.last);
        return batch_ / steps_.last.count();
    }

    // A GPU's driver compiles for a new size of batch at its first use.
    void prepare() {
        if (steps_.on_gpu()) {
            steps_.rewind(0);
            steps_.step(batch_);
        }
    }

    // The first, coarse measurements, and the better ones where each number that was left has one.
    static std::map<int, double> merged(const contest & quick, const contest & better) {
        auto rates = better.complete() ? better.medians() : std::map<int, double>();
        for (const auto & entry : quick.medians()) {
            rates.insert(entry);
        }
        return rates;
    }

    void use(int threads, int threads_batch) {
        pools_.use(context_, threads, threads_batch);
        used_ = true;
    }

    // How long the next step may take, where the fastest of its kind took so long.
    void limit(seconds fastest, time_point end) {
        steps_.deadline = std::min(end, fastest == unknown ? end : in(std::max(patience, slower * fastest)));
    }

    // The rate to count for a step that was given up: it would have been less than `rate`. 0 where that says nothing.
    double at_most(double rate, double best) const {
        return !stop_() && clock::now() >= steps_.deadline && rate < surely * best ? rate : 0;
    }

    static seconds known(seconds time) { return time == unknown ? seconds(0) : time; }

    void finish() {
        result_.interrupted = stop_();
        if (result_.interrupted) {
            result_.threads = before_, result_.threads_batch = before_batch_;
        }
        if (used_) {
            pools_.use(context_, result_.threads, result_.threads_batch);
        }
        steps_.finish();
        result_.cpu_share     = steps_.cpu_share();
        result_.threads       = llama_n_threads(context_);
        result_.threads_batch = llama_n_threads_batch(context_);
        result_.seconds       = seconds(clock::now() - begin_).count();
    }

    static constexpr seconds unknown = seconds::max();

    llama_context *               context_;
    const common_params &         params_;
    const calibration_wish &      wish_;
    thread_pools &                pools_;
    const std::function<bool()> & stop_;
    stepper                       steps_;
    calibration                   result_;
    const int                     before_ = llama_n_threads(context_), before_batch_ = llama_n_threads_batch(context_);
    const time_point              begin_   = clock::now();
    seconds                       fastest_ = unknown; // single step
    seconds                       fastest_batch_ = unknown, slowest_batch_{ 0 }; // of this size
    int                           batch_   = 0;
    int                           depth_   = 0;
    bool                          used_    = false;
};

} // namespace

calibration calibrate(llama_context * context, const common_params & params, const calibration_wish & wish,
                      thread_pools & pools, const std::function<bool()> & stop) {
    const quiet_log quiet; // a step that is given up is an error to llama.cpp
    return calibrator(context, params, wish, pools, stop).run();
}

} // namespace solofile
