/* Commands in, effects out.
 *
 * An apply carries out the commands of one entry, one after the other: a
 * session lets each pass once and in order, and a table says who handles what
 * passed. Then, once for the whole entry, what is ready goes to the consumers
 * in turn. So the effects of an entry are, in this order: the results of its
 * commands, each with the delivery that a GET brought; the deliveries; APPLIED
 * and GAP, one each a session; UNUSED. A consumer cancelled in an entry gets
 * nothing from it, and the cost of looking for takers is paid once.
 *
 * Nothing here knows the time, rolls dice or looks at an address: the same
 * entries make the same effects and the same state everywhere. */
#include "machine/queue/queue_machine.h"

#include <quorate/error.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "machine/queue/queue_state.h"

enum {
    EFFECTS_CAPACITY_MIN = 64
};

/* One apply's context. */
struct queue_apply {
    struct queue_machine *m;
    struct queue_effects *effects;
    const uint8_t *body;
    qr_index index;
};

typedef void queue_handler(struct queue_apply *a, struct queue_session *s,
                           const struct queue_command *cmd);

void
queue_effects_init(struct queue_effects *e)
{
    ASSERT(e != NULL);
    memset(e, 0, sizeof(*e));
}

void
queue_effects_deinit(struct queue_effects *e)
{
    ASSERT(e != NULL);
    mem_free(e->items);
    queue_effects_init(e);
}

void
queue_effects_clear(struct queue_effects *e)
{
    ASSERT(e->count <= e->capacity);
    e->count = 0;
    if (e->capacity > QUEUE_EFFECTS_KEPT) {
        queue_effects_deinit(e);
    }
}

struct queue_effect *
queue_effects_add(struct queue_effects *e, enum queue_effect_kind kind)
{
    struct queue_effect *effect = NULL;

    ASSERT(e->count <= e->capacity);
    if (e->count == e->capacity) {
        e->capacity = MAX(e->capacity * 2, (size_t)EFFECTS_CAPACITY_MIN);
        e->items = mem_realloc(e->items, e->capacity * sizeof(*e->items));
    }
    effect = &e->items[e->count];
    e->count++;
    memset(effect, 0, sizeof(*effect));
    effect->kind = kind;
    return effect;
}

struct queue_machine *
queue_machine_new(void)
{
    struct queue_machine *m = mem_zalloc(1, sizeof(*m));

    m->magic = QUEUE_MACHINE_MAGIC;
    map_init(&m->sessions);
    list_init(&m->session_list);
    list_init(&m->touched);
    list_init(&m->turns);
    queue_ready_init(&m->ready);
    return m;
}

void
queue_machine_free(struct queue_machine **m)
{
    struct queue_machine *machine = *m;
    struct list *it = NULL;
    struct list *tmp = NULL;

    OBJ_CHECK(machine, QUEUE_MACHINE_MAGIC);
    list_foreach_safe (it, tmp, &machine->session_list) {
        queue_session_close(machine,
                            list_entry(it, struct queue_session, sibling));
    }
    ASSERT(machine->consumer_count == 0);
    map_deinit(&machine->sessions);
    queue_ready_deinit(&machine->ready);
    queue_losses_free(machine);
    mem_free(machine->dead);
    machine->magic = 0;
    mem_free(machine);
    *m = NULL;
}

/* Keep and report the outcome of S's command CMD. The caller may add to the
 * kept result, but before this. */
static void
queue_apply_result(struct queue_apply *a, struct queue_session *s,
                   const struct queue_command *cmd,
                   const struct queue_result *result)
{
    ASSERT(cmd->seq <= s->applied);
    ASSERT_IMPLIES(a->m->losses == NULL, cmd->seq == s->applied);
    if (cmd->seq < s->result.seq) {
        return; /* jumped over, and yet to come: see queue_losses.c */
    }
    s->result = *result;
    s->result.seq = cmd->seq;
    s->result.consumer = cmd->consumer;
    queue_session_add_result(s, a->effects);
}

static void
queue_apply_status(struct queue_apply *a, struct queue_session *s,
                   const struct queue_command *cmd, enum queue_status status)
{
    struct queue_result result = {.status = status};

    queue_apply_result(a, s, cmd, &result);
}

