/* Who leads when nobody is known to.
 *
 * After a cold start no leader died, so no link tells of one; left alone, a
 * group would wait for an election time-out, and the queues' groups for that
 * of the metadata before. Instead a voter that knows no leader, and is linked
 * to enough others for a majority, volunteers: it lets the library's time leap
 * to its time-out. With pre-vote that disturbs nobody. Voters take turns,
 * VOLUNTEER_STEP_MS apart, in an order that the group's id rotates; each tries
 * a few times, since the others may not have the group open yet. */
#include "base/check.h"
#include "consensus/internal.h"

enum {
    VOLUNTEER_FIRST_MS = 20,
    VOLUNTEER_STEP_MS = 150,
    VOLUNTEER_TRIES = 6
};

/* Our place among the linked voters, or -1: no voter, or no majority. */
static int
place(struct qr_group *g)
{
    const struct raft_configuration *c = &g->raft.configuration;
    int voters = 0;
    int linked = 0;
    int us = -1;

    for (unsigned i = 0; i < c->n; i++) {
        const struct raft_server *s = &c->servers[i];

        if (s->role != RAFT_VOTER) {
            continue;
        }
        voters++;
        if (s->id == g->self) {
            us = linked++;
        } else if (host_peer(g->host, qr_replica_node(s->id))->is_linked) {
            linked++;
        }
    }
    if (us < 0 || voters < 2 || 2 * linked <= voters) {
        return -1;
    }
    return (us + linked - (int)(g->id % (uint64_t)linked)) % linked;
}

/* Whether the library neither leads nor knows a leader. */
static bool
is_leaderless(const struct qr_group *g)
{
    return g->raft.state == RAFT_CANDIDATE ||
           (g->raft.state == RAFT_FOLLOWER &&
            g->raft.follower_state.current_leader.id == 0);
}

void
volunteer_start(struct qr_group *g)
{
    int turn;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (!g->is_running || g->is_installing || g->is_asleep ||
        repair_hinders(g) || !is_leaderless(g)) {
        return;
    }
    turn = place(g);
    if (turn < 0) {
        return;
    }
    g->volunteer_tries = VOLUNTEER_TRIES;
    g->volunteer_at = replica_now(g) + VOLUNTEER_FIRST_MS +
                      (raft_time)turn * VOLUNTEER_STEP_MS;
}

void
volunteer_try(struct qr_group *g)
{
    raft_time now = replica_now(g);
    raft_time due = raft_timeout(&g->raft);

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(g->is_running);
    if (g->volunteer_tries == 0 || now < g->volunteer_at) {
        return;
    }
    if (!is_leaderless(g) || g->is_installing) {
        g->volunteer_tries = 0;
        return;
    }
    g->volunteer_tries--;
    g->volunteer_at = now + (uint64_t)2 * VOLUNTEER_STEP_MS;
    if (due > now) {
        /* Forward leaps are the library's to bear; never backward ones. */
        g->slept_ms -= due - now;
        g->volunteer_at += due - now;
    }
}
