/* Replicas without their memory: they never take part again, say so, and are
 * replaced by their node's next incarnation. */
#include <quorate/error.h>
#include <string.h>

#include "base/error.h"
#include "cluster.h"
#include "lib/harness.h"
#include "store/record.h"

enum {
    GROUP = 16,
    OTHER = 17
};

static struct cluster *
three(uint64_t seed)
{
    struct cluster *c = cluster_new(seed, 3);

    c->snapshot_log_entries = 50;
    c->snapshot_log_bytes = 32 << 10;
    for (qr_node_id id = 1; id <= 3; id++) {
        cluster_crash(c, id, false);
        cluster_start(c, id);
    }
    cluster_run(c, 10);
    cluster_open(c, GROUP, 3, false);
    cr_assert_neq(cluster_wait_leader(c, GROUP, 100), 0);
    return c;
}

static void
propose(struct cluster *c, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        cr_assert(cluster_propose(c, GROUP, 500, i % 2 == 0));
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

/* Node 3 starts with a snapshot that its machine refuses. */
static void
lose_third(struct cluster *c)
{
    propose(c, 200);
    cluster_crash(c, 3, false);
    c->nodes[3].refuses_restore = true;
    cluster_start(c, 3);
    c->nodes[3].refuses_restore = false;
}

static struct qr_group *
leader(struct cluster *c)
{
    return cluster_group(c, cluster_wait_leader(c, GROUP, 5000), GROUP);
}

Test(lost, a_replica_whose_snapshot_is_refused_says_that_it_is_lost)
{
    struct cluster *c = three(1);
    struct qr_host_stats stats;
    struct qr_group_status s;
    qr_node_id at;

    lose_third(c);
    cr_assert_str_eq(status_of(c, 3).state, "lost");
    qr_host_stats(c->nodes[3].host, &stats);
    cr_assert_eq(stats.groups_lost, 1);
    cluster_run(c, 3 * QR_LOST_MS);
    at = cluster_leader(c, GROUP);
    cr_assert_neq(at, 0);
    cr_assert_neq(at, 3);
    cr_assert_geq(c->nodes[at].lost, 2, "each second");
    cr_assert_eq(c->nodes[at].lost_replica, cluster_replica(3));
    cr_assert_eq(c->nodes[3 - at].lost, 0, "only the leader's owner is told");
    s = status_of(c, at);
    for (size_t i = 0; i < s.members_count; i++) {
        cr_assert_eq(s.members[i].is_lost,
                     s.members[i].member.id == cluster_replica(3));
    }
    cluster_free(&c);
}

Test(lost, that_it_is_lost_is_said_when_it_is_durable)
{
    struct cluster *c = three(9);
    qr_node_id at;

    propose(c, 200);
    cluster_crash(c, 3, false);
    disk_sim_set_notify(c->nodes[3].disk, NULL, NULL);
    c->nodes[3].refuses_restore = true;
    cluster_start(c, 3);
    cr_assert_str_eq(status_of(c, 3).state, "lost");
    cluster_run(c, 5 * QR_LOST_MS);
    at = cluster_leader(c, GROUP);
    cr_assert_eq(c->nodes[at].lost, 0);
    disk_sim_complete_all(c->nodes[3].disk);
    cluster_run(c, 2 * QR_LOST_MS);
    cr_assert_geq(c->nodes[at].lost, 1);
    cluster_free(&c);
}

Test(lost, it_gives_no_majority)
{
    struct cluster *c = three(2);
    qr_node_id at;
    qr_index before;

    lose_third(c);
    at = cluster_wait_leader(c, GROUP, 5000);
    cluster_run(c, 100);
    cluster_crash(c, 3 - at, false);
    before = status_of(c, at).committed;
    (void)cluster_propose(c, GROUP, 10, false);
    cluster_run(c, 10000);
    cr_assert_eq(status_of(c, at).committed, before);
    cr_assert_eq(cluster_leader(c, GROUP), 0, "one of three leads");
    cluster_start(c, 3 - at);
    cr_assert_neq(cluster_wait_leader(c, GROUP, 5000), 0);
    cluster_free(&c);
}

Test(lost, who_is_well_is_not_removed_before_it)
{
    struct cluster *c = three(10);
    qr_node_id at;

    lose_third(c);
    cluster_run(c, 2 * QR_LOST_MS);
    at = cluster_leader(c, GROUP);
    cr_assert_eq(
        qr_group_remove(cluster_group(c, at, GROUP), cluster_replica(3 - at)),
        -QR_ENOQUORUM, "the rest would be a leader and a lost one");
    cr_assert_eq(
        qr_group_remove(cluster_group(c, at, GROUP), cluster_replica(3)), 0);
    cluster_free(&c);
}

Test(lost, it_is_still_lost_after_a_restart)
{
    struct cluster *c = three(3);

    lose_third(c);
    cluster_run(c, 100);
    for (unsigned i = 0; i < 2; i++) {
        cluster_crash(c, 3, true);
        cluster_start(c, 3);
        cr_assert_str_eq(status_of(c, 3).state, "lost");
        cluster_run(c, 100);
    }
    cr_assert_eq(status_of(c, 3).term, 0);
    cluster_free(&c);
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

Test(lost, it_is_removed_and_its_next_incarnation_takes_its_place)
{
    struct cluster *c = three(4);
    qr_replica_id next = qr_replica(3, 2);

    lose_third(c);
    cluster_run(c, 2 * QR_LOST_MS);
    insist(c, qr_group_remove, cluster_replica(3));
    cluster_run(c, 2 * QR_LOST_MS);
    cr_assert_null(cluster_group(c, 3, GROUP), "told that it is no member");
    cr_assert_eq(c->nodes[3].gone, 1);
    cluster_join(c, GROUP, 3, next);
    cr_assert_str_eq(status_of(c, 3).state, "joining");
    insist(c, qr_group_add, next);
    insist(c, qr_group_promote, next);
    cr_assert(cluster_converges(c, GROUP, 5000));
    cr_assert_str_eq(status_of(c, 3).state, "follower");
    cluster_check_bodies(c, 3, GROUP);
    cluster_crash(c, 3, true);
    cluster_start(c, 3);
    cr_assert(cluster_converges(c, GROUP, 5000));
    cluster_free(&c);
}

Test(lost, it_gives_way_to_a_later_incarnation_at_once)
{
    struct cluster *c = three(5);
    qr_replica_id next = qr_replica(3, 2);

    lose_third(c);
    cluster_replace(c, GROUP, 3, next);
    cr_assert_eq(c->nodes[3].gone, 1);
    cr_assert_str_eq(status_of(c, 3).state, "joining");
    insist(c, qr_group_remove, cluster_replica(3));
    insist(c, qr_group_add, next);
    insist(c, qr_group_promote, next);
    cr_assert(cluster_converges(c, GROUP, 5000));
    cluster_free(&c);
}

Test(lost, a_log_of_an_earlier_incarnation_gives_way_when_a_later_one_opens)
{
    struct cluster *c = three(6);
    struct placement *p;

    propose(c, 10);
    cluster_crash(c, 3, false);
    p = map_get(&c->nodes[3].placements, GROUP);
    p->self = qr_replica(3, 2);
    p->voters = 3;
    cluster_start(c, 3);
    cr_assert_str_eq(status_of(c, 3).state, "joining",
                     "its first configuration is not made up again");
    cr_assert_eq(status_of(c, 3).last, 0);
    insist(c, qr_group_remove, cluster_replica(3));
    insist(c, qr_group_add, qr_replica(3, 2));
    cr_assert(cluster_converges(c, GROUP, 5000));
    cluster_free(&c);
}

Test(lost, a_replica_that_is_well_gives_way_to_none)
{
    struct cluster *c = cluster_new(7, 1);
    struct qr_group_config config = {.id = GROUP, .self = qr_replica(1, 1)};
    struct qr_group *g;
    struct error err;

    cluster_join(c, GROUP, 1, qr_replica(1, 2));
    cluster_run(c, 10);
    error_clear(&err);
    cr_assert_eq(qr_group_open(c->nodes[1].host, &config, &g, &err),
                 -QR_EEXIST);
    config.self = qr_replica(1, 3);
    cr_assert_eq(qr_group_open(c->nodes[1].host, &config, &g, &err), -QR_EEXIST,
                 "nor a later one, while it is well");
    cluster_free(&c);
}

Test(lost, a_deleted_group_is_cleaned_up)
{
    struct cluster *c = three(8);

    lose_third(c);
    (void)map_put(&c->deleted, GROUP, c);
    for (qr_node_id id = 1; id <= 2; id++) {
        qr_group_delete(cluster_group(c, id, GROUP));
    }
    cluster_run(c, 2 * QR_LOST_MS);
    cr_assert_null(cluster_group(c, 3, GROUP));
    cr_assert_geq(c->nodes[3].deleted, 1);
    cluster_free(&c);
}

Test(lost, who_forgets_what_it_acknowledged_is_lost_to_its_leader)
{
    struct cluster *c = three(14);
    qr_node_id at = cluster_wait_leader(c, GROUP, 5000);
    qr_node_id other = at == 3 ? 2 : 3;
    struct disk_sim_image *image;

    propose(c, 5);
    cluster_run(c, 200);
    image = disk_sim_copy(c->nodes[other].disk);
    propose(c, 5);
    cluster_run(c, 200);
    cluster_crash(c, other, false);
    disk_sim_roll_back(c->nodes[other].disk, image);
    disk_sim_image_free(&image);
    cluster_start(c, other);
    cluster_run(c, QR_LOST_MS);
    propose(c, 1);
    cr_assert_eq(cluster_leader(c, GROUP), at);
    cr_assert_eq(c->nodes[at].lost, 0, "not at once");
    cluster_run(c, 3 * QR_LOST_MS);
    cr_assert_eq(cluster_leader(c, GROUP), at);
    cr_assert_geq(c->nodes[at].lost, 1);
    cr_assert_eq(c->nodes[at].lost_replica, cluster_replica(other));
    insist(c, qr_group_remove, cluster_replica(other));
    cluster_run(c, 2 * QR_LOST_MS);
    cr_assert_null(cluster_group(c, other, GROUP), "told that it is no member");
    cluster_join(c, GROUP, other, qr_replica(other, 2));
    insist(c, qr_group_add, qr_replica(other, 2));
    insist(c, qr_group_promote, qr_replica(other, 2));
    cr_assert(cluster_converges(c, GROUP, 5000));
    cluster_free(&c);
}

/* ---- whole groups forgotten ---- */

/* Batch NUMBER of node 3's log can no longer be read. */
static void
spoil_batch(struct cluster *c, uint64_t number)
{
    static const char name[] = "segment-00000001.log";
    struct disk *disk = disk_sim_disk(c->nodes[3].disk);
    uint8_t sector[SECTOR_SIZE];
    struct disk_file *file;
    uint64_t at = SEGMENT_DATA_AT;

    cr_assert_eq(disk->ops->open(disk, name, &file), 0);
    do {
        cr_assert_eq(disk->ops->read(file, at, sector, sizeof(sector)), 0);
        at += SECTOR_SIZE;
    } while (memcmp(sector, "QRBT", 4) != 0 || get_u64le(sector + 8) != number);
    disk->ops->close(file);
    cr_assert_eq(disk_sim_spoil_at(c->nodes[3].disk, name, at - SECTOR_SIZE),
                 0);
}

/* Node 3's store may have forgotten whole groups, among them OTHER. */
static struct cluster *
forgetful(uint64_t seed)
{
    struct cluster *c = three(seed);
    uint64_t batch;

    cluster_run(c, 200);
    cr_assert(store_is_idle(c->nodes[3].store));
    batch = store_current(c->nodes[3].store);
    cluster_open(c, OTHER, 3, false);
    cr_assert_neq(cluster_wait_leader(c, OTHER, 100), 0);
    cluster_run(c, 200);
    propose(c, 5);
    cluster_run(c, 200);
    cluster_crash(c, 3, false);
    spoil_batch(c, batch);
    cluster_start(c, 3);
    cr_assert(qr_host_is_forgetful(c->nodes[3].host));
    return c;
}

static const char *
state_of_other(struct cluster *c)
{
    struct qr_group_status s;

    qr_group_status(cluster_group(c, 3, OTHER), &s);
    return s.state;
}

Test(lost, what_was_placed_before_the_loss_is_lost_and_what_came_later_is_not)
{
    struct cluster *c = forgetful(12);
    struct qr_group_config config = {.id = OTHER + 1,
                                     .self = qr_replica(3, 2),
                                     .is_fresh = true,
                                     .ops = &oracle_machine_ops};
    struct qr_group *g;
    struct qr_group_status s;
    struct error err;

    cr_assert_str_eq(state_of_other(c), "lost");
    config.machine = oracle_machine_new(&c->nodes[3], config.id);
    error_clear(&err);
    cr_assert_eq(qr_group_open(c->nodes[3].host, &config, &g, &err), 0);
    qr_group_status(g, &s);
    cr_assert_str_eq(s.state, "joining");
    cluster_free(&c);
}

Test(lost, the_loss_is_accepted_when_all_has_been_replaced_and_is_durable)
{
    struct cluster *c = forgetful(13);
    struct qr_host *host = c->nodes[3].host;

    cluster_run(c, 100);
    cr_assert_not(qr_host_accept_loss(host), "one is lost");
    cluster_crash(c, 3, false);
    cluster_start(c, 3);
    host = c->nodes[3].host;
    cr_assert(qr_host_is_forgetful(host), "until it is accepted");
    disk_sim_set_notify(c->nodes[3].disk, NULL, NULL);
    for (qr_group_id id = GROUP; id <= OTHER; id++) {
        if (strcmp(id == OTHER ? state_of_other(c) : status_of(c, 3).state,
                   "lost") == 0) {
            cluster_replace(c, id, 3, qr_replica(3, 2));
        }
    }
    cluster_run(c, 10);
    cr_assert_str_eq(state_of_other(c), "joining");
    cr_assert_not(qr_host_accept_loss(host), "its successor is not durable");
    disk_sim_complete_all(c->nodes[3].disk);
    cluster_run(c, 10);
    disk_sim_complete_all(c->nodes[3].disk);
    cr_assert(qr_host_accept_loss(host));
    cr_assert_not(qr_host_is_forgetful(host));
    cr_assert_not(qr_host_accept_loss(host), "once");
    cluster_run(c, 10);
    disk_sim_complete_all(c->nodes[3].disk);
    cluster_crash(c, 3, false);
    cluster_start(c, 3);
    cr_assert_not(qr_host_is_forgetful(c->nodes[3].host));
    cr_assert_str_eq(state_of_other(c), "joining");
    cluster_free(&c);
}
