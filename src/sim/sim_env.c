/* One heap of events in virtual time. An event belongs to a node's life: when
 * the node has stopped or started since, it is void. A turn follows what
 * arrives at an env; turns at the same instant are one. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/timer.h"
#include "sim/sim_env_priv.h"

enum {
    WAKE_US = 20,  /* from a wake to its turn */
    WORK_US = 500, /* slow work takes */
    TIMERS_A_TURN = 4096,
    LOCAL_US = 1
};

static const uint64_t WALL_ORIGIN_MS = UINT64_C(1790000000000);

struct event *
sim_event_new(struct sim *sim, uint64_t at_us,
              void (*run)(struct sim *sim, struct event *e))
{
    struct event *e = sim->spare;

    if (e != NULL) {
        sim->spare = e->next;
        memset(e, 0, sizeof *e);
    } else {
        e = mem_zalloc(1, sizeof *e);
    }
    ASSERT(at_us >= sim->now_us);
    e->run = run;
    heap_insert(&sim->events, &e->node, at_us);
    return e;
}

static void
event_bind(struct event *e, struct shard *shard)
{
    e->shard = shard;
    e->on = shard->node->id;
    e->life = shard->node->life;
}

/* ---- turns ---- */

/* Have a turn when the env's next timer is due. */
static void
schedule_timers(struct shard *shard)
{
    uint64_t due_ms;

    if (timers_next(&shard->env.timers, &due_ms)) {
        uint64_t at = due_ms * 1000;

        sim_schedule_turn(shard, MAX(at, shard->sim->now_us + 1));
    }
}

static void
run_turn(struct sim *sim, struct event *e)
{
    struct shard *shard = e->shard;

    ASSERT(shard->turn == e);
    shard->turn_at_us = UINT64_MAX;
    shard->turn = NULL;
    sim->stats.turns++;
    (void)timers_run(&shard->env.timers, sim->now_us / 1000, TIMERS_A_TURN);
    env_run_turn(&shard->env);
    schedule_timers(shard);
}

void
sim_schedule_turn(struct shard *shard, uint64_t at_us)
{
    if (shard->node->is_up && at_us < shard->turn_at_us) {
        shard->turn_at_us = at_us;
        if (shard->turn != NULL) { /* sooner than it was to be */
            heap_remove(&shard->sim->events, &shard->turn->node);
            heap_insert(&shard->sim->events, &shard->turn->node, at_us);
            return;
        }
        shard->turn = sim_event_new(shard->sim, at_us, run_turn);
        event_bind(shard->turn, shard);
    }
}

/* ---- the ops ---- */

static struct shard *
shard_of(struct env *env)
{
    return CONTAINER_OF(env, struct shard, env);
}

static uint64_t
op_now_ms(struct env *env)
{
    return shard_of(env)->sim->now_us / 1000;
}

static uint64_t
op_now_us(struct env *env)
{
    return shard_of(env)->sim->now_us;
}

static uint64_t
op_wall_ms(struct env *env)
{
    const struct shard *shard = shard_of(env);

    return WALL_ORIGIN_MS + shard->sim->now_us / 1000 +
           (uint64_t)shard->node->wall_ms;
}

static void
op_random(struct env *env, void *dst, size_t size)
{
    rng_fill(&shard_of(env)->node->rng, dst, size);
}

static bool
op_is_linked(struct env *env, qr_node_id node)
{
    const struct shard *shard = shard_of(env);
    qr_node_id of = sim_machine_of(shard->sim, shard->node->id, node);

    return of != 0 && shard->sim->ends[shard->node->id][of].is_up;
}

static size_t
op_backlog(struct env *env, qr_node_id node, enum frame_class klass)
{
    const struct shard *shard = shard_of(env);
    qr_node_id of = sim_machine_of(shard->sim, shard->node->id, node);

    return of == 0 ? 0 : shard->sim->ways[shard->node->id][of].in_flight[klass];
}

static void
op_wake(struct env *env)
{
    struct shard *shard = shard_of(env);

    sim_schedule_turn(shard, shard->sim->now_us + WAKE_US);
}

