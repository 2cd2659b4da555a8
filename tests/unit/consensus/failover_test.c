/* What links say about leaders. */
#include "cluster.h"
#include "consensus/internal.h"
#include "lib/harness.h"

enum {
    GROUPS = 1000
};

static unsigned
leaderless(struct cluster *c, qr_group_id first, unsigned count)
{
    unsigned n = 0;

    for (unsigned i = 0; i < count; i++) {
        n += cluster_leader(c, first + i) == 0;
    }
    return n;
}

Test(failover, a_killed_leader_is_followed_in_one_round_trip)
{
    struct cluster *c = cluster_new(1, 3);

    c->election_timeout_ms = 5000;
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, false);
        cluster_start(c, id);
    }
    cluster_run(c, 10);
    cluster_open(c, 16, 3, false);
    cr_assert_eq(cluster_wait_leader(c, 16, 100), 1);
    for (unsigned i = 0; i < 20; i++) {
        cr_assert(cluster_propose(c, 16, 10, false));
        cluster_run(c, 3);
    }
    cluster_crash(c, 1, false);
    /* 1 ms until it is refused, then votes, their disks, the barrier. */
    cluster_run(c, 10);
    cr_assert_neq(cluster_leader(c, 16), 0);
    cluster_free(&c);
}

Test(failover, a_cold_start_waits_for_no_time_out)
{
    struct cluster *c = cluster_new(7, 3);

    c->election_timeout_ms = 8000;
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, false);
        cluster_start(c, id);
    }
    cluster_run(c, 10);
    cluster_open(c, 16, 3, false);
    cr_assert_eq(cluster_wait_leader(c, 16, 100), 1);
    cr_assert(cluster_propose(c, 16, 10, false));
    cluster_run(c, 50);
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, true);
    }
    cluster_start(c, 2);
    cluster_run(c, 3000); /* alone it cannot lead */
    cr_assert_eq(cluster_leader(c, 16), 0);
    cluster_start(c, 3);
    cluster_run(c, 500);
    cr_assert_neq(cluster_leader(c, 16), 0);
    cluster_free(&c);
}

Test(failover, a_thousand_groups_elect_and_fail_over_quickly)
{
    struct cluster *c = cluster_new(2, 3);
    unsigned led[4] = {0};

    cluster_run(c, 10);
    for (unsigned i = 0; i < GROUPS; i++) {
        for (qr_node_id id = 1; id <= 3; id++) {
            cluster_open_on(c, 16 + i, id, 3, id == 1 + i % 3, false);
        }
    }
    cluster_run(c, 50);
    cr_assert_eq(leaderless(c, 16, GROUPS), 0);
    cluster_crash(c, 2, false);
    cluster_run(c, 50);
    cr_assert_eq(leaderless(c, 16, GROUPS), 0);
    for (unsigned i = 0; i < GROUPS; i++) {
        led[cluster_leader(c, 16 + i)]++;
    }
    /* What it led is spread over those that are left. */
    cr_assert_gt(led[1], GROUPS / 3 + GROUPS / 8);
    cr_assert_gt(led[3], GROUPS / 3 + GROUPS / 8);
    cluster_free(&c);
}

Test(failover, the_second_choice_follows_when_the_first_cannot)
{
    struct cluster *c = cluster_new(3, 3);
    struct oracle *o;

    c->election_timeout_ms = 5000;
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, false);
        cluster_start(c, id);
    }
    cluster_run(c, 10);
    cluster_open(c, 16, 3, false);
    cr_assert_eq(cluster_wait_leader(c, 16, 100), 1);
    /* Group 16 goes to the first of {2, 3}; let it lack an entry. */
    sim_cut(c->sim, 1, 2, true);
    cr_assert(cluster_propose(c, 16, 10, false));
    cluster_run(c, 50);
    o = cluster_oracle(c, 16);
    cr_assert_eq(o->acknowledged, 1);
    cluster_crash(c, 1, false);
    sim_heal(c->sim);
    cluster_run(c, 700);
    cr_assert_eq(cluster_leader(c, 16), 3);
    cluster_free(&c);
}

