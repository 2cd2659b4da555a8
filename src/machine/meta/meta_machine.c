/* The machine's face: making one, and applying entries.
 *
 * An entry is a row of commands, each with its length before it. A command is
 * unpacked into an arena of fixed size, so that no input, however made, can
 * take more memory; one that does not fit, or is none, is reported malformed
 * and skipped, on every replica alike. Only a length that leads out of the
 * entry ends it. */
#include "machine/meta/meta_machine.h"

#include "base/check.h"
#include "base/mem.h"
#include "machine/meta/meta_apply.h"
#include "machine/meta/meta_state.h"

enum {
    META_ARENA_SIZE = 4 * META_COMMAND_SIZE_MAX,
    META_ARENA_ALIGN = 16
};

/* By number in the oneof, from META__COMMAND__OF_NODE_UP; NULL: no effect. */
static meta_handler *const META_HANDLERS[] = {
    meta_apply_node_up,
    meta_apply_node_add,
    meta_apply_node_remove,
    meta_apply_vhost_add,
    meta_apply_vhost_delete,
    meta_apply_user_add,
    meta_apply_user_delete,
    meta_apply_user_password,
    meta_apply_user_tags,
    meta_apply_permission_set,
    meta_apply_permission_clear,
    meta_apply_exchange_declare,
    meta_apply_exchange_delete,
    meta_apply_queue_declare,
    meta_apply_queue_delete,
    meta_apply_queue_members,
    meta_apply_bind,
    meta_apply_unbind,
    meta_apply_policy_set,
    meta_apply_policy_clear,
    meta_apply_parameter_set,
    meta_apply_parameter_clear,
    meta_apply_connection_gone,
};

_Static_assert(META__COMMAND__OF_NODE_UP + ARRAY_COUNT(META_HANDLERS) ==
                   META__COMMAND__OF_BARRIER,
               "a handler for each command");

static void *
meta_arena_alloc(void *arg, size_t size)
{
    struct meta_arena *arena = arg;
    size_t room = META_ARENA_SIZE - arena->used;
    void *at = NULL;

    ASSERT(arena->used <= META_ARENA_SIZE);
    if (size > room) {
        return NULL;
    }
    at = arena->bytes + arena->used;
    size = (size + META_ARENA_ALIGN - 1) & ~(size_t)(META_ARENA_ALIGN - 1);
    arena->used += MIN(size, room);
    return at;
}

static void
meta_arena_free(void *arg, void *at)
{
    (void)arg; /* all at once, after the command */
    (void)at;
}

struct meta_machine *
meta_machine_new(const struct meta_events *events)
{
    struct meta_machine *m = mem_zalloc(1, sizeof(*m));

    meta_state_init(m);
    if (events != NULL) {
        m->events = *events;
    }
    return m;
}

void
meta_machine_free(struct meta_machine **m)
{
    struct meta_machine *old = *m;

    if (old == NULL) {
        return;
    }
    *m = NULL;
    meta_state_deinit(old);
    mem_free(old);
}

static enum meta_status
meta_apply_cluster_name(struct meta_machine *m, const Meta__Command *c)
{
    struct meta_text name = meta_field(&c->cluster_name->name);

    if (name.size > QR_NAME_SIZE_MAX) {
        return META_MALFORMED;
    }
    mem_free(m->cluster_name);
    m->cluster_name = mem_strndup(name.data, name.size);
    m->cluster_name_size = name.size;
    return META_OK;
}

static enum meta_status
meta_apply_command(struct meta_machine *m, const Meta__Command *c,
                   struct meta_outcome *out)
{
    size_t at = 0;

    ASSERT(m->applied == out->index);
    ASSERT(out->group == 0);
    if (c->of_case == META__COMMAND__OF_BARRIER) {
        return META_OK;
    }
    if (c->of_case == META__COMMAND__OF_CLUSTER_NAME) {
        return meta_apply_cluster_name(m, c);
    }
    if (c->of_case == META__COMMAND__OF_NODE_REPLACE) {
        return meta_apply_node_replace(m, c, out);
    }
    if (c->of_case < META__COMMAND__OF_NODE_UP) {
        return META_MALFORMED;
    }
    at = (size_t)c->of_case - META__COMMAND__OF_NODE_UP;
    ASSERT(at < ARRAY_COUNT(META_HANDLERS));
    return META_HANDLERS[at](m, c, out);
}

/* The proposer of C, which was applied before, may have missed what came of it
 * (its copy was replaced meanwhile): say what is to be seen now. */
static enum meta_status
meta_applied_before(const struct meta_machine *m, const Meta__Command *c,
                    struct meta_outcome *out)
{
    const struct meta_vhost_record *vhost = NULL;
    const struct meta_queue_record *queue = NULL;

    ASSERT(out->session != 0);
    if (c->of_case == META__COMMAND__OF_EXCHANGE_DECLARE) {
        return META_EXISTS;
    }
    if (c->of_case != META__COMMAND__OF_QUEUE_DECLARE) {
        return META_OK;
    }
    vhost = meta_vhost_get(m, meta_field(&c->queue_declare->vhost));
    if (vhost == NULL) {
        return META_NO_VHOST;
    }
    queue = meta_queue_get(vhost, meta_field(&c->queue_declare->name));
    out->group = queue != NULL ? queue->pub.group : 0;
    return META_EXISTS;
}

/* Apply C unless it was before, or its proposer's time is over. */
static enum meta_status
meta_apply_once(struct meta_machine *m, const Meta__Command *c,
                struct meta_outcome *out)
{
    switch (meta_session_note(m, c->session, c->request)) {
    case META_REQUEST_APPLIED:
        return meta_applied_before(m, c, out);
    case META_REQUEST_STALE:
        return META_REFUSED;
    case META_REQUEST_NEW:
    default:
        return meta_apply_command(m, c, out);
    }
}

