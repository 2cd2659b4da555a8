/* Nodes: which there are, how often each has started, and what ends when one
 * starts again.
 *
 * A node's id is never given out twice, so the record of a removed node stays:
 * its name is free again, its id and its uuid are not. */
#include "base/check.h"
#include "base/mem.h"
#include "machine/meta/meta_apply.h"
#include "machine/meta/meta_state.h"

/* The node of UUID, removed ones included. There are few: a walk. */
static struct meta_node_record *
meta_node_of_uuid(const struct meta_machine *m, const struct uuid *uuid)
{
    uint64_t key = 0;
    size_t pos = 0;
    struct meta_node_record *node = NULL;

    map_foreach (&m->nodes, pos, key, node) {
        if (uuid_is_equal(&node->pub.uuid, uuid)) {
            return node;
        }
    }
    return NULL;
}

/* The live node NAME. */
static struct meta_node_record *
meta_node_of_name(const struct meta_machine *m, struct meta_text name)
{
    uint64_t key = 0;
    size_t pos = 0;
    struct meta_node_record *node = NULL;

    map_foreach (&m->nodes, pos, key, node) {
        if (!node->pub.is_removed && meta_text_is(node->pub.name, name)) {
            return node;
        }
    }
    return NULL;
}

struct meta_node_record *
meta_node_create(struct meta_machine *m, const struct meta_node *spec)
{
    struct meta_node_record *node = mem_zalloc(1, sizeof(*node));
    void *was = NULL;

    ASSERT(spec->id > 0);
    ASSERT(spec->id <= META_NODE_ID_MAX);
    ASSERT(spec->name.size > 0);
    ASSERT(spec->name.size <= QR_NAME_SIZE_MAX);
    node->magic = META_NODE_MAGIC;
    node->pub = *spec;
    node->pub.name = meta_text_dup(spec->name);
    node->pub.address = meta_text_dup(spec->address);
    list_init(&node->owners);
    list_init(&node->transients);
    was = map_put(&m->nodes, spec->id, node);
    ASSERT(was == NULL);
    m->node_next = MAX(m->node_next, spec->id + 1);
    m->nodes_live += spec->is_removed ? 0 : 1;
    return node;
}

void
meta_node_free(struct meta_node_record *node)
{
    OBJ_CHECK(node, META_NODE_MAGIC);
    ASSERT(list_is_empty(&node->owners));
    ASSERT(list_is_empty(&node->transients));
    meta_text_drop(&node->pub.name);
    meta_text_drop(&node->pub.address);
    node->magic = 0;
    mem_free(node);
}

void
meta_node_restarted(struct meta_machine *m, struct meta_node_record *node)
{
    struct list *it = NULL;
    struct list *next = NULL;
    struct meta_owner_record *owner = NULL;
    struct meta_queue_record *queue = NULL;

    OBJ_CHECK(node, META_NODE_MAGIC);
    list_foreach_safe (it, next, &node->owners) {
        owner = list_entry(it, struct meta_owner_record, by_node);
        if (node->pub.is_removed || owner->owner.boot < node->pub.boot) {
            meta_owner_drop(m, owner);
        }
    }
    /* A queue is on this list once, so dropping it cannot drop its next. */
    list_foreach_safe (it, next, &node->transients) {
        queue = list_entry(it, struct meta_transient, link)->queue;
        if (meta_queue_is_over(m, queue)) {
            meta_queue_drop(m, queue);
        }
    }
}

/* Whether what a node says of itself is well formed; fills SPEC. */
static bool
meta_node_spec(struct meta_node *spec, const ProtobufCBinaryData *name,
               const ProtobufCBinaryData *address,
               const ProtobufCBinaryData *uuid)
{
    spec->name = meta_field(name);
    spec->address = meta_field(address);
    if (!meta_is_name(spec->name) || spec->address.size > QR_NAME_SIZE_MAX ||
        uuid->len != sizeof(spec->uuid.bytes)) {
        return false;
    }
    memcpy(spec->uuid.bytes, uuid->data, sizeof(spec->uuid.bytes));
    return !uuid_is_nil(&spec->uuid);
}

