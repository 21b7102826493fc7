# What the libraries for Windows export. Without a list of their own lld exports all that is in a library, the C runtime's
# atexit included, and what links that fails with "duplicate symbol: atexit". So each gets one, made from the declarations
# in ggml's headers. The bridge declares its exports itself (bridge/bridge.h).

# The names of the functions that headers declare with ggml's mark for exports.
function(declared_exports result mark)
    set(found)
    foreach(header ${ARGN})
        file(READ ${header} text)
        string(REGEX REPLACE "//[^\n]*" "" text "${text}")
        string(REGEX REPLACE "[;\n\t]" " " text "${text}")  # CMake splits lists at semicolons
        string(REGEX MATCHALL "${mark} [^(]*[ *][a-z][a-z0-9_A-Z]* *\\(" declarations "${text}")
        foreach(declaration ${declarations})
            string(REGEX REPLACE ".*[ *]([a-z][a-z0-9_A-Z]*) *\\($" "\\1" name "${declaration}")
            list(APPEND found ${name})
        endforeach()
    endforeach()
    set(${result} ${found} PARENT_SCOPE)
endfunction()

# Splits the names in a list into those that a C or C++ source defines and the others.
function(split_by_source list source defined others)
    file(READ ${source} text)
    string(REGEX REPLACE "[;\t]" " " text "${text}")
    set(here)
    set(elsewhere)
    foreach(name ${${list}})
        if(text MATCHES "\n[a-z][^\n(]*[ *]${name}\\(")
            list(APPEND here ${name})
        else()
            list(APPEND elsewhere ${name})
        endif()
    endforeach()
    set(${defined} ${here} PARENT_SCOPE)
    set(${others} ${elsewhere} PARENT_SCOPE)
endfunction()

function(export_from target)
    set(names ${ARGN})
    list(REMOVE_DUPLICATES names)
    list(SORT names)
    list(JOIN names "\n    " text)
    set(file ${CMAKE_BINARY_DIR}/${target}.def)
    file(CONFIGURE OUTPUT ${file} CONTENT "EXPORTS\n    ${text}\n" @ONLY)
    target_sources(${target} PRIVATE ${file})
endfunction()

function(export_ggml)
    set(ggml ${LLAMA_CPP_DIR}/ggml)
    file(GLOB headers ${ggml}/include/ggml.h ${ggml}/include/ggml-alloc.h ${ggml}/include/ggml-backend.h
        ${ggml}/include/ggml-opt.h ${ggml}/include/gguf.h ${ggml}/src/ggml-backend-impl.h ${ggml}/src/ggml-impl.h
        ${ggml}/src/ggml-quants.h ${ggml}/src/ggml-threading.h)
    declared_exports(names GGML_API ${headers})
    # C++ functions, which need their types; nothing outside of ggml-base calls them.
    list(REMOVE_ITEM names ggml_unused_vars_impl gguf_write_to_buf gguf_type_size)
    split_by_source(names ${ggml}/src/ggml-backend-reg.cpp of_ggml of_base)
    export_from(ggml ${of_ggml})
    export_from(ggml-base ${of_base})

    get_property(targets DIRECTORY ${ggml}/src PROPERTY BUILDSYSTEM_TARGETS)
    foreach(target ${targets})
        get_target_property(type ${target} TYPE)
        if(type STREQUAL "MODULE_LIBRARY")
            if(target MATCHES "^ggml-cpu-")
                export_from(${target} ggml_backend_init ggml_backend_score)
            else()
                export_from(${target} ggml_backend_init)
            endif()
        endif()
    endforeach()
endfunction()
