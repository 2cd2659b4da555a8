/* See suspects.h. The line between before and after is drawn in the metadata's
 * log, which has one order for all: the entry that says that this node has
 * started. It is committed after everything that an earlier start had applied,
 * and thus after all that it can have had a replica of. */
#include "broker/suspects.h"

#include <quorate/host.h>

#include "base/map.h"
#include "base/mem.h"
#include "broker/broker_priv.h"
#include "broker/queue_group.h"
#include "shard/env.h"

/* A queue that lives in its node's memory is never under suspicion. */
static bool
is_here(const struct broker *b, const struct meta_queue *queue)
{
    return queue->owner.node == 0 && broker_replica_of(b, queue) != 0 &&
           env_shard_of(queue->group, b->env->shards) == b->env->shard;
}

static void
forget(struct broker *b)
{
    size_t pos;
    uint64_t group;
    qr_replica_id *replica;

    map_foreach (&b->suspects, pos, group, replica) {
        mem_free(replica);
    }
    map_deinit(&b->suspects);
    map_init(&b->suspects);
}

void
suspects_init(struct broker *b)
{
    map_init(&b->suspects);
}

void
suspects_deinit(struct broker *b)
{
    forget(b);
}

static bool
note(void *arg, struct meta_queue *queue)
{
    struct broker *b = arg;
    qr_replica_id *replica;

    if (is_here(b, queue)) {
        replica = mem_alloc(sizeof(*replica));
        *replica = broker_replica_of(b, queue);
        mem_free(map_put(&b->suspects, queue->group, replica));
    }
    return true;
}

void
suspects_note(struct broker *b)
{
    if (qr_host_is_forgetful(b->host)) {
        meta_each_queue(b->meta, NULL, note, b);
    }
}

bool
suspects_is_fresh(const struct broker *b, const struct meta_queue *queue)
{
    const qr_replica_id *before = map_get(&b->suspects, queue->group);

    return b->is_current &&
           (before == NULL || *before != broker_replica_of(b, queue));
}

struct look {
    const struct broker *broker;
    bool is_good;
};

static bool
look(void *arg, struct meta_queue *queue)
{
    struct look *l = arg;
    const struct queue_group *g = map_get(&l->broker->groups, queue->group);

    l->is_good = !is_here(l->broker, queue) ||
                 (g != NULL &&
                  queue_group_self(g) == broker_replica_of(l->broker, queue));
    return l->is_good;
}

void
suspects_check(struct broker *b)
{
    struct look l = {.broker = b, .is_good = true};

    if (!b->is_current || !qr_host_is_forgetful(b->host)) {
        return;
    }
    meta_each_queue(b->meta, NULL, look, &l);
    if (l.is_good && qr_host_accept_loss(b->host)) {
        forget(b);
    }
}
