/* See placement.h. Nodes beyond the first are taken in turn, by the number of
 * queues declared here, so that in larger clusters replicas spread. */
#include "broker/placement.h"

#include "broker/broker_priv.h"
#include "shard/env.h"

struct choice {
    const struct broker *broker;
    qr_node_id linked[QR_NODES_MAX];
    size_t linked_count;
    qr_node_id others[QR_NODES_MAX];
    size_t others_count;
};

static bool
collect(void *arg, const struct meta_node *node)
{
    struct choice *c = arg;
    struct env *env = c->broker->env;

    if (node->is_removed || node->id == env->node) {
        return true;
    }
    if (env->ops->is_linked(env, node->id)) {
        if (c->linked_count < QR_NODES_MAX) {
            c->linked[c->linked_count++] = node->id;
        }
    } else if (c->others_count < QR_NODES_MAX) {
        c->others[c->others_count++] = node->id;
    }
    return true;
}

size_t
placement_choose(const struct broker *b, qr_node_id out[QR_MEMBERS_MAX])
{
    struct choice c = {.broker = b};
    size_t wanted = MIN(b->config.queue_replicas, QR_MEMBERS_MAX);
    size_t start = (size_t)b->request_next;
    size_t count = 1;

    ASSERT(wanted >= 1);
    out[0] = b->env->node;
    meta_each_node(b->meta, collect, &c);
    for (size_t i = 0; i < c.linked_count && count < wanted; i++) {
        out[count++] = c.linked[(start + i) % c.linked_count];
    }
    for (size_t i = 0; i < c.others_count && count < wanted; i++) {
        out[count++] = c.others[(start + i) % c.others_count];
    }
    return count;
}
