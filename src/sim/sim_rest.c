/* See sim_rest.h. Each check looks into the nodes, between two events. */
#include "sim/sim_rest.h"

#include <quorate/host.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/map.h"
#include "broker/broker_priv.h"
#include "broker/queue_group.h"
#include "broker/reconcile.h"
#include "machine/meta/meta_machine.h"
#include "peer/frame.h"
#include "raft.pb-c.h"
#include "sim/sim_world_priv.h"
#include "store/store.h"

/* Where a check has got to. */
struct look {
    struct world *world;
    uint32_t node; /* its place in the world */
    struct sim_parts parts;
    char *why;
    uint64_t groups_end; /* of those that are old enough to be led */
    bool is_good;
};

static void PRINTF(2, 3) say(struct look *l, const char *fmt, ...)
{
    va_list ap;

    if (l->is_good) {
        l->is_good = false;
        va_start(ap, fmt);
        (void)vsnprintf(l->why, REST_TEXT_SIZE, fmt, ap);
        va_end(ap);
    }
}

/* The copy of the metadata that has got furthest, or NULL. */
static struct meta_machine *
newest_meta(const struct world *w)
{
    struct meta_machine *newest = NULL;

    for (uint32_t i = 0; i < w->nodes_count; i++) {
        struct broker *b = sim_node_broker(w->nodes[i], 0);

        if (b != NULL &&
            (newest == NULL || meta_applied(b->meta) > meta_applied(newest))) {
            newest = b->meta;
        }
    }
    return newest;
}

/* GROUP on node I, or NULL. */
static struct qr_group *
group_on(const struct world *w, uint32_t i, qr_group_id group)
{
    uint16_t shard = env_shard_of(group, w->shards);
    struct sim_parts parts;

    return sim_node_parts(w->nodes[i], shard, &parts)
               ? qr_host_group(parts.host, group)
               : NULL;
}

static bool
is_led(const struct world *w, qr_group_id group)
{
    for (uint32_t i = 0; i < w->nodes_count; i++) {
        const struct qr_group *g = group_on(w, i, group);

        if (g != NULL && qr_group_is_leader(g)) {
            return true;
        }
    }
    return false;
}

static bool
look_for_leader(void *arg, struct meta_queue *queue)
{
    struct look *l = arg;

    if (queue->owner.node == 0 && queue->group < l->groups_end &&
        !is_led(l->world, queue->group)) {
        say(l,
            "I11: queue '%.*s' (group %llu) has no leader %d s after the "
            "last fault",
            (int)queue->name.size, queue->name.data,
            (unsigned long long)queue->group, REST_LEADER_S);
    }
    return l->is_good;
}

uint64_t
rest_groups_end(const struct world *w)
{
    const struct meta_machine *m = newest_meta(w);

    return m == NULL ? 0 : meta_group_next(m);
}

bool
rest_is_led(struct world *w, uint64_t groups_end, char *why)
{
    struct look l = {.world = w, .groups_end = groups_end, .is_good = true};
    struct meta_machine *m = newest_meta(w);

    ASSERT(m != NULL);
    l.why = why;
    if (!is_led(w, QR_GROUP_META)) {
        say(&l, "I11: the metadata have no leader %d s after the last fault",
            REST_LEADER_S);
    }
    meta_each_queue(m, NULL, look_for_leader, &l);
    return l.is_good;
}

/* ---- all shards ---- */

static bool
each_shard(struct world *w, char *why, void (*cb)(struct look *l))
{
    struct look l = {.world = w, .is_good = true};

    l.why = why;
    for (uint32_t i = 0; i < w->nodes_count; i++) {
        for (uint16_t s = 0; s < w->shards; s++) {
            l.node = i;
            if (sim_node_parts(w->nodes[i], s, &l.parts)) {
                cb(&l);
            }
        }
    }
    return l.is_good;
}

static void
look_at_stored(void *arg, const struct store_group_info *info)
{
    struct look *l = arg;
    const struct meta_machine *m = l->parts.broker->meta;

    if (info->id >= QR_GROUP_FIRST_QUEUE &&
        meta_queue_by_group(m, info->id) == NULL) {
        say(l, "I9: node %u still stores deleted group %llu",
            l->world->ids[l->node], (unsigned long long)info->id);
    }
    if (info->is_lost) {
        say(l, "I10: node %u has not replaced damaged group %llu",
            l->world->ids[l->node], (unsigned long long)info->id);
    }
}

static void
look_at_disk(struct look *l)
{
    struct store_stats stats;
    uint64_t most;

    store_stats(l->parts.store, &stats);
    most = 2 * stats.live_bytes +
           (uint64_t)REST_SLACK_SEGMENTS * SIM_NODE_SEGMENT_SIZE;
    if (stats.disk_bytes > most) {
        say(l,
            "I12: a shard of node %u keeps %llu bytes on disk for %llu that "
            "are live",
            l->world->ids[l->node], (unsigned long long)stats.disk_bytes,
            (unsigned long long)stats.live_bytes);
    }
    if (stats.damaged > 0) {
        say(l, "I10: node %u has %llu damaged entries", l->world->ids[l->node],
            (unsigned long long)stats.damaged);
    }
}

