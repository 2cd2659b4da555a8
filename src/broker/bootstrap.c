/* See bootstrap.h. The default user's password is hashed off the loop, so the
 * default vhost and user come in one proposal when that is done. */
#include "broker/bootstrap.h"

#include <quorate/host.h>
#include <stdio.h>
#include <string.h>

#include "auth/password.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/ring.h"
#include "broker/broker_priv.h"
#include "broker/cluster.h"
#include "broker/meta_client.h"
#include "broker/suspects.h"
#include "machine/meta/meta_command.h"
#include "shard/env.h"

struct hashing {
    struct work work;
    struct broker *broker;
    char *password;
    uint8_t salt[PASSWORD_SALT_SIZE];
    char encoded[PASSWORD_ENCODED_SIZE];
    int result;
};

static struct meta_text
text_of(const char *s)
{
    struct meta_text t = {.data = s, .size = strlen(s)};

    return t;
}

static void
run_hash(struct work *w)
{
    struct hashing *h = CONTAINER_OF(w, struct hashing, work);

    h->result =
        password_encode(h->password, strlen(h->password), h->salt, h->encoded);
}

/* One request that carries COMMANDS, several. */
static void
propose_defaults(struct broker *b, const char *encoded)
{
    struct meta_request *r = meta_request_new(b, NULL, NULL);
    struct meta_vhost vhost = {.name = text_of(b->config.default_vhost),
                               .description = text_of("Default virtual host")};
    struct meta_user user = {.name = text_of(b->config.default_user),
                             .password = text_of(encoded),
                             .tags = text_of(b->config.default_user_tags)};
    struct meta_permission all = {.vhost = vhost.name,
                                  .user = user.name,
                                  .configure = text_of(".*"),
                                  .write = text_of(".*"),
                                  .read = text_of(".*")};

    /* Applied in this order; the request ends with the last one. */
    meta_put_vhost_add(&r->command, 0, 0, &vhost);
    meta_put_user_add(&r->command, 0, 0, &user);
    meta_put_permission_set(&r->command, b->session, r->number, &all);
    meta_request_send(r);
}

static void
hash_done(struct work *w)
{
    struct hashing *h = CONTAINER_OF(w, struct hashing, work);
    struct broker *b = h->broker;

    b->is_bootstrapping = false;
    if (h->result != 0) {
        log_error(b->log, "cluster",
                  "the default user's password cannot be "
                  "hashed: no default user is made");
    } else {
        log_info(b->log, "cluster", "making default vhost '%s' and user '%s'",
                 b->config.default_vhost, b->config.default_user);
        propose_defaults(b, h->encoded);
    }
    mem_wipe(h->password, strlen(h->password));
    mem_free(h->password);
    mem_free(h);
}

/* Register the nodes that formed the cluster, so that the id of one that does
 * not come up before it is replaced is not given out again. */
static void
propose_founders(struct broker *b)
{
    const struct cluster *c = b->config.founders;

    for (size_t i = 0; c != NULL && i < c->members_count; i++) {
        const struct cluster_member *m = &c->members[i];
        struct meta_request *r = meta_request_new(b, NULL, NULL);
        struct meta_node node = {.id = m->id,
                                 .name = text_of(m->name),
                                 .address = text_of(m->address),
                                 .uuid = m->uuid};

        meta_put_node_add(&r->command, b->session, r->number, &node);
        meta_request_send(r);
    }
}

static bool
found_vhost(void *arg, const struct meta_vhost *vhost)
{
    (void)vhost;
    *(bool *)arg = true;
    return false;
}

void
bootstrap_if_empty(struct broker *b)
{
    bool has_vhost = false;
    struct hashing *h;

    meta_each_vhost(b->meta, found_vhost, &has_vhost);
    if (has_vhost || b->is_bootstrapping) {
        return;
    }
    if (b->config.default_pass_hash != NULL) {
        propose_defaults(b, b->config.default_pass_hash);
        return;
    }
    b->is_bootstrapping = true;
    propose_founders(b);
    h = mem_zalloc(1, sizeof(*h));
    h->work.run = run_hash;
    h->work.done = hash_done;
    h->broker = b;
    h->password = mem_strdup(b->config.default_pass);
    b->env->ops->random(b->env, h->salt, sizeof(h->salt));
    b->env->ops->work(b->env, &h->work);
}

