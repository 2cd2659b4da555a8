/* See meta_client.h. Requests under way are in `proposed`, in order of their
 * numbers; those applied here but not yet everywhere in `settling`, in order
 * of their index. */
#include "broker/meta_client.h"

#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "broker/broker_priv.h"
#include "shard/env.h"

enum {
    META_CLIENT_MAGIC = 0x6d636c69,
    TICK_MS = 100
};

struct meta_client {
    unsigned magic;
    struct broker *broker;
    struct map requests;  /* by number, those in `proposed` */
    struct list proposed; /* meta_request.link */
    struct list settling;
    size_t settling_count;
    struct timer timer;
    qr_node_id nodes[QR_NODES_MAX]; /* what each has applied */
    qr_index applied[QR_NODES_MAX];
    size_t nodes_count;
    bool is_dirty; /* there are requests never proposed */
};

static uint64_t
now_ms(const struct meta_client *m)
{
    return m->broker->env->ops->now_ms(m->broker->env);
}

static void
arm(struct meta_client *m)
{
    if (!timer_is_running(&m->timer)) {
        timers_start(&m->broker->env->timers, &m->timer, now_ms(m) + TICK_MS);
    }
}

static void
request_free(struct meta_request *r)
{
    list_remove(&r->link);
    buf_deinit(&r->command);
    buf_deinit(&r->spec);
    mem_free(r);
}

static void
request_end(struct meta_request *r)
{
    if (r->ended != NULL) {
        r->ended(r);
    }
    call_end(&r->call, &r->reply);
    request_free(r);
}

struct meta_request *
meta_request_new(struct broker *b, struct broker_call *call,
                 meta_applied_cb applied)
{
    struct meta_request *r = mem_zalloc(1, sizeof(*r));

    list_init(&r->link);
    r->broker = b;
    r->number = ++b->request_next;
    r->applied = applied;
    r->call = call_begin(b, call);
    r->started_ms = b->env->ops->now_ms(b->env);
    buf_init(&r->command);
    buf_init(&r->spec);
    return r;
}

void
meta_request_send(struct meta_request *r)
{
    struct meta_client *m = r->broker->meta_client;

    OBJ_CHECK(m, META_CLIENT_MAGIC);
    ASSERT(r->command.size > 0);
    if (m->requests.count >= META_REQUESTS_MAX && !r->is_kept) {
        broker_fault_set(&r->reply.fault, BROKER_RESOURCE,
                         "more than %d changes of metadata wait on this node; "
                         "try again later",
                         (int)META_REQUESTS_MAX);
        /* Told later in this turn, as callers expect. */
        list_push_back(&m->settling, &r->link);
        m->settling_count++;
    } else {
        (void)map_put(&m->requests, r->number, r);
        list_push_back(&m->proposed, &r->link);
    }
    m->is_dirty = true;
    arm(m);
    r->broker->env->ops->wake(r->broker->env);
}

/* Propose what is due, in one frame as far as it fits. */
static void
propose(struct meta_client *m, bool all)
{
    struct env *env = m->broker->env;
    struct address to = {.node = env->node, .shard = 0};
    struct frame *f = NULL;
    uint64_t now = now_ms(m);
    struct list *it;

    list_foreach (it, &m->proposed) {
        struct meta_request *r = list_entry(it, struct meta_request, link);

        if (!all && r->proposed_ms != 0 &&
            now - r->proposed_ms < META_RETRY_MS) {
            continue;
        }
        if (f != NULL && f->content_count == FRAME_CONTENT_MAX) {
            (void)env->ops->post(env, to, &f);
            f = NULL;
        }
        if (f == NULL) {
            f = frame_new(FRAME_CALL, BROKER_META_PROPOSE);
            f->group = QR_GROUP_META;
        }
        frame_add(f, slice_copy(r->command.data, r->command.size));
        r->proposed_ms = now;
    }
    if (f != NULL) {
        (void)env->ops->post(env, to, &f);
    }
}

static bool
is_visible(const struct meta_client *m, qr_index index)
{
    struct env *env = m->broker->env;

    for (size_t i = 0; i < m->nodes_count; i++) {
        if (m->applied[i] < index && (m->nodes[i] == env->node ||
                                      env->ops->is_linked(env, m->nodes[i]))) {
            return false;
        }
    }
    return true;
}

void
meta_client_check(struct meta_client *m)
{
    uint64_t now = now_ms(m);

    OBJ_CHECK(m, META_CLIENT_MAGIC);
    while (!list_is_empty(&m->settling)) {
        struct meta_request *r =
            list_entry(m->settling.next, struct meta_request, link);

        if (!is_visible(m, r->index) &&
            now - r->proposed_ms < META_VISIBLE_MS) {
            break;
        }
        m->settling_count--;
        request_end(r);
    }
}

