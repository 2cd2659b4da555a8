/* One queue's replica on this shard.
 *
 * As a member it applies the log to the queue machine. While it leads it also
 *   - proposes the commands that clients send (BROKER_COMMANDS), unread;
 *   - sends each client what became of its commands, and its deliveries
 *     (BROKER_EVENTS), gathered per client and sent once a turn;
 *   - answers clients that come to a new leader (BROKER_RESUME): how far their
 *     stream was applied, and the deliveries that they have not seen;
 *   - proposes SESSION_DOWN for clients whose node has died, and SET_ASIDE for
 *     what has rotted on every replica (queue_losses.c).
 *
 * Events wait in an outbox for each client, in order. A delivery whose bytes
 * are not in memory is fetched, and what follows in that outbox waits for it.
 * Outboxes are bounded: a client's credit and its window of commands limit
 * what the machine can have for it. When the link's window is full the outbox
 * keeps its content; when the link is gone the outbox is dropped, since the
 * client will resume. */
#include "broker/queue_group.h"

#include <quorate/error.h>
#include <quorate/host.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "broker/queue_client.h"
#include "broker/queue_events.h"
#include "broker/queue_group_priv.h"
#include "broker/reconcile.h"
#include "broker/suspects.h"
#include "machine/queue/queue_command.h"
#include "shard/env.h"

enum {
    OUTBOX_RETRY_MS = 5,
    RESEND_MAX = QUEUE_CREDIT_MAX
};

static void bury(struct queue_group *g);

static void
on_retry(void *arg)
{
    queue_group_dirty(arg);
}

void
queue_group_flush(struct queue_group *g)
{
    struct env *env = g->broker->env;
    uint64_t session;
    struct queue_outbox *o;
    size_t pos;

    OBJ_CHECK(g, GROUP_MAGIC);
    list_remove(&g->dirty);
    if (g->must_bury && !timer_is_running(&g->retry)) {
        bury(g);
    }
    if (g->must_set_aside && !timer_is_running(&g->retry)) {
        queue_group_set_aside(g);
    }
    map_foreach (&g->outboxes, pos, session, o) {
        qr_node_id node = session_node(session);

        if (o->effects.count == 0 || o->is_fetching) {
            continue;
        }
        if (!queue_outbox_is_reachable(g->broker, node)) {
            ring_clear(&o->effects);
        } else if (!queue_outbox_flush(o)) {
            timers_start(&env->timers, &g->retry,
                         env->ops->now_ms(env) + OUTBOX_RETRY_MS);
        } else if (o->effects.count > 0 && !o->is_fetching &&
                   !timer_is_running(&g->retry)) {
            timers_start(&env->timers, &g->retry,
                         env->ops->now_ms(env) + OUTBOX_UNREADABLE_MS);
        }
        if (o->effects.count == 0 && !o->is_fetching && o->body_index != 0) {
            slice_unref(&o->body);
            o->body_index = 0;
        }
    }
}

/* ---- effects ---- */

/* A command of a start that is known dead was under way when it died: nobody
 * would bury its session. */
static void
check_session(struct queue_group *g, uint64_t session)
{
    struct nodes *nodes = &g->broker->nodes;

    if (nodes_is_dead(nodes, session_node(session), session_boot(session))) {
        g->must_bury = true;
    }
}

static void
perform(struct queue_group *g, const struct queue_effects *effects)
{
    struct queue_outbox *o = NULL;

    for (size_t i = 0; i < effects->count; i++) {
        const struct queue_effect *e = &effects->items[i];

        if (e->kind == QUEUE_EFFECT_UNUSED) {
            broker_queue_unused(g->broker, g->id);
            continue;
        }
        if (o == NULL || o->session != e->session) {
            o = queue_outbox_get(g, e->session);
            check_session(g, e->session);
        }
        *(struct queue_effect *)ring_push_back(&o->effects) = *e;
    }
    if (effects->count > 0) {
        queue_group_dirty(g);
    }
}

