#include "reading.h"

#include <algorithm>

#if !defined(_WIN32)
#    include <fcntl.h>
#endif

namespace solofile {

namespace {

constexpr uint64_t piece = 1u << 20;   // bytes of one read, after which a stop is noticed
constexpr uint64_t ahead = 8u << 20;   // bytes that are asked for before they are read, so that the medium never waits
constexpr uint64_t asked = 128u << 10; // bytes; the kernel cuts a larger request to its window

class ahead_of {
  public:
    ahead_of(FILE * file, const member & m) : file_(file), at_(m.offset), end_(m.offset + m.size) {
#if defined(__linux__)
        // The kernel's own read-ahead would go past the end of the member, into what no one has asked for.
        posix_fadvise(fileno(file_), 0, 0, POSIX_FADV_RANDOM);
#endif
    }

    // Has the bytes up to `place`, and some more, brought in while others are read.
    void want(uint64_t place) {
#if defined(__linux__)
        for (; at_ < std::min(place + ahead, end_); at_ += asked) {
            posix_fadvise(fileno(file_), (off_t) at_, (off_t) std::min(asked, end_ - at_), POSIX_FADV_WILLNEED);
        }
#else
        (void) place;
#endif
    }

  private:
    FILE *         file_;
    uint64_t       at_;
    const uint64_t end_;
};

} // namespace

reading::reading(const std::vector<std::string> & names) {
    for (const auto & name : names) {
        member m;
        if (find_member(name.c_str(), m)) {
            members_.push_back(m);
            total_ += m.size;
        }
    }
    over_ = members_.empty();
}

void reading::run(const std::function<bool()> & stop) {
    for (const auto & m : members_) {
        read(m, stop);
    }
    over_ = true;
}

void reading::read(const member & m, const std::function<bool()> & stop) {
    const file_ptr file = open_member(m);
    if (!file) {
        return;
    }
    std::setvbuf(file.get(), nullptr, _IONBF, 0);
    std::vector<char> buffer(piece);
    ahead_of          requests(file.get(), m);
    uint64_t          left = m.size;
    while (left > 0 && !stop()) {
        const uint64_t wanted = std::min(piece, left);
        requests.want(m.offset + m.size - left + wanted);
        const size_t got = std::fread(buffer.data(), 1, (size_t) wanted, file.get());
        done_ += got;
        left -= got;
        if (got < wanted) {
            return; // an error, or a file that has become shorter
        }
    }
}

} // namespace solofile
