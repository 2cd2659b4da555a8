/* See mgmt.h: life, frames and turns. */
#include "mgmt/mgmt.h"

#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "mgmt/answer.h"
#include "mgmt/gather.h"
#include "mgmt/mgmt_priv.h"
#include "shard/env.h"

uint64_t
mgmt_now_ms(const struct mgmt *m)
{
    return m->env->ops->now_ms(m->env);
}

struct meta_text
mgmt_node_name(const struct mgmt *m, qr_node_id node,
               char scratch[NODE_SCRATCH_SIZE])
{
    const struct meta_node *known = meta_node(broker_meta(m->broker), node);
    int size;

    if (known != NULL) {
        return known->name;
    }
    size = snprintf(scratch, NODE_SCRATCH_SIZE, "node %u", node);
    return meta_text(scratch, (size_t)size);
}

uint16_t
mgmt_shards_of(const struct mgmt *m, qr_node_id node)
{
    if (node == m->env->node) {
        return m->env->shards;
    }
    for (size_t i = 0; i < m->linked_count; i++) {
        if (m->linked[i] == node) {
            return m->env->ops->is_linked(m->env, node) ? m->shards[i] : 0;
        }
    }
    return 0;
}

/* ---- frames, links, turns ---- */

static void
on_frame(void *arg, struct address from, struct frame **frame)
{
    struct mgmt *m = arg;
    struct gather *g;

    OBJ_CHECK(m, MGMT_MAGIC);
    if (from.node == 0) {
        from.node = m->env->node;
    }
    switch ((int)(*frame)->kind) {
    case MGMT_ASK:
        answer_start(m, from, *frame);
        break;
    case MGMT_ANSWER:
        g = map_get(&m->gathers, (*frame)->arg);
        if (g != NULL) {
            gather_answer(g, from, *frame);
        }
        break;
    case MGMT_FORGET:
        answer_forget(m, from, (*frame)->arg);
        break;
    default:
        break;
    }
}

static void
link_up(struct mgmt *m, const struct link_peer *peer)
{
    size_t i = 0;

    while (i < m->linked_count && m->linked[i] != peer->node) {
        i++;
    }
    if (i == m->linked_count) {
        if (i == QR_NODES_MAX) {
            return;
        }
        m->linked_count++;
    }
    m->linked[i] = peer->node;
    m->shards[i] = MIN(MAX(peer->shards, 1), QR_SHARDS_MAX);
}

static void
link_down(struct mgmt *m, qr_node_id node)
{
    uint64_t *ids = map_keys_sorted(&m->gathers);
    size_t count = m->gathers.count;

    for (size_t i = 0; i < count; i++) {
        struct gather *g = map_get(&m->gathers, ids[i]);

        if (g != NULL) {
            gather_link_down(g, node);
        }
    }
    mem_free(ids);
    answers_link_down(m, node);
}

static void
on_link(void *arg, enum link_event event, const struct link_peer *peer)
{
    struct mgmt *m = arg;

    OBJ_CHECK(m, MGMT_MAGIC);
    switch (event) {
    case LINK_UP:
        link_down(m, peer->node); /* what was asked went with the old link */
        link_up(m, peer);
        break;
    case LINK_DOWN:
    case LINK_REFUSED:
        link_down(m, peer->node);
        break;
    case LINK_SILENT:
        break; /* it may yet answer; deadlines bound the wait */
    }
}

static void
on_turn(void *arg)
{
    struct mgmt *m = arg;
    struct list *it;

    OBJ_CHECK(m, MGMT_MAGIC);
    while ((it = list_pop_front(&m->finished)) != NULL) {
        job_tell(list_entry(it, struct job, link));
    }
    answers_run(m);
}

static void
on_retry(void *arg)
{
    struct mgmt *m = arg;

    OBJ_CHECK(m, MGMT_MAGIC);
    m->env->ops->wake(m->env);
}

/* ---- life ---- */

struct mgmt *
mgmt_new(const struct mgmt_config *config)
{
    struct mgmt *m = mem_zalloc(1, sizeof(*m));
    struct env_handler handler = {.arg = m,
                                  .kind_first = FRAME_MGMT_FIRST,
                                  .kind_limit = FRAME_MGMT_FIRST + 32,
                                  .on_frame = on_frame,
                                  .on_link = on_link,
                                  .on_turn = on_turn};

    ASSERT(config->env->node != 0);
    ASSERT(config->broker != NULL);
    m->magic = MGMT_MAGIC;
    m->config = *config;
    m->env = config->env;
    m->broker = config->broker;
    list_init(&m->jobs);
    list_init(&m->finished);
    list_init(&m->answers);
    map_init(&m->gathers);
    timer_init(&m->retry, on_retry, m);
    m->started_ms = m->env->ops->wall_ms(m->env);
    env_register(m->env, &handler);
    return m;
}

static void
free_jobs(struct list *jobs)
{
    while (!list_is_empty(jobs)) {
        job_free(list_entry(jobs->next, struct job, link));
    }
}

void
mgmt_free(struct mgmt **mgmt)
{
    struct mgmt *m = *mgmt;

    OBJ_CHECK(m, MGMT_MAGIC);
    *mgmt = NULL;
    answers_free(m);
    free_jobs(&m->jobs);
    free_jobs(&m->finished);
    ASSERT(m->gathers.count == 0);
    map_deinit(&m->gathers);
    timers_stop(&m->env->timers, &m->retry);
    m->magic = 0;
    mem_free(m);
}

void
mgmt_request(struct mgmt *m, const void *data, size_t size,
             struct mgmt_call *call)
{
    OBJ_CHECK(m, MGMT_MAGIC);
    ASSERT(m->env->shard == 0);
    mgmt_start(m, data, size, 0, call);
}
