/* Disks that fill up: content is refused, settling is not, others lead. */
#include "cluster.h"
#include "consensus/internal.h"
#include "lib/harness.h"

enum {
    GROUP = 16
};

static struct cluster *
three(uint64_t seed)
{
    struct cluster *c = cluster_new(seed, 3);

    cluster_run(c, 10);
    cluster_open(c, GROUP, 3, false);
    cr_assert_neq(cluster_wait_leader(c, GROUP, 1000), 0);
    cluster_run(c, 50);
    return c;
}

Test(room, a_leader_with_a_full_majority_takes_no_content)
{
    struct cluster *c = three(1);
    struct qr_group *g = cluster_group(c, cluster_leader(c, GROUP), GROUP);
    qr_node_id self = qr_replica_node(g->self);
    struct qr_group_status s;

    cr_assert(qr_group_has_room(g));
    room_note(g, cluster_replica(self % 3 + 1), STORE_SPACE_FULL);
    cr_assert(qr_group_has_room(g), "two of three have room");
    room_note(g, cluster_replica((self + 1) % 3 + 1), STORE_SPACE_LOW);
    cr_assert(qr_group_has_room(g), "low is not full");
    room_note(g, cluster_replica((self + 1) % 3 + 1), STORE_SPACE_FULL);
    cr_assert(!qr_group_has_room(g));
    qr_group_status(g, &s);
    for (size_t i = 0; i < s.members_count; i++) {
        cr_assert_eq(s.members[i].is_full, s.members[i].member.id != g->self);
    }
    /* Settling is taken all the same; what they answer says that they are
     * well. */
    cr_assert(cluster_propose(c, GROUP, 1, true));
    cr_assert(cluster_converges(c, GROUP, 1000));
    cr_assert(qr_group_has_room(g));
    cluster_free(&c);
}

Test(room, who_is_no_member_is_not_noted)
{
    struct cluster *c = three(2);
    struct qr_group *g = cluster_group(c, cluster_leader(c, GROUP), GROUP);

    room_note(g, qr_replica(7, 1), STORE_SPACE_FULL);
    cr_assert_eq(g->full, 0);
    cr_assert_eq(g->low, 0);
    cluster_free(&c);
}

Test(room, a_full_follower_takes_small_entries_up_to_a_limit)
{
    struct cluster *c = three(3);
    struct qr_group *g = cluster_group(c, 2, GROUP);
    Raft__Append a = RAFT__APPEND__INIT;
    uint64_t small = (uint64_t)(64 << 10) * 4;
    uint64_t large = small + 4;

    a.n_sizes = 1;
    a.sizes = &large;
    cr_assert(room_admits(g, &a, large / 4), "there is room");
    c->nodes[2].host->space = STORE_SPACE_FULL;
    cr_assert(!room_admits(g, &a, large / 4));
    cr_assert(room_admits(g, &a, 0), "a heartbeat");
    a.sizes = &small;
    for (unsigned i = 0; i < 64; i++) {
        cr_assert(room_admits(g, &a, small / 4));
    }
    cr_assert(!room_admits(g, &a, small / 4), "4 MiB are enough");
    c->nodes[2].host->space = STORE_SPACE_OK;
    cr_assert(room_admits(g, &a, small / 4));
    cluster_free(&c);
}

Test(room, a_volatile_group_needs_no_disk)
{
    struct cluster *c = cluster_new(4, 1);
    struct qr_group *g;

    cluster_run(c, 10);
    cluster_open(c, GROUP, 1, true);
    cr_assert_eq(cluster_wait_leader(c, GROUP, 1000), 1);
    g = cluster_group(c, 1, GROUP);
    c->nodes[1].host->space = STORE_SPACE_FULL;
    cr_assert(qr_group_has_room(g));
    cluster_free(&c);
}

Test(room, a_leader_whose_disk_fills_hands_its_group_on)
{
    struct cluster *c = cluster_new(5, 3);
    struct disk_sim_stats disk;
    qr_node_id before;

    c->segment_size = 64 << 10;
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, false);
        cluster_start(c, id);
    }
    cluster_run(c, 10);
    cluster_open(c, GROUP, 3, false);
    before = cluster_wait_leader(c, GROUP, 1000);
    cr_assert_neq(before, 0);
    disk_sim_stats(c->nodes[before].disk, &disk);
    disk_sim_set_capacity(c->nodes[before].disk, disk.bytes_used);
    for (unsigned i = 0; i < 200 && cluster_leader(c, GROUP) == before; i++) {
        (void)cluster_propose(c, GROUP, 4000, false);
        cluster_run(c, 20);
    }
    cr_assert_neq(cluster_wait_leader(c, GROUP, 5000), before);
    for (unsigned i = 0; i < 50; i++) {
        (void)cluster_propose(c, GROUP, 4000, false);
        cluster_run(c, 20);
    }
    cr_assert_geq(cluster_oracle(c, GROUP)->acknowledged, 50,
                  "the others go on without it");
    cluster_free(&c);
}
