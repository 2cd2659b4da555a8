/* See reconcile.h. */
#include "broker/reconcile.h"

#include <quorate/error.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "broker/broker_priv.h"
#include "broker/joining.h"
#include "broker/meta_client.h"
#include "broker/meta_group.h"
#include "broker/queue_group.h"
#include "machine/meta/meta_command.h"
#include "shard/env.h"

enum {
    RECONCILER_MAGIC = 0x7265636f
};

/* A group that may have to change. */
struct item {
    struct list link; /* reconciler.pending or reconciler.active */
    qr_group_id group;
    bool is_active;
    qr_replica_id lost[QR_MEMBERS_MAX];
    size_t lost_count;
    uint64_t told_ms; /* when the metadata, or a node, were told; 0: not yet */
    struct reconcile_step said; /* the last step that was logged */
};

struct reconciler {
    unsigned magic;
    struct broker *broker;
    struct map items; /* by group */
    struct list pending;
    struct list active;
    size_t active_count;
    struct timer timer;
    uint64_t sweep_ms; /* when all groups are due */
};

/* ---- the decision ---- */

static const struct meta_member *
told(const struct reconcile_view *v, qr_replica_id replica)
{
    for (size_t i = 0; i < v->told_count; i++) {
        if (v->told[i].replica == replica) {
            return &v->told[i];
        }
    }
    return NULL;
}

static bool
has_node(const struct reconcile_view *v, qr_node_id node)
{
    for (size_t i = 0; i < v->members_count; i++) {
        if (qr_replica_node(v->members[i].member.id) == node) {
            return true;
        }
    }
    return false;
}

/* A replica that has no business in the group, or 0. One that the metadata
 * have seen go before (its incarnation is over) can never be told to them. */
static qr_replica_id
to_remove(const struct reconcile_view *v)
{
    for (size_t i = 0; i < v->members_count; i++) {
        const struct reconcile_member *m = &v->members[i];
        qr_replica_id id = m->member.id;
        bool is_over =
            v->is_told && told(v, id) == NULL && (uint32_t)id < v->incarnation;

        bool is_lost = m->is_lost && !v->is_metadata;

        if (id != v->self && (m->is_gone || is_lost || is_over)) {
            return id;
        }
    }
    return 0;
}

static bool
must_tell(const struct reconcile_view *v)
{
    bool differs = v->told_count != v->members_count;

    for (size_t i = 0; !differs && i < v->members_count; i++) {
        const struct meta_member *m = told(v, v->members[i].member.id);

        differs = m == NULL ||
                  m->is_voter != (v->members[i].member.role == QR_ROLE_VOTER);
    }
    return v->is_told && differs;
}

static bool
is_able(const struct reconcile_member *m)
{
    return m->member.role == QR_ROLE_VOTER && m->is_up && !m->is_lost;
}

/* A replica of the metadata whose node is to join anew, or 0. That takes two
 * changes of the metadata, for which the able ones must be enough: without
 * them, what the lost one still knows may be needed. */
static qr_replica_id
to_renew(const struct reconcile_view *v)
{
    qr_replica_id lost = 0;
    size_t voters = 0;
    size_t able = 0;

    for (size_t i = 0; i < v->members_count; i++) {
        const struct reconcile_member *m = &v->members[i];

        voters += m->member.role == QR_ROLE_VOTER ? 1 : 0;
        able += is_able(m) ? 1 : 0;
        if (m->is_lost && m->is_up && m->member.id != v->self) {
            lost = m->member.id;
        }
    }
    return v->is_metadata && 2 * able > voters ? lost : 0;
}

/* A learner that should vote, or 0. */
static qr_replica_id
to_promote(const struct reconcile_view *v)
{
    qr_replica_id learner = 0;
    size_t voters = 0;

    for (size_t i = 0; i < v->members_count; i++) {
        if (v->members[i].member.role == QR_ROLE_VOTER) {
            voters++;
        } else if (learner == 0 && v->members[i].is_up &&
                   !v->members[i].is_lost) {
            learner = v->members[i].member.id;
        }
    }
    return voters < v->voters_max ? learner : 0;
}

static qr_replica_id
to_add(const struct reconcile_view *v)
{
    if (v->members_count >= v->wanted || v->members_count >= QR_MEMBERS_MAX) {
        return 0;
    }
    for (size_t i = 0; i < v->candidates_count; i++) {
        if (!has_node(v, v->candidates[i])) {
            return qr_replica(v->candidates[i], v->incarnation);
        }
    }
    return 0; /* too few nodes are up: wait for one */
}