/* Register a node that was not known. */
static enum meta_status
meta_node_register(struct meta_machine *m, struct meta_node *spec)
{
    struct meta_node_record *node = NULL;

    if (meta_node_of_name(m, spec->name) != NULL) {
        return META_REFUSED;
    }
    ASSERT(meta_node_of_uuid(m, &spec->uuid) == NULL);
    ASSERT(spec->id == 0 || meta_node_get(m, spec->id) == NULL);
    spec->id = spec->id != 0 ? spec->id : m->node_next;
    ASSERT(spec->id > 0);
    if (m->nodes_live >= QR_NODES_MAX || spec->id > META_NODE_ID_MAX) {
        return META_LIMIT;
    }
    node = meta_node_create(m, spec);
    meta_tell_node(m, node);
    return META_OK;
}

/* A node that is known has started, or says the same again. */
static enum meta_status
meta_node_renew(struct meta_machine *m, struct meta_node_record *node,
                const struct meta_node *spec)
{
    struct meta_node_record *named = meta_node_of_name(m, spec->name);
    bool is_restarted = spec->boot > node->pub.boot;
    bool is_other = spec->boot == node->pub.boot && node->pub.boot > 0 &&
                    spec->process != node->pub.process;

    ASSERT(node->magic == META_NODE_MAGIC);
    ASSERT(spec->id == 0 || spec->id == node->pub.id);
    if (node->pub.is_removed || spec->boot < node->pub.boot || is_other ||
        !uuid_is_equal(&node->pub.uuid, &spec->uuid) ||
        (named != NULL && named != node)) {
        return META_REFUSED;
    }
    meta_text_set(&node->pub.name, spec->name);
    meta_text_set(&node->pub.address, spec->address);
    node->pub.boot = spec->boot;
    node->pub.process = spec->process;
    meta_tell_node(m, node);
    if (is_restarted) {
        meta_session_drop(m, node->pub.id, node->pub.boot);
        meta_node_restarted(m, node);
    }
    return META_OK;
}

enum meta_status
meta_apply_node_up(struct meta_machine *m, const Meta__Command *c,
                   struct meta_outcome *out)
{
    const Meta__NodeUp *up = c->node_up;
    struct meta_node spec = {
        .id = up->id, .boot = up->boot, .process = up->process};
    struct meta_node_record *node = NULL;
    struct meta_node_record *same = NULL;

    ASSERT(c->of_case == META__COMMAND__OF_NODE_UP);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (!meta_node_spec(&spec, &up->name, &up->address, &up->uuid) ||
        spec.boot == 0) {
        return META_MALFORMED;
    }
    same = meta_node_of_uuid(m, &spec.uuid);
    node = spec.id != 0 ? meta_node_get(m, spec.id) : same;
    if (same != NULL && same != node) {
        return META_REFUSED; /* one identity under two ids */
    }
    return node != NULL ? meta_node_renew(m, node, &spec)
                        : meta_node_register(m, &spec);
}

enum meta_status
meta_apply_node_add(struct meta_machine *m, const Meta__Command *c,
                    struct meta_outcome *out)
{
    const Meta__NodeAdd *add = c->node_add;
    struct meta_node spec = {.id = add->id};
    struct meta_node_record *same = NULL;

    ASSERT(c->of_case == META__COMMAND__OF_NODE_ADD);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (!meta_node_spec(&spec, &add->name, &add->address, &add->uuid)) {
        return META_MALFORMED;
    }
    same = meta_node_of_uuid(m, &spec.uuid);
    if (same != NULL) {
        return same->pub.is_removed ? META_REFUSED : META_EXISTS;
    }
    if (spec.id != 0 && meta_node_get(m, spec.id) != NULL) {
        return META_REFUSED; /* another's */
    }
    return meta_node_register(m, &spec);
}