static void
run_work(struct sim *sim, struct event *e)
{
    struct work *w = e->arg;

    w->run(w);
    w->done(w);
    sim_schedule_turn(e->shard, sim->now_us);
}

static void
op_work(struct env *env, struct work *work)
{
    struct shard *shard = shard_of(env);
    struct event *e =
        sim_event_new(shard->sim, shard->sim->now_us + WORK_US, run_work);

    event_bind(e, shard);
    e->arg = work;
}

/* ---- frames ---- */

/* The shard of NODE that frame F is for. */
static struct shard *
target(struct sim_node *node, const struct frame *f)
{
    uint16_t shard = f->to_shard;

    if (shard == FRAME_TO_GROUP) {
        shard = env_shard_of(f->group, node->shards_count);
    }
    return shard < node->shards_count ? node->shards[shard] : NULL;
}

/* A frame arrives. Its event is of the receiver's life; the sender's is seen
 * in the epoch. */
static void
run_frame(struct sim *sim, struct event *e)
{
    struct sim_node *to = &sim->nodes[e->b];
    const struct env_handler *h;
    struct shard *shard = target(to, e->frame);
    struct address from = {sim->ends[e->b][e->a].as, e->frame->from_shard};
    bool is_local = e->a == e->b;

    if (shard == NULL || (!is_local && (sim->epochs[e->a][e->b] != e->epoch ||
                                        !sim->ends[e->b][e->a].is_up ||
                                        sim->ways[e->a][e->b].is_cut))) {
        sim->stats.frames_lost++;
        return;
    }
    if (!is_local && sim->net.duplicates > 0) {
        sim_remember(sim, e->a, e->b, e->frame);
    }
    if (is_local) {
        from.node = shard->env.node;
    }
    h = env_handler(&shard->env, e->frame->kind);
    if (h != NULL) {
        h->on_frame(h->arg, from, &e->frame);
    }
    sim_schedule_turn(shard, sim->now_us);
}

/* FRAME, which came from A, arrives at B at AT_US. */
static void
send_at(struct sim *sim, qr_node_id a, qr_node_id b, struct frame **frame,
        uint64_t at_us)
{
    struct event *e = sim_event_new(sim, at_us, run_frame);

    e->on = b;
    e->life = sim->nodes[b].life;
    e->a = a;
    e->b = b;
    e->epoch = sim->epochs[a][b];
    e->frame = *frame;
    e->size = frame_size(*frame);
    sim->ways[a][b].in_flight[e->frame->klass] += e->size;
    *frame = NULL;
}

void
sim_send(struct sim *sim, qr_node_id a, qr_node_id b, struct frame **frame)
{
    uint64_t *last_us = &sim->ways[a][b].last_us[(*frame)->klass];
    uint64_t at_us = sim->now_us + rng_between(&sim->rng, sim->net.delay_min_us,
                                               sim->net.delay_max_us);

    at_us = MAX(at_us, *last_us);
    *last_us = at_us;
    send_at(sim, a, b, frame, at_us);
}

/* Over a link content arrives as one slice, however many it was made of. */
static void
join_content(struct frame *f)
{
    struct slice all = frame_content(f);

    for (uint16_t i = 0; i < f->content_count; i++) {
        slice_unref(&f->content[i]);
    }
    f->content_count = 0;
    if (all.size > 0) {
        frame_add(f, all);
    }
}

static bool
op_post(struct env *env, struct address to, struct frame **frame)
{
    struct shard *shard = shard_of(env);
    struct sim *sim = shard->sim;
    qr_node_id from = shard->node->id;
    bool is_local = to.node == 0 || to.node == env->node;
    qr_node_id node = is_local ? from : sim_machine_of(sim, from, to.node);
    struct way *way;

    (*frame)->from_shard = env->shard;
    (*frame)->to_shard = to.shard;
    if (node == from) {
        send_at(sim, node, node, frame, sim->now_us + LOCAL_US);
        return true;
    }
    way = &sim->ways[from][node];
    if (node == 0 || !sim->ends[from][node].is_up ||
        way->in_flight[(*frame)->klass] + frame_size(*frame) >
            sim->net.window_bytes) {
        frame_free(frame);
        return false;
    }
    sim->stats.frames_sent++;
    if (sim->tap != NULL) {
        sim->tap(sim->tap_arg, from, *frame);
    }
    if (way->is_cut || rng_chance(&sim->rng, sim->net.loss_per_million)) {
        sim->stats.frames_lost++;
        frame_free(frame);
        return true;
    }
    join_content(*frame);
    sim_send(sim, from, node, frame);
    return true;
}

