/* Whether a state is sound: every index leads to the record it should, every
 * counter is what a walk counts, every name is within its limit. A restore
 * ends with it, and tests call it after each command. */
#include "base/check.h"
#include "machine/meta/meta_state.h"

/* What the walk over the vhosts counted. */
struct meta_census {
    size_t exchanges;
    size_t queues;
    size_t bindings;
    size_t permissions;
    size_t policies;
    size_t owned;
    size_t transient_links;
};

static bool
meta_is_sound_name(struct meta_text name)
{
    return name.size > 0 && name.size <= QR_NAME_SIZE_MAX &&
           name.data[name.size] == '\0';
}

static void
meta_check_binding(const struct meta_machine *m,
                   const struct meta_binding_record *b)
{
    ASSERT(b->magic == META_BINDING_MAGIC);
    ASSERT((b->queue == NULL) != (b->exchange == NULL));
    ASSERT(b->pub.to_exchange == (b->exchange != NULL));
    ASSERT(meta_text_is(b->pub.source, b->source->pub.name));
    ASSERT(b->source->pub.name.size > 0);
    ASSERT(b->pub.key.size <= QR_NAME_SIZE_MAX);
    ASSERT(b->pub.arguments.size <= META_ARGUMENTS_SIZE_MAX);
    ASSERT(list_is_linked(&b->by_destination));
    ASSERT((b->source->pub.type == META_HEADERS) ==
           !list_is_linked(&b->entry.link));
    if (b->queue != NULL) {
        ASSERT(b->queue->magic == META_QUEUE_MAGIC);
        ASSERT(b->queue->vhost == b->source->vhost);
        ASSERT(meta_text_is(b->pub.destination, b->queue->pub.name));
        ASSERT(b->queue->end.serial < m->serial_next);
    } else {
        ASSERT(b->exchange->magic == META_EXCHANGE_MAGIC);
        ASSERT(b->exchange->vhost == b->source->vhost);
        ASSERT(meta_text_is(b->pub.destination, b->exchange->pub.name));
        ASSERT(b->exchange->end.serial < m->serial_next);
    }
}

/* The entries in EXCHANGE's routing tables. */
static size_t
meta_check_routed(const struct meta_exchange_record *exchange)
{
    size_t direct = exchange->direct.count;
    size_t fanout = exchange->fanout.count;
    size_t topic = exchange->topic.count;
    enum meta_exchange_type type = exchange->pub.type;

    ASSERT_IMPLIES(direct > 0, type == META_DIRECT);
    ASSERT_IMPLIES(fanout > 0, type == META_FANOUT);
    ASSERT_IMPLIES(topic > 0, type == META_TOPIC);
    return direct + fanout + topic;
}

static void
meta_check_exchange(const struct meta_machine *m,
                    const struct meta_exchange_record *exchange,
                    struct meta_census *n)
{
    struct list *it = NULL;
    size_t count = 0;

    ASSERT(exchange->magic == META_EXCHANGE_MAGIC);
    ASSERT(exchange->pub.name.size <= QR_NAME_SIZE_MAX);
    ASSERT(exchange->pub.type >= META_DIRECT);
    ASSERT(exchange->pub.type <= META_HEADERS);
    ASSERT(!list_is_linked(&exchange->doomed));
    ASSERT(meta_exchange_get(exchange->vhost, exchange->pub.name) == exchange);
    list_foreach (it, &exchange->sources) {
        const struct meta_binding_record *b =
            list_entry(it, struct meta_binding_record, by_source);

        ASSERT(b->source == exchange);
        meta_check_binding(m, b);
        count++;
    }
    ASSERT(count == exchange->pub.bindings_count);
    ASSERT(meta_check_routed(exchange) ==
           (exchange->pub.type == META_HEADERS ? 0 : count));
    n->bindings += count;
    n->exchanges++;
}

static void
meta_check_members(const struct meta_machine *m,
                   const struct meta_queue_record *queue, struct meta_census *n)
{
    bool is_transient = !queue->pub.is_durable && queue->owner == NULL;
    bool can_stand = false;

    ASSERT(queue->pub.members_count > 0);
    ASSERT(queue->pub.members_count <= QR_MEMBERS_MAX);
    for (size_t i = 0; i < QR_MEMBERS_MAX; i++) {
        bool is_member = i < queue->pub.members_count;
        bool is_linked = list_is_linked(&queue->transients[i].link);

        ASSERT(queue->transients[i].queue == queue);
        ASSERT(is_linked == (is_member && is_transient));
        n->transient_links += is_linked ? 1U : 0U;
        if (is_member) {
            qr_replica_id replica = queue->pub.members[i].replica;

            ASSERT((uint32_t)replica < queue->incarnation_next);
            ASSERT(meta_node_get(m, qr_replica_node(replica)) != NULL);
            can_stand =
                can_stand || qr_replica_node(replica) == queue->pub.stand;
        }
    }
    ASSERT(can_stand);
}

