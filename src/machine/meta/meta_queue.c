/* Queues: their groups, members and owners.
 *
 * A queue ends by command, with its vhost, with the connection that owns it,
 * or, non-durable and shared, when every node that held a replica has started
 * again since. The lists that hang on nodes and owners find those queues. */
#include "base/check.h"
#include "base/mem.h"
#include "machine/meta/meta_apply.h"
#include "machine/meta/meta_state.h"

enum {
    META_OWNER_KEY_SIZE = 16,
    /* The first members are of incarnation 1; once the members have changed,
     * the next incarnation is at least this. */
    META_INCARNATION_CHANGED = 3
};

/* u32 node, u32 boot, u64 connection. */
static void
meta_owner_key(uint8_t key[META_OWNER_KEY_SIZE], const struct meta_owner *owner)
{
    put_u32be(key, owner->node);
    put_u32be(key + 4, owner->boot);
    put_u64be(key + 8, owner->connection);
}

struct meta_owner_record *
meta_owner_get(struct meta_machine *m, const struct meta_owner *owner)
{
    uint8_t key[META_OWNER_KEY_SIZE];

    meta_owner_key(key, owner);
    return strmap_get(&m->owners, key, sizeof(key));
}

/* Enter QUEUE into the list of its owner, made if it is the first. */
static void
meta_owner_add(struct meta_machine *m, struct meta_queue_record *queue)
{
    uint8_t key[META_OWNER_KEY_SIZE];
    struct meta_node_record *node = meta_node_get(m, queue->pub.owner.node);
    struct meta_owner_record *owner = meta_owner_get(m, &queue->pub.owner);

    ASSERT(node != NULL);
    if (owner == NULL) {
        owner = mem_zalloc(1, sizeof(*owner));
        owner->magic = META_OWNER_MAGIC;
        owner->owner = queue->pub.owner;
        list_init(&owner->queues);
        list_push_back(&node->owners, &owner->by_node);
        meta_owner_key(key, &owner->owner);
        (void)strmap_put(&m->owners, key, sizeof(key), owner);
    }
    ASSERT(owner->magic == META_OWNER_MAGIC);
    queue->owner = owner;
    list_push_back(&owner->queues, &queue->by_owner);
}

static void
meta_owner_remove(struct meta_machine *m, struct meta_queue_record *queue)
{
    uint8_t key[META_OWNER_KEY_SIZE];
    struct meta_owner_record *owner = queue->owner;
    void *was = NULL;

    OBJ_CHECK(owner, META_OWNER_MAGIC);
    list_remove(&queue->by_owner);
    queue->owner = NULL;
    if (!list_is_empty(&owner->queues)) {
        return;
    }
    meta_owner_key(key, &owner->owner);
    was = strmap_remove(&m->owners, key, sizeof(key));
    ASSERT(was == owner);
    list_remove(&owner->by_node);
    owner->magic = 0;
    mem_free(owner);
}

void
meta_owner_drop(struct meta_machine *m, struct meta_owner_record *owner)
{
    struct list *first = NULL;
    bool is_last = false;

    OBJ_CHECK(owner, META_OWNER_MAGIC);
    ASSERT(!list_is_empty(&owner->queues));
    while (!is_last) {
        first = owner->queues.next;
        is_last = first->next == &owner->queues; /* OWNER goes with it */
        meta_queue_drop(m,
                        list_entry(first, struct meta_queue_record, by_owner));
    }
}

static bool
meta_queue_is_transient(const struct meta_queue_record *queue)
{
    return !queue->pub.is_durable && queue->pub.owner.node == 0;
}

