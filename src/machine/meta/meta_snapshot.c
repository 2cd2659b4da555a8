/* Writing the state: every list in order, so that equal states are equal
 * bytes. The layout, and how to change it, is in docs/formats/meta.md; reading
 * it is meta_restore.c. */
#include "machine/meta/meta_snapshot.h"

#include <quorate/version.h>

#include "base/check.h"
#include "base/mem.h"
#include "machine/meta/meta_state.h"

static void
meta_write_text(struct buf *out, struct meta_text text)
{
    buf_put_blob(out, text.data, text.size);
}

static void
meta_write_nodes(const struct meta_machine *m, struct buf *out)
{
    uint64_t *ids = map_keys_sorted(&m->nodes);

    buf_put_varint(out, m->nodes.count);
    for (size_t i = 0; i < m->nodes.count; i++) {
        const struct meta_node_record *node = map_get(&m->nodes, ids[i]);

        buf_put_varint(out, node->pub.id);
        meta_write_text(out, node->pub.name);
        meta_write_text(out, node->pub.address);
        buf_put(out, node->pub.uuid.bytes, sizeof(node->pub.uuid.bytes));
        buf_put_varint(out, node->pub.boot);
        buf_put_varint(out, node->pub.process);
        buf_put_u8(out, node->pub.is_removed ? 1 : 0);
    }
    mem_free(ids);
}

/* Write the members of MAP in order, each with WRITE. */
static void
meta_write_map(const struct strmap *map, struct buf *out,
               void (*write)(struct buf *out, const void *record))
{
    void **values = strmap_values_sorted(map);

    buf_put_varint(out, map->count);
    for (size_t i = 0; i < map->count; i++) {
        write(out, values[i]);
    }
    mem_free(values);
}

static void
meta_write_user(struct buf *out, const void *record)
{
    const struct meta_user_record *user = record;

    ASSERT(user->magic == META_USER_MAGIC);
    meta_write_text(out, user->pub.name);
    meta_write_text(out, user->pub.password);
    meta_write_text(out, user->pub.tags);
}

static void
meta_write_permission(struct buf *out, const void *record)
{
    const struct meta_permission_record *permission = record;

    ASSERT(permission->magic == META_PERMISSION_MAGIC);
    meta_write_text(out, permission->pub.user);
    meta_write_text(out, permission->pub.configure);
    meta_write_text(out, permission->pub.write);
    meta_write_text(out, permission->pub.read);
}

static void
meta_write_exchange(struct buf *out, const void *record)
{
    const struct meta_exchange_record *exchange = record;
    unsigned flags = 0;

    ASSERT(exchange->magic == META_EXCHANGE_MAGIC);
    flags |= exchange->pub.is_durable ? META_FLAG_DURABLE : 0U;
    flags |= exchange->pub.is_auto_delete ? META_FLAG_AUTO_DELETE : 0U;
    flags |= exchange->pub.is_internal ? META_FLAG_INTERNAL : 0U;
    meta_write_text(out, exchange->pub.name);
    buf_put_u8(out, (uint8_t)exchange->pub.type);
    buf_put_u8(out, (uint8_t)flags);
    meta_write_text(out, exchange->pub.arguments);
}

static void
meta_write_queue(struct buf *out, const void *record)
{
    const struct meta_queue_record *queue = record;
    bool is_exclusive = queue->pub.owner.node != 0;
    unsigned flags = 0;

    ASSERT(queue->magic == META_QUEUE_MAGIC);
    flags |= queue->pub.is_durable ? META_FLAG_DURABLE : 0U;
    flags |= queue->pub.is_auto_delete ? META_FLAG_AUTO_DELETE : 0U;
    flags |= is_exclusive ? META_FLAG_EXCLUSIVE : 0U;
    meta_write_text(out, queue->pub.name);
    buf_put_varint(out, queue->pub.group);
    buf_put_u8(out, (uint8_t)flags);
    if (is_exclusive) {
        buf_put_varint(out, queue->pub.owner.node);
        buf_put_varint(out, queue->pub.owner.boot);
        buf_put_varint(out, queue->pub.owner.connection);
    }
    meta_write_text(out, queue->pub.arguments);
    buf_put_varint(out, queue->pub.created_ms);
    buf_put_varint(out, queue->pub.stand);
    buf_put_varint(out, queue->incarnation_next);
    buf_put_u8(out, (uint8_t)queue->pub.members_count);
    for (size_t i = 0; i < queue->pub.members_count; i++) {
        buf_put_varint(out, queue->pub.members[i].replica);
        buf_put_u8(out, queue->pub.members[i].is_voter ? 1 : 0);
        buf_put_varint(out, queue->pub.members[i].boot);
    }
}