static void
meta_check_queue(const struct meta_machine *m,
                 const struct meta_queue_record *queue, struct meta_census *n)
{
    ASSERT(queue->magic == META_QUEUE_MAGIC);
    ASSERT(meta_is_sound_name(queue->pub.name));
    ASSERT(queue->pub.group >= QR_GROUP_FIRST_QUEUE);
    ASSERT(queue->pub.group < m->group_next);
    ASSERT(map_get(&m->groups, queue->pub.group) == queue);
    ASSERT(meta_queue_get(queue->vhost, queue->pub.name) == queue);
    ASSERT((queue->owner != NULL) == (queue->pub.owner.node != 0));
    if (queue->owner != NULL) {
        ASSERT(queue->owner->magic == META_OWNER_MAGIC);
        ASSERT(meta_owner_is(&queue->owner->owner, &queue->pub.owner));
        n->owned++;
    }
    meta_check_members(m, queue, n);
    n->queues++;
}

static void
meta_check_vhost(const struct meta_machine *m,
                 const struct meta_vhost_record *vhost, struct meta_census *n)
{
    const uint8_t *key = NULL;
    size_t size = 0;
    size_t pos = 0;
    void *value = NULL;

    ASSERT(vhost->magic == META_VHOST_MAGIC);
    ASSERT(meta_is_sound_name(vhost->pub.name));
    ASSERT(meta_vhost_get(m, vhost->pub.name) == vhost);
    while (strmap_next(&vhost->exchanges, &pos, &key, &size, &value)) {
        meta_check_exchange(m, value, n);
    }
    pos = 0;
    while (strmap_next(&vhost->queues, &pos, &key, &size, &value)) {
        meta_check_queue(m, value, n);
    }
    pos = 0;
    while (strmap_next(&vhost->permissions, &pos, &key, &size, &value)) {
        const struct meta_permission_record *permission = value;

        ASSERT(permission->magic == META_PERMISSION_MAGIC);
        ASSERT(permission->vhost == vhost);
        ASSERT(meta_user_get(m, permission->pub.user) != NULL);
        ASSERT(list_is_linked(&permission->by_user));
    }
    n->permissions += vhost->permissions.count;
    n->policies += vhost->policies.count;
}

/* The queues on the lists of NODE's owners and of its transients. */
static void
meta_check_node(const struct meta_node_record *node, struct meta_census *n)
{
    struct list *it = NULL;
    struct list *queue = NULL;

    ASSERT(node->magic == META_NODE_MAGIC);
    ASSERT(meta_is_sound_name(node->pub.name));
    list_foreach (it, &node->owners) {
        const struct meta_owner_record *owner =
            list_entry(it, struct meta_owner_record, by_node);

        ASSERT(owner->owner.node == node->pub.id);
        ASSERT(!list_is_empty(&owner->queues));
        list_foreach (queue, &owner->queues) {
            ASSERT(n->owned > 0);
            n->owned--;
        }
    }
    list_foreach (it, &node->transients) {
        ASSERT(n->transient_links > 0);
        n->transient_links--;
    }
}

void
meta_check(const struct meta_machine *m)
{
    struct meta_census n = {0, 0, 0, 0, 0, 0, 0};
    const uint8_t *key = NULL;
    size_t size = 0;
    size_t pos = 0;
    uint64_t id = 0;
    void *value = NULL;
    struct meta_node_record *node = NULL;
    size_t live = 0;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    ASSERT(list_is_empty(&m->doomed));
    while (strmap_next(&m->vhosts, &pos, &key, &size, &value)) {
        meta_check_vhost(m, value, &n);
    }
    map_foreach (&m->nodes, pos, id, node) {
        ASSERT(node->pub.id == id);
        ASSERT(node->pub.id < m->node_next);
        meta_check_node(node, &n);
        live += node->pub.is_removed ? 0U : 1U;
    }
    ASSERT(live == m->nodes_live);
    ASSERT(n.owned == 0);
    ASSERT(n.transient_links == 0);
    ASSERT(n.exchanges == m->exchanges_count);
    ASSERT(n.queues == m->groups.count);
    ASSERT(n.bindings == m->bindings.count);
    ASSERT(n.permissions == m->permissions_count);
    ASSERT(n.policies == m->policies_count);
}
