/* See formation.h. Frames, between the shards 0 of two nodes:
 *
 *   HAIL  content: cluster_put_member() of the sender. "I am blank."
 *   FORM  content: cluster_put(). "This is the cluster."
 *   WAIT  content: text. "Not yet, because."
 *   NO    content: text. "No, because; somebody has to do something."
 *   RENEW content: the UUID of the HAIL, text. "No, because; you have to take
 *         another UUID." */
#include "broker/formation.h"

#include <quorate/error.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/joining.h"
#include "peer/frame.h"
#include "shard/env.h"

enum formation_kind {
    FORMATION_HAIL = FORMATION_KIND_FIRST,
    FORMATION_FORM,
    FORMATION_WAIT,
    FORMATION_NO,
    FORMATION_RENEW
};

enum {
    FORMATION_MAGIC = 0x666f726d
};

struct formation {
    unsigned magic;
    struct formation_config config;
    struct env *env;
    struct broker *broker;                  /* NULL until it can answer */
    struct uuid blank[CLUSTER_MEMBERS_MAX]; /* by place in nodes; nil: has not
                                               said so */
    struct timer timer;
    bool is_formed;
    bool is_over;      /* on_renew() was called */
    bool asks_to_join; /* a cluster was heard of that does not know this node */
    uint64_t renew_ms; /* when RENEW was heard first; 0: never */
    char waits_for[FORMATION_TEXT_SIZE];
};

static void
post(struct formation *f, qr_node_id node, enum formation_kind kind,
     const void *data, size_t size)
{
    struct frame *frame = frame_new(FRAME_CONTROL, (uint16_t)kind);
    struct address to = {.node = node, .shard = 0};

    frame_add(frame, slice_copy(data, size));
    (void)f->env->ops->post(f->env, to, &frame);
}

static void
post_cluster(struct formation *f, qr_node_id node, const struct cluster *c)
{
    struct buf content;

    buf_init(&content);
    cluster_put(&content, c);
    post(f, node, FORMATION_FORM, content.data, content.size);
    buf_deinit(&content);
}

/* Say to NODE that this one is blank. */
static void
hail(struct formation *f, qr_node_id node)
{
    struct cluster_member self = f->config.nodes[f->config.self];
    struct buf content;

    self.id = 0;
    self.uuid = f->config.uuid;
    buf_init(&content);
    cluster_put_member(&content, &self);
    post(f, node, FORMATION_HAIL, content.data, content.size);
    buf_deinit(&content);
}

static void
hail_all(struct formation *f)
{
    for (size_t i = 0; i < f->config.nodes_count; i++) {
        qr_node_id node = f->config.nodes[i].id;

        if (i != f->config.self && f->env->ops->is_linked(f->env, node)) {
            hail(f, node);
        }
    }
}

/* Say once what this node waits for. */
static void
wait_for(struct formation *f, enum log_level level, const char *text)
{
    if (strcmp(f->waits_for, text) != 0) {
        (void)snprintf(f->waits_for, sizeof(f->waits_for), "%s", text);
        log_at(f->env->log, level, "cluster", "%s", f->waits_for);
    }
}

static void
become_formed(struct formation *f, const struct cluster *cluster, qr_node_id id)
{
    char text[UUID_TEXT_SIZE];

    *f->config.cluster = *cluster;
    if (f->config.on_formed(f->config.arg, id) != 0) {
        memset(f->config.cluster, 0, sizeof(*f->config.cluster));
        return;
    }
    f->is_formed = true;
    f->waits_for[0] = '\0';
    timers_stop(&f->env->timers, &f->timer);
    uuid_format(&cluster->id, text);
    log_info(f->env->log, "cluster",
             f->asks_to_join ? "joined cluster %s of %zu node%s as id %u"
                             : "cluster %s formed of %zu node%s; this is id %u",
             text, cluster->members_count,
             cluster->members_count == 1 ? "" : "s", id);
    for (size_t i = 0; i < f->config.nodes_count; i++) {
        qr_node_id node = f->config.nodes[i].id;

        if (i != f->config.self && f->env->ops->is_linked(f->env, node) &&
            cluster->has_founders) {
            post_cluster(f, node, cluster);
        }
    }
}