static void
machine_apply(void *arg, const struct qr_entry *entry)
{
    struct queue_group *g = arg;
    struct queue_effects *effects = &g->broker->effects;
    struct queue_counts before;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (entry->body == NULL && !entry->is_missing) {
        return;
    }
    queue_machine_counts(g->machine, &before);
    ASSERT(effects->count == 0);
    if (entry->is_missing) {
        queue_machine_pass(g->machine, entry->index, entry->lost_until,
                           entry->time_ms);
    } else {
        queue_machine_apply(g->machine, entry->index, entry->time_ms,
                            entry->body->data, entry->body->size, effects);
    }
    queue_group_note_losses(g, before.losses, before.lost);
    if (entry->is_leading || MUTATION(replay_effects)) {
        perform(g, effects);
    }
    queue_effects_clear(effects);
}

static void
machine_snapshot(void *arg, struct buf *manifest, struct ranges *live)
{
    struct queue_group *g = arg;

    OBJ_CHECK(g, GROUP_MAGIC);
    queue_machine_snapshot(g->machine, manifest, live);
    queue_machine_release_dead(g->machine);
}

static int
machine_restore(void *arg, qr_index index, const void *manifest, size_t size)
{
    struct queue_group *g = arg;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT_IMPLIES(size > 0, index > 0);
    return queue_machine_restore(g->machine, manifest, size);
}

static uint64_t
machine_dead_bytes(void *arg)
{
    const struct queue_group *g = arg;
    struct queue_counts counts;

    queue_machine_counts(g->machine, &counts);
    return counts.dead_bytes;
}

/* ---- standing ---- */

static void
send_leader(struct queue_group *g, struct address to)
{
    struct broker *b = g->broker;
    struct frame *f = frame_new(FRAME_CALL, BROKER_LEADER);
    bool is_serving =
        g->standing.is_leader || g->standing.leader != b->env->node;
    struct qr_group_status status = {0};
    struct buf content;

    if (g->raft != NULL) { /* else it is being opened */
        qr_group_status(g->raft, &status);
    }
    buf_init(&content);
    /* Elected but not yet serving: those who ask hear when it is. */
    buf_put_varint(&content, is_serving ? g->standing.leader : 0);
    buf_put_varint(&content, status.blocked);
    buf_put_varint(&content, status.is_lost ? 1 : 0);
    frame_add(f, slice_copy(content.data, content.size));
    buf_deinit(&content);
    f->group = g->id;
    f->arg = g->standing.term;
    (void)b->env->ops->post(b->env, to, &f);
}

static void
announce_to(void *arg, uint64_t session)
{
    struct queue_group *g = arg;

    if (queue_outbox_is_reachable(g->broker, session_node(session))) {
        send_leader(g, queue_outbox_address(session));
    }
}

struct dead_scan {
    struct queue_group *group;
    struct buf commands;
    qr_node_id node; /* last one proposed */
};

/* Sessions come in ascending order: by node, then boot. */
static void
scan_session(void *arg, uint64_t session)
{
    struct dead_scan *scan = arg;
    struct broker *b = scan->group->broker;
    qr_node_id node = session_node(session);
    const struct meta_node *known = meta_node(b->meta, node);
    const struct node_state *state;
    uint32_t dead;

    if (node == 0 || node == scan->node) {
        return;
    }
    if (node == b->env->node) {
        dead = b->env->boot - 1;
    } else if (known != NULL && known->is_removed) {
        dead = UINT32_MAX;
    } else {
        state = nodes_get(&b->nodes, node);
        dead = state == NULL ? 0 : state->boot_dead;
    }
    if (session_boot(session) <= dead) {
        queue_put_session_down(&scan->commands, node, dead);
        scan->node = node;
    }
}

/* Propose SESSION_DOWN for every session whose node's start is known dead. */
static void
bury(struct queue_group *g)
{
    struct dead_scan scan = {.group = g};
    struct broker *b = g->broker;
    struct slice piece;

    g->must_bury = false;
    if (!g->standing.is_leader) {
        return;
    }
    buf_init(&scan.commands);
    queue_machine_foreach_session(g->machine, scan_session, &scan);
    if (scan.commands.size > 0) {
        piece = slice_copy(scan.commands.data, scan.commands.size);
        /* Lost with the leadership: the next leader scans again. */
        if (qr_group_propose(g->raft, &piece, 1) == -QR_EBUSY) {
            g->must_bury = true;
            timers_start(&b->env->timers, &g->retry,
                         b->env->ops->now_ms(b->env) + OUTBOX_UNREADABLE_MS);
        }
        slice_unref(&piece);
    }
    buf_deinit(&scan.commands);
}

