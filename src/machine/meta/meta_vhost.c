/* Virtual hosts. Each starts with the exchanges that AMQP 0-9-1 (3.1.3) and
 * RabbitMQ predeclare, and takes all that is in it with it. */
#include "base/check.h"
#include "base/mem.h"
#include "machine/meta/meta_apply.h"
#include "machine/meta/meta_state.h"

static const struct {
    const char *name;
    enum meta_exchange_type type;
    bool is_internal;
} META_PREDECLARED[] = {
    {"", META_DIRECT, false},
    {"amq.direct", META_DIRECT, false},
    {"amq.fanout", META_FANOUT, false},
    {"amq.headers", META_HEADERS, false},
    {"amq.match", META_HEADERS, false},
    {"amq.rabbitmq.trace", META_TOPIC, true},
    {"amq.topic", META_TOPIC, false},
};

struct meta_vhost_record *
meta_vhost_create(struct meta_machine *m, const struct meta_vhost *spec)
{
    struct meta_vhost_record *vhost = mem_zalloc(1, sizeof(*vhost));
    void *was = NULL;

    ASSERT(spec->name.size > 0);
    ASSERT(spec->name.size <= QR_NAME_SIZE_MAX);
    vhost->magic = META_VHOST_MAGIC;
    vhost->pub = *spec;
    vhost->pub.name = meta_text_dup(spec->name);
    vhost->pub.description = meta_text_dup(spec->description);
    vhost->pub.tags = meta_text_dup(spec->tags);
    strmap_init(&vhost->exchanges);
    strmap_init(&vhost->queues);
    strmap_init(&vhost->permissions);
    strmap_init(&vhost->policies);
    was = strmap_put(&m->vhosts, spec->name.data, spec->name.size, vhost);
    ASSERT(was == NULL);
    return vhost;
}

static void
meta_vhost_predeclare(struct meta_machine *m, struct meta_vhost_record *vhost)
{
    ASSERT(vhost->magic == META_VHOST_MAGIC);
    ASSERT(vhost->exchanges.count == 0);
    for (size_t i = 0; i < ARRAY_COUNT(META_PREDECLARED); i++) {
        const char *name = META_PREDECLARED[i].name;
        struct meta_exchange spec = {
            .name = meta_text(name, strlen(name)),
            .type = META_PREDECLARED[i].type,
            .is_durable = true,
            .is_internal = META_PREDECLARED[i].is_internal,
            .arguments = meta_text("", 0),
        };

        (void)meta_exchange_create(m, vhost, &spec);
    }
}

/* In name order, so that every copy tells the same events in one order. */
static void
meta_vhost_drop_content(struct meta_machine *m, struct meta_vhost_record *vhost)
{
    void **values = strmap_values_sorted(&vhost->queues);
    size_t count = vhost->queues.count;

    for (size_t i = 0; i < count; i++) {
        meta_queue_drop(m, values[i]);
    }
    mem_free(values);
    values = strmap_values_sorted(&vhost->exchanges);
    count = vhost->exchanges.count;
    for (size_t i = 0; i < count; i++) {
        struct meta_exchange_record *exchange = values[i];

        /* All go; none may go early, with another's bindings. */
        exchange->pub.is_auto_delete = false;
    }
    for (size_t i = 0; i < count; i++) {
        meta_exchange_drop(m, values[i]);
    }
    mem_free(values);
    values = strmap_values_sorted(&vhost->permissions);
    count = vhost->permissions.count;
    for (size_t i = 0; i < count; i++) {
        meta_permission_drop(m, values[i]);
    }
    mem_free(values);
    values = strmap_values_sorted(&vhost->policies);
    count = vhost->policies.count;
    for (size_t i = 0; i < count; i++) {
        meta_policy_drop(m, vhost, values[i]);
    }
    mem_free(values);
    meta_parameters_drop_vhost(m, vhost->pub.name);
    ASSERT(vhost->queues.count == 0);
    ASSERT(vhost->exchanges.count == 0);
    ASSERT(vhost->permissions.count == 0);
    ASSERT(vhost->policies.count == 0);
}

void
meta_vhost_drop(struct meta_machine *m, struct meta_vhost_record *vhost)
{
    void *was = NULL;

    OBJ_CHECK(vhost, META_VHOST_MAGIC);
    meta_vhost_drop_content(m, vhost);
    was = strmap_remove(&m->vhosts, vhost->pub.name.data, vhost->pub.name.size);
    ASSERT(was == vhost);
    if (m->events.on_vhost_gone != NULL) {
        m->events.on_vhost_gone(m->events.arg, &vhost->pub);
    }
    strmap_deinit(&vhost->exchanges);
    strmap_deinit(&vhost->queues);
    strmap_deinit(&vhost->permissions);
    strmap_deinit(&vhost->policies);
    meta_text_drop(&vhost->pub.name);
    meta_text_drop(&vhost->pub.description);
    meta_text_drop(&vhost->pub.tags);
    vhost->magic = 0;
    mem_free(vhost);
}

enum meta_status
meta_apply_vhost_add(struct meta_machine *m, const Meta__Command *c,
                     struct meta_outcome *out)
{
    struct meta_vhost spec = {
        .name = meta_field(&c->vhost_add->name),
        .description = meta_field(&c->vhost_add->description),
        .tags = meta_field(&c->vhost_add->tags),
        .created_ms = m->time_ms,
    };

    ASSERT(c->of_case == META__COMMAND__OF_VHOST_ADD);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (!meta_is_name(spec.name) ||
        spec.description.size > META_TEXT_SIZE_MAX ||
        spec.tags.size > META_TEXT_SIZE_MAX) {
        return META_MALFORMED;
    }
    if (meta_vhost_get(m, spec.name) != NULL) {
        return META_EXISTS;
    }
    if (m->vhosts.count >= META_VHOSTS_MAX ||
        m->exchanges_count + ARRAY_COUNT(META_PREDECLARED) >
            META_EXCHANGES_MAX) {
        return META_LIMIT;
    }
    meta_vhost_predeclare(m, meta_vhost_create(m, &spec));
    return META_OK;
}

enum meta_status
meta_apply_vhost_delete(struct meta_machine *m, const Meta__Command *c,
                        struct meta_outcome *out)
{
    struct meta_vhost_record *vhost =
        meta_vhost_get(m, meta_field(&c->vhost_delete->name));

    ASSERT(c->of_case == META__COMMAND__OF_VHOST_DELETE);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (vhost == NULL) {
        return META_NO_VHOST;
    }
    if (m->vhosts.count == 1) {
        return META_REFUSED;
    }
    meta_vhost_drop(m, vhost);
    return META_OK;
}

const struct meta_vhost *
meta_vhost(const struct meta_machine *m, const char *name, size_t size)
{
    struct meta_vhost_record *vhost = NULL;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    vhost = meta_vhost_get(m, meta_text(name, size));
    return vhost != NULL ? &vhost->pub : NULL;
}
