/* What differs between systems: paths, words and shared libraries. */
#ifndef SOLOFILE_SYSTEM_H
#define SOLOFILE_SYSTEM_H

#include <stddef.h>
#include <wchar.h>

typedef wchar_t *decoder(const char *, size_t *);

#ifdef _WIN32

#define SEPARATOR L"\\"
#define LISTED L";"
typedef wchar_t system_char;

#else

#define SEPARATOR L"/"
#define LISTED L":"
typedef char system_char;

#endif

/* The whole path of the running program; NULL if that cannot be found out. */
wchar_t *own_path(decoder *decode);

/* A word of the command line as Python takes it; NULL without memory. */
wchar_t *wide(system_char *word, decoder *decode);

/* What a shared library, or with NULL the whole process, offers under a name. */
void *find_symbol(void *library, const char *name);

/* Sets Python up and runs the runtime; what comes back is the exit code. */
int start_python(void *library, int count, system_char **arguments);

#endif
