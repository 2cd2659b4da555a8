/* The metadata group's replica on shard 0.
 *
 * It applies the log to shard 0's copy and passes each entry on, as it is, to
 * the other shards of this node, which apply it to theirs. When all of them
 * have, the other nodes are told (BROKER_META_APPLIED), so that whoever made a
 * change can wait until it is seen everywhere.
 *
 * Followers learn that an entry is committed from the message after it, and
 * clients wait for them: so the leader sends one, an entry that does nothing
 * (a barrier nobody waits for), instead of leaving it to the next heartbeat. */
#include "broker/meta_group.h"

#include <quorate/host.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "broker/bootstrap.h"
#include "broker/broker_priv.h"
#include "broker/joining.h"
#include "broker/meta_client.h"
#include "broker/reconcile.h"
#include "machine/meta/meta_command.h"
#include "shard/env.h"

enum {
    META_GROUP_MAGIC = 0x6d677270,
    META_ENTRY_HEAD_SIZE = 16 /* in front of a META_ENTRY */
};

struct meta_group {
    unsigned magic;
    struct broker *broker;
    struct qr_group *raft;
    struct qr_standing standing;
    qr_index shard_applied[QR_SHARDS_MAX];
    qr_index told;          /* to the other nodes */
    qr_group_id group_next; /* what queues get that we propose; see propose() */
    /* What a shard was sent did not fit its mailbox: it needs it all. */
    bool is_behind[QR_SHARDS_MAX];
    struct buf echo; /* the entry that does nothing */
    bool must_echo;  /* something else was applied as the leader */
};

static bool
post_local(struct meta_group *g, uint16_t shard, struct frame *f)
{
    struct env *env = g->broker->env;
    struct address to = {.node = env->node, .shard = shard};

    f->group = QR_GROUP_META;
    return env->ops->post(env, to, &f);
}

/* F continues the copy of SHARD. */
static void
post_copy(struct meta_group *g, uint16_t shard, struct frame *f)
{
    if (g->is_behind[shard]) {
        frame_free(&f);
    } else {
        g->is_behind[shard] = !post_local(g, shard, f);
    }
}

/* Send whole copies to the shards that are behind. */
static void
catch_up(struct meta_group *g)
{
    struct broker *b = g->broker;
    struct buf state;

    for (uint16_t i = 1; i < b->env->shards; i++) {
        struct frame *f;

        if (g->is_behind[i]) {
            f = frame_new(FRAME_CALL, BROKER_META_SNAPSHOT);
            f->arg = g->shard_applied[0];
            buf_init(&state);
            meta_machine_snapshot(b->meta, &state);
            frame_add(f, slice_copy(state.data, state.size));
            buf_deinit(&state);
            g->is_behind[i] = !post_local(g, i, f);
        }
    }
}

/* What all shards of this node have applied. */
static qr_index
applied_by_all(const struct meta_group *g)
{
    qr_index least = g->shard_applied[0];

    for (uint16_t i = 1; i < g->broker->env->shards; i++) {
        least = MIN(least, g->shard_applied[i]);
    }
    return least;
}

static void
note_applied(struct meta_group *g, uint16_t shard, qr_index index)
{
    ASSERT(shard < QR_SHARDS_MAX);
    g->shard_applied[shard] = index;
    g->broker->env->ops->wake(g->broker->env);
}

/* ---- the machine ---- */

/* Whether BODY is more than what tells followers of a commit. */
static bool
is_change(const struct meta_group *g, const struct slice *body)
{
    return body != NULL && (body->size != g->echo.size ||
                            memcmp(body->data, g->echo.data, body->size) != 0);
}

