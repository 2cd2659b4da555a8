/* See joining.h. The request goes to the node that leads the metadata, which
 * knows best whether the old holder of a name is alive; it refuses, or proposes
 * one command. Nothing is kept about who asks, but the last refusal that came
 * from the leader, for the next time that this node is asked.
 *
 * The content of a refusal, BROKER_META_JOIN_NO: the UUID of who asks (16
 * bytes), why (1 byte, enum join_no), text. */
#include "broker/joining.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "broker/broker_priv.h"
#include "broker/meta_client.h"
#include "broker/meta_group.h"
#include "machine/meta/meta_command.h"
#include "shard/env.h"

enum join_no {
    JOIN_NO_REFUSED,
    JOIN_NO_REMOVED
};

static struct meta_text
text_of(const char *s)
{
    return meta_text(s, strlen(s));
}

/* ---- the leader ---- */

struct count {
    size_t live;
};

static bool
count_live(void *arg, const struct meta_node *node)
{
    struct count *c = arg;

    c->live += node->is_removed ? 0 : 1;
    return true;
}

/* Whether OLD has been out of reach for long enough to be replaced. */
static bool
is_lost(struct broker *b, const struct meta_node *old)
{
    uint64_t now = b->env->ops->now_ms(b->env);
    const struct node_state *s;

    (void)nodes_known(&b->nodes, old->id, old->boot, now);
    s = nodes_get(&b->nodes, old->id);
    return s != NULL && !s->is_linked && s->lost_ms != 0 &&
           now - s->lost_ms >= JOIN_LOST_MS;
}

static void
proposed(struct meta_request *r, const struct meta_outcome *outcome,
         struct broker_reply *reply)
{
    struct broker *b = r->broker;

    (void)reply;
    b->is_joining = false;
    if (outcome->status == META_OK) {
        log_info(b->log, "cluster", "node %s has joined as a new node",
                 r->name);
    } else {
        log_warning(b->log, "cluster",
                    "node %s asked to join: refused by the metadata (status "
                    "%d)",
                    r->name, (int)outcome->status);
    }
}

static void
propose(struct broker *b, const struct cluster_member *who,
        const struct meta_node *old)
{
    struct meta_request *r = meta_request_new(b, NULL, proposed);
    struct meta_node node = {.name = text_of(who->name),
                             .address = text_of(who->address),
                             .uuid = who->uuid};

    (void)snprintf(r->name, sizeof(r->name), "%s", who->name);
    b->is_joining = true;
    r->is_kept = true;
    meta_put_node_replace(&r->command, b->session, r->number,
                          old == NULL ? 0 : old->id, &node);
    meta_request_send(r);
    if (old == NULL) {
        log_info(b->log, "cluster",
                 "a blank node, %s at %s, asks to join: it becomes a new node",
                 who->name, who->address);
    } else {
        log_warning(b->log, "cluster",
                    "a blank node called %s at %s asks to join, and node %s "
                    "(id %u) is out of reach: it is removed, the blank one "
                    "takes its place as a new node",
                    who->name, who->address, who->name, old->id);
    }
}

static enum join_answer
lead(struct broker *b, const struct cluster_member *who, char *text,
     size_t size)
{
    const struct meta_node *old =
        meta_node_named(b->meta, who->name, strlen(who->name));
    struct count count = {0};

    meta_each_node(b->meta, count_live, &count);
    if (old == NULL && count.live >= CLUSTER_MEMBERS_MAX) {
        (void)snprintf(text, size,
                       "node %s cannot join: a cluster has at most %d nodes; "
                       "remove one (quoratectl forget_cluster_node)",
                       who->name, (int)CLUSTER_MEMBERS_MAX);
        return JOIN_REFUSED;
    }
    if (old != NULL &&
        (old->id == b->env->node || b->env->ops->is_linked(b->env, old->id))) {
        (void)snprintf(text, size,
                       "node %s cannot join: a running node of the cluster, "
                       "%s (id %u at %.*s), has that name with another data "
                       "directory; stop that one, or give this one another "
                       "node.name",
                       who->name, who->name, old->id, (int)old->address.size,
                       old->address.data);
        return JOIN_REFUSED;
    }
    if (old != NULL && !is_lost(b, old)) {
        (void)snprintf(text, size,
                       "node %s will take the place of node %s (id %u) if that "
                       "stays out of reach for %d ms",
                       who->name, who->name, old->id, (int)JOIN_LOST_MS);
        return JOIN_WAIT;
    }
    if (!b->is_joining) {
        propose(b, who, old);
    }
    (void)snprintf(text, size, "node %s is being taken in", who->name);
    return JOIN_WAIT;
}

/* ---- asking ---- */

