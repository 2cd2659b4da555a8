/* Exchanges and bindings: RabbitMQ's checks, in its order and with its texts,
 * around commands of the metadata machine. */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "broker/arguments.h"
#include "broker/broker_priv.h"
#include "broker/meta_client.h"
#include "broker/names.h"
#include "machine/meta/meta_command.h"

enum {
    EXCHANGE_DURABLE = 1,
    EXCHANGE_AUTO_DELETE = 2,
    EXCHANGE_INTERNAL = 4
};

static const struct {
    const char *name;
    enum meta_exchange_type type;
} exchange_types[] = {
    {"direct", META_DIRECT},
    {"fanout", META_FANOUT},
    {"topic", META_TOPIC},
    {"headers", META_HEADERS},
};

const char *
broker_exchange_type_name(enum meta_exchange_type type)
{
    for (size_t i = 0; i < ARRAY_COUNT(exchange_types); i++) {
        if (exchange_types[i].type == type) {
            return exchange_types[i].name;
        }
    }
    return "unknown";
}

static bool
parse_type(struct meta_text name, enum meta_exchange_type *out,
           struct broker_fault *fault)
{
    for (size_t i = 0; i < ARRAY_COUNT(exchange_types); i++) {
        if (text_equal(name.data, name.size, exchange_types[i].name)) {
            *out = exchange_types[i].type;
            return true;
        }
    }
    broker_fault_set(fault, BROKER_INVALID, "unknown exchange type '%.*s'",
                     (int)name.size, name.data);
    return false;
}

static uint32_t
spec_flags(const struct broker_exchange_spec *spec)
{
    return (spec->is_durable ? EXCHANGE_DURABLE : 0U) |
           (spec->is_auto_delete ? EXCHANGE_AUTO_DELETE : 0U) |
           (spec->is_internal ? EXCHANGE_INTERNAL : 0U);
}

static void
differs(struct broker_fault *fault, const struct meta_request *r,
        const char *what, const char *received, const char *current)
{
    broker_fault_set(fault, BROKER_PRECONDITION,
                     "inequivalent arg '%s' for exchange '%s' in vhost '%s': "
                     "received '%s' but current is '%s'",
                     what, r->name, r->vhost, received, current);
}

static const char *
bool_text(bool b)
{
    return b ? "true" : "false";
}

/* The request asked for (type in spec, flags) what X is, or FAULT. */
static void
compare(const struct meta_request *r, const struct meta_exchange *x,
        struct broker_fault *fault)
{
    enum meta_exchange_type type = (enum meta_exchange_type)r->spec.data[0];
    bool is_durable = (r->flags & EXCHANGE_DURABLE) != 0;
    bool is_auto_delete = (r->flags & EXCHANGE_AUTO_DELETE) != 0;
    bool is_internal = (r->flags & EXCHANGE_INTERNAL) != 0;

    if (type != x->type) {
        differs(fault, r, "type", broker_exchange_type_name(type),
                broker_exchange_type_name(x->type));
    } else if (is_durable != x->is_durable) {
        differs(fault, r, "durable", bool_text(is_durable),
                bool_text(x->is_durable));
    } else if (is_auto_delete != x->is_auto_delete) {
        differs(fault, r, "auto_delete", bool_text(is_auto_delete),
                bool_text(x->is_auto_delete));
    } else if (is_internal != x->is_internal) {
        differs(fault, r, "internal", bool_text(is_internal),
                bool_text(x->is_internal));
    }
}

static const struct meta_exchange *
request_exchange(const struct meta_request *r)
{
    const struct meta_vhost *vhost =
        meta_vhost(r->broker->meta, r->vhost, r->vhost_size);

    return vhost == NULL
               ? NULL
               : meta_exchange(r->broker->meta, vhost, r->name, r->name_size);
}

static void
declare_applied(struct meta_request *r, const struct meta_outcome *outcome,
                struct broker_reply *reply)
{
    const struct meta_exchange *x;

    switch (outcome->status) {
    case META_OK:
        return;
    case META_EXISTS:
        x = request_exchange(r);
        if (x != NULL) {
            compare(r, x, &reply->fault);
        }
        return;
    case META_LIMIT:
    case META_NOT_FOUND:
    case META_IN_USE:
    case META_REFUSED:
    case META_NO_VHOST:
    case META_NO_EXCHANGE:
    case META_NO_QUEUE:
    case META_MALFORMED:
        request_fault(r, outcome, "exchange", &reply->fault);
        return;
    }
}

