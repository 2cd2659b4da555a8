/* Damaged entries come back from other members; what no member has is named. */
#include <quorate/error.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/slice.h"
#include "cluster.h"
#include "consensus/internal.h"
#include "lib/harness.h"

enum {
    GROUP = 16
};

/* NODES nodes, and a group on the first VOTERS that takes no snapshots. */
static struct cluster *
start(uint64_t seed, unsigned nodes, unsigned voters)
{
    struct cluster *c = cluster_new(seed, nodes);

    c->segment_size = 64 << 10; /* most are sealed, and not read at a start */
    for (qr_node_id id = 1; id <= nodes; id++) {
        cluster_crash(c, id, false);
        c->nodes[id].disk_delay_us = 100;
        cluster_start(c, id);
    }
    cluster_run(c, 10);
    cluster_open(c, GROUP, voters, false);
    cr_assert_neq(cluster_wait_leader(c, GROUP, 5000), 0);
    return c;
}

static void
propose(struct cluster *c, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        cr_assert(cluster_propose(c, GROUP, 4000, false));
        cluster_run(c, 2);
    }
}

static struct qr_group_status
status_of(struct cluster *c, qr_node_id node)
{
    struct qr_group_status s;

    qr_group_status(cluster_group(c, node, GROUP), &s);
    return s;
}

static struct qr_host_stats
stats_of(struct cluster *c, qr_node_id node)
{
    struct qr_host_stats s;

    qr_host_stats(c->nodes[node].host, &s);
    return s;
}

static void
restart(struct cluster *c, qr_node_id node)
{
    cluster_crash(c, node, false);
    cluster_start(c, node);
}

/* The first entry that holds a command. */
static qr_index
first_command(const struct cluster *c)
{
    const struct oracle *o = map_get(&c->oracles, GROUP);

    for (qr_index i = 1; i <= o->count; i++) {
        if (o->bodies[i] != 0) {
            return i;
        }
    }
    return 0;
}

/* A read of its own. */
struct reading {
    struct qr_fetch fetch;
    struct slice body;
    unsigned done;
};

static void
on_read(struct qr_fetch *fetch)
{
    struct reading *r = fetch->arg;

    r->done++;
}

static void
begin_read(struct cluster *c, struct reading *r, qr_node_id node,
           qr_index index)
{
    memset(r, 0, sizeof *r);
    r->fetch.done = on_read;
    r->fetch.arg = r;
    r->fetch.index = index;
    r->fetch.body = &r->body;
    qr_group_fetch(cluster_group(c, node, GROUP), &r->fetch);
}

/* Have NODE's store find out about INDEX only when it is read: its entries are
 * read from a segment that was sealed with an index. */
static qr_index
rot_unseen(struct cluster *c, qr_node_id node)
{
    qr_index first;

    propose(c, 100);
    first = first_command(c);
    qr_group_snapshot(cluster_group(c, node, GROUP));
    cluster_run(c, 100);
    restart(c, node);
    cr_assert(cluster_converges(c, GROUP, 5000));
    return first;
}

Test(repair, a_reader_waits_for_the_others)
{
    struct cluster *c = start(3, 3, 3);
    qr_index first = rot_unseen(c, 2);
    struct reading r;

    cluster_rot(c, 2, GROUP, first);
    restart(c, 2);
    begin_read(c, &r, 2, first);
    cluster_run(c, QR_REPAIR_WAIT_MS);
    cr_assert_eq(r.done, 1);
    cr_assert_eq(r.fetch.result, 0);
    cr_assert_eq(crc32c(0, r.body.data, r.body.size) + UINT64_C(1),
                 cluster_oracle(c, GROUP)->bodies[first]);
    slice_unref(&r.body);
    cluster_free(&c);
}

/* Nobody answers within the time that a reader waits. */
static void
read_in_vain(struct cluster *c, qr_node_id node, qr_index index)
{
    struct reading r;

    begin_read(c, &r, node, index);
    cluster_run(c, QR_REPAIR_WAIT_MS + 100);
    cr_assert_eq(r.done, 1);
    cr_assert_eq(r.fetch.result, -QR_ECORRUPT);
}

