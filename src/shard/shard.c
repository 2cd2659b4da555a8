/* A shard's loop and its turns.
 *
 *   libuv:  prepare -> wait and run I/O callbacks -> check
 *              |                                       |
 *        sleep, unless mail                       one turn:
 *                                   mail, due timers, turn hooks,
 *                                   mail for others, links, streams
 *
 * Whatever asks for a turn makes the idle handle active, which makes the next
 * wait return at once. */
#include "shard/shard.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/net.h"
#include "shard/runtime_internal.h"

static void
shard_on_idle(uv_idle_t *idle)
{
    (void)idle; /* exists to keep the loop from waiting */
}

void
shard_wake(struct shard *s)
{
    OBJ_CHECK(s, SHARD_MAGIC);
    if (!s->again && s->state < SHARD_STOPPING) {
        s->again = true;
        (void)uv_idle_start(&s->idle, shard_on_idle);
    }
}

static void
shard_net_wake(void *arg)
{
    shard_wake(arg);
}

void
shard_mail(struct shard *s, struct shard *to, const struct mail *mail)
{
    struct ring *ring = to == s ? &s->self : &s->outbox[to->env.shard];

    *(struct mail *)ring_push_back(ring) = *mail;
    shard_wake(s);
}

/* A frame's bytes are this shard's business now, not the mailbox's. */
static void
shard_give_frame(struct shard *s, struct mail *mail)
{
    struct frame *frame = mail->frame;
    const struct env_handler *h = env_handler(&s->env, frame->kind);
    struct address from = {.node = mail->node, .shard = frame->from_shard};

    link_gauge_discharge_mt(&s->box.gauge, frame->klass, frame_size(frame));
    if (h == NULL) {
        log_debug(s->env.log, "shard", "no room takes frames of kind %u",
                  frame->kind);
        return;
    }
    h->on_frame(h->arg, from, &mail->frame);
}

static void
shard_hand_over(struct shard *s, struct mail *mail)
{
    switch (mail->kind) {
    case MAIL_LOCAL:
    case MAIL_IN:
        shard_give_frame(s, mail);
        break;
    case MAIL_OUT:
        ASSERT(s->env.shard == 0);
        peers_send(s->rt->peers, mail->node, mail->epoch, &mail->frame);
        break;
    case MAIL_LINK:
        runtime_links_news(s, mail->news);
        break;
    case MAIL_STOP:
        shard_stop(s);
        break;
    }
    mail_drop(mail);
}

/* Hand over the first COUNT mails of RING. */
static void
shard_hand_over_ring(struct shard *s, struct ring *ring, size_t count)
{
    for (size_t i = 0; i < count && s->state == SHARD_RUNNING; i++) {
        /* A handler may push to the ring, so the mail is moved out first. */
        struct mail mail = *(struct mail *)ring_at(ring, 0);

        ring_pop_front(ring);
        shard_hand_over(s, &mail);
    }
}

static void
shard_hand_over_all(struct shard *s)
{
    if (s->work.count == 0) {
        mailbox_take(&s->box, &s->work);
    }
    /* What is posted from now on waits for the next turn. */
    shard_hand_over_ring(s, &s->self,
                         MIN(s->self.count, (size_t)RUNTIME_TURN_FRAMES_MAX));
    shard_hand_over_ring(s, &s->work,
                         MIN(s->work.count, (size_t)RUNTIME_TURN_FRAMES_MAX));
}

static void
shard_push_outboxes(struct shard *s)
{
    for (uint16_t i = 0; i < s->rt->shards_count; i++) {
        if (s->outbox[i].count > 0) {
            mailbox_push_mt(&s->rt->shards[i].box, &s->outbox[i],
                            RUNTIME_MAILBOX_FRAMES_MAX);
        }
        if (s->outbox[i].count > 0) {
            shard_wake(s); /* full: the rest goes later */
        }
    }
}

static void
shard_on_timer(uv_timer_t *timer)
{
    (void)timer; /* the turn runs what is due */
}

static void
shard_arm_timer(struct shard *s)
{
    uint64_t due = 0;
    uint64_t now = s->env.ops->now_ms(&s->env);

    if (!timers_next(&s->env.timers, &due)) {
        if (s->timer_armed) {
            (void)uv_timer_stop(&s->timer);
            s->timer_armed = false;
        }
        return;
    }
    if (due <= now) {
        shard_wake(s);
    } else if (!s->timer_armed || due != s->timer_due_ms) {
        (void)uv_timer_start(&s->timer, shard_on_timer, due - now, 0);
        s->timer_armed = true;
        s->timer_due_ms = due;
    }
}

static void
shard_run_timers(struct shard *s)
{
    uint64_t now = s->env.ops->now_ms(&s->env);

    if (s->timer_armed && s->timer_due_ms <= now) {
        s->timer_armed = false;
    }
    (void)timers_run(&s->env.timers, now, SHARD_TURN_TIMERS_MAX);
}

static void
shard_turn(struct shard *s)
{
    s->again = false;
    shard_hand_over_all(s);
    if (s->state == SHARD_RUNNING &&
        atomic_load_explicit(&s->rt->stopping, memory_order_acquire)) {
        shard_stop(s);
    }
    if (s->state != SHARD_RUNNING) {
        return;
    }
    shard_run_timers(s);
    env_run_turn(&s->env);
    shard_push_outboxes(s);
    if (s->env.shard == 0) {
        runtime_links_turn(s->rt);
    }
    net_flush(s->net);
    if (s->self.count > 0 || s->work.count > 0) {
        shard_wake(s);
    }
    shard_arm_timer(s);
    if (!s->again) {
        (void)uv_idle_stop(&s->idle);
    }
}

