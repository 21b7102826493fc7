# Apple's processors have SME without SVE, which LLVM takes to be part of ARMv9: said once more behind the version.
get_property(targets DIRECTORY ${LLAMA_CPP_DIR}/ggml/src PROPERTY BUILDSYSTEM_TARGETS)
foreach(target ${targets})
    get_target_property(options ${target} COMPILE_OPTIONS)
    string(REPLACE "+nosve" "-sve-sve2" options "${options}")
    if(options)
        set_property(TARGET ${target} PROPERTY COMPILE_OPTIONS "${options}")
    endif()
endforeach()