/* A leader's members: WANTED voters, none of them lost or behind. */
static void
look_at_members(struct look *l, const struct qr_group *g, size_t wanted)
{
    struct qr_group_status s;
    size_t voters = 0;

    qr_group_status(g, &s);
    for (size_t i = 0; i < s.members_count; i++) {
        const struct qr_member_status *m = &s.members[i];

        voters += m->member.role == QR_ROLE_VOTER ? 1 : 0;
        if (m->is_lost || m->match < s.last) {
            say(l, "I8: group %llu is not whole: its member on node %u is %s",
                (unsigned long long)s.id, qr_replica_node(m->member.id),
                m->is_lost ? "lost" : "behind");
        }
    }
    if (voters < wanted) {
        say(l, "I8: group %llu is not whole: it has %zu voters, not %zu",
            (unsigned long long)s.id, voters, wanted);
    }
}

static void
look_at_groups(struct look *l)
{
    const struct broker *b = l->parts.broker;
    const struct qr_group *meta = qr_host_group(l->parts.host, QR_GROUP_META);
    size_t nodes = l->world->nodes_count;
    struct queue_group *g;
    uint64_t id;
    size_t pos;

    if (meta != NULL && qr_group_is_leader(meta)) {
        look_at_members(l, meta, MIN(nodes, (size_t)RECONCILE_META_VOTERS));
    }
    map_foreach (&b->groups, pos, id, g) {
        const struct meta_queue *queue = meta_queue_by_group(b->meta, id);

        if (queue != NULL && queue->owner.node == 0 &&
            qr_group_is_leader(queue_group_raft(g))) {
            look_at_members(l, queue_group_raft(g),
                            MIN(nodes, (size_t)SIM_NODE_REPLICAS));
        }
    }
}

static void
look_at_shard(struct look *l)
{
    store_foreach_group(l->parts.store, look_at_stored, l);
    look_at_groups(l);
    look_at_disk(l);
}

bool
rest_is_clean(struct world *w, char *why)
{
    return each_shard(w, why, look_at_shard);
}

static void
look_for_ghosts(struct look *l)
{
    const struct broker *b = l->parts.broker;
    struct queue_group *g;
    uint64_t id;
    size_t pos;

    map_foreach (&b->groups, pos, id, g) {
        if (qr_group_is_leader(queue_group_raft(g)) &&
            meta_queue_by_group(b->meta, id) == NULL) {
            say(l, "I9: node %u leads group %llu, whose queue was deleted",
                l->world->ids[l->node], (unsigned long long)id);
        }
    }
}

bool
rest_is_sane(struct world *w, char *why)
{
    return each_shard(w, why, look_for_ghosts);
}

/* ---- memory ---- */

static bool
is_promise(const Raft__Message *m)
{
    switch ((int)m->body_case) {
    case RAFT__MESSAGE__BODY_VOTE_RESULT:
        return m->vote_result->granted && !m->vote_result->pre_vote;
    case RAFT__MESSAGE__BODY_APPEND_RESULT:
        return m->append_result->rejected == 0;
    default:
        return false;
    }
}

bool
rest_is_remembered(const struct sim_node *n, const struct frame *frame,
                   char *why)
{
    Raft__Batch *batch = NULL;
    bool is_good = true;

    if (!sim_node_forgot_any(n)) {
        return true;
    }
    batch = raft__batch__unpack(NULL, frame->head.size, frame->head.data);
    ASSERT(batch != NULL);
    for (size_t i = 0; i < batch->n_messages && is_good; i++) {
        const Raft__Message *m = batch->messages[i];

        if (is_promise(m) && sim_node_has_forgotten(n, m->group, m->from)) {
            (void)snprintf(why, REST_TEXT_SIZE,
                           "I8: replica %llx of group %llu, which lost its "
                           "memory, %s",
                           (unsigned long long)m->from,
                           (unsigned long long)m->group,
                           m->body_case == RAFT__MESSAGE__BODY_VOTE_RESULT
                               ? "votes"
                               : "acknowledges entries");
            is_good = false;
        }
    }
    raft__batch__free_unpacked(batch, NULL);
    return is_good;
}

void
rest_trace_votes(struct sim *sim, qr_node_id node, const struct frame *frame)
{
    Raft__Batch *batch =
        raft__batch__unpack(NULL, frame->head.size, frame->head.data);

    ASSERT(batch != NULL);
    for (size_t i = 0; i < batch->n_messages; i++) {
        const Raft__Message *m = batch->messages[i];
        unsigned long long group = m->group;
        unsigned long long term = m->term;

        if (m->body_case == RAFT__MESSAGE__BODY_VOTE && !m->vote->pre_vote) {
            sim_trace(sim, node, "group %llu: asks for votes, term %llu", group,
                      term);
        } else if (m->body_case == RAFT__MESSAGE__BODY_VOTE_RESULT &&
                   is_promise(m)) {
            sim_trace(sim, node, "group %llu: votes, term %llu", group, term);
        }
    }
    raft__batch__free_unpacked(batch, NULL);
}
