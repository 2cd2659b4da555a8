/* Counters that only the broker knows, such as its fdatasyncs: a command that
 * prints a number is run when measuring begins and when it ends.
 *
 *   idle -- probe_ask --> asking -- answer, failure, deadline --> idle */
#ifndef BENCH_PROBE_H
#define BENCH_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/check.h"

enum {
    PROBE_WORDS_MAX = 32,    /* of a command; more: probe_init() fails */
    PROBE_NAME_SIZE = 64,    /* with the NUL */
    PROBE_ANSWER_SIZE = 512, /* what is printed beyond is not looked at */
    PROBE_TIMEOUT_MS = 5000
};

struct error;

/* Pinned while it is asking. */
struct probe {
    unsigned magic;
    char name[PROBE_NAME_SIZE];
    char *command; /* its words, each with a NUL */
    char *words[PROBE_WORDS_MAX + 1];
    uv_loop_t *loop;
    uv_process_t process;
    uv_pipe_t output;
    uv_timer_t deadline;
    unsigned handles; /* that still have to close */
    bool has_exited;
    bool has_ended; /* its output */
    int64_t status;
    char answer[PROBE_ANSWER_SIZE];
    size_t answer_size;
    bool is_known; /* the last answer was a number: */
    uint64_t value;
};

/* A probe out of NAME=COMMAND, to run on LOOP (borrowed). -QR_EINVAL: too long
 * a name, no word or too many. */
MUST_USE int probe_init(struct probe *p, uv_loop_t *loop, const char *text,
                        struct error *err);
/* Idle. */
void probe_deinit(struct probe *p);
/* Run the command; idle. */
void probe_ask(struct probe *p);
bool probe_is_asking(const struct probe *p);
/* Whether the last question was answered with a number, which is *OUT. */
bool probe_value(const struct probe *p, uint64_t *out);
/* The first run of digits that is a word of its own in SIZE bytes at TEXT;
 * false if there is none. */
bool probe_parse(const char *text, size_t size, uint64_t *out);

#endif
