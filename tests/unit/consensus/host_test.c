/* Groups as their owners see them: electing, replicating, restarting. */
#include "cluster.h"
#include "lib/harness.h"

Test(host, a_new_group_elects_its_stander_at_once)
{
    struct cluster *c = cluster_new(1, 3);

    cluster_run(c, 10);
    cluster_open(c, 16, 3, false);
    cluster_run(c, 20);
    cr_assert_eq(cluster_leader(c, 16), 1);
    cluster_free(&c);
}

Test(host, what_is_proposed_is_applied_everywhere)
{
    struct cluster *c = cluster_new(2, 3);

    cluster_run(c, 10);
    cluster_open(c, 16, 3, false);
    cr_assert_neq(cluster_wait_leader(c, 16, 100), 0);
    for (unsigned i = 0; i < 100; i++) {
        cr_assert(cluster_propose(c, 16, i, false));
        if (i % 7 == 0) {
            cluster_run(c, 1);
        }
    }
    cr_assert(cluster_converges(c, 16, 1000));
    cr_assert_eq(cluster_oracle(c, 16)->acknowledged, 100);
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_check_bodies(c, id, 16);
    }
    cluster_free(&c);
}

Test(host, a_group_of_one_leads_alone)
{
    struct cluster *c = cluster_new(3, 1);

    cluster_open(c, 16, 1, false);
    cluster_run(c, 20);
    cr_assert_eq(cluster_leader(c, 16), 1);
    cr_assert(cluster_propose(c, 16, 10, false));
    cluster_run(c, 20);
    cr_assert_eq(cluster_oracle(c, 16)->acknowledged, 1);
    cluster_free(&c);
}

Test(host, a_cluster_that_lost_power_goes_on)
{
    struct cluster *c = cluster_new(4, 3);

    cluster_run(c, 10);
    cluster_open(c, 16, 3, false);
    cr_assert_neq(cluster_wait_leader(c, 16, 100), 0);
    for (unsigned i = 0; i < 50; i++) {
        cr_assert(cluster_propose(c, 16, 100, false));
        cluster_run(c, 2);
    }
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, true);
    }
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_start(c, id);
    }
    cr_assert_neq(cluster_wait_leader(c, 16, 5000), 0);
    cr_assert(cluster_propose(c, 16, 100, false));
    cr_assert(cluster_converges(c, 16, 1000));
    cr_assert_geq(cluster_oracle(c, 16)->acknowledged, 50);
    cluster_free(&c);
}

Test(host, a_volatile_group_commits_without_its_disk)
{
    struct cluster *c = cluster_new(5, 3);

    cluster_run(c, 10);
    cluster_open(c, 16, 3, true);
    cr_assert_neq(cluster_wait_leader(c, 16, 100), 0);
    for (unsigned i = 0; i < 50; i++) {
        cr_assert(cluster_propose(c, 16, 100, i % 2 == 0));
        cluster_run(c, 1);
    }
    cr_assert(cluster_converges(c, 16, 1000));
    cr_assert_eq(cluster_oracle(c, 16)->acknowledged, 50);
    cluster_free(&c);
}
