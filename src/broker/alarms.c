/* See alarms.h. */
#include "broker/alarms.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "broker/broker_priv.h"
#include "shard/env.h"

static const char *
alarm_name(enum broker_alarm alarm)
{
    return alarm == BROKER_ALARM_MEMORY ? "memory" : "disk";
}

/* Where NODE's row is, or belongs. They are in order, so that what people are
 * told does not depend on who came first. */
static size_t
row_at(const struct alarms *a, qr_node_id node)
{
    size_t at = 0;

    while (at < a->count && a->nodes[at].node < node) {
        at++;
    }
    return at;
}

/* The row of NODE, which is linked or this one; NULL when it is neither. */
static struct alarms_node *
alarms_node(struct alarms *a, qr_node_id node)
{
    size_t at = row_at(a, node);

    return at < a->count && a->nodes[at].node == node ? &a->nodes[at] : NULL;
}

static struct alarms_node *
add_node(struct alarms *a, qr_node_id node, uint16_t shards)
{
    size_t at = row_at(a, node);

    ASSERT(a->count < ARRAY_COUNT(a->nodes));
    ASSERT(shards <= QR_SHARDS_MAX);
    memmove(&a->nodes[at + 1], &a->nodes[at],
            (a->count - at) * sizeof(a->nodes[0]));
    a->count++;
    a->nodes[at] = (struct alarms_node){.node = node, .shards = shards};
    return &a->nodes[at];
}

/* What it said is void: it tells again when it is back. */
static void
remove_node(struct alarms *a, qr_node_id node)
{
    size_t at = row_at(a, node);

    if (at < a->count && a->nodes[at].node == node) {
        a->count--;
        memmove(&a->nodes[at], &a->nodes[at + 1],
                (a->count - at) * sizeof(a->nodes[0]));
    }
}

static unsigned
node_bits(const struct alarms_node *n)
{
    unsigned bits = 0;

    for (size_t i = 0; i < QR_SHARDS_MAX; i++) {
        bits |= n->bits[i];
    }
    return bits;
}

static bool
count_node(void *arg, const struct meta_node *node)
{
    size_t *count = arg;

    *count += node->is_removed ? 0 : 1;
    return true;
}

/* Whether the linked nodes with room on their disks are no majority. */
static bool
is_disk_short(const struct broker *b)
{
    const struct alarms *a = b->alarms;
    size_t nodes = 0;
    size_t roomy = 0;
    bool is_any = false;

    meta_each_node(b->meta, count_node, &nodes);
    for (size_t i = 0; i < a->count; i++) {
        bool is_low = (node_bits(&a->nodes[i]) & BROKER_ALARM_DISK) != 0;

        is_any = is_any || is_low;
        roomy += is_low ? 0 : 1;
    }
    return is_any && roomy < nodes / 2 + 1;
}

/* Append "low on KIND (NODE, NODE)" to REASON. */
static void
say_nodes(const struct broker *b, enum broker_alarm alarm, char *reason)
{
    const struct alarms *a = b->alarms;
    size_t at = strlen(reason);
    const char *before = " (";

    at += (size_t)snprintf(reason + at, ALARMS_REASON_SIZE - at, "%slow on %s",
                           at > 0 ? " & " : "", alarm_name(alarm));
    for (size_t i = 0; i < a->count && at < ALARMS_REASON_SIZE; i++) {
        const struct meta_node *node = meta_node(b->meta, a->nodes[i].node);

        if ((node_bits(&a->nodes[i]) & alarm) != 0 && node != NULL) {
            at +=
                (size_t)snprintf(reason + at, ALARMS_REASON_SIZE - at, "%s%.*s",
                                 before, (int)node->name.size, node->name.data);
            before = ", ";
        }
    }
    if (before[0] == ',' && at < ALARMS_REASON_SIZE) {
        (void)snprintf(reason + at, ALARMS_REASON_SIZE - at, ")");
    }
}

/* Publishers are blocked, or no longer, as things are now. */
static void
judge(struct broker *b)
{
    struct alarms *a = b->alarms;
    char reason[ALARMS_REASON_SIZE] = "";
    unsigned bits = 0;

    for (size_t i = 0; i < a->count; i++) {
        bits |= node_bits(&a->nodes[i]);
    }
    if ((bits & BROKER_ALARM_MEMORY) != 0) {
        say_nodes(b, BROKER_ALARM_MEMORY, reason);
    }
    if (is_disk_short(b)) {
        say_nodes(b, BROKER_ALARM_DISK, reason);
    }
    if (strcmp(reason, a->reason) == 0) {
        return;
    }
    (void)snprintf(a->reason, sizeof(a->reason), "%s", reason);
    if (b->env->shard == 0) {
        log_warning(b->log, "broker", "publishers %s%s",
                    reason[0] != '\0' ? "are blocked: " : "go on", reason);
    }
    if (a->on_change != NULL) {
        a->on_change(a->arg, reason[0] != '\0' ? a->reason : NULL);
    }
}

static unsigned
own_bits(struct broker *b)
{
    return alarms_node(b->alarms, b->env->node)->bits[b->env->shard];
}

