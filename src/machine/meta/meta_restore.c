/* Reading a snapshot into a new state, and putting it in the old one's place.
 *
 * Nothing is believed: names, limits and references are checked as commands'
 * are, though the bytes have a checksum of the store's, so that a machine
 * never runs with a state that no row of commands could have made. The old
 * state stays until the new one is whole; then the two are compared and the
 * events tell the difference. */
#include <quorate/error.h>
#include <quorate/version.h>

#include "base/check.h"
#include "base/mem.h"
#include "machine/meta/meta_snapshot.h"
#include "machine/meta/meta_state.h"

/* A text of at most SIZE_MAX_ bytes, borrowed; else C is bad. */
static struct meta_text
meta_read_text(struct cursor *c, size_t size_max)
{
    size_t size = 0;
    const uint8_t *at = cursor_blob(c, &size);

    if (at == NULL) {
        return meta_text("", 0);
    }
    if (size > size_max) {
        cursor_fail(c);
        return meta_text("", 0);
    }
    return meta_text((const char *)at, size);
}

/* The name of something: not empty. */
static struct meta_text
meta_read_name(struct cursor *c)
{
    struct meta_text name = meta_read_text(c, QR_NAME_SIZE_MAX);

    if (name.size == 0) {
        cursor_fail(c);
    }
    return name;
}

static uint32_t
meta_read_u32(struct cursor *c)
{
    uint64_t v = cursor_varint(c);

    if (v > UINT32_MAX) {
        cursor_fail(c);
        return 0;
    }
    return (uint32_t)v;
}

static bool
meta_read_bool(struct cursor *c)
{
    uint8_t v = cursor_u8(c);

    if (v > 1) {
        cursor_fail(c);
    }
    return v == 1;
}

static void
meta_read_node(struct meta_machine *m, struct cursor *c)
{
    struct meta_node spec = {.id = meta_read_u32(c)};
    const uint8_t *uuid = NULL;

    spec.name = meta_read_name(c);
    spec.address = meta_read_text(c, QR_NAME_SIZE_MAX);
    uuid = cursor_bytes(c, sizeof(spec.uuid.bytes));
    spec.boot = meta_read_u32(c);
    spec.process = cursor_varint(c);
    spec.is_removed = meta_read_bool(c);
    if (c->bad || spec.id == 0 || spec.id > META_NODE_ID_MAX ||
        meta_node_get(m, spec.id) != NULL ||
        (!spec.is_removed && m->nodes_live >= QR_NODES_MAX)) {
        cursor_fail(c);
        return;
    }
    ASSERT(uuid != NULL);
    ASSERT(spec.name.size > 0);
    memcpy(spec.uuid.bytes, uuid, sizeof(spec.uuid.bytes));
    (void)meta_node_create(m, &spec);
}

static void
meta_read_user(struct meta_machine *m, struct cursor *c)
{
    struct meta_user spec;

    spec.name = meta_read_name(c);
    spec.password = meta_read_text(c, META_TEXT_SIZE_MAX);
    spec.tags = meta_read_text(c, META_TEXT_SIZE_MAX);
    if (c->bad || m->users.count >= META_USERS_MAX ||
        meta_user_get(m, spec.name) != NULL) {
        cursor_fail(c);
        return;
    }
    (void)meta_user_create(m, &spec);
}

static void
meta_read_permission(struct meta_machine *m, struct cursor *c,
                     struct meta_vhost_record *vhost)
{
    struct meta_permission spec = {.user = meta_read_name(c)};
    struct meta_user_record *user = NULL;

    spec.configure = meta_read_text(c, META_PATTERN_SIZE_MAX);
    spec.write = meta_read_text(c, META_PATTERN_SIZE_MAX);
    spec.read = meta_read_text(c, META_PATTERN_SIZE_MAX);
    user = c->bad ? NULL : meta_user_get(m, spec.user);
    if (user == NULL || m->permissions_count >= META_PERMISSIONS_MAX ||
        meta_permission(m, &vhost->pub, spec.user.data, spec.user.size) !=
            NULL) {
        cursor_fail(c);
        return;
    }
    (void)meta_permission_create(m, vhost, user, &spec);
}

