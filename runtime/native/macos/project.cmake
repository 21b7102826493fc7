# What is different for macOS. project() in CMakeLists.txt includes it, so that the sources for other systems, and the keys of
# what was built from them, stay as they are.

# Metal, Accelerate and BLAS need Apple's SDK, which this build does without.
set(GGML_METAL OFF)
set(GGML_ACCELERATE OFF)
set(GGML_BLAS OFF)

# CMake knows loadable modules as bundles with the ending of other Unix systems; zig links libraries alone.
set(CMAKE_SHARED_MODULE_SUFFIX .dylib)
foreach(language C CXX)
    set(CMAKE_SHARED_MODULE_CREATE_${language}_FLAGS "-dynamiclib -Wl,-headerpad_max_install_names")
endforeach()

# Runs when everything is declared.
function(finish_for_macos)
    get_property(targets DIRECTORY ${LLAMA_CPP_DIR}/ggml/src PROPERTY BUILDSYSTEM_TARGETS)
    foreach(target ${targets} solofile ggml-rpc)
        set_property(TARGET ${target} PROPERTY INSTALL_RPATH @loader_path)
    endforeach()
    if(SOLOFILE_SYSTEM_PROCESSOR STREQUAL "arm64")
        include(${CMAKE_SOURCE_DIR}/arm.cmake)
        include(${CMAKE_SOURCE_DIR}/macos/arm.cmake)
    endif()
endfunction()
cmake_language(DEFER CALL finish_for_macos)
