/* The broker of one shard: made of the rooms around it, driven by the shard.
 *
 * Frames go to the replica or the client of the queue that they name, or to
 * the metadata. Once a turn: answers that were known at once, then commands of
 * queue clients and requests of metadata leave, then events of the queues that
 * this shard leads, then confirms to front ends. What the shard's copy of the
 * metadata goes through (queues that come and go, nodes that start) is acted
 * on here. */
#include "broker/broker.h"

#include <quorate/host.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "broker/alarms.h"
#include "broker/bootstrap.h"
#include "broker/broker_priv.h"
#include "broker/meta_client.h"
#include "broker/meta_group.h"
#include "broker/publisher.h"
#include "broker/queue_client.h"
#include "broker/queue_group.h"
#include "broker/reconcile.h"
#include "broker/suspects.h"
#include "machine/queue/queue_command.h"
#include "shard/env.h"

enum {
    NODES_TICK_MS = 1000
};

/* ---- what the metadata goes through ---- */

static void
on_outcome(void *arg, const struct meta_outcome *outcome)
{
    struct broker *b = arg;

    meta_client_outcome(b->meta_client, outcome);
}

qr_replica_id
broker_replica_of(const struct broker *b, const struct meta_queue *queue)
{
    for (size_t i = 0; i < queue->members_count; i++) {
        if (qr_replica_node(queue->members[i].replica) == b->env->node) {
            return queue->members[i].replica;
        }
    }
    return 0;
}

static bool
is_hosted_here(const struct broker *b, const struct meta_queue *queue)
{
    return broker_replica_of(b, queue) != 0 &&
           env_shard_of(queue->group, b->env->shards) == b->env->shard;
}

/* The memory of an exclusive queue of an earlier start is gone with it. */
static bool
is_lost(const struct broker *b, const struct meta_queue *queue)
{
    return queue->owner.node == b->env->node &&
           queue->owner.boot != b->env->boot;
}

static void
on_queue_created(void *arg, struct meta_queue *queue)
{
    struct broker *b = arg;

    if (queue->owner.node != 0) {
        connections_queue_created(b, queue);
        if (b->meta_group != NULL) {
            meta_group_bury_late(b->meta_group, queue);
        }
    }
    if (is_hosted_here(b, queue) && !is_lost(b, queue) &&
        map_get(&b->groups, queue->group) == NULL) {
        (void)queue_group_open(b, queue);
    }
}

static void
on_queue_gone(void *arg, struct meta_queue *queue)
{
    struct broker *b = arg;
    struct queue_client *client = map_get(&b->clients, queue->group);
    struct queue_group *group = map_get(&b->groups, queue->group);

    if (client != NULL) {
        queue_client_queue_gone(client, queue);
    }
    if (group != NULL) {
        (void)map_remove(&b->groups, queue->group);
        if (!MUTATION(keep_deleted)) {
            queue_group_delete(group);
        }
    }
}

static void
on_queue_members(void *arg, struct meta_queue *queue)
{
    struct broker *b = arg;
    struct queue_client *client = map_get(&b->clients, queue->group);
    struct queue_group *group = map_get(&b->groups, queue->group);

    if (client != NULL) {
        queue_client_members(client);
    }
    if (group != NULL &&
        broker_replica_of(b, queue) != queue_group_self(group)) {
        (void)map_remove(&b->groups, queue->group);
        queue_group_delete(group); /* and broker_group_gone() */
    } else if (group == NULL) {
        on_queue_created(b, queue);
    }
    reconcile_group(b, queue->group);
}

void
broker_group_gone(struct broker *b, qr_group_id group, qr_replica_id self)
{
    const struct meta_queue *queue = meta_queue_by_group(b->meta, group);

    /* An earlier one: this copy of the metadata lags. */
    if (queue != NULL && broker_replica_of(b, queue) > self &&
        map_get(&b->groups, group) == NULL && is_hosted_here(b, queue) &&
        !is_lost(b, queue)) {
        (void)queue_group_open(b, queue);
    }
}

