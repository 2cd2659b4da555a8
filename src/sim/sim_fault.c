/* The faults of a plan take place: each begins at its time, unless that makes
 * no sense then (the node is down already), and undoes after its length what it
 * did, and only that. docs/testing.md has the list. */
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "broker/joining.h"
#include "sim/sim_front.h"
#include "sim/sim_world_priv.h"
#include "store/disk_sim.h"
#include "store/store.h"

enum {
    MS = 1000,
    STOP_TICK_US = 20 * MS,   /* as node_shard.c looks whether it may end, */
    STOP_DRAIN_US = 2000 * MS /* and NODE_DRAIN_MS */
};

static uint32_t
victim(const struct running *r)
{
    ASSERT(r->fault->node >= 1);
    ASSERT(r->fault->node <= r->world->nodes_count);
    return r->fault->node - 1;
}

static struct sim_node *
victim_node(const struct running *r)
{
    return r->world->nodes[victim(r)];
}

static void on_end(void *arg);

static void
again_after(struct running *r, uint64_t delay_us)
{
    sim_call(r->world->sim, NULL, delay_us, on_end, r);
}

/* ---- nodes ---- */

void
world_crash(struct world *w, uint32_t i, bool is_power)
{
    if (!sim_node_is_up(w->nodes[i])) {
        return;
    }
    sim_trace(w->sim, w->ids[i], is_power ? "power cut" : "crash");
    sim_node_crash(w->nodes[i], is_power);
    sim_check_note(&w->check, 0xdead0 + i);
}

/* Whether other nodes, with IS_ALL each of them, know the newest start of node
 * I. */
static bool
is_known(const struct world *w, uint32_t i, bool is_all)
{
    uint32_t count = 0;

    for (uint32_t o = 0; o < w->nodes_count; o++) {
        bool is_cut = w->cuts[i][o] > 0 || w->cuts[o][i] > 0;

        if (o != i && sim_node_knows(w->nodes[o], w->nodes[i]) &&
            (!is_all || (!is_cut && !sim_is_paused(w->sim, w->ids[o])))) {
            count++;
        }
    }
    return is_all ? count == w->nodes_count - 1 : count > 0;
}

void
world_start(struct world *w, uint32_t i)
{
    bool is_old = w->is_rolled_back && i + 1 == w->plan->frail;

    /* A copy starts when the others are there to tell it so (ADR 4). */
    if (!sim_node_is_up(w->nodes[i]) && (!is_old || is_known(w, i, true))) {
        w->is_rolled_back = w->is_rolled_back && !is_old;
        sim_trace(w->sim, w->ids[i], "start");
        (void)sim_node_start(w->nodes[i]);
    }
}

/* The disk of SHARD of the victim. */
static struct disk_sim *
victim_disk(const struct running *r, uint16_t shard)
{
    return sim_node_disk(victim_node(r), shard);
}

bool
world_has_stopped(const struct world *w, uint32_t i)
{
    for (uint16_t s = 0; s < w->shards; s++) {
        if (disk_sim_has_stopped(sim_node_disk(w->nodes[i], s))) {
            return true;
        }
    }
    return false;
}

static bool
begin_crash(struct running *r)
{
    if (!sim_node_is_up(victim_node(r))) {
        return false;
    }
    world_crash(r->world, victim(r), r->fault->kind != SIM_CRASH);
    return true;
}

static void
end_crash(struct running *r)
{
    world_start(r->world, victim(r));
}

static bool
begin_power_all(struct running *r)
{
    for (uint32_t i = 0; i < r->world->nodes_count; i++) {
        world_crash(r->world, i, true);
    }
    return true;
}

