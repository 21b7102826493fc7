/* Paths, words and shared libraries where they are POSIX's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef __APPLE__
#include <mach-o/dyld.h>
#else
#include <elf.h>
#include <sys/auxv.h>
#endif

#include "system.h"

wchar_t *own_path(decoder *decode) {
    char path[PATH_MAX];
#ifdef __APPLE__
    char said[PATH_MAX];
    uint32_t size = sizeof said;
    if (_NSGetExecutablePath(said, &size) || !realpath(said, path))
        return NULL;
#else
    /* Without /proc, what the kernel was asked to start: the launcher names the whole path. */
    const char *asked = (const char *)getauxval(AT_EXECFN);
    if (!realpath("/proc/self/exe", path) && !(asked && realpath(asked, path)))
        return NULL;
#endif
    return decode(path, NULL);
}

wchar_t *wide(system_char *word, decoder *decode) { return decode(word, NULL); }

void *find_symbol(void *library, const char *name) { return dlsym(library ? library : RTLD_DEFAULT, name); }
