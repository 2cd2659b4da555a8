/* What publishers and consumers of one run share: what they may do now, and
 * what they saw. */
#ifndef BENCH_TRAFFIC_H
#define BENCH_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/histogram.h"
#include "bench/client.h"
#include "bench/options.h"

struct verify;

enum {
    TRAFFIC_NAME_SIZE = 256, /* of a queue, with the NUL */
    TRAFFIC_BACKOFF_MIN_MS = 20,
    TRAFFIC_BACKOFF_MAX_MS = 500
};

/* Counted since the start of the run; figures of the measured time are
 * differences. */
struct traffic_counts {
    uint64_t published; /* with those published again */
    uint64_t published_again;
    uint64_t confirmed;
    uint64_t nacked;
    uint64_t strange_confirms; /* of nothing that was published */
    uint64_t delivered;
    uint64_t redelivered; /* flagged so */
    uint64_t foreign;     /* not of this run */
    uint64_t duplicates_flagged;
    uint64_t duplicates_unflagged;
    uint64_t duplicates_after_send; /* the publisher had sent it again */
    uint64_t out_of_order;
    uint64_t get_empty;
    uint64_t connections_lost;
    uint64_t reconnects;
};

/* The longest silence of something that comes again and again. */
struct traffic_gap {
    uint64_t last_us; /* when it came last; 0: not yet */
    uint64_t longest_us;
    uint64_t longest_at_us; /* when that began */
};

struct traffic {
    const struct bench_options *options;
    struct client_setup setup;
    struct verify *verify; /* NULL: not wanted */
    uint32_t lanes;        /* publisher L % publishers, queue L % queues */
    uint16_t run;          /* this run's number, in every body */
    bool run_is_known;     /* false: the first message tells */
    bool may_publish;
    bool is_measuring;
    uint64_t measure_us; /* since when; 0: not */
    uint64_t left;       /* new messages that may still be published */
    uint64_t pace_start_us;
    double pace_us; /* between two messages of the run; 0: no pace */
    struct traffic_counts counts;
    struct traffic_gap confirm_gap; /* of the whole run */
    struct traffic_gap deliver_gap;
    uint64_t confirm_first_us; /* since measuring began; 0: none */
    uint64_t confirm_last_us;
    uint64_t deliver_first_us;
    uint64_t deliver_last_us;
    uint64_t worst_confirm_gap_us; /* of one publisher */
    uint64_t worst_deliver_gap_us; /* of one consumer */
    struct histogram confirm_latency;
    struct histogram deliver_latency;
    /* A connection is gone and comes not back. TEXT is why. */
    void (*on_fatal)(void *arg, const char *text);
    void *arg;
};

/* When a lost connection is tried again, and where. */
struct traffic_retry {
    uint64_t at_us;      /* 0: not waiting */
    uint32_t backoff_ms; /* 0: it has worked since the last loss */
    unsigned host;       /* the one to try next */
};

/* What a body begins with: when it was sent and what it is.
 *
 *   0            6       8                13        16
 *   +------------+-------+----------------+---------+
 *   | sent, us   | run   | sequence       | lane    |   little endian
 *   +------------+-------+----------------+---------+ */
struct traffic_stamp {
    uint64_t sent_us; /* its lower 48 bits */
    uint64_t sequence;
    uint32_t lane;
    uint16_t run;
};

/* BENCH_BODY_HEAD_SIZE bytes. */
void traffic_stamp_put(uint8_t *at, const struct traffic_stamp *stamp);
void traffic_stamp_get(const uint8_t *at, struct traffic_stamp *out);
/* Microseconds from when STAMP was sent until NOW_US; 0 if that is later. */
uint64_t traffic_stamp_age(const struct traffic_stamp *stamp, uint64_t now_us);

/* Something came at NOW_US: the silence before it counts as far as it is later
 * than FROM_US; 0: not at all. */
void traffic_gap_note(struct traffic_gap *gap, uint64_t now_us,
                      uint64_t from_us);

/* The name of queue INDEX, which has room for TRAFFIC_NAME_SIZE bytes. */
void traffic_queue_name(const struct bench_options *o, uint32_t index,
                        char *out);

/* Count a lost connection and arrange for the next attempt, or report it if
 * there shall be none. TEXT is why. HOSTS are tried in turn. */
void traffic_lost(struct traffic *t, struct traffic_retry *retry,
                  const struct bench_hosts *hosts, const char *text);
/* Whether the attempt is due; then the caller opens its client. */
bool traffic_retry_due(struct traffic_retry *retry, uint64_t now_us);

#endif
