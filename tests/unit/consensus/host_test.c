/* Groups as their owners see them: electing, replicating, restarting. */
#include <quorate/error.h>

#include "cluster.h"
#include "consensus/internal.h"
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

Test(host, a_vote_that_comes_before_the_group_is_kept)
{
    struct cluster *c = cluster_new(6, 3);

    cluster_run(c, 10);
    cluster_open_on(c, 16, 1, 3, true, false);
    cluster_run(c, 20);
    cr_assert_eq(cluster_leader(c, 16), 0);
    cluster_open_on(c, 16, 2, 3, false, false);
    cluster_run(c, 10);
    cr_assert_eq(cluster_leader(c, 16), 1);
    cluster_free(&c);
}

Test(host, a_vote_that_came_too_long_ago_is_not)
{
    struct cluster *c = cluster_new(7, 3);
    struct qr_group_status s;

    c->election_timeout_ms = 20000;
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, false);
        cluster_start(c, id);
    }
    cluster_run(c, 10);
    cluster_open_on(c, 16, 1, 3, true, false);
    cluster_run(c, 5000); /* until it has also stopped to volunteer */
    cluster_open_on(c, 16, 2, 3, false, false);
    cluster_run(c, 10);
    cr_assert_eq(cluster_leader(c, 16), 0);
    qr_group_status(cluster_group(c, 2, 16), &s);
    cr_assert_eq(s.term, 1);
    cluster_free(&c);
}

Test(host, a_leftover_of_a_deleted_group_is_told)
{
    struct cluster *c = cluster_new(8, 3);

    cluster_run(c, 10);
    cluster_open(c, 16, 3, false);
    cr_assert_eq(cluster_wait_leader(c, 16, 100), 1);
    cluster_crash(c, 3, false);
    (void)map_put(&c->deleted, 16, c);
    qr_group_delete(cluster_group(c, 1, 16));
    qr_group_delete(cluster_group(c, 2, 16));
    cluster_run(c, 10);
    cr_assert_null(cluster_group(c, 1, 16));
    cr_assert_eq(cluster_node(c, 1)->gone, 1);
    cluster_start(c, 3);
    cr_assert_not_null(cluster_group(c, 3, 16));
    cluster_run(c, 5000);
    cr_assert_null(cluster_group(c, 3, 16));
    cr_assert_geq(cluster_node(c, 3)->deleted, 1);
    cluster_crash(c, 3, true);
    cluster_start(c, 3);
    cr_assert_null(cluster_group(c, 3, 16));
    cluster_free(&c);
}

Test(host, another_incarnation_gets_no_votes)
{
    struct cluster *c = cluster_new(9, 3);
    struct qr_group_status s;

    cluster_run(c, 10);
    /* Node 2 has lost its disk: it is someone else in this group. */
    cluster_open_on(c, 16, 1, 3, true, false);
    cluster_join(c, 16, 2, qr_replica(2, 7));
    cluster_run(c, 5000);
    cr_assert_eq(cluster_leader(c, 16), 0);
    qr_group_status(cluster_group(c, 2, 16), &s);
    cr_assert_eq(s.term, 0);
    cr_assert_str_eq(s.state, "joining");
    cluster_free(&c);
}

Test(host, a_log_of_another_incarnation_is_not_taken_for_ones_own)
{
    struct cluster *c = cluster_new(10, 1);
    struct qr_group_config config = {.id = 16, .self = qr_replica(1, 1)};
    struct qr_group *g;

    cluster_join(c, 16, 1, qr_replica(1, 2));
    cluster_run(c, 50);
    cr_assert_eq(qr_group_open(cluster_node(c, 1)->host, &config, &g, NULL),
                 -QR_EEXIST);
    /* Restart the host alone, without its groups. */
    sim_stop(c->sim, 1);
    qr_host_free(&cluster_node(c, 1)->host);
    sim_start(c->sim, 1, 1, NULL);
    {
        struct qr_host_config hc = {.env = sim_env(c->sim, 1, 0),
                                    .store = cluster_node(c, 1)->store};

        cluster_node(c, 1)->host = qr_host_new(&hc);
    }
    cr_assert_eq(qr_group_open(cluster_node(c, 1)->host, &config, &g, NULL),
                 -QR_ESTALE, "an earlier incarnation");
    config.self = qr_replica(2, 3);
    cr_assert_eq(qr_group_open(cluster_node(c, 1)->host, &config, &g, NULL),
                 -QR_ESTALE, "another node's");
    cluster_free(&c);
}