/* The first by name: if all the others are blank, make the cluster. */
static void
try_to_form(struct formation *f)
{
    struct cluster c = {.has_founders = true};
    uint8_t random[16];

    if (f->config.self != 0) {
        return;
    }
    for (size_t i = 1; i < f->config.nodes_count; i++) {
        if (uuid_is_nil(&f->blank[i])) {
            return;
        }
    }
    f->env->ops->random(f->env, random, sizeof(random));
    c.id = uuid_from_random(random);
    c.members_count = f->config.nodes_count;
    for (size_t i = 0; i < f->config.nodes_count; i++) {
        c.members[i] = f->config.nodes[i];
        c.members[i].uuid = i == 0 ? f->config.uuid : f->blank[i];
    }
    become_formed(f, &c, c.members[0].id);
}

/* WHO, linked as FROM, was removed. */
static void
post_renew(struct formation *f, qr_node_id from,
           const struct cluster_member *who, const char *text)
{
    struct buf content;

    buf_init(&content);
    buf_put(&content, who->uuid.bytes, sizeof(who->uuid.bytes));
    buf_put_text(&content, text);
    post(f, from, FORMATION_RENEW, content.data, content.size);
    buf_deinit(&content);
}

/* WHO, linked as FROM, is blank, and this node is not. */
static void
answer_blank(struct formation *f, qr_node_id from,
             const struct cluster_member *who)
{
    struct cluster c = *f->config.cluster;
    char text[FORMATION_TEXT_SIZE];
    enum join_answer answer = JOIN_WAIT;

    if (c.has_founders && cluster_by_uuid(&c, &who->uuid) != NULL) {
        post_cluster(f, from, &c);
        return;
    }
    if (f->broker == NULL) {
        (void)snprintf(text, sizeof(text), "node %s is starting",
                       f->config.nodes[f->config.self].name);
    } else {
        answer = joining_ask(f->broker, who, text, sizeof(text));
    }
    if (answer == JOIN_IS_MEMBER) {
        (void)cluster_follow(&c, broker_meta(f->broker));
        c.has_founders = false;
        post_cluster(f, from, &c);
    } else if (answer == JOIN_REMOVED) {
        post_renew(f, from, who, text);
    } else {
        post(f, from, answer == JOIN_REFUSED ? FORMATION_NO : FORMATION_WAIT,
             text, strlen(text));
    }
}

static void
on_hail(struct formation *f, qr_node_id from, const struct slice *content)
{
    struct cluster heard = {.members_count = 0};
    char line[FORMATION_TEXT_SIZE * 2];

    if (content->size == 0 || content->size > sizeof(line)) {
        return;
    }
    memcpy(line, content->data, content->size - 1); /* without its end */
    line[content->size - 1] = '\0';
    if (cluster_get_line(&heard, line) != 1 || heard.members_count != 1) {
        return;
    }
    if (f->is_formed) {
        answer_blank(f, from, &heard.members[0]);
        return;
    }
    for (size_t i = 0; i < f->config.nodes_count; i++) {
        if (f->config.nodes[i].id == from) {
            f->blank[i] = heard.members[0].uuid;
        }
    }
    try_to_form(f);
}

/* FROM is of a cluster: it is not one of those to form one with. */
static void
forget_blank(struct formation *f, qr_node_id from)
{
    for (size_t i = 0; i < f->config.nodes_count; i++) {
        if (f->config.nodes[i].id == from) {
            memset(&f->blank[i], 0, sizeof(f->blank[i]));
        }
    }
}

static void
on_form(struct formation *f, qr_node_id from, const struct slice *content)
{
    struct cluster heard;
    struct error err = {{0}};
    const struct cluster_member *self;

    if (cluster_get(&heard, (const char *)content->data, content->size, &err) !=
        0) {
        log_error(f->env->log, "cluster", "node %u sent no cluster: %s", from,
                  err.text);
        return;
    }
    self = cluster_by_uuid(&heard, &f->config.uuid);
    if (self != NULL && self->id != 0) {
        become_formed(f, &heard, self->id);
    }
}

