/* A counter that three nodes keep: the smallest program on libquorate.
 *
 * The counter is a state machine, of which each node has a replica; together
 * they are a group. Commands are proposed to the replica that leads, and all
 * apply them in the same order. The program adds a few amounts, kills the
 * leader, adds more, starts the dead node again, and says what each counts. */
#include <inttypes.h>
#include <quorate/error.h>
#include <quorate/host.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"
#include "world.h"

enum {
    GROUP = QR_GROUP_FIRST_QUEUE /* any id from this one on will do */
};

/* One replica's state. */
struct counter {
    uint64_t value;
};

/* ---- the state machine ---- */

/* A command is a varint, the amount to add. An entry holds all commands that
 * were proposed in one turn of the leader's loop. */
static void
apply(void *machine, const struct qr_entry *entry)
{
    struct counter *counter = machine;
    struct cursor c;

    if (entry->body == NULL) {
        return; /* an entry of Raft's own */
    }
    cursor_init(&c, entry->body->data, entry->body->size);
    while (cursor_left(&c) > 0) {
        counter->value += cursor_varint(&c);
    }
}

/* The number is all the state: no earlier entry stays LIVE beside it. */
static void
snapshot(void *machine, struct buf *manifest, struct ranges *live)
{
    const struct counter *counter = machine;

    (void)live;
    buf_put_varint(manifest, counter->value);
}

static int
restore(void *machine, qr_index index, const void *manifest, size_t size)
{
    struct counter *counter = machine;
    struct cursor c;
    uint64_t value = 0;

    (void)index;
    cursor_init(&c, manifest, size);
    if (size > 0) {
        value = cursor_varint(&c);
    }
    if (c.bad || cursor_left(&c) > 0) {
        return -QR_EFORMAT;
    }
    counter->value = value;
    return 0;
}

/* The replica was removed from its group; there is nothing to free. */
static void
gone(void *machine)
{
    (void)machine;
}

static const struct qr_machine_ops counter_ops = {
    .apply = apply,
    .snapshot = snapshot,
    .restore = restore,
    .gone = gone,
};

/* ---- the group ---- */

/* Start node ID and its replica. What the store has of the group is replayed;
 * the first time it has nothing, and the group begins with these members. */
static void
start(struct world *w, struct counter *counter, qr_node_id id)
{
    struct qr_member members[WORLD_NODES];
    struct qr_group_config config = {
        .id = GROUP,
        .self = qr_replica(id, 1),
        .members = members,
        .members_count = WORLD_NODES,
        .ops = &counter_ops,
        .machine = counter,
    };
    struct qr_group *group;
    struct error err;

    for (qr_node_id i = 1; i <= WORLD_NODES; i++) {
        members[i - 1].id = qr_replica(i, 1);
        members[i - 1].role = QR_ROLE_VOTER;
    }
    counter->value = 0;
    world_start(w, id);
    error_clear(&err);
    must(qr_group_open(world_host(w, id), &config, &group, &err) == 0,
         err.text);
}

/* The leader that serves, after as long as it takes to elect one. */
static qr_node_id
leader(struct world *w)
{
    for (;; world_run(w)) {
        for (qr_node_id id = 1; id <= WORLD_NODES; id++) {
            struct qr_host *host = world_host(w, id);
            struct qr_group_status status;

            if (host != NULL) {
                qr_group_status(qr_host_group(host, GROUP), &status);
                if (status.is_leader) {
                    return id;
                }
            }
        }
    }
}

/* A proposal that was accepted may still be lost with its leader. Whether it
 * counted is known when it is applied: see await(). */
static void
add(struct world *w, uint64_t amount)
{
    struct qr_host *host = world_host(w, leader(w));
    struct buf buf;
    struct slice piece;

    buf_init(&buf);
    buf_put_varint(&buf, amount);
    piece = slice_borrow(buf.data, buf.size);
    must(qr_group_propose(qr_host_group(host, GROUP), &piece, 1) == 0,
         "the proposal was refused");
    buf_deinit(&buf);
}

/* Until all nodes that run count VALUE; then print WHAT and their counters. */
static void
await(struct world *w, const struct counter *counters, uint64_t value,
      const char *what)
{
    for (qr_node_id id = 1; id <= WORLD_NODES; id++) {
        while (world_host(w, id) != NULL && counters[id - 1].value != value) {
            world_run(w);
        }
    }
    printf("%5.2f s  n%u leads, %s:", world_seconds(w), leader(w), what);
    for (qr_node_id id = 1; id <= WORLD_NODES; id++) {
        if (world_host(w, id) != NULL) {
            printf(" n%u = %" PRIu64, id, counters[id - 1].value);
        }
    }
    printf("\n");
}

int
main(void)
{
    struct counter counters[WORLD_NODES];
    struct world *w = world_new();
    qr_node_id victim;

    for (qr_node_id id = 1; id <= WORLD_NODES; id++) {
        start(w, &counters[id - 1], id);
    }
    for (uint64_t amount = 1; amount <= 10; amount++) {
        add(w, amount);
    }
    await(w, counters, 55, "1 to 10 are added");

    victim = leader(w);
    world_kill(w, victim);
    add(w, 45);
    await(w, counters, 100, "one is dead and 45 added");

    start(w, &counters[victim - 1], victim);
    await(w, counters, 100, "the dead one is back");
    world_free(&w);
    return EXIT_SUCCESS;
}
