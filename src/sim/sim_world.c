/* See sim_world.h. A run has three parts: the faults of the plan, and load;
 * everything healed, load goes on for a moment; then clients only consume, and
 * all that was confirmed must have been acknowledged within SETTLE_S. */
#include "sim/sim_world.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "broker/broker.h"
#include "machine/meta/meta_machine.h"
#include "sim/sim_rest.h"
#include "sim/sim_world_priv.h"

enum {
    MEMORY_SHARD_MAX = 4 << 20,    /* docs/testing.md says of what */
    MEMORY_CLIENT_MAX = 512 << 10, /* buffers of both ends */
    LEAK_MAX = 512 << 10, /* OpenSSL keeps what it made at its first use */
    US = 1000000,
    SETTLE_S = 60,
    SCRUB_RATE = 1 << 20,
    COMPARE_EVERY_US = 250000,
    BUSY_PER_MILLION = 20000 /* seeds whose clients never rest */
};

static void
print_line(void *arg, uint64_t now_us, qr_node_id node, const char *text)
{
    (void)arg;
    if (node == 0) {
        (void)printf("%11.6f     %s\n", (double)now_us / US, text);
    } else {
        (void)printf("%11.6f n%-2u %s\n", (double)now_us / US, node, text);
    }
}

static void
log_sink(void *arg, enum log_level level, const char *category,
         const char *text)
{
    const struct node_log *l = arg;

    sim_trace(l->world->sim, l->id, "[%s] <%s> %s", log_level_name(level),
              category, text);
}

static uint64_t
between(struct world *w, uint64_t low, uint64_t high)
{
    return rng_between(&w->rng, low, high);
}

struct revival {
    struct world *world;
    qr_node_id id;
    uint32_t boot;
};

static void
revive(void *arg)
{
    struct revival *r = arg;
    uint32_t i = r->id - 1;

    if (sim_node_is_up(r->world->nodes[i]) &&
        sim_env(r->world->sim, r->id, 0)->boot == r->boot) {
        if (world_has_stopped(r->world, i) ||
            sim_node_is_leaving(r->world->nodes[i])) {
            world_crash(r->world, i, world_has_stopped(r->world, i));
        } else {
            r->world->result->given_up++;
            sim_trace(r->world->sim, r->id, "given up by the others");
            world_crash(r->world, i, false);
        }
        world_start(r->world, i);
    }
    mem_free(r);
}

static void
on_given_up(void *arg, qr_node_id id)
{
    struct revival *r = mem_zalloc(1, sizeof(*r));

    r->world = arg;
    r->id = id;
    r->boot = sim_env(r->world->sim, id, 0)->boot;
    sim_call(r->world->sim, NULL, 1, revive, r);
}

static bool
on_welcome(void *arg, qr_node_id at, qr_node_id of)
{
    struct world *w = arg;

    return sim_node_welcomes(w->nodes[at - 1], w->nodes[of - 1]);
}

/* I8: whoever lost its memory neither votes nor acknowledges any more. */
static void
on_frame_out(void *arg, qr_node_id machine, const struct frame *frame)
{
    struct world *w = arg;
    const struct sim_node *n = w->nodes[machine - 1];
    char why[REST_TEXT_SIZE];

    if (frame->kind == FRAME_RAFT_FIRST && w->config->is_traced) {
        rest_trace_votes(w->sim, machine, frame);
    }
    if (frame->kind == FRAME_RAFT_FIRST && !rest_is_remembered(n, frame, why)) {
        sim_check_violate(&w->check, "%s", why);
    }
}

/* ---- replicas ---- */

/* What is remembered of a group that no node has. */
#define NOWHERE 14695981039346656037U

struct state {
    uint32_t replica; /* as in state_of() */
    uint32_t node;    /* its place in the world */
    qr_index applied;
    struct buf bytes;
};