/* The effect that says so may have been an earlier leader's to perform. */
static void
check_unused(struct queue_group *g)
{
    struct queue_counts counts;

    queue_machine_counts(g->machine, &counts);
    if (counts.was_used && counts.consumers == 0) {
        broker_queue_unused(g->broker, g->id);
    }
}

static void
machine_standing(void *arg, const struct qr_standing *standing)
{
    struct queue_group *g = arg;
    struct queue_client *client;
    bool was_leader = g->standing.is_leader;

    OBJ_CHECK(g, GROUP_MAGIC);
    g->standing = *standing;
    if (was_leader || standing->is_leader) {
        queue_outboxes_drop(g);
        queue_machine_foreach_session(g->machine, announce_to, g);
    }
    if (standing->is_leader && !was_leader) {
        log_debug(g->broker->log, "queue", "group %llu: leader, term %llu",
                  (unsigned long long)g->id,
                  (unsigned long long)standing->term);
    }
    ranges_clear(&g->asides);
    g->must_set_aside = standing->is_leader;
    if (standing->is_leader) {
        queue_group_dirty(g);
        bury(g);
        check_unused(g);
        reconcile_group(g->broker, g->id);
    }
    client = map_get(&g->broker->clients, g->id);
    if (client != NULL) {
        queue_client_hint(client, standing->leader, standing->term);
    }
}

static void
group_free(struct queue_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    queue_outboxes_drop(g);
    map_deinit(&g->outboxes);
    ranges_deinit(&g->asides);
    timers_stop(&g->broker->env->timers, &g->retry);
    list_remove(&g->dirty);
    if (map_get(&g->broker->groups, g->id) == g) {
        (void)map_remove(&g->broker->groups, g->id);
    }
    queue_machine_free(&g->machine);
    g->magic = 0;
    mem_free(g);
}

/* The replica is gone. If the metadata have a later incarnation for this node,
 * which came while this one was there, it is opened now. */
static void
machine_gone(void *arg)
{
    struct queue_group *g = arg;
    struct broker *b = g->broker;
    qr_group_id id = g->id;
    qr_replica_id self = g->self;

    group_free(g);
    broker_group_gone(b, id, self);
}

static const struct qr_machine_ops machine_ops = {
    .apply = machine_apply,
    .snapshot = machine_snapshot,
    .restore = machine_restore,
    .standing = machine_standing,
    .members = NULL,
    .gone = machine_gone,
    .dead_bytes = machine_dead_bytes,
};

/* ---- life ---- */

static struct queue_group *
group_new(struct broker *b, qr_group_id id)
{
    struct queue_group *g = mem_zalloc(1, sizeof(*g));

    g->magic = GROUP_MAGIC;
    g->broker = b;
    g->id = id;
    g->machine = queue_machine_new();
    map_init(&g->outboxes);
    ranges_init(&g->asides);
    list_init(&g->dirty);
    timer_init(&g->retry, on_retry, g);
    return g;
}

/* The replica of QUEUE was not opened. One that is newer than this node's copy
 * of the metadata waits for the rest of them: no error, every restart amid a
 * replacement may meet it. */
static void
log_refused(const struct broker *b, const struct meta_queue *queue, int rv,
            const struct error *err)
{
    if (rv == -QR_ESTALE) {
        log_info(b->log, "queue",
                 "queue '%.*s' in vhost '%.*s': its replica here is newer than "
                 "this node's copy of the metadata; it starts when that has "
                 "caught up",
                 (int)queue->name.size, queue->name.data,
                 (int)queue->vhost.size, queue->vhost.data);
        return;
    }
    log_error(b->log, "queue", "queue '%.*s' in vhost '%.*s': %s",
              (int)queue->name.size, queue->name.data, (int)queue->vhost.size,
              queue->vhost.data, err->text);
}

