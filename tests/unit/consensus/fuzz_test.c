/* Random schedules: proposals, crashes with and without power, cut ways, loss,
 * slow disks, snapshots, changes of members, transfers. The oracle watches all
 * the time; at the end the world is healed, and every group must recover by
 * itself and be the same everywhere.
 *
 * Some schedules have losses, too: disks that are gone, replicas that lose
 * their memory, entries that rot. Of one group only a minority is lost at a
 * time, and only one member's copy of an entry rots; then whoever looks after
 * the members (here reconcile()) makes all whole again.
 *
 * QUORATE_FUZZ="FIRST COUNT SECONDS" runs other seeds, for longer. */
#include <inttypes.h>
#include <string.h>

#include "base/rng.h"
#include "base/slice.h"
#include "cluster.h"
#include "consensus/internal.h"
#include "lib/harness.h"

enum {
    GROUPS_MAX = 3,
    STEP_MS = 20,
    RECOVERY_MS = 60000
};

/* Besides crashes and the like. */
enum faults {
    PLAIN,
    LOSSES, /* disks, and memories */
    ROT     /* of single entries */
};

/* What a replica has stored, and what of it another batch follows: in the last
 * one rot cannot be told from a torn write. */
struct stored {
    qr_index index;
    uint64_t batch;
    qr_index followed;
};

struct schedule {
    struct cluster *c;
    struct rng rng;
    uint64_t seed;
    unsigned nodes;
    unsigned groups;
    uint64_t restart_at[CLUSTER_NODES_MAX + 1];
    uint64_t heal_at;
    uint64_t idle_until;
    bool has_faults;
    bool has_cuts;
    bool has_changes;
    bool is_storm;
    bool is_sleepy; /* pauses, in which groups hibernate */
    bool has_losses;
    bool has_rot;
    struct map lost;   /* ids of replicas that have lost their memory */
    struct map rotten; /* index * GROUPS_MAX + group: some copy has rotted */
    bool rots_changes; /* and then nothing else */
    struct stored stored[CLUSTER_NODES_MAX + 1][GROUPS_MAX];
    unsigned losses;
    unsigned rots;
    uint32_t next_incarnation;
};

static bool
chance(struct schedule *s, unsigned percent)
{
    return rng_below(&s->rng, 100) < percent;
}

static uint64_t
below(struct schedule *s, uint64_t limit)
{
    return rng_below(&s->rng, limit);
}

static qr_group_id
any_group(struct schedule *s)
{
    return 16 + below(s, s->groups);
}

static qr_node_id
any_node(struct schedule *s)
{
    return (qr_node_id)(1 + below(s, s->nodes));
}

static uint64_t
now_ms(const struct schedule *s)
{
    return sim_now_us(s->c->sim) / 1000;
}

static void
do_propose(struct schedule *s)
{
    unsigned n = (unsigned)below(s, chance(s, 20) ? 30 : 5);

    for (unsigned i = 0; i < n; i++) {
        size_t size = chance(s, 5) ? 1000 + below(s, 20000) : below(s, 300);

        (void)cluster_propose(s->c, any_group(s), size, chance(s, 60));
        if (chance(s, 50)) {
            sim_run(s->c->sim, sim_now_us(s->c->sim) + 100); /* a turn */
        }
    }
}

static void
do_crash(struct schedule *s)
{
    qr_node_id id = any_node(s);
    uint64_t down = s->is_storm     ? 1 + below(s, 30)
                    : chance(s, 50) ? 1 + below(s, 300)
                                    : 1 + below(s, 5000);

    if (cluster_is_up(s->c, id)) {
        cluster_crash(s->c, id, chance(s, 70));
        s->restart_at[id] = now_ms(s) + down;
    }
}

static void
do_cut(struct schedule *s)
{
    uint64_t mode = below(s, 3);
    uint64_t half = below(s, UINT64_C(1) << s->nodes);
    qr_node_id one = any_node(s);

    sim_heal(s->c->sim);
    for (qr_node_id a = 1; a <= s->nodes; a++) {
        for (qr_node_id b = 1; b <= s->nodes; b++) {
            bool is_cut = mode == 0   ? ((half >> a) & 1) != ((half >> b) & 1)
                          : mode == 1 ? a == one || b == one
                                      : chance(s, 30);

            sim_cut(s->c->sim, a, b, is_cut);
        }
    }
    s->heal_at = now_ms(s) + 1 + below(s, chance(s, 50) ? 1000 : 6000);
}

