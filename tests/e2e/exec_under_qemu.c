// Preloaded into a program that runs under qemu's user-mode emulation: what it starts runs under qemu too.
//
// The kernel would run it on the real CPU. WRAP_QEMU is qemu's path, WRAP_CPU the CPU that it shows.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

typedef int (*exec_function)(const char *, char * const[], char * const[]);

int execve(const char * path, char * const argv[], char * const envp[]) {
    exec_function real = (exec_function) dlsym(RTLD_NEXT, "execve");
    const char *  qemu = getenv("WRAP_QEMU");
    const char *  cpu  = getenv("WRAP_CPU");
    int           count = 0;
    while (argv[count] != NULL) {
        count++;
    }
    char ** wrapped = calloc((size_t) count + 6, sizeof(char *));
    int     n       = 0;
    wrapped[n++] = (char *) qemu;
    wrapped[n++] = (char *) "-cpu";
    wrapped[n++] = (char *) cpu;
    wrapped[n++] = (char *) path;
    for (int i = 1; i < count; i++) {
        wrapped[n++] = argv[i];
    }
    return real(qemu, wrapped, envp);
}