static void
meta_write_policy(struct buf *out, const void *record)
{
    const struct meta_policy_record *policy = record;

    ASSERT(policy->magic == META_POLICY_MAGIC);
    buf_put_u8(out, policy->pub.is_operator ? 1 : 0);
    meta_write_text(out, policy->pub.name);
    meta_write_text(out, policy->pub.pattern);
    meta_write_text(out, policy->pub.apply_to);
    meta_write_text(out, policy->pub.definition);
    buf_put_u32be(out, (uint32_t)policy->pub.priority);
}

static void
meta_write_parameter(struct buf *out, const void *record)
{
    const struct meta_parameter_record *parameter = record;

    ASSERT(parameter->magic == META_PARAMETER_MAGIC);
    meta_write_text(out, parameter->pub.component);
    meta_write_text(out, parameter->pub.vhost);
    meta_write_text(out, parameter->pub.name);
    meta_write_text(out, parameter->pub.value);
}

/* The bindings of one source: how many, and each. */
static void
meta_write_sources(struct buf *out, const void *record)
{
    const struct meta_exchange_record *exchange = record;
    struct meta_binding_record **sorted = NULL;

    buf_put_varint(out, exchange->pub.bindings_count);
    if (exchange->pub.bindings_count == 0) {
        return;
    }
    sorted = meta_bindings_sorted(exchange);
    for (size_t i = 0; i < exchange->pub.bindings_count; i++) {
        buf_put_u8(out, sorted[i]->pub.to_exchange ? 1 : 0);
        meta_write_text(out, sorted[i]->pub.destination);
        meta_write_text(out, sorted[i]->pub.key);
        meta_write_text(out, sorted[i]->pub.arguments);
    }
    mem_free(sorted);
}

static void
meta_write_vhost(struct buf *out, const void *record)
{
    const struct meta_vhost_record *vhost = record;

    ASSERT(vhost->magic == META_VHOST_MAGIC);
    meta_write_text(out, vhost->pub.name);
    meta_write_text(out, vhost->pub.description);
    meta_write_text(out, vhost->pub.tags);
    buf_put_varint(out, vhost->pub.created_ms);
    meta_write_map(&vhost->permissions, out, meta_write_permission);
    meta_write_map(&vhost->exchanges, out, meta_write_exchange);
    meta_write_map(&vhost->queues, out, meta_write_queue);
    meta_write_map(&vhost->exchanges, out, meta_write_sources);
    meta_write_map(&vhost->policies, out, meta_write_policy);
}

static void
meta_write_sessions(const struct meta_machine *m, struct buf *out)
{
    uint64_t *sessions = map_keys_sorted(&m->sessions);

    buf_put_varint(out, m->sessions.count);
    for (size_t i = 0; i < m->sessions.count; i++) {
        const struct meta_session_record *s =
            map_get(&m->sessions, sessions[i]);

        ASSERT(s->requests.count > 0);
        buf_put_varint(out, sessions[i]);
        buf_put_varint(out, s->requests.count);
        for (size_t j = 0; j < s->requests.count; j++) {
            buf_put_varint(out, s->requests.items[j].first);
            buf_put_varint(out, s->requests.items[j].last);
        }
    }
    mem_free(sessions);
}

void
meta_machine_snapshot(const struct meta_machine *m, struct buf *out)
{
    OBJ_CHECK(m, META_MACHINE_MAGIC);
    ASSERT(out != NULL);
    buf_put_u8(out, QR_META_MACHINE);
    buf_put_varint(out, m->group_next);
    buf_put_varint(out, m->node_next);
    meta_write_text(out, meta_cluster_name(m));
    meta_write_nodes(m, out);
    meta_write_map(&m->users, out, meta_write_user);
    meta_write_map(&m->vhosts, out, meta_write_vhost);
    meta_write_map(&m->parameters, out, meta_write_parameter);
    meta_write_sessions(m, out);
    if (m->losses.count > 0) {
        buf_put_varint(out, m->losses.count);
        buf_put_varint(out, m->losses.first);
        buf_put_varint(out, m->losses.last);
        buf_put_varint(out, m->losses.time_ms);
        buf_put_varint(out, m->torn);
    }
}