/* Tell the shards of node TO what this one found. */
static void
tell_node(struct broker *b, const struct alarms_node *to)
{
    for (uint16_t i = 0; i < to->shards; i++) {
        struct address address = {.node = to->node, .shard = i};
        struct frame *f = NULL;

        if (to->node == b->env->node && i == b->env->shard) {
            continue;
        }
        f = frame_new(FRAME_CALL, BROKER_ALARM);
        f->arg = own_bits(b);
        (void)b->env->ops->post(b->env, address, &f);
    }
}

static void
tell_all(struct broker *b)
{
    for (size_t i = 0; i < b->alarms->count; i++) {
        tell_node(b, &b->alarms->nodes[i]);
    }
}

/* Forget what others have not repeated; whether any alarm remains. */
static bool
forget_stale(struct broker *b)
{
    uint64_t now_ms = b->env->ops->now_ms(b->env);
    bool is_any = false;

    for (size_t i = 0; i < b->alarms->count; i++) {
        struct alarms_node *n = &b->alarms->nodes[i];

        for (int s = 0; s < QR_SHARDS_MAX; s++) {
            bool is_own = n->node == b->env->node && s == b->env->shard;

            if (!is_own && now_ms - n->heard_ms[s] > ALARMS_STALE_MS) {
                n->bits[s] = 0;
            }
            is_any = is_any || n->bits[s] != 0;
        }
    }
    return is_any;
}

static void
on_timer(void *arg)
{
    struct broker *b = arg;
    uint64_t now_ms = b->env->ops->now_ms(b->env);

    OBJ_CHECK(b, BROKER_MAGIC);
    if (own_bits(b) != 0) {
        tell_all(b);
    }
    if (forget_stale(b)) {
        timers_start(&b->env->timers, &b->alarms->timer,
                     now_ms + ALARMS_REPEAT_MS);
    }
    judge(b); /* there may be more nodes by now, or fewer alarms */
}

void
broker_alarm_set(struct broker *b, enum broker_alarm alarm, bool is_on)
{
    struct alarms_node *self;
    unsigned before;

    OBJ_CHECK(b, BROKER_MAGIC);
    self = alarms_node(b->alarms, b->env->node);
    before = self->bits[b->env->shard];
    self->bits[b->env->shard] =
        (uint8_t)(is_on ? before | alarm : before & ~(unsigned)alarm);
    if (self->bits[b->env->shard] == before) {
        return;
    }
    log_warning(b->log, "broker", "%s resource limit alarm %s on this node",
                alarm_name(alarm), is_on ? "set" : "cleared");
    tell_all(b);
    judge(b);
    timers_start(&b->env->timers, &b->alarms->timer,
                 b->env->ops->now_ms(b->env) + ALARMS_REPEAT_MS);
}

void
broker_on_alarm(struct broker *b, void (*cb)(void *arg, const char *reason),
                void *arg)
{
    OBJ_CHECK(b, BROKER_MAGIC);
    b->alarms->on_change = cb;
    b->alarms->arg = arg;
    if (cb != NULL && b->alarms->reason[0] != '\0') {
        cb(arg, b->alarms->reason);
    }
}

const char *
broker_alarm_reason(const struct broker *b)
{
    OBJ_CHECK(b, BROKER_MAGIC);
    return b->alarms->reason;
}

void
broker_alarms_each(const struct broker *b,
                   void (*cb)(void *arg, qr_node_id node,
                              enum broker_alarm alarm),
                   void *arg)
{
    static const enum broker_alarm kinds[] = {BROKER_ALARM_MEMORY,
                                              BROKER_ALARM_DISK};

    OBJ_CHECK(b, BROKER_MAGIC);
    for (size_t i = 0; i < b->alarms->count; i++) {
        const struct alarms_node *n = &b->alarms->nodes[i];

        for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
            if ((node_bits(n) & kinds[k]) != 0) {
                cb(arg, n->node, kinds[k]);
            }
        }
    }
}

void
alarms_frame(struct broker *b, struct address from, const struct frame *frame)
{
    struct alarms_node *n = alarms_node(b->alarms, from.node);

    if (n != NULL && from.shard < QR_SHARDS_MAX) {
        n->bits[from.shard] =
            (uint8_t)(frame->arg & (BROKER_ALARM_MEMORY | BROKER_ALARM_DISK));
        n->heard_ms[from.shard] = b->env->ops->now_ms(b->env);
        if (n->bits[from.shard] != 0 && !timer_is_running(&b->alarms->timer)) {
            timers_start(&b->env->timers, &b->alarms->timer,
                         n->heard_ms[from.shard] + ALARMS_REPEAT_MS);
        }
        judge(b);
    }
}

void
alarms_link(struct broker *b, const struct link_peer *peer, bool is_up)
{
    OBJ_CHECK(b, BROKER_MAGIC);
    remove_node(b->alarms, peer->node);
    if (is_up) {
        const struct alarms_node *n = add_node(
            b->alarms, peer->node, MIN(peer->shards, (uint16_t)QR_SHARDS_MAX));

        if (own_bits(b) != 0) {
            tell_node(b, n);
        }
    }
    judge(b);
}

void
alarms_init(struct broker *b)
{
    b->alarms = mem_zalloc(1, sizeof(*b->alarms));
    timer_init(&b->alarms->timer, on_timer, b);
    (void)add_node(b->alarms, b->env->node, b->env->shards);
}

void
alarms_deinit(struct broker *b)
{
    timers_stop(&b->env->timers, &b->alarms->timer);
    mem_free(b->alarms);
    b->alarms = NULL;
}
