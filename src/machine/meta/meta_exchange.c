/* Exchanges. One that auto-deletes goes when its last binding as a source
 * goes; dropping it drops the bindings that lead to it, whose sources may
 * auto-delete in turn. So exchanges that are to go are put on a list, and
 * dropped from there one by one: no recursion, and each goes once. */
#include "base/check.h"
#include "base/mem.h"
#include "machine/meta/meta_apply.h"
#include "machine/meta/meta_state.h"

static const char META_RESERVED[] = "amq.";

/* Whether only the machine itself may declare and delete NAME. */
static bool
meta_exchange_is_reserved(struct meta_text name)
{
    size_t size = sizeof(META_RESERVED) - 1;

    return name.size == 0 ||
           (name.size >= size && memcmp(name.data, META_RESERVED, size) == 0);
}

struct meta_exchange_record *
meta_exchange_create(struct meta_machine *m, struct meta_vhost_record *vhost,
                     const struct meta_exchange *spec)
{
    struct meta_exchange_record *exchange = mem_zalloc(1, sizeof(*exchange));
    void *was = NULL;

    ASSERT(vhost->magic == META_VHOST_MAGIC);
    ASSERT(spec->name.size <= QR_NAME_SIZE_MAX);
    ASSERT(spec->type >= META_DIRECT);
    ASSERT(spec->type <= META_HEADERS);
    exchange->magic = META_EXCHANGE_MAGIC;
    exchange->vhost = vhost;
    exchange->pub = *spec;
    exchange->pub.vhost = vhost->pub.name;
    exchange->pub.name = meta_text_dup(spec->name);
    exchange->pub.arguments = meta_text_dup(spec->arguments);
    exchange->pub.bindings_count = 0;
    meta_end_init(m, &exchange->end);
    list_init(&exchange->sources);
    list_init(&exchange->doomed);
    direct_init(&exchange->direct);
    fanout_init(&exchange->fanout);
    topic_init(&exchange->topic);
    was = strmap_put(&vhost->exchanges, spec->name.data, spec->name.size,
                     exchange);
    ASSERT(was == NULL);
    m->exchanges_count++;
    return exchange;
}

/* Drop EXCHANGE alone; others may become doomed. */
static void
meta_exchange_drop_one(struct meta_machine *m,
                       struct meta_exchange_record *exchange)
{
    struct list *it = NULL;
    struct list *next = NULL;
    void *was = NULL;

    OBJ_CHECK(exchange, META_EXCHANGE_MAGIC);
    exchange->pub.is_auto_delete = false; /* it goes already */
    list_remove(&exchange->doomed);
    list_foreach_safe (it, next, &exchange->sources) {
        meta_binding_drop(
            m, list_entry(it, struct meta_binding_record, by_source));
    }
    meta_end_unbind(m, &exchange->end);
    was = strmap_remove(&exchange->vhost->exchanges, exchange->pub.name.data,
                        exchange->pub.name.size);
    ASSERT(was == exchange);
    ASSERT(exchange->pub.bindings_count == 0);
    ASSERT(list_is_empty(&exchange->sources));
    ASSERT(list_is_empty(&exchange->end.bindings));
    direct_deinit(&exchange->direct);
    fanout_deinit(&exchange->fanout);
    topic_deinit(&exchange->topic);
    meta_text_drop(&exchange->pub.name);
    meta_text_drop(&exchange->pub.arguments);
    m->exchanges_count--;
    exchange->magic = 0;
    mem_free(exchange);
}

void
meta_doomed_drop(struct meta_machine *m)
{
    struct list *it = NULL;

    while ((it = list_pop_front(&m->doomed)) != NULL) {
        meta_exchange_drop_one(
            m, list_entry(it, struct meta_exchange_record, doomed));
    }
}

void
meta_exchange_drop(struct meta_machine *m,
                   struct meta_exchange_record *exchange)
{
    ASSERT(list_is_empty(&m->doomed));
    meta_exchange_drop_one(m, exchange);
    meta_doomed_drop(m);
    ASSERT(list_is_empty(&m->doomed));
}

static bool
meta_exchange_spec_is_sound(const struct meta_exchange *spec)
{
    return spec->name.size <= QR_NAME_SIZE_MAX &&
           spec->arguments.size <= META_ARGUMENTS_SIZE_MAX &&
           spec->type >= META_DIRECT && spec->type <= META_HEADERS;
}

enum meta_status
meta_apply_exchange_declare(struct meta_machine *m, const Meta__Command *c,
                            struct meta_outcome *out)
{
    const Meta__ExchangeDeclare *declare = c->exchange_declare;
    struct meta_exchange spec = {
        .name = meta_field(&declare->name),
        .type = declare->type <= META_HEADERS
                    ? (enum meta_exchange_type)declare->type
                    : (enum meta_exchange_type)0,
        .is_durable = declare->durable,
        .is_auto_delete = declare->auto_delete,
        .is_internal = declare->internal,
        .arguments = meta_field(&declare->arguments),
    };
    struct meta_vhost_record *vhost =
        meta_vhost_get(m, meta_field(&declare->vhost));

    ASSERT(c->of_case == META__COMMAND__OF_EXCHANGE_DECLARE);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (!meta_exchange_spec_is_sound(&spec)) {
        return META_MALFORMED;
    }
    if (vhost == NULL) {
        return META_NO_VHOST;
    }
    if (meta_exchange_get(vhost, spec.name) != NULL) {
        return META_EXISTS;
    }
    if (meta_exchange_is_reserved(spec.name)) {
        return META_REFUSED;
    }
    if (m->exchanges_count >= META_EXCHANGES_MAX) {
        return META_LIMIT;
    }
    (void)meta_exchange_create(m, vhost, &spec);
    return META_OK;
}

enum meta_status
meta_apply_exchange_delete(struct meta_machine *m, const Meta__Command *c,
                           struct meta_outcome *out)
{
    struct meta_text name = meta_field(&c->exchange_delete->name);
    struct meta_vhost_record *vhost =
        meta_vhost_get(m, meta_field(&c->exchange_delete->vhost));
    struct meta_exchange_record *exchange = NULL;

    ASSERT(c->of_case == META__COMMAND__OF_EXCHANGE_DELETE);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (vhost == NULL) {
        return META_NO_VHOST;
    }
    exchange = meta_exchange_get(vhost, name);
    if (exchange == NULL) {
        return META_NO_EXCHANGE;
    }
    if (meta_exchange_is_reserved(name)) {
        return META_REFUSED;
    }
    if (c->exchange_delete->if_unused && exchange->pub.bindings_count > 0) {
        return META_IN_USE;
    }
    meta_exchange_drop(m, exchange);
    return META_OK;
}

const struct meta_exchange *
meta_exchange(const struct meta_machine *m, const struct meta_vhost *vhost,
              const char *name, size_t size)
{
    struct meta_exchange_record *exchange = NULL;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    exchange = meta_exchange_get(meta_vhost_of(vhost), meta_text(name, size));
    return exchange != NULL ? &exchange->pub : NULL;
}

size_t
meta_exchanges_count(const struct meta_machine *m)
{
    OBJ_CHECK(m, META_MACHINE_MAGIC);
    return m->exchanges_count;
}
