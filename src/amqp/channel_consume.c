/* Consumers, and what they are delivered.
 *
 * A consumer is in one of three lists: `consumers` while it has a tag,
 * `holders` if it holds what basic.get got from a queue, `leaving` when it was
 * cancelled but the client still has deliveries to settle. From there it goes
 * when nothing is unsettled any more. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "amqp/channel.h"
#include "amqp/table.h"
#include "base/mem.h"

static void
consumer_free(struct amqp_consumer *consumer)
{
    struct amqp_channel *ch = consumer->channel;

    if (broker_consumer_is_attached(&consumer->bc)) {
        broker_consumer_detach(&consumer->bc);
    }
    amqp_output_forget(ch->c, consumer);
    list_remove(&consumer->link);
    list_remove(&consumer->waiting_link);
    consumer->magic = 0;
    mem_free(consumer);
}

static void
consumers_free(struct list *list)
{
    while (!list_is_empty(list)) {
        consumer_free(list_entry(list->next, struct amqp_consumer, link));
    }
}

void
amqp_consume_release(struct amqp_channel *ch)
{
    consumers_free(&ch->consumers);
    consumers_free(&ch->holders);
    consumers_free(&ch->leaving);
    strmap_deinit(&ch->tags);
    strmap_init(&ch->tags);
    unacked_deinit(&ch->unacked);
    unacked_init(&ch->unacked);
    ch->holders_count = 0;
    ch->subject = NULL;
    ch->reply = NULL;
    ch->c->consumers -= ch->listed.consumers_count;
    ch->listed.consumers_count = 0;
    ch->listed.unacknowledged = 0;
}

/* Those that were cancelled by the broker while they held nothing: they could
 * not go from within its callback. */
static void
consumers_reap(struct amqp_channel *ch)
{
    struct list *it = NULL;
    struct list *next = NULL;

    list_foreach_safe (it, next, &ch->leaving) {
        struct amqp_consumer *consumer =
            list_entry(it, struct amqp_consumer, link);

        if (consumer->unsettled == 0) {
            consumer_free(consumer);
        }
    }
}

void
amqp_consumer_settle(struct amqp_consumer *consumer, uint64_t first,
                     uint64_t last, enum broker_outcome outcome)
{
    uint64_t count = last - first + 1;

    OBJ_CHECK(consumer, AMQP_CONSUMER_MAGIC);
    ASSERT(consumer->unsettled >= count);
    if (broker_consumer_is_attached(&consumer->bc)) {
        broker_settle(&consumer->bc, first, last, outcome);
    }
    consumer->unsettled -= count;
    if (consumer->is_leaving && consumer->unsettled == 0) {
        consumer_free(consumer);
    }
}

void
amqp_consumer_drained(struct amqp_consumer *consumer, uint64_t id)
{
    uint64_t first = consumer->drained + 1;

    OBJ_CHECK(consumer, AMQP_CONSUMER_MAGIC);
    ASSERT(id >= first);
    consumer->drained = id;
    amqp_consumer_settle(consumer, first, id, BROKER_ACK);
}

/* Write a delivery as METHOD with its content. */
static void
consumer_send(struct amqp_channel *ch, const struct broker_delivery *d,
              const struct amqp_method *m, bool is_answer)
{
    struct slice properties = d->properties;
    struct amqp_outgoing o = {
        .channel = ch->number,
        .method = m,
        .properties = &properties,
        .body = &d->body,
        .body_count = 1,
        .body_size = d->body.size,
        .is_answer = is_answer,
    };
    struct buf counted;

    buf_init(&counted);
    if (d->delivery_count > 0) {
        amqp_properties_put_count(d->properties.data, d->properties.size,
                                  "x-delivery-count", d->delivery_count,
                                  &counted);
        properties = slice_borrow(counted.data, counted.size);
    }
    amqp_output_content(ch->c, &o);
    buf_deinit(&counted);
}

static void
consumer_set_credit(struct amqp_consumer *consumer, uint32_t credit)
{
    if (credit != consumer->credit) {
        consumer->credit = credit;
        broker_consumer_credit(&consumer->bc, credit);
    }
}

