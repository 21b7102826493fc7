/* Stands in for libvulkan.so.1 in the tests: hands everything on to the real loader, until it is told to misbehave.
 *
 * CONTROL is the path of a file with one line, "<when> <what> [<count>]", read anew each time:
 *     when   load (the library is loaded), create (vkCreateInstance), submit (vkQueueSubmit)
 *     what   crash, abort, hang, fail
 *     count  how many calls of that kind still go well first, in each process
 * REAL is the path of the real loader. */
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define FAILED (-3) /* VK_ERROR_INITIALIZATION_FAILED */
#define LOST (-4)   /* VK_ERROR_DEVICE_LOST */

typedef void (*Function)(void);
typedef Function (*Lookup)(void *handle, const char *name);

EXPORT Function vkGetInstanceProcAddr(void *instance, const char *name);
EXPORT Function vkGetDeviceProcAddr(void *device, const char *name);
EXPORT void vkGetPhysicalDeviceFeatures2(void *device, void *features);
EXPORT void vkCmdCopyBuffer(void *commands, uint64_t from, uint64_t to, uint32_t count, const void *regions);

static void *real(const char *name)
{
    static void *library;
    if (!library)
        library = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "stub: %s\n", dlerror());
        abort();
    }
    return dlsym(library, name);
}

/* Does what the control file says for this moment; 1 if the call is to fail. */
static int misbehave(const char *now, int calls)
{
    char when[16] = "", what[16] = "";
    int count = 0;
    FILE *file = fopen(CONTROL, "r");
    if (!file)
        return 0;
    int read = fscanf(file, "%15s %15s %d", when, what, &count);
    fclose(file);
    if (read < 2 || strcmp(when, now) || calls < count)
        return 0;
    if (!strcmp(what, "crash"))
        raise(SIGSEGV);
    if (!strcmp(what, "abort"))
        abort();
    while (!strcmp(what, "hang"))
        pause();
    return !strcmp(what, "fail");
}

__attribute__((constructor)) static void loaded(void)
{
    misbehave("load", 0);
}

static int create_instance(const void *info, const void *allocator, void **instance)
{
    static int calls;
    if (misbehave("create", calls++))
        return FAILED;
    return ((int (*)(const void *, const void *, void **))real("vkCreateInstance"))(info, allocator, instance);
}

static int queue_submit(void *queue, uint32_t count, const void *submits, uint64_t fence)
{
    static int calls;
    if (misbehave("submit", calls++))
        return LOST;
    return ((int (*)(void *, uint32_t, const void *, uint64_t))real("vkQueueSubmit"))(queue, count, submits, fence);
}

static Function ours(const char *name)
{
    if (!strcmp(name, "vkCreateInstance"))
        return (Function)create_instance;
    if (!strcmp(name, "vkQueueSubmit"))
        return (Function)queue_submit;
    if (!strcmp(name, "vkGetInstanceProcAddr"))
        return (Function)vkGetInstanceProcAddr;
    if (!strcmp(name, "vkGetDeviceProcAddr"))
        return (Function)vkGetDeviceProcAddr;
    return NULL;
}

Function vkGetInstanceProcAddr(void *instance, const char *name)
{
    Function found = ours(name);
    return found ? found : ((Lookup)real("vkGetInstanceProcAddr"))(instance, name);
}

Function vkGetDeviceProcAddr(void *device, const char *name)
{
    Function found = ours(name);
    return found ? found : ((Lookup)real("vkGetDeviceProcAddr"))(device, name);
}

void vkGetPhysicalDeviceFeatures2(void *device, void *features)
{
    ((void (*)(void *, void *))real("vkGetPhysicalDeviceFeatures2"))(device, features);
}

void vkCmdCopyBuffer(void *commands, uint64_t from, uint64_t to, uint32_t count, const void *regions)
{
    typedef void (*Copy)(void *, uint64_t, uint64_t, uint32_t, const void *);
    ((Copy)real("vkCmdCopyBuffer"))(commands, from, to, count, regions);
}