Test(repair, what_nobody_has_is_named_and_the_group_stays_up)
{
    struct cluster *c = start(4, 3, 3);
    qr_index first = rot_unseen(c, 2);
    struct reading r;
    qr_node_id leader;
    uint64_t asked;

    for (qr_node_id id = 1; id <= 3; id++) {
        qr_group_snapshot(cluster_group(c, id, GROUP));
    }
    cluster_run(c, 100);
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_rot(c, id, GROUP, first + 5);
    }
    for (qr_node_id id = 1; id <= 3; id++) {
        restart(c, id);
    }
    leader = cluster_wait_leader(c, GROUP, 10000);
    cr_assert_neq(leader, 0);
    begin_read(c, &r, leader, first + 5);
    cluster_run(c, QR_REPAIR_WAIT_MS + 2000);
    cr_assert_eq(r.done, 1);
    cr_assert_eq(r.fetch.result, -QR_ECORRUPT);
    cr_assert_eq(status_of(c, leader).missing, 1);
    cr_assert_eq(status_of(c, leader).missing_first, first + 5);
    cr_assert_eq(
        qr_group_missing_next(cluster_group(c, leader, GROUP), first + 6), 0);
    cr_assert_eq(c->nodes[leader].missing, 1);
    cr_assert_eq(c->nodes[leader].missing_index, first + 5);
    asked = c->nodes[leader].host->stream_next;
    cluster_run(c, 5000);
    cr_assert_leq(c->nodes[leader].host->stream_next, asked + 10,
                  "the others are not asked all the time");
    cr_assert_gt(c->nodes[leader].host->stream_next, asked, "but again");
    cr_assert_eq(c->nodes[leader].missing, 1, "told once");
    propose(c, 10);
    cr_assert(cluster_converges(c, GROUP, 5000));
    cluster_free(&c);
}

/* Of the entry at which a snapshot was taken its term is known for ever, also
 * when its commands are not. */
Test(repair, what_a_snapshot_ends_with_is_released_and_not_missing)
{
    struct cluster *c = start(10, 3, 3);
    qr_node_id leader = cluster_leader(c, GROUP);
    qr_node_id follower = leader % 3 + 1;
    qr_index dead;

    cr_assert(cluster_propose(c, GROUP, 4000, true)); /* itself, that is */
    cluster_run(c, 100);
    cr_assert(cluster_converges(c, GROUP, 5000));
    dead = status_of(c, leader).last;
    for (qr_node_id id = 1; id <= 3; id++) {
        if (id != follower) {
            cluster_group(c, id, GROUP)->is_pressed = true; /* keep none */
            qr_group_snapshot(cluster_group(c, id, GROUP));
        }
    }
    cluster_run(c, 100);
    cr_assert_eq(status_of(c, leader).snapshot, dead);
    propose(c, 10);
    cr_assert(cluster_converges(c, GROUP, 5000));
    cluster_rot(c, follower, GROUP, dead);
    restart(c, follower);
    cr_assert_eq(status_of(c, follower).damaged, 1);
    cr_assert(cluster_converges(c, GROUP, 5000));
    cluster_run(c, 5000);
    cr_assert_eq(status_of(c, follower).damaged, 0);
    cr_assert_eq(stats_of(c, follower).entries_missing, 0);
    cluster_free(&c);
}

Test(repair, a_member_that_is_away_may_have_it)
{
    struct cluster *c = start(5, 3, 3);
    qr_index first = rot_unseen(c, 2);

    cluster_rot(c, 1, GROUP, first);
    cluster_rot(c, 2, GROUP, first);
    cluster_crash(c, 3, false);
    restart(c, 1);
    restart(c, 2);
    read_in_vain(c, 1, first);
    read_in_vain(c, 2, first);
    cluster_run(c, 10000);
    cr_assert_eq(status_of(c, 1).damaged, 1);
    cr_assert_eq(status_of(c, 1).missing, 0);
    cr_assert_eq(status_of(c, 2).missing, 0);
    cluster_start(c, 3);
    cluster_run(c, 10000);
    cr_assert_eq(status_of(c, 1).damaged, 0);
    cr_assert_eq(status_of(c, 2).damaged, 0);
    cr_assert(cluster_converges(c, GROUP, 5000));
    cluster_free(&c);
}

Test(repair, a_group_of_one_passes_over_what_is_gone)
{
    struct cluster *c = start(6, 1, 1);
    qr_index first;
    struct machine *m;

    propose(c, 20);
    first = first_command(c);
    cluster_rot(c, 1, GROUP, first + 7);
    c->is_forgiving = true;
    restart(c, 1);
    cluster_run(c, 5000);
    cr_assert_eq(cluster_leader(c, GROUP), 1);
    m = cluster_machine(c, 1, GROUP);
    cr_assert_eq(m->missing, 1);
    cr_assert_eq(status_of(c, 1).missing_first, first + 7);
    propose(c, 5);
    cr_assert_eq(status_of(c, 1).applied, status_of(c, 1).last);
    cluster_free(&c);
}

Test(repair, a_leader_that_cannot_send_what_it_lacks_gives_way)
{
    struct cluster *c = start(8, 3, 3);
    qr_node_id leader = cluster_leader(c, GROUP);
    qr_node_id behind = leader % 3 + 1;
    qr_index from;

    cluster_crash(c, behind, false);
    from = status_of(c, leader).last + 1;
    propose(c, 20);
    for (qr_index i = from; i < from + 10; i++) {
        cluster_rot(c, leader, GROUP, i);
    }
    restart(c, leader);
    cluster_start(c, behind);
    cr_assert(cluster_converges(c, GROUP, 20000));
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_check_bodies(c, id, GROUP);
    }
    cluster_free(&c);
}