static void
queue_apply_enqueue(struct queue_apply *a, struct queue_session *s,
                    const struct queue_command *cmd)
{
    struct queue_message message = {
        .index = a->index,
        .offset = (uint32_t)(cmd->bytes - a->body),
        .size = (uint32_t)cmd->size,
    };

    ASSERT(s != NULL);
    queue_ready_push(&a->m->ready, &message);
}

static enum queue_status
queue_apply_may_attach(const struct queue_apply *a,
                       const struct queue_session *s,
                       const struct queue_command *cmd)
{
    const struct queue_machine *m = a->m;
    bool is_exclusive = (cmd->flags & QUEUE_ATTACH_EXCLUSIVE) != 0;

    /* Ids are used once; whoever does not keep to that is refused. */
    if (queue_consumer_find(s, cmd->consumer) != NULL ||
        m->consumer_count == QUEUE_CONSUMERS_MAX) {
        return QUEUE_LIMIT;
    }
    if (MUTATION(share_exclusive)) {
        return QUEUE_OK;
    }
    if (m->exclusive != NULL || (is_exclusive && m->attached_count > 0)) {
        return QUEUE_EXCLUSIVE;
    }
    return QUEUE_OK;
}

static void
queue_apply_attach(struct queue_apply *a, struct queue_session *s,
                   const struct queue_command *cmd)
{
    enum queue_status status = queue_apply_may_attach(a, s, cmd);

    if (status == QUEUE_OK) {
        queue_consumer_new(a->m, s, QUEUE_CONSUMER_ATTACHED, cmd);
    }
    queue_apply_status(a, s, cmd, status);
}

static void
queue_apply_credit(struct queue_apply *a, struct queue_session *s,
                   const struct queue_command *cmd)
{
    struct queue_consumer *c = queue_consumer_find(s, cmd->consumer);

    ASSERT(cmd->credit <= QUEUE_CREDIT_MAX);
    if (c != NULL) {
        c->credit = cmd->credit;
        queue_consumer_update(a->m, c);
    }
}

/* SETTLE, DISCARD and RETURN. Ids that are not held are passed over: they were
 * settled before. */
static void
queue_apply_ids(struct queue_apply *a, struct queue_session *s,
                const struct queue_command *cmd)
{
    struct queue_consumer *c = queue_consumer_find(s, cmd->consumer);
    struct cursor ranges;
    uint64_t first = 0;
    uint64_t last = 0;

    if (c == NULL) {
        return;
    }
    cursor_init(&ranges, cmd->ranges, cmd->ranges_size);
    while (queue_ranges_next(&ranges, &first, &last)) {
        if (cmd->kind == QUEUE_RETURN) {
            queue_consumer_return(a->m, c, first, last);
        } else {
            queue_consumer_drop(a->m, c, first, last);
        }
    }
    ASSERT(!ranges.bad);
    queue_consumer_settled(a->m, c);
}

static void
queue_apply_cancel(struct queue_apply *a, struct queue_session *s,
                   const struct queue_command *cmd)
{
    struct queue_consumer *c = queue_consumer_find(s, cmd->consumer);

    if (c == NULL || c->state == QUEUE_CONSUMER_CANCELLED) {
        queue_apply_status(a, s, cmd, QUEUE_NO_CONSUMER);
        return;
    }
    queue_consumer_cancel(a->m, c);
    queue_consumer_settled(a->m, c);
    queue_apply_status(a, s, cmd, QUEUE_OK);
}

static void
queue_apply_detach(struct queue_apply *a, struct queue_session *s,
                   const struct queue_command *cmd)
{
    struct queue_consumer *c = queue_consumer_find(s, cmd->consumer);

    if (c == NULL) {
        queue_apply_status(a, s, cmd, QUEUE_NO_CONSUMER);
        return;
    }
    queue_consumer_return(a->m, c, 0, UINT64_MAX);
    queue_consumer_free(a->m, c);
    queue_apply_status(a, s, cmd, QUEUE_OK);
}

/* The consumer of a GET, made if need be, or NULL and why. */
static struct queue_consumer *
queue_apply_getter(struct queue_apply *a, struct queue_session *s,
                   const struct queue_command *cmd, enum queue_status *status)
{
    struct queue_consumer *c = queue_consumer_find(s, cmd->consumer);

    *status = QUEUE_OK;
    if (c != NULL && c->state == QUEUE_CONSUMER_CANCELLED) {
        *status = QUEUE_NO_CONSUMER;
        return NULL;
    }
    if (queue_ready_count(&a->m->ready) == 0) {
        *status = QUEUE_EMPTY;
        return NULL;
    }
    if (c == NULL && a->m->consumer_count < QUEUE_CONSUMERS_MAX) {
        c = queue_consumer_new(a->m, s, QUEUE_CONSUMER_GETS, cmd);
    }
    if (c == NULL || c->held_count == QUEUE_CREDIT_MAX) {
        *status = QUEUE_LIMIT;
        return NULL;
    }
    return c;
}