static void
meta_read_exchange(struct meta_machine *m, struct cursor *c,
                   struct meta_vhost_record *vhost)
{
    struct meta_exchange spec = {.name = meta_read_text(c, QR_NAME_SIZE_MAX)};
    uint8_t type = cursor_u8(c);
    uint8_t flags = cursor_u8(c);

    spec.arguments = meta_read_text(c, META_ARGUMENTS_SIZE_MAX);
    if (c->bad || type < META_DIRECT || type > META_HEADERS ||
        m->exchanges_count >= META_EXCHANGES_MAX ||
        meta_exchange_get(vhost, spec.name) != NULL) {
        cursor_fail(c);
        return;
    }
    spec.type = (enum meta_exchange_type)type;
    spec.is_durable = (flags & META_FLAG_DURABLE) != 0;
    spec.is_auto_delete = (flags & META_FLAG_AUTO_DELETE) != 0;
    spec.is_internal = (flags & META_FLAG_INTERNAL) != 0;
    (void)meta_exchange_create(m, vhost, &spec);
}

/* Whether the member at AT can be one: its incarnation leaves room for a next
 * one, its node is known and has no other. */
static bool
meta_member_is_sound(const struct meta_machine *m,
                     const struct meta_queue *spec, size_t at)
{
    qr_replica_id replica = spec->members[at].replica;
    uint32_t incarnation = (uint32_t)replica;

    for (size_t i = 0; i < at; i++) {
        if (qr_replica_node(spec->members[i].replica) ==
            qr_replica_node(replica)) {
            return false;
        }
    }
    return incarnation > 0 && incarnation < UINT32_MAX &&
           meta_node_get(m, qr_replica_node(replica)) != NULL;
}

static void
meta_read_members(const struct meta_machine *m, struct cursor *c,
                  struct meta_queue *spec)
{
    size_t count = cursor_u8(c);
    bool can_stand = false;

    if (count == 0 || count > QR_MEMBERS_MAX) {
        cursor_fail(c);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct meta_member *member = &spec->members[i];

        member->replica = cursor_varint(c);
        member->is_voter = meta_read_bool(c);
        member->boot = meta_read_u32(c);
        if (c->bad || !meta_member_is_sound(m, spec, i)) {
            cursor_fail(c);
            return;
        }
        can_stand =
            can_stand || qr_replica_node(member->replica) == spec->stand;
    }
    if (!can_stand) {
        cursor_fail(c);
    }
    spec->members_count = count;
}

static void
meta_read_owner(const struct meta_machine *m, struct cursor *c,
                struct meta_owner *owner)
{
    owner->node = meta_read_u32(c);
    owner->boot = meta_read_u32(c);
    owner->connection = cursor_varint(c);
    if (owner->node == 0 || meta_node_get(m, owner->node) == NULL) {
        cursor_fail(c);
    }
}

static void
meta_read_queue(struct meta_machine *m, struct cursor *c,
                struct meta_vhost_record *vhost)
{
    struct meta_queue spec = {.name = meta_read_name(c)};
    struct meta_queue_record *queue = NULL;
    uint32_t incarnation_next = 0;
    uint8_t flags = 0;

    spec.group = cursor_varint(c);
    flags = cursor_u8(c);
    if ((flags & META_FLAG_EXCLUSIVE) != 0) {
        meta_read_owner(m, c, &spec.owner);
    }
    spec.is_durable = (flags & META_FLAG_DURABLE) != 0;
    spec.is_auto_delete = (flags & META_FLAG_AUTO_DELETE) != 0;
    spec.arguments = meta_read_text(c, META_ARGUMENTS_SIZE_MAX);
    spec.created_ms = cursor_varint(c);
    spec.stand = meta_read_u32(c);
    incarnation_next = meta_read_u32(c);
    meta_read_members(m, c, &spec);
    if (c->bad || spec.group < QR_GROUP_FIRST_QUEUE ||
        spec.group >= m->group_next || m->groups.count >= META_QUEUES_MAX ||
        map_get(&m->groups, spec.group) != NULL ||
        meta_queue_get(vhost, spec.name) != NULL) {
        cursor_fail(c);
        return;
    }
    ASSERT(spec.members_count > 0);
    queue = meta_queue_create(m, vhost, &spec);
    queue->incarnation_next = MAX(queue->incarnation_next, incarnation_next);
}

