/* libstart.so: what makes a program that holds Python start ours.
 *
 * Where a distribution has Python as a static library, it comes to us as a program that is linked with it, exports its
 * names to extension modules, and would run something of its own. This library is named first among those that the
 * program needs, so its __libc_start_main is the one that the program's entry point calls: it hands the C library our
 * main() in place of the program's.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "system.h"

typedef int main_function(int, char **, char **);
typedef int start_function(main_function *, int, char **, void (*)(void), void (*)(void), void (*)(void), void *);

static int our_main(int count, char **arguments, char **environment) {
    (void)environment;
    return start_python(NULL, count, arguments);
}

int __libc_start_main(main_function *theirs, int count, char **arguments, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end) {
    (void)theirs;
    start_function *real;
    *(void **)&real = dlsym(RTLD_NEXT, "__libc_start_main");
    if (!real)
        abort();
    return real(our_main, count, arguments, init, fini, rtld_fini, stack_end);
}

/* The one function that the program takes from GCC's library, which minimal systems do not have. */
int __popcountdi2(unsigned long long value) {
    int count = 0;
    for (; value; value &= value - 1)
        count++;
    return count;
}