void
amqp_consumer_feed(struct amqp_consumer *consumer)
{
    uint64_t credit = consumer->limit;

    OBJ_CHECK(consumer, AMQP_CONSUMER_MAGIC);
    /* With nothing delivered the queue is empty: what comes will come as fast
     * as it is published, and there will be time to see how large it is. */
    if (consumer->size_average > 0) {
        credit = consumer->unsettled +
                 MAX(AMQP_CREDIT_BYTES / consumer->size_average, 1U);
        credit = MIN(credit, consumer->limit);
    }
    if (!consumer->is_leaving && credit > consumer->credit &&
        broker_consumer_is_attached(&consumer->bc)) {
        consumer_set_credit(consumer, (uint32_t)credit);
    }
}

/* A delivery of SIZE bytes was written. Credit follows what the socket takes:
 * a consumer that has less than it wants asks again when the socket has taken
 * this, and one whose connection has too much to take gets no more. */
static void
consumer_pace(struct amqp_consumer *consumer, size_t size)
{
    struct amqp_connection *c = consumer->channel->c;
    uint32_t average = consumer->size_average;
    uint32_t sample = (uint32_t)MIN(size + 1, UINT32_MAX / 8);

    consumer->size_average =
        average == 0 ? sample : (uint32_t)((7ULL * average + sample) / 8);
    if (c->out.written - c->out.taken > AMQP_BACKLOG_BYTES_MAX &&
        consumer->unsettled < consumer->credit) {
        consumer_set_credit(consumer, (uint32_t)consumer->unsettled);
    }
    if (consumer->credit < consumer->limit) {
        list_remove(&consumer->waiting_link);
        list_push_back(&c->hungry, &consumer->waiting_link);
        amqp_connection_want_turn(c);
    }
}

/* The tag for delivery ID of CONSUMER. */
static uint64_t
consumer_tag_delivery(struct amqp_consumer *consumer, uint64_t id)
{
    struct amqp_channel *ch = consumer->channel;
    uint64_t tag = ch->next_tag++;

    consumer->unsettled++;
    if (!consumer->is_no_ack) {
        unacked_add(&ch->unacked, tag, consumer, id);
        ch->listed.unacknowledged = ch->unacked.live;
    }
    return tag;
}

static void
consumer_on_deliver(struct broker_consumer *bc, const struct broker_delivery *d)
{
    struct amqp_consumer *consumer = bc->arg;
    struct amqp_method m = {.id = AMQP_basic_deliver};
    struct amqp_channel *ch = NULL;

    OBJ_CHECK(consumer, AMQP_CONSUMER_MAGIC);
    ch = consumer->channel;
    m.basic_deliver.consumer_tag =
        (struct amqp_text){consumer->name, consumer->name_size};
    m.basic_deliver.delivery_tag = consumer_tag_delivery(consumer, d->id);
    m.basic_deliver.redelivered = d->is_redelivered;
    m.basic_deliver.exchange = amqp_text_of(d->exchange);
    m.basic_deliver.routing_key = amqp_text_of(d->key);
    consumer_send(ch, d, &m, false);
    if (consumer->is_no_ack) {
        amqp_output_mark(ch->c, consumer, d->id);
    }
    consumer_pace(consumer, d->body.size);
}

/* No more under its tag, or as a holder. */
static void
consumer_leave(struct amqp_consumer *consumer)
{
    struct amqp_channel *ch = consumer->channel;

    consumer->is_leaving = true;
    ch->reply = ch->reply == consumer ? NULL : ch->reply;
    list_remove(&consumer->link);
    list_push_back(&ch->leaving, &consumer->link);
    if (strmap_get(&ch->tags, consumer->name, consumer->name_size) ==
        consumer) {
        (void)strmap_remove(&ch->tags, consumer->name, consumer->name_size);
        ch->listed.consumers_count--;
        ch->c->consumers--;
    }
}

