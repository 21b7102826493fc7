# zig names ARM CPUs as LLVM names its features (generic+v8_2a+fullfp16), not as -march does (armv8.2-a+fp16).
get_property(targets DIRECTORY ${LLAMA_CPP_DIR}/ggml/src PROPERTY BUILDSYSTEM_TARGETS)
foreach(target ${targets})
    get_target_property(options ${target} COMPILE_OPTIONS)
    if(NOT options MATCHES "-march=armv")
        continue()
    endif()
    string(REGEX REPLACE "-march=armv([89])-a" "-mcpu=generic+v\\1a" options "${options}")
    string(REGEX REPLACE "-march=armv([89])\\.([0-9])-a" "-mcpu=generic+v\\1_\\2a" options "${options}")
    string(REPLACE "+fp16" "+fullfp16" options "${options}")
    set_property(TARGET ${target} PROPERTY COMPILE_OPTIONS "${options}")
    # The compiler (clang 21) dies of SVE2 and SME in this source, which has no use for them.
    set_source_files_properties(${LLAMA_CPP_DIR}/ggml/src/ggml-cpu/arch/arm/repack.cpp
        TARGET_DIRECTORY ${target} PROPERTIES COMPILE_FLAGS "-Xclang -target-feature -Xclang -sve2 -Xclang -target-feature -Xclang -sme")
endforeach()
