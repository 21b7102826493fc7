# Stands in for CMake's module of this name while ggml's Vulkan backend is built: headers and shader compiler are those
# of the kit that the caller names (SOLOFILE_VULKAN_KIT: include/, glslc), never those that lie around on this machine.
set(Vulkan_FOUND TRUE)
set(Vulkan_GLSLC_EXECUTABLE ${SOLOFILE_VULKAN_KIT}/glslc)

if(NOT TARGET Vulkan::Vulkan)
    # To link with; the real loader comes with the drivers of the machine where a bundle runs.
    add_library(vulkan-loader SHARED ${CMAKE_CURRENT_LIST_DIR}/loader.c)
    set_target_properties(vulkan-loader PROPERTIES OUTPUT_NAME vulkan VERSION 1 SOVERSION 1)
    add_library(Vulkan::Vulkan INTERFACE IMPORTED)
    target_include_directories(Vulkan::Vulkan SYSTEM INTERFACE ${SOLOFILE_VULKAN_KIT}/include)
    target_link_libraries(Vulkan::Vulkan INTERFACE vulkan-loader)
endif()
