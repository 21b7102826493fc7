/* Stands in for a CPU variant of ggml in the tests: misbehaves when it is initialised.
 *
 * CONTROL is the path of a file with one word: illegal, crash, hang or memory. Each time a byte is added to LOG. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    FILE *file = fopen(LOG, "a");
    if (file) {
        fputc('.', file);
        fclose(file);
    }
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
    char  word[16] = "";
    FILE *file     = fopen(CONTROL, "r");
    note();
    if (!file || fscanf(file, "%15s", word) != 1)
        return NULL;
    fclose(file);
    if (!strcmp(word, "illegal"))
        __asm__ volatile("ud2");
    if (!strcmp(word, "crash"))
        *(volatile int *)8 = 1;
    if (!strcmp(word, "memory"))
        take_all_memory();
    while (!strcmp(word, "hang"))
        pause();
    return NULL;
}