bool
meta_queue_is_over(const struct meta_machine *m,
                   const struct meta_queue_record *queue)
{
    const struct meta_node_record *node = NULL;

    ASSERT(queue->magic == META_QUEUE_MAGIC);
    ASSERT(queue->pub.members_count > 0);
    if (!meta_queue_is_transient(queue)) {
        return false;
    }
    for (size_t i = 0; i < queue->pub.members_count; i++) {
        const struct meta_member *member = &queue->pub.members[i];

        node = meta_node_get(m, qr_replica_node(member->replica));
        ASSERT(node != NULL);
        if (!node->pub.is_removed && node->pub.boot <= member->boot) {
            return false;
        }
    }
    return true;
}

void
meta_queue_set_members(struct meta_machine *m, struct meta_queue_record *queue,
                       const struct meta_member *members, size_t count)
{
    struct meta_node_record *node = NULL;

    ASSERT(count > 0);
    ASSERT(count <= QR_MEMBERS_MAX);
    for (size_t i = 0; i < QR_MEMBERS_MAX; i++) {
        list_remove(&queue->transients[i].link);
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t incarnation = (uint32_t)members[i].replica;

        queue->pub.members[i] = members[i];
        if (incarnation >= queue->incarnation_next) {
            queue->incarnation_next = incarnation + 1;
        }
        node = meta_node_get(m, qr_replica_node(members[i].replica));
        ASSERT(node != NULL);
        if (meta_queue_is_transient(queue)) {
            list_push_back(&node->transients, &queue->transients[i].link);
        }
    }
    queue->pub.members_count = count;
}

struct meta_queue_record *
meta_queue_create(struct meta_machine *m, struct meta_vhost_record *vhost,
                  const struct meta_queue *spec)
{
    struct meta_queue_record *queue = mem_zalloc(1, sizeof(*queue));
    void *was = NULL;

    ASSERT(spec->group >= QR_GROUP_FIRST_QUEUE);
    ASSERT(vhost->magic == META_VHOST_MAGIC);
    ASSERT(spec->name.size > 0);
    queue->magic = META_QUEUE_MAGIC;
    queue->vhost = vhost;
    queue->pub = *spec;
    queue->pub.user = NULL;
    queue->pub.vhost = vhost->pub.name;
    queue->pub.name = meta_text_dup(spec->name);
    queue->pub.arguments = meta_text_dup(spec->arguments);
    meta_end_init(m, &queue->end);
    list_init(&queue->by_owner);
    for (size_t i = 0; i < QR_MEMBERS_MAX; i++) {
        list_init(&queue->transients[i].link);
        queue->transients[i].queue = queue;
    }
    meta_queue_set_members(m, queue, spec->members, spec->members_count);
    if (spec->owner.node != 0) {
        meta_owner_add(m, queue);
    }
    was = strmap_put(&vhost->queues, spec->name.data, spec->name.size, queue);
    ASSERT(was == NULL);
    was = map_put(&m->groups, spec->group, queue);
    ASSERT(was == NULL);
    return queue;
}

void
meta_queue_drop(struct meta_machine *m, struct meta_queue_record *queue)
{
    void *was = NULL;

    OBJ_CHECK(queue, META_QUEUE_MAGIC);
    meta_end_unbind(m, &queue->end);
    meta_doomed_drop(m);
    if (queue->owner != NULL) {
        meta_owner_remove(m, queue);
    }
    for (size_t i = 0; i < QR_MEMBERS_MAX; i++) {
        list_remove(&queue->transients[i].link);
    }
    was = strmap_remove(&queue->vhost->queues, queue->pub.name.data,
                        queue->pub.name.size);
    ASSERT(was == queue);
    was = map_remove(&m->groups, queue->pub.group);
    ASSERT(was == queue);
    if (m->events.on_queue_gone != NULL) {
        m->events.on_queue_gone(m->events.arg, &queue->pub);
    }
    meta_text_drop(&queue->pub.name);
    meta_text_drop(&queue->pub.arguments);
    queue->magic = 0;
    mem_free(queue);
}

static void
meta_declare_member(const struct meta_node *node, qr_node_id stand,
                    struct meta_queue *spec)
{
    struct meta_member *member = &spec->members[spec->members_count];

