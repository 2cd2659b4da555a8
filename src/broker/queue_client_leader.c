/* How a queue client finds its queue's leader and sends to it.
 *
 * It asks (RESUME): first whom it was told of, then whom the replica here
 * believes in, then each member in turn, waiting longer each time. A leader
 * that serves answers RESUMED: how far this session's commands were applied.
 * What was not is sent again. Others answer LEADER, with a hint or none. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "broker/queue_client_priv.h"
#include "broker/queue_events.h"
#include "broker/queue_group.h"
#include "shard/env.h"

/* ---- sending ---- */

static struct address
leader_address(const struct queue_client *q)
{
    struct address to = {.node = q->leader, .shard = FRAME_TO_GROUP};

    return to;
}

static void
send_queries(struct queue_client *q)
{
    struct env *env = q->broker->env;
    struct list *it;

    list_foreach (it, &q->queries) {
        struct query *query = list_entry(it, struct query, link);
        struct frame *f;

        if (!query->is_sent) {
            f = frame_new(FRAME_CALL, BROKER_QUERY);
            f->group = q->group;
            f->arg = query->request;
            query->is_sent = env->ops->post(env, leader_address(q), &f);
        }
    }
}

/* Whether the next batch may leave now. */
static bool
may_send(const struct queue_client *q)
{
    const struct batch *batch;

    if (q->batches_sent == q->batches.count || client_now_ms(q) < q->hold_ms) {
        return false;
    }
    batch = ring_at(&q->batches, q->batches_sent);
    return q->sent_bytes == 0 ||
           q->sent_bytes + batch->bytes.size <= QUEUE_CLIENT_WINDOW;
}

/* Whether an answer is to come from the leader. */
static bool
is_waiting(const struct queue_client *q)
{
    return q->batches.count > 0 || !list_is_empty(&q->queries) ||
           !list_is_empty(&q->asks);
}

void
client_watch(struct queue_client *q)
{
    if (is_waiting(q)) {
        client_arm(q, QUEUE_CLIENT_STALL_MS);
        q->is_watching = false;
    } else if (q->consumers.count > 0) {
        client_arm(q, QUEUE_CLIENT_CHECK_MS);
        q->is_watching = true;
    } else {
        timers_stop(&q->broker->env->timers, &q->timer);
    }
}

static void
send_batches(struct queue_client *q)
{
    struct env *env = q->broker->env;
    bool is_taken = true;

    while (is_taken && may_send(q)) {
        struct batch *batch = ring_at(&q->batches, q->batches_sent);
        struct frame *f = frame_new(FRAME_CALL, BROKER_COMMANDS);

        f->group = q->group;
        f->arg = q->broker->session;
        frame_add(f, slice_ref(&batch->bytes));
        is_taken = env->ops->post(env, leader_address(q), &f);
        if (is_taken) {
            q->batches_sent++;
            q->sent_bytes += batch->bytes.size;
        }
    }
    if (!is_taken) {
        client_arm(q, QUEUE_CLIENT_RETRY_MS);
    } else if (q->batches_sent < q->batches.count &&
               client_now_ms(q) < q->hold_ms) {
        client_arm(q, q->hold_ms - client_now_ms(q));
    } else if (!timer_is_running(&q->timer) ||
               (q->is_watching && is_waiting(q))) {
        q->progress_ms = client_now_ms(q);
        client_watch(q);
    }
}

void
client_refused(struct queue_client *q, uint64_t seq)
{
    uint64_t now = client_now_ms(q);
    uint64_t wait = (uint64_t)QUEUE_CLIENT_RETRY_MS
                    << MIN(q->refusals, HOLD_SHIFT_MAX);
    size_t sent = 0;

    q->sent_bytes = 0;
    while (sent < q->batches_sent) {
        const struct batch *batch = ring_at(&q->batches, sent);

        if (batch->last_seq >= seq) {
            break;
        }
        q->sent_bytes += batch->bytes.size;
        sent++;
    }
    q->batches_sent = sent;
    if (now >= q->hold_ms) { /* else it is known already */
        q->refusals++;
        q->hold_ms = now + wait;
        client_arm(q, wait);
    }
}

void
queue_client_flush(struct queue_client *q)
{
    OBJ_CHECK(q, CLIENT_MAGIC);
    list_remove(&q->dirty);
    client_close_settling(q);
    client_seal(q);
    if (q->state == CLIENT_BOUND) {
        send_queries(q);
        send_batches(q);
    } else if (!timer_is_running(&q->timer)) {
        client_resolve(q);
    }
}

/* ---- finding the leader ---- */

static bool
is_candidate(const struct queue_client *q, qr_node_id node)
{
    struct env *env = q->broker->env;

    return node != 0 && (node == env->node || env->ops->is_linked(env, node));
}

