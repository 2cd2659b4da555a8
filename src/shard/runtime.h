/* The real world for shards: one thread and one libuv loop each, mailboxes
 * between them, links to other nodes on shard 0. Implements struct env.
 *
 *     shard 0 (main thread)          shard 1                shard 2
 *   +---------------------+     +--------------+        +--------------+
 *   | loop  net  peers    |     | loop  net    |        | loop  net    |
 *   | mailbox <-----------+-----+--> mailbox   +--------+--> mailbox   |
 *   +---------+-----------+     +--------------+        +--------------+
 *             | TLS links to other nodes, for all shards
 *
 * A shard collects what it posts during a turn and puts it into the other
 * shards' mailboxes at its end, one lock and at most one wake-up for each. */
#ifndef SHARD_RUNTIME_H
#define SHARD_RUNTIME_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/check.h"
#include "peer/peers.h"
#include "shard/env.h"

struct error;
struct logger;
struct net;
struct runtime;

enum {
    RUNTIME_TURN_FRAMES_MAX = 8192,      /* handed over in one turn */
    RUNTIME_WORK_INFLIGHT_MAX = 64,      /* slow work of a shard in the pool */
    RUNTIME_MAILBOX_FRAMES_MAX = 1 << 20 /* beside the windows in bytes */
};

/* How the rooms above come to life on a shard. All of them run on the shard's
 * own thread; ARG is the configuration's. */
struct runtime_events {
    void *arg;
    /* Build the rooms and register handlers, before the loop runs. Negative
     * stops the whole runtime; ERR says why. */
    int (*on_start)(void *arg, struct env *env, struct error *err);
    /* The shard stops: begin to close handles, streams and files. No frame,
     * link event, timer or turn comes after it; callbacks of handles do, until
     * all have closed. May be NULL. */
    void (*on_stop)(void *arg, struct env *env);
    /* Last of all, every handle has closed: free. May be NULL. */
    void (*on_free)(void *arg, struct env *env);
    /* As peers_events.on_unwelcome, on shard 0. May be NULL. */
    void (*on_unwelcome)(void *arg, bool is_rolled_back, const char *text);
    /* As peers_events.on_start, on shard 0. May be NULL. */
    bool (*on_seen)(void *arg, qr_node_id node, const struct start_seen *seen);
};

/* Borrowed by runtime_new only; what must live longer is said. */
struct runtime_config {
    uint16_t shards;                /* 1 to QR_SHARDS_MAX */
    const struct logger *log;       /* borrowed until runtime_free; its sink is
                                      called from every shard's thread */
    struct peers_identity identity; /* its `shards` is set from above */
    struct peers_proof proof;       /* of links; nothing set: no links */
    struct peers_limits limits;     /* of links, and of mailboxes' windows */
    struct runtime_events events;
};

/* A runtime that does not run yet. */
struct runtime *runtime_new(const struct runtime_config *config);

/* Start shards 1.. on threads of their own and shard 0 for the caller's, which
 * must be the one that steps or runs it. What an on_start returned. */
MUST_USE int runtime_start(struct runtime *rt, struct error *err);

/* Run shard 0 until runtime_stop(), then stop all shards: on_stop, closing,
 * on_free, and join their threads. */
void runtime_run(struct runtime *rt);

/* One turn of shard 0, waiting for events if WAIT; false when it has stopped
 * (then as at the end of runtime_run). For tests and for driving several
 * runtimes from one thread. */
bool runtime_step(struct runtime *rt, bool wait);

/* Ask for the end. Any thread, and signal handlers. Idempotent. */
void runtime_stop_mt(struct runtime *rt);

/* Free *RT (nulled), before runtime_start() or after runtime_run(). */
void runtime_free(struct runtime **rt);

/* Shard SHARD's table; its loop and net, for the rooms of that shard. */
struct env *runtime_env(struct runtime *rt, uint16_t shard);
uv_loop_t *runtime_loop(struct runtime *rt, uint16_t shard);
struct net *runtime_net(struct runtime *rt, uint16_t shard);
/* From an env that belongs to a runtime: the same, on its own thread. */
uv_loop_t *runtime_loop_of(struct env *env);
struct net *runtime_net_of(struct env *env);
/* The links, for shard 0 only; NULL without a secret. */
struct peers *runtime_peers(struct runtime *rt);

#endif
