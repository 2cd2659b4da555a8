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

#include "base/mem.h"
#include "base/mutation.h"
#include "broker/queue_client_priv.h"
#include "broker/queue_events.h"
#include "shard/env.h"

/* The queue's record: looked up each time, since a restored snapshot of the
 * metadata replaces all records. */
const struct meta_queue *
client_record(const struct queue_client *q)
{
    const struct meta_queue *queue =
        meta_queue_by_group(q->broker->meta, q->group);

    ASSERT(queue != NULL); /* else queue_client_queue_gone() was called */
    return queue;
}

uint64_t
client_now_ms(const struct queue_client *q)
{
    return q->broker->env->ops->now_ms(q->broker->env);
}

void
client_dirty(struct queue_client *q)
{
    if (!list_is_linked(&q->dirty)) {
        list_push_back(&q->broker->dirty_clients, &q->dirty);
        q->broker->env->ops->wake(q->broker->env);
    }
}

void
client_arm(struct queue_client *q, uint64_t delay_ms)
{
    timers_start(&q->broker->env->timers, &q->timer,
                 client_now_ms(q) + delay_ms);
}

/* ---- building commands ---- */

/* Have a room where commands gather. Rooms are the shard's: of ten thousand
 * queues few are published to in the same turn, and the others need none. */
static void
open_room(struct queue_client *q)
{
    struct broker *b = q->broker;

    if (q->building.data == NULL && b->rooms_count > 0) {
        q->building = b->rooms[--b->rooms_count];
        b->rooms_size -= q->building.capacity;
    }
    ASSERT(q->building.size <= q->building.capacity);
}

static void
close_room(struct queue_client *q)
{
    struct broker *b = q->broker;

    ASSERT(b->rooms_size <= QUEUE_CLIENT_ROOMS_SIZE);
    if (b->rooms_count == QUEUE_CLIENT_ROOMS_MAX ||
        q->building.capacity > QUEUE_CLIENT_ROOMS_SIZE - b->rooms_size) {
        buf_deinit(&q->building);
        return;
    }
    buf_clear(&q->building);
    b->rooms_size += q->building.capacity;
    b->rooms[b->rooms_count++] = q->building;
    buf_init(&q->building);
}

/* Make what was gathered a batch. */
void
client_seal(struct queue_client *q)
{
    struct batch *batch;

    if (q->building.size == 0) {
        return;
    }
    batch = ring_push_back(&q->batches);
    batch->last_seq = q->seq_next - 1;
    batch->bytes = slice_copy(q->building.data, q->building.size);
    q->batches_bytes += batch->bytes.size;
    close_room(q);
}

size_t
queue_client_backlog(const struct queue_client *q)
{
    OBJ_CHECK(q, CLIENT_MAGIC);
    return q->batches_bytes + q->building.size;
}

/* Put the settlements that gathered into a command. */
void
client_close_settling(struct queue_client *q)
{
    struct queue_command head = {0};

    if (q->settling == NULL) {
        return;
    }
    head.session = q->broker->session;
    head.seq = q->seq_next++;
    head.consumer = q->settling->number;
    open_room(q);
    queue_put_ids(&q->building, q->settling_kind, &head, &q->ids);
    ranges_clear(&q->ids);
    q->settling = NULL;
}

/* The number of the next command, which the caller appends at once. */
uint64_t
client_next_seq(struct queue_client *q)
{
    client_close_settling(q);
    if (q->building.size >= QUEUE_CLIENT_BATCH_SIZE) {
        client_seal(q);
    }
    open_room(q);
    client_dirty(q);
    return q->seq_next++;
}

/* The ask that is out, or NULL. */
struct ask *
client_ask_out(struct queue_client *q)
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
void
client_emit_ask(struct queue_client *q)
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
    ask->seq = client_next_seq(q);
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
    ask->call->group = q->group;
    list_push_back(&q->asks, &ask->link);
    return ask;
}

void
client_ask_free(struct ask *ask)
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
    seq = client_next_seq(q);
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
    client_emit_ask(q);
}

void
queue_client_get_one(struct queue_client *q, struct consumer_impl *c,
                     struct broker_call *call)
{
    OBJ_CHECK(q, CLIENT_MAGIC);
    (void)map_put(&q->consumers, c->number, c);
    (void)ask_new(q, QUEUE_GET, c, call);
    client_emit_ask(q);
}

void
queue_client_purge(struct queue_client *q, struct broker_call *call)
{
    OBJ_CHECK(q, CLIENT_MAGIC);
    (void)ask_new(q, QUEUE_PURGE, NULL, call);
    client_emit_ask(q);
}

void
queue_client_cancel(struct queue_client *q, struct consumer_impl *c,
                    struct broker_call *call)
{
    struct ask *ask;