static void
passive_applied(struct meta_request *r, const struct meta_outcome *outcome,
                struct broker_reply *reply)
{
    (void)outcome;
    if (request_exchange(r) == NULL) {
        broker_fault_set(&reply->fault, BROKER_NOT_FOUND,
                         "no exchange '%s' in vhost '%s'", r->name, r->vhost);
    }
}

static bool
check_declare(struct broker *b, const struct broker_connection *c,
              const struct broker_exchange_spec *spec,
              enum meta_exchange_type *type, struct broker_fault *fault)
{
    struct meta_text vhost_name = {.data = c->vhost, .size = strlen(c->vhost)};
    const struct meta_vhost *vhost =
        meta_vhost(b->meta, vhost_name.data, vhost_name.size);

    if (spec->name.size == 0) {
        broker_fault_set(fault, BROKER_ACCESS_REFUSED,
                         "operation not permitted on the default exchange");
        return false;
    }
    if (spec->is_passive) {
        return true;
    }
    if (!parse_type(spec->type, type, fault) ||
        !broker_is_allowed(b, c, ACCESS_CONFIGURE, "exchange", spec->name,
                           fault)) {
        return false;
    }
    if (vhost != NULL && name_is_reserved(spec->name) &&
        meta_exchange(b->meta, vhost, spec->name.data, spec->name.size) ==
            NULL) {
        broker_fault_set(fault, BROKER_ACCESS_REFUSED,
                         "exchange name '%.*s' contains reserved prefix "
                         "'amq.*'",
                         (int)spec->name.size, spec->name.data);
        return false;
    }
    if (*type == META_HEADERS && !name_is_reserved(spec->name)) {
        broker_fault_set(fault, BROKER_NOT_IMPLEMENTED,
                         "exchange type 'headers'");
        return false;
    }
    if (arguments_has(spec->arguments, "alternate-exchange")) {
        broker_fault_set(fault, BROKER_NOT_IMPLEMENTED,
                         "exchange argument 'alternate-exchange'");
        return false;
    }
    return true;
}

void
broker_exchange_declare(struct broker *b, struct broker_connection *c,
                        const struct broker_exchange_spec *spec,
                        struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    enum meta_exchange_type type = META_DIRECT;
    struct meta_exchange record = {.name = spec->name,
                                   .is_durable = spec->is_durable,
                                   .is_auto_delete = spec->is_auto_delete,
                                   .is_internal = spec->is_internal,
                                   .arguments = spec->arguments};
    struct meta_request *r;

    OBJ_CHECK(b, BROKER_MAGIC);
    if (!check_declare(b, c, spec, &type, &fault)) {
        call_fail_soon(b, call, &fault);
        return;
    }
    r = meta_request_new(b, call,
                         spec->is_passive ? passive_applied : declare_applied);
    request_name(r, c, spec->name);
    r->flags = spec_flags(spec);
    buf_put_u8(&r->spec, (uint8_t)type);
    record.type = type;
    record.vhost = request_vhost(r);
    if (spec->is_passive) {
        meta_put_barrier(&r->command, b->session, r->number);
    } else {
        meta_put_exchange_declare(&r->command, b->session, r->number, &record);
    }
    meta_request_send(r);
}

static void
delete_applied(struct meta_request *r, const struct meta_outcome *outcome,
               struct broker_reply *reply)
{
    if (outcome->status == META_IN_USE) {
        broker_fault_set(&reply->fault, BROKER_PRECONDITION,
                         "exchange '%s' in vhost '%s' in use", r->name,
                         r->vhost);
    } else if (outcome->status != META_OK &&
               outcome->status != META_NO_EXCHANGE &&
               outcome->status != META_NOT_FOUND) {
        request_fault(r, outcome, "exchange", &reply->fault);
    }
}

void
broker_exchange_delete(struct broker *b, struct broker_connection *c,
                       struct meta_text name, bool if_unused,
                       struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct meta_exchange_delete command = {.name = name,
                                           .if_unused = if_unused};
    struct meta_request *r;

    OBJ_CHECK(b, BROKER_MAGIC);
    if (name.size == 0) {
        broker_fault_set(&fault, BROKER_ACCESS_REFUSED,
                         "operation not permitted on the default exchange");
    } else if (name_is_reserved(name)) {
        broker_fault_set(&fault, BROKER_ACCESS_REFUSED,
                         "deletion of system exchange '%.*s' in vhost '%s' "
                         "not allowed",
                         (int)name.size, name.data, c->vhost);
    } else {
        (void)broker_is_allowed(b, c, ACCESS_CONFIGURE, "exchange", name,
                                &fault);
    }
    if (fault.kind != BROKER_OK) {
        call_fail_soon(b, call, &fault);
        return;
    }
    r = meta_request_new(b, call, delete_applied);
    request_name(r, c, name);
    command.vhost = request_vhost(r);
    meta_put_exchange_delete(&r->command, b->session, r->number, &command);
    meta_request_send(r);
}