/* Pass WHO's request on to the leader. */
static enum join_answer
forward(struct broker *b, const struct cluster_member *who, char *text,
        size_t size)
{
    struct address to = {.node = b->meta_leader, .shard = 0};
    struct join_news *news = &b->join_news;
    uint64_t now = b->env->ops->now_ms(b->env);
    struct frame *f = frame_new(FRAME_CALL, BROKER_META_JOIN);
    struct buf content;

    buf_init(&content);
    cluster_put_member(&content, who);
    frame_add(f, slice_copy(content.data, content.size));
    buf_deinit(&content);
    (void)b->env->ops->post(b->env, to, &f);
    if (news->text[0] != '\0' && uuid_is_equal(&news->uuid, &who->uuid) &&
        now - news->at_ms < JOIN_NEWS_MS) {
        (void)snprintf(text, size, "%s", news->text);
        return news->is_removed ? JOIN_REMOVED : JOIN_REFUSED;
    }
    (void)snprintf(text, size,
                   "node %s asks the leader of the metadata, node %u",
                   b->config.node_name, b->meta_leader);
    return JOIN_WAIT;
}

enum join_answer
joining_ask(struct broker *b, const struct cluster_member *who, char *text,
            size_t text_size)
{
    const struct meta_node *node = meta_node_by_uuid(b->meta, &who->uuid);

    OBJ_CHECK(b, BROKER_MAGIC);
    ASSERT(b->meta_group != NULL);
    if (!b->is_current) {
        (void)snprintf(text, text_size, "node %s is starting",
                       b->config.node_name);
        return JOIN_WAIT;
    }
    if (node != NULL && !node->is_removed) {
        return JOIN_IS_MEMBER;
    }
    if (node != NULL) {
        (void)snprintf(text, text_size,
                       "node %s cannot join with its UUID: that was of node id "
                       "%u, which was removed from the cluster; it takes "
                       "another one and asks again",
                       who->name, node->id);
        return JOIN_REMOVED;
    }
    if (b->meta_leader == b->env->node) {
        return lead(b, who, text, text_size);
    }
    if (b->meta_leader == 0) {
        (void)snprintf(text, text_size,
                       "the cluster's metadata has no leader: a majority of "
                       "its nodes must run before node %s can join",
                       who->name);
        return JOIN_WAIT;
    }
    return forward(b, who, text, text_size);
}

/* Another node passes a request on. */
static void
on_join(struct broker *b, struct address from, const char *line)
{
    struct cluster heard = {.members_count = 0};
    enum join_answer answer;
    char text[JOIN_TEXT_SIZE];
    struct frame *f;
    struct buf content;

    if (cluster_get_line(&heard, line) != 1 || heard.members_count != 1 ||
        b->meta_leader != b->env->node) {
        return;
    }
    answer = joining_ask(b, &heard.members[0], text, sizeof(text));
    if (answer != JOIN_REFUSED && answer != JOIN_REMOVED) {
        return;
    }
    f = frame_new(FRAME_CALL, BROKER_META_JOIN_NO);
    buf_init(&content);
    buf_put(&content, heard.members[0].uuid.bytes,
            sizeof(heard.members[0].uuid.bytes));
    buf_put_u8(&content,
               answer == JOIN_REMOVED ? JOIN_NO_REMOVED : JOIN_NO_REFUSED);
    buf_put_text(&content, text);
    frame_add(f, slice_copy(content.data, content.size));
    buf_deinit(&content);
    (void)b->env->ops->post(b->env, from, &f);
}

static void
on_join_no(struct broker *b, const struct slice *content)
{
    struct join_news *news = &b->join_news;
    size_t head = sizeof(news->uuid.bytes) + 1;

    if (content->size <= head) {
        return;
    }
    memcpy(news->uuid.bytes, content->data, sizeof(news->uuid.bytes));
    news->is_removed =
        ((const uint8_t *)content->data)[head - 1] == JOIN_NO_REMOVED;
    (void)snprintf(news->text, sizeof(news->text), "%.*s",
                   (int)MIN(content->size - head, sizeof(news->text) - 1),
                   (const char *)content->data + head);
    news->at_ms = b->env->ops->now_ms(b->env);
}

void
joining_frame(struct broker *b, struct address from, const struct frame *frame)
{
    const struct slice *content;
    char line[JOIN_TEXT_SIZE * 2];

    OBJ_CHECK(b, BROKER_MAGIC);
    if (b->meta_group == NULL || frame->content_count != 1) {
        return;
    }
    content = &frame->content[0];
    if (frame->kind == BROKER_META_JOIN_NO) {
        on_join_no(b, content);
    } else if (content->size > 0 && content->size <= sizeof(line)) {
        memcpy(line, content->data, content->size - 1);
        line[content->size - 1] = '\0';
        on_join(b, from, line);
    }
}

/* ---- leaving ---- */

struct removal {
    struct broker *broker;
    qr_node_id node;
    size_t stuck; /* queues that would have no majority without it */
    size_t last;  /* queues that have a replica nowhere else */
    char example[QR_NAME_SIZE_MAX + 1];
};

static bool
is_up(const struct broker *b, qr_node_id node)
{
    return node == b->env->node || b->env->ops->is_linked(b->env, node);
}