static void
queue_apply_get(struct queue_apply *a, struct queue_session *s,
                const struct queue_command *cmd)
{
    struct queue_result result = {0};
    struct queue_consumer *c = queue_apply_getter(a, s, cmd, &result.status);

    if (c == NULL) {
        queue_apply_result(a, s, cmd, &result);
        return;
    }
    result.delivery = c->delivery_next;
    result.value = queue_ready_count(&a->m->ready) - 1;
    queue_apply_result(a, s, cmd, &result);
    queue_consumer_deliver(a->m, c, a->effects);
}

static void
queue_apply_purge(struct queue_apply *a, struct queue_session *s,
                  const struct queue_command *cmd)
{
    struct queue_machine *m = a->m;
    struct queue_result result = {.value = queue_ready_count(&m->ready)};

    m->dead_bytes += m->ready.bytes;
    queue_ready_clear(&m->ready);
    queue_apply_result(a, s, cmd, &result);
}

static queue_handler *const queue_handlers[] = {
    [QUEUE_ENQUEUE] = queue_apply_enqueue, [QUEUE_ATTACH] = queue_apply_attach,
    [QUEUE_CREDIT] = queue_apply_credit,   [QUEUE_SETTLE] = queue_apply_ids,
    [QUEUE_RETURN] = queue_apply_ids,      [QUEUE_DISCARD] = queue_apply_ids,
    [QUEUE_CANCEL] = queue_apply_cancel,   [QUEUE_DETACH] = queue_apply_detach,
    [QUEUE_GET] = queue_apply_get,         [QUEUE_PURGE] = queue_apply_purge,
};

static void
queue_apply_command(struct queue_apply *a, const struct queue_command *cmd)
{
    struct queue_machine *m = a->m;
    struct queue_session *s = NULL;
    bool is_full = false;

    if (cmd->kind == QUEUE_SESSION_DOWN) {
        queue_session_down(m, cmd->node, cmd->boot);
        return;
    }
    if (cmd->kind == QUEUE_SET_ASIDE) {
        queue_losses_set_aside(m, a->index, cmd);
        return;
    }
    ASSERT(cmd->kind < ARRAY_COUNT(queue_handlers));
    is_full =
        cmd->kind == QUEUE_ENQUEUE &&
        queue_ready_count(&m->ready) + m->held_count >= QUEUE_MESSAGES_MAX;
    s = queue_session_admit(m, cmd, is_full, a->effects);
    if (s != NULL) {
        queue_handlers[cmd->kind](a, s, cmd);
    }
}

/* Give what is ready to those who have credit, in turn. */
static void
queue_apply_assign(struct queue_apply *a)
{
    struct queue_machine *m = a->m;

    while (!list_is_empty(&m->turns) && queue_ready_count(&m->ready) > 0) {
        struct queue_consumer *c =
            list_entry(m->turns.next, struct queue_consumer, turn);

        queue_consumer_deliver(m, c, a->effects);
    }
}

void
queue_machine_apply(struct queue_machine *m, qr_index index, uint64_t time_ms,
                    const void *body, size_t size,
                    struct queue_effects *effects)
{
    struct queue_apply a = {m, effects, body, index};
    struct queue_command cmd;
    struct cursor c;

    OBJ_CHECK(m, QUEUE_MACHINE_MAGIC);
    ASSERT(index > m->index_last);
    ASSERT(size <= UINT32_MAX);
    m->index_last = index;
    m->time_ms = time_ms; /* nothing but the records of losses has it */
    cursor_init(&c, body, size);
    while (cursor_left(&c) > 0) {
        if (queue_command_next(&c, &cmd) != 0) {
            m->malformed++;
            break;
        }
        queue_apply_command(&a, &cmd);
    }
    queue_apply_assign(&a);
    queue_session_report(m, effects);
    if (m->is_unused) {
        queue_effects_add(effects, QUEUE_EFFECT_UNUSED);
        m->is_unused = false;
    }
}