static void
do_fault(struct schedule *s)
{
    if (chance(s, 10)) {
        sim_pause(s->c->sim, any_node(s),
                  sim_now_us(s->c->sim) + 1000 * (1 + below(s, 4000)));
    } else if (chance(s, 55)) {
        do_crash(s);
    } else if (s->has_cuts) {
        do_cut(s);
    }
}

/* One change of members that the rules allow. */
static void
do_change(struct schedule *s)
{
    qr_group_id group = any_group(s);
    qr_node_id leader = cluster_leader(s->c, group);
    qr_node_id node = any_node(s);
    struct qr_group *g;
    struct qr_group_status st;
    const struct qr_member *m = NULL;
    unsigned voters = 0;

    if (leader == 0) {
        return;
    }
    g = cluster_group(s->c, leader, group);
    qr_group_status(g, &st);
    for (size_t i = 0; i < st.members_count; i++) {
        voters += st.members[i].member.role == QR_ROLE_VOTER;
        if (qr_replica_node(st.members[i].member.id) == node) {
            m = &st.members[i].member;
        }
    }
    if (chance(s, 25)) {
        (void)qr_group_transfer(g, node);
    } else if (m == NULL) {
        if (cluster_is_up(s->c, node) &&
            cluster_group(s->c, node, group) == NULL) {
            qr_replica_id id = qr_replica(node, s->next_incarnation++);

            cluster_join(s->c, group, node, id);
            (void)qr_group_add(g, id);
        }
    } else if (m->role != QR_ROLE_VOTER && chance(s, 70)) {
        (void)qr_group_promote(g, m->id);
    } else if (!s->has_losses &&
               (voters > (s->has_rot ? 3U : 1U) || m->role != QR_ROLE_VOTER)) {
        (void)qr_group_remove(g, m->id);
    }
}

/* ---- losses ---- */

/* Whether MEMBER of GROUP is there, as itself and with its memory, if its node
 * is up. */
static bool
is_sound(struct schedule *s, qr_group_id group, const struct qr_member *member)
{
    qr_node_id node = qr_replica_node(member->id);
    struct qr_group *g = cluster_group(s->c, node, group);
    struct qr_group_status st;

    if (!cluster_is_up(s->c, node)) {
        return true;
    }
    if (g == NULL) {
        return false;
    }
    qr_group_status(g, &st);
    return st.self == member->id && strcmp(st.state, "lost") != 0;
}

/* Have GROUP's members be what they should; whether they are. */
static bool
reconcile(struct schedule *s, qr_group_id group)
{
    qr_node_id leader = cluster_leader(s->c, group);
    struct qr_group_status st;
    struct qr_group_status mine;
    struct qr_group *g;
    bool is_sure = true;

    if (leader == 0) {
        return false;
    }
    g = cluster_group(s->c, leader, group);
    qr_group_status(g, &st);
    for (size_t i = 0; i < st.members_count; i++) {
        const struct qr_member_status *m = &st.members[i];

        if (!is_sound(s, group, &m->member)) {
            (void)qr_group_remove(g, m->member.id);
            return false;
        }
        if (m->member.role != QR_ROLE_VOTER) {
            is_sure = false;
            (void)qr_group_promote(g, m->member.id);
        }
    }
    for (qr_node_id id = 1; id <= s->nodes; id++) {
        struct qr_group *other = cluster_group(s->c, id, group);

        if (other == NULL) {
            continue;
        }
        qr_group_status(other, &mine);
        if (strcmp(mine.state, "repairing") == 0) {
            is_sure = false;
        }
        if (strcmp(mine.state, "joining") == 0) {
            is_sure = false;
            (void)qr_group_add(g, mine.self);
        }
    }
    return is_sure;
}

