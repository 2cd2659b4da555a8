/* One shard of a runtime. For runtime.c and tests of this room only. */
#ifndef SHARD_SHARD_H
#define SHARD_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/map.h"
#include "base/ring.h"
#include "shard/env.h"
#include "shard/mailbox.h"

struct net;
struct runtime;

enum shard_state {
    SHARD_NEW, /* on_start has not run */
    SHARD_RUNNING,
    SHARD_STOPPING, /* on_stop has run; handles close */
    SHARD_STOPPED   /* loop closed */
};

enum {
    SHARD_MAGIC = 0x73686172,
    SHARD_TURN_TIMERS_MAX = 4096 /* run in one turn */
};

/* What a shard knows of a link, in step with the events it has handed over. */
struct link_view {
    bool up;
    uint64_t epoch;
    struct link_gauge *gauge;
};

struct shard {
    unsigned magic;
    struct env env;
    struct runtime *rt;
    enum shard_state state;
    bool started; /* on_start has succeeded */
    uv_loop_t loop;
    uv_async_t async;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;   /* active: the loop must not wait */
    uv_timer_t timer; /* armed for env.timers */
    bool timer_armed;
    uint64_t timer_due_ms;
    bool again; /* a turn was asked for */
    struct net *net;
    struct mailbox box;
    struct ring self;    /* mail for itself */
    struct ring work;    /* taken from `box`, not yet handed over */
    struct ring *outbox; /* one for each shard */
    struct map views;    /* node to link_view, owned */
    size_t work_inflight;
    struct ring work_waiting; /* of struct work * */
    uv_thread_t thread;
};

/* Make shard INDEX of RT, which has room for it at S (zeroed). */
void shard_init(struct shard *s, struct runtime *rt, uint16_t index);
/* After it stopped, or instead of starting it. */
void shard_deinit(struct shard *s);

/* Begin to stop: on_stop, close everything. Idempotent. */
void shard_stop(struct shard *s);
/* The loop has ended: on_free, close it. */
void shard_finish(struct shard *s);

/* Queue MAIL for TO, from S's thread. */
void shard_mail(struct shard *s, struct shard *to, const struct mail *mail);

/* Make sure that a turn runs soon. */
void shard_wake(struct shard *s);

#endif