/* Whom to ask: the hint, what the replica here believes, each member. */
static qr_node_id
choose(struct queue_client *q)
{
    struct queue_group *g = map_get(&q->broker->groups, q->group);
    qr_node_id node = q->hint;
    size_t count = client_record(q)->members_count;

    q->hint = 0;
    if (is_candidate(q, node)) {
        return node;
    }
    if (g != NULL && q->attempts % 2 == 0) {
        node = queue_group_leader(g);
        if (is_candidate(q, node)) {
            return node;
        }
    }
    for (size_t i = 0; i < count; i++) {
        node = qr_replica_node(
            client_record(q)->members[(q->attempts + i) % count].replica);
        if (is_candidate(q, node)) {
            return node;
        }
    }
    return 0;
}

static void
send_resume(struct queue_client *q)
{
    struct env *env = q->broker->env;
    struct frame *f = frame_new(FRAME_CALL, BROKER_RESUME);
    struct consumer_impl *c;
    struct buf content;
    uint64_t number;
    size_t pos;

    buf_init(&content);
    buf_put_varint(&content, q->broker->session);
    map_foreach (&q->consumers, pos, number, c) {
        buf_put_varint(&content, number);
        buf_put_varint(&content, c->delivery_next);
    }
    frame_add(f, slice_copy(content.data, content.size));
    buf_deinit(&content);
    f->group = q->group;
    (void)env->ops->post(env, leader_address(q), &f);
}

/* Whether a GET for C is under way, or waits. */
static bool
is_asking(const struct queue_client *q, const struct consumer_impl *c)
{
    struct list *it;

    list_foreach (it, &q->asks) {
        const struct ask *ask = list_entry(it, struct ask, link);

        if (ask->consumer == c && ask->kind == QUEUE_GET) {
            return true;
        }
    }
    return false;
}

/* Nothing reaches a leader: what the consumers here hold will be given to
 * others soon, so they must stop before. */
static void
give_up_consumers(struct queue_client *q)
{
    uint64_t *numbers = map_keys_sorted(&q->consumers);
    size_t count = q->consumers.count;

    for (size_t i = 0; i < count; i++) {
        struct consumer_impl *c = map_get(&q->consumers, numbers[i]);

        /* One that waits to be attached holds nothing, and one of GET that
         * waits is told at the next attempt: their calls end. */
        if (c != NULL && c->is_attached && !is_asking(q, c)) {
            client_forget_consumer(q, c);
            client_drop_asks(q, c);
            queue_put_consumer(&q->building, QUEUE_DETACH, q->broker->session,
                               client_next_seq(q), c->number);
            consumer_given_up(c);
        }
    }
    mem_free(numbers);
}

void
client_resolve(struct queue_client *q)
{
    uint64_t wait;

    if (q->state == CLIENT_BOUND) {
        q->state = CLIENT_RESOLVING;
        q->attempts = 0;
        q->resolving_ms = client_now_ms(q);
    } else if (q->consumers.count > 0 &&
               client_now_ms(q) - q->resolving_ms > QUEUE_CLIENT_LOST_MS) {
        give_up_consumers(q);
    }
    q->leader = choose(q);
    if (q->leader != 0) {
        send_resume(q);
    }
    wait = (uint64_t)QUEUE_CLIENT_RETRY_MS << MIN(q->attempts, 5);
    q->attempts++;
    client_arm(q, MIN(wait, QUEUE_CLIENT_RETRY_MS_MAX));
}

/* Whether anybody here waits for something of the queue. */
static bool
is_wanted(const struct queue_client *q)
{
    return q->batches.count > 0 || q->building.size > 0 ||
           q->consumers.count > 0 || !list_is_empty(&q->asks) ||
           !list_is_empty(&q->queries);
}

/* The leader owes nothing, as far as is known. Links lose no frames while they
 * last, so this finds nothing; a delivery that was lost all the same would
 * otherwise never be missed when none follows it. */
static void
check(struct queue_client *q)
{
    uint64_t silent_ms = client_now_ms(q) - q->heard_ms;

    if (silent_ms >= QUEUE_CLIENT_CHECK_MS) {
        send_resume(q);
        client_arm(q, QUEUE_CLIENT_CHECK_MS);
    } else {
        client_arm(q, QUEUE_CLIENT_CHECK_MS - silent_ms);
    }
}

void
client_on_timer(void *arg)
{
    struct queue_client *q = arg;
    uint64_t stall_ms = q->progress_ms + QUEUE_CLIENT_STALL_MS;

    OBJ_CHECK(q, CLIENT_MAGIC);
    if (q->state == CLIENT_RESOLVING) {
        if (is_wanted(q)) {
            client_resolve(q);
        }
    } else if (may_send(q)) {
        send_batches(q);
    } else if (!is_waiting(q)) {
        if (q->consumers.count > 0) {
            check(q);
        }
    } else if (client_now_ms(q) >= stall_ms) {
        client_resolve(q);
    } else {
        client_arm(q, stall_ms - client_now_ms(q));
    }
}

