// Numbers of threads that compete in one kind of work, measured in rounds that go through all of them: whatever else the
// machine does meanwhile falls on each of them alike.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <vector>

namespace solofile {

class contest {
  public:
    using clock = std::chrono::steady_clock;

    explicit contest(std::vector<int> candidates) : candidates_(std::move(candidates)) {}

    // Measures with `burst`, which gives tokens per second (0: it could not, and that was the last). A number's first
    // turn may begin until `last`; its others must be over by `end`, going by the first.
    void run(const std::function<double(int)> & burst, int rounds, clock::time_point end, clock::time_point last) {
        for (int round = 0; round < rounds; round++) {
            for (const int threads : candidates_) {
                const auto begin = clock::now();
                const bool first = rates_.count(threads) == 0;
                if (begin >= last || (!first && begin + took_[threads] > end)) {
                    return;
                }
                const double rate = burst(threads);
                if (rate <= 0) {
                    return;
                }
                took_[threads] = clock::now() - begin;
                rates_[threads].push_back(rate);
            }
            drop_losers();
            if (candidates_.size() < 2) {
                return; // nothing is left to be compared
            }
            std::reverse(candidates_.begin(), candidates_.end());
        }
    }

    // Whether each number that is still in it was measured.
    bool complete() const {
        return std::all_of(candidates_.begin(), candidates_.end(), [this](int n) { return rates_.count(n) != 0; });
    }

    // Threads -> tokens per second.
    std::map<int, double> medians() const {
        std::map<int, double> result;
        for (const auto & [threads, rates] : rates_) {
            result[threads] = median(rates);
        }
        return result;
    }

    // Those that have not lost, in no order.
    const std::vector<int> & candidates() const { return candidates_; }

  private:
    static double median(std::vector<double> values) {
        std::sort(values.begin(), values.end());
        const size_t n = values.size();
        return (values[n / 2] + values[(n - 1) / 2]) / 2;
    }

    // Those that are so far behind the best, even in their best round, that more rounds would be lost time.
    void drop_losers() {
        constexpr double once = 0.2, often = 0.8; // one measurement alone may be a bad moment, as under a quota
        double           best = 0;
        for (const auto & [threads, value] : medians()) {
            best = std::max(best, value);
        }
        const auto hopeless = [&](int threads) {
            const auto & rates = rates_[threads];
            return *std::max_element(rates.begin(), rates.end()) < best * (rates.size() < 2 ? once : often);
        };
        candidates_.erase(std::remove_if(candidates_.begin(), candidates_.end(), hopeless), candidates_.end());
    }

    std::vector<int>                   candidates_;
    std::map<int, std::vector<double>> rates_;
    std::map<int, clock::duration>     took_;
};

// The fewest threads that are about as fast as the fastest; `before` where there is nothing to compare.
inline int choose(const std::map<int, double> & rates, int before) {
    constexpr double margin = 1.03;
    double           best   = 0;
    for (const auto & [threads, rate] : rates) {
        best = std::max(best, rate);
    }
    for (const auto & [threads, rate] : rates) {
        if (rates.size() > 1 && rate * margin >= best) {
            return threads;
        }
    }
    return before;
}

} // namespace solofile
