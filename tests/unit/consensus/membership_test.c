/* Members come, are promoted, lead, and go. */
#include <quorate/error.h>

#include "cluster.h"
#include "lib/harness.h"

enum {
    GROUP = 16
};

static struct cluster *
start(uint64_t seed, unsigned nodes, unsigned voters)
{
    struct cluster *c = cluster_new(seed, nodes);

    c->snapshot_log_entries = 50;
    c->snapshot_log_bytes = 32 << 10;
    for (qr_node_id id = 1; id <= nodes; id++) {
        cluster_crash(c, id, false);
        cluster_start(c, id);
    }
    cluster_run(c, 10);
    cluster_open(c, GROUP, voters, false);
    cr_assert_neq(cluster_wait_leader(c, GROUP, 100), 0);
    return c;
}

static struct qr_group *
leader(struct cluster *c)
{
    return cluster_group(c, cluster_wait_leader(c, GROUP, 5000), GROUP);
}

static void
propose(struct cluster *c, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        cr_assert(cluster_propose(c, GROUP, 500, i % 2 == 0));
        cluster_run(c, 1);
    }
}

/* Repeat ACTION until it is accepted. */
static void
insist(struct cluster *c, int (*action)(struct qr_group *, qr_replica_id),
       qr_replica_id replica)
{
    int rv = -QR_EBUSY;

    for (unsigned i = 0; i < 1000 && rv == -QR_EBUSY; i++) {
        rv = action(leader(c), replica);
        cluster_run(c, 10);
    }
    cr_assert_eq(rv, 0, "%s", qr_error_name(rv));
    cluster_run(c, 100);
}

Test(membership, a_learner_catches_up_by_snapshot_and_becomes_a_voter)
{
    struct cluster *c = start(1, 4, 3);
    struct qr_group_status s;

    propose(c, 400);
    cluster_join(c, GROUP, 4, cluster_replica(4));
    insist(c, qr_group_add, cluster_replica(4));
    insist(c, qr_group_promote, cluster_replica(4));
    cr_assert(cluster_converges(c, GROUP, 5000));
    qr_group_status(cluster_group(c, 4, GROUP), &s);
    cr_assert_str_eq(s.state, "follower");
    cr_assert_eq(s.members_count, 4);
    cr_assert_eq(s.members[3].member.role, QR_ROLE_VOTER);
    cr_assert_geq(cluster_machine(c, 4, GROUP)->restores, 1);
    cr_assert_gt(cluster_machine(c, 4, GROUP)->members_changes, 0);
    cluster_check_bodies(c, 4, GROUP);
    cluster_free(&c);
}

Test(membership, a_removed_member_goes_away)
{
    struct cluster *c = start(2, 3, 3);
    qr_node_id out = cluster_leader(c, GROUP) % 3 + 1;

    propose(c, 10);
    insist(c, qr_group_remove, cluster_replica(out));
    cluster_run(c, 10000);
    cr_assert_null(cluster_group(c, out, GROUP));
    cr_assert_eq(cluster_node(c, out)->gone, 1);
    cr_assert_null(cluster_machine(c, out, GROUP));
    propose(c, 10);
    cr_assert(cluster_converges(c, GROUP, 1000));
    cluster_free(&c);
}

Test(membership, a_member_removed_while_it_was_down_goes_when_it_returns)
{
    struct cluster *c = start(3, 3, 3);
    qr_node_id out = cluster_leader(c, GROUP) % 3 + 1;

    cluster_crash(c, out, true);
    insist(c, qr_group_remove, cluster_replica(out));
    propose(c, 10);
    cluster_start(c, out);
    cr_assert_not_null(cluster_group(c, out, GROUP));
    cluster_run(c, 10000);
    cr_assert_null(cluster_group(c, out, GROUP));
    cluster_free(&c);
}

