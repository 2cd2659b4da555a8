/* Consuming: what front ends ask of a queue on behalf of a consumer, handed to
 * the queue's client. A consumer's part in the broker (consumer_impl) lives
 * from broker_consume() or broker_get() until it is detached, by its owner, or
 * because its queue is gone. */
#include <string.h>

#include "base/mem.h"
#include "broker/broker_priv.h"
#include "broker/queue_client.h"
#include "machine/queue/queue_command.h"

static struct consumer_impl *
impl_new(struct broker *b, struct broker_consumer *consumer,
         struct meta_queue *queue)
{
    struct consumer_impl *c = mem_zalloc(1, sizeof(*c));

    ASSERT(consumer->impl == NULL);
    c->magic = CONSUMER_MAGIC;
    c->consumer = consumer;
    c->queue = queue_client_get(b, queue);
    c->number = ++b->consumer_next;
    c->delivery_next = 1;
    consumer->impl = c;
    return c;
}

static void
impl_free(struct consumer_impl *c)
{
    if (c->consumer != NULL) {
        c->consumer->impl = NULL;
    }
    c->magic = 0;
    mem_free(c);
}

void
consumer_cancelled(struct consumer_impl *c)
{
    struct broker_consumer *consumer = c->consumer;

    OBJ_CHECK(c, CONSUMER_MAGIC);
    impl_free(c);
    if (consumer->on_cancelled != NULL) {
        consumer->on_cancelled(consumer);
    }
}

void
consumer_given_up(struct consumer_impl *c)
{
    struct broker_consumer *consumer = c->consumer;

    OBJ_CHECK(c, CONSUMER_MAGIC);
    if (consumer->on_given_up == NULL) {
        consumer_cancelled(c);
        return;
    }
    impl_free(c);
    consumer->on_given_up(consumer);
}

/* The queue that C's user may read, or NULL and FAULT. */
static struct meta_queue *
find_readable(struct broker *b, const struct broker_connection *c,
              struct meta_text name, struct broker_fault *fault)
{
    struct meta_queue *queue = broker_find_queue(b, c, name, fault);

    if (queue != NULL &&
        !broker_is_allowed(b, c, ACCESS_READ, "queue", name, fault)) {
        return NULL;
    }
    return queue;
}

void
broker_consume(struct broker *b, struct broker_connection *connection,
               const struct broker_consume_spec *spec,
               struct broker_consumer *consumer, struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct consumer_impl *c;
    struct meta_queue *queue;

    OBJ_CHECK(b, BROKER_MAGIC);
    queue = find_readable(b, connection, spec->queue, &fault);
    if (queue == NULL) {
        call_fail_soon(b, call, &fault);
        return;
    }
    ASSERT(spec->tag.size <= QUEUE_TAG_SIZE_MAX);
    c = impl_new(b, consumer, queue);
    c->prefetch = spec->prefetch == 0 ? BROKER_PREFETCH_DEFAULT
                                      : MIN(spec->prefetch, QUEUE_CREDIT_MAX);
    c->flags = (spec->is_exclusive ? QUEUE_ATTACH_EXCLUSIVE : 0U) |
               (spec->is_no_ack ? QUEUE_ATTACH_NO_ACK : 0U);
    c->tag_size = (uint8_t)spec->tag.size;
    memcpy(c->tag, spec->tag.data, spec->tag.size);
    queue_client_attach(c->queue, c, call);
}

void
broker_get(struct broker *b, struct broker_connection *connection,
           struct meta_text name, struct broker_consumer *consumer,
           struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct consumer_impl *c = consumer->impl;
    struct meta_queue *queue;

    OBJ_CHECK(b, BROKER_MAGIC);
    queue = find_readable(b, connection, name, &fault);
    if (queue == NULL) {
        call_fail_soon(b, call, &fault);
        return;
    }
    if (c == NULL) {
        c = impl_new(b, consumer, queue);
        c->is_get = true;
    }
    ASSERT(c->is_get);
    ASSERT(queue_client_group(c->queue) == queue->group);
    queue_client_get_one(c->queue, c, call);
}

void
broker_consumer_credit(struct broker_consumer *consumer, uint32_t limit)
{
    struct consumer_impl *c = consumer->impl;

    OBJ_CHECK(c, CONSUMER_MAGIC);
    ASSERT(limit > 0);
    c->prefetch = MIN(limit, QUEUE_CREDIT_MAX);
    queue_client_credit(c->queue, c, c->prefetch);
}

void
broker_consumer_cancel(struct broker_consumer *consumer,
                       struct broker_call *call)
{
    struct consumer_impl *c = consumer->impl;

    OBJ_CHECK(c, CONSUMER_MAGIC);
    queue_client_cancel(c->queue, c, call);
}

void
broker_consumer_detach(struct broker_consumer *consumer)
{
    struct consumer_impl *c = consumer->impl;

    if (c == NULL) {
        return;
    }
    OBJ_CHECK(c, CONSUMER_MAGIC);
    queue_client_detach(c->queue, c);
    impl_free(c);
}

void
broker_settle(struct broker_consumer *consumer, uint64_t first, uint64_t last,
              enum broker_outcome outcome)
{
    struct consumer_impl *c = consumer->impl;

    if (c == NULL) {
        return; /* the queue is gone, and with it what is settled */
    }
    OBJ_CHECK(c, CONSUMER_MAGIC);
    ASSERT(last < c->delivery_next);
    queue_client_settle(c->queue, c, first, last, outcome);
}

bool
broker_consumer_is_attached(const struct broker_consumer *consumer)
{
    return consumer->impl != NULL;
}

void
broker_queue_purge(struct broker *b, struct broker_connection *connection,
                   struct meta_text name, struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct meta_queue *queue;

    OBJ_CHECK(b, BROKER_MAGIC);
    queue = find_readable(b, connection, name, &fault);
    if (queue == NULL) {
        call_fail_soon(b, call, &fault);
        return;
    }
    queue_client_purge(queue_client_get(b, queue), call);
}
