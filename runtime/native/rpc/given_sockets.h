// How ggml's RPC backend gets its connections here: from the program around it, which has authenticated both ends
// (rpc_front.py), and never by itself. So there is no port that anybody but us could connect to.
#pragma once

#include <stdint.h>

#if defined(_WIN32)
#    define SF_RPC_API __declspec(dllexport)
#else
#    define SF_RPC_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

// Both return a connected stream socket, which then belongs to the backend; a negative number when there is none.
typedef int64_t (*sf_rpc_connect)(const char * host, int port);
typedef int64_t (*sf_rpc_accept)(void); // blocks for the next client; a negative number ends the server

// Call it before anything else of the backend. The functions are called from any thread.
SF_RPC_API void sf_rpc_transport(sf_rpc_connect connect, sf_rpc_accept accept);

#ifdef __cplusplus
}
#endif