    ASSERT(spec->members_count < QR_MEMBERS_MAX);
    ASSERT(!node->is_removed);
    member->replica = qr_replica(node->id, 1);
    member->is_voter = true;
    member->boot = node->boot;
    spec->members_count++;
    if (node->id == stand) {
        spec->stand = stand;
    }
}

/* Check the nodes that DECLARE names and make members of them, but for those
 * that were removed since they were chosen: the rest can do without. */
static enum meta_status
meta_declare_members(const struct meta_machine *m,
                     const Meta__QueueDeclare *declare, struct meta_queue *spec)
{
    const struct meta_node_record *node = NULL;
    bool is_member = declare->stand == 0;

    ASSERT(declare->n_nodes > 0);
    ASSERT(declare->n_nodes <= QR_MEMBERS_MAX);
    for (size_t i = 0; i < declare->n_nodes; i++) {
        for (size_t j = 0; j < i; j++) {
            if (declare->nodes[i] == declare->nodes[j]) {
                return META_MALFORMED;
            }
        }
        is_member = is_member || declare->stand == declare->nodes[i];
    }
    if (!is_member) {
        return META_MALFORMED;
    }
    for (size_t i = 0; i < declare->n_nodes; i++) {
        node = meta_node_get(m, declare->nodes[i]);
        if (node == NULL) {
            return META_NOT_FOUND;
        }
        if (!node->pub.is_removed) {
            meta_declare_member(&node->pub, declare->stand, spec);
        }
    }
    if (spec->members_count == 0) {
        return META_NOT_FOUND;
    }
    if (spec->stand == 0) {
        spec->stand = qr_replica_node(spec->members[0].replica);
    }
    return META_OK;
}

/* Whether the owner's connection can still be there. */
static enum meta_status
meta_declare_owner(const struct meta_machine *m,
                   const Meta__QueueDeclare *declare, struct meta_queue *spec)
{
    const struct meta_node_record *node = NULL;

    if (declare->owner == NULL) {
        return META_OK;
    }
    node = meta_node_get(m, declare->owner->node);
    if (node == NULL) {
        return META_NOT_FOUND;
    }
    if (node->pub.is_removed || declare->owner->boot < node->pub.boot) {
        return META_REFUSED;
    }
    spec->owner.node = declare->owner->node;
    spec->owner.boot = declare->owner->boot;
    spec->owner.connection = declare->owner->connection;
    return META_OK;
}

/* Declare what is not there yet. */
static enum meta_status
meta_declare_new(struct meta_machine *m, struct meta_vhost_record *vhost,
                 const Meta__QueueDeclare *declare, struct meta_outcome *out)
{
    struct meta_queue spec = {
        .name = meta_field(&declare->name),
        .is_durable = declare->durable,
        .is_auto_delete = declare->auto_delete,
        .arguments = meta_field(&declare->arguments),
        .created_ms = m->time_ms,
    };
    struct meta_queue_record *queue = NULL;
    enum meta_status status = meta_declare_members(m, declare, &spec);

    if (status == META_OK) {
        status = meta_declare_owner(m, declare, &spec);
    }
    if (status == META_OK && m->groups.count >= META_QUEUES_MAX) {
        status = META_LIMIT;
    }
    if (status != META_OK) {
        return status;
    }
    ASSERT(m->group_next >= QR_GROUP_FIRST_QUEUE);
    /* What the leader has chosen, unless that is taken. */
    if (declare->group > m->group_next &&
        declare->group - m->group_next < META_GROUPS_JUMP_MAX) {
        m->group_next = declare->group;
    }
    spec.group = m->group_next++;
    queue = meta_queue_create(m, vhost, &spec);
    out->group = spec.group;
    if (m->events.on_queue_created != NULL) {
        m->events.on_queue_created(m->events.arg, &queue->pub);
    }
    return META_OK;
}

