/* Declares or deletes many queues over one connection. */
#ifndef BENCH_ADMIN_H
#define BENCH_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ring.h"
#include "bench/client.h"
#include "bench/options.h"

struct histogram;

enum admin_task {
    ADMIN_DECLARE,
    ADMIN_DELETE
};

/* Queues FIRST, FIRST + STEP, ... below END, up to DEPTH at a time. */
struct admin_work {
    enum admin_task task;
    uint32_t first;
    uint32_t step;
    uint32_t end;
    uint32_t depth;
    struct histogram *latency; /* of each; may be NULL */
};

/* Pinned while its client is not down. */
struct admin {
    unsigned magic;
    const struct bench_options *options;
    struct client client;
    struct admin_work work;
    struct ring sent; /* when, of those not answered */
    uint32_t next;
    uint64_t done;
    unsigned host;     /* the one it works with */
    unsigned attempts; /* since something was done */
    bool is_finished;
    const char *error; /* why it ended early, in the client; else NULL */
};

/* OPTIONS and SETUP are borrowed. */
void admin_init(struct admin *a, const struct bench_options *options,
                const struct client_setup *setup,
                const struct admin_work *work);
/* Its client is down. */
void admin_deinit(struct admin *a);
/* Connect to a host of the options, HOST if it answers, and do the work; if a
 * connection is lost, go on at the next host, once around. Then the connection
 * is closed, and is_finished or error is set. */
void admin_open(struct admin *a, unsigned host);
/* Whether the work is done, or `error` says why not, and the client is
 * down. */
bool admin_is_over(const struct admin *a);

#endif
