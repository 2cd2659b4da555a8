/* No promise leaves before it is durable; and what is none does not wait. */
#include "cluster.h"
#include "lib/harness.h"

enum {
    GROUP = 16
};

/* From now on NODE's disk does nothing until it is told to. */
static void
hang_disk(struct cluster *c, qr_node_id node)
{
    disk_sim_set_notify(cluster_node(c, node)->disk, NULL, NULL);
}

static void
complete(void *arg)
{
    struct node *n = arg;

    disk_sim_complete_all(n->disk);
}

/* Let NODE's disk do what waits for it. */
static void
run_disk(struct cluster *c, qr_node_id node)
{
    sim_call(c->sim, sim_env(c->sim, node, 0), 0, complete,
             cluster_node(c, node));
}

static struct cluster *
three(uint64_t seed)
{
    struct cluster *c = cluster_new(seed, 3);

    c->election_timeout_ms = 20000;
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, false);
        cluster_start(c, id);
    }
    cluster_run(c, 10);
    cluster_open(c, GROUP, 3, false);
    cr_assert_eq(cluster_wait_leader(c, GROUP, 100), 1);
    cluster_run(c, 50);
    return c;
}

static struct qr_group_status
status_of(struct cluster *c, qr_node_id node)
{
    struct qr_group_status s;

    qr_group_status(cluster_group(c, node, GROUP), &s);
    return s;
}

Test(promise, a_vote_waits_for_the_disk)
{
    struct cluster *c = three(1);

    hang_disk(c, 2);
    hang_disk(c, 3);
    cluster_crash(c, 1, false);
    /* Node 2 is the first choice; nobody hears before its term is stored. */
    cluster_run(c, 100);
    cr_assert_eq(status_of(c, 2).term, 3);
    cr_assert_eq(status_of(c, 3).term, 2);
    run_disk(c, 2);
    cluster_run(c, 10);
    cr_assert_eq(status_of(c, 3).term, 3);
    cr_assert_str_eq(status_of(c, 2).state, "candidate");
    run_disk(c, 3);
    cluster_run(c, 10);
    cr_assert_str_eq(status_of(c, 2).state, "leader");
    cr_assert_eq(cluster_leader(c, GROUP), 0, "its barrier is not stored");
    for (unsigned i = 0; i < 10; i++) {
        run_disk(c, 2);
        run_disk(c, 3);
        cluster_run(c, 1);
    }
    cr_assert_eq(cluster_leader(c, GROUP), 2);
    cluster_free(&c);
}

Test(promise, an_acknowledgement_waits_for_the_disk)
{
    struct cluster *c = three(2);
    qr_index before = status_of(c, 1).committed;

    hang_disk(c, 2);
    hang_disk(c, 3);
    cr_assert(cluster_propose(c, GROUP, 10, false));
    cluster_run(c, 500);
    cr_assert_eq(status_of(c, 2).last, before + 1);
    cr_assert_eq(status_of(c, 2).stored, before);
    cr_assert_eq(status_of(c, 1).stored, before + 1);
    cr_assert_eq(status_of(c, 1).committed, before);
    run_disk(c, 3);
    cluster_run(c, 5);
    cr_assert_eq(status_of(c, 1).committed, before + 1);
    cr_assert_eq(status_of(c, 1).applied, before + 1);
    cluster_free(&c);
}

Test(promise, entries_leave_before_the_leader_has_them)
{
    struct cluster *c = three(3);
    qr_index before = status_of(c, 1).committed;

    hang_disk(c, 1);
    cr_assert(cluster_propose(c, GROUP, 10, false));
    cluster_run(c, 500);
    cr_assert_eq(status_of(c, 1).stored, before);
    cr_assert_eq(status_of(c, 1).committed, before + 1);
    cr_assert_eq(status_of(c, 1).applied, before, "not what is not stored");
    cr_assert_eq(status_of(c, 2).applied, before + 1);
    run_disk(c, 1);
    cluster_run(c, 5);
    cr_assert_eq(status_of(c, 1).applied, before + 1);
    cr_assert_eq(cluster_oracle(c, GROUP)->acknowledged, 1);
    cluster_free(&c);
}

Test(promise, a_change_of_members_waits_for_the_leaders_disk)
{
    struct cluster *c = three(4);
    qr_index before = status_of(c, 1).committed;

    hang_disk(c, 1);
    cr_assert_eq(
        qr_group_remove(cluster_group(c, 1, GROUP), cluster_replica(3)), 0);
    cluster_run(c, 500);
    cr_assert_eq(status_of(c, 1).last, before + 1);
    cr_assert_eq(status_of(c, 2).last, before);
    run_disk(c, 1);
    cluster_run(c, 5);
    cr_assert_eq(status_of(c, 2).last, before + 1);
    cluster_free(&c);
}

Test(promise, a_new_group_says_nothing_before_it_is_stored)
{
    struct cluster *c = cluster_new(5, 3);

    cluster_run(c, 10);
    hang_disk(c, 1);
    cluster_open(c, GROUP, 3, false);
    cluster_run(c, 100);
    cr_assert_eq(cluster_leader(c, GROUP), 0);
    cr_assert_eq(status_of(c, 2).term, 1);
    for (unsigned i = 0; i < 20; i++) {
        run_disk(c, 1);
        cluster_run(c, 1);
    }
    cr_assert_eq(cluster_leader(c, GROUP), 1);
    cluster_free(&c);
}
