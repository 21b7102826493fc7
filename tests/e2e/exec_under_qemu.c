// Preloaded into a program that runs under qemu's user-mode emulation: what it starts runs under qemu too.
//
// The kernel would run it on the real CPU. WRAP_QEMU is qemu's path, WRAP_CPU the CPU that it shows.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

extern char ** environ;

// The C library's own functions call each other past a preloaded one, so each of them is here. Paths are absolute.
int execve(const char * path, char * const argv[], char * const envp[]) {
    int (*real)(const char *, char * const[], char * const[]) = dlsym(RTLD_NEXT, "execve");
    const char * qemu  = getenv("WRAP_QEMU");
    int          count = 0;
    while (argv[count] != NULL) {
        count++;
    }
    char ** wrapped = calloc((size_t) count + 6, sizeof(char *));
    int     n       = 0;
    wrapped[n++] = (char *) qemu;
    wrapped[n++] = (char *) "-cpu";
    wrapped[n++] = getenv("WRAP_CPU");
    wrapped[n++] = (char *) path;
    for (int i = 1; i < count; i++) {
        wrapped[n++] = argv[i];
    }
    return real(qemu, wrapped, envp);
}

int execv(const char * path, char * const argv[]) {
    return execve(path, argv, environ);
}

int execvp(const char * path, char * const argv[]) {
    return execve(path, argv, environ);
}
