/* Idle groups sleep, and wake when it matters. */
#include "cluster.h"
#include "lib/harness.h"

enum {
    GROUP = 16
};

static uint64_t
sleepers(struct cluster *c)
{
    uint64_t n = 0;

    for (qr_node_id id = 1; id <= c->nodes_count; id++) {
        struct qr_host_stats s;

        if (cluster_is_up(c, id)) {
            qr_host_stats(cluster_node(c, id)->host, &s);
            n += s.groups_hibernating;
        }
    }
    return n;
}

static uint64_t
frames(struct cluster *c)
{
    struct sim_stats s;

    sim_stats(c->sim, &s);
    return s.frames_sent;
}

static qr_term
term_of(struct cluster *c, qr_node_id node)
{
    struct qr_group_status s;

    qr_group_status(cluster_group(c, node, GROUP), &s);
    return s.term;
}

static struct cluster *
asleep(uint64_t seed)
{
    struct cluster *c = cluster_new(seed, 3);

    cluster_run(c, 10);
    cluster_open(c, GROUP, 3, false);
    cr_assert_eq(cluster_wait_leader(c, GROUP, 100), 1);
    cr_assert(cluster_propose(c, GROUP, 10, false));
    cluster_run(c, 3000);
    cr_assert_eq(sleepers(c), 3);
    return c;
}

Test(hibernate, an_idle_group_says_nothing)
{
    struct cluster *c = asleep(1);
    uint64_t before = frames(c);

    cluster_run(c, 3600000);
    cr_assert_eq(frames(c), before);
    cr_assert_eq(cluster_leader(c, GROUP), 1);
    cr_assert_eq(sleepers(c), 3);
    cluster_free(&c);
}

Test(hibernate, a_proposal_wakes_everybody)
{
    struct cluster *c = asleep(2);
    qr_term term = term_of(c, 1);

    cluster_run(c, 100000);
    cr_assert(cluster_propose(c, GROUP, 10, false));
    cluster_run(c, 5);
    cr_assert_eq(cluster_oracle(c, GROUP)->acknowledged, 2);
    cluster_run(c, 1);
    cr_assert_eq(sleepers(c), 0);
    cr_assert(cluster_converges(c, GROUP, 1000));
    cluster_run(c, 5000);
    cr_assert_eq(sleepers(c), 3);
    cr_assert_eq(term_of(c, 1), term);
    cluster_free(&c);
}

Test(hibernate, a_sleeping_leader_that_dies_is_followed)
{
    struct cluster *c = asleep(3);

    cluster_run(c, 100000);
    cluster_crash(c, 1, false);
    cluster_run(c, 20);
    cr_assert_neq(cluster_leader(c, GROUP), 0);
    cr_assert(cluster_propose(c, GROUP, 10, false));
    cluster_run(c, 20);
    cr_assert_eq(cluster_oracle(c, GROUP)->acknowledged, 2);
    cluster_run(c, 5000);
    cr_assert_lt(sleepers(c), 2, "the leader waits for the third");
    cluster_start(c, 1);
    cluster_run(c, 5000);
    cr_assert_eq(sleepers(c), 3);
    cluster_free(&c);
}

Test(hibernate, a_follower_that_restarts_disturbs_nobody)
{
    struct cluster *c = asleep(4);
    qr_term term = term_of(c, 1);

    cluster_run(c, 100000);
    cluster_crash(c, 3, true);
    cluster_start(c, 3);
    cluster_run(c, 10000);
    cr_assert_eq(cluster_leader(c, GROUP), 1);
    cr_assert_eq(term_of(c, 1), term);
    cr_assert_eq(sleepers(c), 3);
    cluster_free(&c);
}

Test(hibernate, a_sleeping_leader_that_is_cut_off_is_followed)
{
    struct cluster *c = asleep(5);

    for (qr_node_id id = 2; id <= 3; id++) {
        sim_cut(c->sim, 1, id, true);
        sim_cut(c->sim, id, 1, true);
    }
    cluster_run(c, 1700);
    cr_assert_neq(cluster_leader(c, GROUP), 0);
    cr_assert_neq(cluster_leader(c, GROUP), 1);
    sim_heal(c->sim);
    cluster_run(c, 5000);
    cr_assert_eq(sleepers(c), 3);
    cr_assert_not(cluster_machine(c, 1, GROUP)->standing.is_leader);
    cluster_free(&c);
}

Test(hibernate, a_group_of_one_sleeps_alone)
{
    struct cluster *c = cluster_new(6, 1);

    cluster_open(c, GROUP, 1, false);
    cluster_run(c, 5000);
    cr_assert_eq(sleepers(c), 1);
    cr_assert(cluster_propose(c, GROUP, 10, false));
    cluster_run(c, 10);
    cr_assert_eq(cluster_oracle(c, GROUP)->acknowledged, 1);
    cluster_free(&c);
}

Test(hibernate, members_are_changed_and_snapshots_taken_in_sleep)
{
    struct cluster *c = asleep(7);
    struct qr_group_status s;

    cluster_run(c, 10000);
    cr_assert_eq(
        qr_group_remove(cluster_group(c, 1, GROUP), cluster_replica(3)), 0);
    cluster_run(c, 5000);
    cr_assert_null(cluster_group(c, 3, GROUP));
    cr_assert_eq(sleepers(c), 2);
    qr_group_snapshot(cluster_group(c, 1, GROUP));
    cluster_run(c, 5000);
    qr_group_status(cluster_group(c, 1, GROUP), &s);
    cr_assert_eq(s.snapshot, s.last);
    cr_assert_eq(sleepers(c), 2);
    cr_assert_eq(qr_group_transfer(cluster_group(c, 1, GROUP), 2), 0);
    cluster_run(c, 50);
    cr_assert_eq(cluster_leader(c, GROUP), 2);
    cluster_free(&c);
}
