// Uses the bridge as the runtime does (an estimate, a reading, a calibration, a streamed answer, a cancelled one, a stop
// with requests in flight), then frees everything, so that a leak checker sees what the bridge leaves behind. Arguments:
// backend library, model, its size.
#include "bridge.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static sf_engine * engine;

static size_t read_all(sf_call * call, int cancel_after) {
    const char * data;
    size_t       size, total = 0;
    int          pieces = 0;
    if (sf_call_run(call) == 0) {
        return 0;
    }
    while (sf_call_next(call, &data, &size)) {
        total += size;
        if (++pieces == cancel_after) {
            sf_call_cancel(call);
        }
    }
    return total + size;
}

static size_t chat(const char * prompt, int tokens, int cancel_after) {
    char * body = malloc(strlen(prompt) + 200);
    sprintf(body, "{\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}],\"max_tokens\":%d,\"stream\":true,\"ignore_eos\":true}", prompt, tokens);
    sf_call * call = sf_call_new(engine, "POST", "/v1/chat/completions", "", body, strlen(body));
    sf_call_header(call, "Content-Type", "application/json");
    const size_t total = read_all(call, cancel_after);
    sf_call_free(call);
    free(body);
    return total;
}

static void * in_flight(void * prompt) {
    chat(prompt, 1000, 0);
    return NULL;
}

int main(int argc, char ** argv) {
    char         error[4096] = "";
    const char * options[]   = { "-m", "the-model", "-c", "4096", "-np", "2", "-t", "1", "--no-warmup" };
    if (argc != 4 || sf_backend_load(argv[1], error, sizeof(error)) != 0 ||
        sf_member_add("the-model", argv[2], 0, strtoull(argv[3], NULL, 10), error, sizeof(error)) != 0) {
        fprintf(stderr, "setup: %s\n", error);
        return 2;
    }
    const char * wrong[] = { "--no-such-option" };
    if (sf_engine_start(1, wrong, error, sizeof(error)) != NULL) {
        return 3;
    }
    char text[4096] = "";
    sf_estimate(sizeof(options) / sizeof(*options), options, text, sizeof(text));
    if (strstr(text, "\"context\":4096") == NULL || sf_read_first("the-model") != 0) {
        fprintf(stderr, "estimate: %s\n", text);
        return 6;
    }
    sf_calibration_ask("{\"seconds\":2,\"decode_threads\":[1,2],\"prompt_threads\":[1,2],\"depth\":16}");
    engine = sf_engine_start(sizeof(options) / sizeof(*options), options, error, sizeof(error));
    if (engine == NULL || sf_engine_wait(engine, -1) != SF_READY) {
        fprintf(stderr, "start: %s\n", error);
        return 4;
    }
    while (sf_calibration(engine, text, sizeof(text)) == 0) {
        usleep(10 * 1000);
    }
    const size_t answered = chat("the", 8, 0), cancelled = chat("the", 400, 3);
    if (answered == 0 || cancelled == 0) {
        return 5;
    }
    char prompt[1500];
    memset(prompt, 't', sizeof(prompt) - 1);
    prompt[sizeof(prompt) - 1] = 0;
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, in_flight, prompt);
    }
    usleep(500 * 1000);
    const int late = sf_engine_stop(engine, 60 * 1000);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    sf_engine_free(engine);
    printf("answered %zu cancelled %zu late %d\n", answered, cancelled, late);
    return late;
}