static const struct env_ops sim_ops = {
    .now_ms = op_now_ms,
    .now_us = op_now_us,
    .wall_ms = op_wall_ms,
    .random = op_random,
    .post = op_post,
    .is_linked = op_is_linked,
    .backlog = op_backlog,
    .work = op_work,
    .wake = op_wake,
};

/* ---- what a paused node is to do ---- */

static void
event_free(struct sim *sim, struct event *e)
{
    frame_free(&e->frame);
    e->next = sim->spare;
    sim->spare = e;
}

static struct event *
take_held(struct sim_node *node)
{
    struct event *held = node->held;

    node->held = NULL;
    node->held_end = NULL;
    return held;
}

/* Drop what node ID was to do when its pause is over. */
static void
drop_held(struct sim *sim, qr_node_id id)
{
    struct event *e = take_held(&sim->nodes[id]);

    while (e != NULL) {
        struct event *next = e->next;

        if (e->frame != NULL) {
            sim->ways[e->a][e->b].in_flight[e->frame->klass] -= e->size;
        }
        event_free(sim, e);
        e = next;
    }
}

/* ---- nodes ---- */

static void
free_shards(struct sim_node *node)
{
    for (uint16_t i = 0; i < node->shards_count; i++) {
        timers_deinit(&node->shards[i]->env.timers);
        mem_free(node->shards[i]);
        node->shards[i] = NULL;
    }
    node->shards_count = 0;
}

static struct shard *
shard_new(struct sim *sim, struct sim_node *node, uint16_t index,
          uint16_t count, const struct logger *log)
{
    struct shard *shard = mem_zalloc(1, sizeof *shard);

    shard->sim = sim;
    shard->node = node;
    shard->turn_at_us = UINT64_MAX;
    shard->env.ops = &sim_ops;
    shard->env.log = log;
    shard->env.node = node->self.id;
    shard->env.boot = node->self.starts.boot;
    shard->env.shard = index;
    shard->env.shards = count;
    timers_init(&shard->env.timers);
    return shard;
}

void
sim_start(struct sim *sim, qr_node_id id, uint16_t shards,
          const struct logger *log)
{
    struct sim_self self = {.id = id};

    OBJ_CHECK(sim, SIM_MAGIC);
    ASSERT(id >= 1 && id <= SIM_NODES_MAX);
    self.starts.boot = sim->nodes[id].self.starts.boot + 1;
    sim_start_as(sim, id, shards, log, &self);
}

void
sim_start_as(struct sim *sim, qr_node_id machine, uint16_t shards,
             const struct logger *log, const struct sim_self *self)
{
    struct sim_node *node = &sim->nodes[machine];

    OBJ_CHECK(sim, SIM_MAGIC);
    ASSERT(machine >= 1 && machine <= SIM_NODES_MAX);
    ASSERT(shards >= 1 && shards <= SIM_SHARDS_MAX);
    ASSERT(!node->is_up);
    sim->disturbed_us = MAX(sim->disturbed_us, sim->now_us);
    free_shards(node);
    node->id = machine;
    node->self = *self;
    for (qr_node_id b = 1; b <= SIM_NODES_MAX; b++) {
        sim->ends[machine][b].as = 0;
    }
    node->is_up = true;
    node->life++;
    node->paused_us = 0;
    rng_init(&node->rng, rng_u64(&sim->rng));
    for (uint16_t i = 0; i < shards; i++) {
        node->shards[i] = shard_new(sim, node, i, shards, log);
        sim_schedule_turn(node->shards[i], sim->now_us + 1);
    }
    node->shards_count = shards;
    for (qr_node_id b = 1; b <= SIM_NODES_MAX; b++) {
        if (b != machine && sim->nodes[b].is_up) {
            sim_look_later(sim, machine, b, sim->net.connect_us);
        }
    }
}