/* As daemon/node_shard.c does when it is asked to stop. */
static bool
begin_stop(struct running *r)
{
    struct world *w = r->world;
    struct sim_node *n = victim_node(r);
    struct sim_parts parts;

    if (!sim_node_is_formed(n)) {
        return false;
    }
    for (uint16_t s = 0; s < w->shards; s++) {
        (void)sim_node_parts(n, s, &parts);
        sim_front_stop(sim_node_front(n, s));
        broker_shutdown(parts.broker);
    }
    r->boot = sim_env(w->sim, w->ids[victim(r)], 0)->boot;
    r->until_us = sim_now_us(w->sim) + STOP_DRAIN_US;
    again_after(r, STOP_TICK_US);
    return true;
}

/* Whether node N has no clients, and nothing under way to its disks. */
static bool
is_drained(const struct world *w, const struct sim_node *n)
{
    struct sim_parts parts;
    bool is_over = true;

    for (uint16_t s = 0; s < w->shards; s++) {
        is_over = is_over && sim_node_parts(n, s, &parts) &&
                  sim_front_connections(sim_node_front(n, s)) == 0 &&
                  store_is_idle(parts.store);
    }
    return is_over;
}

/* Whether R still waits for its node; something else may have ended it. */
static bool
is_stopping(const struct running *r)
{
    const struct world *w = r->world;

    return sim_node_is_formed(victim_node(r)) &&
           sim_env(w->sim, w->ids[victim(r)], 0)->boot == r->boot;
}

static void
end_stop(struct running *r)
{
    struct world *w = r->world;
    bool is_late = sim_now_us(w->sim) >= r->until_us;

    if (r->step > 0) {
        world_start(w, victim(r));
    } else if (is_stopping(r) && !is_late && !is_drained(w, victim_node(r))) {
        again_after(r, STOP_TICK_US);
    } else {
        if (is_stopping(r)) {
            world_crash(w, victim(r), false);
        }
        r->step++;
        again_after(r, r->fault->for_us);
    }
}

/* They come back one by one. */
static void
end_power_all(struct running *r)
{
    struct world *w = r->world;
    uint32_t i = (uint32_t)((r->fault->a + r->step) % w->nodes_count);

    world_start(w, i);
    if (++r->step < w->nodes_count) {
        again_after(r, r->fault->b);
    }
}

/* Down, up, down again while it recovers, up. */
static void
end_recovery(struct running *r)
{
    switch (r->step++) {
    case 0:
        for (uint16_t s = 0; s < r->world->shards; s++) {
            disk_sim_stop_after(victim_disk(r, s), r->fault->a);
        }
        world_start(r->world, victim(r));
        again_after(r, r->fault->b);
        break;
    case 1:
        world_crash(r->world, victim(r), true);
        again_after(r, r->fault->b);
        break;
    default:
        world_start(r->world, victim(r));
        break;
    }
}

static bool
begin_pause(struct running *r)
{
    const struct world *w = r->world;
    qr_node_id id = w->ids[victim(r)];

    if (!sim_node_is_up(victim_node(r)) || sim_is_paused(w->sim, id)) {
        return false;
    }
    sim_pause(w->sim, id, sim_now_us(w->sim) + r->fault->for_us);
    return true;
}

static bool
begin_slow_disk(struct running *r)
{
    sim_node_set_disk_delay(victim_node(r), (uint32_t)MAX(r->fault->a, 1U));
    return true;
}

static void
end_slow_disk(struct running *r)
{
    sim_node_set_disk_delay(victim_node(r), (uint32_t)r->world->plan->disk_us);
}

static bool
begin_full_disk(struct running *r)
{
    struct disk_sim_stats stats;

    for (uint16_t s = 0; s < r->world->shards; s++) {
        disk_sim_stats(victim_disk(r, s), &stats);
        disk_sim_set_capacity(victim_disk(r, s),
                              stats.bytes_used + r->fault->a);
    }
    return true;
}

static void
make_room(struct world *w, uint32_t i)
{
    for (uint16_t s = 0; s < w->shards; s++) {
        disk_sim_set_capacity(sim_node_disk(w->nodes[i], s),
                              SIM_NODE_DISK_SIZE);
    }
}

static void
end_full_disk(struct running *r)
{
    make_room(r->world, victim(r));
}