static void
compare_states(struct world *w, const struct state *states, size_t count,
               const char *what, qr_group_id group)
{
    for (size_t a = 0; a < count; a++) {
        for (size_t b = a + 1; b < count; b++) {
            const struct state *x = &states[a];
            const struct state *y = &states[b];

            if (x->applied != y->applied) {
                continue;
            }
            w->result->comparisons++;
            if (x->bytes.size != y->bytes.size ||
                memcmp(x->bytes.data, y->bytes.data, x->bytes.size) != 0) {
                sim_check_violate(&w->check,
                                  "I7: replicas of %s %llu differ at index "
                                  "%llu",
                                  what, (unsigned long long)group,
                                  (unsigned long long)x->applied);
            }
        }
    }
}

/* Replica I of SUBJECT: node I's of a queue group, or of the metadata that of
 * one shard after the other. With BYTES NULL only its index. */
static bool
state_of(struct world *w, qr_group_id subject, uint32_t i, qr_index *applied,
         struct buf *bytes)
{
    return subject == QR_GROUP_META
               ? sim_node_meta_state(w->nodes[i / w->shards],
                                     (uint16_t)(i % w->shards), applied, bytes)
               : sim_node_queue_state(w->nodes[i], subject, applied, bytes);
}

/* Whether any replica has moved, started or stopped since *MARK was set, which
 * is set anew. */
static bool
has_changed(const struct world *w, const struct state *states, uint32_t count,
            uint64_t *mark)
{
    uint64_t now = NOWHERE;
    bool is_new;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t boot = sim_env(w->sim, w->ids[states[i].node], 0)->boot;

        now = (now ^
               (states[i].replica + (boot << 8) + (states[i].applied << 24))) *
              1099511628211U;
    }
    is_new = now != *mark;
    *mark = now;
    return is_new;
}

/* Whether another of STATES is at the same index as the one at I: what nobody
 * shares is not compared, and its state, which is dear, not asked for. */
static bool
is_shared(const struct state *states, uint32_t count, uint32_t i)
{
    bool is_any = false;

    for (uint32_t o = 0; o < count && !is_any; o++) {
        is_any = o != i && states[o].applied == states[i].applied;
    }
    return is_any;
}

static void
compare_one(struct world *w, const char *what, qr_group_id subject,
            uint64_t *mark)
{
    struct state states[SIM_PLAN_NODES_MAX * SIM_SHARDS_MAX];
    bool is_meta = subject == QR_GROUP_META;
    uint32_t all = is_meta ? w->nodes_count * w->shards : w->nodes_count;
    uint32_t count = 0;

    for (uint32_t i = 0; i < all; i++) {
        struct state *s = &states[count];

        if (state_of(w, subject, i, &s->applied, NULL)) {
            s->replica = i;
            s->node = is_meta ? i / w->shards : i;
            count++;
        }
    }
    if (!has_changed(w, states, count, mark)) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        buf_init(&states[i].bytes);
        if (is_shared(states, count, i)) {
            (void)state_of(w, subject, states[i].replica, &states[i].applied,
                           &states[i].bytes);
        }
    }
    compare_states(w, states, count, what, subject);
    while (count > 0) {
        buf_deinit(&states[--count].bytes);
    }
}

static void
compare(struct world *w)
{
    uint64_t there = 0;

    _Static_assert(WORLD_GROUPS_MAX == 64, "a bit for each");
    for (uint32_t i = 0; i < w->nodes_count; i++) {
        there |= sim_node_queue_groups(w->nodes[i]);
    }
    compare_one(w, "the metadata", QR_GROUP_META, &w->compared[0]);
    for (qr_group_id i = 0; i < WORLD_GROUPS_MAX; i++) {
        if ((there >> i & 1) != 0) {
            compare_one(w, "queue group", QR_GROUP_FIRST_QUEUE + i,
                        &w->compared[i + 1]);
        } else {
            w->compared[i + 1] = NOWHERE;
        }
    }
}

static void
on_compare(void *arg)
{
    struct world *w = arg;
    char why[REST_TEXT_SIZE];

    compare(w);
    if (!rest_is_sane(w, why)) {
        sim_check_violate(&w->check, "%s", why);
    }
    sim_call(w->sim, NULL, COMPARE_EVERY_US, on_compare, w);
}

/* ---- the run ---- */

