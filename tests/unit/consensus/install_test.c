/* Snapshots: taken, sent, resumed, failed. */
#include "cluster.h"
#include "lib/harness.h"

enum {
    GROUP = 16
};

static void
propose(struct cluster *c, unsigned count, size_t size, unsigned settle_of_4)
{
    for (unsigned i = 0; i < count; i++) {
        cr_assert(cluster_propose(c, GROUP, size, i % 4 < settle_of_4));
        cluster_run(c, 1);
    }
}

static struct qr_group_status
status_of(struct cluster *c, qr_node_id node)
{
    struct qr_group_status s;

    qr_group_status(cluster_group(c, node, GROUP), &s);
    return s;
}

static struct cluster *
three(uint64_t seed)
{
    struct cluster *c = cluster_new(seed, 3);

    c->snapshot_log_entries = 50;
    c->snapshot_log_bytes = 64 << 10;
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, false);
        cluster_start(c, id);
    }
    cluster_run(c, 10);
    cluster_open(c, GROUP, 3, false);
    cr_assert_neq(cluster_wait_leader(c, GROUP, 100), 0);
    return c;
}

Test(install, snapshots_are_taken_as_the_log_grows)
{
    struct cluster *c = three(1);

    propose(c, 300, 100, 3);
    cr_assert(cluster_converges(c, GROUP, 1000));
    for (qr_node_id id = 1; id <= 3; id++) {
        cr_assert_gt(status_of(c, id).snapshot, 200);
        cluster_check_bodies(c, id, GROUP);
    }
    cluster_free(&c);
}

Test(install, a_replica_restores_its_snapshot_at_restart)
{
    struct cluster *c = three(2);

    propose(c, 300, 100, 3);
    cr_assert(cluster_converges(c, GROUP, 1000));
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, true);
    }
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_start(c, id);
    }
    cr_assert_neq(cluster_wait_leader(c, GROUP, 5000), 0);
    cr_assert(cluster_converges(c, GROUP, 3000));
    for (qr_node_id id = 1; id <= 3; id++) {
        cr_assert_eq(cluster_machine(c, id, GROUP)->restores, 1);
        cluster_check_bodies(c, id, GROUP);
    }
    cluster_free(&c);
}

Test(install, a_follower_far_behind_gets_the_manifest_and_what_is_live)
{
    struct cluster *c = three(3);
    qr_node_id down = cluster_leader(c, GROUP) % 3 + 1;

    cluster_crash(c, down, true);
    propose(c, 1000, 1000, 2);
    cluster_start(c, down);
    cr_assert(cluster_converges(c, GROUP, 10000));
    cr_assert_geq(cluster_machine(c, down, GROUP)->restores, 1);
    cr_assert_gt(ranges_total(&cluster_machine(c, down, GROUP)->live), 400);
    cluster_check_bodies(c, down, GROUP);
    cluster_free(&c);
}

Test(install, a_transfer_goes_on_after_lost_chunks)
{
    struct cluster *c = three(4);
    struct sim_net net = sim_net(c->sim);
    qr_node_id down = cluster_leader(c, GROUP) % 3 + 1;

    cluster_crash(c, down, true);
    propose(c, 2000, 3000, 1);
    net.loss_per_million = 100000;
    sim_set_net(c->sim, &net);
    cluster_start(c, down);
    cluster_run(c, 20000);
    net.loss_per_million = 0;
    sim_set_net(c->sim, &net);
    cr_assert(cluster_converges(c, GROUP, 20000));
    cluster_check_bodies(c, down, GROUP);
    cluster_free(&c);
}

Test(install, a_transfer_that_fails_is_taken_up_from_the_old_state)
{
    struct cluster *c = three(5);
    qr_node_id leader = cluster_leader(c, GROUP);
    qr_node_id down = leader % 3 + 1;
    struct sim_net net = sim_net(c->sim);
    uint64_t index;

    cluster_crash(c, down, true);
    propose(c, 3000, 3000, 0);
    net.delay_min_us = 20000;
    net.delay_max_us = 20000;
    sim_set_net(c->sim, &net);
    cluster_start(c, down);
    for (unsigned i = 0; i < 10000; i++) {
        cluster_run(c, 1);
        if (strcmp(status_of(c, down).state, "installing") == 0) {
            break;
        }
    }
    cr_assert_str_eq(status_of(c, down).state, "installing");
    cluster_run(c, 100);
    index = cluster_machine(c, down, GROUP)->index;
    /* The sender dies in the middle. */
    cluster_crash(c, leader, true);
    cluster_run(c, 300);
    cr_assert_eq(cluster_machine(c, down, GROUP)->index, index);
    cr_assert_neq(cluster_wait_leader(c, GROUP, 20000), 0);
    cluster_start(c, leader);
    cr_assert(cluster_converges(c, GROUP, 30000));
    cluster_check_bodies(c, down, GROUP);
    cluster_free(&c);
}

Test(install, a_snapshot_of_another_version_leaves_the_replica_out)
{
    struct cluster *c = three(6);
    qr_node_id down = cluster_leader(c, GROUP) % 3 + 1;

    cluster_crash(c, down, true);
    propose(c, 300, 100, 3);
    cluster_start(c, down);
    cluster_machine(c, down, GROUP)->refuses_restore = true;
    cluster_run(c, 10000);
    cr_assert(cluster_propose(c, GROUP, 1, false));
    cr_assert_eq(cluster_machine(c, down, GROUP)->restores, 0);
    cluster_free(&c);
}

Test(install, a_volatile_replica_installs_at_once)
{
    struct cluster *c = cluster_new(7, 3);
    unsigned i;

    c->snapshot_log_entries = 50;
    c->snapshot_log_bytes = 64 << 10;
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, false);
        cluster_start(c, id);
    }
    cluster_run(c, 10);
    cluster_open(c, GROUP, 3, true);
    cr_assert_eq(cluster_wait_leader(c, GROUP, 100), 1);
    for (i = 1; i <= 2; i++) {
        sim_cut(c->sim, 3, i, true);
        sim_cut(c->sim, i, 3, true);
    }
    propose(c, 500, 100, 2);
    sim_heal(c->sim);
    cr_assert(cluster_converges(c, GROUP, 10000));
    cr_assert_geq(cluster_machine(c, 3, GROUP)->restores, 1);
    cluster_check_bodies(c, 3, GROUP);
    cluster_free(&c);
}

Test(install, a_state_too_large_for_a_snapshot_is_not_the_end)
{
    struct cluster *c = three(8);

    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_machine(c, id, GROUP)->ballast = STORE_ENTRY_SIZE_MAX;
    }
    propose(c, 120, 10, 4);
    cr_assert(cluster_converges(c, GROUP, 1000));
    cr_assert_eq(status_of(c, 1).snapshot, 0);
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_machine(c, id, GROUP)->ballast = 0;
    }
    propose(c, 120, 10, 4);
    cr_assert(cluster_converges(c, GROUP, 1000));
    cr_assert_gt(status_of(c, 1).snapshot, 100);
    cluster_free(&c);
}