struct queue_group *
queue_group_open(struct broker *b, const struct meta_queue *queue)
{
    struct queue_group *g = group_new(b, queue->group);
    struct qr_member members[QR_MEMBERS_MAX];
    struct qr_group_config config = {.id = queue->group,
                                     .members = members,
                                     .ops = &machine_ops,
                                     .machine = g};
    struct error err;
    int rv;

    ASSERT(map_get(&b->groups, queue->group) == NULL);
    for (size_t i = 0; i < queue->members_count; i++) {
        const struct meta_member *m = &queue->members[i];

        if (qr_replica_node(m->replica) == b->env->node) {
            config.self = m->replica;
        }
        if (m->is_voter && meta_queue_is_original(queue)) {
            members[config.members_count].id = m->replica;
            members[config.members_count].role = QR_ROLE_VOTER;
            config.members_count++;
        }
    }
    ASSERT(config.self != 0);
    g->self = config.self;
    config.stand = queue->stand == b->env->node && config.members_count > 0;
    config.is_volatile = queue->owner.node != 0;
    config.is_fresh = suspects_is_fresh(b, queue);
    error_clear(&err);
    (void)map_put(&b->groups, g->id, g);
    rv = qr_group_open(b->host, &config, &g->raft, &err);
    if (rv != 0) {
        log_refused(b, queue, rv, &err);
        group_free(g);
        return NULL;
    }
    return g;
}

void
queue_group_delete(struct queue_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    qr_group_delete(g->raft);
}

void
queue_group_free(struct queue_group *g)
{
    group_free(g);
}

/* ---- frames ---- */

/* Malformed commands would cut the entry short for everybody in it. *FIRST is
 * the number of the first; *HAS_CONTENT whether there is a message. */
static bool
is_well_formed(const struct slice *commands, uint64_t *first, bool *has_content)
{
    struct queue_command command;
    struct cursor c;

    *first = 0;
    *has_content = false;
    cursor_init(&c, commands->data, commands->size);
    while (cursor_left(&c) > 0) {
        if (queue_command_next(&c, &command) != 0) {
            return false;
        }
        *first = *first == 0 ? command.seq : *first;
        *has_content = *has_content || command.kind == QUEUE_ENQUEUE;
    }
    return !c.bad;
}

static void
on_commands(struct queue_group *g, struct address from, struct frame *f)
{
    struct broker *b = g->broker;
    struct frame *answer;
    uint64_t first;
    bool has_content;
    int rv;

    if (f->content_count != 1 || f->content[0].size == 0 ||
        !is_well_formed(&f->content[0], &first, &has_content)) {
        log_error(b->log, "queue",
                  "node %u sent commands to group %llu that are malformed; "
                  "dropped",
                  from.node, (unsigned long long)g->id);
        return;
    }
    /* No room for messages: the client sends them again. */
    rv = g->standing.is_leader && has_content && !qr_group_has_room(g->raft)
             ? -QR_EBUSY
             : qr_group_propose(g->raft, f->content, f->content_count);
    if (rv == 0) {
        return;
    }
    if (rv == -QR_EBUSY) {
        answer = frame_new(FRAME_CALL, BROKER_BUSY);
        answer->group = g->id;
        answer->arg = first;
        (void)b->env->ops->post(b->env, from, &answer);
        return;
    }
    send_leader(g, from);
}

static void
send_resumed(struct queue_group *g, struct address from, uint64_t session)
{
    struct broker *b = g->broker;
    struct frame *f = frame_new(FRAME_CALL, BROKER_RESUMED);
    struct queue_effects *effects = &b->effects;
    struct buf content;

    ASSERT(effects->count == 0);
    buf_init(&content);
    buf_put_varint(&content,
                   queue_machine_session(g->machine, session, effects));
    if (effects->count > 0) {
        queue_event_put(&content, &effects->items[0]); /* last result */
    }
    queue_effects_clear(effects);
    frame_add(f, slice_copy(content.data, content.size));
    buf_deinit(&content);
    f->group = g->id;
    f->arg = g->standing.term;
    (void)b->env->ops->post(b->env, from, &f);
}