static void
make_nodes(struct world *w)
{
    struct sim_node_config node = {
        .sim = w->sim,
        .shards = (uint16_t)w->plan->shards,
        .nodes = w->ids,
        .nodes_count = w->plan->nodes,
        .disk_delay_us = (uint32_t)w->plan->disk_us,
        .snapshot_log_bytes = w->plan->snapshot_bytes,
        .snapshot_log_entries = w->plan->snapshot_entries,
        .scrub_rate = SCRUB_RATE,
        .has_shortages = true,
        .on_given_up = on_given_up,
        .arg = w};

    w->nodes_count = (uint32_t)w->plan->nodes;
    w->shards = node.shards;
    for (uint32_t i = 0; i < w->nodes_count; i++) {
        struct node_log *l = &w->logs[i];

        w->ids[i] = l->id = i + 1;
        l->world = w;
        l->log.sink = log_sink;
        l->log.arg = l;
        l->log.level = w->config->is_traced ? LOG_DEBUG : LOG_NONE;
    }
    for (uint32_t i = 0; i < w->nodes_count; i++) {
        node.id = w->ids[i];
        node.log = &w->logs[i].log;
        w->nodes[i] = sim_node_new(&node);
        (void)sim_node_start(w->nodes[i]);
    }
}

static void
make_clients(struct world *w)
{
    struct sim_client_config client = {
        .sim = w->sim,
        .check = &w->check,
        .nodes = w->nodes,
        .nodes_count = w->nodes_count,
        .shards = w->shards,
        .tick_us = (uint32_t)between(w, 4000, SIM_CLIENT_TICK_US_MAX),
        .rest_factor = rng_chance(&w->rng, BUSY_PER_MILLION)
                           ? 0
                           : (uint32_t)between(w, 12, 60),
        .body_size_max = (uint32_t)between(w, 1, 2000)};

    if (w->plan->busy != 0) {
        client.rest_factor = 0;
    }
    w->clients_count = (uint32_t)w->plan->clients;
    w->queues = (uint32_t)between(w, 1, MIN(w->clients_count, 6));
    w->lossy = (uint32_t)between(w, 0, MIN(w->clients_count - w->queues, 2U));
    w->check.lossy = (uint16_t)(((1U << w->lossy) - 1) << w->queues);
    client.queues = w->queues;
    client.lossy = w->lossy;
    client.auto_delete = (unsigned)between(w, 0, 3);
    client.transient = (unsigned)between(w, 0, 3);
    w->check.vague =
        (uint16_t)((client.auto_delete | client.transient) << w->queues);
    for (uint32_t i = 0; i < w->clients_count; i++) {
        client.number = i;
        w->clients[i] = sim_client_new(&client);
    }
}

static bool
run_until(struct world *w, uint64_t until_us)
{
    while (sim_now_us(w->sim) < until_us && w->check.violation[0] == '\0') {
        if (!sim_step(w->sim)) {
            return false;
        }
    }
    return w->check.violation[0] == '\0';
}

/* ---- memory ---- */

