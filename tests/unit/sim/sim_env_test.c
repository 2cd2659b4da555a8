/* The simulated world: order, loss, links, turns, and that one seed is one
 * run. */
#include <stdio.h>
#include <string.h>

#include "base/timer.h"
#include "lib/harness.h"
#include "peer/frame.h"
#include "sim/sim_env.h"

/* What one shard saw. */
struct seen {
    struct env *env;
    unsigned frames;
    uint64_t last_arg;
    bool is_ordered;
    qr_node_id from;
    unsigned turns;
    unsigned events[4];
    uint32_t boot;
    uint64_t epoch;
};

static void
on_frame(void *arg, struct address from, struct frame **frame)
{
    struct seen *s = arg;

    s->is_ordered = s->is_ordered && (*frame)->arg > s->last_arg;
    s->last_arg = (*frame)->arg;
    s->frames++;
    s->from = from.node;
}

static void
on_link(void *arg, enum link_event event, const struct link_peer *peer)
{
    struct seen *s = arg;

    s->events[event]++;
    s->boot = peer->boot;
    s->epoch = peer->epoch;
}

static void
on_turn(void *arg)
{
    struct seen *s = arg;

    s->turns++;
}

static void
start(struct sim *sim, qr_node_id id, uint16_t shards, struct seen *s)
{
    struct env_handler h = {.arg = s,
                            .kind_first = 16,
                            .kind_limit = 17,
                            .on_frame = on_frame,
                            .on_link = on_link,
                            .on_turn = on_turn};

    memset(s, 0, sizeof *s);
    s->is_ordered = true;
    sim_start(sim, id, shards, NULL);
    s->env = sim_env(sim, id, (uint16_t)(shards - 1));
    env_register(s->env, &h);
}

static bool
post(struct seen *from, qr_node_id to, uint16_t shard, uint64_t arg)
{
    struct frame *f = frame_new(FRAME_RAFT, 16);
    struct address at = {to, shard};

    f->arg = arg;
    f->group = 17;
    return from->env->ops->post(from->env, at, &f);
}

Test(sim_env, links_come_up_after_both_ends_started)
{
    struct sim *sim = sim_new(1);
    struct seen a;
    struct seen b;

    start(sim, 1, 1, &a);
    sim_run(sim, 100000);
    cr_assert_eq(a.events[LINK_UP], 0);
    cr_assert_not(post(&a, 2, 0, 1));
    start(sim, 2, 1, &b);
    sim_run(sim, 200000);
    cr_assert_eq(a.events[LINK_UP], 1);
    cr_assert_eq(b.events[LINK_UP], 1);
    cr_assert(a.env->ops->is_linked(a.env, 2));
    sim_free(&sim);
}

Test(sim_env, frames_arrive_in_order)
{
    struct sim *sim = sim_new(2);
    struct sim_net net = sim_net(sim);
    struct seen a;
    struct seen b;

    net.delay_max_us = 50000;
    sim_set_net(sim, &net);
    start(sim, 1, 1, &a);
    start(sim, 2, 1, &b);
    sim_run(sim, 10000);
    for (uint64_t i = 1; i <= 100; i++) {
        cr_assert(post(&a, 2, 0, i));
    }
    sim_run(sim, 200000);
    cr_assert_eq(b.frames, 100);
    cr_assert(b.is_ordered);
    cr_assert_eq(b.from, 1);
    sim_free(&sim);
}

Test(sim_env, a_frame_for_a_group_goes_to_its_shard)
{
    struct sim *sim = sim_new(3);
    struct seen a;
    struct seen b; /* shard 1 of 2, where group 17 lives */

    start(sim, 1, 1, &a);
    start(sim, 2, 2, &b);
    sim_run(sim, 10000);
    cr_assert(post(&a, 2, FRAME_TO_GROUP, 1));
    cr_assert(post(&a, 2, 0, 2));
    sim_run(sim, 20000);
    cr_assert_eq(b.frames, 1);
    cr_assert_eq(b.last_arg, 1);
    sim_free(&sim);
}

Test(sim_env, a_frame_to_the_own_node_arrives_too)
{
    struct sim *sim = sim_new(4);
    struct seen a;

    start(sim, 1, 1, &a);
    cr_assert(post(&a, 0, 0, 5));
    sim_run(sim, 100);
    cr_assert_eq(a.frames, 1);
    cr_assert_eq(a.from, 1);
    sim_free(&sim);
}

Test(sim_env, some_frames_are_lost_when_they_may_be)
{
    struct sim *sim = sim_new(5);
    struct sim_net net = sim_net(sim);
    struct seen a;
    struct seen b;

    net.loss_per_million = 500000;
    sim_set_net(sim, &net);
    start(sim, 1, 1, &a);
    start(sim, 2, 1, &b);
    sim_run(sim, 10000);
    for (uint64_t i = 1; i <= 100; i++) {
        cr_assert(post(&a, 2, 0, i));
    }
    sim_run(sim, 200000);
    cr_assert_gt(b.frames, 20);
    cr_assert_lt(b.frames, 80);
    cr_assert(b.is_ordered);
    sim_free(&sim);
}

