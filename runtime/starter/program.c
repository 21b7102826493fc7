/* The program beside a Python that is a shared library (SOLOFILE_PYTHON, its file name). */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "system.h"

#ifdef _WIN32
#include <windows.h>

int wmain(int count, wchar_t **arguments) {
    wchar_t *path = own_path(NULL);
    wchar_t *end = path ? wcsrchr(path, L'\\') : NULL;
    if (!end)
        return 1;
    static const wchar_t name[] = L"" SOLOFILE_PYTHON;
    wchar_t *file = malloc((wcslen(path) + sizeof name) * sizeof *file);
    if (!file)
        return 1;
    *end = 0;
    swprintf(file, wcslen(path) + sizeof name, L"%ls\\%ls", path, name);
    /* Its own folder, where lie the C library's parts that it needs, and the system's: never the current directory. */
    SetDefaultDllDirectories(LOAD_LIBRARY_SEARCH_APPLICATION_DIR | LOAD_LIBRARY_SEARCH_SYSTEM32);
    HMODULE library = LoadLibraryExW(file, NULL, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_SYSTEM32);
    if (!library) {
        fprintf(stderr, "solofile: %ls cannot be loaded (error %lu).\n", file, GetLastError());
        return 1;
    }
    return start_python(library, count, arguments);
}

#else
#include <dlfcn.h>

#ifdef __APPLE__
#define PLACE "@executable_path/"
#else
#define PLACE "" /* by DT_RUNPATH, which is lib/ beside the program */
#endif

int main(int count, char **arguments) {
    /* Extension modules look for Python's names in the whole process. */
    void *library = dlopen(PLACE SOLOFILE_PYTHON, RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
        fprintf(stderr, "solofile: Python cannot be loaded: %s.\n", dlerror());
        return 1;
    }
    return start_python(library, count, arguments);
}

#endif