void
sim_stop(struct sim *sim, qr_node_id id)
{
    struct sim_node *node = &sim->nodes[id];

    OBJ_CHECK(sim, SIM_MAGIC);
    ASSERT(node->is_up);
    sim->disturbed_us = MAX(sim->disturbed_us, sim->now_us);
    node->is_up = false;
    node->life++;
    drop_held(sim, id);
    sim_links_died(sim, id);
}

void
sim_set_wall(struct sim *sim, qr_node_id id, int64_t by_ms)
{
    OBJ_CHECK(sim, SIM_MAGIC);
    ASSERT(id >= 1 && id <= SIM_NODES_MAX);
    sim->nodes[id].wall_ms = by_ms;
}

bool
sim_is_up(const struct sim *sim, qr_node_id id)
{
    return id >= 1 && id <= SIM_NODES_MAX && sim->nodes[id].is_up;
}

const struct sim_self *
sim_self(const struct sim *sim, qr_node_id machine)
{
    OBJ_CHECK(sim, SIM_MAGIC);
    ASSERT(machine >= 1 && machine <= SIM_NODES_MAX);
    return &sim->nodes[machine].self;
}

void
sim_set_tap(struct sim *sim, sim_tap_cb cb, void *arg)
{
    OBJ_CHECK(sim, SIM_MAGIC);
    sim->tap = cb;
    sim->tap_arg = arg;
}

struct env *
sim_env(struct sim *sim, qr_node_id id, uint16_t shard)
{
    OBJ_CHECK(sim, SIM_MAGIC);
    ASSERT(shard < sim->nodes[id].shards_count);
    return &sim->nodes[id].shards[shard]->env;
}

/* ---- the world ---- */

static void
run_call(struct sim *sim, struct event *e)
{
    e->cb(e->arg);
    if (e->shard != NULL && sim->nodes[e->on].life == e->life) {
        sim_schedule_turn(e->shard, sim->now_us);
    }
}

void
sim_call(struct sim *sim, struct env *env, uint64_t delay_us,
         void (*cb)(void *arg), void *arg)
{
    struct event *e;

    OBJ_CHECK(sim, SIM_MAGIC);
    e = sim_event_new(sim, sim->now_us + delay_us, run_call);
    if (env != NULL) {
        event_bind(e, shard_of(env));
    }
    e->cb = cb;
    e->arg = arg;
}

/* E is due, and happens unless its node has stopped or started since. */
static void
run_event(struct sim *sim, struct event *e)
{
    if (e->frame != NULL) {
        sim->ways[e->a][e->b].in_flight[e->frame->klass] -= e->size;
    }
    sim->stats.events++;
    /* What a node asked for while it was being taken apart is void, too. */
    if (e->on == 0 ||
        (sim->nodes[e->on].is_up && sim->nodes[e->on].life == e->life)) {
        e->run(sim, e);
    }
    event_free(sim, e);
}

/* What is to happen on a node that is paused happens when it goes on, in the
 * order in which it was to happen. However the pause ends, nothing overtakes
 * what has waited: mailboxes and links keep their order. */
static bool
defer(struct sim *sim, struct event *e)
{
    struct sim_node *node = &sim->nodes[e->on];

    if (e->on == 0 || node->life != e->life ||
        (node->paused_us <= sim->now_us && node->held == NULL)) {
        return false;
    }
    e->next = NULL;
    if (node->held == NULL) {
        node->held_end = &node->held;
    }
    *node->held_end = e;
    node->held_end = &e->next;
    return true;
}

static void
run_resume(struct sim *sim, struct event *resume)
{
    struct sim_node *node = &sim->nodes[resume->b];
    struct event *e;

    if (node->paused_us > sim->now_us) {
        return; /* again, or for longer */
    }
    e = take_held(node);
    while (e != NULL) {
        struct event *next = e->next;

        run_event(sim, e);
        e = next;
    }
}

void
sim_pause(struct sim *sim, qr_node_id id, uint64_t until_us)
{
    struct event *e;

    OBJ_CHECK(sim, SIM_MAGIC);
    ASSERT(id >= 1 && id <= SIM_NODES_MAX);
    sim->nodes[id].paused_us = until_us;
    sim->disturbed_us = MAX(sim->disturbed_us, MAX(until_us, sim->now_us));
    if (until_us > sim->now_us || sim->nodes[id].held != NULL) {
        e = sim_event_new(sim, MAX(until_us, sim->now_us), run_resume);
        e->b = id;
    }
}