/* Whether there is a majority of every group besides the node that suffers. */
static bool
has_others(const struct running *r)
{
    return r->world->nodes_count >= 3 &&
           r->fault->node == r->world->plan->frail;
}

/* Some bytes of one of its disks change, or can no longer be read. */
static bool
begin_rot(struct running *r)
{
    struct world *w = r->world;
    struct disk_sim *disk =
        victim_disk(r, (uint16_t)(r->fault->number % w->shards));
    struct disk_sim_spot spot;
    uint64_t count = 0;

    while (has_others(r) && count < r->fault->a &&
           (r->fault->kind == SIM_ROT ? disk_sim_rot(disk, &spot)
                                      : disk_sim_spoil(disk, &spot))) {
        sim_trace(w->sim, w->ids[victim(r)], "damage in %s at %llu", spot.name,
                  (unsigned long long)spot.offset);
        count++;
    }
    return count > 0;
}

static bool
begin_disk_lost(struct running *r)
{
    if (!has_others(r) || !sim_node_is_up(victim_node(r))) {
        return false;
    }
    world_crash(r->world, victim(r), true);
    sim_node_lose(victim_node(r));
    return true;
}

/* A copy is made while the node is down for a moment. */
static bool
begin_roll_back(struct running *r)
{
    if (!has_others(r) || !sim_node_is_formed(victim_node(r)) ||
        r->world->has_copy) {
        return false;
    }
    r->world->has_copy = true;
    world_crash(r->world, victim(r), false);
    sim_node_copy(victim_node(r));
    world_start(r->world, victim(r));
    return true;
}

/* The copy takes the place of the disks, if anybody has met the node since:
 * else it is as good as they are. world_start() waits for those who know. */
static void
end_roll_back(struct running *r)
{
    struct world *w = r->world;

    if (r->step++ == 0) {
        bool was_met = is_known(w, victim(r), false);

        world_crash(w, victim(r), true);
        if (was_met) {
            sim_node_roll_back(victim_node(r));
            w->is_rolled_back = true;
        }
    }
    world_start(w, victim(r));
    if (w->is_rolled_back) {
        again_after(r, 100ULL * MS);
    } else {
        w->has_copy = false;
    }
}

static void
on_forgotten(struct broker_call *call, const struct broker_reply *reply)
{
    const struct running *r = call->arg;

    sim_trace(r->world->sim, 0, "forget_cluster_node n%u: %s", r->fault->node,
              reply->fault.kind == BROKER_OK ? "done" : reply->fault.text);
}

/* An operator removes the node, which is down; it is told when it starts, and
 * joins as a new one. */
static void
end_forget(struct running *r)
{
    struct world *w = r->world;
    struct sim_node *by = w->nodes[r->fault->a % w->nodes_count];
    char name[16];

    if (r->step++ > 0) {
        world_start(w, victim(r));
        return;
    }
    if (!sim_node_is_up(victim_node(r)) && sim_node_is_formed(by)) {
        int size = snprintf(name, sizeof(name), "n%u", r->fault->node);

        r->call.done = on_forgotten;
        r->call.arg = r;
        joining_forget(sim_node_broker(by, 0), meta_text(name, (size_t)size),
                       &r->call);
    }
    again_after(r, 1000ULL * MS);
}

static bool
begin_forget(struct running *r)
{
    return has_others(r) && begin_crash(r);
}

static bool
begin_clock(struct running *r)
{
    sim_set_wall(r->world->sim, r->world->ids[victim(r)],
                 (int64_t)r->fault->a - (int64_t)r->fault->b);
    return true;
}

static void
end_clock(struct running *r)
{
    sim_set_wall(r->world->sim, r->world->ids[victim(r)], 0);
}

static bool
begin_transfer(struct running *r)
{
    struct world *w = r->world;

    for (uint32_t i = 0; i < w->nodes_count; i++) {
        sim_node_transfer(w->nodes[i], r->fault->a, w->ids[victim(r)]);
    }
    return true;
}

