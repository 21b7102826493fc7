/* The functions that ggml's Vulkan backend takes from libvulkan.so.1 itself; it asks the first one for all others. */
#define LOADER_HAS(name)                                     \
    __attribute__((visibility("default"))) void name(void);  \
    void name(void) {}

LOADER_HAS(vkGetInstanceProcAddr)
LOADER_HAS(vkGetDeviceProcAddr)
LOADER_HAS(vkGetPhysicalDeviceFeatures2)
LOADER_HAS(vkCmdCopyBuffer)