struct reconcile_step
reconcile_next(const struct reconcile_view *v)
{
    struct reconcile_step step = {.kind = RECONCILE_NOTHING};

    ASSERT(v->members_count <= QR_MEMBERS_MAX);
    ASSERT(v->incarnation > 0);
    if ((step.replica = to_remove(v)) != 0) {
        step.kind = RECONCILE_REMOVE;
    } else if (must_tell(v)) {
        step.kind = RECONCILE_TELL;
    } else if ((step.replica = to_promote(v)) != 0) {
        step.kind = RECONCILE_PROMOTE;
    } else if ((step.replica = to_add(v)) != 0) {
        step.kind = RECONCILE_ADD;
    } else if ((step.replica = to_renew(v)) != 0) {
        step.kind = RECONCILE_RENEW;
    }
    return step;
}

/* ---- looking at a group ---- */

static uint64_t
now_ms(const struct reconciler *r)
{
    return r->broker->env->ops->now_ms(r->broker->env);
}

struct candidates {
    struct reconcile_view *view;
    struct env *env;
    size_t live;
    bool is_metadata;
};

static bool
collect(void *arg, const struct meta_node *node)
{
    struct candidates *c = arg;

    if (node->is_removed) {
        return true;
    }
    c->live++;
    /* One that has not started yet would open no replica of a queue. It starts
     * by becoming a member of the metadata's group. */
    if ((node->boot > 0 || c->is_metadata) &&
        c->view->candidates_count < QR_NODES_MAX &&
        (node->id == c->env->node ||
         c->env->ops->is_linked(c->env, node->id))) {
        c->view->candidates[c->view->candidates_count++] = node->id;
    }
    return true;
}

/* Begin with another candidate for each group, so that replicas spread. */
static void
rotate(struct reconcile_view *v, qr_group_id group)
{
    qr_node_id copy[QR_NODES_MAX];
    size_t count = v->candidates_count;

    memcpy(copy, v->candidates, sizeof(copy));
    for (size_t i = 0; i < count; i++) {
        v->candidates[i] = copy[(i + (size_t)(group % count)) % count];
    }
}

static void
view_members(const struct reconciler *r, const struct item *it,
             const struct qr_group_status *s, struct reconcile_view *v)
{
    v->self = s->self;
    v->members_count = s->members_count;
    for (size_t i = 0; i < s->members_count; i++) {
        struct reconcile_member *m = &v->members[i];
        const struct meta_node *node;

        m->member = s->members[i].member;
        node = meta_node(r->broker->meta, qr_replica_node(m->member.id));
        m->is_gone = node != NULL && node->is_removed;
        m->is_up = s->members[i].is_linked || m->member.id == s->self;
        m->is_lost = s->members[i].is_lost;
        for (size_t j = 0; j < it->lost_count; j++) {
            m->is_lost = m->is_lost || it->lost[j] == m->member.id;
        }
    }
}

/* Fill V for the group of S. False when it is not to be changed. */
static bool
view_group(const struct reconciler *r, const struct item *it,
           const struct qr_group_status *s, struct reconcile_view *v)
{
    struct broker *b = r->broker;
    struct candidates c = {
        .view = v, .env = b->env, .is_metadata = it->group == QR_GROUP_META};
    const struct meta_queue *queue;

    memset(v, 0, sizeof(*v));
    view_members(r, it, s, v);
    meta_each_node(b->meta, collect, &c);
    if (v->candidates_count > 0) {
        rotate(v, it->group);
    }
    if (it->group == QR_GROUP_META) {
        v->wanted = MIN(c.live, (size_t)QR_MEMBERS_MAX);
        v->voters_max = RECONCILE_META_VOTERS;
        v->incarnation = 1; /* nodes' ids are never used again */
        v->is_metadata = true;
        return b->is_current;
    }
    queue = meta_queue_by_group(b->meta, it->group);
    if (queue == NULL || queue->owner.node != 0 || !b->is_current) {
        return false;
    }
    v->wanted = MIN((size_t)b->config.queue_replicas, c.live);
    v->voters_max = QR_MEMBERS_MAX;
    v->incarnation = meta_queue_incarnation(queue);
    v->is_told = true;
    v->told = queue->members;
    v->told_count = queue->members_count;
    return true;
}

static struct qr_group *
raft_of(const struct broker *b, qr_group_id group)
{
    struct queue_group *g;

    if (group == QR_GROUP_META) {
        return b->meta_group == NULL ? NULL : meta_group_raft(b->meta_group);
    }
    g = map_get(&b->groups, group);
    return g == NULL ? NULL : queue_group_raft(g);
}