/* ---- the net ---- */

static void
set_net(struct world *w)
{
    struct sim_net net = w->calm;

    if (w->weather != NULL) {
        net.delay_max_us = net.delay_min_us + (uint32_t)w->weather->fault->a;
        net.loss_per_million = (uint32_t)w->weather->fault->b;
    }
    if (w->echo != NULL) {
        net.duplicates =
            (uint32_t)MIN(w->echo->fault->a, (uint64_t)SIM_DUPLICATES_MAX);
    }
    sim_set_net(w->sim, &net);
}

/* The newest weather counts. */
static bool
begin_weather(struct running *r)
{
    r->world->weather = r;
    set_net(r->world);
    return true;
}

static void
end_weather(struct running *r)
{
    if (r->world->weather == r) {
        r->world->weather = NULL;
        set_net(r->world);
    }
}

static bool
begin_duplicates(struct running *r)
{
    r->world->echo = r;
    set_net(r->world);
    return true;
}

static void
end_duplicates(struct running *r)
{
    if (r->world->echo == r) {
        r->world->echo = NULL;
        set_net(r->world);
    }
}

/* One more, or one less, fault cuts the way from node A to node B. */
static void
cut(struct world *w, uint32_t a, uint32_t b, bool is_cut)
{
    uint8_t *count = &w->cuts[a][b];

    ASSERT(is_cut ? *count < UINT8_MAX : *count > 0);
    *count = (uint8_t)(is_cut ? *count + 1 : *count - 1);
    sim_cut(w->sim, w->ids[a], w->ids[b], *count > 0);
}

/* Whether R cuts the way from A to B. */
static bool
is_across(const struct running *r, uint32_t a, uint32_t b)
{
    const struct sim_fault *f = r->fault;
    bool from = ((f->a >> a) & 1) != 0;
    bool to = ((f->a >> b) & 1) != 0;
    uint32_t n = r->world->nodes_count;
    uint32_t apart = (a + n - b) % n;

    if (f->kind == SIM_RING) { /* each sees its two neighbours */
        return apart > 1 && apart < n - 1;
    }
    return from != to && (from || f->kind != SIM_ONE_WAY);
}

static bool
cut_all(struct running *r, bool is_cut)
{
    struct world *w = r->world;
    bool is_any = false;

    for (uint32_t a = 0; a < w->nodes_count; a++) {
        for (uint32_t b = 0; b < w->nodes_count; b++) {
            if (a != b && is_across(r, a, b)) {
                cut(w, a, b, is_cut);
                is_any = true;
            }
        }
    }
    return is_any;
}

static bool
begin_partition(struct running *r)
{
    return cut_all(r, true);
}

static void
end_partition(struct running *r)
{
    (void)cut_all(r, false);
}

/* Open and shut until its time is over; STEP is odd while it is open. */
static void
end_flap(struct running *r)
{
    const struct world *w = r->world;
    const struct sim_fault *f = r->fault;
    bool is_over = sim_now_us(w->sim) >= f->at_us + f->for_us;

    if (r->step % 2 == 0) {
        (void)cut_all(r, false);
    } else if (!is_over) {
        (void)cut_all(r, true);
    }
    r->step++;
    if (!is_over) {
        again_after(r, MAX(f->b, (uint64_t)MS));
    }
}

static bool
begin_flap(struct running *r)
{
    if (!cut_all(r, true)) {
        return false;
    }
    again_after(r, MAX(r->fault->b, (uint64_t)MS));
    return true;
}

/* ---- when ---- */

/* What a kind does when it begins (false: it cannot now), and when its time is
 * over: NULL, nothing. */
