/* A clock of the day that a test moves: what CLOCK_OFFSET holds, in seconds, is added to what the system says. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;

/* Before the program can forbid itself to open files. */
__attribute__((constructor)) static void map_offset(void) {
    int file = open(getenv("CLOCK_OFFSET"), O_RDONLY);
    void *mapped = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (file < 0 || mapped == MAP_FAILED)
        abort();
    close(file);
    offset = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, time);
    if (!code && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += *offset;
    return code;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result)
        *result = now.tv_sec;
    return now.tv_sec;
}

/* Waits until a time of day, which end when that clock says so: looked at in small steps, as it may jump meanwhile. */

enum { STEP = 20 * 1000 * 1000, SECOND = 1000 * 1000 * 1000 };

/* The clocks of other waits begin when the system starts. */
static int is_time_of_day(const struct timespec *until) { return until->tv_sec > 500 * 1000 * 1000; }

static int is_over(const struct timespec *until) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec > until->tv_sec || (now.tv_sec == until->tv_sec && now.tv_nsec >= until->tv_nsec);
}

/* Soon, by the clock that the kernel has. */
static struct timespec soon(void) {
    struct timespec then;
    clock_gettime(CLOCK_REALTIME, &then);
    then.tv_sec -= *offset;
    then.tv_nsec += STEP;
    if (then.tv_nsec >= SECOND) {
        then.tv_nsec -= SECOND;
        then.tv_sec++;
    }
    return then;
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
    static int (*real)(sem_t *, const struct timespec *);
    static int is_ours; /* which comes before the C library's in a bundle, and asks for the time by itself */
    if (!real) {
        Dl_info facts;
        real = dlsym(RTLD_NEXT, "sem_timedwait");
        is_ours = dladdr((void *)real, &facts) && strstr(facts.dli_fname, "libstart.so");
    }
    if (is_ours)
        return real(semaphore, until);
    for (;;) {
        struct timespec then = is_over(until) ? (struct timespec){0, 0} : soon();
        if (!real(semaphore, &then))
            return 0;
        if (errno != ETIMEDOUT || !then.tv_sec)
            return -1;
    }
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    if (!is_time_of_day(until))
        return real(condition, mutex, until);
    for (;;) {
        struct timespec then = is_over(until) ? (struct timespec){0, 0} : soon();
        int code = real(condition, mutex, &then);
        if (code != ETIMEDOUT || !then.tv_sec)
            return code;
    }
}
