#include "member_view.h"

#include <stdexcept>

#if !defined(_WIN32)
#    include <sys/mman.h>
#    include <sys/stat.h>
#    include <unistd.h>
#endif

namespace solofile {

[[noreturn]] void member_view::refuse() const {
    throw std::runtime_error("The model " + name_ + " cannot be read to its end: copy or download it again.");
}

#if !defined(_WIN32)

member_view::member_view(const std::string & name, const member & place) : name_(name), file_(open_member(place)) {
    struct stat facts;
    const bool  whole = file_ && fstat(fileno(file_.get()), &facts) == 0 &&
                       place.offset + place.size <= (uint64_t) facts.st_size; // beyond it lies SIGBUS
    if (!whole) {
        refuse();
    }
    const size_t page = (size_t) sysconf(_SC_PAGESIZE);
    begin_            = place.offset / page * page;
    length_           = (size_t) (place.offset + place.size - begin_);
    void * mapped     = mmap(nullptr, length_, PROT_READ, MAP_SHARED, fileno(file_.get()), (off_t) begin_);
    if (mapped == MAP_FAILED) {
        refuse();
    }
    base_ = (char *) mapped;
    madvise(base_, length_, MADV_RANDOM); // samples are read by range, their neighbours not at all
    buffer_.reset(ggml_backend_cpu_buffer_from_ptr(base_, length_));
}

member_view::~member_view() {
    buffer_.reset();
    munmap(base_, length_);
}

const char * member_view::bytes(uint64_t at, size_t size) {
    const size_t page  = (size_t) sysconf(_SC_PAGESIZE);
    char *       first = base_ + (at - begin_);
    char *       start = base_ + (at - begin_) / page * page;
    posix_madvise(start, (size_t) (first + size - start), POSIX_MADV_WILLNEED);
    volatile char touched = 0;
    for (const char * p = start; p < first + size; p += page) {
        touched = *p; // now, so that no measurement pays for it
    }
    (void) touched;
    return first;
}

#else

member_view::member_view(const std::string & name, const member & place) : name_(name), file_(open_member(place)) {
    if (!file_) {
        refuse();
    }
}

member_view::~member_view() = default;

const char * member_view::bytes(uint64_t at, size_t size) {
    copies_.emplace_back(size);
    if (_fseeki64(file_.get(), (int64_t) at, SEEK_SET) != 0 ||
        std::fread(copies_.back().data(), 1, size, file_.get()) != size) {
        refuse();
    }
    return copies_.back().data();
}

#endif

} // namespace solofile
