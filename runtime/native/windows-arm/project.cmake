# What is different for Windows on ARM, included by project() in CMakeLists.txt.

# ggml has no list of CPU variants for this system and would refuse to go on. So they are declared where its function
# ggml_add_backend has read the folder of the CPU backend, and then the list is taken for done.
macro(add_subdirectory folder)
    _add_subdirectory(${folder} ${ARGN})
    if("${folder}" STREQUAL "ggml-cpu")
        ggml_add_cpu_backend_variant(windows_armv8.0_1)
        ggml_add_cpu_backend_variant(windows_armv8.2_1 DOTPROD)
        ggml_add_cpu_backend_variant(windows_armv8.6_1 DOTPROD MATMUL_INT8)
        set(GGML_CPU_ALL_VARIANTS OFF PARENT_SCOPE)
        set(GGML_CPU OFF PARENT_SCOPE)
    endif()
endmacro()