/* Queues that had replicas on removed nodes alone: there is nothing left of
 * them. */
static void
meta_node_drop_orphans(struct meta_machine *m)
{
    uint64_t *groups = map_keys_sorted(&m->groups);
    size_t count = m->groups.count;

    for (size_t i = 0; i < count; i++) {
        struct meta_queue_record *queue = map_get(&m->groups, groups[i]);
        bool is_orphan = queue != NULL;

        for (size_t j = 0; is_orphan && j < queue->pub.members_count; j++) {
            const struct meta_node_record *node = meta_node_get(
                m, qr_replica_node(queue->pub.members[j].replica));

            ASSERT(node != NULL);
            is_orphan = node->pub.is_removed;
        }
        if (is_orphan) {
            meta_queue_drop(m, queue);
        }
    }
    mem_free(groups);
}

/* NODE is no more: what hung on its starts ends, its sessions with them. */
static void
meta_node_remove(struct meta_machine *m, struct meta_node_record *node)
{
    ASSERT(!node->pub.is_removed);
    ASSERT(m->nodes_live > 0);
    node->pub.is_removed = true;
    m->nodes_live--;
    meta_session_drop(m, node->pub.id, UINT32_MAX);
    meta_tell_node(m, node);
    meta_node_restarted(m, node);
    meta_node_drop_orphans(m);
}

enum meta_status
meta_apply_node_replace(struct meta_machine *m, const Meta__Command *c,
                        struct meta_outcome *out)
{
    const Meta__NodeReplace *replace = c->node_replace;
    struct meta_node spec = {.id = 0};
    struct meta_node_record *old = NULL;
    struct meta_node_record *same = NULL;

    ASSERT(c->of_case == META__COMMAND__OF_NODE_REPLACE);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (!meta_node_spec(&spec, &replace->name, &replace->address,
                        &replace->uuid)) {
        return META_MALFORMED;
    }
    same = meta_node_of_uuid(m, &spec.uuid);
    if (same != NULL) {
        return same->pub.is_removed ? META_REFUSED : META_EXISTS;
    }
    if (replace->old == 0) {
        return meta_node_register(m, &spec);
    }
    old = meta_node_get(m, replace->old);
    if (old == NULL || old->pub.is_removed) {
        return META_NOT_FOUND;
    }
    if (!meta_text_is(old->pub.name, spec.name)) {
        return META_REFUSED;
    }
    if (m->node_next > META_NODE_ID_MAX) {
        return META_LIMIT;
    }
    meta_node_remove(m, old);
    return meta_node_register(m, &spec);
}

enum meta_status
meta_apply_node_remove(struct meta_machine *m, const Meta__Command *c,
                       struct meta_outcome *out)
{
    struct meta_node_record *node = meta_node_get(m, c->node_remove->id);

    ASSERT(c->of_case == META__COMMAND__OF_NODE_REMOVE);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (node == NULL || node->pub.is_removed) {
        return META_NOT_FOUND;
    }
    if (m->nodes_live == 1) {
        return META_REFUSED;
    }
    meta_node_remove(m, node);
    return META_OK;
}

const struct meta_node *
meta_node(const struct meta_machine *m, qr_node_id id)
{
    struct meta_node_record *node = NULL;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    node = meta_node_get(m, id);
    return node != NULL ? &node->pub : NULL;
}

const struct meta_node *
meta_node_named(const struct meta_machine *m, const char *name, size_t size)
{
    struct meta_node_record *node = NULL;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    node = meta_node_of_name(m, meta_text(name, size));
    return node != NULL ? &node->pub : NULL;
}

const struct meta_node *
meta_node_by_uuid(const struct meta_machine *m, const struct uuid *uuid)
{
    struct meta_node_record *node = NULL;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    node = meta_node_of_uuid(m, uuid);
    return node != NULL ? &node->pub : NULL;
}
