/* Stands in for a CPU variant of ggml in the tests: misbehaves when it is initialised.
 *
 * The sandbox lets it open no file of the tests. But it may look at one, and change its mode: the length of the file
 * CONTROL is that of one of the words illegal, crash, hang and memory, and the mode of LOG counts how often it was used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int   ggml_backend_score(void);
EXPORT void *ggml_backend_init(void);

int ggml_backend_score(void)
{
    return 1;
}

static void note(void)
{
    struct stat found;
    if (!stat(LOG, &found))
        chmod(LOG, (found.st_mode & 0777) + 1);
}

static void take_all_memory(void)
{
    const size_t size = 16 << 20;
    char *volatile piece; /* so that the compiler takes none of it away */
    while ((piece = malloc(size)) != NULL)
        memset(piece, 1, size);
    fprintf(stderr, "out of memory\n");
    abort();
}

void *ggml_backend_init(void)
{
    struct stat found;
    note();
    if (stat(CONTROL, &found))
        return NULL;
    if (found.st_size == strlen("illegal"))
        __asm__ volatile("ud2");
    if (found.st_size == strlen("crash"))
        *(volatile int *)8 = 1;
    if (found.st_size == strlen("memory"))
        take_all_memory();
    while (found.st_size == strlen("hang"))
        pause();
    return NULL;
}