void
queue_client_link(struct queue_client *q, qr_node_id node, bool is_up)
{
    OBJ_CHECK(q, CLIENT_MAGIC);
    if (q->state == CLIENT_RESOLVING) {
        if (is_up) {
            q->attempts = 0;
            client_resolve(q);
        }
    } else if (q->leader == node) {
        client_resolve(q); /* frames may have been lost with the old link */
    }
}

void
queue_client_hint(struct queue_client *q, qr_node_id node, qr_term term)
{
    OBJ_CHECK(q, CLIENT_MAGIC);
    if (q->state == CLIENT_BOUND && node == q->leader && term == q->term) {
        return;
    }
    if (node == 0 || term < q->term) {
        return;
    }
    q->hint = node;
    if (q->state == CLIENT_BOUND || node != q->leader) {
        client_resolve(q);
    }
}

void
queue_client_members(struct queue_client *q)
{
    OBJ_CHECK(q, CLIENT_MAGIC);
    q->attempts = 0;
}

/* ---- answers ---- */

/* Ask again what nobody answered, unless nobody waits for it any more. */
static void
mark_queries_unsent(struct queue_client *q)
{
    struct list *it;
    struct list *tmp;

    list_foreach_safe (it, tmp, &q->queries) {
        struct query *query = list_entry(it, struct query, link);

        query->is_sent = false;
        if (query->call->call == NULL) {
            list_remove(&query->link);
            (void)call_release(&query->call);
            mem_free(query);
        }
    }
}

/* The ask that is out was applied, and the machine has forgotten its result
 * for that of a later command. A message that GET took is sent again and goes
 * back to the queue then. An ATTACH is asked for again: refused as known, it
 * had been attached. */
static void
on_forgotten(struct queue_client *q, struct ask *ask)
{
    if (ask->kind == QUEUE_ATTACH && ask->consumer != NULL) {
        ask->is_repeat = true;
        ask->seq = 0;
        client_emit_ask(q);
    } else {
        client_end_ask(q, ask, ask->kind == QUEUE_GET ? QUEUE_EMPTY : QUEUE_OK,
                       0);
    }
}

/* What the leader remembers of this session: APPLIED, then its last result. */
static void
take_resumed(struct queue_client *q, uint64_t applied, struct cursor *c)
{
    struct queue_effect e;
    struct ask *ask;

    client_on_applied(q, applied);
    ask = client_ask_out(q);
    if (ask != NULL && ask->seq <= applied && !ask->has_result) {
        if (cursor_left(c) > 0 && queue_event_next(c, &e) &&
            e.seq == ask->seq) {
            client_on_result(q, &e);
        } else {
            on_forgotten(q, ask);
        }
    }
    client_dirty(q);
}

void
client_on_resumed(struct queue_client *q, struct address from, struct frame *f)
{
    struct cursor c;
    uint64_t applied;

    if (f->content_count != 1 || from.node != q->leader || f->arg < q->term) {
        return;
    }
    cursor_init(&c, f->content[0].data, f->content[0].size);
    applied = cursor_varint(&c);
    if (c.bad) {
        return;
    }
    if (q->state == CLIENT_BOUND) {
        /* It was asked twice, and dropped what it had for the first time. */
        if (f->arg == q->term) {
            take_resumed(q, applied, &c);
        }
        return;
    }
    log_debug(q->broker->log, "queue",
              "group %llu: client bound to node %u, term %llu, after %u "
              "attempts and %llu ms",
              (unsigned long long)q->group, q->leader,
              (unsigned long long)f->arg, q->attempts,
              (unsigned long long)(client_now_ms(q) - q->resolving_ms));
    q->state = CLIENT_BOUND;
    q->blocked = 0;
    q->is_lost = false;
    q->term = f->arg;
    q->attempts = 0;
    q->batches_sent = 0;
    q->sent_bytes = 0;
    q->hold_ms = 0;
    timers_stop(&q->broker->env->timers, &q->timer);
    mark_queries_unsent(q);
    take_resumed(q, applied, &c);
}

void
client_on_leader(struct queue_client *q, struct address from, struct frame *f)
{
    qr_node_id node;
    struct cursor c;

    if (f->content_count != 1) {
        return;
    }
    cursor_init(&c, f->content[0].data, f->content[0].size);
    node = (qr_node_id)cursor_varint(&c);
    if (cursor_left(&c) > 0) {
        q->blocked = cursor_varint(&c);
        q->is_lost = cursor_varint(&c) != 0;
    }
    if (q->state == CLIENT_BOUND) {
        if (from.node == q->leader ? node != q->leader || f->arg > q->term
                                   : node == from.node && f->arg > q->term) {
            q->hint = node;
            client_resolve(q);
        }
        return;
    }
    if (node == 0 || (node == q->leader && node != from.node)) {
        return; /* the timer asks the next one */
    }
    q->hint = node;
    if (node == from.node || q->attempts < QUEUE_CLIENT_HOPS_MAX) {
        client_resolve(q);
    }
}
