/* libstart.so: what makes a program that holds Python start ours.
 *
 * Where a distribution has Python as a static library, it comes to us as a program that is linked with it, exports its
 * names to extension modules, and would run something of its own. This library is named first among those that the
 * program needs, so its __libc_start_main is the one that the program's entry point calls: it hands the C library our
 * main() in place of the program's.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "system.h"

typedef int main_function(int, char **, char **);
typedef int start_function(main_function *, int, char **, void (*)(void), void (*)(void), void (*)(void), void *);
typedef int day_wait(sem_t *, const struct timespec *);
typedef int clock_wait(sem_t *, clockid_t, const struct timespec *);

/* Found before there are threads: to look a name up waits for a library that is being loaded, and a driver may hang in
 * that. */
static day_wait *wait_by_day;
static clock_wait *wait_by_clock;

static int our_main(int count, char **arguments, char **environment) {
    (void)environment;
    return start_python(NULL, count, arguments);
}

int __libc_start_main(main_function *theirs, int count, char **arguments, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end) {
    (void)theirs;
    start_function *real;
    *(void **)&real = dlsym(RTLD_NEXT, "__libc_start_main");
    *(void **)&wait_by_day = dlsym(RTLD_NEXT, "sem_timedwait");
    *(void **)&wait_by_clock = dlsym(RTLD_NEXT, "sem_clockwait");
    if (!real || !wait_by_day)
        abort();
    return real(our_main, count, arguments, init, fini, rtld_fini, stack_end);
}

/* How Python waits with a limit where its C library was an old one: by the clock of the day, so that whoever sets that
 * clock back by an hour makes each such wait an hour longer. What is left is waited by the clock that only goes forward
 * instead, where the system's C library can (since glibc 2.30).
 */
int sem_timedwait(sem_t *semaphore, const struct timespec *until) {
    struct timespec day, now;
    if (!wait_by_clock || clock_gettime(CLOCK_REALTIME, &day) || clock_gettime(CLOCK_MONOTONIC, &now))
        return wait_by_day(semaphore, until);
    now.tv_sec += until->tv_sec - day.tv_sec;
    now.tv_nsec += until->tv_nsec - day.tv_nsec;
    if (now.tv_nsec < 0) {
        now.tv_sec--;
        now.tv_nsec += 1000000000;
    } else if (now.tv_nsec >= 1000000000) {
        now.tv_sec++;
        now.tv_nsec -= 1000000000;
    }
    if (now.tv_sec < 0) /* long over: the past of a clock that began at the start of the system */
        now = (struct timespec){0, 0};
    return wait_by_clock(semaphore, CLOCK_MONOTONIC, &now);
}

/* The one function that the program takes from GCC's library, which minimal systems do not have. */
int __popcountdi2(unsigned long long value) {
    int count = 0;
    for (; value; value &= value - 1)
        count++;
    return count;
}
