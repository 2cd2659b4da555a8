/* See sim_world.h. A run has three parts: faults and load for the given time;
 * everything healed, load goes on for a moment; then clients only consume, and
 * all that was confirmed must have been acknowledged within SETTLE_S. */
#include "sim/sim_world.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/broker.h"
#include "broker/nodes.h"
#include "machine/meta/meta_machine.h"
#include "sim/sim_client.h"
#include "sim/sim_node.h"

enum {
    WORLD_NODES_MAX = 5,
    WORLD_CLIENTS_MAX = 12,
    WORLD_GROUPS_MAX = 64, /* queue groups whose replicas are compared */
    US = 1000000,
    HEALED_S = 3,
    LONG_S = NODES_LOST_MS / 1000,
    PAUSE_US_MAX = 5 * US,
    SLOW_DISK_US_MAX = 400000,
    DISK_US_MAX = 5000,
    SETTLE_S = 60,
    COMPARE_EVERY_US = 250000
};

struct world {
    const struct sim_world_config *config;
    struct sim_world_result *result;
    struct sim *sim;
    struct rng rng; /* of faults: apart from the simulator's */
    struct logger log;
    struct sim_check check;
    struct sim_node *nodes[WORLD_NODES_MAX];
    qr_node_id ids[WORLD_NODES_MAX];
    uint32_t nodes_count;
    uint16_t shards;
    struct sim_client *clients[WORLD_CLIENTS_MAX];
    uint32_t clients_count;
    uint32_t queues; /* that lose nothing */
    uint32_t lossy;  /* so many more, which clients delete and purge */
    uint32_t fault_every_us;
    uint64_t faults_end_us;
    bool has_long; /* one partition long enough for nodes to be given up */
    bool is_healing;
};

static void
log_sink(void *arg, enum log_level level, const char *category,
         const char *text)
{
    struct world *w = arg;

    (void)fprintf(stderr, "%10.6f [%s] <%s> %s\n",
                  (double)sim_now_us(w->sim) / US, log_level_name(level),
                  category, text);
}

static uint64_t
between(struct world *w, uint64_t low, uint64_t high)
{
    return rng_between(&w->rng, low, high);
}

/* ---- faults ---- */

static void
crash(struct world *w, uint32_t i, bool is_power)
{
    if (!sim_node_is_up(w->nodes[i])) {
        return;
    }
    for (uint32_t c = 0; c < w->clients_count; c++) {
        if (sim_client_is_on(w->clients[c], w->ids[i])) {
            sim_client_lost(w->clients[c]);
        }
    }
    sim_node_crash(w->nodes[i], is_power);
    w->result->crashes++;
    w->result->power_cuts += is_power ? 1 : 0;
    sim_check_note(&w->check, 0xdead0 + i);
}

static void
start_all(struct world *w)
{
    for (uint32_t i = 0; i < w->nodes_count; i++) {
        if (!sim_node_is_up(w->nodes[i])) {
            sim_node_start(w->nodes[i]);
        }
    }
}

static void
partition(struct world *w)
{
    uint64_t sides = between(w, 1, (1U << w->nodes_count) - 1);
    bool is_one_way = rng_chance(&w->rng, 250000);

    w->result->partitions++;
    for (uint32_t a = 0; a < w->nodes_count; a++) {
        for (uint32_t b = 0; b < w->nodes_count; b++) {
            bool is_across = ((sides >> a) & 1) != 0 && ((sides >> b) & 1) == 0;

            if (is_across) {
                sim_cut(w->sim, w->ids[a], w->ids[b], true);
                if (!is_one_way) {
                    sim_cut(w->sim, w->ids[b], w->ids[a], true);
                }
            }
        }
    }
}

static void
weather(struct world *w)
{
    struct sim_net net = sim_net(w->sim);

    net.delay_max_us = (uint32_t)between(w, net.delay_min_us + 100, 20000);
    net.loss_per_million =
        rng_chance(&w->rng, 500000) ? 0 : (uint32_t)between(w, 0, 50000);
    sim_set_net(w->sim, &net);
}

static void
pause_node(struct world *w, uint32_t i)
{
    uint64_t for_us = between(w, US / 100, PAUSE_US_MAX);

    sim_pause(w->sim, w->ids[i], sim_now_us(w->sim) + for_us);
    w->result->pauses++;
}

static void
hand_over(struct world *w)
{
    for (uint32_t i = 0; i < w->nodes_count; i++) {
        sim_node_transfer(w->nodes[i], between(w, 0, 1000),
                          w->ids[between(w, 0, w->nodes_count - 1)]);
    }
    w->result->transfers++;
}

