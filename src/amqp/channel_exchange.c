/* Class exchange. Which names may be used is the broker's to say. */
#include "amqp/channel.h"

static void
exchange_declared(struct amqp_channel *ch, const struct broker_reply *reply)
{
    (void)reply;
    amqp_channel_answer(ch, AMQP_exchange_declare_ok);
}

void
amqp_exchange_declare(struct amqp_channel *ch, const struct amqp_method *method)
{
    const struct amqp_exchange_declare *m = &method->exchange_declare;
    struct broker_exchange_spec spec = {
        .name = meta_text_of(m->exchange),
        .type = meta_text_of(m->type),
        .arguments = meta_text_of(m->arguments),
        .is_passive = m->passive,
        .is_durable = m->durable,
        .is_auto_delete = m->auto_delete,
        .is_internal = m->internal,
    };

    if (!amqp_channel_check_arguments(ch, m->arguments)) {
        return;
    }
    amqp_channel_begin(ch, m->nowait, exchange_declared);
    broker_exchange_declare(ch->c->broker, &ch->c->bc, &spec, &ch->call);
}

static void
exchange_deleted(struct amqp_channel *ch, const struct broker_reply *reply)
{
    (void)reply;
    amqp_channel_answer(ch, AMQP_exchange_delete_ok);
}

void
amqp_exchange_delete(struct amqp_channel *ch, const struct amqp_method *method)
{
    const struct amqp_exchange_delete *m = &method->exchange_delete;

    amqp_channel_begin(ch, m->nowait, exchange_deleted);
    broker_exchange_delete(ch->c->broker, &ch->c->bc, meta_text_of(m->exchange),
                           m->if_unused, &ch->call);
}

static void
exchange_bound(struct amqp_channel *ch, const struct broker_reply *reply)
{
    (void)reply;
    amqp_channel_answer(ch, AMQP_exchange_bind_ok);
}

static void
exchange_unbound(struct amqp_channel *ch, const struct broker_reply *reply)
{
    (void)reply;
    amqp_channel_answer(ch, AMQP_exchange_unbind_ok);
}

void
amqp_exchange_bind(struct amqp_channel *ch, const struct amqp_method *method)
{
    const struct amqp_exchange_bind *m = &method->exchange_bind;
    struct broker_binding_spec spec = {
        .source = meta_text_of(m->source),
        .destination = meta_text_of(m->destination),
        .to_exchange = true,
        .key = meta_text_of(m->routing_key),
        .arguments = meta_text_of(m->arguments),
    };

    if (amqp_channel_check_arguments(ch, m->arguments)) {
        amqp_channel_begin(ch, m->nowait, exchange_bound);
        broker_bind(ch->c->broker, &ch->c->bc, &spec, &ch->call);
    }
}

void
amqp_exchange_unbind(struct amqp_channel *ch, const struct amqp_method *method)
{
    const struct amqp_exchange_unbind *m = &method->exchange_unbind;
    struct broker_binding_spec spec = {
        .source = meta_text_of(m->source),
        .destination = meta_text_of(m->destination),
        .to_exchange = true,
        .key = meta_text_of(m->routing_key),
        .arguments = meta_text_of(m->arguments),
    };

    if (amqp_channel_check_arguments(ch, m->arguments)) {
        amqp_channel_begin(ch, m->nowait, exchange_unbound);
        broker_unbind(ch->c->broker, &ch->c->bc, &spec, &ch->call);
    }
}