/* Whether NODE may lose what it has of GROUP: enough others are sound. */
static bool
may_lose(struct schedule *s, qr_group_id group, qr_node_id node)
{
    qr_node_id leader = cluster_leader(s->c, group);
    struct qr_group_status st;
    unsigned voters = 0;

    if (cluster_group(s->c, node, group) == NULL) {
        return true;
    }
    if (leader == 0) {
        return false;
    }
    qr_group_status(cluster_group(s->c, leader, group), &st);
    if (st.is_changing || st.applied != st.last) {
        return false;
    }
    for (size_t i = 0; i < st.members_count; i++) {
        voters += st.members[i].member.role == QR_ROLE_VOTER;
        if (!is_sound(s, group, &st.members[i].member) ||
            !cluster_is_up(s->c, qr_replica_node(st.members[i].member.id))) {
            return false;
        }
    }
    return voters >= 3;
}

/* NODE stops, and comes back without its disk, or with snapshots that its
 * machines refuse. */
static void
do_lose(struct schedule *s)
{
    qr_node_id node = any_node(s);
    struct node *n = cluster_node(s->c, node);

    if (!cluster_is_up(s->c, node)) {
        return;
    }
    for (unsigned i = 0; i < s->groups; i++) {
        if (!may_lose(s, 16 + i, node)) {
            return;
        }
    }
    s->losses++;
    cluster_crash(s->c, node, chance(s, 70));
    if (chance(s, 50)) {
        cluster_lose_disk(s->c, node, &s->next_incarnation);
    } else {
        n->refuses_restore = true;
    }
    cluster_start(s->c, node);
    n->refuses_restore = false;
    for (unsigned i = 0; i < s->groups; i++) {
        struct machine *m = cluster_machine(s->c, node, 16 + i);

        if (m != NULL) {
            m->refuses_restore = false; /* what comes it takes */
        }
    }
}

static uint64_t
lost_key(qr_group_id group, qr_replica_id replica)
{
    return group << 48 ^ replica;
}

/* Who has said that it has lost its memory never has one again. */
static void
check_lost(struct schedule *s)
{
    for (unsigned i = 0; i < s->groups; i++) {
        for (qr_node_id id = 1; id <= s->nodes; id++) {
            struct qr_group *g = cluster_group(s->c, id, 16 + i);
            struct qr_group_status st;

            if (g == NULL) {
                continue;
            }
            qr_group_status(g, &st);
            cr_assert(strcmp(st.state, "lost") == 0 ||
                          map_get(&s->lost, lost_key(16 + i, st.self)) == NULL,
                      "node %u remembers what it has lost", id);
            for (size_t k = 0; k < st.members_count; k++) {
                if (st.members[k].is_lost) {
                    (void)map_put(&s->lost,
                                  lost_key(16 + i, st.members[k].member.id), s);
                }
            }
        }
    }
}

static void
do_losses(struct schedule *s)
{
    if (chance(s, 10)) {
        do_lose(s);
    }
    check_lost(s);
    for (unsigned i = 0; i < s->groups; i++) {
        if (chance(s, 20)) {
            (void)reconcile(s, 16 + i);
        }
    }
}

static bool
has_three_voters(const struct qr_group_status *st)
{
    unsigned voters = 0;

    for (size_t i = 0; i < st->members_count; i++) {
        voters += st->members[i].member.role == QR_ROLE_VOTER;
    }
    return voters >= 3;
}

/* A replica may be lost by a change of members that it cannot read, and with it
 * all its entries. So changes rot on the first node only, and then nothing else
 * does. */
static bool
may_rot(struct schedule *s, qr_group_id group, qr_node_id node, qr_index index)
{
    struct store_entry e;
    bool is_change;

    if (store_read(cluster_node(s->c, node)->store, group, index, &e) != 0) {
        return false;
    }
    is_change = e.type == RAFT_CHANGE;
    slice_unref(&e.data);
    return s->rots_changes ? is_change && node == 1 : !is_change;
}

static void
note_stored(struct schedule *s, qr_node_id node, unsigned group)
{
    struct stored *seen = &s->stored[node][group];
    struct qr_group *g = cluster_group(s->c, node, 16 + group);
    struct qr_group_status st;
    uint64_t durable;

    if (g == NULL) {
        memset(seen, 0, sizeof *seen);
        return;
    }
    qr_group_status(g, &st);
    durable = store_durable(cluster_node(s->c, node)->store);
    if (durable == seen->batch) {
        return;
    }
    seen->followed = durable > seen->batch ? MIN(seen->index, st.stored) : 0;
    seen->index = st.stored;
    seen->batch = durable;
}