Test(membership, one_voter_grows_to_three_and_shrinks_to_one)
{
    struct cluster *c = start(4, 3, 1);

    propose(c, 100);
    for (qr_node_id id = 2; id <= 3; id++) {
        cluster_join(c, GROUP, id, cluster_replica(id));
        insist(c, qr_group_add, cluster_replica(id));
        insist(c, qr_group_promote, cluster_replica(id));
    }
    propose(c, 100);
    cr_assert(cluster_converges(c, GROUP, 1000));
    for (qr_node_id id = 2; id <= 3; id++) {
        insist(c, qr_group_remove, cluster_replica(id));
    }
    propose(c, 100);
    cluster_run(c, 10000);
    cr_assert_null(cluster_group(c, 2, GROUP));
    cr_assert_null(cluster_group(c, 3, GROUP));
    cluster_crash(c, 1, true);
    cluster_start(c, 1);
    cr_assert_eq(cluster_wait_leader(c, GROUP, 100), 1);
    propose(c, 10);
    cluster_free(&c);
}

Test(membership, the_leadership_moves_where_it_is_asked_to)
{
    struct cluster *c = start(5, 3, 3);

    for (unsigned i = 0; i < 6; i++) {
        qr_node_id to = cluster_wait_leader(c, GROUP, 5000) % 3 + 1;

        propose(c, 5);
        cluster_run(c, 50);
        cr_assert_eq(qr_group_transfer(leader(c), to), 0);
        cluster_run(c, 20);
        cr_assert_eq(cluster_leader(c, GROUP), to);
    }
    cr_assert(cluster_converges(c, GROUP, 1000));
    cluster_free(&c);
}

Test(membership, proposals_during_a_transfer_are_not_refused)
{
    struct cluster *c = start(6, 3, 3);
    qr_node_id from = cluster_leader(c, GROUP);
    qr_node_id to = from % 3 + 1;

    sim_cut(c->sim, from, to, true);
    cr_assert(cluster_propose(c, GROUP, 10, false));
    cluster_run(c, 20);
    cr_assert_eq(qr_group_transfer(leader(c), to), 0);
    cluster_run(c, 5);
    /* The target cannot be reached: the leader goes on after a while. */
    cr_assert(cluster_propose(c, GROUP, 10, false));
    cluster_run(c, 1400);
    sim_heal(c->sim);
    cr_assert(cluster_converges(c, GROUP, 10000));
    cr_assert_eq(cluster_oracle(c, GROUP)->acknowledged, 2);
    cluster_free(&c);
}

Test(membership, what_cannot_be_done_is_refused)
{
    struct cluster *c = start(7, 4, 3);
    qr_node_id lead = cluster_leader(c, GROUP);
    struct qr_group *follower = cluster_group(c, lead % 3 + 1, GROUP);
    struct qr_group *g = leader(c);

    cr_assert_eq(qr_group_add(follower, cluster_replica(4)), -QR_ENOTLEADER);
    cr_assert_eq(qr_group_transfer(follower, 1), -QR_ENOTLEADER);
    cr_assert_eq(qr_group_remove(g, cluster_replica(lead)), -QR_EINVAL);
    cr_assert_eq(qr_group_remove(g, cluster_replica(4)), -QR_ENOENT);
    cr_assert_eq(qr_group_promote(g, cluster_replica(4)), -QR_ENOENT);
    cr_assert_eq(qr_group_promote(g, cluster_replica(1)), -QR_EEXIST);
    cr_assert_eq(qr_group_add(g, cluster_replica(2)), -QR_EEXIST);
    cr_assert_eq(qr_group_add(g, 5), -QR_EINVAL);
    cr_assert_eq(qr_group_transfer(g, 4), -QR_ENOENT);
    cr_assert_eq(qr_group_transfer(g, lead), -QR_ENOENT);
    cr_assert_eq(qr_group_add(g, cluster_replica(4)), 0);
    cr_assert_eq(qr_group_add(g, qr_replica(5, 1)), -QR_EBUSY);
    cluster_run(c, 100);
    /* Nobody is there to catch up. */
    cr_assert_eq(qr_group_promote(g, cluster_replica(4)), -QR_EBUSY);
    cluster_free(&c);
}