enum meta_status
meta_apply_queue_declare(struct meta_machine *m, const Meta__Command *c,
                         struct meta_outcome *out)
{
    const Meta__QueueDeclare *declare = c->queue_declare;
    struct meta_text name = meta_field(&declare->name);
    struct meta_vhost_record *vhost =
        meta_vhost_get(m, meta_field(&declare->vhost));
    struct meta_queue_record *queue = NULL;

    ASSERT(c->of_case == META__COMMAND__OF_QUEUE_DECLARE);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    if (!meta_is_name(name) ||
        declare->arguments.len > META_ARGUMENTS_SIZE_MAX ||
        declare->n_nodes == 0 || declare->n_nodes > QR_MEMBERS_MAX ||
        (declare->owner != NULL && declare->owner->node == 0)) {
        return META_MALFORMED;
    }
    if (vhost == NULL) {
        return META_NO_VHOST;
    }
    queue = meta_queue_get(vhost, name);
    if (queue != NULL) {
        out->group = queue->pub.group;
        return META_EXISTS;
    }
    return meta_declare_new(m, vhost, declare, out);
}

enum meta_status
meta_apply_queue_delete(struct meta_machine *m, const Meta__Command *c,
                        struct meta_outcome *out)
{
    const Meta__QueueDelete *del = c->queue_delete;
    struct meta_vhost_record *vhost =
        meta_vhost_get(m, meta_field(&del->vhost));
    struct meta_queue_record *queue = NULL;

    ASSERT(c->of_case == META__COMMAND__OF_QUEUE_DELETE);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    if (vhost == NULL) {
        return META_NO_VHOST;
    }
    queue = meta_queue_get(vhost, meta_field(&del->name));
    if (queue == NULL || (del->group != 0 && queue->pub.group != del->group)) {
        return META_NO_QUEUE;
    }
    out->group = queue->pub.group;
    if (del->owner != NULL) {
        struct meta_owner owner = {del->owner->node, del->owner->boot,
                                   del->owner->connection};

        if (!meta_owner_is(&owner, &queue->pub.owner)) {
            return META_REFUSED;
        }
    }
    meta_queue_drop(m, queue);
    return META_OK;
}

/* The member REPLICA as the queue has it, or NULL. */
static const struct meta_member *
meta_member_get(const struct meta_queue_record *queue, qr_replica_id replica)
{
    for (size_t i = 0; i < queue->pub.members_count; i++) {
        if (queue->pub.members[i].replica == replica) {
            return &queue->pub.members[i];
        }
    }
    return NULL;
}

/* Check the members that C lists for QUEUE and fill MEMBERS. */
static enum meta_status
meta_members_check(const struct meta_machine *m,
                   const struct meta_queue_record *queue,
                   const Meta__QueueMembers *c, struct meta_member *members)
{
    const struct meta_node_record *node = NULL;
    const struct meta_member *old = NULL;
    bool has_voter = false;

    ASSERT(c->n_members > 0);
    ASSERT(c->n_members <= QR_MEMBERS_MAX);
    for (size_t i = 0; i < c->n_members; i++) {
        qr_replica_id replica = c->members[i]->replica;

        if ((uint32_t)replica == 0 || (uint32_t)replica == UINT32_MAX) {
            return META_MALFORMED;
        }
        for (size_t j = 0; j < i; j++) {
            if (qr_replica_node(members[j].replica) ==
                qr_replica_node(replica)) {
                return META_MALFORMED;
            }
        }
        node = meta_node_get(m, qr_replica_node(replica));
        if (node == NULL) {
            return META_NOT_FOUND;
        }
        old = meta_member_get(queue, replica);
        if (old == NULL && (uint32_t)replica < queue->incarnation_next) {
            return META_REFUSED; /* left the group before: a late command */
        }
        members[i].replica = replica;
        members[i].is_voter = c->members[i]->voter;
        members[i].boot = old != NULL ? old->boot : node->pub.boot;
        has_voter = has_voter || members[i].is_voter;
    }
    return has_voter ? META_OK : META_MALFORMED;
}