/* STATE's node has died: the groups led here bury its sessions. */
static void
node_dead(struct broker *b, const struct node_state *state)
{
    struct queue_group *g;
    uint64_t id;
    size_t pos;

    map_foreach (&b->groups, pos, id, g) {
        queue_group_node_dead(g, state);
    }
    if (b->meta_group != NULL) {
        meta_group_node_dead(b->meta_group, state);
    }
}

static void
on_node(void *arg, const struct meta_node *node)
{
    struct broker *b = arg;
    const struct node_state *dead;

    if (node->id == b->env->node || (node->boot == 0 && !node->is_removed)) {
        return;
    }
    dead = node->is_removed ? nodes_removed(&b->nodes, node->id)
                            : nodes_known(&b->nodes, node->id, node->boot,
                                          b->env->ops->now_ms(b->env));
    if (dead != NULL) {
        node_dead(b, dead);
    }
}

static void
on_node_changed(void *arg, const struct meta_node *node)
{
    struct broker *b = arg;

    b->nodes_changed = true;
    if (node->id == b->env->node && node->is_removed && b->is_current &&
        b->config.on_unwelcome != NULL) {
        b->config.on_unwelcome(b->config.arg, BROKER_REMOVED,
                               "this node was removed from the cluster");
    }
    on_node(b, node);
    reconcile_nodes(b);
}

static void
on_vhost_gone(void *arg, const struct meta_vhost *vhost)
{
    broker_vhost_gone(arg, vhost);
}

static void
on_user(void *arg, const char *name, size_t size)
{
    login_forget(arg, name, size);
}

/* ---- frames, links, turns ---- */

static void
on_frame(void *arg, struct address from, struct frame **frame)
{
    struct broker *b = arg;
    struct queue_client *client;

    OBJ_CHECK(b, BROKER_MAGIC);
    switch ((int)(*frame)->kind) {
    case BROKER_COMMANDS:
    case BROKER_RESUME:
    case BROKER_QUERY:
        queue_group_frame(b, map_get(&b->groups, (*frame)->group), from, frame);
        break;
    case BROKER_EVENTS:
    case BROKER_RESUMED:
    case BROKER_LEADER:
    case BROKER_BUSY:
    case BROKER_COUNTS:
    case BROKER_DEAD:
        client = map_get(&b->clients, (*frame)->group);
        if (client != NULL) {
            queue_client_frame(client, from, frame);
        }
        break;
    case BROKER_ALARM:
        alarms_frame(b, from, *frame);
        break;
    default:
        meta_group_frame(b, b->meta_group, from, frame);
        break;
    }
}

static void
on_link(void *arg, enum link_event event, const struct link_peer *peer)
{
    struct broker *b = arg;
    struct node_state *dead;
    struct queue_client *client;
    uint64_t *ids;
    size_t count = b->clients.count;

    OBJ_CHECK(b, BROKER_MAGIC);
    dead =
        nodes_link_event(&b->nodes, event, peer, b->env->ops->now_ms(b->env));
    if (dead != NULL) {
        node_dead(b, dead);
    }
    if (event == LINK_UP && b->meta_group != NULL) {
        meta_group_link_up(b->meta_group, peer->node);
    }
    if (event == LINK_UP) {
        reconcile_nodes(b);
    }
    if (event == LINK_SILENT) {
        return; /* it may yet speak; the link is still up */
    }
    alarms_link(b, peer, event == LINK_UP);
    /* Consumers may be cancelled on the way, and their owners do anything. */
    ids = map_keys_sorted(&b->clients);
    for (size_t i = 0; i < count; i++) {
        client = map_get(&b->clients, ids[i]);
        if (client != NULL) {
            queue_client_link(client, peer->node, event == LINK_UP);
        }
    }
    mem_free(ids);
    meta_client_check(b->meta_client);
}