/* ---- bindings ---- */

static void
bind_applied(struct meta_request *r, const struct meta_outcome *outcome,
             struct broker_reply *reply)
{
    struct broker_fault *fault = &reply->fault;
    const struct meta_vhost *vhost =
        meta_vhost(r->broker->meta, r->vhost, r->vhost_size);
    const char *source = (const char *)r->spec.data;
    bool has_source =
        vhost != NULL &&
        meta_exchange(r->broker->meta, vhost, source, strlen(source)) != NULL;

    switch (outcome->status) {
    case META_OK:
    case META_EXISTS:
    case META_NOT_FOUND: /* unbind of a binding that is not there */
        return;
    case META_NO_EXCHANGE:
        broker_fault_set(fault, BROKER_NOT_FOUND,
                         "no exchange '%s' in vhost '%s'",
                         has_source ? r->name : source, r->vhost);
        return;
    case META_NO_QUEUE:
        broker_fault_set(fault, BROKER_NOT_FOUND, "no queue '%s' in vhost '%s'",
                         r->name, r->vhost);
        return;
    case META_IN_USE:
    case META_LIMIT:
    case META_REFUSED:
    case META_NO_VHOST:
    case META_MALFORMED:
        request_fault(r, outcome, "binding", fault);
        return;
    }
}

/* Whether NAME is a predeclared headers exchange, which routes nothing yet. */
static bool
is_headers(const struct broker *b, const struct broker_connection *c,
           struct meta_text name)
{
    const struct meta_vhost *vhost =
        meta_vhost(b->meta, c->vhost, strlen(c->vhost));
    const struct meta_exchange *x =
        vhost == NULL ? NULL
                      : meta_exchange(b->meta, vhost, name.data, name.size);

    return x != NULL && x->type == META_HEADERS;
}

static bool
check_binding(struct broker *b, const struct broker_connection *c,
              const struct broker_binding_spec *spec,
              struct broker_fault *fault)
{
    const char *kind = spec->to_exchange ? "exchange" : "queue";

    if (spec->source.size == 0 ||
        (spec->to_exchange && spec->destination.size == 0)) {
        broker_fault_set(fault, BROKER_ACCESS_REFUSED,
                         "operation not permitted on the default exchange");
        return false;
    }
    if (is_headers(b, c, spec->source)) {
        broker_fault_set(fault, BROKER_NOT_IMPLEMENTED,
                         "exchange type 'headers'");
        return false;
    }
    if (!spec->to_exchange) {
        const struct meta_vhost *vhost =
            meta_vhost(b->meta, c->vhost, strlen(c->vhost));
        const struct meta_queue *queue =
            vhost == NULL ? NULL
                          : meta_queue(b->meta, vhost, spec->destination.data,
                                       spec->destination.size);

        if (queue != NULL && !broker_may_use(b, c, queue, fault)) {
            return false;
        }
    }
    return broker_is_allowed(b, c, ACCESS_WRITE, kind, spec->destination,
                             fault) &&
           broker_is_allowed(b, c, ACCESS_READ, "exchange", spec->source,
                             fault);
}

static void
binding_request(struct broker *b, struct broker_connection *c,
                const struct broker_binding_spec *spec,
                struct broker_call *call, bool is_unbind)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct meta_binding record = {.source = spec->source,
                                  .destination = spec->destination,
                                  .to_exchange = spec->to_exchange,
                                  .key = spec->key,
                                  .arguments = spec->arguments};
    struct meta_request *r;

    OBJ_CHECK(b, BROKER_MAGIC);
    if (!check_binding(b, c, spec, &fault)) {
        call_fail_soon(b, call, &fault);
        return;
    }
    r = meta_request_new(b, call, bind_applied);
    request_name(r, c, spec->destination);
    record.vhost = request_vhost(r);
    buf_put(&r->spec, spec->source.data, spec->source.size);
    buf_put_u8(&r->spec, 0);
    if (is_unbind) {
        meta_put_unbind(&r->command, b->session, r->number, &record);
    } else {
        meta_put_bind(&r->command, b->session, r->number, &record);
    }
    meta_request_send(r);
}

void
broker_bind(struct broker *b, struct broker_connection *c,
            const struct broker_binding_spec *spec, struct broker_call *call)
{
    binding_request(b, c, spec, call, false);
}

void
broker_unbind(struct broker *b, struct broker_connection *c,
              const struct broker_binding_spec *spec, struct broker_call *call)
{
    binding_request(b, c, spec, call, true);
}
