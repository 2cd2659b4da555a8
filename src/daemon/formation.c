/* See formation.h. Frames, between the shards 0 of two nodes:
 *
 *   BLANK  content: this node's UUID as text. "I am of no cluster."
 *   FORM   content: identity_put_cluster(). "This is the cluster." */
#include "daemon/formation.h"

#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "peer/frame.h"
#include "shard/env.h"

enum formation_kind {
    FORMATION_BLANK = FORMATION_KIND_FIRST,
    FORMATION_FORM
};

enum {
    FORMATION_MAGIC = 0x666f726d,
    TICK_MS = 500
};

struct formation {
    unsigned magic;
    struct formation_config config;
    struct env *env;
    struct uuid blank[IDENTITY_MEMBERS_MAX]; /* by place in nodes; nil: has
                                                not said */
    struct timer timer;
    bool is_formed;
    bool has_complained;
};

static void
post(struct formation *f, qr_node_id node, enum formation_kind kind,
     const struct buf *content)
{
    struct frame *frame = frame_new(FRAME_CONTROL, (uint16_t)kind);
    struct address to = {.node = node, .shard = 0};

    frame_add(frame, slice_copy(content->data, content->size));
    (void)f->env->ops->post(f->env, to, &frame);
}

/* Tell NODE what this node is. */
static void
introduce(struct formation *f, qr_node_id node)
{
    char text[UUID_TEXT_SIZE];
    struct buf content;

    buf_init(&content);
    if (f->is_formed) {
        identity_put_cluster(&content, f->config.identity);
        post(f, node, FORMATION_FORM, &content);
    } else {
        uuid_format(&f->config.identity->uuid, text);
        buf_put_text(&content, text);
        post(f, node, FORMATION_BLANK, &content);
    }
    buf_deinit(&content);
}

static void
introduce_to_all(struct formation *f)
{
    for (size_t i = 0; i < f->config.nodes_count; i++) {
        qr_node_id node = f->config.nodes[i].id;

        if (node != f->config.self && f->env->ops->is_linked(f->env, node)) {
            introduce(f, node);
        }
    }
}

static void
become_formed(struct formation *f)
{
    char text[UUID_TEXT_SIZE];

    if (f->config.on_formed(f->config.arg) != 0) {
        return;
    }
    f->is_formed = true;
    timers_stop(&f->env->timers, &f->timer);
    uuid_format(&f->config.identity->cluster, text);
    log_info(f->env->log, "cluster", "cluster %s formed of %zu node%s", text,
             f->config.identity->members_count,
             f->config.identity->members_count == 1 ? "" : "s");
    introduce_to_all(f);
}

/* The lowest id: if all the others are blank, make the cluster. */
static void
try_to_form(struct formation *f)
{
    struct identity *id = f->config.identity;
    uint8_t random[16];

    if (f->config.self != f->config.nodes[0].id) {
        return;
    }
    for (size_t i = 1; i < f->config.nodes_count; i++) {
        if (uuid_is_nil(&f->blank[i])) {
            return;
        }
    }
    f->env->ops->random(f->env, random, sizeof(random));
    id->cluster = uuid_from_random(random);
    id->members_count = f->config.nodes_count;
    for (size_t i = 0; i < f->config.nodes_count; i++) {
        id->members[i] = f->config.nodes[i];
        id->members[i].uuid = i == 0 ? id->uuid : f->blank[i];
    }
    become_formed(f);
}

static void
on_blank(struct formation *f, qr_node_id from, const struct slice *content)
{
    char text[UUID_TEXT_SIZE] = {0};
    struct uuid uuid;

    if (f->is_formed) {
        introduce(f, from);
        return;
    }
    if (content->size != UUID_TEXT_SIZE - 1) {
        return;
    }
    memcpy(text, content->data, content->size);
    if (uuid_parse(text, &uuid) != 0) {
        return;
    }
    for (size_t i = 0; i < f->config.nodes_count; i++) {
        if (f->config.nodes[i].id == from) {
            f->blank[i] = uuid;
        }
    }
    try_to_form(f);
}

