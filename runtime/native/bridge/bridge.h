// The C interface between Python and llama.cpp's server core.
//
// It does what llama.cpp's tools/server/server.cpp does in single-model mode, without its HTTP server: parse the
// arguments, load the model, run the loop on a thread of its own, answer requests. Every function may be called from
// any thread; none lets a C++ exception out; none ends the process.
//
// Text is UTF-8. A function that takes (out, size) writes at most size bytes with the closing zero and returns the
// length that the whole text needs without it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#    define SF_API __declspec(dllexport)
#else
#    define SF_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

// Changes whenever a function or its meaning changes; Python refuses another one.
#define SF_ABI_VERSION 1

enum sf_state { SF_LOADING = 0, SF_READY = 1, SF_FAILED = 2, SF_STOPPED = 3 };

typedef struct sf_engine sf_engine;
typedef struct sf_call   sf_call;

SF_API int sf_abi_version(void);

// Loads one ggml backend library, by its full path. 0 when it is in use. Call it before anything else of the core:
// with no backend loaded llama.cpp would search folders that are not ours.
SF_API int sf_backend_load(const char * path, char * error, size_t size);

// From now on the core reads `name`, given to it as a path, from `size` bytes at `offset` of `file`.
SF_API int sf_member_add(const char * name, const char * file, uint64_t offset, uint64_t length, char * error, size_t size);

// Verbosity of the log on standard error, as llama.cpp counts it (1 errors … 5 debug); 0 prints nothing.
SF_API void sf_log_level(int level);

// JSON: every option of llama-server's parser, [{"args":[…],"args_neg":[…],"values":0|1|2,"env":…,"help":…}].
SF_API size_t sf_options(char * out, size_t size);

// JSON: every route, [{"method":"POST","path":"/slots/:id_slot"}].
SF_API size_t sf_routes(char * out, size_t size);

// Parses llama-server's arguments (without a program name) and starts loading. NULL and a sentence in `error` when
// they are wrong. One engine a process at a time.
SF_API sf_engine * sf_engine_start(int argc, const char * const * argv, char * error, size_t size);
SF_API int         sf_engine_state(sf_engine * engine, float * progress, char * message, size_t size);
// Waits until the state is no longer SF_LOADING, at most timeout_ms (< 0: no limit); returns the state.
SF_API int         sf_engine_wait(sf_engine * engine, int timeout_ms);
// Ends open calls, aborts the batch under way, joins the loop, frees the model. 0 when done; 1 when timeout_ms was not
// enough or the model is still loading: then the process should end without freeing.
SF_API int         sf_engine_stop(sf_engine * engine, int timeout_ms);
SF_API void        sf_engine_free(sf_engine * engine); // after a stop that returned 0 and the last sf_call_free

// A request: made, perhaps given headers and files, run, read to its end, freed.
SF_API sf_call *    sf_call_new(sf_engine * engine, const char * method, const char * path, const char * query,
                                const char * body, size_t body_size);
SF_API void         sf_call_header(sf_call * call, const char * name, const char * value);
SF_API void         sf_call_file(sf_call * call, const char * field, const char * filename, const char * content_type,
                                 const char * data, size_t size);
// Blocks until the status is known and returns it; 0 when the call was cancelled before.
SF_API int          sf_call_run(sf_call * call);
SF_API const char * sf_call_content_type(sf_call * call);
// The i-th header of the answer; 0 when there is none.
SF_API int          sf_call_answer_header(sf_call * call, size_t i, const char ** name, const char ** value);
// Blocks for the next piece of the body, which stays valid until the next call. 1: more may come, 0: that was the last.
SF_API int          sf_call_next(sf_call * call, const char ** data, size_t * size);
// From any thread: run and next return soon and the slot is freed.
SF_API void         sf_call_cancel(sf_call * call);
SF_API void         sf_call_free(sf_call * call);

#ifdef __cplusplus
}
#endif
