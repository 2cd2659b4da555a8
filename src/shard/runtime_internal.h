/* The inside of a runtime, for shard.c, env_uv.c and runtime.c. */
#ifndef SHARD_RUNTIME_INTERNAL_H
#define SHARD_RUNTIME_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "peer/peers.h"
#include "shard/runtime.h"
#include "shard/shard.h"

enum {
    RUNTIME_MAGIC = 0x72756e74,
    RUNTIME_CROWDED_MS = 1 /* between looks at a full mailbox */
};

/* How a shard's start went, told from its thread. */
struct shard_start {
    struct shard *shard;
    int result;
    struct error err;
    uv_sem_t done;
};

struct runtime {
    unsigned magic;
    struct runtime_events events;
    const struct logger *log;
    struct peers_identity identity; /* as configured */
    struct peers_limits limits;     /* with defaults filled in */
    struct shard *shards;
    uint16_t shards_count;
    uint16_t threads; /* shards that run on threads of their own */
    struct peers *peers;
    bool links_paused; /* a mailbox is too full to read links */
    struct timer crowd_timer;
    _Atomic bool stopping;
    _Atomic unsigned stop_callers; /* inside runtime_stop_mt */
};

/* The table of a shard's env (env_uv.c). */
extern const struct env_ops runtime_env_ops;

/* Tell all shards but the first to stop. From shard 0. */
void runtime_stop_others(struct runtime *rt);

/* Start the links, if nodes can prove themselves (runtime_links.c). */
void runtime_links_init(struct runtime *rt, const struct peers_proof *proof);
/* Each turn of shard 0: read links or not, write what waits. */
void runtime_links_turn(struct runtime *rt);
/* Forget all links; when shard 0 stops, and at the end. */
void runtime_links_close(struct runtime *rt);
void runtime_links_deinit(struct runtime *rt);
/* News of a link has reached S: remember, and tell the rooms. */
void runtime_links_news(struct shard *s, const struct link_news *news);
/* The link to NODE as S knows it, or NULL. */
struct link_view *runtime_links_view(const struct shard *s, qr_node_id node);

#endif
