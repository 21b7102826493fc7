# ggml asks for this package but uses nothing of it: its headers lie beside Vulkan's in the kit (FindVulkan.cmake).