/* ---- doing it ---- */

static void
say(const struct reconciler *r, struct item *it,
    const struct reconcile_step *step)
{
    static const char *const what[] = {"",
                                       "removing replica",
                                       "",
                                       "promoting replica",
                                       "adding replica",
                                       "renewing the node of replica"};

    if (step->kind == RECONCILE_TELL ||
        (it->said.kind == step->kind && it->said.replica == step->replica)) {
        return;
    }
    it->said = *step;
    log_info(r->broker->log, "cluster", "group %llu: %s %u.%u",
             (unsigned long long)it->group, what[step->kind],
             qr_replica_node(step->replica), (uint32_t)step->replica);
}

static void
tell(struct reconciler *r, struct item *it, const struct qr_group_status *s)
{
    struct meta_member members[QR_MEMBERS_MAX];
    struct meta_request *q;

    if (it->told_ms != 0 && now_ms(r) - it->told_ms < RECONCILE_TELL_MS) {
        return;
    }
    memset(members, 0, sizeof(members));
    for (size_t i = 0; i < s->members_count; i++) {
        members[i].replica = s->members[i].member.id;
        members[i].is_voter = s->members[i].member.role == QR_ROLE_VOTER;
    }
    it->told_ms = MAX(now_ms(r), 1U);
    q = meta_request_new(r->broker, NULL, NULL);
    meta_put_queue_members(&q->command, r->broker->session, q->number,
                           it->group, members, s->members_count);
    meta_request_send(q);
}

/* Have the node of REPLICA join anew, unless a queue needs it as it is. */
static void
renew(struct reconciler *r, struct item *it, qr_replica_id replica)
{
    struct broker *b = r->broker;
    qr_node_id node = qr_replica_node(replica);
    char why[JOIN_TEXT_SIZE];
    bool is_new = it->told_ms == 0;

    if (!is_new && now_ms(r) - it->told_ms < RECONCILE_TELL_MS) {
        return;
    }
    it->told_ms = MAX(now_ms(r), 1U);
    if (joining_is_spared(b, node, why, sizeof(why))) {
        meta_group_renew(b->meta_group, replica);
    } else if (is_new) {
        log_error(b->log, "cluster",
                  "node %u has lost some of the metadata that it had "
                  "acknowledged, and cannot join anew yet: %s",
                  node, why);
    }
}

static void
act(struct reconciler *r, struct item *it, struct qr_group *raft,
    const struct reconcile_step *step)
{
    struct qr_group_status s;

    say(r, it, step);
    switch (step->kind) {
    /* Refused, all of them, while another change is not yet committed, or the
     * learner is behind: then again in a tick. */
    case RECONCILE_REMOVE:
        (void)qr_group_remove(raft, step->replica);
        break;
    case RECONCILE_ADD:
        (void)qr_group_add(raft, step->replica);
        break;
    case RECONCILE_PROMOTE:
        (void)qr_group_promote(raft, step->replica);
        break;
    case RECONCILE_RENEW:
        renew(r, it, step->replica);
        break;
    case RECONCILE_TELL:
        qr_group_status(raft, &s);
        tell(r, it, &s);
        break;
    case RECONCILE_NOTHING:
    default:
        break;
    }
    if (step->kind != RECONCILE_TELL && step->kind != RECONCILE_RENEW) {
        it->told_ms = 0;
    }
}

static void
item_free(struct reconciler *r, struct item *it)
{
    list_remove(&it->link);
    r->active_count -= it->is_active ? 1 : 0;
    (void)map_remove(&r->items, it->group);
    mem_free(it);
}

static size_t
active_max(const struct reconciler *r)
{
    return MAX((size_t)RECONCILE_ACTIVE_MAX / r->broker->env->shards,
               (size_t)1);
}

/* Look at IT, and do the next step if it may. Frees IT when there is none. */
static void
look(struct reconciler *r, struct item *it)
{
    struct qr_group *raft = raft_of(r->broker, it->group);
    struct qr_group_status s;
    struct reconcile_view view;
    struct reconcile_step step;

    if (raft == NULL) {
        item_free(r, it);
        return;
    }
    qr_group_status(raft, &s);
    if (!s.is_leader) {
        item_free(r, it);
        return;
    }
    if (s.is_changing) {
        return;
    }
    if (!view_group(r, it, &s, &view)) {
        item_free(r, it);
        return;
    }
    step = reconcile_next(&view);
    if (step.kind == RECONCILE_NOTHING) {
        item_free(r, it);
        return;
    }
    if (!it->is_active && r->active_count < active_max(r)) {
        it->is_active = true;
        r->active_count++;
        list_remove(&it->link);
        list_push_back(&r->active, &it->link);
    }
    if (it->is_active) {
        act(r, it, raft, &step);
    }
}

