# What to link ggml's Vulkan backend with for Windows: an import library for vulkan-1.dll, which comes with the drivers
# of the machine where a bundle runs. CMake reads this file at project() (CMAKE_PROJECT_solofile_native_INCLUDE), so
# that vulkan/FindVulkan.cmake finds the target made.
set(import_library ${CMAKE_BINARY_DIR}/libvulkan-1.a)
execute_process(
    COMMAND ${SOLOFILE_ZIG} dlltool -m i386:x86-64 -d ${CMAKE_CURRENT_LIST_DIR}/vulkan-1.def -l ${import_library}
    COMMAND_ERROR_IS_FATAL ANY)
add_library(Vulkan::Vulkan INTERFACE IMPORTED)
target_include_directories(Vulkan::Vulkan SYSTEM INTERFACE ${SOLOFILE_VULKAN_KIT}/include)
target_link_libraries(Vulkan::Vulkan INTERFACE ${import_library})

# windows.cmake lists the exports of what is in ggml's own folder; this backend has a folder of its own, and is not there
# before all have been read.
cmake_language(DEFER CALL export_from ggml-vulkan ggml_backend_init)