static void
meta_read_binding(struct meta_machine *m, struct cursor *c,
                  struct meta_exchange_record *source)
{
    struct meta_ends ends = {source, NULL, NULL};
    bool to_exchange = meta_read_bool(c);
    struct meta_text destination = meta_read_name(c);
    struct meta_text key = meta_read_text(c, QR_NAME_SIZE_MAX);
    struct meta_text arguments = meta_read_text(c, META_ARGUMENTS_SIZE_MAX);

    if (c->bad) {
        return;
    }
    if (to_exchange) {
        ends.exchange = meta_exchange_get(source->vhost, destination);
    } else {
        ends.queue = meta_queue_get(source->vhost, destination);
    }
    ASSERT(destination.size > 0);
    ASSERT(ends.queue == NULL || ends.exchange == NULL);
    if ((ends.queue == NULL && ends.exchange == NULL) ||
        source->pub.name.size == 0 || m->bindings.count >= META_BINDINGS_MAX ||
        meta_binding_get(m, &ends, key, arguments) != NULL ||
        meta_binding_create(m, &ends, key, arguments) != 0) {
        cursor_fail(c);
    }
}

/* The bindings of each exchange, in the order of their names. */
static void
meta_read_bindings(struct meta_machine *m, struct cursor *c,
                   struct meta_vhost_record *vhost)
{
    void **values = NULL;
    size_t count = vhost->exchanges.count;

    if (cursor_varint(c) != count || c->bad) {
        cursor_fail(c);
        return;
    }
    values = strmap_values_sorted(&vhost->exchanges);
    for (size_t i = 0; i < count && !c->bad; i++) {
        uint64_t bindings_count = cursor_varint(c);

        for (uint64_t j = 0; j < bindings_count && !c->bad; j++) {
            meta_read_binding(m, c, values[i]);
        }
    }
    mem_free(values);
}

static void
meta_read_policy(struct meta_machine *m, struct cursor *c,
                 struct meta_vhost_record *vhost)
{
    struct meta_policy spec = {.is_operator = meta_read_bool(c)};

    spec.name = meta_read_name(c);
    spec.pattern = meta_read_text(c, META_PATTERN_SIZE_MAX);
    spec.apply_to = meta_read_text(c, QR_NAME_SIZE_MAX);
    spec.definition = meta_read_text(c, META_TEXT_SIZE_MAX);
    spec.priority = (int32_t)cursor_u32be(c);
    if (c->bad || m->policies_count >= META_POLICIES_MAX ||
        meta_policy(m, &vhost->pub, spec.is_operator, spec.name.data,
                    spec.name.size) != NULL) {
        cursor_fail(c);
        return;
    }
    (void)meta_policy_set(m, vhost, &spec);
}

static void
meta_read_vhost(struct meta_machine *m, struct cursor *c)
{
    struct meta_vhost spec = {.name = meta_read_name(c)};
    struct meta_vhost_record *vhost = NULL;
    uint64_t count = 0;

    spec.description = meta_read_text(c, META_TEXT_SIZE_MAX);
    spec.tags = meta_read_text(c, META_TEXT_SIZE_MAX);
    spec.created_ms = cursor_varint(c);
    if (c->bad || m->vhosts.count >= META_VHOSTS_MAX ||
        meta_vhost_get(m, spec.name) != NULL) {
        cursor_fail(c);
        return;
    }
    vhost = meta_vhost_create(m, &spec);
    ASSERT(meta_vhost_get(m, spec.name) == vhost);
    count = cursor_varint(c);
    for (uint64_t i = 0; i < count && !c->bad; i++) {
        meta_read_permission(m, c, vhost);
    }
    count = cursor_varint(c);
    for (uint64_t i = 0; i < count && !c->bad; i++) {
        meta_read_exchange(m, c, vhost);
    }
    count = cursor_varint(c);
    for (uint64_t i = 0; i < count && !c->bad; i++) {
        meta_read_queue(m, c, vhost);
    }
    meta_read_bindings(m, c, vhost);
    count = cursor_varint(c);
    for (uint64_t i = 0; i < count && !c->bad; i++) {
        meta_read_policy(m, c, vhost);
    }
}