size_t
queue_machine_resend(const struct queue_machine *m, uint64_t session,
                     uint64_t consumer, uint64_t from, size_t max,
                     struct queue_effects *effects)
{
    const struct queue_session *s = map_get(&m->sessions, session);
    const struct queue_consumer *c =
        s != NULL ? queue_consumer_find(s, consumer) : NULL;
    size_t count = 0;

    ASSERT(m->magic == QUEUE_MACHINE_MAGIC);
    if (c == NULL || MUTATION(drop_resend)) {
        return 0;
    }
    for (size_t slot = queue_consumer_seek(c, from);
         slot < c->held.count && count < max; slot++) {
        const struct queue_held *h = queue_consumer_held(c, slot);
        struct queue_effect *e = NULL;

        if (h == NULL) {
            continue;
        }
        e = queue_effects_add(effects, QUEUE_EFFECT_DELIVER);
        e->session = session;
        e->consumer = consumer;
        e->delivery = h->delivery;
        e->count = h->item.count;
        e->message = h->item.message;
        count++;
    }
    return count;
}

uint64_t
queue_machine_session(const struct queue_machine *m, uint64_t session,
                      struct queue_effects *result)
{
    const struct queue_session *s = map_get(&m->sessions, session);

    ASSERT(m->magic == QUEUE_MACHINE_MAGIC);
    if (s == NULL) {
        return 0;
    }
    if (s->result.seq > 0) {
        queue_session_add_result(s, result);
    }
    return s->applied;
}

bool
queue_machine_is_dead(const struct queue_machine *m, uint64_t session)
{
    ASSERT(m->magic == QUEUE_MACHINE_MAGIC);
    return queue_session_is_dead(m, session);
}

void
queue_machine_counts(const struct queue_machine *m, struct queue_counts *out)
{
    ASSERT(m->magic == QUEUE_MACHINE_MAGIC);
    ASSERT(out != NULL);
    memset(out, 0, sizeof(*out));
    out->ready = queue_ready_count(&m->ready);
    out->unsettled = m->held_count;
    out->ready_bytes = m->ready.bytes;
    out->unsettled_bytes = m->held_bytes;
    out->consumers = m->attached_count;
    out->sessions = m->sessions.count;
    out->malformed = m->malformed;
    out->dead_bytes = m->dead_bytes;
    out->was_used = m->was_used;
    if (m->losses != NULL) {
        out->lost = m->losses->messages;
        out->lost_bytes = m->losses->bytes;
        out->losses = m->losses->commands;
    }
}

void
queue_machine_release_dead(struct queue_machine *m)
{
    ASSERT(m->magic == QUEUE_MACHINE_MAGIC);
    m->dead_bytes = 0;
}

/* List the consumers of S, ascending. */
static void
queue_session_foreach_consumer(
    const struct queue_session *s,
    void (*cb)(void *arg, const struct queue_consumer_info *info), void *arg)
{
    uint64_t *ids = map_keys_sorted(&s->consumers);

    for (size_t i = 0; i < s->consumers.count; i++) {
        const struct queue_consumer *c = queue_consumer_find(s, ids[i]);
        struct queue_consumer_info info = {
            .session = s->id,
            .consumer = c->id,
            .tag = c->tag,
            .tag_size = c->tag_size,
            .credit = c->credit,
            .flags = c->flags,
            .unsettled = c->held_count,
            .is_cancelled = c->state == QUEUE_CONSUMER_CANCELLED,
            .is_get = c->state == QUEUE_CONSUMER_GETS,
        };

        cb(arg, &info);
    }
    mem_free(ids);
}

void
queue_machine_foreach_consumer(
    const struct queue_machine *m,
    void (*cb)(void *arg, const struct queue_consumer_info *info), void *arg)
{
    uint64_t *ids = map_keys_sorted(&m->sessions);

    ASSERT(cb != NULL);
    for (size_t i = 0; i < m->sessions.count; i++) {
        queue_session_foreach_consumer(map_get(&m->sessions, ids[i]), cb, arg);
    }
    mem_free(ids);
}

void
queue_machine_foreach_session(const struct queue_machine *m,
                              void (*cb)(void *arg, uint64_t session),
                              void *arg)
{
    uint64_t *ids = map_keys_sorted(&m->sessions);

    ASSERT(cb != NULL);
    for (size_t i = 0; i < m->sessions.count; i++) {
        cb(arg, ids[i]);
    }
    mem_free(ids);
}