/* One more entry rots, on one node; of each entry only one copy does. */
static void
do_rot(struct schedule *s)
{
    qr_node_id node = any_node(s);
    qr_group_id group = any_group(s);
    struct qr_group *g = cluster_group(s->c, node, group);
    struct qr_group_status st;
    qr_index last = s->stored[node][group - 16].followed;
    qr_index index;
    uint64_t key;

    if (g == NULL || last == 0) {
        return;
    }
    qr_group_status(g, &st);
    if (!has_three_voters(&st)) {
        return; /* there may be no other copy */
    }
    index = chance(s, 50) ? last - below(s, MIN(last, (qr_index)8))
                          : 1 + below(s, last);
    key = index * GROUPS_MAX + (group - 16);
    if (map_get(&s->rotten, key) == NULL && may_rot(s, group, node, index) &&
        cluster_try_rot(s->c, node, group, index)) {
        (void)map_put(&s->rotten, key, s);
        s->rots++;
    }
}

/* Read all that is live, as a scrub would; whether it could be read. */
static bool
is_readable(struct schedule *s, qr_group_id group, qr_node_id node)
{
    struct machine *m = cluster_machine(s->c, node, group);
    struct qr_group *g = cluster_group(s->c, node, group);
    struct slice body;
    bool is_ok = true;

    for (size_t i = 0; m != NULL && i < m->live.count; i++) {
        for (uint64_t at = m->live.items[i].first; at <= m->live.items[i].last;
             at++) {
            if (qr_group_read(g, at, &body) == 0) {
                slice_unref(&body);
            } else {
                is_ok = false;
            }
        }
    }
    return is_ok;
}

/* Whether NODE has a member of GROUP, and not one that was removed and does not
 * know it yet. */
static bool
is_member(struct schedule *s, qr_group_id group, qr_node_id node)
{
    qr_node_id leader = cluster_leader(s->c, group);
    struct qr_group_status st;
    bool is_one = false;

    if (leader == 0 || cluster_machine(s->c, node, group) == NULL) {
        return false;
    }
    qr_group_status(cluster_group(s->c, leader, group), &st);
    for (size_t i = 0; i < st.members_count; i++) {
        is_one = is_one || st.members[i].member.id ==
                               cluster_machine(s->c, node, group)->self;
    }
    return is_one;
}

static void
scrub(struct schedule *s, qr_group_id group, qr_node_id node)
{
    struct qr_group_status st;

    for (unsigned i = 0; i < RECOVERY_MS / 100; i++) {
        if (is_readable(s, group, node)) {
            return;
        }
        cluster_run(s->c, 100);
    }
    qr_group_status(cluster_group(s->c, node, group), &st);
    cluster_dump(s->c, group);
    cr_assert_fail("node %u: %" PRIu64 " entries of group %" PRIu64
                   " stay damaged, %" PRIu64 " missing",
                   node, st.damaged, group, st.missing);
}

static void
make_whole(struct schedule *s, qr_group_id group)
{
    for (unsigned i = 0; i < RECOVERY_MS / 100; i++) {
        if (reconcile(s, group)) {
            return;
        }
        cluster_run(s->c, 100);
    }
    cluster_dump(s->c, group);
    cr_assert_fail("group %" PRIu64 " does not become whole", group);
}

static void
do_snapshot(struct schedule *s)
{
    struct qr_group *g = cluster_group(s->c, any_node(s), any_group(s));

    if (g != NULL) {
        qr_group_snapshot(g);
    }
}

static void
restart_due(struct schedule *s, bool is_all)
{
    for (qr_node_id id = 1; id <= s->nodes; id++) {
        if (!cluster_is_up(s->c, id) &&
            (is_all || now_ms(s) >= s->restart_at[id])) {
            cluster_start(s->c, id);
        }
    }
    if (s->heal_at != 0 && (is_all || now_ms(s) >= s->heal_at)) {
        sim_heal(s->c->sim);
        s->heal_at = 0;
    }
}