/* Put the ids of stored groups whose queues were deleted into a ring. */
struct leftovers {
    struct broker *broker;
    struct ring ids; /* qr_group_id */
};

static void
check_stored(void *arg, qr_group_id id, qr_replica_id self, bool is_volatile)
{
    struct leftovers *l = arg;
    struct broker *b = l->broker;
    const struct meta_queue *queue = meta_queue_by_group(b->meta, id);

    (void)is_volatile;
    /* A queue that is there may have gone on without this node, or have another
     * replica here; a later one than the metadata have is only news. */
    if (id >= QR_GROUP_FIRST_QUEUE && id < meta_group_next(b->meta) &&
        qr_host_group(b->host, id) == NULL &&
        (queue == NULL || (broker_replica_of(b, queue) != self &&
                           (uint32_t)self < meta_queue_incarnation(queue)))) {
        *(qr_group_id *)ring_push_back(&l->ids) = id;
    }
}

/* Drop what the store kept of queues that were deleted meanwhile. */
static void
drop_leftovers(struct broker *b)
{
    struct leftovers l = {.broker = b};

    ring_init(&l.ids, sizeof(qr_group_id));
    qr_host_foreach_stored(b->host, check_stored, &l);
    for (size_t i = 0; i < l.ids.count; i++) {
        qr_group_id id = *(qr_group_id *)ring_at(&l.ids, i);

        log_info(b->log, "queue",
                 "group %llu was deleted, or goes on without this node, or its "
                 "declaration has rotted: dropping its replica",
                 (unsigned long long)id);
        qr_host_forget(b->host, id);
    }
    ring_deinit(&l.ids);
}

/* The metadata refuses this node's start. */
static void
refused(struct broker *b, int status)
{
    const struct meta_node *node =
        meta_node_by_uuid(b->meta, &b->config.node_uuid);
    char text[BROKER_FAULT_TEXT_SIZE];
    bool is_removed = node != NULL && node->is_removed;

    if (node == NULL) {
        log_error(b->log, "cluster",
                  "the cluster refuses this node's start (status %d): another "
                  "node has its name or id",
                  status);
        return;
    }
    if (is_removed) {
        (void)snprintf(text, sizeof(text),
                       "node %s (id %u) was removed from the cluster",
                       b->config.node_name, b->env->node);
    } else {
        (void)snprintf(text, sizeof(text),
                       "node %s runs on an old copy of its data: this is its "
                       "start %u, and the cluster has seen start %u",
                       b->config.node_name, b->env->boot, node->boot);
    }
    if (b->config.on_unwelcome != NULL) {
        b->config.on_unwelcome(b->config.arg,
                               is_removed ? BROKER_REMOVED : BROKER_ROLLED_BACK,
                               text);
    } else {
        log_error(b->log, "cluster", "%s", text);
    }
}

static void
node_up_applied(struct meta_request *r, const struct meta_outcome *outcome,
                struct broker_reply *reply)
{
    struct broker *b = r->broker;

    (void)reply;
    if (outcome->status != META_OK) {
        refused(b, (int)outcome->status);
        return;
    }
    b->is_current = true;
    b->nodes_changed = true;
    suspects_note(b);
    drop_leftovers(b);
}

void
bootstrap_node_up(struct broker *b)
{
    struct meta_request *r = meta_request_new(b, NULL, node_up_applied);
    struct meta_node node = {.id = b->env->node,
                             .name = text_of(b->config.node_name),
                             .address = text_of(b->config.node_address),
                             .uuid = b->config.node_uuid,
                             .boot = b->env->boot,
                             .process = b->config.node_process};

    r->is_kept = true;
    meta_put_node_up(&r->command, b->session, r->number, &node);
    meta_request_send(r);
}

bool
bootstrap_is_complete(const struct broker *b)
{
    bool has_vhost = false;

    meta_each_vhost(b->meta, found_vhost, &has_vhost);
    if (!has_vhost) {
        return false;
    }
    for (size_t i = 0; i < b->config.initial_nodes_count; i++) {
        const struct meta_node *node =
            meta_node(b->meta, b->config.initial_nodes[i]);

        if (node == NULL || (node->boot == 0 && !node->is_removed)) {
            return false;
        }
    }
    return true;
}
