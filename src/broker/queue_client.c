/* One shard's client of one queue; the state machine is drawn in
 * queue_client.h.
 *
 * Commands gather in `building` during a turn and become a batch: the bytes
 * that travel, that the log holds, and that are sent again after a change of
 * leader. Batches leave `batches` when the leader says that their commands
 * were applied. Three kinds of command have a result (ATTACH, GET, PURGE); the
 * machine remembers one result a session, so they go one after the other
 * (`asks`). What fails here fails towards sending again: that is harmless. */
#include "broker/queue_client.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/ranges.h"
#include "base/ring.h"
#include "broker/broker_priv.h"
#include "broker/frame_reader.h"
#include "broker/queue_events.h"
#include "broker/queue_group.h"
#include "machine/queue/queue_command.h"
#include "shard/env.h"

enum {
    CLIENT_MAGIC = 0x71636c69,
    QUEUE_CLIENT_HOPS_MAX = 8, /* hints followed without waiting */
    GAP_QUIET_MS = 100         /* the same gap is answered once in this time */
};

enum client_state {
    CLIENT_RESOLVING,
    CLIENT_BOUND
};

/* Commands that left, or wait to leave, as one frame. */
struct batch {
    uint64_t last_seq;
    struct slice bytes;
};

/* Message SEQ was published by `publisher` as its `slot`. */
struct pending_confirm {
    uint64_t seq;
    uint64_t slot;
    struct publisher_impl *publisher;
};

/* A command with a result, or (CANCEL) one whose application is waited for. */
struct ask {
    struct list link;
    enum queue_command_kind kind;
    uint64_t seq;                   /* 0: not emitted yet */
    struct consumer_impl *consumer; /* NULL once detached */
    struct call_ref *call;
    struct broker_delivery delivery; /* GET: what arrived for it */
    struct slice message;            /* its bytes */
    bool has_result;                 /* GET: OK, its delivery is to follow */
    uint64_t value;
};

/* A question to the leader, no command. */
struct query {
    struct list link;
    uint64_t request;
    bool is_sent;
    struct call_ref *call;
};

struct queue_client {
    unsigned magic;
    struct broker *broker;
    qr_group_id group;
    enum client_state state;
    qr_node_id leader;     /* bound: to it; resolving: whom was asked last */
    qr_node_id hint;       /* ask it first; 0 = none */
    qr_term term;          /* of the leader bound to */
    uint32_t attempts;     /* since resolving began */
    uint64_t resolving_ms; /* since when */
    uint64_t seq_next;
    uint64_t seq_applied;
    struct buf building;
    struct ring batches;            /* struct batch */
    size_t batches_sent;            /* of them, to the leader bound to */
    struct ring confirms;           /* struct pending_confirm */
    struct list asks;               /* struct ask */
    struct list queries;            /* struct query */
    struct map consumers;           /* consumer_impl by number */
    struct consumer_impl *settling; /* whose ids `ids` are */
    enum queue_command_kind settling_kind;
    struct ranges ids;
    struct list dirty;
    struct timer timer;
    uint64_t gap_seq;
    uint64_t gap_ms;
};

static void resolve(struct queue_client *q);
static void end_ask(struct queue_client *q, struct ask *ask,
                    enum queue_status status, uint64_t value);

/* The queue's record: looked up each time, since a restored snapshot of the
 * metadata replaces all records. */
static const struct meta_queue *
record(const struct queue_client *q)
{
    const struct meta_queue *queue =
        meta_queue_by_group(q->broker->meta, q->group);

    ASSERT(queue != NULL); /* else queue_client_queue_gone() was called */
    return queue;
}

static uint64_t
now_ms(const struct queue_client *q)
{
    return q->broker->env->ops->now_ms(q->broker->env);
}

static void
client_dirty(struct queue_client *q)
{
    if (!list_is_linked(&q->dirty)) {
        list_push_back(&q->broker->dirty_clients, &q->dirty);
        q->broker->env->ops->wake(q->broker->env);
    }
}

static void
arm(struct queue_client *q, uint64_t delay_ms)
{
    timers_start(&q->broker->env->timers, &q->timer, now_ms(q) + delay_ms);
}