    OBJ_CHECK(q, CLIENT_MAGIC);
    ask = ask_new(q, QUEUE_CANCEL, c, call);
    ask->seq = client_next_seq(q);
    queue_put_consumer(&q->building, QUEUE_CANCEL, q->broker->session, ask->seq,
                       c->number);
}

void
queue_client_credit(struct queue_client *q, struct consumer_impl *c,
                    uint32_t limit)
{
    uint64_t seq;

    OBJ_CHECK(q, CLIENT_MAGIC);
    seq = client_next_seq(q);
    queue_put_credit(&q->building, q->broker->session, seq, c->number, limit);
}

/* C's owner no longer waits for anything. */
void
client_forget_consumer(struct queue_client *q, struct consumer_impl *c)
{
    struct list *it;

    if (q->settling == c) {
        client_close_settling(q);
    }
    (void)map_remove(&q->consumers, c->number);
    list_foreach (it, &q->asks) {
        struct ask *ask = list_entry(it, struct ask, link);

        if (ask->consumer == c && ask->seq != 0) {
            ask->consumer = NULL;
        }
    }
}

void
client_drop_asks(struct queue_client *q, const struct consumer_impl *c)
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
            client_ask_free(ask);
        }
    }
}

/* A GET whose message is on its way to a consumer that has gone: the message
 * goes back with the consumer, and nobody waits for it. */
static void
end_orphan(struct queue_client *q)
{
    struct ask *ask = client_ask_out(q);

    if (ask != NULL && ask->consumer == NULL && ask->has_result) {
        if (ask->call->call != NULL) {
            broker_call_abandon(ask->call->call);
        }
        client_end_ask(q, ask, QUEUE_EMPTY, 0);
    }
}

void
queue_client_detach(struct queue_client *q, struct consumer_impl *c)
{
    uint64_t seq;

    OBJ_CHECK(q, CLIENT_MAGIC);
    client_forget_consumer(q, c);
    client_drop_asks(q, c);
    end_orphan(q);
    seq = client_next_seq(q);
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
        client_close_settling(q);
        q->settling = c;
        q->settling_kind = kind;
        client_dirty(q);
    }
    if (!MUTATION(settle_less) || first % 100 != 0) {
        ranges_add(&q->ids, first, last);
    }
}

/* ---- life ---- */

void
queue_client_query(struct queue_client *q, struct call_ref **call)
{
    struct query *query = mem_zalloc(1, sizeof(*query));

    OBJ_CHECK(q, CLIENT_MAGIC);
    query->request = ++q->broker->request_next;
    query->call = *call;
    query->call->group = q->group;
    *call = NULL;
    list_push_back(&q->queries, &query->link);
    client_dirty(q);
}

void
queue_client_explain(const struct queue_client *q, struct broker_fault *fault)
{
    const struct meta_queue *queue = client_record(q);

    OBJ_CHECK(q, CLIENT_MAGIC);
    if (q->blocked != 0) {
        broker_fault_set(
            fault, BROKER_INTERNAL,
            "queue '%.*s' in vhost '%.*s' is damaged: entry %llu of its log "
            "has rotted on every replica; put back a disk that has it, or "
            "delete the queue and declare it again",
            (int)queue->name.size, queue->name.data, (int)queue->vhost.size,
            queue->vhost.data, (unsigned long long)q->blocked);
    } else if (q->is_lost && queue->members_count == 1) {
        broker_fault_set(
            fault, BROKER_INTERNAL,
            "queue '%.*s' in vhost '%.*s' is lost: its state has rotted, and "
            "it "
            "has no other replica; put back an undamaged disk, or delete the "
            "queue and declare it again",
            (int)queue->name.size, queue->name.data, (int)queue->vhost.size,
            queue->vhost.data);
    }
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
    q->resolving_ms = client_now_ms(q);
    buf_init(&q->building);
    ring_init(&q->batches, sizeof(struct batch));
    ring_init(&q->confirms, sizeof(struct pending_confirm));
    list_init(&q->asks);
    list_init(&q->queries);
    map_init(&q->consumers);
    ranges_init(&q->ids);
    list_init(&q->dirty);
    timer_init(&q->timer, client_on_timer, q);
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
        client_ask_free(ask);
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
    for (size_t i = 0; i < q->confirms.count; i++) {
        struct pending_confirm *confirm = ring_at(&q->confirms, i);

        publisher_slot_lost(confirm->publisher, confirm->slot);
    }
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
    client_confirm_upto(q, UINT64_MAX);
    end_waiting(q, &fault);
    for (size_t i = 0; i < count; i++) {
        struct consumer_impl *c = map_get(&q->consumers, numbers[i]);

        if (c != NULL) {
            if (q->settling == c) { /* nobody is left to be told */
                q->settling = NULL;
                ranges_clear(&q->ids);
            }
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
