/* Making and ending the machine's state, its texts, and the lookups of
 * records. */
#include "machine/meta/meta_state.h"

#include <quorate/types.h>

#include "base/check.h"
#include "base/mem.h"

struct meta_text
meta_text_dup(struct meta_text text)
{
    ASSERT(text.data != NULL || text.size == 0);
    if (text.size == 0) {
        return meta_text("", 0);
    }
    return meta_text(mem_strndup(text.data, text.size), text.size);
}

/* A text that is const to everyone else, back as what mem_free() takes. */
static void *
meta_mutable(const void *p)
{
    void *q = NULL;

    memcpy(&q, &p, sizeof(q));
    return q;
}

void
meta_text_drop(struct meta_text *text)
{
    if (text->size > 0) {
        mem_free(meta_mutable(text->data));
    }
    *text = meta_text("", 0);
}

void
meta_text_set(struct meta_text *text, struct meta_text new)
{
    struct meta_text copy = meta_text_dup(new);

    meta_text_drop(text);
    *text = copy;
}

int
meta_text_compare(struct meta_text a, struct meta_text b)
{
    size_t size = MIN(a.size, b.size);
    int order = size > 0 ? memcmp(a.data, b.data, size) : 0;

    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}

struct meta_vhost_record *
meta_vhost_of(const struct meta_vhost *pub)
{
    struct meta_vhost_record *vhost = NULL;

    ASSERT(pub != NULL);
    vhost = CONTAINER_OF(meta_mutable(pub), struct meta_vhost_record, pub);
    ASSERT(vhost->magic == META_VHOST_MAGIC);
    return vhost;
}

struct meta_exchange_record *
meta_exchange_of(const struct meta_exchange *pub)
{
    struct meta_exchange_record *exchange = NULL;

    ASSERT(pub != NULL);
    exchange =
        CONTAINER_OF(meta_mutable(pub), struct meta_exchange_record, pub);
    ASSERT(exchange->magic == META_EXCHANGE_MAGIC);
    return exchange;
}

struct meta_queue_record *
meta_queue_of(const struct meta_queue *pub)
{
    struct meta_queue_record *queue = NULL;

    ASSERT(pub != NULL);
    queue = CONTAINER_OF(meta_mutable(pub), struct meta_queue_record, pub);
    ASSERT(queue->magic == META_QUEUE_MAGIC);
    return queue;
}

struct meta_node_record *
meta_node_get(const struct meta_machine *m, qr_node_id id)
{
    return map_get(&m->nodes, id);
}

struct meta_vhost_record *
meta_vhost_get(const struct meta_machine *m, struct meta_text name)
{
    return strmap_get(&m->vhosts, name.data, name.size);
}

struct meta_user_record *
meta_user_get(const struct meta_machine *m, struct meta_text name)
{
    return strmap_get(&m->users, name.data, name.size);
}

struct meta_exchange_record *
meta_exchange_get(const struct meta_vhost_record *vhost, struct meta_text name)
{
    return strmap_get(&vhost->exchanges, name.data, name.size);
}

struct meta_queue_record *
meta_queue_get(const struct meta_vhost_record *vhost, struct meta_text name)
{
    return strmap_get(&vhost->queues, name.data, name.size);
}

void
meta_tell_user(const struct meta_machine *m, struct meta_text name)
{
    if (m->events.on_user != NULL) {
        m->events.on_user(m->events.arg, name.data, name.size);
    }
}

void
meta_tell_node(const struct meta_machine *m,
               const struct meta_node_record *node)
{
    if (m->events.on_node != NULL) {
        m->events.on_node(m->events.arg, &node->pub);
    }
}

void
meta_state_init(struct meta_machine *m)
{
    memset(m, 0, sizeof(*m));
    m->magic = META_MACHINE_MAGIC;
    m->group_next = QR_GROUP_FIRST_QUEUE;
    m->node_next = 1;
    m->serial_next = 1;
    map_init(&m->nodes);
    map_init(&m->groups);
    map_init(&m->sessions);
    strmap_init(&m->vhosts);
    strmap_init(&m->users);
    strmap_init(&m->owners);
    strmap_init(&m->bindings);
    strmap_init(&m->parameters);
    list_init(&m->doomed);
    buf_init(&m->key);
}

/* All members of a map of strings, whatever their order, so that they can be
 * dropped while it shrinks. The caller frees. */
static void **
meta_values(const struct strmap *map)
{
    void **values = mem_zalloc(map->count + 1, sizeof(void *));
    const uint8_t *key = NULL;
    size_t key_size = 0;
    size_t pos = 0;

    for (size_t i = 0; i < map->count; i++) {
        bool found = strmap_next(map, &pos, &key, &key_size, &values[i]);

        ASSERT(found);
    }
    return values;
}

static void
meta_state_drop_all(struct meta_machine *m)
{
    void **values = meta_values(&m->vhosts);
    uint64_t key = 0;
    size_t pos = 0;
    struct meta_node_record *node = NULL;

    for (size_t i = 0; values[i] != NULL; i++) {
        meta_vhost_drop(m, values[i]);
    }
    mem_free(values);
    values = meta_values(&m->users);
    for (size_t i = 0; values[i] != NULL; i++) {
        meta_user_drop(m, values[i]);
    }
    mem_free(values);
    values = meta_values(&m->parameters);
    for (size_t i = 0; values[i] != NULL; i++) {
        meta_parameter_drop(m, values[i]);
    }
    mem_free(values);
    map_foreach (&m->nodes, pos, key, node) {
        meta_node_free(node);
    }
}

void
meta_state_deinit(struct meta_machine *m)
{
    OBJ_CHECK(m, META_MACHINE_MAGIC);
    memset(&m->events, 0, sizeof(m->events));
    meta_state_drop_all(m);
    ASSERT(m->groups.count == 0);
    ASSERT(m->bindings.count == 0);
    ASSERT(m->owners.count == 0);
    ASSERT(list_is_empty(&m->doomed));
    map_deinit(&m->nodes);
    map_deinit(&m->groups);
    meta_sessions_free(m);
    strmap_deinit(&m->vhosts);
    strmap_deinit(&m->users);
    strmap_deinit(&m->owners);
    strmap_deinit(&m->bindings);
    strmap_deinit(&m->parameters);
    buf_deinit(&m->key);
    mem_free(m->cluster_name);
    mem_free(m->arena.bytes);
    m->magic = 0;
}