static void
on_turn(void *arg)
{
    struct broker *b = arg;

    OBJ_CHECK(b, BROKER_MAGIC);
    calls_run(b);
    if (b->nodes_changed && b->is_current && b->env->shard == 0 &&
        b->config.on_nodes != NULL) {
        b->nodes_changed = false;
        b->config.on_nodes(b->config.arg);
    }
    while (!list_is_empty(&b->dirty_clients)) {
        queue_client_flush(queue_client_of_dirty(b->dirty_clients.next));
    }
    meta_client_flush(b->meta_client);
    if (b->meta_group != NULL) {
        meta_group_flush(b->meta_group);
    }
    while (!list_is_empty(&b->dirty_groups)) {
        queue_group_flush(queue_group_of_dirty(b->dirty_groups.next));
    }
    while (!list_is_empty(&b->dirty_publishers)) {
        publisher_flush(publisher_of_dirty(b->dirty_publishers.next));
    }
    publishers_ease(b);
}

/* A node that this start has never seen may be dead, too. */
static bool
note_node(void *arg, const struct meta_node *node)
{
    if (!node->is_removed) {
        on_node(arg, node);
    }
    return true;
}

static void
on_nodes_timer(void *arg)
{
    struct broker *b = arg;
    uint64_t now = b->env->ops->now_ms(b->env);
    struct node_state *state;

    OBJ_CHECK(b, BROKER_MAGIC);
    if (b->meta_group != NULL) {
        meta_group_check(b->meta_group);
    }
    meta_each_node(b->meta, note_node, b);
    suspects_check(b);
    while ((state = nodes_expire(&b->nodes, now)) != NULL) {
        node_dead(b, state);
    }
    timers_start(&b->env->timers, &b->nodes_timer, now + NODES_TICK_MS);
}

/* ---- the host's questions ---- */

enum qr_unknown
broker_unknown_group(struct broker *b, qr_group_id group, qr_node_id from)
{
    (void)from;
    if (b == NULL || !b->is_current || group >= meta_group_next(b->meta) ||
        meta_queue_by_group(b->meta, group) != NULL) {
        return QR_UNKNOWN_WAIT;
    }
    return QR_UNKNOWN_DELETED;
}

void
broker_deleted_group(struct broker *b, qr_group_id group)
{
    struct queue_group *g = b == NULL ? NULL : map_get(&b->groups, group);

    /* The copy here may lag; it drops the replica when it learns of it. Only
     * one that the copy does not know is a leftover. */
    if (g != NULL && meta_queue_by_group(b->meta, group) == NULL) {
        (void)map_remove(&b->groups, group);
        queue_group_delete(g);
    }
}

/* ---- life ---- */

static void
init_lists(struct broker *b)
{
    nodes_init(&b->nodes);
    map_init(&b->groups);
    suspects_init(b);
    map_init(&b->clients);
    queue_effects_init(&b->effects);
    list_init(&b->dirty_clients);
    list_init(&b->dirty_groups);
    list_init(&b->dirty_publishers);
    list_init(&b->congested);
    list_init(&b->connections);
    list_init(&b->deletions);
    calls_init(b);
}

static void
register_handler(struct broker *b)
{
    struct env_handler handler = {.arg = b,
                                  .kind_first = FRAME_BROKER_FIRST,
                                  .kind_limit = FRAME_MGMT_FIRST,
                                  .on_frame = on_frame,
                                  .on_link = on_link,
                                  .on_turn = on_turn};

    env_register(b->env, &handler);
}

struct broker *
broker_new(const struct broker_config *config)
{
    struct meta_events events = {.on_outcome = on_outcome,
                                 .on_queue_created = on_queue_created,
                                 .on_queue_members = on_queue_members,
                                 .on_queue_gone = on_queue_gone,
                                 .on_node = on_node_changed,
                                 .on_vhost_gone = on_vhost_gone,
                                 .on_user = on_user};
    struct broker *b = mem_zalloc(1, sizeof(*b));

    ASSERT(config->env->node != 0);
    ASSERT(config->queue_replicas >= 1);
    b->magic = BROKER_MAGIC;
    b->config = *config;
    b->env = config->env;
    b->host = config->host;
    b->log = config->env->log;
    b->session = session_id(b->env->node, b->env->boot, b->env->shard);
    init_lists(b);
    events.arg = b;
    b->meta = meta_machine_new(&events);
    b->meta_client = meta_client_new(b);
    alarms_init(b);
    login_init(b);
    access_init(b);
    timer_init(&b->nodes_timer, on_nodes_timer, b);
    timers_start(&b->env->timers, &b->nodes_timer,
                 b->env->ops->now_ms(b->env) + NODES_TICK_MS);
    register_handler(b);
    return b;
}