static void
meta_read_parameter(struct meta_machine *m, struct cursor *c)
{
    struct meta_parameter spec = {.component = meta_read_name(c)};

    spec.vhost = meta_read_text(c, QR_NAME_SIZE_MAX);
    spec.name = meta_read_name(c);
    spec.value = meta_read_text(c, META_TEXT_SIZE_MAX);
    if (c->bad || m->parameters.count >= META_PARAMETERS_MAX ||
        meta_parameter(m, &spec) != NULL ||
        (spec.vhost.size > 0 && meta_vhost_get(m, spec.vhost) == NULL)) {
        cursor_fail(c);
        return;
    }
    (void)meta_parameter_set(m, &spec);
}

/* The ranges are in order and apart, as ranges_add() leaves them. */
static void
meta_read_session(struct meta_machine *m, struct cursor *c)
{
    uint64_t session = cursor_varint(c);
    uint64_t count = cursor_varint(c);
    struct meta_session_record *s = NULL;
    uint64_t after = 0;

    if (c->bad || count == 0 || m->sessions.count >= META_SESSIONS_MAX ||
        map_get(&m->sessions, session) != NULL) {
        cursor_fail(c);
        return;
    }
    s = meta_session_get(m, session);
    for (uint64_t i = 0; i < count && !c->bad; i++) {
        uint64_t first = cursor_varint(c);
        uint64_t last = cursor_varint(c);

        if (c->bad || first > last || (i > 0 && first <= after) ||
            last == UINT64_MAX) {
            cursor_fail(c);
            return;
        }
        ranges_add(&s->requests, first, last);
        after = last + 1;
    }
}

/* How many there are, and each of them by READ. */
static void
meta_read_list(struct meta_machine *m, struct cursor *c,
               void (*read)(struct meta_machine *m, struct cursor *c))
{
    uint64_t count = cursor_varint(c);

    for (uint64_t i = 0; i < count && !c->bad; i++) {
        read(m, c);
    }
}

static void
meta_read_losses(struct meta_machine *m, struct cursor *c)
{
    struct meta_losses *l = &m->losses;

    l->count = cursor_varint(c);
    l->first = cursor_varint(c);
    l->last = cursor_varint(c);
    l->time_ms = cursor_varint(c);
    m->torn = cursor_varint(c);
    if (l->count == 0 || l->first == 0 || l->last < l->first) {
        cursor_fail(c);
    }
}

static int
meta_read_state(struct meta_machine *m, const void *data, size_t size)
{
    struct cursor c;
    struct meta_text name;
    uint8_t version = 0;
    uint32_t node_next = 0;

    ASSERT(m->nodes.count == 0);
    ASSERT(m->vhosts.count == 0);
    cursor_init(&c, data, size);
    version = cursor_u8(&c);
    if (version > QR_META_MACHINE || version == 1) {
        return -QR_EVERSION;
    }
    m->group_next = cursor_varint(&c);
    node_next = meta_read_u32(&c);
    name = meta_read_text(&c, QR_NAME_SIZE_MAX);
    if (c.bad || version == 0 || m->group_next < QR_GROUP_FIRST_QUEUE) {
        return -QR_EFORMAT;
    }
    m->cluster_name = mem_strndup(name.data, name.size);
    m->cluster_name_size = name.size;
    meta_read_list(m, &c, meta_read_node);
    meta_read_list(m, &c, meta_read_user);
    meta_read_list(m, &c, meta_read_vhost);
    meta_read_list(m, &c, meta_read_parameter);
    meta_read_list(m, &c, meta_read_session);
    if (!c.bad && cursor_left(&c) > 0) {
        meta_read_losses(m, &c);
    }
    if (c.bad || cursor_left(&c) > 0 || node_next < m->node_next) {
        return -QR_EFORMAT;
    }
    ASSERT(m->group_next >= QR_GROUP_FIRST_QUEUE);
    m->node_next = node_next;
    return 0;
}