static void
on_answer(struct formation *f, enum log_level level, const void *data,
          size_t size)
{
    char text[FORMATION_TEXT_SIZE];

    if (!f->asks_to_join) {
        f->asks_to_join = true;
        log_info(f->env->log, "cluster",
                 "node %s is blank (its data directory %s is new) and met a "
                 "cluster: it asks to join as a new node",
                 f->config.nodes[f->config.self].name, f->config.data_dir);
    }
    (void)snprintf(text, sizeof(text), "%.*s", (int)MIN(size, sizeof(text) - 1),
                   (const char *)data);
    wait_for(f, level, text);
}

/* A cluster removed the node that had this UUID. */
static void
on_renew(struct formation *f, const struct slice *content)
{
    size_t head = sizeof(f->config.uuid.bytes);
    uint64_t now = f->env->ops->now_ms(f->env);

    if (content->size <= head ||
        memcmp(content->data, f->config.uuid.bytes, head) != 0) {
        return;
    }
    on_answer(f, LOG_WARNING, (const uint8_t *)content->data + head,
              content->size - head);
    if (f->renew_ms == 0) {
        f->renew_ms = now;
    } else if (now - f->renew_ms >= FORMATION_RENEW_MS) {
        f->is_over = true;
        timers_stop(&f->env->timers, &f->timer);
        f->config.on_renew(f->config.arg);
    }
}

static void
on_frame(void *arg, struct address from, struct frame **frame)
{
    struct formation *f = arg;
    const struct slice *content;
    enum formation_kind kind = (enum formation_kind)(*frame)->kind;

    OBJ_CHECK(f, FORMATION_MAGIC);
    if ((*frame)->content_count != 1 || f->is_over) {
        return;
    }
    content = &(*frame)->content[0];
    if (kind == FORMATION_HAIL) {
        on_hail(f, from.node, content);
        return;
    }
    if (f->is_formed) {
        return;
    }
    forget_blank(f, from.node);
    if (kind == FORMATION_FORM) {
        on_form(f, from.node, content);
    } else if (kind == FORMATION_RENEW) {
        on_renew(f, content);
    } else {
        on_answer(f, kind == FORMATION_NO ? LOG_ERROR : LOG_DEBUG,
                  content->data, content->size);
    }
}

static void
on_link(void *arg, enum link_event event, const struct link_peer *peer)
{
    struct formation *f = arg;

    OBJ_CHECK(f, FORMATION_MAGIC);
    if (f->is_over) {
        return;
    }
    if (event == LINK_UP && !f->is_formed) {
        hail(f, peer->node);
    } else if (event == LINK_DOWN && !f->is_formed) {
        forget_blank(f, peer->node); /* it may come back as another */
    }
}

static void
on_timer(void *arg)
{
    struct formation *f = arg;

    OBJ_CHECK(f, FORMATION_MAGIC);
    if (!f->is_formed) {
        hail_all(f);
        timers_start(&f->env->timers, &f->timer,
                     f->env->ops->now_ms(f->env) + FORMATION_HAIL_MS);
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
                                  .on_link = on_link,
                                  .hears_guests = true};

    ASSERT(config->nodes_count >= 1);
    ASSERT(config->nodes_count <= CLUSTER_MEMBERS_MAX);
    ASSERT(config->self < config->nodes_count);
    f->magic = FORMATION_MAGIC;
    f->config = *config;
    f->env = config->env;
    f->is_formed = !uuid_is_nil(&config->cluster->id);
    timer_init(&f->timer, on_timer, f);
    env_register(f->env, &handler);
    return f;
}

void
formation_start(struct formation *f)
{
    char text[FORMATION_TEXT_SIZE];

    OBJ_CHECK(f, FORMATION_MAGIC);
    if (f->is_formed) {
        return;
    }
    try_to_form(f);
    if (!f->is_formed) {
        (void)snprintf(text, sizeof(text),
                       "waiting for all %zu nodes of the configuration to "
                       "form the cluster, or for a node of one to join",
                       f->config.nodes_count);
        wait_for(f, LOG_INFO, text);
        on_timer(f);
    }
}

void
formation_serve(struct formation *f, struct broker *broker)
{
    OBJ_CHECK(f, FORMATION_MAGIC);
    ASSERT(f->is_formed);
    f->broker = broker;
}

bool
formation_is_formed(const struct formation *f)
{
    return f->is_formed;
}

const char *
formation_waits_for(const struct formation *f)
{
    return f->waits_for;
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