int
broker_start(struct broker *b, struct error *err)
{
    OBJ_CHECK(b, BROKER_MAGIC);
    if (b->env->shard == 0) {
        b->meta_group = meta_group_open(b, err);
        if (b->meta_group == NULL) {
            return -QR_EFORMAT;
        }
    }
    b->reconciler = reconciler_new(b);
    bootstrap_node_up(b);
    return 0;
}

void
broker_lost_replica(struct broker *b, qr_group_id group, qr_replica_id replica)
{
    if (b != NULL && b->reconciler != NULL) {
        reconcile_lost(b, group, replica);
    }
}

void
broker_missing_entry(struct broker *b, qr_group_id group, qr_index index)
{
    const struct meta_queue *queue =
        b == NULL ? NULL : meta_queue_by_group(b->meta, group);

    struct queue_group *g = b == NULL ? NULL : map_get(&b->groups, group);

    if (queue != NULL) {
        log_error(b->log, "queue",
                  "queue '%.*s' in vhost '%.*s': entry %llu of its log has "
                  "rotted on every node that had it; what of its messages is "
                  "still in the queue is lost",
                  (int)queue->name.size, queue->name.data,
                  (int)queue->vhost.size, queue->vhost.data,
                  (unsigned long long)index);
    }
    if (g != NULL) {
        queue_group_missing(g);
    } else if (b != NULL && group == QR_GROUP_META) {
        log_error(b->log, "cluster",
                  "entry %llu of the metadata has rotted on every node that "
                  "had it: a declaration, a deletion or another change is "
                  "lost; compare the listings with what should be there, and "
                  "restore a copy of the data directory if it matters",
                  (unsigned long long)index);
    }
}

void
broker_free(struct broker **broker)
{
    struct broker *b = *broker;
    struct queue_client *client;
    struct queue_group *group;
    uint64_t id;
    size_t pos;

    OBJ_CHECK(b, BROKER_MAGIC);
    *broker = NULL;
    while (b->clients.count > 0) {
        pos = 0;
        (void)map_next(&b->clients, &pos, &id, (void **)&client);
        queue_client_free(client);
    }
    while (!list_is_empty(&b->dirty_publishers)) {
        publisher_flush(publisher_of_dirty(b->dirty_publishers.next));
    }
    while (b->groups.count > 0) {
        pos = 0;
        (void)map_next(&b->groups, &pos, &id, (void **)&group);
        queue_group_free(group);
    }
    if (b->reconciler != NULL) {
        reconciler_free(&b->reconciler);
    }
    meta_client_free(&b->meta_client);
    meta_group_free(&b->meta_group);
    meta_machine_free(&b->meta);
    queues_deinit(b);
    map_deinit(&b->groups);
    suspects_deinit(b);
    map_deinit(&b->clients);
    while (b->rooms_count > 0) {
        buf_deinit(&b->rooms[--b->rooms_count]);
    }
    queue_effects_deinit(&b->effects);
    timers_stop(&b->env->timers, &b->nodes_timer);
    calls_deinit(b);
    alarms_deinit(b);
    login_deinit(b);
    access_deinit(b);
    b->magic = 0;
    mem_free(b);
}

/* ---- views ---- */

struct meta_machine *
broker_meta(struct broker *b)
{
    return b->meta;
}

bool
broker_is_loopback_user(const struct broker *b, const char *user, size_t size)
{
    const char *at = b->config.loopback_users;

    while (at != NULL && *at != '\0') {
        size_t length = strcspn(at, ",");

        if (length == size && memcmp(at, user, size) == 0) {
            return true;
        }
        at += length + (at[length] == ',' ? 1 : 0);
    }
    return false;
}

const char *
broker_cluster_name(const struct broker *b)
{
    return b->config.cluster_name;
}

bool
broker_is_ready(const struct broker *b)
{
    return b->is_current && bootstrap_is_complete(b) && !b->is_shutting_down;
}