/* ---- building commands ---- */

/* Make what was gathered a batch. */
static void
seal(struct queue_client *q)
{
    struct batch *batch;

    if (q->building.size == 0) {
        return;
    }
    batch = ring_push_back(&q->batches);
    batch->last_seq = q->seq_next - 1;
    batch->bytes = slice_copy(q->building.data, q->building.size);
    buf_clear(&q->building);
}

/* Put the settlements that gathered into a command. */
static void
close_settling(struct queue_client *q)
{
    struct queue_command head = {0};

    if (q->settling == NULL) {
        return;
    }
    head.session = q->broker->session;
    head.seq = q->seq_next++;
    head.consumer = q->settling->number;
    queue_put_ids(&q->building, q->settling_kind, &head, &q->ids);
    ranges_clear(&q->ids);
    q->settling = NULL;
}

/* The number of the next command, which the caller appends at once. */
static uint64_t
next_seq(struct queue_client *q)
{
    close_settling(q);
    if (q->building.size >= QUEUE_CLIENT_BATCH_SIZE) {
        seal(q);
    }
    client_dirty(q);
    return q->seq_next++;
}

/* The ask that is out, or NULL. */
static struct ask *
ask_out(struct queue_client *q)
{
    struct list *it;

    list_foreach (it, &q->asks) {
        struct ask *ask = list_entry(it, struct ask, link);

        if (ask->seq != 0 && ask->kind != QUEUE_CANCEL) {
            return ask;
        }
    }
    return NULL;
}

/* Emit the first ask that waits, if none is out. */
static void
emit_ask(struct queue_client *q)
{
    struct queue_command attach = {0};
    uint64_t session = q->broker->session;
    struct ask *ask = NULL;
    struct list *it;

    list_foreach (it, &q->asks) {
        struct ask *a = list_entry(it, struct ask, link);

        if (a->kind != QUEUE_CANCEL) {
            ask = a;
            break;
        }
    }
    if (ask == NULL || ask->seq != 0) {
        return;
    }
    ask->seq = next_seq(q);
    switch ((int)ask->kind) {
    case QUEUE_ATTACH:
        ASSERT(ask->consumer != NULL);
        attach.consumer = ask->consumer->number;
        attach.credit = ask->consumer->prefetch;
        attach.flags = ask->consumer->flags;
        attach.bytes = ask->consumer->tag;
        attach.size = ask->consumer->tag_size;
        queue_put_attach(&q->building, session, ask->seq, &attach);
        break;
    case QUEUE_GET:
        ASSERT(ask->consumer != NULL);
        queue_put_consumer(&q->building, QUEUE_GET, session, ask->seq,
                           ask->consumer->number);
        break;
    default:
        queue_put_purge(&q->building, session, ask->seq);
        break;
    }
}

static struct ask *
ask_new(struct queue_client *q, enum queue_command_kind kind,
        struct consumer_impl *c, struct broker_call *call)
{
    struct ask *ask = mem_zalloc(1, sizeof(*ask));

    ask->kind = kind;
    ask->consumer = c;
    ask->call = call_begin(q->broker, call);
    list_push_back(&q->asks, &ask->link);
    return ask;
}

static void
ask_free(struct ask *ask)
{
    ASSERT(ask->call == NULL);
    list_remove(&ask->link);
    slice_unref(&ask->message);
    mem_free(ask);
}

void
queue_client_enqueue(struct queue_client *q,
                     const struct broker_message *message,
                     struct publisher_impl *publisher, uint64_t slot)
{
    struct pending_confirm *confirm;
    uint64_t seq;

    OBJ_CHECK(q, CLIENT_MAGIC);
    seq = next_seq(q);
    queue_put_enqueue(&q->building, q->broker->session, seq,
                      stored_message_size(message));
    stored_message_put(&q->building, message);
    confirm = ring_push_back(&q->confirms);
    confirm->seq = seq;
    confirm->slot = slot;
    confirm->publisher = publisher;
}

