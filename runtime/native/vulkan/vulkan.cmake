# ggml's Vulkan backend as a loadable library, with everything that it would look for on this machine named beforehand.
if(NOT SOLOFILE_VULKAN_KIT)
    message(FATAL_ERROR "SOLOFILE_VULKAN_KIT is not set: name the folder with include/ and glslc.")
endif()
set(GGML_VULKAN ON)
set(GGML_CPU OFF)
set(GGML_CPU_ALL_VARIANTS OFF)
list(APPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR})
set(SPIRV-Headers_DIR ${CMAKE_CURRENT_LIST_DIR} CACHE PATH "" FORCE)

if("${CMAKE_HOST_SYSTEM_NAME} ${CMAKE_HOST_SYSTEM_PROCESSOR}" STREQUAL "${CMAKE_SYSTEM_NAME} ${CMAKE_SYSTEM_PROCESSOR}")
    set(host_triple ${SOLOFILE_ZIG_TARGET})  # zig has its C++ library ready for this one
else()
    set(host_triple native)
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/host.cmake.in ${CMAKE_BINARY_DIR}/host.cmake @ONLY)
set(GGML_VULKAN_SHADERS_GEN_TOOLCHAIN ${CMAKE_BINARY_DIR}/host.cmake)
