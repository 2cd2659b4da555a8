/* Alarms of three simulated nodes: who is told, when publishers are blocked,
 * and what becomes of the alarms of a node that is gone. */
#include "broker/alarms.h"
#include "broker/broker_priv.h"
#include "lib/harness.h"
#include "sim/sim_node.h"

enum {
    NODES = 3,
    SHARDS = 2,
    WAIT_MS = 10000
};

struct rig {
    struct sim *sim;
    struct sim_node *nodes[NODES];
    char told[128]; /* to shard 1 of node 3: the reason, or "" */
    unsigned changes;
};

static const qr_node_id ids[] = {1, 2, 3};

static void
pass(struct rig *r, uint64_t ms)
{
    sim_run(r->sim, sim_now_us(r->sim) + ms * 1000);
}

static struct broker *
broker(struct rig *r, size_t node, uint16_t shard)
{
    return sim_node_broker(r->nodes[node - 1], shard);
}

static void
on_alarm(void *arg, const char *reason)
{
    struct rig *r = arg;

    (void)snprintf(r->told, sizeof(r->told), "%s",
                   reason != NULL ? reason : "");
    r->changes++;
}

static bool
is_ready(struct rig *r)
{
    for (size_t n = 1; n <= NODES; n++) {
        for (uint16_t s = 0; s < SHARDS; s++) {
            if (!broker_is_ready(broker(r, n, s)) ||
                meta_node(broker_meta(broker(r, n, s)), NODES) == NULL) {
                return false;
            }
        }
    }
    return true;
}

static void
rig_init(struct rig *r)
{
    memset(r, 0, sizeof(*r));
    r->sim = sim_new(3);
    for (size_t i = 0; i < NODES; i++) {
        struct sim_node_config config = {.sim = r->sim,
                                         .id = ids[i],
                                         .shards = SHARDS,
                                         .nodes = ids,
                                         .nodes_count = NODES,
                                         .disk_delay_us = 200};

        r->nodes[i] = sim_node_new(&config);
        sim_node_start(r->nodes[i]);
    }
    for (int ms = 0; ms < WAIT_MS && !is_ready(r); ms++) {
        pass(r, 1);
    }
    cr_assert(is_ready(r));
    pass(r, 1000);
    broker_on_alarm(broker(r, 3, 1), on_alarm, r);
}

static void
rig_deinit(struct rig *r)
{
    for (size_t i = 0; i < NODES; i++) {
        if (sim_node_is_up(r->nodes[i])) {
            sim_node_crash(r->nodes[i], false);
        }
        sim_node_free(&r->nodes[i]);
    }
    sim_free(&r->sim);
}

static void
count(void *arg, qr_node_id node, enum broker_alarm alarm)
{
    unsigned *seen = arg;

    *seen += node * 10 + alarm;
}

Test(alarms, memory_of_any_node_blocks_everywhere)
{
    struct rig r;
    unsigned seen = 0;

    rig_init(&r);
    broker_alarm_set(broker(&r, 1, 0), BROKER_ALARM_MEMORY, true);
    cr_assert(broker_alarm_reason(broker(&r, 1, 0))[0] != '\0', "at once");
    pass(&r, 100);
    for (size_t n = 1; n <= NODES; n++) {
        for (uint16_t s = 0; s < SHARDS; s++) {
            cr_assert(strncmp(broker_alarm_reason(broker(&r, n, s)),
                              "low on memory (", 15) == 0);
        }
    }
    cr_assert_eq(r.changes, 1);
    cr_assert(strncmp(r.told, "low on memory (", 15) == 0);
    broker_alarms_each(broker(&r, 2, 1), count, &seen);
    cr_assert_eq(seen, 10 + BROKER_ALARM_MEMORY);
    broker_alarm_set(broker(&r, 1, 0), BROKER_ALARM_MEMORY, true);
    pass(&r, 3 * ALARMS_REPEAT_MS);
    cr_assert_eq(r.changes, 1, "the same again is no news");
    broker_alarm_set(broker(&r, 1, 0), BROKER_ALARM_MEMORY, false);
    pass(&r, 100);
    cr_assert_eq(r.changes, 2);
    cr_assert_str_eq(r.told, "");
    rig_deinit(&r);
}