Test(host, a_follower_takes_no_proposals)
{
    struct cluster *c = cluster_new(11, 3);
    struct slice s = {NULL, (const uint8_t *)"x", 1};

    cluster_run(c, 10);
    cluster_open(c, 16, 3, false);
    cr_assert_eq(cluster_wait_leader(c, 16, 100), 1);
    cr_assert_eq(qr_group_propose(cluster_group(c, 2, 16), &s, 1),
                 -QR_ENOTLEADER);
    cluster_free(&c);
}

Test(host, proposals_have_limits)
{
    struct cluster *c = cluster_new(12, 3);
    struct qr_group *g;
    uint8_t *data = calloc(1, QR_PROPOSAL_SIZE_MAX + 1);
    struct slice s = {NULL, data, QR_PROPOSAL_SIZE_MAX + 1};
    unsigned accepted = 0;
    int rv = 0;

    cluster_run(c, 10);
    cluster_open(c, 16, 3, false);
    cr_assert_eq(cluster_wait_leader(c, 16, 100), 1);
    g = cluster_group(c, 1, 16);
    cr_assert_eq(qr_group_propose(g, &s, 1), -QR_ETOOBIG);
    s.size = 1 << 20;
    while (rv == 0) {
        rv = qr_group_propose(g, &s, 1);
        accepted += rv == 0;
    }
    cr_assert_eq(rv, -QR_EBUSY);
    cr_assert_eq(accepted, QR_PENDING_SIZE_MAX >> 20);
    free(data);
    /* Nothing of it is looked at: the machine would not know it. */
    cluster_crash(c, 1, false);
    cluster_free(&c);
}

Test(host, a_turn_of_small_proposals_is_one_entry)
{
    struct cluster *c = cluster_new(13, 3);
    struct qr_group_status before;
    struct qr_group_status after;

    cluster_run(c, 10);
    cluster_open(c, 16, 3, false);
    cr_assert_eq(cluster_wait_leader(c, 16, 100), 1);
    qr_group_status(cluster_group(c, 1, 16), &before);
    for (unsigned i = 0; i < 1000; i++) {
        cr_assert(cluster_propose(c, 16, 100, false));
    }
    cr_assert(cluster_converges(c, 16, 1000));
    qr_group_status(cluster_group(c, 1, 16), &after);
    cr_assert_eq(after.last, before.last + 1);
    cr_assert_eq(cluster_oracle(c, 16)->acknowledged, 1000);
    cluster_free(&c);
}

Test(host, rooms_of_proposals_are_kept_within_a_budget)
{
    struct cluster *c = cluster_new(15, 1);
    struct qr_host *host;

    cluster_run(c, 10);
    for (qr_group_id id = 16; id < 24; id++) {
        cluster_open(c, id, 1, false);
        cr_assert_eq(cluster_wait_leader(c, id, 100), 1);
    }
    host = cluster_group(c, 1, 16)->host;
    for (qr_group_id id = 16; id < 24; id++) { /* in one turn: each its own */
        for (unsigned i = 0; i < 6; i++) {
            cr_assert(cluster_propose(c, id, GATHERS_KEPT_SIZE / 32, false));
        }
    }
    cluster_run(c, 1000);
    for (qr_group_id id = 16; id < 24; id++) {
        cr_assert_eq(cluster_oracle(c, id)->acknowledged, 6);
    }
    cr_assert_gt(host->gathers_free_count, 0);
    cr_assert_lt(host->gathers_free_count, 8);
    cr_assert_gt(host->gathers_free_size, 0);
    cr_assert_leq(host->gathers_free_size, GATHERS_KEPT_SIZE);
    cluster_free(&c);
}

