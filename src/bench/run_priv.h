/* The inside of a run: its stages, and what they work on.
 *
 *   declare -> connect -> warm up -> measure -> settle -> close -> delete
 *   declare (measured) ----------------------------------------> delete
 *              open connections -> hold ----------------> close
 *              churn -----------------------------------> close
 *
 * and last the probes' answers, if there are probes. */
#ifndef BENCH_RUN_PRIV_H
#define BENCH_RUN_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "bench/admin.h"
#include "bench/probe.h"
#include "bench/run.h"
#include "bench/traffic.h"

struct consumer;
struct idle;
struct net;
struct publisher;
struct run;

enum {
    RUN_MAGIC = 0x72756e20,
    RUN_TICK_MS = 10,
    RUN_SAMPLE_MS = 250,
    RUN_CLOSE_MS = 6000,   /* for all connections to close */
    RUN_LINGER_MS = 200,   /* without a delivery, before it is over */
    RUN_OPENING_MAX = 64,  /* connections in their handshake at a time */
    RUN_ADMIN_DEPTH = 16,  /* queues being declared at a time, per connection */
    RUN_SETTLE_FACTOR = 10 /* settling ends after so many timeouts, whatever */
};

/* A stage is entered, ends when it is done or its time is over, and the next
 * that applies follows. */
struct stage {
    const char *name;
    bool (*applies)(const struct run *r);
    void (*enter)(struct run *r);
    bool (*is_done)(struct run *r, uint64_t now_us);
    /* How long it may last without progress, and what counts as progress;
     * NULL: nothing does. */
    uint64_t (*limit_us)(const struct run *r);
    uint64_t (*progress)(const struct run *r);
    void (*leave)(struct run *r, uint64_t now_us);
    bool limit_is_failure;
    bool always; /* also after a failure */
};

/* A connection that is only opened: modes connections and churn. */
struct idle {
    unsigned magic;
    struct run *run;
    struct client client;
    uint32_t index;
    unsigned host;
    uint64_t begun_us;
};

struct run {
    unsigned magic;
    const struct bench_options *options;
    struct bench_result *result;
    uv_loop_t loop;
    struct net *net;
    uv_prepare_t flush;
    uv_timer_t tick;
    uv_poll_t pacer;
    uv_signal_t interrupt;
    uv_signal_t terminate;
    int pacer_fd;        /* a timerfd; -1: no pace */
    uint64_t pacer_next; /* number of the next message of the run */
    struct client_setup setup;
    struct traffic traffic;
    struct publisher *publishers;
    uint32_t publishers_count;
    struct consumer *consumers;
    uint32_t consumers_count;
    struct admin *admins;
    uint32_t admins_count;
    struct idle *idles;
    uint32_t idles_count;
    uint32_t idles_opened;
    size_t stage;
    uint64_t stage_us;
    uint64_t progress_us;
    uint64_t progress;
    bool is_failed;
    bool is_interrupted;
    bool is_over;
    bool is_begun; /* measuring */
    uint64_t begin_us;
    struct traffic_counts begin;
    struct sample begin_sample;
    bool has_sample;
    uint64_t sample_us;
    uint64_t begin_own_us;
    uint64_t begin_machine_us;
    struct probe probes[BENCH_PROBES_MAX];
    uint32_t probes_count;
    uint64_t probes_begin[BENCH_PROBES_MAX];
};

/* Something makes going on pointless: the stages that clean up follow. */
void run_fail(struct run *r, const char *fmt, ...) PRINTF(2, 3);

/* Measuring begins and ends: counts, processes, time. */
void run_measure_begin(struct run *r);
void run_measure_end(struct run *r, uint64_t now_us);
/* Every tick while measuring. */
void run_measure_tick(struct run *r, uint64_t now_us);
/* What is known only at the end: violations, silences, latencies. */
void run_measure_finish(struct run *r);

/* The commands that tell what only the broker knows. */
void run_probes_init(struct run *r);
void run_probes_deinit(struct run *r);
/* Measuring begins: ask. */
void run_probes_begin(struct run *r);
/* Measuring ends: ask again. */
void run_probes_end(struct run *r);
bool run_probes_done(struct run *r, uint64_t now_us);
/* What was counted in between. */
void run_probes_finish(struct run *r);

/* Begin TASK for all queues over COUNT connections, DEPTH requests each. */
void run_admins_open(struct run *r, enum admin_task task, uint32_t count,
                     uint32_t depth, struct histogram *latency);
bool run_admins_done(struct run *r, uint64_t now_us);
uint64_t run_admins_progress(const struct run *r);
void run_admins_tick(struct run *r, uint64_t now_us);
void run_admins_free(struct run *r);

/* Publishers and consumers. */
void run_traffic_init(struct run *r);
void run_traffic_deinit(struct run *r);
void run_traffic_tick(struct run *r, uint64_t now_us);
void run_traffic_connect(struct run *r);
bool run_traffic_is_connected(struct run *r, uint64_t now_us);
uint64_t run_traffic_connected(const struct run *r);
void run_traffic_start(struct run *r);
bool run_traffic_is_through(struct run *r, uint64_t now_us);
void run_traffic_settle(struct run *r);
bool run_traffic_is_settled(struct run *r, uint64_t now_us);
uint64_t run_traffic_progress(const struct run *r);
void run_traffic_close(struct run *r);
bool run_traffic_is_closed(const struct run *r);

/* Connections that do nothing. */
void run_idles_init(struct run *r);
void run_idles_deinit(struct run *r);
void run_idles_start(struct run *r);
void run_idles_tick(struct run *r, uint64_t now_us);
bool run_idles_are_open(struct run *r, uint64_t now_us);
uint64_t run_idles_progress(const struct run *r);
void run_idles_close(struct run *r);
bool run_idles_are_closed(const struct run *r);

#endif