/* The queues of M in the order of their groups. */
static void
meta_tell_queues(const struct meta_machine *m, const struct meta_machine *old)
{
    uint64_t *groups = map_keys_sorted(&m->groups);

    for (size_t i = 0; i < m->groups.count; i++) {
        struct meta_queue_record *queue = map_get(&m->groups, groups[i]);
        struct meta_queue_record *before = map_get(&old->groups, groups[i]);

        ASSERT(queue->magic == META_QUEUE_MAGIC);
        ASSERT(queue->pub.user == NULL);
        if (before != NULL) {
            queue->pub.user = before->pub.user;
        }
        if (before == NULL && m->events.on_queue_created != NULL) {
            m->events.on_queue_created(m->events.arg, &queue->pub);
        }
        if (before != NULL && m->events.on_queue_members != NULL) {
            m->events.on_queue_members(m->events.arg, &queue->pub);
        }
    }
    mem_free(groups);
}

static void
meta_tell_queues_gone(const struct meta_machine *m,
                      const struct meta_machine *old)
{
    uint64_t *groups = map_keys_sorted(&old->groups);

    for (size_t i = 0; i < old->groups.count; i++) {
        struct meta_queue_record *queue = map_get(&old->groups, groups[i]);

        ASSERT(queue->magic == META_QUEUE_MAGIC);
        ASSERT(queue->pub.group == groups[i]);
        if (map_get(&m->groups, groups[i]) == NULL &&
            m->events.on_queue_gone != NULL) {
            m->events.on_queue_gone(m->events.arg, &queue->pub);
        }
    }
    mem_free(groups);
}

static void
meta_tell_vhosts_gone(const struct meta_machine *m,
                      const struct meta_machine *old)
{
    void **values = strmap_values_sorted(&old->vhosts);

    for (size_t i = 0; i < old->vhosts.count; i++) {
        struct meta_vhost_record *vhost = values[i];

        ASSERT(vhost->magic == META_VHOST_MAGIC);
        if (meta_vhost_get(m, vhost->pub.name) == NULL &&
            m->events.on_vhost_gone != NULL) {
            m->events.on_vhost_gone(m->events.arg, &vhost->pub);
        }
    }
    mem_free(values);
}

/* Tell M's owner of the users that M has and, if it has OTHER, of those alone
 * that OTHER does not have. */
static void
meta_tell_users(const struct meta_machine *to, const struct meta_machine *m,
                const struct meta_machine *other)
{
    void **values = strmap_values_sorted(&m->users);

    for (size_t i = 0; i < m->users.count; i++) {
        struct meta_user_record *user = values[i];

        ASSERT(user->magic == META_USER_MAGIC);
        if (other == NULL || meta_user_get(other, user->pub.name) == NULL) {
            meta_tell_user(to, user->pub.name);
        }
    }
    mem_free(values);
}

static void
meta_tell_nodes(const struct meta_machine *m)
{
    uint64_t *ids = map_keys_sorted(&m->nodes);

    for (size_t i = 0; i < m->nodes.count; i++) {
        meta_tell_node(m, map_get(&m->nodes, ids[i]));
    }
    mem_free(ids);
}

int
meta_machine_restore(struct meta_machine *m, qr_index index, const void *data,
                     size_t size)
{
    struct meta_machine old;
    struct meta_machine fresh;
    int rv = 0;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    ASSERT(list_is_empty(&m->doomed));
    meta_state_init(&fresh);
    if (size > 0) {
        rv = meta_read_state(&fresh, data, size);
    }
    if (rv != 0) {
        meta_state_deinit(&fresh);
        return rv;
    }
    old = *m;
    list_init(&old.doomed);
    *m = fresh;
    list_init(&m->doomed);
    m->events = old.events;
    m->applied = index;
    m->time_ms = old.time_ms;
    ASSERT(m->applied == index);
    ASSERT(m->events.arg == old.events.arg);
    meta_tell_queues_gone(m, &old);
    meta_tell_queues(m, &old);
    meta_tell_vhosts_gone(m, &old);
    meta_tell_users(m, &old, m);
    meta_tell_users(m, m, NULL);
    meta_tell_nodes(m);
    meta_state_deinit(&old);
    meta_check(m);
    return 0;
}