Test(failover, a_leader_that_falls_silent_is_followed)
{
    struct cluster *c = cluster_new(4, 3);

    c->election_timeout_ms = 8000;
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, false);
        cluster_start(c, id);
    }
    cluster_run(c, 10);
    cluster_open(c, 16, 3, false);
    cr_assert_eq(cluster_wait_leader(c, 16, 100), 1);
    for (qr_node_id id = 2; id <= 3; id++) {
        sim_cut(c->sim, 1, id, true);
        sim_cut(c->sim, id, 1, true);
    }
    cluster_run(c, 1600); /* silence is noticed after 1500 ms */
    cr_assert_neq(cluster_leader(c, 16), 0);
    cr_assert_neq(cluster_leader(c, 16), 1);
    sim_heal(c->sim);
    cr_assert(cluster_propose(c, 16, 10, false));
    cr_assert(cluster_converges(c, 16, 5000));
    cluster_free(&c);
}

Test(failover, a_leader_that_restarts_unnoticed_is_followed)
{
    struct cluster *c = cluster_new(5, 3);
    struct sim_net net = sim_net(c->sim);

    net.detect_us = 1000000;
    sim_set_net(c->sim, &net);
    c->election_timeout_ms = 8000;
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, false);
        cluster_start(c, id);
    }
    cluster_run(c, 10);
    cluster_open(c, 16, 3, false);
    cr_assert_eq(cluster_wait_leader(c, 16, 100), 1);
    cluster_run(c, 50);
    cluster_crash(c, 1, false);
    cluster_start(c, 1);
    cluster_run(c, 50);
    cr_assert_neq(cluster_leader(c, 16), 0);
    cluster_free(&c);
}

/* Three nodes whose timers are of no use, and group 16, which node 1 leads. */
static struct cluster *
patient_three(uint64_t seed)
{
    struct cluster *c = cluster_new(seed, 3);

    c->election_timeout_ms = 8000;
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, false);
        cluster_start(c, id);
    }
    cluster_run(c, 10);
    cluster_open(c, 16, 3, false);
    cr_assert_eq(cluster_wait_leader(c, 16, 100), 1);
    cluster_run(c, 50);
    return c;
}

Test(failover, who_was_cut_off_comes_back_and_deposes_nobody)
{
    struct cluster *c = patient_three(6);
    raft_term term = raft_current_term(&cluster_group(c, 1, 16)->raft);

    for (qr_node_id id = 1; id <= 2; id++) {
        sim_cut(c->sim, 3, id, true);
        sim_cut(c->sim, id, 3, true);
    }
    cluster_run(c, 60000);
    cr_assert(cluster_propose(c, 16, 10, false));
    cr_assert_eq(raft_current_term(&cluster_group(c, 3, 16)->raft), term);
    sim_heal(c->sim);
    cr_assert(cluster_converges(c, 16, 1000));
    cr_assert_eq(cluster_leader(c, 16), 1);
    cr_assert_eq(raft_current_term(&cluster_group(c, 1, 16)->raft), term);
    cluster_free(&c);
}

Test(failover, a_leader_that_a_higher_term_deposes_stands_at_once)
{
    struct cluster *c = patient_three(8);
    struct qr_group *g = cluster_group(c, 1, 16);
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES_RESULT};
    raft_term term = raft_current_term(&g->raft) + 30;

    m.server_id = cluster_replica(3);
    m.append_entries_result.term = term;
    replica_receive(g, &m, false);
    cr_assert_not(replica_is_leader(g));
    cluster_run(c, 100);
    cr_assert_eq(cluster_leader(c, 16), 1);
    cr_assert_eq(raft_current_term(&g->raft), term + 1);
    cluster_free(&c);
}