static void
shard_on_prepare(uv_prepare_t *prepare)
{
    struct shard *s = prepare->data;

    OBJ_CHECK(s, SHARD_MAGIC);
    /* A callback of libuv's own timers may have started a timer. */
    shard_arm_timer(s);
    if (!s->again && !mailbox_sleep(&s->box)) {
        shard_wake(s);
    }
}

static void
shard_on_check(uv_check_t *check)
{
    struct shard *s = check->data;

    OBJ_CHECK(s, SHARD_MAGIC);
    mailbox_awake(&s->box);
    shard_turn(s);
}

static void
shard_on_async(uv_async_t *async)
{
    (void)async; /* the turn looks into the mailbox */
}

/* Initialise the shard's handles on its loop. */
static void
shard_init_handles(struct shard *s)
{
    int rv = uv_loop_init(&s->loop);

    ASSERT(rv == 0);
    rv = uv_async_init(&s->loop, &s->async, shard_on_async);
    ASSERT(rv == 0);
    (void)uv_prepare_init(&s->loop, &s->prepare);
    (void)uv_check_init(&s->loop, &s->check);
    (void)uv_idle_init(&s->loop, &s->idle);
    (void)uv_timer_init(&s->loop, &s->timer);
    s->prepare.data = s;
    s->check.data = s;
    (void)uv_prepare_start(&s->prepare, shard_on_prepare);
    (void)uv_check_start(&s->check, shard_on_check);
}

void
shard_init(struct shard *s, struct runtime *rt, uint16_t index)
{
    s->magic = SHARD_MAGIC;
    s->rt = rt;
    s->state = SHARD_NEW;
    s->env.ops = &runtime_env_ops;
    s->env.log = rt->log;
    s->env.node = rt->identity.node;
    s->env.boot = rt->identity.starts.boot;
    s->env.shard = index;
    s->env.shards = rt->shards_count;
    timers_init(&s->env.timers);
    shard_init_handles(s);
    s->net = net_new(&s->loop, shard_net_wake, s);
    mailbox_init(&s->box, &s->async, rt->limits.window);
    ring_init(&s->self, sizeof(struct mail));
    ring_init(&s->work, sizeof(struct mail));
    ring_init(&s->work_waiting, sizeof(struct work *));
    map_init(&s->views);
    s->outbox = mem_zalloc(rt->shards_count, sizeof(*s->outbox));
    for (uint16_t i = 0; i < rt->shards_count; i++) {
        ring_init(&s->outbox[i], sizeof(struct mail));
    }
}

/* Free mail that nobody will read, and what is known of links. */
static void
shard_drop_mail(struct shard *s)
{
    struct link_view *view = NULL;
    uint64_t key = 0;
    size_t pos = 0;

    mail_drop_all(&s->self);
    mail_drop_all(&s->work);
    for (uint16_t i = 0; i < s->rt->shards_count; i++) {
        mail_drop_all(&s->outbox[i]);
        ring_deinit(&s->outbox[i]);
    }
    map_foreach (&s->views, pos, key, view) {
        mem_free(view);
    }
    map_deinit(&s->views);
}

void
shard_deinit(struct shard *s)
{
    OBJ_CHECK(s, SHARD_MAGIC);
    ASSERT(s->state == SHARD_NEW || s->state == SHARD_STOPPED);
    if (s->state == SHARD_NEW) {
        shard_stop(s);
        (void)uv_run(&s->loop, UV_RUN_DEFAULT);
        shard_finish(s);
    }
    shard_drop_mail(s);
    mem_free(s->outbox);
    ring_deinit(&s->self);
    ring_deinit(&s->work);
    ring_deinit(&s->work_waiting);
    mailbox_deinit(&s->box);
    timers_deinit(&s->env.timers);
    s->magic = 0;
}

void
shard_stop(struct shard *s)
{
    enum shard_state before = s->state;
    const struct runtime_events *events = &s->rt->events;

    OBJ_CHECK(s, SHARD_MAGIC);
    if (before >= SHARD_STOPPING) {
        return;
    }
    s->state = SHARD_STOPPING;
    mailbox_close(&s->box);
    if (s->env.shard == 0) {
        runtime_stop_others(s->rt);
    }
    if (before == SHARD_RUNNING && events->on_stop != NULL) {
        events->on_stop(events->arg, &s->env);
    }
    if (s->env.shard == 0) {
        runtime_links_close(s->rt);
    }
    net_close_all(s->net);
    uv_close((uv_handle_t *)&s->async, NULL);
    uv_close((uv_handle_t *)&s->prepare, NULL);
    uv_close((uv_handle_t *)&s->check, NULL);
    uv_close((uv_handle_t *)&s->idle, NULL);
    uv_close((uv_handle_t *)&s->timer, NULL);
}

void
shard_finish(struct shard *s)
{
    const struct runtime_events *events = &s->rt->events;
    int rv = 0;

    OBJ_CHECK(s, SHARD_MAGIC);
    ASSERT(s->state == SHARD_STOPPING);
    if (s->started && events->on_free != NULL) {
        events->on_free(events->arg, &s->env);
    }
    net_free(&s->net);
    rv = uv_loop_close(&s->loop);
    ASSERT(rv == 0);
    s->state = SHARD_STOPPED;
}
