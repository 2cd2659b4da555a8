/* See gather.h. Pieces of an answer are numbered: a piece can be lost only
 * with its link, which is told, so a gap means a fault and is not repaired. */
#include "mgmt/gather.h"

#include "base/check.h"
#include "base/mem.h"
#include "mgmt/mgmt_priv.h"
#include "shard/env.h"

enum {
    GATHER_MAGIC = 0x67617468
};

static const char fault_late[] = "it did not answer in time";
static const char fault_unlinked[] = "there is no link to it";
static const char fault_lost[] = "its link was lost while it answered";
static const char fault_busy[] = "it is answering too many questions";
static const char fault_window[] = "its link is congested";
static const char fault_big[] = "the answers are too large: ask for less";
static const char fault_broken[] = "its answer is broken";

struct gather *
gather_new(struct mgmt *m, enum ask_kind kind, gather_done_cb done, void *arg)
{
    struct gather *g = mem_zalloc(1, sizeof(*g));

    g->magic = GATHER_MAGIC;
    g->mgmt = m;
    g->id = ++m->gather_next;
    g->kind = kind;
    g->done = done;
    g->arg = arg;
    buf_init(&g->question);
    (void)map_put(&m->gathers, g->id, g);
    return g;
}

static void
send_forget(struct gather *g, const struct gather_target *t)
{
    struct env *env = g->mgmt->env;
    struct frame *f = frame_new(FRAME_CALL, MGMT_FORGET);
    struct address to = {.node = t->node, .shard = t->shard};

    f->arg = g->id;
    (void)env->ops->post(env, to, &f);
}

void
gather_free(struct gather **gather)
{
    struct gather *g = *gather;

    if (g == NULL) {
        return;
    }
    OBJ_CHECK(g, GATHER_MAGIC);
    *gather = NULL;
    timers_stop(&g->mgmt->env->timers, &g->timer);
    (void)map_remove(&g->mgmt->gathers, g->id);
    for (size_t i = 0; i < g->targets_count; i++) {
        struct gather_target *t = &g->targets[i];

        if (g->is_sent && (!t->is_done || t->fault == fault_late)) {
            send_forget(g, t);
        }
        buf_deinit(&t->bytes);
    }
    mem_free(g->targets);
    mem_wipe(g->question.data, g->question.size);
    buf_deinit(&g->question);
    g->magic = 0;
    mem_free(g);
}

void
gather_add(struct gather *g, qr_node_id node, uint16_t shard)
{
    struct gather_target *t;

    OBJ_CHECK(g, GATHER_MAGIC);
    ASSERT(!g->is_sent);
    if (g->targets_count == GATHER_TARGETS_MAX) {
        return;
    }
    if ((g->targets_count & (g->targets_count + 1)) == 0) {
        g->targets = mem_realloc(g->targets, (g->targets_count * 2 + 1) *
                                                 sizeof(*g->targets));
    }
    t = &g->targets[g->targets_count++];
    *t = (struct gather_target){.node = node, .shard = shard};
    buf_init(&t->bytes);
    g->waiting++;
}

static void
target_done(struct gather *g, struct gather_target *t, const char *fault)
{
    ASSERT(!t->is_done);
    ASSERT(g->waiting > 0);
    t->is_done = true;
    t->fault = fault;
    if (fault != NULL) {
        buf_clear(&t->bytes);
    }
    g->waiting--;
}

void
gather_add_node(struct gather *g, qr_node_id node)
{
    uint16_t shards = mgmt_shards_of(g->mgmt, node);

    gather_add(g, node, 0);
    for (uint16_t i = 1; i < shards; i++) {
        gather_add(g, node, i);
    }
}

void
gather_add_group(struct gather *g, qr_node_id node, qr_group_id group)
{
    uint16_t shards = mgmt_shards_of(g->mgmt, node);

    gather_add(g, node,
               shards == 0 ? (uint16_t)0 : env_shard_of(group, shards));
}

struct add_all {
    struct gather *gather;
    bool only_first;
};

static bool
add_one(void *arg, const struct meta_node *node)
{
    struct add_all *a = arg;

    if (node->is_removed) {
        return true;
    }
    if (a->only_first) {
        gather_add(a->gather, node->id, 0);
    } else {
        gather_add_node(a->gather, node->id);
    }
    return true;
}

void
gather_add_all(struct gather *g, bool only_first)
{
    struct add_all a = {.gather = g, .only_first = only_first};

    OBJ_CHECK(g, GATHER_MAGIC);
    meta_each_node(broker_meta(g->mgmt->broker), add_one, &a);
}

static void
ended(struct gather *g)
{
    timers_stop(&g->mgmt->env->timers, &g->timer);
    g->done(g, g->arg);
}

