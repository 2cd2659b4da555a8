/* struct env over libuv: time, randomness, posting, slow work. */
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/mem.h"
#include "shard/runtime_internal.h"

static struct shard *
env_uv_shard(struct env *env)
{
    struct shard *s = CONTAINER_OF(env, struct shard, env);

    OBJ_CHECK(s, SHARD_MAGIC);
    return s;
}

/* The loop reads the clock once after each wait; that is a turn's time. */
static uint64_t
env_uv_now_ms(struct env *env)
{
    return uv_now(&env_uv_shard(env)->loop);
}

static uint64_t
env_uv_now_us(struct env *env)
{
    (void)env;
    return uv_hrtime() / 1000;
}

static uint64_t
env_uv_wall_ms(struct env *env)
{
    struct timespec ts;

    (void)env;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void
env_uv_random(struct env *env, void *dst, size_t size)
{
    int rv = uv_random(NULL, NULL, dst, size, 0, NULL);

    (void)env;
    ASSERT(rv == 0); /* a machine without randomness cannot be trusted */
}

static bool
env_uv_post_here(struct shard *s, uint16_t to, struct frame **frame)
{
    struct runtime *rt = s->rt;
    struct mail mail = {.kind = MAIL_LOCAL, .node = s->env.node};
    struct shard *target = NULL;

    if (to == FRAME_TO_GROUP) {
        to = env_shard_of((*frame)->group, s->env.shards);
    }
    if (to >= rt->shards_count) {
        frame_free(frame);
        return false;
    }
    target = &rt->shards[to];
    if (!link_gauge_charge_mt(&target->box.gauge, (*frame)->klass,
                              frame_size(*frame))) {
        frame_free(frame);
        return false;
    }
    mail.frame = *frame;
    *frame = NULL;
    shard_mail(s, target, &mail);
    return true;
}

static bool
env_uv_post_there(struct shard *s, qr_node_id node, struct frame **frame)
{
    struct link_view *view = runtime_links_view(s, node);
    struct mail mail = {.kind = MAIL_OUT, .node = node};

    if (view == NULL || !view->up ||
        !link_gauge_charge_mt(view->gauge, (*frame)->klass,
                              frame_size(*frame))) {
        frame_free(frame);
        return false;
    }
    if (s->env.shard == 0) {
        peers_send(s->rt->peers, node, view->epoch, frame);
        shard_wake(s);
        return true;
    }
    mail.epoch = view->epoch;
    mail.frame = *frame;
    *frame = NULL;
    shard_mail(s, &s->rt->shards[0], &mail);
    return true;
}

static bool
env_uv_post(struct env *env, struct address to, struct frame **frame)
{
    struct shard *s = env_uv_shard(env);

    ASSERT(frame_size(*frame) <= FRAME_SIZE_MAX);
    if (s->state != SHARD_RUNNING && s->state != SHARD_NEW) {
        frame_free(frame);
        return false;
    }
    (*frame)->from_shard = env->shard;
    (*frame)->to_shard = to.shard;
    if (to.node == 0 || to.node == env->node) {
        return env_uv_post_here(s, to.shard, frame);
    }
    return env_uv_post_there(s, to.node, frame);
}

static bool
env_uv_is_linked(struct env *env, qr_node_id node)
{
    const struct link_view *view = NULL;

    if (node == 0 || node == env->node) {
        return true;
    }
    view = runtime_links_view(env_uv_shard(env), node);
    return view != NULL && view->up;
}

static size_t
env_uv_backlog(struct env *env, qr_node_id node, enum frame_class klass)
{
    struct shard *s = env_uv_shard(env);
    const struct link_view *view = NULL;
    size_t most = 0;

    ASSERT(klass < FRAME_CLASS_COUNT);
    if (node == 0 || node == env->node) {
        for (uint16_t i = 0; i < s->rt->shards_count; i++) {
            size_t here =
                atomic_load_explicit(&s->rt->shards[i].box.gauge.waiting[klass],
                                     memory_order_relaxed);

            most = MAX(most, here);
        }
        return most;
    }
    view = runtime_links_view(s, node);
    if (view == NULL || !view->up) {
        return 0;
    }
    return atomic_load_explicit(&view->gauge->waiting[klass],
                                memory_order_relaxed);
}

/* A work under way in the pool. */
struct work_item {
    uv_work_t request;
    struct shard *shard;
    struct work *work;
};

static void env_uv_submit(struct shard *s, struct work *work);

static void
env_uv_run_work(uv_work_t *request)
{
    struct work_item *item = CONTAINER_OF(request, struct work_item, request);

    item->work->run(item->work);
}

static void
env_uv_work_done(uv_work_t *request, int status)
{
    struct work_item *item = CONTAINER_OF(request, struct work_item, request);
    struct shard *s = item->shard;
    struct work *work = item->work;

    ASSERT(status == 0); /* nobody cancels it */
    mem_free(item);
    s->work_inflight--;
    if (s->work_waiting.count > 0) {
        struct work *next = *(struct work **)ring_at(&s->work_waiting, 0);

        ring_pop_front(&s->work_waiting);
        env_uv_submit(s, next);
    }
    work->done(work);
}

static void
env_uv_submit(struct shard *s, struct work *work)
{
    struct work_item *item = mem_zalloc(1, sizeof(*item));
    int rv = 0;

    item->shard = s;
    item->work = work;
    s->work_inflight++;
    rv = uv_queue_work(&s->loop, &item->request, env_uv_run_work,
                       env_uv_work_done);
    ASSERT(rv == 0);
}

static void
env_uv_work(struct env *env, struct work *work)
{
    struct shard *s = env_uv_shard(env);

    if (s->work_inflight < RUNTIME_WORK_INFLIGHT_MAX) {
        env_uv_submit(s, work);
        return;
    }
    *(struct work **)ring_push_back(&s->work_waiting) = work;
}

static void
env_uv_wake(struct env *env)
{
    shard_wake(env_uv_shard(env));
}

const struct env_ops runtime_env_ops = {
    .now_ms = env_uv_now_ms,
    .now_us = env_uv_now_us,
    .wall_ms = env_uv_wall_ms,
    .random = env_uv_random,
    .post = env_uv_post,
    .is_linked = env_uv_is_linked,
    .backlog = env_uv_backlog,
    .work = env_uv_work,
    .wake = env_uv_wake,
};
