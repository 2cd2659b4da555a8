/* Class queue. An empty name stands for the last queue declared on the
 * channel, except in declare, where it asks for a name. */
#include <string.h>

#include "amqp/channel.h"

static uint32_t
queue_count(uint64_t count)
{
    return (uint32_t)MIN(count, UINT32_MAX);
}

static void
queue_declared(struct amqp_channel *ch, const struct broker_reply *reply)
{
    struct amqp_method m = {.id = AMQP_queue_declare_ok};

    ASSERT(reply->queue.size <= AMQP_SHORTSTR_MAX);
    ch->last_queue_size = (uint8_t)reply->queue.size;
    memcpy(ch->last_queue, reply->queue.data, reply->queue.size);
    m.queue_declare_ok.queue = amqp_text_of(reply->queue);
    m.queue_declare_ok.message_count = queue_count(reply->messages);
    m.queue_declare_ok.consumer_count = queue_count(reply->consumers);
    if (!ch->is_nowait) {
        amqp_channel_send(ch, &m);
    }
}

void
amqp_queue_declare(struct amqp_channel *ch, const struct amqp_method *method)
{
    const struct amqp_queue_declare *m = &method->queue_declare;
    struct broker_queue_spec spec = {
        .name = meta_text_of(m->queue),
        .arguments = meta_text_of(m->arguments),
        .is_passive = m->passive,
        .is_durable = m->durable,
        .is_exclusive = m->exclusive,
        .is_auto_delete = m->auto_delete,
    };

    if (!amqp_channel_check_arguments(ch, m->arguments)) {
        return;
    }
    if (m->passive && !amqp_channel_queue_name(ch, m->queue, &spec.name)) {
        return;
    }
    amqp_channel_begin(ch, m->nowait, queue_declared);
    broker_queue_declare(ch->c->broker, &ch->c->bc, &spec, &ch->call);
}

static void
queue_bound(struct amqp_channel *ch, const struct broker_reply *reply)
{
    (void)reply;
    amqp_channel_answer(ch, AMQP_queue_bind_ok);
}

static void
queue_unbound(struct amqp_channel *ch, const struct broker_reply *reply)
{
    (void)reply;
    amqp_channel_answer(ch, AMQP_queue_unbind_ok);
}

/* No queue and no key: the last queue, under its own name. */
static bool
queue_binding(struct amqp_channel *ch, struct amqp_text queue,
              struct amqp_text key, struct broker_binding_spec *spec)
{
    if (!amqp_channel_queue_name(ch, queue, &spec->destination)) {
        return false;
    }
    spec->key = queue.size == 0 && key.size == 0 ? spec->destination
                                                 : meta_text_of(key);
    return true;
}

void
amqp_queue_bind(struct amqp_channel *ch, const struct amqp_method *method)
{
    const struct amqp_queue_bind *m = &method->queue_bind;
    struct broker_binding_spec spec = {
        .source = meta_text_of(m->exchange),
        .arguments = meta_text_of(m->arguments),
    };

    if (amqp_channel_check_arguments(ch, m->arguments) &&
        queue_binding(ch, m->queue, m->routing_key, &spec)) {
        amqp_channel_begin(ch, m->nowait, queue_bound);
        broker_bind(ch->c->broker, &ch->c->bc, &spec, &ch->call);
    }
}

void
amqp_queue_unbind(struct amqp_channel *ch, const struct amqp_method *method)
{
    const struct amqp_queue_unbind *m = &method->queue_unbind;
    struct broker_binding_spec spec = {
        .source = meta_text_of(m->exchange),
        .arguments = meta_text_of(m->arguments),
    };

    if (amqp_channel_check_arguments(ch, m->arguments) &&
        queue_binding(ch, m->queue, m->routing_key, &spec)) {
        amqp_channel_begin(ch, false, queue_unbound);
        broker_unbind(ch->c->broker, &ch->c->bc, &spec, &ch->call);
    }
}

static void
queue_purged(struct amqp_channel *ch, const struct broker_reply *reply)
{
    struct amqp_method m = {.id = AMQP_queue_purge_ok};

    m.queue_purge_ok.message_count = queue_count(reply->messages);
    if (!ch->is_nowait) {
        amqp_channel_send(ch, &m);
    }
}

void
amqp_queue_purge(struct amqp_channel *ch, const struct amqp_method *m)
{
    struct meta_text name = {"", 0};

    if (amqp_channel_queue_name(ch, m->queue_purge.queue, &name)) {
        amqp_channel_begin(ch, m->queue_purge.nowait, queue_purged);
        broker_queue_purge(ch->c->broker, &ch->c->bc, name, &ch->call);
    }
}

static void
queue_deleted(struct amqp_channel *ch, const struct broker_reply *reply)
{
    struct amqp_method m = {.id = AMQP_queue_delete_ok};

    m.queue_delete_ok.message_count = queue_count(reply->messages);
    if (!ch->is_nowait) {
        amqp_channel_send(ch, &m);
    }
}

void
amqp_queue_delete(struct amqp_channel *ch, const struct amqp_method *method)
{
    const struct amqp_queue_delete *m = &method->queue_delete;
    struct meta_text name = {"", 0};

    if (amqp_channel_queue_name(ch, m->queue, &name)) {
        amqp_channel_begin(ch, m->nowait, queue_deleted);
        broker_queue_delete(ch->c->broker, &ch->c->bc, name, m->if_unused,
                            m->if_empty, &ch->call);
    }
}
