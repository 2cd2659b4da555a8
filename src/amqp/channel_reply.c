/* RabbitMQ's direct reply-to: a client consumes from a queue that it never
 * declared, and sends requests whose reply-to names that queue; answers come
 * straight to it.
 *
 *   consume amq.rabbitmq.reply-to   ->  declare an exclusive queue, consume it
 *   publish, reply-to the same      ->  reply-to the exclusive queue's name
 *
 * An exclusive queue is one replica in the memory of the connection's node and
 * known to all nodes, so a responder on any of them reaches it by the default
 * exchange. It goes with its consumer (auto-delete), or with the connection.
 * RabbitMQ's conditions hold: no acknowledgements, one such consumer on a
 * channel, and it comes before the requests. */
#include <string.h>

#include "amqp/channel.h"

static const char REPLY_TO[] = "amq.rabbitmq.reply-to";

bool
amqp_reply_is_queue(struct amqp_text name)
{
    return name.size == sizeof(REPLY_TO) - 1 &&
           memcmp(name.data, REPLY_TO, name.size) == 0;
}

static void
reply_consumed(struct amqp_channel *ch, const struct broker_reply *reply)
{
    ch->reply = ch->subject;
    amqp_consume_done(ch, reply);
}

/* The queue is there: consume from it. */
static void
reply_declared(struct amqp_channel *ch, const struct broker_reply *reply)
{
    struct amqp_consumer *consumer = ch->subject;
    struct broker_consume_spec spec = {
        .tag = {consumer->name, consumer->name_size},
        .arguments = {"", 0},
        .prefetch = consumer->credit,
        .is_exclusive = true,
        .is_no_ack = true,
    };

    ASSERT(reply->queue.size <= AMQP_SHORTSTR_MAX);
    ch->reply_queue_size = (uint8_t)reply->queue.size;
    memcpy(ch->reply_queue, reply->queue.data, reply->queue.size);
    spec.queue = (struct meta_text){ch->reply_queue, ch->reply_queue_size};
    amqp_channel_begin(ch, ch->is_nowait, reply_consumed);
    broker_consume(ch->c->broker, &ch->c->bc, &spec, &consumer->bc, &ch->call);
}

void
amqp_reply_consume(struct amqp_channel *ch, const struct amqp_method *method)
{
    const struct amqp_basic_consume *m = &method->basic_consume;
    struct broker_queue_spec spec = {
        .name = {"", 0},
        .arguments = {"", 0},
        .is_exclusive = true,
        .is_auto_delete = true,
    };

    if (!m->no_ack) {
        amqp_channel_fail(ch, AMQP_PRECONDITION_FAILED,
                          "reply consumer cannot acknowledge");
        return;
    }
    if (ch->reply != NULL) {
        amqp_channel_fail(ch, AMQP_PRECONDITION_FAILED,
                          "reply consumer already set");
        return;
    }
    ch->subject = amqp_consumer_add(ch, m);
    amqp_channel_begin(ch, m->nowait, reply_declared);
    broker_queue_declare(ch->c->broker, &ch->c->bc, &spec, &ch->call);
}

bool
amqp_reply_rewrite(struct amqp_channel *ch, struct amqp_properties *p,
                   struct slice *properties)
{
    struct buf b;

    if (ch->reply == NULL) {
        amqp_channel_fail(ch, AMQP_PRECONDITION_FAILED,
                          "fast reply consumer does not exist");
        return false;
    }
    p->reply_to = (struct amqp_text){ch->reply_queue, ch->reply_queue_size};
    buf_init(&b);
    amqp_properties_encode(p, &b);
    slice_unref(properties);
    *properties = slice_copy(b.data, b.size);
    buf_deinit(&b);
    return true;
}