static void
send_dead(struct queue_group *g, struct address from, uint64_t session)
{
    struct broker *b = g->broker;
    struct frame *f = frame_new(FRAME_CALL, BROKER_DEAD);

    f->group = g->id;
    f->arg = session;
    (void)b->env->ops->post(b->env, from, &f);
}

/* content: varint session, then (varint consumer, varint next delivery)*. */
static void
on_resume(struct queue_group *g, struct address from, struct frame *f)
{
    struct queue_effects *effects = &g->broker->effects;
    struct slice content;
    struct queue_outbox *o;
    struct cursor c;
    uint64_t session;

    if (!g->standing.is_leader) {
        send_leader(g, from);
        return;
    }
    content = frame_content(f);
    cursor_init(&c, content.data, content.size);
    session = cursor_varint(&c);
    if (c.bad || session_node(session) != from.node ||
        session_shard(session) != from.shard) {
        slice_unref(&content);
        return;
    }
    if (queue_machine_is_dead(g->machine, session)) {
        send_dead(g, from, session);
        slice_unref(&content);
        return;
    }
    o = map_remove(&g->outboxes, session);
    if (o != NULL) {
        queue_outbox_free(o);
    }
    send_resumed(g, from, session);
    ASSERT(effects->count == 0);
    while (cursor_left(&c) > 0) {
        uint64_t consumer = cursor_varint(&c);
        uint64_t next = cursor_varint(&c);

        if (c.bad) {
            break;
        }
        (void)queue_machine_resend(g->machine, session, consumer, next,
                                   RESEND_MAX, effects);
    }
    perform(g, effects);
    queue_effects_clear(effects);
    slice_unref(&content);
}

static void
on_query(struct queue_group *g, struct address from, const struct frame *f)
{
    struct broker *b = g->broker;
    struct frame *answer;
    struct queue_counts counts;
    struct buf content;

    if (!g->standing.is_leader) {
        send_leader(g, from);
        return;
    }
    queue_machine_counts(g->machine, &counts);
    buf_init(&content);
    buf_put_varint(&content, counts.ready);
    buf_put_varint(&content, counts.unsettled);
    buf_put_varint(&content, counts.consumers);
    answer = frame_new(FRAME_CALL, BROKER_COUNTS);
    frame_add(answer, slice_copy(content.data, content.size));
    buf_deinit(&content);
    answer->group = g->id;
    answer->arg = f->arg;
    (void)b->env->ops->post(b->env, from, &answer);
}

static void
answer_unknown(struct broker *b, struct address from, const struct frame *f)
{
    struct frame *answer = frame_new(FRAME_CALL, BROKER_LEADER);
    uint8_t nobody = 0;

    frame_add(answer, slice_copy(&nobody, 1));
    answer->group = f->group;
    (void)b->env->ops->post(b->env, from, &answer);
}

void
queue_group_frame(struct broker *b, struct queue_group *g, struct address from,
                  struct frame **frame)
{
    struct frame *f = *frame;

    if (g == NULL) {
        answer_unknown(b, from, f);
        return;
    }
    OBJ_CHECK(g, GROUP_MAGIC);
    switch (f->kind) {
    case BROKER_COMMANDS:
        on_commands(g, from, f);
        break;
    case BROKER_RESUME:
        on_resume(g, from, f);
        break;
    case BROKER_QUERY:
        on_query(g, from, f);
        break;
    default:
        break;
    }
}

void
queue_group_node_dead(struct queue_group *g, const struct node_state *state)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(state->boot_dead > 0);
    bury(g);
}

void
queue_group_missing(struct queue_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    g->must_set_aside = true;
    queue_group_dirty(g);
}

/* ---- views ---- */

qr_replica_id
queue_group_self(const struct queue_group *g)
{
    return g->self;
}

struct qr_group *
queue_group_raft(const struct queue_group *g)
{
    return g->raft;
}

struct queue_machine *
queue_group_machine(const struct queue_group *g)
{
    return g->machine;
}

qr_node_id
queue_group_leader(const struct queue_group *g)
{
    return g->standing.leader;
}

struct queue_group *
queue_group_of_dirty(struct list *link)
{
    return list_entry(link, struct queue_group, dirty);
}