static void
tick(struct schedule *s)
{
    restart_due(s, false);
    if (now_ms(s) < s->idle_until) {
        cluster_run(s->c, 1 + below(s, 2 * STEP_MS));
        return;
    }
    if (chance(s, s->is_sleepy ? 5 : 0)) {
        s->idle_until = now_ms(s) + below(s, 3000);
    }
    do_propose(s);
    if (s->has_faults && chance(s, s->is_storm ? 15 : 4)) {
        do_fault(s);
    }
    if (s->has_changes && chance(s, 5)) {
        do_change(s);
    }
    if (chance(s, 4)) {
        do_snapshot(s);
    }
    if (s->has_losses) {
        do_losses(s);
    }
    for (qr_node_id id = 1; s->has_rot && id <= s->nodes; id++) {
        for (unsigned i = 0; i < s->groups; i++) {
            note_stored(s, id, i);
        }
    }
    if (s->has_rot && chance(s, 20)) {
        do_rot(s);
    }
    if (s->has_rot && chance(s, 5)) {
        (void)reconcile(s, any_group(s));
    }
    cluster_run(s->c, 1 + below(s, 2 * STEP_MS));
    for (unsigned i = 0; i < s->groups; i++) {
        cluster_check_engines(s->c, 16 + i);
    }
}

static void
set_up(struct schedule *s)
{
    struct sim_net net;
    unsigned voters;

    rng_init(&s->rng, s->seed);
    s->nodes = 3 + (unsigned)below(s, 3);
    s->groups = 1 + (unsigned)below(s, GROUPS_MAX);
    s->next_incarnation = 2;
    s->has_faults = chance(s, 85);
    s->has_cuts = chance(s, 70);
    s->has_changes = chance(s, 60);
    s->is_storm = chance(s, 20);
    s->is_sleepy = chance(s, 40);
    s->c = cluster_new(s->seed, s->nodes);
    s->c->segment_size = (uint64_t)65536 << below(s, 5);
    s->c->election_timeout_ms = 300 + (uint32_t)below(s, 700);
    s->c->heartbeat_ms =
        s->c->election_timeout_ms / (4 + (uint32_t)below(s, 8));
    s->c->snapshot_log_entries = 5 + below(s, 200);
    s->c->snapshot_log_bytes = (uint64_t)1024 << below(s, 10);
    net = sim_net(s->c->sim);
    net.delay_max_us =
        net.delay_min_us + (uint32_t)below(s, chance(s, 50) ? 1000 : 100000);
    net.loss_per_million = chance(s, 50) ? 0 : (uint32_t)below(s, 100000);
    net.silent_us = 200000 + (uint32_t)below(s, 2000000);
    net.window_bytes = chance(s, 50) ? 64 << 20 : 64 << 10;
    sim_set_net(s->c->sim, &net);
    for (qr_node_id id = 1; id <= s->nodes; id++) {
        cluster_crash(s->c, id, false);
        s->c->nodes[id].disk_delay_us = 1 + below(s, s->is_storm     ? 650000
                                                     : chance(s, 50) ? 10000
                                                                     : 200000);
        cluster_start(s->c, id);
    }
    cluster_run(s->c, 5);
    for (unsigned i = 0; i < s->groups; i++) {
        voters = chance(s, 70) ? 3 : 1 + (unsigned)below(s, s->nodes);
        cluster_open(s->c, 16 + i, voters, false);
    }
}

/* Propose until one is acknowledged: some may be lost with a leader. */
static void
insist(struct schedule *s, qr_group_id group)
{
    uint64_t before = cluster_oracle(s->c, group)->acknowledged;

    for (unsigned i = 0; i < RECOVERY_MS / 100; i++) {
        (void)cluster_propose(s->c, group, 10, false);
        cluster_run(s->c, 100);
        if (cluster_oracle(s->c, group)->acknowledged > before) {
            return;
        }
    }
    cluster_dump(s->c, group);
    cr_assert_fail("group %" PRIu64 " accepts nothing", group);
}

