/* Outboxes: what the leader of a queue has to tell each of its clients, in
 * order. A delivery's bytes are read when it is sent; one that is not in
 * memory is fetched, and what follows in the same outbox waits for it. */
#include <quorate/error.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "broker/queue_events.h"
#include "broker/queue_group_priv.h"
#include "machine/queue/queue_command.h"
#include "shard/env.h"

enum {
    EVENTS_HEAD_SIZE = 4
};

void
queue_outbox_free(struct queue_outbox *o)
{
    o->group = NULL;
    ring_deinit(&o->effects);
    if (o->is_fetching) {
        o->is_dropped = true;
        return;
    }
    slice_unref(&o->body);
    mem_free(o);
}

void
queue_group_dirty(struct queue_group *g)
{
    if (!list_is_linked(&g->dirty)) {
        list_push_back(&g->broker->dirty_groups, &g->dirty);
        g->broker->env->ops->wake(g->broker->env);
    }
}

/* The host has asked the other members, and goes on asking; deliveries wait. It
 * is said once an entry, since it is tried each second. */
static void
note_unreadable(struct queue_outbox *o, const struct qr_fetch *fetch)
{
    struct broker *b = o->group->broker;

    if (o->unreadable != fetch->index) {
        log_error(b->log, "queue",
                  "group %llu: entry %llu cannot be read: %s; deliveries of "
                  "its messages wait until a node has it, or all that had it "
                  "have said that they do not",
                  (unsigned long long)o->group->id,
                  (unsigned long long)fetch->index,
                  qr_error_text(fetch->result));
    }
    o->unreadable = fetch->index;
    o->unreadable_ms = b->env->ops->now_ms(b->env);
}

static void
outbox_fetched(struct qr_fetch *fetch)
{
    struct queue_outbox *o = fetch->arg;

    o->is_fetching = false;
    if (o->is_dropped) {
        slice_unref(&o->body);
        mem_free(o);
        return;
    }
    if (fetch->result == 0) {
        o->body_index = fetch->index;
    } else {
        note_unreadable(o, fetch);
    }
    queue_group_dirty(o->group);
}

struct queue_outbox *
queue_outbox_get(struct queue_group *g, uint64_t session)
{
    struct queue_outbox *o = map_get(&g->outboxes, session);

    if (o == NULL) {
        o = mem_zalloc(1, sizeof(*o));
        o->group = g;
        o->session = session;
        ring_init(&o->effects, sizeof(struct queue_effect));
        o->fetch.done = outbox_fetched;
        o->fetch.arg = o;
        o->fetch.body = &o->body;
        (void)map_put(&g->outboxes, session, o);
    }
    return o;
}

void
queue_outboxes_drop(struct queue_group *g)
{
    uint64_t session;
    struct queue_outbox *o;
    size_t pos;

    map_foreach (&g->outboxes, pos, session, o) {
        queue_outbox_free(o);
    }
    map_deinit(&g->outboxes);
    map_init(&g->outboxes);
}

struct address
queue_outbox_address(uint64_t session)
{
    struct address to = {.node = session_node(session),
                         .shard = session_shard(session)};

    return to;
}

bool
queue_outbox_is_reachable(const struct broker *b, qr_node_id node)
{
    return node == b->env->node || b->env->ops->is_linked(b->env, node);
}

/* Have the entry INDEX in o->body. False: it is being fetched, or cannot be
 * read. */
static bool
outbox_load(struct queue_outbox *o, qr_index index)
{
    struct env *env = o->group->broker->env;

    if (o->body_index == index) {
        return true;
    }
    if (o->unreadable == index &&
        env->ops->now_ms(env) - o->unreadable_ms < OUTBOX_UNREADABLE_MS) {
        return false;
    }
    slice_unref(&o->body);
    o->body_index = 0;
    if (qr_group_is_cached(o->group->raft, index) &&
        qr_group_read(o->group->raft, index, &o->body) == 0) {
        o->body_index = index;
        return true;
    }
    o->is_fetching = true;
    o->fetch.index = index;
    qr_group_fetch(o->group->raft, &o->fetch);
    return false;
}

