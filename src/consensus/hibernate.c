/* Idle groups sleep: no heartbeats, no timers.
 *
 * A leader with nothing left to do marks its heartbeats as quiet. A follower
 * that sees it the same way (it has every entry, all are committed and
 * applied) stops its election timer, says so in its answer, and sleeps. When
 * all members sleep the leader does too, and the group costs nothing.
 *
 * That is safe, since Raft's safety knows no time. It lives because whatever
 * could matter wakes a sleeper: any message that is not quiet, a proposal or
 * anything else that steps the library, and any event of a link to a member's
 * node, which both its ends hear: when a node dies, restarts or cannot be
 * reached, those who share groups with it wake. A single sleeper that wakes
 * without reason stands for election after a time-out, which wakes the leader.
 *
 * The library's time stands still for a sleeper and goes on from there: its
 * timers have the same way left as before, so that ten thousand groups that
 * wake at once do not stand at once. */
#include "base/check.h"
#include "base/mem.h"
#include "consensus/internal.h"

/* Everything is stored, committed and applied, and nothing is under way. */
static bool
is_at_rest(const struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    return g->is_running && !g->is_installing && g->install == NULL &&
           !g->is_taking && !g->is_leaving && g->gather == NULL &&
           g->intent == INTENT_NONE && g->lost_leader == 0 &&
           g->applied == g->last && g->raft.last_stored == g->last &&
           g->raft.configuration_uncommitted_index == 0 &&
           g->hard_batch <= g->host->durable;
}

static bool
leader_may_sleep(const struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    return g->is_serving && is_at_rest(g) && raft_transferee(&g->raft) == 0 &&
           g->raft.leader_state.promotee_id == 0;
}

bool
hibernate_is_quiet(const struct qr_group *g, const struct raft_message *m)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if (m->type == RAFT_APPEND_ENTRIES_RESULT) {
        return g->is_hushed;
    }
    return m->type == RAFT_APPEND_ENTRIES && m->append_entries.n_entries == 0 &&
           m->append_entries.prev_log_index == g->last &&
           m->append_entries.leader_commit == g->last && leader_may_sleep(g);
}

bool
hibernate_agrees(const struct qr_group *g, const struct raft_message *m)
{
    const struct raft_append_entries *a = &m->append_entries;
    const struct raft_append_entries_result *r = &m->append_entries_result;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (m->type == RAFT_APPEND_ENTRIES) {
        return g->raft.state == RAFT_FOLLOWER && is_at_rest(g) &&
               a->term == raft_current_term(&g->raft) &&
               g->raft.follower_state.current_leader.id == m->server_id &&
               a->n_entries == 0 && a->prev_log_index == g->last &&
               a->leader_commit == g->last;
    }
    ASSERT(m->type == RAFT_APPEND_ENTRIES_RESULT);
    return leader_may_sleep(g) && r->term == raft_current_term(&g->raft) &&
           r->rejected == 0 && r->last_log_index == g->last;
}

/* Note that REPLICA sleeps; whether all members but us do. */
static bool
all_sleep(struct qr_group *g, qr_replica_id replica)
{
    const struct raft_configuration *c = &g->raft.configuration;
    uint8_t all = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(c->n <= QR_MEMBERS_MAX);
    for (unsigned i = 0; i < c->n; i++) {
        uint8_t bit = (uint8_t)(1U << i);

        if (c->servers[i].id == replica) {
            g->sleepers |= bit;
        }
        if (c->servers[i].id != g->self) {
            all |= bit;
        }
    }
    return (g->sleepers & all) == all;
}

void
hibernate_after(struct qr_group *g, const struct raft_message *m)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if (m->type == RAFT_APPEND_ENTRIES) {
        g->is_asleep = g->raft.state == RAFT_FOLLOWER;
        return;
    }
    if (leader_may_sleep(g) && all_sleep(g, m->server_id)) {
        g->is_asleep = true;
    }
}

void
hibernate_alone(struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->raft.configuration.n == 1 && leader_may_sleep(g)) {
        g->is_asleep = true;
    }
}

void
hibernate_wake(struct qr_group *g)
{
    struct env *env = g->host->env;

    OBJ_CHECK(g, GROUP_MAGIC);
    g->sleepers = 0;
    if (!g->is_asleep) {
        return;
    }
    g->is_asleep = false;
    g->slept_ms = env->ops->now_ms(env) + TIME_ORIGIN_MS - g->time;
}

static bool
has_member_on(const struct qr_group *g, qr_node_id node)
{
    const struct raft_configuration *c = &g->raft.configuration;

    OBJ_CHECK(g, GROUP_MAGIC);
    for (unsigned i = 0; i < c->n; i++) {
        if (qr_replica_node(c->servers[i].id) == node) {
            return true;
        }
    }
    return false;
}

void
hibernate_link(struct qr_host *host, qr_node_id node)
{
    uint64_t *ids = map_keys_sorted(&host->groups);
    size_t count = host->groups.count;

    OBJ_CHECK(host, HOST_MAGIC);
    for (size_t i = 0; i < count; i++) {
        struct qr_group *g = map_get(&host->groups, ids[i]);

        if (g != NULL && g->is_asleep && has_member_on(g, node)) {
            hibernate_wake(g);
            replica_settle(g);
        }
    }
    mem_free(ids);
}