static void
one_fault(struct world *w)
{
    uint32_t victim = (uint32_t)between(w, 0, w->nodes_count - 1);

    switch (between(w, 0, 13)) {
    case 0:
    case 1:
        crash(w, victim, false);
        break;
    case 2:
        crash(w, victim, true);
        break;
    case 3:
        for (uint32_t i = 0; i < w->nodes_count; i++) {
            crash(w, i, true);
        }
        break;
    case 4:
        partition(w);
        break;
    case 5:
        sim_heal(w->sim);
        break;
    case 6:
        weather(w);
        break;
    case 7:
        pause_node(w, victim);
        break;
    case 8:
        sim_node_set_disk_delay(w->nodes[victim],
                                (uint32_t)between(w, 100, SLOW_DISK_US_MAX));
        break;
    case 9:
        hand_over(w);
        break;
    default:
        if (!sim_node_is_up(w->nodes[victim])) {
            sim_node_start(w->nodes[victim]);
        } else {
            start_all(w);
        }
        break;
    }
}

static void
on_fault(void *arg)
{
    struct world *w = arg;
    uint64_t next_us = between(w, 1, 2ULL * w->fault_every_us);

    if (w->is_healing) {
        return;
    }
    if (w->has_long && sim_now_us(w->sim) > w->faults_end_us / 2) {
        w->has_long = false;
        start_all(w);
        partition(w);
        next_us = between(w, (uint64_t)LONG_S * US, (LONG_S + 20ULL) * US);
        w->faults_end_us += next_us;
    } else {
        one_fault(w);
    }
    sim_call(w->sim, NULL, next_us, on_fault, w);
}

