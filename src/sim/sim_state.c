/* What the machines of a node's groups have in them, for the checker. */
#include <quorate/host.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/ranges.h"
#include "broker/broker_priv.h"
#include "broker/queue_group.h"
#include "machine/meta/meta_machine.h"
#include "machine/queue/queue_machine.h"
#include "sim/sim_node.h"

/* GROUP here, or NULL. */
static struct queue_group *
find_group(const struct sim_node *n, qr_group_id group)
{
    struct broker *b =
        sim_node_broker(n, env_shard_of(group, sim_node_shards(n)));

    return b == NULL ? NULL : map_get(&b->groups, group);
}

uint64_t
sim_node_messages(const struct sim_node *n, qr_group_id group)
{
    struct queue_group *g = find_group(n, group);
    struct queue_counts counts;

    if (g == NULL) {
        return 0;
    }
    queue_machine_counts(queue_group_machine(g), &counts);
    return counts.ready + counts.unsettled;
}

uint64_t
sim_node_queue_groups(const struct sim_node *n)
{
    uint64_t mask = 0;

    for (uint16_t i = 0; i < sim_node_shards(n); i++) {
        struct broker *b = sim_node_broker(n, i);
        struct queue_group *g;
        uint64_t id;
        size_t pos;

        if (b == NULL) {
            continue;
        }
        map_foreach (&b->groups, pos, id, g) {
            if (id >= QR_GROUP_FIRST_QUEUE && id < QR_GROUP_FIRST_QUEUE + 64) {
                mask |= 1ULL << (id - QR_GROUP_FIRST_QUEUE);
            }
        }
    }
    return mask;
}

bool
sim_node_queue_state(const struct sim_node *n, qr_group_id group,
                     qr_index *applied, struct buf *state)
{
    struct queue_group *g = find_group(n, group);
    struct qr_group_status status;
    struct ranges live;

    if (g == NULL || queue_group_raft(g) == NULL) {
        return false;
    }
    qr_group_status(queue_group_raft(g), &status);
    *applied = status.applied;
    if (state == NULL) {
        return true;
    }
    ranges_init(&live);
    queue_machine_snapshot(queue_group_machine(g), state, &live);
    ranges_deinit(&live);
    return true;
}

bool
sim_node_meta_state(const struct sim_node *n, uint16_t shard, qr_index *applied,
                    struct buf *state)
{
    const struct broker *b = sim_node_broker(n, shard);

    if (b == NULL) {
        return false;
    }
    *applied = meta_applied(b->meta);
    if (state != NULL) {
        meta_machine_snapshot(b->meta, state);
    }
    return true;
}