/* A peer that answers with other bytes is not believed. */
Test(repair, bytes_that_do_not_match_their_sum_are_refused)
{
    struct cluster *c = start(9, 3, 3);
    qr_index first = rot_unseen(c, 2);
    Raft__Fetched pb = RAFT__FETCHED__INIT;
    struct qr_group *g;
    uint64_t index;
    uint64_t size = 100 * 4 + RAFT_COMMAND;
    uint32_t crc = 7;
    uint8_t bytes[100] = {0};
    struct slice content;

    cluster_rot(c, 2, GROUP, first);
    cluster_crash(c, 1, false);
    cluster_crash(c, 3, false);
    restart(c, 2);
    read_in_vain(c, 2, first);
    g = cluster_group(c, 2, GROUP);
    cr_assert_eq(status_of(c, 2).damaged, 1);
    ranges_add(&g->damage->asking, first, first);
    g->damage->is_asking = true;
    g->damage->asked = cluster_replica(1);
    index = first;
    pb.group = GROUP;
    pb.from = cluster_replica(1);
    pb.to = g->self;
    pb.nonce = g->damage->nonce;
    pb.indexes = &index;
    pb.sizes = &size;
    pb.crcs = &crc;
    pb.n_indexes = pb.n_sizes = pb.n_crcs = 1;
    content = slice_copy(bytes, sizeof bytes);
    repair_receive(g, &pb, &content);
    slice_unref(&content);
    cr_assert_eq(status_of(c, 2).damaged, 1);
    cr_assert_eq(stats_of(c, 2).entries_repaired, 0);
    cluster_free(&c);
}

Test(repair, a_follower_starts_with_damage_and_becomes_whole)
{
    struct cluster *c = start(1, 3, 3);
    qr_node_id follower = cluster_leader(c, GROUP) % 3 + 1;
    qr_index first;

    propose(c, 30);
    first = first_command(c);
    cluster_rot(c, follower, GROUP, first + 3);
    cluster_rot(c, follower, GROUP, first + 4);
    cluster_rot(c, follower, GROUP, first + 20);
    restart(c, follower);
    cr_assert_geq(status_of(c, follower).damaged, 3);
    cr_assert(cluster_converges(c, GROUP, 5000));
    cluster_run(c, 1000);
    cr_assert_eq(status_of(c, follower).damaged, 0);
    cr_assert_eq(stats_of(c, follower).entries_repaired, 3);
    cr_assert_eq(stats_of(c, follower).entries_missing, 0);
    cluster_check_bodies(c, follower, GROUP);
    restart(c, follower);
    cr_assert_eq(stats_of(c, follower).entries_damaged, 0, "it stays so");
    cr_assert(cluster_converges(c, GROUP, 5000));
    cluster_check_bodies(c, follower, GROUP);
    cluster_free(&c);
}

Test(repair, all_members_are_damaged_in_other_places)
{
    struct cluster *c = start(2, 3, 3);
    qr_index first;

    propose(c, 40);
    cluster_run(c, 100);
    first = first_command(c);
    for (qr_node_id id = 1; id <= 3; id++) {
        for (unsigned i = 0; i < 10; i++) {
            cluster_rot(c, id, GROUP, first + 3 * i + id);
        }
    }
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, true);
    }
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_start(c, id);
    }
    cr_assert_neq(cluster_wait_leader(c, GROUP, 20000), 0);
    cr_assert(cluster_converges(c, GROUP, 5000));
    cluster_run(c, 2000);
    for (qr_node_id id = 1; id <= 3; id++) {
        cr_assert_eq(status_of(c, id).damaged, 0);
        cluster_check_bodies(c, id, GROUP);
    }
    cluster_free(&c);
}

Test(repair, a_change_of_members_that_is_damaged_is_asked_for_before_the_start)
{
    struct cluster *c = start(7, 4, 3);
    struct qr_group_status s;
    qr_node_id leader;
    qr_index change = 0;

    propose(c, 5);
    leader = cluster_leader(c, GROUP);
    cr_assert_eq(qr_group_remove(cluster_group(c, leader, GROUP),
                                 cluster_replica(leader % 3 + 1)),
                 0);
    cluster_run(c, 100);
    propose(c, 5);
    s = status_of(c, leader);
    for (qr_index i = 2; i <= s.last; i++) {
        struct store_entry e;

        cr_assert_eq(store_read(c->nodes[leader].store, GROUP, i, &e), 0);
        change = e.type == RAFT_CHANGE ? i : change;
        slice_unref(&e.data);
    }
    cr_assert_gt(change, 1);
    cluster_rot(c, leader, GROUP, change);
    restart(c, leader);
    cr_assert_str_eq(status_of(c, leader).state, "repairing");
    cr_assert(cluster_converges(c, GROUP, 10000));
    cr_assert_str_neq(status_of(c, leader).state, "repairing");
    cr_assert_eq(status_of(c, leader).members_count, 2);
    cluster_check_engines(c, GROUP);
    cluster_free(&c);
}
