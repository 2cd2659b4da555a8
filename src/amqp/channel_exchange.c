/* Class exchange. Names that begin with "amq." are the broker's own: those
 * that exist from the start may be declared again, others may not be made. */
#include <string.h>

#include "amqp/channel.h"

static const char *const PREDECLARED[] = {
    "amq.direct", "amq.fanout", "amq.headers", "amq.match", "amq.topic",
};

static bool
exchange_is_reserved(struct amqp_text name)
{
    return name.size >= 4 && memcmp(name.data, "amq.", 4) == 0;
}

static bool
exchange_is_predeclared(struct amqp_text name)
{
    for (size_t i = 0; i < ARRAY_COUNT(PREDECLARED); i++) {
        if (name.size == strlen(PREDECLARED[i]) &&
            memcmp(name.data, PREDECLARED[i], name.size) == 0) {
            return true;
        }
    }
    return false;
}

static bool
exchange_check_named(struct amqp_channel *ch, struct amqp_text name)
{
    if (name.size > 0) {
        return true;
    }
    amqp_channel_fail(ch, AMQP_ACCESS_REFUSED,
                      "operation not permitted on the default exchange");
    return false;
}

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

    if (!exchange_check_named(ch, m->exchange) ||
        !amqp_channel_check_arguments(ch, m->arguments)) {
        return;
    }
    if (!m->passive && exchange_is_reserved(m->exchange) &&
        !exchange_is_predeclared(m->exchange)) {
        amqp_channel_fail(ch, AMQP_ACCESS_REFUSED,
                          "exchange name '%.*s' contains reserved prefix "
                          "'amq.*'",
                          (int)m->exchange.size, m->exchange.data);
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

    if (!exchange_check_named(ch, m->exchange)) {
        return;
    }
    if (exchange_is_reserved(m->exchange)) {
        amqp_channel_fail(ch, AMQP_ACCESS_REFUSED,
                          "deletion of system exchange '%.*s' in vhost '%s' "
                          "not allowed",
                          (int)m->exchange.size, m->exchange.data,
                          ch->c->bc.vhost);
        return;
    }
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

    if (exchange_check_named(ch, m->source) &&
        exchange_check_named(ch, m->destination) &&
        amqp_channel_check_arguments(ch, m->arguments)) {
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

    if (exchange_check_named(ch, m->source) &&
        exchange_check_named(ch, m->destination) &&
        amqp_channel_check_arguments(ch, m->arguments)) {
        amqp_channel_begin(ch, m->nowait, exchange_unbound);
        broker_unbind(ch->c->broker, &ch->c->bc, &spec, &ch->call);
    }
}
