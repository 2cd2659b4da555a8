/* The runtime: its shards' threads, their start and their end.
 *
 *   new --start--> running --stop--> every shard: stopping --> stopped --free
 *
 * A stop reaches shard 0 first, by flag and wake-up, and the others by mail
 * from it, so that nobody ever wakes a loop that may have closed. */
#include "shard/runtime.h"

#include <sched.h>

#include "base/check.h"
#include "base/mem.h"
#include "shard/runtime_internal.h"

struct runtime *
runtime_new(const struct runtime_config *config)
{
    struct runtime *rt = mem_zalloc(1, sizeof(*rt));

    ASSERT(config->shards >= 1);
    ASSERT(config->shards <= QR_SHARDS_MAX);
    ASSERT(config->events.on_start != NULL);
    rt->magic = RUNTIME_MAGIC;
    rt->events = config->events;
    rt->log = config->log;
    rt->identity = config->identity;
    rt->identity.shards = config->shards;
    rt->limits = config->limits;
    peers_limits_fill(&rt->limits);
    rt->shards_count = config->shards;
    atomic_init(&rt->stopping, false);
    atomic_init(&rt->stop_callers, 0);
    rt->shards = mem_zalloc(config->shards, sizeof(*rt->shards));
    for (uint16_t i = 0; i < config->shards; i++) {
        shard_init(&rt->shards[i], rt, i);
    }
    runtime_links_init(rt, &config->proof);
    return rt;
}

/* Run on_start on the shard's thread. */
static int
runtime_start_shard(struct shard *s, struct error *err)
{
    const struct runtime_events *events = &s->rt->events;
    int rv = 0;

    uv_update_time(&s->loop);
    rv = events->on_start(events->arg, &s->env, err);
    if (rv == 0) {
        s->state = SHARD_RUNNING;
        s->started = true;
        shard_wake(s); /* what on_start posted */
    }
    return rv;
}

static void
runtime_thread(void *arg)
{
    struct shard_start *start = arg;
    struct shard *s = start->shard;
    int rv = runtime_start_shard(s, &start->err);

    start->result = rv;
    uv_sem_post(&start->done); /* START is gone from here on */
    if (rv != 0) {
        shard_stop(s);
    }
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    shard_finish(s);
}

/* Start shard INDEX on a thread and wait for its on_start. */
static int
runtime_spawn(struct runtime *rt, uint16_t index, struct error *err)
{
    struct shard_start start = {.shard = &rt->shards[index]};
    int rv = uv_sem_init(&start.done, 0);

    ASSERT(rv == 0);
    rv = uv_thread_create(&rt->shards[index].thread, runtime_thread, &start);
    if (rv != 0) {
        uv_sem_destroy(&start.done);
        return error_set(err, QR_EIO, "start shard %u: %s", index,
                         uv_strerror(rv));
    }
    uv_sem_wait(&start.done);
    uv_sem_destroy(&start.done);
    rt->threads++;
    if (start.result != 0) {
        *err = start.err;
    }
    return start.result;
}

int
runtime_start(struct runtime *rt, struct error *err)
{
    struct error local;
    int rv = 0;

    OBJ_CHECK(rt, RUNTIME_MAGIC);
    ASSERT(rt->shards[0].state == SHARD_NEW);
    error_clear(&local);
    rv = runtime_start_shard(&rt->shards[0], &local);
    for (uint16_t i = 1; rv == 0 && i < rt->shards_count; i++) {
        rv = runtime_spawn(rt, i, &local);
        if (rv != 0) {
            runtime_stop_mt(rt);
            runtime_run(rt);
        }
    }
    if (rv != 0 && err != NULL) {
        *err = local;
    }
    return rv;
}

void
runtime_stop_others(struct runtime *rt)
{
    for (uint16_t i = 1; i < rt->shards_count; i++) {
        struct mail mail = {.kind = MAIL_STOP};
        struct ring mails;

        ring_init(&mails, sizeof(struct mail));
        *(struct mail *)ring_push_back(&mails) = mail;
        mailbox_push_mt(&rt->shards[i].box, &mails, SIZE_MAX);
        ring_deinit(&mails);
    }
}

/* Shard 0's loop has ended. */
static void
runtime_end(struct runtime *rt)
{
    for (uint16_t i = 1; i <= rt->threads; i++) {
        int rv = uv_thread_join(&rt->shards[i].thread);

        ASSERT(rv == 0);
    }
    rt->threads = 0;
    while (atomic_load(&rt->stop_callers) > 0) {
        (void)sched_yield(); /* about to have woken the loop */
    }
    shard_finish(&rt->shards[0]);
}

void
runtime_run(struct runtime *rt)
{
    while (runtime_step(rt, true)) {
    }
}

bool
runtime_step(struct runtime *rt, bool wait)
{
    struct shard *s = &rt->shards[0];

    OBJ_CHECK(rt, RUNTIME_MAGIC);
    if (s->state == SHARD_STOPPED) {
        return false;
    }
    (void)uv_run(&s->loop, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    if (s->state == SHARD_STOPPING && uv_loop_alive(&s->loop) == 0) {
        runtime_end(rt);
        return false;
    }
    return true;
}

void
runtime_stop_mt(struct runtime *rt)
{
    (void)atomic_fetch_add(&rt->stop_callers, 1);
    if (!atomic_exchange(&rt->stopping, true)) {
        (void)uv_async_send(&rt->shards[0].async);
    }
    (void)atomic_fetch_sub(&rt->stop_callers, 1);
}

void
runtime_free(struct runtime **rtp)
{
    struct runtime *rt = *rtp;

    if (rt == NULL) {
        return;
    }
    OBJ_CHECK(rt, RUNTIME_MAGIC);
    *rtp = NULL;
    for (uint16_t i = 0; i < rt->shards_count; i++) {
        shard_deinit(&rt->shards[i]);
    }
    runtime_links_deinit(rt);
    mem_free(rt->shards);
    rt->magic = 0;
    mem_free(rt);
}

static struct shard *
runtime_shard(struct runtime *rt, uint16_t shard)
{
    OBJ_CHECK(rt, RUNTIME_MAGIC);
    ASSERT(shard < rt->shards_count);
    return &rt->shards[shard];
}

struct env *
runtime_env(struct runtime *rt, uint16_t shard)
{
    return &runtime_shard(rt, shard)->env;
}

uv_loop_t *
runtime_loop(struct runtime *rt, uint16_t shard)
{
    return &runtime_shard(rt, shard)->loop;
}

struct net *
runtime_net(struct runtime *rt, uint16_t shard)
{
    return runtime_shard(rt, shard)->net;
}

uv_loop_t *
runtime_loop_of(struct env *env)
{
    struct shard *s = CONTAINER_OF(env, struct shard, env);

    OBJ_CHECK(s, SHARD_MAGIC);
    return &s->loop;
}

struct net *
runtime_net_of(struct env *env)
{
    struct shard *s = CONTAINER_OF(env, struct shard, env);

    OBJ_CHECK(s, SHARD_MAGIC);
    return s->net;
}

struct peers *
runtime_peers(struct runtime *rt)
{
    OBJ_CHECK(rt, RUNTIME_MAGIC);
    return rt->peers;
}
