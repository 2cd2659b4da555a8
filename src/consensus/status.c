/* Where a replica stands: for operators, and for whoever keeps the members of
 * thousands of groups as they should be. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "consensus/internal.h"

static const char *
state_name(const struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->is_lost) {
        return "lost";
    }
    if (g->is_failed) {
        return "failed";
    }
    if (g->is_repairing) {
        return "repairing";
    }
    if (!g->is_running || g->is_installing) {
        return "installing";
    }
    if (g->raft.state == RAFT_LEADER) {
        return "leader";
    }
    if (g->raft.state == RAFT_CANDIDATE) {
        return "candidate";
    }
    for (unsigned i = 0; i < g->raft.configuration.n; i++) {
        const struct raft_server *s = &g->raft.configuration.servers[i];

        if (s->id == g->self) {
            return s->role == RAFT_VOTER ? "follower" : "learner";
        }
    }
    return "joining";
}

/* Whether qr_group_promote() of learner ID would be accepted. */
static bool
is_caught_up(const struct qr_group *g, const struct raft_server *s,
             raft_index match)
{
    int status = RAFT_CATCH_UP_NONE;

    OBJ_CHECK(g, GROUP_MAGIC);
    return g->is_serving && s->role != RAFT_VOTER &&
           (match == g->last || (raft_catch_up(&g->raft, s->id, &status) == 0 &&
                                 status == RAFT_CATCH_UP_FINISHED));
}

static void
status_members(const struct qr_group *g, struct qr_group_status *out)
{
    const struct raft_configuration *c = &g->raft.configuration;
    struct env *env = g->host->env;

    OBJ_CHECK(g, GROUP_MAGIC);
    out->members_count = MIN((size_t)c->n, (size_t)QR_MEMBERS_MAX);
    for (size_t i = 0; i < out->members_count; i++) {
        struct qr_member_status *m = &out->members[i];
        raft_index match = 0;

        m->member.id = c->servers[i].id;
        m->member.role =
            c->servers[i].role == RAFT_VOTER ? QR_ROLE_VOTER : QR_ROLE_LEARNER;
        m->is_linked = m->member.id == g->self ||
                       env->ops->is_linked(env, qr_replica_node(m->member.id));
        m->is_lost = lost_is_known(g, m->member.id);
        if (raft_match_index(&g->raft, m->member.id, &match) == 0) {
            m->match = match;
            m->is_caught_up = is_caught_up(g, &c->servers[i], match);
            m->is_full = room_is_full(g, (unsigned)i);
        }
    }
}

void
qr_group_status(const struct qr_group *g, struct qr_group_status *out)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    memset(out, 0, sizeof *out);
    out->id = g->id;
    out->self = g->self;
    out->state = state_name(g);
    out->applied = g->applied;
    out->committed = g->commit;
    out->snapshot = g->snapshot_index;
    out->is_leader = g->is_serving;
    out->is_lost = g->is_lost;
    if (g->damage != NULL) {
        out->damaged = ranges_total(&g->damage->damaged);
        out->missing = ranges_total(&g->damage->missing);
        out->missing_first = qr_group_missing_next(g, 1);
        if (repair_is_missing(g, g->applied + 1)) {
            out->blocked = g->applied + 1;
        }
    }
    if (!g->is_running) {
        return;
    }
    out->is_changing = g->intent != INTENT_NONE ||
                       g->raft.configuration_uncommitted_index != 0;
    out->leader = qr_replica_node(replica_leader(g));
    out->term = raft_current_term(&g->raft);
    out->last = g->last;
    out->stored = g->raft.last_stored;
    status_members(g, out);
}

qr_index
qr_group_missing_next(const struct qr_group *g, qr_index index)
{
    const struct ranges *missing;
    size_t at;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->damage == NULL) {
        return 0;
    }
    missing = &g->damage->missing;
    at = ranges_find(missing, index);
    if (at == missing->count) {
        return 0;
    }
    return MAX(index, missing->items[at].first);
}

bool
qr_group_is_leader(const struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    return g->is_serving;
}

/* Whether WANTED has server S in its role. */
static bool
is_wanted(const struct raft_server *s, const struct qr_member *wanted,
          size_t count)
{
    enum qr_role role = s->role == RAFT_VOTER ? QR_ROLE_VOTER : QR_ROLE_LEARNER;

    for (size_t i = 0; i < count; i++) {
        if (wanted[i].id == s->id) {
            return wanted[i].role == role;
        }
    }
    return false;
}

bool
qr_group_agrees(const struct qr_group *g, const struct qr_member *wanted,
                size_t count)
{
    const struct raft_configuration *c = &g->raft.configuration;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(count <= QR_MEMBERS_MAX);
    if (!g->is_serving) {
        return true;
    }
    if (c->n != count || g->intent != INTENT_NONE ||
        g->raft.configuration_uncommitted_index != 0) {
        return false;
    }
    for (unsigned i = 0; i < c->n; i++) {
        if (!is_wanted(&c->servers[i], wanted, count)) {
            return false;
        }
    }
    return true;
}
