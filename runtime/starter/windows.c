/* Paths, words and shared libraries where they are Windows'. */
#include <stdlib.h>
#include <windows.h>

#include "system.h"

wchar_t *own_path(decoder *decode) {
    (void)decode;
    for (DWORD size = MAX_PATH;; size *= 2) {
        wchar_t *path = malloc(size * sizeof *path);
        DWORD length = path ? GetModuleFileNameW(NULL, path, size) : 0;
        if (length && length < size)
            return path;
        free(path);
        if (!length || size > 1 << 20)
            return NULL;
    }
}

wchar_t *wide(system_char *word, decoder *decode) {
    (void)decode;
    return word;
}

void *find_symbol(void *library, const char *name) { return (void *)GetProcAddress(library, name); }