static void
on_timer(void *arg)
{
    struct gather *g = arg;

    OBJ_CHECK(g, GATHER_MAGIC);
    for (size_t i = 0; i < g->targets_count; i++) {
        if (!g->targets[i].is_done) {
            target_done(g, &g->targets[i], fault_late);
        }
    }
    ended(g);
}

static void
ask(struct gather *g, struct gather_target *t, const struct slice *content)
{
    struct env *env = g->mgmt->env;
    struct address to = {.node = t->node, .shard = t->shard};
    struct frame *f;

    if (mgmt_shards_of(g->mgmt, t->node) == 0) {
        target_done(g, t, fault_unlinked);
        return;
    }
    f = frame_new(FRAME_CALL, MGMT_ASK);
    f->arg = g->id;
    frame_add(f, slice_ref(content));
    if (!env->ops->post(env, to, &f)) {
        target_done(g, t, fault_window);
    }
}

void
gather_send(struct gather *g, uint64_t deadline_ms)
{
    struct env *env = g->mgmt->env;
    uint64_t now = env->ops->now_ms(env);
    struct slice content;
    struct buf b;

    OBJ_CHECK(g, GATHER_MAGIC);
    ASSERT(!g->is_sent);
    g->is_sent = true;
    buf_init(&b);
    buf_put_u8(&b, (uint8_t)g->kind);
    buf_put_varint(&b, deadline_ms > now ? deadline_ms - now : 0);
    buf_put(&b, g->question.data, g->question.size);
    content = slice_copy(b.data, b.size);
    mem_wipe(b.data, b.size);
    buf_deinit(&b);
    for (size_t i = 0; i < g->targets_count; i++) {
        ask(g, &g->targets[i], &content);
    }
    slice_unref(&content);
    /* Nobody to wait for: told as soon as this call is over. */
    timer_init(&g->timer, on_timer, g);
    timers_start(&env->timers, &g->timer, g->waiting == 0 ? now : deadline_ms);
}

static struct gather_target *
find_target(struct gather *g, struct address from)
{
    for (size_t i = 0; i < g->targets_count; i++) {
        struct gather_target *t = &g->targets[i];

        if (t->node == from.node && t->shard == from.shard) {
            return t;
        }
    }
    return NULL;
}

/* Take a piece into T; why it cannot be, or NULL. *IS_LAST when it was. */
static const char *
take_piece(struct gather *g, struct gather_target *t, const struct frame *f,
           bool *is_last)
{
    struct slice content = frame_content(f);
    const char *fault = NULL;
    struct cursor c;
    uint64_t piece;
    unsigned flags;

    cursor_init(&c, content.data, content.size);
    piece = cursor_varint(&c);
    flags = cursor_u8(&c);
    *is_last = (flags & ANSWER_LAST) != 0;
    if (c.bad || piece != t->piece_next) {
        fault = fault_broken;
    } else if ((flags & ANSWER_BUSY) != 0) {
        fault = fault_busy;
    } else if (g->bytes + cursor_left(&c) > GATHER_BYTES_MAX) {
        fault = fault_big;
    } else {
        t->piece_next++;
        g->bytes += cursor_left(&c);
        buf_put(&t->bytes, c.at, cursor_left(&c));
    }
    slice_unref(&content);
    return fault;
}

void
gather_answer(struct gather *g, struct address from, const struct frame *f)
{
    struct gather_target *t;
    const char *fault;
    bool is_last;

    OBJ_CHECK(g, GATHER_MAGIC);
    t = find_target(g, from);
    if (t == NULL || t->is_done || g->waiting == 0) {
        return;
    }
    fault = take_piece(g, t, f, &is_last);
    if (fault != NULL && !is_last) {
        send_forget(g, t);
    }
    if (fault != NULL || is_last) {
        target_done(g, t, fault);
        if (g->waiting == 0) {
            ended(g);
        }
    }
}

void
gather_link_down(struct gather *g, qr_node_id node)
{
    bool was_waiting = g->waiting > 0;

    OBJ_CHECK(g, GATHER_MAGIC);
    if (!g->is_sent) {
        return;
    }
    for (size_t i = 0; i < g->targets_count; i++) {
        struct gather_target *t = &g->targets[i];

        if (t->node == node && !t->is_done) {
            target_done(g, t, fault_lost);
        }
    }
    if (was_waiting && g->waiting == 0) {
        ended(g);
    }
}

struct cursor
gather_bytes(const struct gather *g, size_t i)
{
    struct cursor c;

    ASSERT(i < g->targets_count);
    cursor_init(&c, g->targets[i].bytes.data, g->targets[i].bytes.size);
    return c;
}