static void
machine_apply(void *arg, const struct qr_entry *entry)
{
    struct meta_group *g = arg;
    struct broker *b = g->broker;

    OBJ_CHECK(g, META_GROUP_MAGIC);
    if (entry->body != NULL) {
        meta_machine_apply(b->meta, entry->index, entry->time_ms,
                           entry->body->data, entry->body->size);
        if (MUTATION(meta_twice)) {
            meta_machine_apply(b->meta, entry->index, entry->time_ms,
                               entry->body->data, entry->body->size);
        }
    } else if (entry->is_missing) {
        meta_machine_pass(b->meta, entry->index, entry->lost_until,
                          entry->time_ms);
    } else {
        meta_machine_apply(b->meta, entry->index, entry->time_ms, NULL, 0);
    }
    g->must_echo =
        g->must_echo || (entry->is_leading && is_change(g, entry->body));
    for (uint16_t i = 1; i < b->env->shards; i++) {
        struct frame *f = frame_new(FRAME_CALL, BROKER_META_ENTRY);
        uint8_t head[META_ENTRY_HEAD_SIZE];

        put_u64le(head, entry->time_ms);
        put_u64le(head + 8, entry->lost_until);
        f->arg = entry->index;
        frame_add(f, slice_copy(head, sizeof(head)));
        if (entry->body != NULL) {
            frame_add(f, slice_ref(entry->body));
        }
        post_copy(g, i, f);
    }
    note_applied(g, 0, entry->index);
}

static void
machine_snapshot(void *arg, struct buf *manifest, struct ranges *live)
{
    struct meta_group *g = arg;

    OBJ_CHECK(g, META_GROUP_MAGIC);
    (void)live; /* the whole state is in the manifest */
    meta_machine_snapshot(g->broker->meta, manifest);
}

static int
machine_restore(void *arg, qr_index index, const void *manifest, size_t size)
{
    struct meta_group *g = arg;
    struct broker *b = g->broker;
    int rv;

    OBJ_CHECK(g, META_GROUP_MAGIC);
    rv = meta_machine_restore(b->meta, index, manifest, size);
    if (rv != 0) {
        return rv;
    }
    for (uint16_t i = 1; i < b->env->shards; i++) {
        struct frame *f = frame_new(FRAME_CALL, BROKER_META_SNAPSHOT);

        f->arg = index;
        frame_add(f, slice_copy(manifest, size));
        post_copy(g, i, f);
    }
    note_applied(g, 0, index);
    return 0;
}

static void
machine_standing(void *arg, const struct qr_standing *standing)
{
    struct meta_group *g = arg;
    struct broker *b = g->broker;
    bool is_news = g->standing.leader != standing->leader ||
                   g->standing.is_leader != standing->is_leader;

    OBJ_CHECK(g, META_GROUP_MAGIC);
    g->standing = *standing;
    if (!is_news) {
        return;
    }
    for (uint16_t i = 0; i < b->env->shards; i++) {
        struct frame *f = frame_new(FRAME_CALL, BROKER_META_LEADER);

        f->arg = standing->leader;
        (void)post_local(g, i, f);
    }
    if (standing->is_leader) {
        bootstrap_if_empty(b);
        reconcile_group(b, QR_GROUP_META);
    }
}

static void
machine_gone(void *arg)
{
    struct meta_group *g = arg;

    OBJ_CHECK(g, META_GROUP_MAGIC);
    log_error(g->broker->log, "cluster",
              "this node was removed from the cluster's metadata");
    g->raft = NULL;
}

static const struct qr_machine_ops machine_ops = {
    .apply = machine_apply,
    .snapshot = machine_snapshot,
    .restore = machine_restore,
    .standing = machine_standing,
    .members = NULL,
    .gone = machine_gone,
    .dead_bytes = NULL,
};

struct meta_group *
meta_group_open(struct broker *b, struct error *err)
{
    struct meta_group *g = mem_zalloc(1, sizeof(*g));
    struct qr_member members[QR_MEMBERS_MAX];
    struct qr_group_config config = {.id = QR_GROUP_META,
                                     .members = members,
                                     .ops = &machine_ops,
                                     .machine = g};

    g->magic = META_GROUP_MAGIC;
    g->broker = b;
    buf_init(&g->echo);
    meta_put_barrier(&g->echo, 0, 0);
    config.self = qr_replica(b->env->node, 1);
    for (size_t i = 0; i < b->config.initial_nodes_count; i++) {
        ASSERT(i < QR_MEMBERS_MAX);
        members[i].id = qr_replica(b->config.initial_nodes[i], 1);
        members[i].role = QR_ROLE_VOTER;
        config.members_count++;
    }
    config.stand = b->config.initial_nodes_count > 0 &&
                   b->config.initial_nodes[0] == b->env->node;
    if (qr_group_open(b->host, &config, &g->raft, err) != 0) {
        buf_deinit(&g->echo);
        mem_free(g);
        return NULL;
    }
    return g;
}