/* Apply the command in SIZE bytes at BODY and report its outcome. */
static void
meta_apply_one(struct meta_machine *m, const uint8_t *body, size_t size)
{
    ProtobufCAllocator allocator = {meta_arena_alloc, meta_arena_free,
                                    &m->arena};
    struct meta_outcome out = {.index = m->applied, .status = META_MALFORMED};
    Meta__Command *c = NULL;

    ASSERT(list_is_empty(&m->doomed));
    if (m->arena.bytes == NULL) {
        m->arena.bytes = mem_alloc(META_ARENA_SIZE);
    }
    m->arena.used = 0;
    if (size <= META_COMMAND_SIZE_MAX) {
        c = meta__command__unpack(&allocator, size, body);
    }
    if (c != NULL) {
        out.session = c->session;
        out.request = c->request;
        out.status = meta_apply_once(m, c, &out);
    }
    ASSERT(list_is_empty(&m->doomed));
    if (m->events.on_outcome != NULL) {
        m->events.on_outcome(m->events.arg, &out);
    }
}

/* Behind the log in which entries were lost, ids go on above all that those can
 * have given out: their queues' replicas may be in the store still. */
static void
meta_mend(struct meta_machine *m)
{
    if (m->torn != 0 && m->applied > m->torn) {
        m->group_next += META_GROUPS_LOST_MAX * m->losses.count;
        m->torn = 0;
    }
}

void
meta_machine_pass(struct meta_machine *m, qr_index index, qr_index until,
                  uint64_t time_ms)
{
    struct meta_losses *l = &m->losses;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    ASSERT(index > m->applied);
    ASSERT(until >= index);
    m->applied = index;
    m->time_ms = time_ms;
    l->first = l->count == 0 ? index : l->first;
    l->last = index;
    l->time_ms = time_ms;
    l->count++;
    m->torn = MAX(m->torn, until);
}

void
meta_losses(const struct meta_machine *m, struct meta_losses *out)
{
    OBJ_CHECK(m, META_MACHINE_MAGIC);
    *out = m->losses;
}

/* Whether C declares a queue that M does not have. */
static bool
meta_is_new(struct meta_machine *m, const Meta__Command *c)
{
    const Meta__QueueDeclare *declare = c->queue_declare;
    struct meta_vhost_record *vhost;

    if (c->of_case != META__COMMAND__OF_QUEUE_DECLARE) {
        return false;
    }
    vhost = meta_vhost_get(m, meta_field(&declare->vhost));
    return vhost != NULL &&
           meta_queue_get(vhost, meta_field(&declare->name)) == NULL;
}

/* One command, SIZE bytes at BODY. */
static void
meta_stamp_one(struct meta_machine *m, struct buf *out, const uint8_t *body,
               size_t size, qr_group_id *next)
{
    Meta__Command *c = size <= META_COMMAND_SIZE_MAX
                           ? meta__command__unpack(NULL, size, body)
                           : NULL;
    size_t packed;

    if (c != NULL && meta_is_new(m, c)) {
        c->queue_declare->group = (*next)++;
        packed = meta__command__get_packed_size(c);
        buf_put_varint(out, packed);
        (void)meta__command__pack(c, buf_extend(out, packed));
    } else {
        buf_put_blob(out, body, size);
    }
    if (c != NULL) {
        meta__command__free_unpacked(c, NULL);
    }
}

void
meta_machine_stamp(struct meta_machine *m, struct buf *out,
                   const void *commands, size_t size, qr_group_id *next)
{
    struct cursor c;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    ASSERT(*next >= QR_GROUP_FIRST_QUEUE);
    cursor_init(&c, commands, size);
    while (cursor_left(&c) > 0) {
        const uint8_t *at = c.at;
        size_t left = cursor_left(&c);
        size_t command_size = 0;
        const uint8_t *command = cursor_blob(&c, &command_size);

        if (command == NULL) {
            buf_put(out, at, left);
            return;
        }
        meta_stamp_one(m, out, command, command_size, next);
    }
}

void
meta_machine_apply(struct meta_machine *m, qr_index index, uint64_t time_ms,
                   const void *body, size_t size)
{
    struct cursor c;
    const uint8_t *command = NULL;
    size_t command_size = 0;
    struct meta_outcome bad = {.index = index, .status = META_MALFORMED};

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    ASSERT(index > m->applied);
    m->applied = index;
    m->time_ms = time_ms;
    meta_mend(m);
    cursor_init(&c, body, size);
    while (cursor_left(&c) > 0) {
        command = cursor_blob(&c, &command_size);
        if (command == NULL) {
            if (m->events.on_outcome != NULL) {
                m->events.on_outcome(m->events.arg, &bad);
            }
            return;
        }
        meta_apply_one(m, command, command_size);
    }
}

qr_index
meta_applied(const struct meta_machine *m)
{
    OBJ_CHECK(m, META_MACHINE_MAGIC);
    return m->applied;
}

qr_group_id
meta_group_next(const struct meta_machine *m)
{
    OBJ_CHECK(m, META_MACHINE_MAGIC);
    return m->group_next;
}

struct meta_text
meta_cluster_name(const struct meta_machine *m)
{
    OBJ_CHECK(m, META_MACHINE_MAGIC);
    return m->cluster_name != NULL
               ? meta_text(m->cluster_name, m->cluster_name_size)
               : meta_text("", 0);
}