static const struct {
    bool (*begin)(struct running *r);
    void (*end)(struct running *r);
    bool ends_itself;
} kinds[] = {
    [SIM_WEATHER] = {begin_weather, end_weather, false},
    [SIM_DUPLICATES] = {begin_duplicates, end_duplicates, false},
    [SIM_CRASH] = {begin_crash, end_crash, false},
    [SIM_POWER] = {begin_crash, end_crash, false},
    [SIM_POWER_ALL] = {begin_power_all, end_power_all, false},
    [SIM_RECOVERY] = {begin_crash, end_recovery, false},
    [SIM_HALVES] = {begin_partition, end_partition, false},
    [SIM_ONE_WAY] = {begin_partition, end_partition, false},
    [SIM_RING] = {begin_partition, end_partition, false},
    [SIM_FLAP] = {begin_flap, end_flap, true},
    [SIM_PAUSE] = {begin_pause, NULL, false},
    [SIM_SLOW_DISK] = {begin_slow_disk, end_slow_disk, false},
    [SIM_CLOCK] = {begin_clock, end_clock, false},
    [SIM_TRANSFER] = {begin_transfer, NULL, false},
    [SIM_FULL_DISK] = {begin_full_disk, end_full_disk, false},
    [SIM_ROT] = {begin_rot, NULL, false},
    [SIM_DISK_LOST] = {begin_disk_lost, end_crash, false},
    [SIM_ROLL_BACK] = {begin_roll_back, end_roll_back, false},
    [SIM_FORGET] = {begin_forget, end_forget, false},
    [SIM_STOP] = {begin_stop, end_stop, true},
    [SIM_SPOIL] = {begin_rot, NULL, false},
};

static void
on_end(void *arg)
{
    struct running *r = arg;

    if (r->is_on && !r->world->is_healing) {
        kinds[r->fault->kind].end(r);
    }
}

static void
on_begin(void *arg)
{
    struct running *r = arg;
    struct world *w = r->world;
    struct buf line;

    if (w->is_healing) {
        return;
    }
    r->is_on = kinds[r->fault->kind].begin(r);
    buf_init(&line);
    sim_fault_print(r->fault, &line);
    sim_trace(w->sim, 0, "fault %.*s%s", (int)line.size,
              (const char *)line.data, r->is_on ? "" : ": not now");
    buf_deinit(&line);
    if (!r->is_on) {
        w->result->skipped++;
        return;
    }
    w->result->faults[r->fault->kind]++;
    if (kinds[r->fault->kind].end != NULL &&
        !kinds[r->fault->kind].ends_itself) {
        again_after(r, r->fault->for_us);
    }
}

void
world_schedule_faults(struct world *w)
{
    w->calm = sim_net(w->sim);
    w->running =
        mem_zalloc(MAX(w->plan->faults_count, (size_t)1), sizeof(*w->running));
    for (size_t i = 0; i < w->plan->faults_count; i++) {
        struct running *r = &w->running[i];

        r->world = w;
        r->fault = &w->plan->faults[i];
        sim_call(w->sim, NULL, r->fault->at_us, on_begin, r);
    }
}

void
world_heal(struct world *w)
{
    sim_trace(w->sim, 0, "all faults end");
    w->is_healing = true;
    w->weather = NULL;
    w->echo = NULL;
    set_net(w);
    sim_heal(w->sim);
    for (size_t i = 0; i < w->plan->faults_count; i++) {
        struct running *r = &w->running[i];

        if (r->is_on && r->fault->kind == SIM_STOP && is_stopping(r)) {
            world_crash(w, victim(r), false);
        }
    }
    for (uint32_t i = 0; i < w->nodes_count; i++) {
        sim_node_set_disk_delay(w->nodes[i], (uint32_t)w->plan->disk_us);
        sim_pause(w->sim, w->ids[i], 0);
        sim_set_wall(w->sim, w->ids[i], 0);
        make_room(w, i);
        if (world_has_stopped(w, i)) {
            world_crash(w, i, true);
        }
        if (w->is_rolled_back && i + 1 == w->plan->frail) {
            sim_node_lose(w->nodes[i]); /* nobody can be asked to wait */
            w->is_rolled_back = false;
        }
        world_start(w, i);
    }
}
