/* The command line of quorate-bench, from option.def. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

struct buf;
struct error;

enum {
    BENCH_HOSTS_MAX = 16,
    BENCH_HOST_SIZE = 128, /* of a host's name, with the NUL */
    BENCH_PIDS_MAX = 16,
    BENCH_PROBES_MAX = 8,
    BENCH_BODY_HEAD_SIZE = 16, /* smaller bodies are not verified */
    BENCH_DURATION_WITH_COUNT_S = 600
};

enum bench_mode {
    BENCH_PUBCON,
    BENCH_PUBLISH,
    BENCH_CONSUME,
    BENCH_GET,
    BENCH_DECLARE,
    BENCH_CONNECTIONS,
    BENCH_CHURN
};

struct bench_host {
    char name[BENCH_HOST_SIZE];
    uint16_t port;
};

struct bench_hosts {
    struct bench_host list[BENCH_HOSTS_MAX];
    unsigned count;
};

struct bench_pids {
    uint32_t list[BENCH_PIDS_MAX];
    unsigned count;
};

/* NAME=COMMAND as it was given. */
struct bench_probes {
    const char *list[BENCH_PROBES_MAX];
    unsigned count;
};

/* Texts are borrowed from the command line. Numbers are within the limits of
 * option.def. */
struct bench_options {
    enum bench_mode mode;
    uint64_t publishers;
    uint64_t consumers;
    uint64_t queues;
    uint64_t connections;
    uint64_t size;
    uint64_t window;
    uint64_t prefetch;
    uint64_t ack_every;
    uint64_t rate;
    uint64_t count;
    uint64_t heartbeat; /* seconds */
    uint64_t duration_us;
    uint64_t warmup_us;
    uint64_t connect_us;
    uint64_t settle_us;
    uint64_t idle_us;
    struct bench_hosts hosts;
    struct bench_hosts publish_hosts;
    struct bench_hosts consume_hosts;
    struct bench_pids pids;
    struct bench_probes probes;
    const char *tls;
    const char *user;
    const char *password;
    const char *vhost;
    const char *prefix;
    const char *label;
    bool durable;
    bool quorum;
    bool declare;
    bool delete_after;
    bool reconnect;
    bool verify;
    bool json;
    bool quiet;
    bool help;
    bool man;
    bool version;
};

/* ARGV, whose first element is the program, to *OUT. --name VALUE and
 * --name=VALUE; flags also as --no-name. -QR_EINVAL: ERR names the option,
 * what was read and what is allowed. */
MUST_USE int bench_options_parse(int argc, char **argv,
                                 struct bench_options *out, struct error *err);

/* "pubcon" and so on. Static. */
const char *bench_mode_name(enum bench_mode mode);

/* Append the text of --help. */
void bench_options_help(struct buf *out);
/* Append the manual page, in troff's man macros. */
void bench_options_man(struct buf *out);

#endif