static void
heal(struct world *w)
{
    struct sim_net net = sim_net(w->sim);

    w->is_healing = true;
    net.loss_per_million = 0;
    net.delay_max_us = net.delay_min_us + 1000;
    sim_set_net(w->sim, &net);
    sim_heal(w->sim);
    for (uint32_t i = 0; i < w->nodes_count; i++) {
        sim_node_set_disk_delay(w->nodes[i], DISK_US_MAX);
        sim_pause(w->sim, w->ids[i], 0);
    }
    start_all(w);
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
        r->world->result->given_up++;
        crash(r->world, i, false);
        sim_node_start(r->world->nodes[i]);
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

/* ---- replicas ---- */

struct state {
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

static void
compare_queue(struct world *w, qr_group_id group)
{
    struct state states[WORLD_NODES_MAX] = {0};
    size_t count = 0;

    for (uint32_t i = 0; i < w->nodes_count; i++) {
        buf_init(&states[count].bytes);
        if (sim_node_queue_state(w->nodes[i], group, &states[count].applied,
                                 &states[count].bytes)) {
            count++;
        } else {
            buf_deinit(&states[count].bytes);
        }
    }
    compare_states(w, states, count, "queue group", group);
    while (count > 0) {
        buf_deinit(&states[--count].bytes);
    }
}

static void
compare_meta(struct world *w)
{
    struct state states[WORLD_NODES_MAX * SIM_SHARDS_MAX] = {0};
    size_t count = 0;

    for (uint32_t i = 0; i < w->nodes_count; i++) {
        for (uint16_t s = 0; s < w->shards; s++) {
            buf_init(&states[count].bytes);
            if (sim_node_meta_state(w->nodes[i], s, &states[count].applied,
                                    &states[count].bytes)) {
                count++;
            } else {
                buf_deinit(&states[count].bytes);
            }
        }
    }
    compare_states(w, states, count, "the metadata", QR_GROUP_META);
    while (count > 0) {
        buf_deinit(&states[--count].bytes);
    }
}

static void
compare(struct world *w)
{
    compare_meta(w);
    for (qr_group_id g = QR_GROUP_FIRST_QUEUE;
         g < QR_GROUP_FIRST_QUEUE + WORLD_GROUPS_MAX; g++) {
        compare_queue(w, g);
    }
}

static void
on_compare(void *arg)
{
    struct world *w = arg;

    compare(w);
    sim_call(w->sim, NULL, COMPARE_EVERY_US, on_compare, w);
}

/* ---- the run ---- */

static uint32_t
pick(struct world *w, uint32_t given, uint32_t low, uint32_t high)
{
    uint32_t picked = (uint32_t)between(w, low, high);

    return given != 0 ? MIN(given, high) : picked;
}

static void
make_nodes(struct world *w)
{
    static const uint32_t sizes[] = {1, 3, 3, 3, 3, 5};
    uint32_t size = sizes[between(w, 0, ARRAY_COUNT(sizes) - 1)];
    struct sim_node_config node = {
        .sim = w->sim,
        .log = &w->log,
        .nodes = w->ids,
        .disk_delay_us = (uint32_t)between(w, 100, DISK_US_MAX),
        .snapshot_log_bytes = between(w, 4 << 10, 256 << 10),
        .snapshot_log_entries = between(w, 20, 2000)};

    w->nodes_count =
        w->config->nodes != 0 ? MIN(w->config->nodes, WORLD_NODES_MAX) : size;
    w->shards = (uint16_t)pick(w, w->config->shards, 1, 2);
    for (uint32_t i = 0; i < w->nodes_count; i++) {
        w->ids[i] = i + 1;
    }
    node.shards = w->shards;
    node.on_given_up = on_given_up;
    node.arg = w;
    node.nodes_count = w->nodes_count;
    for (uint32_t i = 0; i < w->nodes_count; i++) {
        node.id = w->ids[i];
        w->nodes[i] = sim_node_new(&node);
        sim_node_start(w->nodes[i]);
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
        .tick_us = (uint32_t)between(w, 2000, 40000),
        .body_size_max = (uint32_t)between(w, 1, 2000)};

    w->clients_count = pick(w, w->config->clients, 2, WORLD_CLIENTS_MAX);
    w->queues = (uint32_t)between(w, 1, MIN(w->clients_count, 6));
    w->lossy = (uint32_t)between(w, 0, MIN(w->clients_count - w->queues, 2));
    w->check.lossy = (uint16_t)(((1U << w->lossy) - 1) << w->queues);
    client.queues = w->queues;
    client.lossy = w->lossy;
    client.auto_delete = (unsigned)between(w, 0, 3);
    client.transient = (unsigned)between(w, 0, 3);
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

/* ---- at rest ---- */

/* What should have gone. */
struct leftovers {
    struct world *world;
    uint64_t messages; /* in queues that clients consume from */
    uint32_t orphans;  /* exclusive queues of connections that are gone */
};

static bool
find_leftover(void *arg, struct meta_queue *queue)
{
    struct leftovers *l = arg;
    struct world *w = l->world;
    bool is_owned = queue->owner.node == 0;

    for (uint32_t i = 0; i < w->clients_count; i++) {
        is_owned = is_owned || sim_client_owns(w->clients[i], queue->owner.node,
                                               queue->owner.connection);
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
        if (count == 0 && l.messages == 0 && l.orphans == 0) {
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
    } else {
        sim_check_violate(&w->check,
                          "I12: %llu messages and %u exclusive queues without "
                          "a connection remain %d s after the last fault",
                          (unsigned long long)l.messages, l.orphans, SETTLE_S);
    }
}

/* Where everything stands, on standard error. */
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
    (void)fwrite(out.data, 1, out.size, stderr);
    buf_deinit(&out);
}

static void
tear_down(struct world *w)
{
    for (uint32_t i = 0; i < w->clients_count; i++) {
        sim_client_free(&w->clients[i]);
    }
    for (uint32_t i = 0; i < w->nodes_count; i++) {
        if (sim_node_is_up(w->nodes[i])) {
            sim_node_crash(w->nodes[i], false);
        }
        sim_node_free(&w->nodes[i]);
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
}

void
sim_world_run(const struct sim_world_config *config,
              struct sim_world_result *out)
{
    struct world w = {.config = config, .result = out};

    memset(out, 0, sizeof(*out));
    w.sim = sim_new(config->seed);
    w.log.sink = log_sink;
    w.log.arg = &w;
    w.log.level = config->is_verbose ? LOG_DEBUG : LOG_NONE;
    rng_init(&w.rng, config->seed ^ 0x5175);
    sim_check_init(&w.check);
    make_nodes(&w);
    make_clients(&w);
    w.has_long = rng_chance(&w.rng, 120000) && w.nodes_count > 1;
    w.faults_end_us = (uint64_t)config->seconds * US;
    w.fault_every_us = (uint32_t)between(&w, US / 5, 4ULL * US);
    sim_call(w.sim, NULL, 3ULL * US, on_fault, &w);
    on_compare(&w);
    while (run_until(&w, w.faults_end_us) &&
           sim_now_us(w.sim) < w.faults_end_us) {
    }
    if (w.check.violation[0] == '\0') {
        heal(&w);
        if (run_until(&w, sim_now_us(w.sim) + (uint64_t)HEALED_S * US)) {
            settle(&w);
        }
    }
    compare(&w);
    if (config->is_verbose && w.check.violation[0] != '\0') {
        describe(&w);
    }
    fill_result(&w);
    tear_down(&w);
    sim_check_deinit(&w.check);
    sim_free(&w.sim);
}