/* Send *F (taken) with EVENTS, which begins with room for its own size. */
static bool
outbox_send(struct queue_outbox *o, struct buf *events, struct frame **f)
{
    struct broker *b = o->group->broker;

    put_u32le(events->data, (uint32_t)(events->size - EVENTS_HEAD_SIZE));
    (*f)->content[0] = slice_copy(events->data, events->size);
    (*f)->group = o->group->id;
    (*f)->arg = o->session;
    return b->env->ops->post(b->env, queue_outbox_address(o->session), f);
}

static struct frame *
events_frame(void)
{
    struct frame *f = frame_new(FRAME_CALL, BROKER_EVENTS);

    frame_add(f, slice_empty()); /* the events, when they are complete */
    return f;
}

/* Whether the delivery E of O's session is still with its consumer. */
static bool
is_held(const struct queue_outbox *o, const struct queue_effect *e)
{
    struct queue_effects held;
    bool is_there;

    queue_effects_init(&held);
    is_there = queue_machine_resend(o->group->machine, o->session, e->consumer,
                                    e->delivery, 1, &held) > 0 &&
               held.items[0].delivery == e->delivery;
    queue_effects_deinit(&held);
    return is_there;
}

/* Whether there is nothing to wait for: the entry of E was set aside; or it
 * cannot be read, and its message has left the consumer (with the consumer, as
 * a rule), so that nothing keeps the entry. */
static bool
is_absent(const struct queue_outbox *o, const struct queue_effect *e)
{
    return queue_machine_is_aside(o->group->machine, e->message.index) ||
           (e->message.index == o->unreadable && !is_held(o, e));
}

/* Put as many of O's effects as one frame holds into F and EVENTS; they stay
 * in O until it has left. Returns how many. */
static size_t
outbox_fill(struct queue_outbox *o, struct buf *events, struct frame *f)
{
    size_t bytes = 0;
    size_t count = 0;

    buf_clear(events);
    buf_put_u32le(events, 0);
    while (count < o->effects.count && f->content_count < FRAME_CONTENT_MAX &&
           bytes + events->size <= OUTBOX_FRAME_BYTES) {
        struct queue_effect *e = ring_at(&o->effects, count);
        bool is_delivery = e->kind == QUEUE_EFFECT_DELIVER;

        if (is_delivery && is_absent(o, e)) {
            e->kind = QUEUE_EFFECT_ABSENT;
            is_delivery = false;
        }
        if (is_delivery && !outbox_load(o, e->message.index)) {
            break;
        }
        queue_event_put(events, e);
        if (is_delivery) {
            frame_add(f,
                      slice_sub(&o->body, e->message.offset, e->message.size));
            bytes += e->message.size;
        }
        count++;
    }
    return count;
}

static bool
is_link_full(const struct queue_outbox *o)
{
    struct env *env = o->group->broker->env;
    qr_node_id node = session_node(o->session);

    return node != env->node &&
           env->ops->backlog(env, node, FRAME_CALL) > OUTBOX_BACKLOG_MAX;
}

bool
queue_outbox_flush(struct queue_outbox *o)
{
    struct buf events;
    bool is_ok = true;

    buf_init(&events);
    while (is_ok && o->effects.count > 0 && !o->is_fetching) {
        struct frame *f = events_frame();
        size_t count = 0;

        if (is_link_full(o)) {
            is_ok = false;
        } else {
            count = outbox_fill(o, &events, f);
            is_ok = count == 0 || outbox_send(o, &events, &f);
        }
        frame_free(&f);
        for (size_t i = 0; is_ok && i < count; i++) {
            ring_pop_front(&o->effects);
        }
        if (count == 0) {
            break;
        }
    }
    ring_trim_idle(&o->effects);
    buf_deinit(&events);
    return is_ok;
}