/* What the allocator has given out. */
static uint64_t
memory_in_use(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

/* I12: what the nodes use at rest. Their disks, with what a power cut would
 * leave of what is not synced, and what the checker knows of messages, is the
 * simulator's own. */
static void
check_memory(struct world *w, uint64_t before)
{
    uint64_t own = w->check.messages.capacity * sizeof(struct sim_message);
    uint64_t most = (uint64_t)w->nodes_count * w->shards * MEMORY_SHARD_MAX +
                    (uint64_t)w->clients_count * MEMORY_CLIENT_MAX;
    uint64_t used;

    for (uint32_t i = 0; i < w->nodes_count; i++) {
        own += sim_node_disk_memory(w->nodes[i]);
    }
    own += before;
    used = memory_in_use();
    w->result->memory = used > own ? used - own : 0;
    if (w->result->memory > most) {
        sim_check_violate(&w->check,
                          "I12: %u nodes use %llu bytes at rest, more than "
                          "%llu",
                          w->nodes_count, (unsigned long long)w->result->memory,
                          (unsigned long long)most);
    }
}

/* ---- at rest ---- */

/* What should have gone. */
struct leftovers {
    struct world *world;
    uint64_t messages;  /* in queues that clients consume from */
    uint32_t orphans;   /* exclusive queues of connections that are gone */
    size_t unconfirmed; /* publishes of connections that live */
};

static bool
find_leftover(void *arg, struct meta_queue *queue)
{
    struct leftovers *l = arg;
    struct world *w = l->world;
    bool is_owned = queue->owner.node == 0;

    for (uint32_t i = 0; i < w->clients_count; i++) {
        is_owned = is_owned || sim_client_owns(w->clients[i], &queue->owner);
    }
    l->orphans += is_owned ? 0 : 1;
    for (uint32_t i = 0; queue->owner.node == 0 && i < w->nodes_count; i++) {
        l->messages += sim_node_messages(w->nodes[i], queue->group);
    }
    return true;
}

static struct leftovers
leftovers(struct world *w)
{
    struct leftovers l = {.world = w};
    struct broker *b = sim_node_broker(w->nodes[0], 0);

    if (b != NULL) {
        meta_each_queue(broker_meta(b), NULL, find_leftover, &l);
    }
    for (uint32_t i = 0; i < w->clients_count; i++) {
        l.unconfirmed += sim_client_unconfirmed(w->clients[i]);
    }
    return l;
}

/* All that was confirmed must arrive, and nothing may remain. */
static void
settle(struct world *w)
{
    uint64_t start = sim_now_us(w->sim);
    uint64_t end = start + (uint64_t)SETTLE_S * US;
    uint64_t first = 0;
    uint64_t count;
    struct leftovers l;

    for (uint32_t i = 0; i < w->clients_count; i++) {
        sim_client_settle_down(w->clients[i]);
    }
    do {
        (void)run_until(w, sim_now_us(w->sim) + US / 10);
        count = sim_check_outstanding(&w->check, &first);
        l = leftovers(w);
        if (count == 0 && l.messages == 0 && l.orphans == 0 &&
            l.unconfirmed == 0) {
            w->result->recovered_us = sim_now_us(w->sim) - start;
            return;
        }
    } while (w->check.violation[0] == '\0' && sim_now_us(w->sim) < end);
    if (count > 0) {
        sim_check_violate(&w->check,
                          "I1, I11: %llu confirmed messages have not arrived "
                          "%d s after the last fault; the first is %llu",
                          (unsigned long long)count, SETTLE_S,
                          (unsigned long long)first);
    } else if (l.unconfirmed > 0) {
        sim_check_violate(&w->check,
                          "I13: %zu messages are neither confirmed nor refused "
                          "%d s after the last fault",
                          l.unconfirmed, SETTLE_S);
    } else {
        sim_check_violate(&w->check,
                          "I12: %llu messages and %u exclusive queues without "
                          "a connection remain %d s after the last fault",
                          (unsigned long long)l.messages, l.orphans, SETTLE_S);
    }
}

/* What is left over is cleaned up. Clients that have been refused, say for the
 * sake of an exclusive consumer, would come back for ever, and who is asked is
 * never quite at rest. */
static void
rest(struct world *w)
{
    uint64_t end = sim_now_us(w->sim) + (uint64_t)SETTLE_S * US;
    char why[REST_TEXT_SIZE];

    for (uint32_t i = 0; i < w->clients_count; i++) {
        sim_client_rest(w->clients[i]);
    }
    while (w->check.violation[0] == '\0' && !rest_is_clean(w, why)) {
        if (sim_now_us(w->sim) >= end) {
            sim_check_violate(&w->check, "%s, %d s after all was delivered",
                              why, SETTLE_S);
        }
        (void)run_until(w, sim_now_us(w->sim) + US / 2);
    }
    w->result->rested_us = sim_now_us(w->sim) + (uint64_t)SETTLE_S * US - end;
}

/* Where everything stands, at the end of the trace. */
static void
describe(struct world *w)
{
    struct buf out;

    buf_init(&out);
    for (uint32_t i = 0; i < w->nodes_count; i++) {
        sim_node_describe(w->nodes[i], &out);
    }
    for (uint32_t i = 0; i < w->clients_count; i++) {
        sim_client_describe(w->clients[i], &out);
    }
    (void)fwrite(out.data, 1, out.size, stdout);
    buf_deinit(&out);
}

static void
tear_down(struct world *w)
{
    for (uint32_t i = 0; i < w->nodes_count; i++) {
        if (sim_node_is_up(w->nodes[i])) {
            sim_node_crash(w->nodes[i], false);
        }
        sim_node_free(&w->nodes[i]);
    }
    for (uint32_t i = 0; i < w->clients_count; i++) {
        sim_client_free(&w->clients[i]);
    }
}

static void
fill_result(struct world *w)
{
    struct sim_world_result *r = w->result;
    struct sim_stats stats;

    sim_stats(w->sim, &stats);
    memcpy(r->violation, w->check.violation, sizeof(r->violation));
    r->trace = w->check.trace ^ stats.events ^ (stats.frames_sent << 20);
    r->virtual_us = sim_now_us(w->sim);
    r->published = w->check.messages.count;
    r->confirmed = w->check.confirmed;
    r->delivered = w->check.delivered;
    r->redelivered = w->check.redelivered;
    r->frames = stats.frames_sent;
    r->frames_lost = stats.frames_lost;
    r->frames_twice = stats.frames_twice;
}

/* Each group that there was soon after the last fault has a leader in time.
 * What is created later may still be at its first election; how old a queue is
 * cannot be told from its date, since clocks have jumped. */
static bool
await_leaders(struct world *w)
{
    char why[REST_TEXT_SIZE];
    uint64_t end = sim_now_us(w->sim) + (uint64_t)REST_LEADER_S * US;
    uint64_t groups_end;

    if (!run_until(w, sim_now_us(w->sim) + US)) {
        return false;
    }
    groups_end = rest_groups_end(w);
    if (!run_until(w, end)) {
        return false;
    }
    if (!rest_is_led(w, groups_end, why)) {
        sim_check_violate(&w->check, "%s", why);
        return false;
    }
    return true;
}

/* Load and faults; all healed, and load for a moment more; then rest. */
static void
live(struct world *w)
{
    make_nodes(w);
    make_clients(w);
    world_schedule_faults(w);
    on_compare(w);
    if (!run_until(w, w->plan->end_us)) {
        return;
    }
    world_heal(w);
    if (!await_leaders(w)) {
        return;
    }
    settle(w);
    rest(w);
    if (w->check.violation[0] == '\0') {
        check_memory(w, w->memory_before);
    }
}

void
sim_world_run(const struct sim_world_config *config,
              struct sim_world_result *out)
{
    uint64_t before = memory_in_use();
    struct world *w = mem_zalloc(1, sizeof(*w));
    uint64_t after;

    memset(out, 0, sizeof(*out));
    w->memory_before = before;
    w->config = config;
    w->plan = config->plan;
    w->result = out;
    w->sim = sim_new(w->plan->seed);
    if (config->is_traced) {
        sim_set_trace(w->sim, print_line, NULL);
    }
    sim_set_welcome(w->sim, on_welcome, w);
    sim_set_tap(w->sim, on_frame_out, w);
    rng_init(&w->rng, w->plan->seed ^ 0xc11e);
    sim_check_init(&w->check);
    live(w);
    compare(w);
    if (config->is_traced && w->check.violation[0] != '\0') {
        sim_trace(w->sim, 0, "broken: %s", w->check.violation);
        describe(w);
    }
    fill_result(w);
    tear_down(w);
    sim_check_deinit(&w->check);
    sim_free(&w->sim);
    mem_free(w->running);
    mem_free(w);
    after = memory_in_use();
    out->leaked = after > before ? after - before : 0;
    if (out->leaked > LEAK_MAX && out->violation[0] == '\0') {
        (void)snprintf(out->violation, sizeof(out->violation),
                       "I12: %llu bytes are left of all that was freed",
                       (unsigned long long)out->leaked);
    }
}