Test(host, a_turn_of_large_proposals_is_split)
{
    struct cluster *c = cluster_new(14, 3);
    struct qr_group_status s;

    cluster_run(c, 10);
    cluster_open(c, 16, 3, false);
    cr_assert_eq(cluster_wait_leader(c, 16, 100), 1);
    for (unsigned i = 0; i < 40; i++) {
        cr_assert(cluster_propose(c, 16, 300000, false));
    }
    cr_assert(cluster_converges(c, 16, 2000));
    qr_group_status(cluster_group(c, 1, 16), &s);
    cr_assert_geq(s.last, 2 + 40 / 3);
    cluster_check_bodies(c, 2, 16);
    cluster_free(&c);
}

struct fetched {
    struct qr_fetch fetch;
    struct slice body;
    bool is_done;
};

static void
on_fetched(struct qr_fetch *fetch)
{
    struct fetched *f = fetch->arg;

    f->is_done = true;
}

Test(host, an_entry_can_be_fetched)
{
    struct cluster *c = cluster_new(15, 1);
    struct fetched f = {.body = {NULL, NULL, 0}};
    struct fetched missing = {.body = {NULL, NULL, 0}};
    struct qr_group *g;
    struct slice read;

    cluster_open(c, 16, 1, false);
    cluster_run(c, 20);
    cr_assert(cluster_propose(c, 16, 77, false));
    cluster_run(c, 20);
    g = cluster_group(c, 1, 16);
    f.fetch = (struct qr_fetch){
        .done = on_fetched, .arg = &f, .index = 3, .body = &f.body};
    missing.fetch = (struct qr_fetch){.done = on_fetched,
                                      .arg = &missing,
                                      .index = 99,
                                      .body = &missing.body};
    qr_group_fetch(g, &f.fetch);
    qr_group_fetch(g, &missing.fetch);
    cr_assert_not(f.is_done);
    cluster_run(c, 20);
    cr_assert(f.is_done);
    cr_assert_eq(f.fetch.result, 0);
    cr_assert_eq(f.body.size, 77 + 13);
    cr_assert(missing.is_done);
    cr_assert_eq(missing.fetch.result, -QR_ENOENT);
    cr_assert(qr_group_is_cached(g, 3));
    cr_assert_eq(qr_group_read(g, 3, &read), 0);
    cr_assert_eq(read.size, f.body.size);
    /* Entry 1 is a configuration, no command. */
    cr_assert_eq(qr_group_read(g, 1, &missing.body), -QR_ENOENT);
    slice_unref(&f.body);
    slice_unref(&read);
    cluster_free(&c);
}

Test(host, statistics_count)
{
    struct cluster *c = cluster_new(16, 3);
    struct qr_host_stats s;

    cluster_run(c, 10);
    cluster_open(c, 16, 3, false);
    cluster_open(c, 17, 3, false);
    cr_assert_eq(cluster_wait_leader(c, 16, 100), 1);
    cr_assert(cluster_propose(c, 16, 1, false));
    cr_assert(cluster_converges(c, 16, 1000));
    qr_host_stats(cluster_node(c, 1)->host, &s);
    cr_assert_eq(s.groups, 2);
    cr_assert_eq(s.groups_leading, 2);
    cr_assert_eq(s.elections_won, 2);
    cr_assert_eq(s.entries_proposed, 1);
    cr_assert_gt(s.entries_applied, 4);
    cr_assert_gt(s.steps, 0);
    cluster_free(&c);
}
