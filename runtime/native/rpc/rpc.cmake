# ggml's RPC backend as a loadable library, its source as it is but for rpc/hooks.h, and over a transport of our own.
set(folder ${CMAKE_CURRENT_SOURCE_DIR}/rpc)
add_library(ggml-rpc MODULE
    ${LLAMA_CPP_DIR}/ggml/src/ggml-rpc/ggml-rpc.cpp ${folder}/transport.cpp ${folder}/cached.cpp)
set_source_files_properties(${LLAMA_CPP_DIR}/ggml/src/ggml-rpc/ggml-rpc.cpp
    PROPERTIES COMPILE_OPTIONS "-include;${folder}/hooks.h")
target_include_directories(ggml-rpc PRIVATE ${LLAMA_CPP_DIR}/ggml/src)
target_compile_definitions(ggml-rpc PRIVATE GGML_BACKEND_BUILD GGML_BACKEND_SHARED GGML_BACKEND_DL)
target_link_libraries(ggml-rpc PRIVATE ggml-base Threads::Threads)
if(WIN32)
    set_target_properties(ggml-rpc PROPERTIES PREFIX "")
    target_link_libraries(ggml-rpc PRIVATE ws2_32)
    export_from(ggml-rpc ggml_backend_init ggml_backend_rpc_add_server ggml_backend_rpc_init
        ggml_backend_rpc_start_server sf_rpc_transport)
else()
    # Like the GPU backends: what a zig library registers for the end of the process must still be there then.
    target_link_options(ggml-rpc PRIVATE -Wl,-z,defs -Wl,-z,nodelete)
endif()
