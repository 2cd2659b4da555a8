/* Who leads when nobody is known to.
 *
 * After a cold start no leader died, so no link tells of one; left alone, a
 * group would wait for an election time-out, and the queues' groups for that
 * of the metadata before. Instead a voter that knows no leader, and is linked
 * to enough others for a majority, volunteers: it lets the library's time leap
 * to its time-out. With pre-vote that disturbs nobody. Voters take turns,
 * VOLUNTEER_STEP_MS apart, in an order that the group's id rotates; each tries
 * a few times, since the others may not have the group open yet.
 *
 * So does a leader that a higher term has made step down, as that of a member
 * that comes back: nobody else knows that nobody leads. */
#include "base/check.h"
#include "consensus/internal.h"

enum {
    VOLUNTEER_FIRST_MS = 20,
    VOLUNTEER_STEP_MS = 150,
    VOLUNTEER_TRIES = 6,
    /* A real election, with what it writes to disks, is left alone so long. */
    VOLUNTEER_PATIENCE_MS = 600
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

/* Stand as number TURN. */
static void
begin(struct qr_group *g, int turn)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(turn >= 0);
    g->volunteer_tries = VOLUNTEER_TRIES;
    g->volunteer_at = replica_now(g) + VOLUNTEER_FIRST_MS +
                      (raft_time)turn * VOLUNTEER_STEP_MS;
}

static bool
may_stand(struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    return g->is_running && !g->is_installing && !g->is_asleep &&
           !repair_hinders(g) && is_leaderless(g) && place(g) >= 0;
}

void
volunteer_start(struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if (may_stand(g)) {
        begin(g, place(g));
    }
}

void
volunteer_again(struct qr_group *g)
{
    qr_replica_id vote = raft_voted_for(&g->raft);

    OBJ_CHECK(g, GROUP_MAGIC);
    if (may_stand(g) && (vote == 0 || vote == g->self)) {
        begin(g, 0);
    }
}

/* Whether the votes of an election that we have begun may still come in. */
static bool
is_being_elected(struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    return g->raft.state == RAFT_CANDIDATE &&
           !g->raft.candidate_state.in_pre_vote &&
           replica_now(g) <
               g->raft.election_timer_start + VOLUNTEER_PATIENCE_MS;
}

void
volunteer_try(struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(g->is_running);
    if (g->volunteer_tries == 0 || replica_now(g) < g->volunteer_at) {
        return;
    }
    if (!is_leaderless(g) || g->is_installing) {
        g->volunteer_tries = 0;
        return;
    }
    g->volunteer_at = replica_now(g) + (uint64_t)2 * VOLUNTEER_STEP_MS;
    if (!is_being_elected(g)) {
        g->volunteer_tries--;
        replica_leap(g);
    }
}
