/* Bindings: from an exchange to a queue or to another exchange of the same
 * vhost, once for each key and arguments.
 *
 * One map finds any binding by its ends' serial numbers, key and arguments;
 * lists find those of an exchange and those that lead somewhere. Nothing here
 * walks more than it changes. */
#include "base/check.h"
#include "base/mem.h"
#include "machine/meta/meta_apply.h"
#include "machine/meta/meta_state.h"

void
meta_end_init(struct meta_machine *m, struct meta_end *end)
{
    ASSERT(m->serial_next > 0);
    end->serial = m->serial_next++;
    end->route = 0;
    list_init(&end->bindings);
}

static struct meta_end *
meta_ends_to(const struct meta_ends *ends)
{
    ASSERT((ends->queue == NULL) != (ends->exchange == NULL));
    return ends->queue != NULL ? &ends->queue->end : &ends->exchange->end;
}

/* Put a binding's place in the map into m->key: u64 source, u64 destination,
 * u8 size of the key, the key, the arguments. */
static void
meta_binding_key(struct meta_machine *m, const struct meta_ends *ends,
                 struct meta_text key, struct meta_text arguments)
{
    ASSERT(key.size <= QR_NAME_SIZE_MAX);
    buf_clear(&m->key);
    buf_put_u64be(&m->key, ends->source->end.serial);
    buf_put_u64be(&m->key, meta_ends_to(ends)->serial);
    buf_put_u8(&m->key, (uint8_t)key.size);
    buf_put(&m->key, key.data, key.size);
    buf_put(&m->key, arguments.data, arguments.size);
}

struct meta_binding_record *
meta_binding_get(struct meta_machine *m, const struct meta_ends *ends,
                 struct meta_text key, struct meta_text arguments)
{
    meta_binding_key(m, ends, key, arguments);
    return strmap_get(&m->bindings, m->key.data, m->key.size);
}

/* Enter the binding into its source's routing table. */
static int
meta_binding_route_add(struct meta_exchange_record *source,
                       struct meta_text key, struct route_entry *entry)
{
    ASSERT(source->magic == META_EXCHANGE_MAGIC);
    ASSERT(key.size <= QR_NAME_SIZE_MAX);
    switch (source->pub.type) {
    case META_DIRECT:
        direct_add(&source->direct, key.data, key.size, entry);
        return 0;
    case META_FANOUT:
        fanout_add(&source->fanout, entry);
        return 0;
    case META_TOPIC:
        return topic_add(&source->topic, key.data, key.size, entry);
    case META_HEADERS:
        return 0; /* stored and listed */
    }
    UNREACHABLE("an exchange of no type");
}

static void
meta_binding_route_remove(struct meta_exchange_record *source,
                          struct route_entry *entry)
{
    ASSERT(source->magic == META_EXCHANGE_MAGIC);
    ASSERT(entry != NULL);
    switch (source->pub.type) {
    case META_DIRECT:
        direct_remove(&source->direct, entry);
        return;
    case META_FANOUT:
        fanout_remove(&source->fanout, entry);
        return;
    case META_TOPIC:
        topic_remove(&source->topic, entry);
        return;
    case META_HEADERS:
        return;
    }
    UNREACHABLE("an exchange of no type");
}

int
meta_binding_create(struct meta_machine *m, const struct meta_ends *ends,
                    struct meta_text key, struct meta_text arguments)
{
    struct meta_binding_record *b = mem_zalloc(1, sizeof(*b));
    void *was = NULL;
    int rv = 0;

    ASSERT(ends->source->magic == META_EXCHANGE_MAGIC);
    ASSERT(ends->source->pub.name.size > 0);
    list_init(&b->entry.link);
    rv = meta_binding_route_add(ends->source, key, &b->entry);
    if (rv != 0) {
        mem_free(b);
        return rv;
    }
    b->magic = META_BINDING_MAGIC;
    b->source = ends->source;
    b->queue = ends->queue;
    b->exchange = ends->exchange;
    b->pub.vhost = ends->source->vhost->pub.name;
    b->pub.source = ends->source->pub.name;
    b->pub.to_exchange = ends->exchange != NULL;
    b->pub.destination = ends->exchange != NULL ? ends->exchange->pub.name
                                                : ends->queue->pub.name;
    b->pub.key = meta_text_dup(key);
    b->pub.arguments = meta_text_dup(arguments);
    list_push_back(&ends->source->sources, &b->by_source);
    list_push_back(&meta_ends_to(ends)->bindings, &b->by_destination);
    ends->source->pub.bindings_count++;
    meta_binding_key(m, ends, key, arguments);
    was = strmap_put(&m->bindings, m->key.data, m->key.size, b);
    ASSERT(was == NULL);
    return 0;
}