Test(sim_env, a_window_that_is_full_refuses)
{
    struct sim *sim = sim_new(6);
    struct sim_net net = sim_net(sim);
    struct seen a;
    struct seen b;

    net.window_bytes = 3 * FRAME_HEADER_SIZE;
    sim_set_net(sim, &net);
    start(sim, 1, 1, &a);
    start(sim, 2, 1, &b);
    sim_run(sim, 10000);
    for (uint64_t i = 1; i <= 3; i++) {
        cr_assert(post(&a, 2, 0, i));
    }
    cr_assert_eq(a.env->ops->backlog(a.env, 2, FRAME_RAFT),
                 3 * FRAME_HEADER_SIZE);
    cr_assert_not(post(&a, 2, 0, 4));
    sim_run(sim, 20000);
    cr_assert(post(&a, 2, 0, 5));
    sim_free(&sim);
}

Test(sim_env, a_pause_keeps_the_order_however_it_ends)
{
    struct sim *sim = sim_new(7);
    struct seen a;
    struct seen b;

    start(sim, 1, 1, &a);
    start(sim, 2, 1, &b);
    sim_run(sim, 10000);
    sim_pause(sim, 2, 1000000);
    cr_assert(post(&b, 2, 0, 1));
    cr_assert(post(&a, 2, 0, 2));
    sim_run(sim, 20000);
    cr_assert_eq(b.frames, 0);
    sim_pause(sim, 2, 0);
    cr_assert(post(&b, 2, 0, 3));
    cr_assert(post(&a, 2, 0, 4));
    sim_run(sim, 30000);
    cr_assert_eq(b.frames, 4);
    cr_assert(b.is_ordered);
    sim_free(&sim);
}

Test(sim_env, what_a_paused_node_was_to_do_dies_with_it)
{
    struct sim *sim = sim_new(8);
    struct seen a;
    struct seen b;

    start(sim, 1, 1, &a);
    start(sim, 2, 1, &b);
    sim_run(sim, 10000);
    sim_pause(sim, 2, 1000000);
    cr_assert(post(&a, 2, 0, 1));
    sim_run(sim, 20000);
    sim_stop(sim, 2);
    start(sim, 2, 1, &b);
    sim_run(sim, 900000);
    cr_assert_eq(b.frames, 0);
    cr_assert_eq(b.events[LINK_UP], 1);
    sim_free(&sim);
}

Test(sim_env, a_node_that_dies_is_refused_and_comes_back)
{
    struct sim *sim = sim_new(7);
    struct seen a;
    struct seen b;
    uint64_t epoch;

    start(sim, 1, 1, &a);
    start(sim, 2, 1, &b);
    sim_run(sim, 10000);
    epoch = a.epoch;
    cr_assert(post(&a, 2, 0, 1));
    sim_stop(sim, 2);
    cr_assert_not(sim_is_up(sim, 2));
    sim_run(sim, 20000);
    cr_assert_eq(b.frames, 0, "a dead node hears nothing");
    cr_assert_eq(a.events[LINK_DOWN], 1);
    cr_assert_eq(a.events[LINK_REFUSED], 1);
    cr_assert_not(post(&a, 2, 0, 2));
    start(sim, 2, 1, &b);
    sim_run(sim, 40000);
    cr_assert_eq(a.events[LINK_UP], 2);
    cr_assert_eq(a.boot, 2);
    cr_assert_gt(a.epoch, epoch);
    cr_assert_eq(b.frames, 0, "what was sent before is lost");
    sim_free(&sim);
}

Test(sim_env, a_way_that_is_cut_falls_silent_and_heals)
{
    struct sim *sim = sim_new(8);
    struct seen a;
    struct seen b;

    start(sim, 1, 1, &a);
    start(sim, 2, 1, &b);
    sim_run(sim, 10000);
    sim_cut(sim, 1, 2, true);
    cr_assert(post(&a, 2, 0, 1));
    cr_assert(post(&b, 1, 0, 1));
    sim_run(sim, 20000);
    cr_assert_eq(b.frames, 0);
    cr_assert_eq(a.frames, 1, "the other direction is whole");
    cr_assert_eq(a.events[LINK_SILENT], 0);
    sim_run(sim, 2000000);
    cr_assert_eq(a.events[LINK_SILENT], 1);
    cr_assert_eq(b.events[LINK_SILENT], 1);
    cr_assert_eq(a.events[LINK_DOWN], 0);
    sim_run(sim, 6000000);
    cr_assert_eq(a.events[LINK_SILENT], 1);
    cr_assert_eq(a.events[LINK_DOWN], 1);
    cr_assert_eq(b.events[LINK_DOWN], 1);
    sim_heal(sim);
    sim_run(sim, 6100000);
    cr_assert_eq(a.events[LINK_UP], 2);
    cr_assert(post(&a, 2, 0, 2));
    sim_run(sim, 6200000);
    cr_assert_eq(b.frames, 1);
    sim_free(&sim);
}