static void
consumer_on_cancelled(struct broker_consumer *bc)
{
    struct amqp_consumer *consumer = bc->arg;
    struct amqp_method m = {.id = AMQP_basic_cancel};
    struct amqp_channel *ch = NULL;

    OBJ_CHECK(consumer, AMQP_CONSUMER_MAGIC);
    ch = consumer->channel;
    if (consumer->is_leaving) {
        return;
    }
    consumer_leave(consumer);
    if (!ch->c->capabilities.consumer_cancel_notify) {
        return;
    }
    m.basic_cancel.consumer_tag =
        (struct amqp_text){consumer->name, consumer->name_size};
    m.basic_cancel.nowait = true;
    amqp_channel_send(ch, &m);
}

/* A holder of basic.get lost its queue. */
static void
holder_on_cancelled(struct broker_consumer *bc)
{
    struct amqp_consumer *consumer = bc->arg;

    OBJ_CHECK(consumer, AMQP_CONSUMER_MAGIC);
    if (!consumer->is_leaving) {
        consumer->channel->holders_count--;
        consumer_leave(consumer);
    }
}

/* What a holder of basic.get gave may be given to others now. There is no
 * consumer to cancel: the channel ends, as it does in RabbitMQ when
 * acknowledgements are overdue. */
static void
holder_on_given_up(struct broker_consumer *bc)
{
    struct amqp_consumer *consumer = bc->arg;
    struct amqp_channel *ch = NULL;
    char name[QR_NAME_SIZE_MAX + 1];

    OBJ_CHECK(consumer, AMQP_CONSUMER_MAGIC);
    ch = consumer->channel;
    (void)snprintf(name, sizeof(name), "%.*s", (int)consumer->name_size,
                   consumer->name);
    holder_on_cancelled(bc);
    if (consumer->unsettled == 0) {
        return;
    }
    amqp_channel_fail(ch, AMQP_PRECONDITION_FAILED,
                      "queue '%s' in vhost '%s' cannot be reached: what "
                      "basic.get gave to channel %u goes to others",
                      name, ch->c->bc.vhost, ch->number);
}

static struct amqp_consumer *
consumer_new(struct amqp_channel *ch, struct amqp_text name)
{
    struct amqp_consumer *consumer =
        mem_zalloc(1, sizeof(*consumer) + name.size);

    consumer->magic = AMQP_CONSUMER_MAGIC;
    consumer->channel = ch;
    list_init(&consumer->waiting_link);
    consumer->bc.on_deliver = consumer_on_deliver;
    consumer->bc.on_cancelled = consumer_on_cancelled;
    consumer->bc.arg = consumer;
    consumer->name_size = name.size;
    memcpy(consumer->name, name.data, name.size);
    return consumer;
}

void
amqp_consume_done(struct amqp_channel *ch, const struct broker_reply *reply)
{
    struct amqp_consumer *consumer = ch->subject;
    struct amqp_method m = {.id = AMQP_basic_consume_ok};

    (void)reply;
    ch->subject = NULL;
    m.basic_consume_ok.consumer_tag =
        (struct amqp_text){consumer->name, consumer->name_size};
    if (!ch->is_nowait) {
        amqp_channel_send(ch, &m);
    }
    ASSERT(!list_is_linked(&consumer->waiting_link)); /* nothing came yet */
    if (consumer->credit < consumer->limit) {
        amqp_connection_fresh(ch->c, &consumer->waiting_link);
    }
}

static bool
consume_check(struct amqp_channel *ch, const struct amqp_basic_consume *m)
{
    struct amqp_text tag = m->consumer_tag;
    struct amqp_value v;

    if (strmap_get(&ch->tags, tag.data, tag.size) != NULL) {
        amqp_channel_fail(ch, AMQP_NOT_ALLOWED,
                          "attempt to reuse consumer tag '%.*s'", (int)tag.size,
                          tag.data);
        return false;
    }
    if (ch->tags.count >= AMQP_CONSUMERS_MAX) {
        amqp_channel_fail(ch, AMQP_RESOURCE_ERROR,
                          "number of consumers of the channel has reached its "
                          "maximum (%d)",
                          AMQP_CONSUMERS_MAX);
        return false;
    }
    if (ch->c->consumers >= AMQP_CONNECTION_CONSUMERS_MAX) {
        amqp_channel_fail(ch, AMQP_RESOURCE_ERROR,
                          "number of consumers of the connection has reached "
                          "its maximum (%d)",
                          AMQP_CONNECTION_CONSUMERS_MAX);
        return false;
    }
    if (amqp_table_get(m->arguments, "x-priority", &v)) {
        amqp_channel_fail(ch, AMQP_NOT_IMPLEMENTED,
                          "consumer argument 'x-priority'");
        return false;
    }
    return amqp_channel_check_arguments(ch, m->arguments);
}