static void
on_timer(void *arg)
{
    struct meta_client *m = arg;
    uint64_t now = now_ms(m);
    struct list *it;
    struct list *tmp;

    OBJ_CHECK(m, META_CLIENT_MAGIC);
    list_foreach_safe (it, tmp, &m->proposed) {
        struct meta_request *r = list_entry(it, struct meta_request, link);

        if (now - r->started_ms < META_GIVE_UP_MS) {
            break;
        }
        if (r->is_kept) {
            continue;
        }
        broker_fault_set(&r->reply.fault, BROKER_INTERNAL,
                         "the metadata has no leader");
        (void)map_remove(&m->requests, r->number);
        request_end(r);
    }
    propose(m, false);
    meta_client_check(m);
    if (!list_is_empty(&m->proposed) || !list_is_empty(&m->settling)) {
        arm(m);
    }
}

void
meta_client_outcome(struct meta_client *m, const struct meta_outcome *outcome)
{
    struct meta_request *r;

    OBJ_CHECK(m, META_CLIENT_MAGIC);
    if (outcome->session != m->broker->session) {
        return;
    }
    r = map_remove(&m->requests, outcome->request);
    if (r == NULL) {
        return; /* proposed twice; this is the second */
    }
    r->index = outcome->index;
    if (r->applied != NULL) {
        r->applied(r, outcome, &r->reply);
    }
    list_remove(&r->link);
    list_push_back(&m->settling, &r->link);
    m->settling_count++;
    m->is_dirty = true;
    r->proposed_ms = now_ms(m);
    m->broker->env->ops->wake(m->broker->env);
}

/* Where a node that is new is noted: at the end, or in the place of one that
 * was removed; QR_NODES_MAX if there is none. */
static size_t
place(struct meta_client *m)
{
    if (m->nodes_count < QR_NODES_MAX) {
        return m->nodes_count++;
    }
    for (size_t i = 0; i < QR_NODES_MAX; i++) {
        const struct meta_node *node = meta_node(m->broker->meta, m->nodes[i]);

        if (node != NULL && node->is_removed) {
            return i;
        }
    }
    return QR_NODES_MAX;
}

void
meta_client_node_applied(struct meta_client *m, qr_node_id node, qr_index index)
{
    size_t i = 0;

    OBJ_CHECK(m, META_CLIENT_MAGIC);
    while (i < m->nodes_count && m->nodes[i] != node) {
        i++;
    }
    if (i == m->nodes_count) {
        i = place(m);
        if (i == QR_NODES_MAX) {
            return;
        }
        m->nodes[i] = node;
        m->applied[i] = 0;
    }
    m->applied[i] = MAX(m->applied[i], index);
    m->is_dirty = true;
    m->broker->env->ops->wake(m->broker->env);
}

void
meta_client_leader_changed(struct meta_client *m)
{
    OBJ_CHECK(m, META_CLIENT_MAGIC);
    propose(m, true);
}

void
meta_client_flush(struct meta_client *m)
{
    OBJ_CHECK(m, META_CLIENT_MAGIC);
    if (m->is_dirty) {
        m->is_dirty = false;
        propose(m, false);
        meta_client_check(m);
    }
}

static void
forget(struct list *list, const struct broker_connection *connection)
{
    struct list *it;

    list_foreach (it, list) {
        struct meta_request *r = list_entry(it, struct meta_request, link);

        if (r->connection == connection) {
            r->connection = NULL;
        }
    }
}

void
meta_client_forget(struct meta_client *m,
                   const struct broker_connection *connection)
{
    OBJ_CHECK(m, META_CLIENT_MAGIC);
    forget(&m->proposed, connection);
    forget(&m->settling, connection);
}

struct meta_client *
meta_client_new(struct broker *b)
{
    struct meta_client *m = mem_zalloc(1, sizeof(*m));

    m->magic = META_CLIENT_MAGIC;
    m->broker = b;
    map_init(&m->requests);
    list_init(&m->proposed);
    list_init(&m->settling);
    timer_init(&m->timer, on_timer, m);
    return m;
}

static void
free_all(struct list *list)
{
    while (!list_is_empty(list)) {
        struct meta_request *r =
            list_entry(list->next, struct meta_request, link);

        if (r->call->call != NULL) {
            broker_call_abandon(r->call->call);
        }
        r->ended = NULL;
        request_end(r);
    }
}

void
meta_client_free(struct meta_client **m)
{
    struct meta_client *c = *m;

    OBJ_CHECK(c, META_CLIENT_MAGIC);
    *m = NULL;
    free_all(&c->proposed);
    free_all(&c->settling);
    map_deinit(&c->requests);
    timers_stop(&c->broker->env->timers, &c->timer);
    c->magic = 0;
    mem_free(c);
}