bool
sim_is_paused(const struct sim *sim, qr_node_id id)
{
    return sim->nodes[id].paused_us > sim->now_us;
}

bool
sim_step(struct sim *sim)
{
    struct heap_node *n = heap_min(&sim->events);
    struct event *e;

    OBJ_CHECK(sim, SIM_MAGIC);
    if (n == NULL) {
        return false;
    }
    e = CONTAINER_OF(n, struct event, node);
    ASSERT(n->key >= sim->now_us);
    sim->now_us = n->key;
    heap_remove(&sim->events, n);
    if (defer(sim, e)) {
        return true;
    }
    run_event(sim, e);
    return true;
}

void
sim_run(struct sim *sim, uint64_t until_us)
{
    const struct heap_node *n;

    OBJ_CHECK(sim, SIM_MAGIC);
    while ((n = heap_min(&sim->events)) != NULL && n->key <= until_us) {
        (void)sim_step(sim);
    }
    sim->now_us = MAX(sim->now_us, until_us);
}

struct sim *
sim_new(uint64_t seed)
{
    struct sim *sim = mem_zalloc(1, sizeof *sim);

    sim->magic = SIM_MAGIC;
    heap_init(&sim->events);
    rng_init(&sim->rng, seed);
    sim->net.delay_min_us = 100;
    sim->net.delay_max_us = 300;
    sim->net.connect_us = 1000;
    sim->net.detect_us = 1000;
    sim->net.silent_us = 1500000;
    sim->net.dead_us = 4000000;
    sim->net.window_bytes = 64 << 20;
    return sim;
}

void
sim_free(struct sim **simp)
{
    struct sim *sim = *simp;
    struct heap_node *n;

    OBJ_CHECK(sim, SIM_MAGIC);
    *simp = NULL;
    while ((n = heap_min(&sim->events)) != NULL) {
        heap_remove(&sim->events, n);
        event_free(sim, CONTAINER_OF(n, struct event, node));
    }
    while (sim->spare != NULL) {
        struct event *e = sim->spare;

        sim->spare = e->next;
        mem_free(e);
    }
    heap_deinit(&sim->events);
    for (qr_node_id i = 1; i <= SIM_NODES_MAX; i++) {
        drop_held(sim, i);
        sim_forget(sim, i);
        free_shards(&sim->nodes[i]);
    }
    sim->magic = 0;
    mem_free(sim);
}

struct sim_net
sim_net(const struct sim *sim)
{
    OBJ_CHECK(sim, SIM_MAGIC);
    return sim->net;
}

void
sim_set_net(struct sim *sim, const struct sim_net *net)
{
    OBJ_CHECK(sim, SIM_MAGIC);
    ASSERT(net->delay_min_us <= net->delay_max_us);
    ASSERT(net->duplicates <= SIM_DUPLICATES_MAX);
    sim->net = *net;
}

struct rng *
sim_rng(struct sim *sim)
{
    OBJ_CHECK(sim, SIM_MAGIC);
    return &sim->rng;
}

uint64_t
sim_now_us(const struct sim *sim)
{
    OBJ_CHECK(sim, SIM_MAGIC);
    return sim->now_us;
}

void
sim_stats(const struct sim *sim, struct sim_stats *out)
{
    OBJ_CHECK(sim, SIM_MAGIC);
    *out = sim->stats;
}

void
sim_set_trace(struct sim *sim, sim_trace_cb sink, void *arg)
{
    OBJ_CHECK(sim, SIM_MAGIC);
    sim->trace = sink;
    sim->trace_arg = arg;
}

void
sim_trace(struct sim *sim, qr_node_id node, const char *fmt, ...)
{
    char text[SIM_TRACE_LINE_SIZE];
    va_list ap;

    OBJ_CHECK(sim, SIM_MAGIC);
    if (sim->trace == NULL) {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    sim->trace(sim->trace_arg, sim->now_us, node, text);
}