struct amqp_consumer *
amqp_consumer_add(struct amqp_channel *ch, const struct amqp_basic_consume *m)
{
    char generated[64];
    struct amqp_text tag = m->consumer_tag;
    struct amqp_consumer *consumer = NULL;

    while (tag.size == 0 || strmap_get(&ch->tags, tag.data, tag.size) != NULL) {
        (void)snprintf(generated, sizeof(generated),
                       "amq.ctag-%" PRIx64 "-%x-%" PRIx64, ch->c->bc.id,
                       ch->number, ++ch->generated);
        tag = amqp_text(generated);
    }
    consumer = consumer_new(ch, tag);
    consumer->is_no_ack = m->no_ack;
    consumer->limit =
        ch->listed.prefetch > 0 ? ch->listed.prefetch : BROKER_PREFETCH_DEFAULT;
    if (m->no_ack) {
        consumer->limit = AMQP_NO_ACK_PREFETCH;
    }
    consumer->credit = MIN(consumer->limit, AMQP_CREDIT_INITIAL);
    list_push_back(&ch->consumers, &consumer->link);
    (void)strmap_put(&ch->tags, tag.data, tag.size, consumer);
    ch->listed.consumers_count++;
    ch->c->consumers++;
    return consumer;
}

void
amqp_consume(struct amqp_channel *ch, const struct amqp_method *method)
{
    const struct amqp_basic_consume *m = &method->basic_consume;
    struct broker_consume_spec spec = {
        .arguments = meta_text_of(m->arguments),
        .is_exclusive = m->exclusive,
        .is_no_ack = m->no_ack,
    };
    struct amqp_consumer *consumer = NULL;

    consumers_reap(ch);
    if (!consume_check(ch, m)) {
        return;
    }
    if (amqp_reply_is_queue(m->queue)) {
        amqp_reply_consume(ch, method);
        return;
    }
    if (!amqp_channel_queue_name(ch, m->queue, &spec.queue)) {
        return;
    }
    consumer = amqp_consumer_add(ch, m);
    spec.tag = (struct meta_text){consumer->name, consumer->name_size};
    spec.prefetch = consumer->credit;
    ch->subject = consumer;
    amqp_channel_begin(ch, m->nowait, amqp_consume_done);
    broker_consume(ch->c->broker, &ch->c->bc, &spec, &consumer->bc, &ch->call);
}

static void
cancel_answer(struct amqp_channel *ch, struct amqp_text tag)
{
    struct amqp_method m = {.id = AMQP_basic_cancel_ok};

    m.basic_cancel_ok.consumer_tag = tag;
    if (!ch->is_nowait) {
        amqp_channel_send(ch, &m);
    }
}

static void
cancel_done(struct amqp_channel *ch, const struct broker_reply *reply)
{
    struct amqp_consumer *consumer = ch->subject;

    (void)reply;
    ch->subject = NULL;
    cancel_answer(ch, (struct amqp_text){consumer->name, consumer->name_size});
    if (!consumer->is_leaving) {
        consumer_leave(consumer);
    }
    consumers_reap(ch);
}

void
amqp_cancel(struct amqp_channel *ch, const struct amqp_method *method)
{
    const struct amqp_basic_cancel *m = &method->basic_cancel;
    struct amqp_consumer *consumer =
        strmap_get(&ch->tags, m->consumer_tag.data, m->consumer_tag.size);

    /* RabbitMQ: one that is not there is cancelled all the same. */
    if (consumer == NULL || !broker_consumer_is_attached(&consumer->bc)) {
        ch->is_nowait = m->nowait;
        cancel_answer(ch, m->consumer_tag);
        return;
    }
    ch->subject = consumer;
    amqp_channel_begin(ch, m->nowait, cancel_done);
    broker_consumer_cancel(&consumer->bc, &ch->call);
}

