/* What a queue's leader says to a queue client: commands applied, results,
 * gaps, deliveries, counts. All of it was committed, so it is true whoever
 * says it and however late; what is old is recognised by its number. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "broker/frame_reader.h"
#include "broker/queue_client_priv.h"
#include "broker/queue_events.h"
#include "shard/env.h"

/* ---- what the leader says ---- */

void
client_confirm_upto(struct queue_client *q, uint64_t seq)
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
    ring_trim_idle(&q->confirms);
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

            if (ask->consumer != NULL) {
                ask->consumer->is_cancelled = true;
            }
            ask->call = NULL;
            client_ask_free(ask);
            call_end(&call, &reply);
            tmp = q->asks.next; /* the callback may have changed the list */
        }
    }
}

void
client_on_applied(struct queue_client *q, uint64_t seq)
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
        if (q->batches_sent > 0) {
            q->batches_sent--;
            q->sent_bytes -= batch->bytes.size;
        }
        ASSERT(q->batches_bytes >= batch->bytes.size);
        q->batches_bytes -= batch->bytes.size;
        slice_unref(&batch->bytes);
        ring_pop_front(&q->batches);
        q->broker->is_easing = true;
    }
    ring_trim_idle(&q->batches);
    q->refusals = 0;
    if (q->state == CLIENT_BOUND) {
        q->progress_ms = client_now_ms(q);
        client_watch(q);
        if (q->batches_sent < q->batches.count) {
            client_dirty(q); /* there may be room now */
        }
    }
    client_confirm_upto(q, seq);
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
void
client_end_ask(struct queue_client *q, struct ask *ask,
               enum queue_status status, uint64_t value)
{
    struct broker_reply reply = {.messages = value};
    struct broker_delivery delivery = ask->delivery;
    struct slice message = slice_take(&ask->message);
    struct call_ref *call = ask->call;
    struct consumer_impl *c = ask->consumer;

    if (status == QUEUE_EXCLUSIVE) {
        broker_fault_set(
            &reply.fault, BROKER_ACCESS_REFUSED,
            "queue '%.*s' in vhost '%.*s' in exclusive use",
            (int)client_record(q)->name.size, client_record(q)->name.data,
            (int)client_record(q)->vhost.size, client_record(q)->vhost.data);
    } else if (status == QUEUE_LIMIT) {
        broker_fault_set(
            &reply.fault, BROKER_RESOURCE,
            "queue '%.*s' in vhost '%.*s' has too many consumers "
            "or clients",
            (int)client_record(q)->name.size, client_record(q)->name.data,
            (int)client_record(q)->vhost.size, client_record(q)->vhost.data);
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
        if (!c->is_attached) {
            (void)map_remove(&q->consumers, c->number);
        }
    }
    ask->call = NULL;
    client_ask_free(ask);
    client_emit_ask(q);
    call_end(&call, &reply);
    slice_unref(&message);
}

void
client_on_result(struct queue_client *q, const struct queue_effect *e)
{
    struct ask *ask = client_ask_out(q);

    if (ask == NULL || ask->seq != e->seq) {
        return; /* an old one, repeated */
    }
    if (ask->kind == QUEUE_GET && e->status == QUEUE_OK &&
        ask->delivery.id == 0 && ask->consumer != NULL) {
        ask->has_result = true;
        ask->value = e->value;
        return;
    }
    client_end_ask(q, ask,
                   ask->is_repeat && e->status == QUEUE_LIMIT ? QUEUE_OK
                                                              : e->status,
                   e->value);
}

static void
on_gap(struct queue_client *q, uint64_t expected)
{
    uint64_t now = client_now_ms(q);

    if (q->state != CLIENT_BOUND ||
        (q->gap_seq == expected && now - q->gap_ms < GAP_QUIET_MS)) {
        return;
    }
    client_on_applied(q, expected - 1);
    if (q->gap_seq == expected) {
        client_refused(q, expected); /* sending it again did not help */
    }
    q->batches_sent = 0;
    q->sent_bytes = 0;
    q->gap_seq = expected;
    q->gap_ms = now;
    client_dirty(q);
}

