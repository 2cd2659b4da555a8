/* The impure world of one shard, behind a table: clock, randomness, frames to
 * other shards and nodes, slow work. shard/runtime.c passes libuv; the
 * simulator passes virtual time. Everything above (host, broker, front ends)
 * is driven by it and runs on the shard's own thread.
 *
 * A turn: the runtime hands over what arrived (frames, sockets, completed disk
 * and slow work), runs due timers, then calls every turn hook in order of
 * registration, then lets links write. A hook may post frames to its own
 * shard; those are handed over before the next turn's I/O is waited for. */
#ifndef SHARD_ENV_H
#define SHARD_ENV_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/timer.h"
#include "peer/frame.h"
#include "peer/link_event.h"

struct env;
struct logger;

enum {
    ENV_HANDLERS_MAX = 8
};

/* Slow work: `run` on a pool thread (touches only this object), then `done`
 * on the shard. Embedded in its owner, pinned until done. */
struct work {
    void (*run)(struct work *w);
    void (*done)(struct work *w);
    void *impl;
};

struct env_ops {
    /* Monotonic milliseconds and microseconds, from an arbitrary origin; fixed
     * within a turn where that is cheaper. */
    uint64_t (*now_ms)(struct env *env);
    uint64_t (*now_us)(struct env *env);
    /* Milliseconds since 1970-01-01 UTC. */
    uint64_t (*wall_ms)(struct env *env);
    /* SIZE unpredictable bytes. */
    void (*random)(struct env *env, void *dst, size_t size);
    /* Send *FRAME (taken) to TO; to.node 0 or env->node is this node. False
     * when it was dropped: no link, or the class's window is full. Per
     * destination node and class, frames arrive in order or not at all. */
    bool (*post)(struct env *env, struct address to, struct frame **frame);
    /* The link to NODE is up; bytes that wait in KLASS towards it. */
    bool (*is_linked)(struct env *env, qr_node_id node);
    size_t (*backlog)(struct env *env, qr_node_id node, enum frame_class klass);
    /* Queue slow work; bounded pool. */
    void (*work)(struct env *env, struct work *work);
    /* Ask for a turn soon, though nothing arrives. */
    void (*wake)(struct env *env);
};

/* One room's interest in what happens on a shard; registered at start. */
struct env_handler {
    void *arg;
    uint16_t kind_first; /* frames of [kind_first, kind_limit) */
    uint16_t kind_limit;
    /* *FRAME may be taken (nulled); otherwise the runtime frees it. */
    void (*on_frame)(void *arg, struct address from, struct frame **frame);
    void (*on_link)(void *arg, enum link_event event,
                    const struct link_peer *peer); /* may be NULL */
    void (*on_turn)(void *arg);                    /* may be NULL */
    bool hears_guests; /* on_link, also of blank nodes: LINK_GUEST_FIRST */
};

struct env {
    const struct env_ops *ops;
    const struct logger *log;
    struct timers timers; /* in now_ms; the runtime runs those due */
    qr_node_id node;      /* this node; 0 until the cluster is formed */
    uint32_t boot;        /* how often this node has started */
    uint16_t shard;
    uint16_t shards; /* of this node */
    void *owner;     /* for whoever builds the rooms on it */
    struct env_handler handlers[ENV_HANDLERS_MAX];
    size_t handlers_count;
    struct link_peer links[QR_NODES_MAX]; /* those that are up */
    size_t links_count;
};

/* The shard of a node with SHARDS shards that hosts GROUP: the metadata group
 * lives on shard 0, the others are spread by id. */
static inline uint16_t
env_shard_of(qr_group_id group, uint16_t shards)
{
    return (uint16_t)(group < QR_GROUP_FIRST_QUEUE ? 0 : group % shards);
}

/* Register HANDLER (copied) with ENV; at most ENV_HANDLERS_MAX. It hears at
 * once of the links that are up. */
void env_register(struct env *env, const struct env_handler *handler);
/* The handler for frames of KIND, or NULL. For runtimes. */
const struct env_handler *env_handler(const struct env *env, uint16_t kind);
/* Tell every handler. For runtimes. */
void env_link_event(struct env *env, enum link_event event,
                    const struct link_peer *peer);
/* Run every turn hook. For runtimes. */
void env_run_turn(struct env *env);

#endif