static struct amqp_consumer *
holder_find(const struct amqp_channel *ch, struct meta_text queue)
{
    struct list *it = NULL;

    list_foreach (it, &ch->holders) {
        struct amqp_consumer *consumer =
            list_entry(it, struct amqp_consumer, link);

        if (consumer->name_size == queue.size &&
            memcmp(consumer->name, queue.data, queue.size) == 0) {
            return consumer;
        }
    }
    return NULL;
}

/* Drop the holder that was used longest ago and holds nothing. */
static bool
holder_make_room(struct amqp_channel *ch)
{
    struct list *it = NULL;

    for (it = ch->holders.prev; it != &ch->holders; it = it->prev) {
        struct amqp_consumer *consumer =
            list_entry(it, struct amqp_consumer, link);

        if (consumer->unsettled == 0) {
            consumer_free(consumer);
            ch->holders_count--;
            return true;
        }
    }
    amqp_channel_fail(ch, AMQP_RESOURCE_ERROR,
                      "the channel holds messages of %d queues from "
                      "basic.get: settle some first",
                      AMQP_GET_QUEUES_MAX);
    return false;
}

/* The holder for QUEUE, at the front of the list; NULL, and the channel has
 * failed, when there are too many. */
static struct amqp_consumer *
holder_get(struct amqp_channel *ch, struct meta_text queue)
{
    struct amqp_consumer *consumer = holder_find(ch, queue);

    if (consumer == NULL) {
        if (ch->holders_count >= AMQP_GET_QUEUES_MAX && !holder_make_room(ch)) {
            return NULL;
        }
        consumer = consumer_new(ch, amqp_text_of(queue));
        consumer->bc.on_cancelled = holder_on_cancelled;
        consumer->bc.on_given_up = holder_on_given_up;
        ch->holders_count++;
    } else {
        list_remove(&consumer->link);
    }
    list_push_front(&ch->holders, &consumer->link);
    return consumer;
}

static void
get_done(struct amqp_channel *ch, const struct broker_reply *reply)
{
    const struct broker_delivery *d = reply->delivery;
    struct amqp_consumer *consumer = ch->subject;
    struct amqp_method m = {.id = AMQP_basic_get_empty};

    ch->subject = NULL;
    if (d == NULL) {
        m.basic_get_empty.reserved_1 = amqp_text("");
        amqp_channel_send(ch, &m);
        return;
    }
    m.id = AMQP_basic_get_ok;
    m.basic_get_ok.redelivered = d->is_redelivered;
    m.basic_get_ok.exchange = amqp_text_of(d->exchange);
    m.basic_get_ok.routing_key = amqp_text_of(d->key);
    m.basic_get_ok.message_count = (uint32_t)MIN(reply->messages, UINT32_MAX);
    consumer->is_no_ack = ch->is_get_no_ack;
    m.basic_get_ok.delivery_tag = consumer_tag_delivery(consumer, d->id);
    consumer_send(ch, d, &m, true);
    if (ch->is_get_no_ack) {
        amqp_consumer_settle(consumer, d->id, d->id, BROKER_ACK);
    }
}

void
amqp_get(struct amqp_channel *ch, const struct amqp_method *method)
{
    const struct amqp_basic_get *m = &method->basic_get;
    struct meta_text queue = {"", 0};
    struct amqp_consumer *consumer = NULL;

    consumers_reap(ch);
    if (!amqp_channel_queue_name(ch, m->queue, &queue)) {
        return;
    }
    consumer = holder_get(ch, queue);
    if (consumer == NULL) {
        return;
    }
    ch->is_get_no_ack = m->no_ack;
    ch->subject = consumer;
    amqp_channel_begin(ch, false, get_done);
    broker_get(ch->c->broker, &ch->c->bc, queue, &consumer->bc, &ch->call);
}