static void
count(void *arg)
{
    unsigned *n = arg;

    (*n)++;
}

Test(sim_env, timers_wakes_and_calls_make_turns)
{
    struct sim *sim = sim_new(9);
    struct seen a;
    struct timer t;
    unsigned fired = 0;
    unsigned before;

    start(sim, 1, 1, &a);
    sim_run(sim, 1000);
    before = a.turns;
    timer_init(&t, count, &fired);
    timers_start(&a.env->timers, &t, a.env->ops->now_ms(a.env) + 5);
    a.env->ops->wake(a.env);
    sim_run(sim, 3000);
    cr_assert_eq(a.turns, before + 1);
    cr_assert_eq(fired, 0);
    sim_run(sim, 10000);
    cr_assert_eq(fired, 1);
    before = a.turns;
    sim_call(sim, a.env, 100, count, &fired);
    sim_run(sim, 20000);
    cr_assert_eq(fired, 2);
    cr_assert_eq(a.turns, before + 1);
    /* What a node had scheduled dies with it. */
    sim_call(sim, a.env, 100, count, &fired);
    sim_stop(sim, 1);
    /* And what it asks for while it is taken apart. */
    before = a.turns;
    a.env->ops->wake(a.env);
    sim_run(sim, 30000);
    cr_assert_eq(fired, 2);
    cr_assert_eq(a.turns, before);
    sim_free(&sim);
}

struct job {
    struct work work;
    unsigned ran;
    unsigned done;
};

static void
job_run(struct work *w)
{
    ((struct job *)(void *)w)->ran++;
}

static void
job_done(struct work *w)
{
    ((struct job *)(void *)w)->done++;
}

Test(sim_env, slow_work_runs_and_is_done)
{
    struct sim *sim = sim_new(10);
    struct seen a;
    struct job job = {.work = {.run = job_run, .done = job_done}};

    start(sim, 1, 1, &a);
    a.env->ops->work(a.env, &job.work);
    cr_assert_eq(job.ran, 0);
    sim_run(sim, 10000);
    cr_assert_eq(job.ran, 1);
    cr_assert_eq(job.done, 1);
    sim_free(&sim);
}

static uint64_t
trace_of(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    struct sim_net net = sim_net(sim);
    struct seen a;
    struct seen b;
    struct sim_stats st;
    uint64_t random;

    net.loss_per_million = 300000;
    sim_set_net(sim, &net);
    start(sim, 1, 1, &a);
    start(sim, 2, 1, &b);
    sim_run(sim, 10000);
    for (uint64_t i = 1; i <= 50; i++) {
        (void)post(&a, 2, 0, i);
        sim_run(sim, sim_now_us(sim) + 100);
    }
    a.env->ops->random(a.env, &random, sizeof random);
    sim_stats(sim, &st);
    random ^= st.events * 31 + st.turns * 17 + b.frames;
    sim_free(&sim);
    return random;
}

Test(sim_env, the_same_seed_is_the_same_run)
{
    cr_assert_eq(trace_of(11), trace_of(11));
    cr_assert_neq(trace_of(11), trace_of(12));
}

struct lines {
    unsigned count;
    qr_node_id node;
    uint64_t now_us;
    char text[SIM_TRACE_LINE_SIZE];
};

static void
on_line(void *arg, uint64_t now_us, qr_node_id node, const char *text)
{
    struct lines *l = arg;

    l->count++;
    l->node = node;
    l->now_us = now_us;
    (void)snprintf(l->text, sizeof(l->text), "%s", text);
}

Test(sim_env, what_happens_can_be_read)
{
    struct sim *sim = sim_new(12);
    struct lines lines = {0};
    char longer[2 * SIM_TRACE_LINE_SIZE];

    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    sim_trace(sim, 1, "nobody reads this");
    sim_set_trace(sim, on_line, &lines);
    sim_run(sim, 1000);
    sim_trace(sim, 3, "it %s", "rains");
    cr_assert_eq(lines.count, 1);
    cr_assert_eq(lines.node, 3);
    cr_assert_eq(lines.now_us, 1000);
    cr_assert_str_eq(lines.text, "it rains");
    sim_trace(sim, 0, "%s", longer);
    cr_assert_eq(strlen(lines.text), SIM_TRACE_LINE_SIZE - 1);
    sim_free(&sim);
}