static void
settle_down(struct schedule *s)
{
    struct sim_net net = sim_net(s->c->sim);

    net.loss_per_million = 0;
    net.delay_max_us = net.delay_min_us + 500;
    net.window_bytes = 64 << 20;
    sim_set_net(s->c->sim, &net);
    for (qr_node_id id = 1; id <= s->nodes; id++) {
        s->c->nodes[id].disk_delay_us = 1000;
    }
    restart_due(s, true);
    for (unsigned i = 0; i < s->groups; i++) {
        qr_group_id group = 16 + i;
        qr_node_id leader = cluster_wait_leader(s->c, group, RECOVERY_MS);

        if (leader == 0) {
            cluster_dump(s->c, group);
        }
        cr_assert_neq(leader, 0, "group %" PRIu64 " has no leader", group);
        if (s->has_losses || s->has_rot) {
            make_whole(s, group);
        }
        insist(s, group);
        if (!cluster_converges(s->c, group, RECOVERY_MS)) {
            cluster_dump(s->c, group);
        }
        cr_assert(cluster_converges(s->c, group, 0),
                  "group %" PRIu64 " does not converge", group);
        for (qr_node_id id = 1; id <= s->nodes; id++) {
            if (s->has_rot && is_member(s, group, id)) {
                scrub(s, group, id);
            }
            if (cluster_machine(s->c, id, group) != NULL &&
                (!s->has_rot || is_member(s, group, id))) {
                cluster_check_bodies(s->c, id, group);
            }
        }
    }
}

static void
print_stats(struct schedule *s, uint64_t total)
{
    struct sim_stats st;
    struct qr_host_stats sum = {0};

    sim_stats(s->c->sim, &st);
    for (qr_node_id id = 1; id <= s->nodes; id++) {
        struct qr_host_stats h;

        qr_host_stats(s->c->nodes[id].host, &h);
        sum.steps += h.steps;
        sum.elections_won += h.elections_won;
        sum.snapshots_taken += h.snapshots_taken;
        sum.snapshots_installed += h.snapshots_installed;
    }
    fprintf(
        stderr,
        "  %u losses, %u rots, %u nodes, %u groups, boots %u: %" PRIu64
        " acknowledged, %" PRIu64 " events, %" PRIu64 " frames (%" PRIu64
        " lost); since the last boots: steps %" PRIu64 ", elections %" PRIu64
        ", snapshots %" PRIu64 " taken %" PRIu64 " installed\n",
        s->losses, s->rots, s->nodes, s->groups, sim_env(s->c->sim, 1, 0)->boot,
        total, st.events, st.frames_sent, st.frames_lost, sum.steps,
        sum.elections_won, sum.snapshots_taken, sum.snapshots_installed);
}

static void
run(uint64_t seed, uint64_t seconds, enum faults faults)
{
    struct schedule s = {.seed = seed,
                         .has_losses = faults == LOSSES,
                         .has_rot = faults == ROT,
                         .rots_changes = faults == ROT && seed % 5 == 0};
    bool is_verbose = getenv("QUORATE_FUZZ") != NULL;
    uint64_t total = 0;
    uint64_t end;

    if (is_verbose) {
        fprintf(stderr, "seed %" PRIu64 "\n", seed);
    }
    map_init(&s.lost);
    map_init(&s.rotten);
    set_up(&s);
    end = now_ms(&s) + seconds * 1000;
    while (now_ms(&s) < end) {
        tick(&s);
    }
    settle_down(&s);
    for (unsigned i = 0; i < s.groups; i++) {
        total += cluster_oracle(s.c, 16 + i)->acknowledged;
    }
    cr_assert_gt(total, 0);
    if (is_verbose) {
        print_stats(&s, total);
    }
    map_deinit(&s.lost);
    map_deinit(&s.rotten);
    cluster_free(&s.c);
}

static void
run_many(uint64_t first, unsigned count, enum faults faults)
{
    const char *text = getenv("QUORATE_FUZZ");
    uint64_t seconds = 10;
    char *end;

    if (text != NULL) {
        first = first * 1000000 + strtoull(text, &end, 10);
        count = (unsigned)strtoul(end, &end, 10);
        seconds = strtoull(end, &end, 10);
    }
    for (unsigned i = 0; i < count; i++) {
        run(first + i, seconds, faults);
    }
}

Test(fuzz, random_schedules_lose_nothing_and_recover_1)
{
    run_many(1, 40, PLAIN);
}

Test(fuzz, random_schedules_lose_nothing_and_recover_2)
{
    run_many(101, 40, PLAIN);
}

Test(fuzz, random_schedules_lose_nothing_and_recover_3)
{
    run_many(201, 40, PLAIN);
}

Test(fuzz, random_schedules_lose_nothing_and_recover_4)
{
    run_many(301, 40, PLAIN);
}

Test(fuzz, what_is_lost_is_replaced)
{
    run_many(1001, 60, LOSSES);
}

Test(fuzz, what_rots_is_repaired)
{
    run_many(2001, 60, ROT);
}