void
meta_group_free(struct meta_group **g)
{
    if (*g != NULL) {
        OBJ_CHECK(*g, META_GROUP_MAGIC);
        (*g)->magic = 0;
        buf_deinit(&(*g)->echo);
        mem_free(*g);
        *g = NULL;
    }
}

/* ---- frames ---- */

/* Propose what F brings. The ids of queues are chosen here and not where the
 * commands are applied: were an entry lost, all queues declared behind it would
 * get other ids, and with these the logs of others. Whoever leads has applied
 * all that was proposed before, so ids grow; those of proposals that came to
 * nothing are left out. */
static void
propose(struct meta_group *g, const struct frame *f)
{
    struct meta_machine *meta = g->broker->meta;
    struct slice content = frame_content(f);
    struct slice piece;
    struct buf stamped;

    g->group_next = MAX(g->group_next, meta_group_next(meta));
    buf_init(&stamped);
    meta_machine_stamp(meta, &stamped, content.data, content.size,
                       &g->group_next);
    piece = slice_copy(stamped.data, stamped.size);
    /* Refused (busy, or no longer the leader): the client proposes it again. */
    (void)qr_group_propose(g->raft, &piece, 1);
    slice_unref(&piece);
    buf_deinit(&stamped);
    slice_unref(&content);
}

static void
on_propose(struct meta_group *g, struct address from, struct frame **frame)
{
    struct broker *b = g->broker;
    struct frame *f = *frame;
    struct address to = {.node = g->standing.leader, .shard = 0};

    if (g->raft == NULL) {
        return;
    }
    if (frame_content_size(f) == 0) {
        log_error(b->log, "cluster",
                  "node %u proposed nothing to the metadata; dropped",
                  from.node);
        return;
    }
    if (g->standing.is_leader) {
        propose(g, f);
    } else if (to.node != 0 && to.node != b->env->node &&
               from.node == b->env->node) {
        /* Two nodes that take each other for the leader would send it back
         * and forth; who asked will ask again. */
        (void)b->env->ops->post(b->env, to, frame);
    }
}

/* Another shard of this node, or another node, has applied up to f->arg. */
static void
on_applied(struct broker *b, struct meta_group *g, struct address from,
           const struct frame *f)
{
    qr_node_id node = (qr_node_id)f->group;

    if (g == NULL) {
        meta_client_node_applied(b->meta_client, node, f->arg);
        return;
    }
    if (from.node == b->env->node) {
        note_applied(g, from.shard, f->arg);
        return;
    }
    meta_client_node_applied(b->meta_client, node, f->arg);
    for (uint16_t i = 1; i < b->env->shards; i++) {
        struct frame *copy = frame_new(FRAME_CALL, BROKER_META_APPLIED);
        struct address to = {.node = b->env->node, .shard = i};

        copy->group = f->group;
        copy->arg = f->arg;
        (void)b->env->ops->post(b->env, to, &copy);
    }
}

static void
report_applied(struct broker *b, qr_index index)
{
    struct frame *f = frame_new(FRAME_CALL, BROKER_META_APPLIED);
    struct address to = {.node = b->env->node, .shard = 0};

    f->group = b->env->node;
    f->arg = index;
    (void)b->env->ops->post(b->env, to, &f);
}

