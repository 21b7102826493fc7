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
#define SF_ABI_VERSION 3

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

// JSON: {"arch":"x86_64","leaves":{"1.0":[eax,ebx,ecx,edx],…},"xcr0":…}, leaf and sub-leaf in hexadecimal; elsewhere the
// arch alone. Needs no backend.
SF_API size_t sf_cpu(char * out, size_t size);

// JSON: what the backends loaded so far can compute on,
// [{"name":"Vulkan0","backend":"Vulkan","description":…,"type":"cpu|gpu|igpu|accel","id":"0000:01:00.0" or "",
//   "memory_free":…,"memory_total":…}].
SF_API size_t sf_devices(char * out, size_t size);

// Multiplies by some of a model's weights as an answer would, without loading the model, and measures it. For a process
// that may crash and be killed: drivers do.
//   spec   {"member":…,"device":"CPU","threads":N,"repack":true,"seconds":0.25,"tokens":[1,64],"attention":0|1}
//   out    {"device":…,"error":…,"bytes":…,"model_bytes":…,"repacked":…,"seconds":{"1":…,"64":…},
//           "attention":{"flash":{"1":…,"64":…},"plain":{…}}}
// error: of the worst product, relative to double precision; bytes: of the weights measured; model_bytes: of all weights
// that one token is multiplied by, of which repacked are in a layout for this CPU; seconds: of one pass of so many tokens
// over the whole model, and in attention over all layers with 512 tokens in the cache, empty where the device or the
// model has none. It takes about (tokens + 2) times the seconds of the spec. 0; else 1 and a sentence in `out`.
SF_API int sf_probe(const char * spec, char * out, size_t size);

// JSON: what a model would take with these arguments (llama-server's), laid out without loading it, in bytes:
// {"context":…,"context_train":…,"layers":…,"host":{"model":…,"context":…,"compute":…},"repacked":…,
//  "devices":[{"name":…,"free":…,"total":…,"model":…,"context":…,"compute":…}]}, or {"error": a sentence}.
// A draft model and a projector are counted in. repacked: of the host's model, what is copied into another layout and so
// is no page of the file. Each call does the work anew: give it room for the whole text. Not beside sf_engine_start.
SF_API size_t sf_estimate(int argc, const char * const * argv, char * out, size_t size);

// The next sf_engine_start calibrates: measures how many threads are fastest and computes with these. "" takes it back.
//   spec   {"seconds":2.0,"decode_threads":[1,2,4],"prompt_threads":[1,2],"depth":128}
// When the model is loaded and the state SF_READY, for that time at most and one step; the first request that needs the
// model ends it, leaves all as it was and waits for no more than that. It keeps a number that was measured to be within 3 %
// of the fastest and is the smallest such.
SF_API void sf_calibration_ask(const char * spec);

// The next sf_engine_start first reads this member (sf_member_add) into the page cache from beginning to end; several in
// the order of the calls. 0; 1 when there is no such member.
SF_API int sf_read_first(const char * member);

// The next sf_engine_start answers nothing before sf_prompts_give was called.
SF_API void sf_prompts_ask(void);

// How many bytes of a member are in the page cache, where need be by 64 samples. 0; 1 when the system does not say.
SF_API int sf_member_resident(const char * member, uint64_t * resident);

// Parses llama-server's arguments (without a program name) and starts loading. NULL and a sentence in `error` when
// they are wrong. One engine a process at a time.
SF_API sf_engine * sf_engine_start(int argc, const char * const * argv, char * error, size_t size);
SF_API int         sf_engine_state(sf_engine * engine, float * progress, char * message, size_t size);
// Waits until the state is no longer SF_LOADING, at most timeout_ms (< 0: no limit); returns the state.
SF_API int         sf_engine_wait(sf_engine * engine, int timeout_ms);
// 1 while members are read before the load, see sf_read_first; bytes.
SF_API int         sf_engine_reading(sf_engine * engine, uint64_t * done, uint64_t * total);
// 1 while the model computes, or waits for a GPU that does, with the time since it was given the batch; else 0.
SF_API int         sf_engine_busy(sf_engine * engine, uint64_t * milliseconds);
// JSON: what was measured, "" while there is nothing,
// {"interrupted":false,"seconds":1.4,"decode":{"1":tokens/s,"2":…},"prompt":{"1":…},"depth":…,"batch":…,
//  "threads":2,"threads_batch":2,"cpu_share":0.98}
// depth: tokens in the context while single ones were computed; batch: of a prompt's batches; threads: in use now;
// cpu_share: of the time that the threads wanted to run, what the system let them: less than about 0.9 without a quota
// means that something else was busy, and that the result says little about other days.
SF_API size_t      sf_calibration(sf_engine * engine, char * out, size_t size);
// Files that llama.cpp's POST /slots/:id?action=save wrote: the first is restored into slot 0 and so on, before the first
// request is answered; none where there is none after all.
SF_API void        sf_prompts_give(sf_engine * engine, int count, const char * const * files);
// JSON: how that went, "" before all were tried, [{"tokens":1500,"milliseconds":12.5} or {"error": sentence}].
SF_API size_t      sf_prompts(sf_engine * engine, char * out, size_t size);
// Ends open calls, aborts the batch under way, joins the loop, frees the model. 0 when done; 1 when timeout_ms was not
// enough or the model is still loading (and not just being read): then the process should end without freeing.
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
