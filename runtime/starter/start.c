/* Starts the runtime: finds Python beside itself, makes it deaf to its surroundings, and runs solofile_start.
 *
 *   <folder>/solofile-runtime[.exe]     this program, or the one that holds Python (then this is libstart.so)
 *   <folder>/<SOLOFILE_PYTHON>          Python as a shared library, unless a program holds it
 *   <folder>/lib/python.zip             the modules, compiled
 *   <folder>/lib/…                      extension modules, the libraries that they need, the page
 *
 * Nothing that decides what is loaded comes from the environment, from the current directory or from a configuration
 * file: Python is told its two folders and asked to look nowhere else.
 *
 * Python is spoken to by names alone, without its headers: those below are the same from 3.8 to 3.12. So the machine that
 * builds needs no headers, and one source serves every version and system.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "system.h"

static const char program_text[] = "import solofile_start\nsolofile_start.run()\n";

struct python {
    int *flags[7];
    int *utf8, *optimize;
    void (*set_program_name)(const wchar_t *);
    void (*set_path)(const wchar_t *);
    void (*initialize)(int);
    wchar_t *(*decode)(const char *, size_t *);
    void (*set_arguments)(int, wchar_t **, int);
    int (*run)(const char *, void *);
    int (*finish)(void);
};

static const char *const flag_names[] = {
    "Py_IsolatedFlag", "Py_IgnoreEnvironmentFlag", "Py_NoUserSiteDirectory", "Py_NoSiteFlag",
    "Py_DontWriteBytecodeFlag", "Py_FrozenFlag", "Py_QuietFlag",
};

static void *need(void *library, const char *name) {
    void *found = find_symbol(library, name);
    if (!found) {
        fprintf(stderr, "solofile: this Python has no %s: the bundle was built with one that does not fit.\n", name);
        exit(1);
    }
    return found;
}

static struct python find_python(void *library) {
    struct python found;
    for (size_t i = 0; i < sizeof flag_names / sizeof *flag_names; i++)
        found.flags[i] = need(library, flag_names[i]);
    found.utf8 = need(library, "Py_UTF8Mode");
    found.optimize = need(library, "Py_OptimizeFlag");
    *(void **)&found.set_program_name = need(library, "Py_SetProgramName");
    *(void **)&found.set_path = need(library, "Py_SetPath");
    *(void **)&found.initialize = need(library, "Py_InitializeEx");
    *(void **)&found.decode = need(library, "Py_DecodeLocale");
    *(void **)&found.set_arguments = need(library, "PySys_SetArgvEx");
    *(void **)&found.run = need(library, "PyRun_SimpleStringFlags");
    *(void **)&found.finish = need(library, "Py_FinalizeEx");
    return found;
}

/* The two places of modules, as Python takes them. Not by swprintf: macOS' goes by the locale, which none has set yet. */
static wchar_t *module_path(const wchar_t *folder) {
    static const wchar_t zip[] = SEPARATOR L"lib" SEPARATOR L"python.zip" LISTED, plain[] = SEPARATOR L"lib";
    wchar_t *path = malloc((2 * wcslen(folder) + sizeof zip + sizeof plain) * sizeof *path);
    if (path) {
        wcscpy(path, folder);
        wcscat(path, zip);
        wcscat(path, folder);
        wcscat(path, plain);
    }
    return path;
}

int start_python(void *library, int count, system_char **arguments) {
    struct python python = find_python(library);
    for (size_t i = 0; i < sizeof python.flags / sizeof *python.flags; i++)
        *python.flags[i] = 1;
    *python.utf8 = 1;
    *python.optimize = 2;

    wchar_t *program = own_path(python.decode), *folder = program ? wcsdup(program) : NULL;
    wchar_t *end = folder ? wcsrchr(folder, SEPARATOR[0]) : NULL;
    wchar_t **words = calloc((size_t)count + 1, sizeof *words);
    if (!end || !words) {
        fputs("solofile: the program cannot find out where it lies: is /proc mounted?\n", stderr);
        return 1;
    }
    *end = 0;
    wchar_t *path = module_path(folder);
    for (int i = 0; i < count; i++)
        if (!path || !(words[i] = wide(arguments[i], python.decode))) {
            fputs("solofile: there is not enough memory to start.\n", stderr);
            return 1;
        }
    python.set_program_name(program);
    python.set_path(path);
    python.initialize(1);
    python.set_arguments(count, words, 0);
    int failed = python.run(program_text, NULL); /* which ends the process itself where the runtime says a code */
    return python.finish() || failed ? 1 : 0;
}
