/* Connections of this shard: registered so that operators see them, and so
 * that what an exclusive owner leaves behind goes with it. */
#include <quorate/host.h>
#include <string.h>

#include "broker/bootstrap.h"
#include "broker/broker_priv.h"
#include "broker/meta_client.h"
#include "broker/meta_group.h"
#include "broker/publisher.h"
#include "broker/queue_group.h"
#include "machine/meta/meta_command.h"
#include "shard/env.h"

enum {
    SHARD_BITS = 8, /* of a connection's id: the shard that it is on */
    SHARD_MASK = (1 << SHARD_BITS) - 1
};

void
broker_connection_open(struct broker *b, struct broker_connection *c,
                       struct broker_fault *fault)
{
    const struct meta_vhost *vhost;

    OBJ_CHECK(b, BROKER_MAGIC);
    fault->kind = BROKER_OK;
    if (b->is_shutting_down) {
        broker_fault_set(fault, BROKER_INTERNAL, "node is shutting down");
        return;
    }
    vhost = meta_vhost(b->meta, c->vhost, strlen(c->vhost));
    if (vhost == NULL) {
        broker_fault_set(fault, BROKER_NOT_ALLOWED, "vhost %s not found",
                         c->vhost);
        return;
    }
    if (meta_permission(b->meta, vhost, c->user, strlen(c->user)) == NULL) {
        broker_fault_set(fault, BROKER_NOT_ALLOWED,
                         "access to vhost '%s' refused for user '%s'", c->vhost,
                         c->user);
        return;
    }
    /* Unique on this node: the shard is in the low bits. */
    c->id = (++b->connection_next << SHARD_BITS) | b->env->shard;
    c->connected_ms = b->env->ops->wall_ms(b->env);
    list_push_back(&b->connections, &c->link);
}

/* What connection ID of this start owns goes with it. */
static void
propose_gone(struct broker *b, uint64_t id)
{
    struct meta_owner owner = {
        .node = b->env->node, .boot = b->env->boot, .connection = id};
    struct meta_request *r = meta_request_new(b, NULL, NULL);

    r->is_kept = true;
    meta_put_connection_gone(&r->command, b->session, r->number, &owner);
    meta_request_send(r);
}

void
connections_queue_created(struct broker *b, const struct meta_queue *queue)
{
    const struct meta_owner *owner = &queue->owner;
    struct list *it;

    if (owner->node != b->env->node || owner->boot != b->env->boot ||
        (owner->connection & SHARD_MASK) != b->env->shard) {
        return;
    }
    list_foreach (it, &b->connections) {
        if (list_entry(it, struct broker_connection, link)->id ==
            owner->connection) {
            return;
        }
    }
    propose_gone(b, owner->connection);
}

void
broker_connection_closed(struct broker *b, struct broker_connection *c)
{
    OBJ_CHECK(b, BROKER_MAGIC);
    publishers_leave(c);
    if (c->id == 0) {
        return;
    }
    list_remove(&c->link);
    meta_client_forget(b->meta_client, c);
    if (c->owns_queues) {
        propose_gone(b, c->id);
    }
    c->id = 0;
}

struct list *
broker_connections(struct broker *b)
{
    return &b->connections;
}

/* Close those of VHOST (NULL: all) with TEXT. */
static void
close_connections(struct broker *b, const struct meta_text *vhost,
                  const char *text)
{
    struct list *it;
    struct list *tmp;

    list_foreach_safe (it, tmp, &b->connections) {
        struct broker_connection *c =
            list_entry(it, struct broker_connection, link);

        if (vhost == NULL ||
            (strlen(c->vhost) == vhost->size &&
             memcmp(c->vhost, vhost->data, vhost->size) == 0)) {
            c->force_close(c, text);
        }
    }
}

void
broker_vhost_gone(struct broker *b, const struct meta_vhost *vhost)
{
    close_connections(b, &vhost->name, "vhost is deleted");
}

/* Ask a voter that can be reached to lead the group in this node's stead. */
static void
hand_over(struct broker *b, struct qr_group *group)
{
    struct qr_group_status status;

    qr_group_status(group, &status);
    if (!status.is_leader) {
        return;
    }
    for (size_t i = 0; i < status.members_count; i++) {
        const struct qr_member *m = &status.members[i].member;
        qr_node_id node = qr_replica_node(m->id);

        /* One that lags cannot take over: try the next. */
        if (m->role == QR_ROLE_VOTER && node != b->env->node &&
            b->env->ops->is_linked(b->env, node) &&
            qr_group_transfer(group, node) == 0) {
            return;
        }
    }
}

void
broker_shutdown(struct broker *b)
{
    struct queue_group *g;
    uint64_t id;
    size_t pos;

    OBJ_CHECK(b, BROKER_MAGIC);
    b->is_shutting_down = true;
    close_connections(b, NULL, "shutdown");
    map_foreach (&b->groups, pos, id, g) {
        hand_over(b, queue_group_raft(g));
    }
    if (b->meta_group != NULL && meta_group_raft(b->meta_group) != NULL) {
        hand_over(b, meta_group_raft(b->meta_group));
    }
}