void
meta_binding_drop(struct meta_machine *m, struct meta_binding_record *binding)
{
    struct meta_exchange_record *source = binding->source;
    struct meta_ends ends = {source, binding->queue, binding->exchange};
    void *was = NULL;

    OBJ_CHECK(binding, META_BINDING_MAGIC);
    meta_binding_key(m, &ends, binding->pub.key, binding->pub.arguments);
    was = strmap_remove(&m->bindings, m->key.data, m->key.size);
    ASSERT(was == binding);
    ASSERT(source->pub.bindings_count > 0);
    meta_binding_route_remove(source, &binding->entry);
    list_remove(&binding->by_source);
    list_remove(&binding->by_destination);
    source->pub.bindings_count--;
    meta_text_drop(&binding->pub.key);
    meta_text_drop(&binding->pub.arguments);
    binding->magic = 0;
    mem_free(binding);
    if (source->pub.is_auto_delete && source->pub.bindings_count == 0 &&
        !list_is_linked(&source->doomed)) {
        list_push_back(&m->doomed, &source->doomed);
    }
}

void
meta_end_unbind(struct meta_machine *m, struct meta_end *end)
{
    ASSERT(end->serial > 0);
    ASSERT(end->serial < m->serial_next);
    while (!list_is_empty(&end->bindings)) {
        meta_binding_drop(m, list_entry(end->bindings.next,
                                        struct meta_binding_record,
                                        by_destination));
    }
}

/* Find what SPEC's names stand for. META_OK or why not. */
static enum meta_status
meta_ends_find(const struct meta_machine *m, const struct meta_binding *spec,
               struct meta_ends *ends)
{
    struct meta_vhost_record *vhost = meta_vhost_get(m, spec->vhost);

    if (spec->key.size > QR_NAME_SIZE_MAX ||
        spec->arguments.size > META_ARGUMENTS_SIZE_MAX) {
        return META_MALFORMED;
    }
    if (vhost == NULL) {
        return META_NO_VHOST;
    }
    if (spec->source.size == 0 ||
        (spec->to_exchange && spec->destination.size == 0)) {
        return META_REFUSED; /* the default exchange's are implicit */
    }
    ends->source = meta_exchange_get(vhost, spec->source);
    ends->exchange =
        spec->to_exchange ? meta_exchange_get(vhost, spec->destination) : NULL;
    ends->queue =
        spec->to_exchange ? NULL : meta_queue_get(vhost, spec->destination);
    if (ends->source == NULL || (spec->to_exchange && ends->exchange == NULL)) {
        return META_NO_EXCHANGE;
    }
    if (!spec->to_exchange && ends->queue == NULL) {
        return META_NO_QUEUE;
    }
    return META_OK;
}

enum meta_status
meta_apply_bind(struct meta_machine *m, const Meta__Command *c,
                struct meta_outcome *out)
{
    struct meta_binding spec = {
        .vhost = meta_field(&c->bind->vhost),
        .source = meta_field(&c->bind->source),
        .destination = meta_field(&c->bind->destination),
        .to_exchange = c->bind->to_exchange,
        .key = meta_field(&c->bind->key),
        .arguments = meta_field(&c->bind->arguments),
    };
    struct meta_ends ends = {NULL, NULL, NULL};
    enum meta_status status = meta_ends_find(m, &spec, &ends);

    ASSERT(c->of_case == META__COMMAND__OF_BIND);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (status != META_OK) {
        return status;
    }
    if (meta_binding_get(m, &ends, spec.key, spec.arguments) != NULL) {
        return META_EXISTS;
    }
    if (m->bindings.count >= META_BINDINGS_MAX) {
        return META_LIMIT;
    }
    return meta_binding_create(m, &ends, spec.key, spec.arguments) == 0
               ? META_OK
               : META_LIMIT;
}

enum meta_status
meta_apply_unbind(struct meta_machine *m, const Meta__Command *c,
                  struct meta_outcome *out)
{
    struct meta_binding spec = {
        .vhost = meta_field(&c->unbind->vhost),
        .source = meta_field(&c->unbind->source),
        .destination = meta_field(&c->unbind->destination),
        .to_exchange = c->unbind->to_exchange,
        .key = meta_field(&c->unbind->key),
        .arguments = meta_field(&c->unbind->arguments),
    };
    struct meta_ends ends = {NULL, NULL, NULL};
    struct meta_binding_record *binding = NULL;
    enum meta_status status = meta_ends_find(m, &spec, &ends);

    ASSERT(c->of_case == META__COMMAND__OF_UNBIND);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (status != META_OK) {
        return status;
    }
    binding = meta_binding_get(m, &ends, spec.key, spec.arguments);
    if (binding == NULL) {
        return META_NOT_FOUND;
    }
    meta_binding_drop(m, binding);
    meta_doomed_drop(m);
    return META_OK;
}

size_t
meta_bindings_count(const struct meta_machine *m)
{
    OBJ_CHECK(m, META_MACHINE_MAGIC);
    return m->bindings.count;
}