/* A delivery for consumer NUMBER is here. If the answer to its ATTACH is not,
 * it was lost with a leader or a link and comes again later; the delivery says
 * the same, and its owner is to hear that first. The consumer, or NULL: none
 * is there, or it went when it heard. */
static struct consumer_impl *
consumer_of_delivery(struct queue_client *q, uint64_t number)
{
    struct consumer_impl *c = map_get(&q->consumers, number);
    struct ask *ask = client_ask_out(q);

    if (c != NULL && ask != NULL && ask->kind == QUEUE_ATTACH &&
        ask->consumer == c) {
        client_end_ask(q, ask, QUEUE_OK, 0);
        c = map_get(&q->consumers, number);
    }
    return c;
}

/* Whether E, a delivery to C (NULL: there is none), is the next one. */
static bool
is_next(struct queue_client *q, const struct consumer_impl *c,
        const struct queue_effect *e)
{
    if (c == NULL ||
        (e->delivery < c->delivery_next && !MUTATION(replay_effects))) {
        return false;
    }
    if (e->delivery > c->delivery_next) {
        if (q->state == CLIENT_BOUND) {
            client_resolve(q); /* one was lost on the way: ask for it again */
        }
        return false;
    }
    return true;
}

/* A delivery whose message has rotted on every replica: there is nothing to
 * deliver. It goes back, where it counts as lost; a GET asks for another. */
static void
on_absent(struct queue_client *q, const struct queue_effect *e)
{
    struct consumer_impl *c = consumer_of_delivery(q, e->consumer);
    struct ask *ask;

    if (!is_next(q, c, e)) {
        return;
    }
    c->delivery_next++;
    queue_client_settle(q, c, e->delivery, e->delivery, BROKER_REQUEUE);
    ask = client_ask_out(q);
    if (c->is_get && ask != NULL && ask->consumer == c) {
        ask->has_result = false;
        ask->seq = 0;
        client_emit_ask(q);
    }
}

static void
on_delivery(struct queue_client *q, const struct queue_effect *e,
            const struct slice *message)
{
    struct consumer_impl *c = consumer_of_delivery(q, e->consumer);
    struct broker_delivery d = {.id = e->delivery,
                                .is_redelivered =
                                    e->count > 0 && !MUTATION(unflagged),
                                .delivery_count = e->count};
    struct ask *ask;

    if (!is_next(q, c, e)) {
        return;
    }
    c->delivery_next++;
    ask = client_ask_out(q);
    if (c->is_cancelled || (c->is_get && (ask == NULL || ask->consumer != c))) {
        /* Nobody waits for it any more: a leader that had not sent it was
         * lost, and that the cancel was applied was heard before. */
        queue_client_settle(q, c, d.id, d.id, BROKER_REQUEUE);
        return;
    }
    if (c->is_get) {
        ask->delivery = d;
        slice_unref(&ask->message);
        ask->message = slice_ref(message);
        if (ask->has_result) {
            client_end_ask(q, ask, QUEUE_OK, ask->value);
        }
        return;
    }
    if (!delivery_parse(message, &d)) {
        log_error(q->broker->log, "queue",
                  "queue '%.*s': a stored message is malformed; discarded",
                  (int)client_record(q)->name.size,
                  client_record(q)->name.data);
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
        client_on_applied(q, e->seq);
        break;
    case QUEUE_EFFECT_GAP:
        on_gap(q, e->seq);
        break;
    case QUEUE_EFFECT_RESULT:
        client_on_result(q, e);
        break;
    case QUEUE_EFFECT_DELIVER:
        if (frame_reader_take(messages, e->message.size, &message)) {
            on_delivery(q, e, &message);
            slice_unref(&message);
        }
        break;
    case QUEUE_EFFECT_ABSENT:
        on_absent(q, e);
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
    q->heard_ms = client_now_ms(q);
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
    reply.queue = client_record(q)->name;
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
        client_on_resumed(q, from, f);
        break;
    case BROKER_LEADER:
        client_on_leader(q, from, f);
        break;
    case BROKER_BUSY:
        if (q->state == CLIENT_BOUND && from.node == q->leader) {
            client_refused(q, f->arg);
        }
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