static void
on_entry(struct broker *b, const struct frame *f)
{
    const struct slice *body = f->content_count > 1 ? &f->content[1] : NULL;
    uint64_t time_ms;
    qr_index lost_until;

    ASSERT(f->content_count > 0);
    ASSERT(f->content[0].size == META_ENTRY_HEAD_SIZE);
    time_ms = get_u64le(f->content[0].data);
    lost_until = get_u64le(f->content[0].data + 8);
    if (lost_until != 0) {
        meta_machine_pass(b->meta, f->arg, lost_until, time_ms);
    } else {
        meta_machine_apply(b->meta, f->arg, time_ms,
                           body == NULL ? NULL : body->data,
                           body == NULL ? 0 : body->size);
    }
    report_applied(b, f->arg);
}

static void
on_snapshot(struct broker *b, const struct frame *f)
{
    int rv = meta_machine_restore(b->meta, f->arg, f->content[0].data,
                                  f->content[0].size);

    ASSERT(rv == 0); /* shard 0 has restored the same bytes */
    report_applied(b, f->arg);
}

/* A replica that has lost the end of its log cannot know it: to itself it is
 * one that never had it. Its leader knows. */
static void
on_renew(struct meta_group *g, struct address from, const struct frame *f)
{
    struct broker *b = g->broker;
    char text[BROKER_FAULT_TEXT_SIZE];

    if (g->raft == NULL || b->config.on_unwelcome == NULL ||
        from.node != g->standing.leader || g->standing.is_leader ||
        f->arg != qr_replica(b->env->node, 1)) {
        return;
    }
    (void)snprintf(text, sizeof(text),
                   "node %s has lost entries of the metadata that it had "
                   "acknowledged, says node %u, which leads them: it cannot "
                   "vote on them any more",
                   b->config.node_name, from.node);
    b->config.on_unwelcome(b->config.arg, BROKER_DAMAGED, text);
}

void
meta_group_renew(struct meta_group *g, qr_replica_id replica)
{
    struct env *env = g->broker->env;
    struct frame *f = frame_new(FRAME_CALL, BROKER_META_RENEW);
    struct address to = {.node = qr_replica_node(replica), .shard = 0};

    OBJ_CHECK(g, META_GROUP_MAGIC);
    ASSERT(to.node != env->node);
    f->arg = replica;
    (void)env->ops->post(env, to, &f);
}

void
meta_group_frame(struct broker *b, struct meta_group *g, struct address from,
                 struct frame **frame)
{
    struct frame *f = *frame;
    bool is_local = from.node == b->env->node;

    switch (f->kind) {
    case BROKER_META_PROPOSE:
        if (g != NULL) {
            on_propose(g, from, frame);
        }
        break;
    case BROKER_META_APPLIED:
        on_applied(b, g, from, f);
        break;
    case BROKER_META_ENTRY:
        if (is_local && g == NULL) {
            on_entry(b, f);
        }
        break;
    case BROKER_META_SNAPSHOT:
        if (is_local && g == NULL) {
            on_snapshot(b, f);
        }
        break;
    case BROKER_META_JOIN:
    case BROKER_META_JOIN_NO:
        joining_frame(b, from, f);
        break;
    case BROKER_META_RENEW:
        if (g != NULL) {
            on_renew(g, from, f);
        }
        break;
    case BROKER_META_LEADER:
        if (is_local) {
            b->meta_leader = (qr_node_id)f->arg;
            meta_client_leader_changed(b->meta_client);
        }
        break;
    default:
        break;
    }
}

static void
tell_node(struct meta_group *g, qr_node_id node)
{
    struct broker *b = g->broker;
    struct frame *f = frame_new(FRAME_CALL, BROKER_META_APPLIED);
    struct address to = {.node = node, .shard = 0};

    f->group = b->env->node;
    f->arg = g->told;
    (void)b->env->ops->post(b->env, to, &f);
}

void
meta_group_link_up(struct meta_group *g, qr_node_id node)
{
    OBJ_CHECK(g, META_GROUP_MAGIC);
    tell_node(g, node);
}