/* Whether MEMBERS are other replicas than QUEUE has. */
static bool
meta_members_differ(const struct meta_queue_record *queue,
                    const struct meta_member *members, size_t count)
{
    if (count != queue->pub.members_count) {
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        if (meta_member_get(queue, members[i].replica) == NULL) {
            return true;
        }
    }
    return false;
}

/* If the member that stands first has gone, the first voter stands. */
static void
meta_queue_restand(struct meta_queue *queue)
{
    qr_node_id first = 0;

    ASSERT(queue->members_count > 0);
    for (size_t i = queue->members_count; i-- > 0;) {
        qr_node_id node = qr_replica_node(queue->members[i].replica);

        if (node == queue->stand) {
            return;
        }
        first = queue->members[i].is_voter ? node : first;
    }
    ASSERT(first != 0);
    queue->stand = first;
}

enum meta_status
meta_apply_queue_members(struct meta_machine *m, const Meta__Command *c,
                         struct meta_outcome *out)
{
    const Meta__QueueMembers *change = c->queue_members;
    struct meta_queue_record *queue = map_get(&m->groups, change->group);
    struct meta_member members[QR_MEMBERS_MAX];
    enum meta_status status = META_OK;

    ASSERT(c->of_case == META__COMMAND__OF_QUEUE_MEMBERS);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    if (change->n_members == 0 || change->n_members > QR_MEMBERS_MAX) {
        return META_MALFORMED;
    }
    if (queue == NULL) {
        return META_NO_QUEUE;
    }
    out->group = queue->pub.group;
    status = meta_members_check(m, queue, change, members);
    if (status != META_OK) {
        return status;
    }
    if (meta_members_differ(queue, members, change->n_members)) {
        queue->incarnation_next =
            MAX(queue->incarnation_next, (uint32_t)META_INCARNATION_CHANGED);
    }
    meta_queue_set_members(m, queue, members, change->n_members);
    meta_queue_restand(&queue->pub);
    if (m->events.on_queue_members != NULL) {
        m->events.on_queue_members(m->events.arg, &queue->pub);
    }
    if (meta_queue_is_over(m, queue)) {
        meta_queue_drop(m, queue);
    }
    return META_OK;
}

enum meta_status
meta_apply_connection_gone(struct meta_machine *m, const Meta__Command *c,
                           struct meta_outcome *out)
{
    const Meta__Owner *whose = c->connection_gone->owner;
    struct meta_owner_record *owner = NULL;

    ASSERT(c->of_case == META__COMMAND__OF_CONNECTION_GONE);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (whose == NULL || whose->node == 0) {
        return META_MALFORMED;
    }
    owner = meta_owner_get(
        m, &(struct meta_owner){whose->node, whose->boot, whose->connection});
    if (owner != NULL) {
        meta_owner_drop(m, owner);
    }
    return META_OK;
}

struct meta_queue *
meta_queue(const struct meta_machine *m, const struct meta_vhost *vhost,
           const char *name, size_t size)
{
    struct meta_queue_record *queue = NULL;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    queue = meta_queue_get(meta_vhost_of(vhost), meta_text(name, size));
    return queue != NULL ? &queue->pub : NULL;
}

struct meta_queue *
meta_queue_by_group(const struct meta_machine *m, qr_group_id group)
{
    struct meta_queue_record *queue = NULL;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    queue = map_get(&m->groups, group);
    return queue != NULL ? &queue->pub : NULL;
}

uint32_t
meta_queue_incarnation(const struct meta_queue *queue)
{
    return meta_queue_of(queue)->incarnation_next;
}

bool
meta_queue_is_original(const struct meta_queue *queue)
{
    return meta_queue_of(queue)->incarnation_next < META_INCARNATION_CHANGED;
}

size_t
meta_queues_count(const struct meta_machine *m)
{
    OBJ_CHECK(m, META_MACHINE_MAGIC);
    return m->groups.count;
}
