/* One run, from connecting to the figures. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/histogram.h"
#include "bench/options.h"
#include "bench/sample.h"
#include "bench/traffic.h"
#include "bench/verify.h"

/* Exit codes. */
enum bench_status {
    BENCH_CLEAN = 0,
    BENCH_VIOLATED = 1, /* lost, twice without the flag, out of order, or
                           never settled */
    BENCH_USAGE = 2,
    BENCH_FAILED = 3 /* could not run, or not to the end */
};

/* What processes spent while it was measured. */
struct bench_spent {
    bool is_known; /* there were --pids, and they lived to the end */
    bool has_io;
    double cpu_s;
    uint64_t written;
    uint64_t write_calls;
    uint64_t resident_peak; /* bytes, all together */
};

/* A counter that the broker keeps, by --probe. */
struct bench_counter {
    const char *name; /* in the options, up to '=' */
    bool is_known;
    uint64_t count; /* while it was measured */
};

struct bench_result {
    struct error error; /* why it failed */
    bool has_figures;
    double seconds; /* measured */
    /* While it was measured, and a second. */
    uint64_t published;
    uint64_t confirmed;
    uint64_t delivered;
    double publish_rate;
    double confirm_rate;
    double deliver_rate;
    double first_delivery_ms; /* since measuring began; 0: none */
    struct histogram confirm_latency;
    struct histogram deliver_latency;
    struct traffic_counts all; /* of the whole run */
    bool is_verified;
    bool is_settled; /* nothing was awaited any more at the end */
    struct verify_totals totals;
    double confirm_gap_ms; /* the longest silence, of all publishers */
    double confirm_gap_at_s;
    double deliver_gap_ms;
    double deliver_gap_at_s;
    double worst_confirm_gap_ms; /* of any one publisher */
    double worst_deliver_gap_ms;
    struct bench_spent spent;
    struct bench_counter counters[BENCH_PROBES_MAX];
    double own_cpu_s;
    double machine_cpu_s; /* all processes; 0: not known */
    /* Modes declare, connections and churn. */
    uint64_t operations;
    uint64_t failures;
    double operation_rate;
    struct histogram operation_latency;
    uint64_t connections_alive; /* at the end of the time held */
};

/* Run as O says; returns an enum bench_status. Takes as long as O says, and
 * the deadlines in it at most. RESULT is zeroed by the caller. */
int bench_run(const struct bench_options *o, struct bench_result *result);

#endif