static void
arm(struct reconciler *r)
{
    uint64_t now = now_ms(r);
    uint64_t at = MAX(r->sweep_ms, now);

    if (!list_is_empty(&r->pending) || !list_is_empty(&r->active)) {
        at = MIN(at, now + RECONCILE_TICK_MS);
    }
    timers_start(&r->broker->env->timers, &r->timer, at);
}

static void
on_timer(void *arg)
{
    struct reconciler *r = arg;
    struct list *link;
    struct list *next;
    size_t looked = 0;

    OBJ_CHECK(r, RECONCILER_MAGIC);
    if (now_ms(r) >= r->sweep_ms) {
        r->sweep_ms = now_ms(r) + RECONCILE_SWEEP_MS;
        reconcile_nodes(r->broker);
    }
    list_foreach_safe (link, next, &r->active) {
        look(r, list_entry(link, struct item, link));
    }
    list_foreach_safe (link, next, &r->pending) {
        if (looked++ == RECONCILE_SLICE) {
            break;
        }
        look(r, list_entry(link, struct item, link));
    }
    arm(r);
}

static struct item *
item_get(struct reconciler *r, qr_group_id group)
{
    struct item *it = map_get(&r->items, group);

    if (it == NULL) {
        it = mem_zalloc(1, sizeof(*it));
        it->group = group;
        list_init(&it->link);
        list_push_back(&r->pending, &it->link);
        (void)map_put(&r->items, group, it);
    }
    return it;
}

void
reconcile_group(struct broker *b, qr_group_id group)
{
    struct reconciler *r = b->reconciler;

    if (r != NULL) {
        OBJ_CHECK(r, RECONCILER_MAGIC);
        (void)item_get(r, group);
        arm(r);
    }
}

void
reconcile_nodes(struct broker *b)
{
    struct reconciler *r = b->reconciler;
    struct queue_group *g;
    uint64_t id;
    size_t pos;

    if (r == NULL) {
        return;
    }
    OBJ_CHECK(r, RECONCILER_MAGIC);
    map_foreach (&b->groups, pos, id, g) {
        if (queue_group_leader(g) == b->env->node) {
            (void)item_get(r, id);
        }
    }
    if (b->meta_group != NULL) {
        (void)item_get(r, QR_GROUP_META);
    }
    arm(r);
}

void
reconcile_lost(struct broker *b, qr_group_id group, qr_replica_id replica)
{
    struct reconciler *r = b->reconciler;
    struct item *it;

    OBJ_CHECK(r, RECONCILER_MAGIC);
    it = item_get(r, group);
    for (size_t i = 0; i < it->lost_count; i++) {
        if (it->lost[i] == replica) {
            return;
        }
    }
    if (it->lost_count < QR_MEMBERS_MAX) {
        it->lost[it->lost_count++] = replica;
    }
    arm(r);
}

size_t
reconcile_active(const struct broker *b)
{
    OBJ_CHECK(b->reconciler, RECONCILER_MAGIC);
    return b->reconciler->active_count;
}

struct reconciler *
reconciler_new(struct broker *b)
{
    struct reconciler *r = mem_zalloc(1, sizeof(*r));

    r->magic = RECONCILER_MAGIC;
    r->broker = b;
    map_init(&r->items);
    list_init(&r->pending);
    list_init(&r->active);
    timer_init(&r->timer, on_timer, r);
    r->sweep_ms = now_ms(r) + RECONCILE_SWEEP_MS;
    arm(r);
    return r;
}

void
reconciler_free(struct reconciler **reconciler)
{
    struct reconciler *r = *reconciler;

    OBJ_CHECK(r, RECONCILER_MAGIC);
    *reconciler = NULL;
    while (!list_is_empty(&r->active)) {
        item_free(r, list_entry(r->active.next, struct item, link));
    }
    while (!list_is_empty(&r->pending)) {
        item_free(r, list_entry(r->pending.next, struct item, link));
    }
    map_deinit(&r->items);
    timers_stop(&r->broker->env->timers, &r->timer);
    r->magic = 0;
    mem_free(r);
}