/* Whether the cluster in ID knows this node, by name and UUID. */
static bool
is_of_cluster(struct formation *f, const struct identity *id)
{
    for (size_t i = 0; i < id->members_count; i++) {
        const struct identity_member *m = &id->members[i];

        if (m->id == f->config.self) {
            return uuid_is_equal(&m->uuid, &f->config.identity->uuid);
        }
    }
    return false;
}

static void
on_form(struct formation *f, qr_node_id from, const struct slice *content)
{
    struct identity heard = *f->config.identity;
    struct error err;

    if (f->is_formed) {
        return;
    }
    if (identity_get_cluster(&heard, (const char *)content->data, content->size,
                             &err) != 0) {
        log_error(f->env->log, "cluster", "node %u sent no cluster: %s", from,
                  err.text);
        return;
    }
    if (!is_of_cluster(f, &heard)) {
        if (!f->has_complained) {
            log_error(f->env->log, "cluster",
                      "the cluster knows this node's name with another data "
                      "directory: this one is new, so the old disk was lost "
                      "or replaced. Nothing is served, lest it pass for the "
                      "old one. Put the old data directory back, or replace "
                      "the node (docs/operations/replace-node.md)");
        }
        f->has_complained = true;
        return;
    }
    *f->config.identity = heard;
    become_formed(f);
}

static void
on_frame(void *arg, struct address from, struct frame **frame)
{
    struct formation *f = arg;
    const struct slice *content;

    OBJ_CHECK(f, FORMATION_MAGIC);
    if ((*frame)->content_count != 1) {
        return;
    }
    content = &(*frame)->content[0];
    if ((*frame)->kind == FORMATION_BLANK) {
        on_blank(f, from.node, content);
    } else if ((*frame)->kind == FORMATION_FORM) {
        on_form(f, from.node, content);
    }
}

static void
on_link(void *arg, enum link_event event, const struct link_peer *peer)
{
    struct formation *f = arg;

    OBJ_CHECK(f, FORMATION_MAGIC);
    if (event == LINK_UP) {
        introduce(f, peer->node);
    }
}

static void
on_timer(void *arg)
{
    struct formation *f = arg;

    OBJ_CHECK(f, FORMATION_MAGIC);
    if (!f->is_formed) {
        introduce_to_all(f);
        timers_start(&f->env->timers, &f->timer,
                     f->env->ops->now_ms(f->env) + TICK_MS);
    }
}

struct formation *
formation_new(const struct formation_config *config)
{
    struct formation *f = mem_zalloc(1, sizeof(*f));
    struct env_handler handler = {.arg = f,
                                  .kind_first = FORMATION_KIND_FIRST,
                                  .kind_limit = FORMATION_KIND_LIMIT,
                                  .on_frame = on_frame,
                                  .on_link = on_link};

    ASSERT(config->nodes_count >= 1);
    ASSERT(config->nodes_count <= IDENTITY_MEMBERS_MAX);
    f->magic = FORMATION_MAGIC;
    f->config = *config;
    f->env = config->env;
    f->is_formed = !uuid_is_nil(&config->identity->cluster);
    timer_init(&f->timer, on_timer, f);
    env_register(f->env, &handler);
    return f;
}

void
formation_start(struct formation *f)
{
    OBJ_CHECK(f, FORMATION_MAGIC);
    if (f->is_formed) {
        return;
    }
    try_to_form(f);
    if (!f->is_formed) {
        log_info(f->env->log, "cluster",
                 "waiting for all %zu nodes of the configuration to form the "
                 "cluster",
                 f->config.nodes_count);
        on_timer(f);
    }
}

bool
formation_is_formed(const struct formation *f)
{
    return f->is_formed;
}

void
formation_free(struct formation **f)
{
    if (*f != NULL) {
        OBJ_CHECK(*f, FORMATION_MAGIC);
        timers_stop(&(*f)->env->timers, &(*f)->timer);
        (*f)->magic = 0;
        mem_free(*f);
        *f = NULL;
    }
}