/* Let the followers know of the commit now. */
static void
echo(struct meta_group *g)
{
    struct slice piece = slice_copy(g->echo.data, g->echo.size);

    g->must_echo = false;
    if (g->raft != NULL && g->standing.is_leader) {
        /* Refused: then the heartbeat tells them. */
        (void)qr_group_propose(g->raft, &piece, 1);
    }
    slice_unref(&piece);
}

void
meta_group_flush(struct meta_group *g)
{
    struct broker *b = g->broker;
    qr_index applied;

    OBJ_CHECK(g, META_GROUP_MAGIC);
    catch_up(g);
    if (g->must_echo) {
        echo(g);
    }
    applied = applied_by_all(g);
    if (applied == g->told) {
        return;
    }
    g->told = applied;
    for (size_t i = 0; i < b->nodes.count; i++) {
        if (b->nodes.items[i].is_linked) {
            tell_node(g, b->nodes.items[i].node);
        }
    }
    meta_client_node_applied(b->meta_client, b->env->node, applied);
    for (uint16_t i = 1; i < b->env->shards; i++) {
        struct frame *f = frame_new(FRAME_CALL, BROKER_META_APPLIED);
        struct address to = {.node = b->env->node, .shard = i};

        f->group = b->env->node;
        f->arg = applied;
        (void)b->env->ops->post(b->env, to, &f);
    }
}

void
meta_group_check(struct meta_group *g)
{
    struct broker *b = g->broker;
    struct qr_group_status s;
    char text[BROKER_FAULT_TEXT_SIZE];

    OBJ_CHECK(g, META_GROUP_MAGIC);
    if (g->raft == NULL || b->config.on_unwelcome == NULL) {
        return;
    }
    qr_group_status(g->raft, &s);
    if (strcmp(s.state, "lost") == 0) {
        (void)snprintf(text, sizeof(text),
                       "the metadata of node %s are damaged beyond repair: it "
                       "cannot vote on them any more",
                       b->config.node_name);
        b->config.on_unwelcome(b->config.arg, BROKER_DAMAGED, text);
    }
}

/* ---- the exclusive queues of a dead node ---- */

struct burial {
    struct broker *broker;
    const struct node_state *dead;
    struct meta_owner last;
};

static bool
bury_queue(void *arg, struct meta_queue *queue)
{
    struct burial *burial = arg;
    const struct meta_owner *owner = &queue->owner;
    struct meta_request *r;

    if (owner->node != burial->dead->node ||
        owner->boot > burial->dead->boot_dead ||
        (owner->boot == burial->last.boot &&
         owner->connection == burial->last.connection)) {
        return true;
    }
    burial->last = *owner;
    r = meta_request_new(burial->broker, NULL, NULL);
    r->is_kept = true;
    meta_put_connection_gone(&r->command, burial->broker->session, r->number,
                             owner);
    meta_request_send(r);
    return true;
}

static bool
bury_in_vhost(void *arg, const struct meta_vhost *vhost)
{
    struct burial *burial = arg;

    meta_each_queue(burial->broker->meta, vhost, bury_queue, burial);
    return true;
}

/* All survivors ask for it, which is harmless: one alone might die, too. */
void
meta_group_node_dead(struct meta_group *g, const struct node_state *state)
{
    struct burial burial = {.broker = g->broker, .dead = state};

    OBJ_CHECK(g, META_GROUP_MAGIC);
    ASSERT(state->node != g->broker->env->node);
    meta_each_vhost(g->broker->meta, bury_in_vhost, &burial);
}

void
meta_group_bury_late(struct meta_group *g, struct meta_queue *queue)
{
    const struct meta_owner *owner = &queue->owner;
    struct node_state dead = {.node = owner->node, .boot_dead = owner->boot};
    struct burial burial = {.broker = g->broker, .dead = &dead};

    OBJ_CHECK(g, META_GROUP_MAGIC);
    if (owner->node != g->broker->env->node &&
        nodes_is_dead(&g->broker->nodes, owner->node, owner->boot)) {
        (void)bury_queue(&burial, queue);
    }
}

struct qr_group *
meta_group_raft(const struct meta_group *g)
{
    return g->raft;
}