static bool
check_queue(void *arg, struct meta_queue *queue)
{
    struct removal *r = arg;
    size_t voters = 0;
    size_t up = 0;
    bool is_there = false;

    for (size_t i = 0; i < queue->members_count; i++) {
        const struct meta_member *m = &queue->members[i];
        qr_node_id node = qr_replica_node(m->replica);

        if (node == r->node) {
            is_there = true;
        } else if (m->is_voter) {
            voters++;
            up += is_up(r->broker, node) ? 1 : 0;
        }
    }
    if (!is_there || queue->owner.node != 0 || up > voters / 2) {
        return true;
    }
    if (r->stuck + r->last == 0) {
        (void)snprintf(r->example, sizeof(r->example), "%.*s",
                       (int)queue->name.size, queue->name.data);
    }
    if (queue->members_count == 1) {
        r->last++;
    } else {
        r->stuck++;
    }
    return true;
}

static bool
check_vhost(void *arg, const struct meta_vhost *vhost)
{
    struct removal *r = arg;

    meta_each_queue(r->broker->meta, vhost, check_queue, r);
    return true;
}

/* Whether the metadata's group would have a majority that is up. */
static bool
has_metadata(const struct broker *b, qr_node_id node)
{
    struct qr_group_status s;
    size_t voters = 0;
    size_t up = 0;

    if (meta_group_raft(b->meta_group) == NULL) {
        return false;
    }
    qr_group_status(meta_group_raft(b->meta_group), &s);
    for (size_t i = 0; i < s.members_count; i++) {
        qr_node_id other = qr_replica_node(s.members[i].member.id);

        if (other != node && s.members[i].member.role == QR_ROLE_VOTER) {
            voters++;
            up += is_up(b, other) ? 1 : 0;
        }
    }
    return up > voters / 2;
}

/* Which queues would suffer, in words. */
static void
describe_removal(const struct removal *r, char *text, size_t size)
{
    (void)snprintf(text, size,
                   "%zu queue%s, such as '%s', would have no majority of "
                   "running replicas without it (%zu have a replica nowhere "
                   "else)",
                   r->stuck + r->last, r->stuck + r->last == 1 ? "" : "s",
                   r->example, r->last);
}

bool
joining_is_spared(struct broker *b, qr_node_id node, char *text,
                  size_t text_size)
{
    struct removal r = {.broker = b, .node = node};

    OBJ_CHECK(b, BROKER_MAGIC);
    meta_each_vhost(b->meta, check_vhost, &r);
    if (r.stuck + r.last == 0) {
        return true;
    }
    describe_removal(&r, text, text_size);
    return false;
}

static bool
may_forget(struct broker *b, const struct meta_node *node,
           struct broker_fault *fault)
{
    char why[JOIN_TEXT_SIZE];
    int size = (int)node->name.size;
    const char *name = node->name.data;

    if (is_up(b, node->id)) {
        broker_fault_set(fault, BROKER_PRECONDITION,
                         "node '%.*s' is running; stop it before it is "
                         "removed (quoratectl -n %.*s stop)",
                         size, name, size, name);
        return false;
    }
    if (!has_metadata(b, node->id)) {
        broker_fault_set(fault, BROKER_PRECONDITION,
                         "without node '%.*s' the cluster's metadata has no "
                         "majority of running nodes; start the others first",
                         size, name);
        return false;
    }
    if (!joining_is_spared(b, node->id, why, sizeof(why))) {
        broker_fault_set(fault, BROKER_PRECONDITION,
                         "node '%.*s' is needed: %s; start the other nodes, "
                         "or delete those queues, or start an empty node with "
                         "its name, which takes its place",
                         size, name, why);
        return false;
    }
    return true;
}

static void
forgotten(struct meta_request *r, const struct meta_outcome *outcome,
          struct broker_reply *reply)
{
    if (outcome->status != META_OK && outcome->status != META_NOT_FOUND) {
        broker_fault_set(&reply->fault, BROKER_PRECONDITION,
                         "node '%s' cannot be removed: it is the last one",
                         r->name);
    }
}

void
joining_forget(struct broker *b, struct meta_text name,
               struct broker_call *call)
{
    const struct meta_node *node =
        meta_node_named(b->meta, name.data, name.size);
    struct broker_fault fault = {.kind = BROKER_OK};
    struct meta_request *r;

    OBJ_CHECK(b, BROKER_MAGIC);
    ASSERT(b->meta_group != NULL);
    if (node == NULL) {
        broker_fault_set(&fault, BROKER_NOT_FOUND,
                         "the cluster has no node '%.*s'; cluster_status "
                         "lists its nodes",
                         (int)MIN(name.size, 200), name.data);
    }
    if (node == NULL || !may_forget(b, node, &fault)) {
        call_fail_soon(b, call, &fault);
        return;
    }
    r = meta_request_new(b, call, forgotten);
    (void)snprintf(r->name, sizeof(r->name), "%.*s", (int)name.size, name.data);
    log_warning(b->log, "cluster",
                "node %s (id %u) is removed from the cluster, as asked",
                r->name, node->id);
    meta_put_node_remove(&r->command, b->session, r->number, node->id);
    meta_request_send(r);
}