/* The way is cut for a moment, too short for the link to be noticed as down. */
Test(alarms, an_alarm_whose_end_is_lost_ends_all_the_same)
{
    struct rig r;

    rig_init(&r);
    broker_alarm_set(broker(&r, 1, 0), BROKER_ALARM_MEMORY, true);
    pass(&r, 3 * ALARMS_STALE_MS);
    cr_assert(strncmp(r.told, "low on memory (", 15) == 0, "it is repeated");
    sim_cut(r.sim, 1, 3, true);
    broker_alarm_set(broker(&r, 1, 0), BROKER_ALARM_MEMORY, false);
    pass(&r, 1);
    sim_cut(r.sim, 1, 3, false);
    pass(&r, 100);
    cr_assert(strncmp(r.told, "low on memory (", 15) == 0, "nobody said so");
    pass(&r, ALARMS_STALE_MS + 2 * ALARMS_REPEAT_MS);
    cr_assert_str_eq(r.told, "");
    rig_deinit(&r);
}

Test(alarms, a_disk_blocks_when_no_majority_has_room)
{
    struct rig r;

    rig_init(&r);
    broker_alarm_set(broker(&r, 1, 1), BROKER_ALARM_DISK, true);
    pass(&r, 100);
    cr_assert_eq(r.changes, 0, "two of three have room");
    broker_alarm_set(broker(&r, 2, 0), BROKER_ALARM_DISK, true);
    pass(&r, 100);
    cr_assert_eq(r.changes, 1);
    cr_assert_str_eq(r.told, "low on disk (n1, n2)");
    broker_alarm_set(broker(&r, 2, 1), BROKER_ALARM_MEMORY, true);
    pass(&r, 100);
    cr_assert(strstr(r.told, "low on memory (") != NULL, "%s", r.told);
    cr_assert(strstr(r.told, " & low on disk (") != NULL, "%s", r.told);
    broker_alarm_set(broker(&r, 2, 1), BROKER_ALARM_MEMORY, false);
    broker_alarm_set(broker(&r, 2, 0), BROKER_ALARM_DISK, false);
    pass(&r, 100);
    cr_assert_str_eq(r.told, "");
    rig_deinit(&r);
}

Test(alarms, a_node_that_is_gone_has_no_memory_alarm_and_no_room)
{
    struct rig r;

    rig_init(&r);
    broker_alarm_set(broker(&r, 1, 0), BROKER_ALARM_MEMORY, true);
    broker_alarm_set(broker(&r, 2, 0), BROKER_ALARM_DISK, true);
    pass(&r, 100);
    cr_assert(strncmp(r.told, "low on memory (", 15) == 0);
    cr_assert(strstr(r.told, "disk") == NULL);
    sim_node_crash(r.nodes[0], false);
    pass(&r, 3000);
    /* One is gone, one is full: no majority could take a message. */
    cr_assert_str_eq(r.told, "low on disk (n2)");
    sim_node_start(r.nodes[0]);
    for (int ms = 0; ms < WAIT_MS && r.told[0] != '\0'; ms++) {
        pass(&r, 1);
    }
    cr_assert_str_eq(r.told, "");
    rig_deinit(&r);
}

Test(alarms, a_node_that_comes_learns_what_is_the_case)
{
    struct rig r;

    rig_init(&r);
    sim_node_crash(r.nodes[2], false);
    broker_alarm_set(broker(&r, 1, 0), BROKER_ALARM_MEMORY, true);
    pass(&r, 3000);
    r.changes = 0;
    sim_node_start(r.nodes[2]);
    broker_on_alarm(broker(&r, 3, 1), on_alarm, &r);
    for (int ms = 0; ms < WAIT_MS && r.told[0] == '\0'; ms++) {
        pass(&r, 1);
    }
    cr_assert(strncmp(r.told, "low on memory", 13) == 0, "%s", r.told);
    cr_assert_leq(r.changes, 2);
    broker_on_alarm(broker(&r, 3, 1), on_alarm, &r);
    cr_assert_leq(r.changes, 3, "whoever asks later is told at once");
    rig_deinit(&r);
}

/* Nodes' ids are never used again: one that is replaced has another. */
Test(alarms, nodes_that_are_gone_take_no_places)
{
    struct rig r;
    struct broker *b;

    rig_init(&r);
    b = broker(&r, 3, 1);
    for (qr_node_id id = 100; id < 100 + 2 * QR_NODES_MAX; id++) {
        struct link_peer peer = {.node = id, .shards = 1};

        alarms_link(b, &peer, true);
        cr_assert_eq(b->alarms->count, NODES + 1);
        alarms_link(b, &peer, false);
    }
    cr_assert_eq(b->alarms->count, NODES);
    rig_deinit(&r);
}