void
queue_client_attach(struct queue_client *q, struct consumer_impl *c,
                    struct broker_call *call)
{
    OBJ_CHECK(q, CLIENT_MAGIC);
    (void)map_put(&q->consumers, c->number, c);
    (void)ask_new(q, QUEUE_ATTACH, c, call);
    emit_ask(q);
}

void
queue_client_get_one(struct queue_client *q, struct consumer_impl *c,
                     struct broker_call *call)
{
    OBJ_CHECK(q, CLIENT_MAGIC);
    (void)map_put(&q->consumers, c->number, c);
    (void)ask_new(q, QUEUE_GET, c, call);
    emit_ask(q);
}

void
queue_client_purge(struct queue_client *q, struct broker_call *call)
{
    OBJ_CHECK(q, CLIENT_MAGIC);
    (void)ask_new(q, QUEUE_PURGE, NULL, call);
    emit_ask(q);
}

void
queue_client_cancel(struct queue_client *q, struct consumer_impl *c,
                    struct broker_call *call)
{
    struct ask *ask;

    OBJ_CHECK(q, CLIENT_MAGIC);
    ask = ask_new(q, QUEUE_CANCEL, c, call);
    ask->seq = next_seq(q);
    queue_put_consumer(&q->building, QUEUE_CANCEL, q->broker->session, ask->seq,
                       c->number);
}

/* C's owner no longer waits for anything. */
static void
forget_consumer(struct queue_client *q, struct consumer_impl *c)
{
    struct list *it;

    if (q->settling == c) {
        close_settling(q);
    }
    (void)map_remove(&q->consumers, c->number);
    list_foreach (it, &q->asks) {
        struct ask *ask = list_entry(it, struct ask, link);

        if (ask->consumer == c && ask->seq != 0) {
            ask->consumer = NULL;
        }
    }
}

static void
drop_unsent_asks(struct queue_client *q, const struct consumer_impl *c)
{
    struct list *it;
    struct list *tmp;

    list_foreach_safe (it, tmp, &q->asks) {
        struct ask *ask = list_entry(it, struct ask, link);

        if (ask->consumer == c) {
            ASSERT(ask->seq == 0);
            if (ask->call->call != NULL) {
                broker_call_abandon(ask->call->call);
            }
            call_end_fault(&ask->call, BROKER_INTERNAL, "abandoned");
            ask_free(ask);
        }
    }
}

/* A GET whose message is on its way to a consumer that has gone: the message
 * goes back with the consumer, and nobody waits for it. */
static void
end_orphan(struct queue_client *q)
{
    struct ask *ask = ask_out(q);

    if (ask != NULL && ask->consumer == NULL && ask->has_result) {
        if (ask->call->call != NULL) {
            broker_call_abandon(ask->call->call);
        }
        end_ask(q, ask, QUEUE_EMPTY, 0);
    }
}

void
queue_client_detach(struct queue_client *q, struct consumer_impl *c)
{
    uint64_t seq;

    OBJ_CHECK(q, CLIENT_MAGIC);
    forget_consumer(q, c);
    drop_unsent_asks(q, c);
    end_orphan(q);
    seq = next_seq(q);
    queue_put_consumer(&q->building, QUEUE_DETACH, q->broker->session, seq,
                       c->number);
}

static enum queue_command_kind
outcome_kind(enum broker_outcome outcome)
{
    switch (outcome) {
    case BROKER_ACK:
        return QUEUE_SETTLE;
    case BROKER_REQUEUE:
        return QUEUE_RETURN;
    case BROKER_DISCARD:
        return QUEUE_DISCARD;
    }
    UNREACHABLE("an outcome that is none");
}

void
queue_client_settle(struct queue_client *q, struct consumer_impl *c,
                    uint64_t first, uint64_t last, enum broker_outcome outcome)
{
    enum queue_command_kind kind = outcome_kind(outcome);

    OBJ_CHECK(q, CLIENT_MAGIC);
    ASSERT(first <= last);
    ASSERT(first > 0);
    if (q->settling != c || q->settling_kind != kind ||
        q->ids.count >= QUEUE_RANGES_MAX) {
        close_settling(q);
        q->settling = c;
        q->settling_kind = kind;
        client_dirty(q);
    }
    ranges_add(&q->ids, first, last);
}

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

static void
send_batches(struct queue_client *q)
{
    struct env *env = q->broker->env;

    while (q->batches_sent < q->batches.count) {
        struct batch *batch = ring_at(&q->batches, q->batches_sent);
        struct frame *f = frame_new(FRAME_CALL, BROKER_COMMANDS);

        f->group = q->group;
        f->arg = q->broker->session;
        frame_add(f, slice_ref(&batch->bytes));
        if (!env->ops->post(env, leader_address(q), &f)) {
            break; /* the timer tries again */
        }
        q->batches_sent++;
    }
    if (q->batches.count > 0 && !timer_is_running(&q->timer)) {
        arm(q, q->batches_sent < q->batches.count ? QUEUE_CLIENT_RETRY_MS
                                                  : QUEUE_CLIENT_STALL_MS);
    }
}

void
queue_client_flush(struct queue_client *q)
{
    OBJ_CHECK(q, CLIENT_MAGIC);
    list_remove(&q->dirty);
    close_settling(q);
    seal(q);
    if (q->state == CLIENT_BOUND) {
        send_queries(q);
        send_batches(q);
    } else if (!timer_is_running(&q->timer)) {
        resolve(q);
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
    size_t count = record(q)->members_count;

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
            record(q)->members[(q->attempts + i) % count].replica);
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

/* Nothing reaches a leader: what the consumers here hold will be given to
 * others soon, so they must stop before. */
static void
give_up_consumers(struct queue_client *q)
{
    uint64_t *numbers = map_keys_sorted(&q->consumers);
    size_t count = q->consumers.count;

    for (size_t i = 0; i < count; i++) {
        struct consumer_impl *c = map_get(&q->consumers, numbers[i]);

        if (c != NULL && !c->is_get) {
            forget_consumer(q, c);
            drop_unsent_asks(q, c);
            queue_put_consumer(&q->building, QUEUE_DETACH, q->broker->session,
                               next_seq(q), c->number);
            consumer_cancelled(c);
        }
    }
    mem_free(numbers);
}

static void
resolve(struct queue_client *q)
{
    uint64_t wait;

    if (q->state == CLIENT_BOUND) {
        q->state = CLIENT_RESOLVING;
        q->attempts = 0;
        q->resolving_ms = now_ms(q);
    } else if (q->consumers.count > 0 &&
               now_ms(q) - q->resolving_ms > QUEUE_CLIENT_LOST_MS) {
        give_up_consumers(q);
        q->resolving_ms = now_ms(q);
    }
    q->leader = choose(q);
    if (q->leader != 0) {
        send_resume(q);
    }
    wait = (uint64_t)QUEUE_CLIENT_RETRY_MS << MIN(q->attempts, 5);
    q->attempts++;
    arm(q, MIN(wait, QUEUE_CLIENT_RETRY_MS_MAX));
}

/* Whether anybody here waits for something of the queue. */
static bool
is_wanted(const struct queue_client *q)
{
    return q->batches.count > 0 || q->building.size > 0 ||
           q->consumers.count > 0 || !list_is_empty(&q->asks) ||
           !list_is_empty(&q->queries);
}

static void
on_timer(void *arg)
{
    struct queue_client *q = arg;

    OBJ_CHECK(q, CLIENT_MAGIC);
    if (q->state == CLIENT_BOUND && q->batches_sent < q->batches.count) {
        send_batches(q);
    } else if (q->batches.count > 0 ||
               (q->state == CLIENT_RESOLVING && is_wanted(q))) {
        resolve(q);
    }
}

void
queue_client_link(struct queue_client *q, qr_node_id node, bool is_up)
{
    OBJ_CHECK(q, CLIENT_MAGIC);
    if (q->state == CLIENT_RESOLVING) {
        if (is_up) {
            q->attempts = 0;
            resolve(q);
        }
    } else if (q->leader == node) {
        resolve(q); /* frames may have been lost with the old link */
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
        resolve(q);
    }
}

void
queue_client_members(struct queue_client *q)
{
    OBJ_CHECK(q, CLIENT_MAGIC);
    q->attempts = 0;
}

/* ---- what the leader says ---- */

static void
confirm_upto(struct queue_client *q, uint64_t seq)
{
    while (q->confirms.count > 0) {
        struct pending_confirm confirm =
            *(struct pending_confirm *)ring_at(&q->confirms, 0);

        if (confirm.seq > seq) {
            break;
        }
        ring_pop_front(&q->confirms);
        publisher_slot_done(confirm.publisher, confirm.slot);
    }
}

/* Cancels up to SEQ are done. */
static void
end_cancels(struct queue_client *q, uint64_t seq)
{
    struct broker_reply reply = {0};
    struct list *it;
    struct list *tmp;

    list_foreach_safe (it, tmp, &q->asks) {
        struct ask *ask = list_entry(it, struct ask, link);

        if (ask->kind == QUEUE_CANCEL && ask->seq <= seq) {
            struct call_ref *call = ask->call;

            ask->call = NULL;
            ask_free(ask);
            call_end(&call, &reply);
            tmp = q->asks.next; /* the callback may have changed the list */
        }
    }
}

static void
on_applied(struct queue_client *q, uint64_t seq)
{
    if (seq <= q->seq_applied || seq >= q->seq_next) {
        return;
    }
    q->seq_applied = seq;
    while (q->batches.count > 0) {
        struct batch *batch = ring_at(&q->batches, 0);

        if (batch->last_seq > seq) {
            break;
        }
        slice_unref(&batch->bytes);
        ring_pop_front(&q->batches);
        q->batches_sent -= q->batches_sent > 0 ? 1 : 0;
    }
    timers_stop(&q->broker->env->timers, &q->timer);
    if (q->batches.count > 0 && q->state == CLIENT_BOUND) {
        arm(q, QUEUE_CLIENT_STALL_MS);
    }
    confirm_upto(q, seq);
    end_cancels(q, seq);
}

static bool
delivery_parse(const struct slice *message, struct broker_delivery *d)
{
    struct stored_message m;

    if (!stored_message_get(message->data, message->size, &m)) {
        return false;
    }
    d->exchange.data = (const char *)m.exchange;
    d->exchange.size = m.exchange_size;
    d->key.data = (const char *)m.key;
    d->key.size = m.key_size;
    d->properties.block = message->block;
    d->properties.data = m.properties;
    d->properties.size = m.properties_size;
    d->body.block = message->block;
    d->body.data = m.body;
    d->body.size = m.body_size;
    return true;
}

/* End ASK, the one that is out, with STATUS; then emit the next. */
static void
end_ask(struct queue_client *q, struct ask *ask, enum queue_status status,
        uint64_t value)
{
    struct broker_reply reply = {.messages = value};
    struct broker_delivery delivery = ask->delivery;
    struct slice message = slice_take(&ask->message);
    struct call_ref *call = ask->call;
    struct consumer_impl *c = ask->consumer;

    if (status == QUEUE_EXCLUSIVE) {
        broker_fault_set(&reply.fault, BROKER_ACCESS_REFUSED,
                         "queue '%.*s' in vhost '%.*s' in exclusive use",
                         (int)record(q)->name.size, record(q)->name.data,
                         (int)record(q)->vhost.size, record(q)->vhost.data);
    } else if (status == QUEUE_LIMIT) {
        broker_fault_set(&reply.fault, BROKER_RESOURCE,
                         "queue '%.*s' in vhost '%.*s' has too many consumers "
                         "or clients",
                         (int)record(q)->name.size, record(q)->name.data,
                         (int)record(q)->vhost.size, record(q)->vhost.data);
    } else if (ask->kind == QUEUE_GET && delivery.id != 0 &&
               delivery_parse(&message, &delivery)) {
        reply.delivery = &delivery;
    }
    if (reply.delivery != NULL && call->call == NULL && c != NULL) {
        /* Its deadline passed meanwhile: nobody will settle it. */
        queue_client_settle(q, c, delivery.id, delivery.id, BROKER_REQUEUE);
    }
    if (c != NULL) {
        c->is_attached = reply.fault.kind == BROKER_OK;
        c->get_call = NULL;
        if (!c->is_attached) {
            (void)map_remove(&q->consumers, c->number);
        }
    }
    ask->call = NULL;
    ask_free(ask);
    emit_ask(q);
    call_end(&call, &reply);
    slice_unref(&message);
}

static void
on_result(struct queue_client *q, const struct queue_effect *e)
{
    struct ask *ask = ask_out(q);

    if (ask == NULL || ask->seq != e->seq) {
        return; /* an old one, repeated */
    }
    if (ask->kind == QUEUE_GET && e->status == QUEUE_OK &&
        ask->delivery.id == 0 && ask->consumer != NULL) {
        ask->has_result = true;
        ask->value = e->value;
        return;
    }
    end_ask(q, ask, e->status, e->value);
}

static void
on_gap(struct queue_client *q, uint64_t expected)
{
    uint64_t now = now_ms(q);

    if (q->state != CLIENT_BOUND ||
        (q->gap_seq == expected && now - q->gap_ms < GAP_QUIET_MS)) {
        return;
    }
    q->gap_seq = expected;
    q->gap_ms = now;
    on_applied(q, expected - 1);
    q->batches_sent = 0;
    client_dirty(q);
}

static void
on_delivery(struct queue_client *q, const struct queue_effect *e,
            const struct slice *message)
{
    struct consumer_impl *c = map_get(&q->consumers, e->consumer);
    struct broker_delivery d = {.id = e->delivery,
                                .is_redelivered = e->count > 0,
                                .delivery_count = e->count};
    struct ask *ask;

    if (c == NULL || e->delivery < c->delivery_next) {
        return;
    }
    if (e->delivery > c->delivery_next) {
        resolve(q); /* one was lost on the way: ask for it again */
        return;
    }
    c->delivery_next++;
    if (c->is_get) {
        ask = ask_out(q);
        if (ask == NULL || ask->consumer != c) {
            /* Nobody waits for it any more. */
            queue_client_settle(q, c, d.id, d.id, BROKER_REQUEUE);
            return;
        }
        ask->delivery = d;
        slice_unref(&ask->message);
        ask->message = slice_ref(message);
        if (ask->has_result) {
            end_ask(q, ask, QUEUE_OK, ask->value);
        }
        return;
    }
    if (!delivery_parse(message, &d)) {
        log_error(q->broker->log, "queue",
                  "queue '%.*s': a stored message is malformed; discarded",
                  (int)record(q)->name.size, record(q)->name.data);
        queue_client_settle(q, c, d.id, d.id, BROKER_DISCARD);
        return;
    }
    c->consumer->on_deliver(c->consumer, &d);
}

static void
on_event(struct queue_client *q, const struct queue_effect *e,
         struct frame_reader *messages)
{
    struct slice message;

    switch (e->kind) {
    case QUEUE_EFFECT_APPLIED:
        on_applied(q, e->seq);
        break;
    case QUEUE_EFFECT_GAP:
        on_gap(q, e->seq);
        break;
    case QUEUE_EFFECT_RESULT:
        on_result(q, e);
        break;
    case QUEUE_EFFECT_DELIVER:
        if (frame_reader_take(messages, e->message.size, &message)) {
            on_delivery(q, e, &message);
            slice_unref(&message);
        }
        break;
    case QUEUE_EFFECT_UNUSED:
        break;
    }
}

static void
on_events(struct queue_client *q, struct frame *f)
{
    struct frame_reader reader;
    struct queue_effect e;
    struct slice size;
    struct slice events = slice_empty();
    struct cursor c;

    if (f->arg != q->broker->session) {
        return; /* to an earlier start of this node */
    }
    frame_reader_init(&reader, f);
    if (!frame_reader_take(&reader, 4, &size)) {
        return;
    }
    if (frame_reader_take(&reader, get_u32le(size.data), &events)) {
        cursor_init(&c, events.data, events.size);
        while (cursor_left(&c) > 0 && queue_event_next(&c, &e)) {
            on_event(q, &e, &reader);
        }
    }
    slice_unref(&size);
    slice_unref(&events);
}

static void
mark_queries_unsent(struct queue_client *q)
{
    struct list *it;

    list_foreach (it, &q->queries) {
        list_entry(it, struct query, link)->is_sent = false;
    }
}

static void
on_resumed(struct queue_client *q, struct address from, struct frame *f)
{
    struct queue_effect e;
    struct ask *ask;
    struct cursor c;
    uint64_t applied;

    if (f->content_count != 1 || q->state != CLIENT_RESOLVING ||
        from.node != q->leader || f->arg < q->term) {
        return;
    }
    cursor_init(&c, f->content[0].data, f->content[0].size);
    applied = cursor_varint(&c);
    if (c.bad) {
        return;
    }
    log_debug(q->broker->log, "queue",
              "group %llu: client bound to node %u, term %llu, after %u "
              "attempts and %llu ms",
              (unsigned long long)q->group, q->leader,
              (unsigned long long)f->arg, q->attempts,
              (unsigned long long)(now_ms(q) - q->resolving_ms));
    q->state = CLIENT_BOUND;
    q->term = f->arg;
    q->attempts = 0;
    q->batches_sent = 0;
    timers_stop(&q->broker->env->timers, &q->timer);
    on_applied(q, applied);
    mark_queries_unsent(q);
    ask = ask_out(q);
    if (ask != NULL && ask->seq <= applied && !ask->has_result) {
        if (cursor_left(&c) > 0 && queue_event_next(&c, &e) &&
            e.seq == ask->seq) {
            on_result(q, &e);
        } else {
            /* The machine has since forgotten the result. A message that GET
             * took is sent again and goes back to the queue then. */
            end_ask(q, ask, ask->kind == QUEUE_GET ? QUEUE_EMPTY : QUEUE_OK, 0);
        }
    }
    client_dirty(q);
}

static void
on_leader(struct queue_client *q, struct address from, struct frame *f)
{
    qr_node_id node;
    struct cursor c;

    if (f->content_count != 1) {
        return;
    }
    cursor_init(&c, f->content[0].data, f->content[0].size);
    node = (qr_node_id)cursor_varint(&c);
    if (q->state == CLIENT_BOUND) {
        if (from.node == q->leader ? node != q->leader || f->arg > q->term
                                   : node == from.node && f->arg > q->term) {
            q->hint = node;
            resolve(q);
        }
        return;
    }
    if (node == 0 || (node == q->leader && node != from.node)) {
        return; /* the timer asks the next one */
    }
    q->hint = node;
    if (node == from.node || q->attempts < QUEUE_CLIENT_HOPS_MAX) {
        resolve(q);
    }
}

static void
on_counts(struct queue_client *q, struct frame *f)
{
    struct broker_reply reply = {0};
    struct slice content;
    struct cursor c;
    struct list *it;

    content = frame_content(f);
    cursor_init(&c, content.data, content.size);
    reply.messages = cursor_varint(&c);
    (void)cursor_varint(&c);
    reply.consumers = cursor_varint(&c);
    reply.queue = record(q)->name;
    slice_unref(&content);
    if (c.bad) {
        return;
    }
    list_foreach (it, &q->queries) {
        struct query *query = list_entry(it, struct query, link);

        if (query->request == f->arg) {
            list_remove(&query->link);
            call_end(&query->call, &reply);
            mem_free(query);
            return;
        }
    }
}

void
queue_client_frame(struct queue_client *q, struct address from,
                   struct frame **frame)
{
    struct frame *f = *frame;

    OBJ_CHECK(q, CLIENT_MAGIC);
    switch (f->kind) {
    case BROKER_EVENTS:
        on_events(q, f);
        break;
    case BROKER_RESUMED:
        on_resumed(q, from, f);
        break;
    case BROKER_LEADER:
        on_leader(q, from, f);
        break;
    case BROKER_BUSY:
        q->batches_sent = 0;
        arm(q, QUEUE_CLIENT_RETRY_MS);
        break;
    case BROKER_COUNTS:
        on_counts(q, f);
        break;
    case BROKER_DEAD:
        if (f->arg == q->broker->session) {
            q->broker->config.on_given_up(q->broker->config.arg);
        }
        break;
    default:
        break;
    }
}

/* ---- life ---- */

void
queue_client_query(struct queue_client *q, struct broker_call *call)
{
    struct query *query = mem_zalloc(1, sizeof(*query));

    OBJ_CHECK(q, CLIENT_MAGIC);
    query->request = ++q->broker->request_next;
    query->call = call_begin(q->broker, call);
    list_push_back(&q->queries, &query->link);
    client_dirty(q);
}

struct queue_client *
queue_client_get(struct broker *b, struct meta_queue *queue)
{
    struct queue_client *q = map_get(&b->clients, queue->group);

    if (q != NULL) {
        OBJ_CHECK(q, CLIENT_MAGIC);
        return q;
    }
    q = mem_zalloc(1, sizeof(*q));
    q->magic = CLIENT_MAGIC;
    q->broker = b;
    q->group = queue->group;
    q->seq_next = 1;
    q->resolving_ms = now_ms(q);
    buf_init(&q->building);
    ring_init(&q->batches, sizeof(struct batch));
    ring_init(&q->confirms, sizeof(struct pending_confirm));
    list_init(&q->asks);
    list_init(&q->queries);
    map_init(&q->consumers);
    ranges_init(&q->ids);
    list_init(&q->dirty);
    timer_init(&q->timer, on_timer, q);
    (void)map_put(&b->clients, q->group, q);
    return q;
}

/* End everything that waits: FAULT, or silently when it is NULL. */
static void
end_waiting(struct queue_client *q, const struct broker_fault *fault)
{
    struct broker_reply reply = {0};
    struct list *it;

    if (fault != NULL) {
        reply.fault = *fault;
    }
    while (!list_is_empty(&q->asks)) {
        struct ask *ask = list_entry(q->asks.next, struct ask, link);
        struct call_ref *call = ask->call;

        ask->call = NULL;
        ask_free(ask);
        if (fault == NULL && call->call != NULL) {
            broker_call_abandon(call->call);
        }
        call_end(&call, &reply);
    }
    while ((it = list_pop_front(&q->queries)) != NULL) {
        struct query *query = list_entry(it, struct query, link);

        if (fault == NULL && query->call->call != NULL) {
            broker_call_abandon(query->call->call);
        }
        call_end(&query->call, &reply);
        mem_free(query);
    }
}

void
queue_client_free(struct queue_client *q)
{
    OBJ_CHECK(q, CLIENT_MAGIC);
    end_waiting(q, NULL);
    (void)map_remove(&q->broker->clients, q->group);
    timers_stop(&q->broker->env->timers, &q->timer);
    list_remove(&q->dirty);
    for (size_t i = 0; i < q->batches.count; i++) {
        slice_unref(&((struct batch *)ring_at(&q->batches, i))->bytes);
    }
    ring_deinit(&q->batches);
    ring_deinit(&q->confirms);
    ranges_deinit(&q->ids);
    buf_deinit(&q->building);
    map_deinit(&q->consumers);
    q->magic = 0;
    mem_free(q);
}

void
queue_client_queue_gone(struct queue_client *q, const struct meta_queue *queue)
{
    uint64_t *numbers = map_keys_sorted(&q->consumers);
    size_t count = q->consumers.count;
    struct broker_fault fault;

    OBJ_CHECK(q, CLIENT_MAGIC);
    broker_fault_set(&fault, BROKER_NOT_FOUND,
                     "no queue '%.*s' in vhost '%.*s'", (int)queue->name.size,
                     queue->name.data, (int)queue->vhost.size,
                     queue->vhost.data);
    /* A queue that is deleted takes its messages along: to their publishers
     * they are settled, as in RabbitMQ. */
    confirm_upto(q, UINT64_MAX);
    end_waiting(q, &fault);
    for (size_t i = 0; i < count; i++) {
        struct consumer_impl *c = map_get(&q->consumers, numbers[i]);

        if (c != NULL) {
            (void)map_remove(&q->consumers, c->number);
            consumer_cancelled(c);
        }
    }
    mem_free(numbers);
    queue_client_free(q);
}

qr_group_id
queue_client_group(const struct queue_client *q)
{
    return q->group;
}

struct queue_client *
queue_client_of_dirty(struct list *link)
{
    return list_entry(link, struct queue_client, dirty);
}
