/* The runtime: turns, mailboxes, timers, slow work, links between nodes; with
 * one shard and with several, each on its own thread. */
#include <poll.h>
#include <quorate/error.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "lib/harness.h"
#include "net/listener.h"
#include "net/net.h"
#include "shard/runtime.h"
#include "shard/shard.h"

enum {
    NODES_MAX = 2,
    SHARDS_TEST_MAX = 4,
    DEADLINE_MS = 20000
};

enum {
    KIND_COUNT = FRAME_BROKER_FIRST, /* counted */
    KIND_ECHO,                       /* sent back as KIND_COUNT */
    KIND_HOLD,                       /* hold the shard until `gate` */
    KIND_SEND                        /* send arg frames to node 2, shard 1 */
};

struct node;

/* What one shard saw. Written on its thread. */
struct seen {
    struct node *node;
    struct env *env;
    _Atomic uint64_t frames;
    _Atomic uint64_t turns;
    _Atomic uint64_t ups;
    _Atomic uint64_t downs;
    uint64_t last_arg[NODES_MAX + 1][SHARDS_TEST_MAX];
    _Atomic bool disorder;
    _Atomic bool wrong_shard;
    _Atomic int starts;
    _Atomic int stops;
    _Atomic int frees;
    struct timer timer;
    _Atomic uint64_t timer_fired_at;
};

struct node {
    uv_sem_t gate;
    struct runtime *rt;
    struct seen seen[SHARDS_TEST_MAX];
    int fail_start_of; /* shard whose on_start fails; -1: none */
};

static uint64_t
node_of(const struct env *env, qr_node_id node)
{
    return node == 0 ? env->node : node;
}

static void
post(struct env *env, qr_node_id node, uint16_t shard, uint16_t kind,
     uint64_t arg)
{
    struct frame *f = frame_new(FRAME_CALL, kind);
    struct address to = {.node = node, .shard = shard};

    f->arg = arg;
    f->group = QR_GROUP_FIRST_QUEUE + arg;
    if (!env->ops->post(env, to, &f)) {
        cr_assert_null(f);
    }
}

static void
on_frame(void *arg, struct address from, struct frame **frame)
{
    struct seen *s = arg;
    struct frame *f = *frame;
    uint64_t *last = NULL;

    if (f->kind == KIND_ECHO) {
        post(s->env, from.node, from.shard, KIND_COUNT, f->arg);
        return;
    }
    if (f->kind == KIND_HOLD) {
        uv_sem_wait(&s->node->gate);
        return;
    }
    if (f->kind == KIND_SEND) {
        for (uint64_t i = 1; i <= f->arg; i++) {
            post(s->env, 2, 1, KIND_COUNT, i);
        }
        return;
    }
    last = &s->last_arg[node_of(s->env, from.node)][from.shard];
    if (f->to_shard != FRAME_TO_GROUP) {
        if (f->arg <= *last) {
            atomic_store(&s->disorder, true);
        }
        *last = f->arg;
    } else if (env_shard_of(f->group, s->env->shards) != s->env->shard) {
        atomic_store(&s->wrong_shard, true);
    }
    atomic_fetch_add(&s->frames, 1);
}

static void
on_link(void *arg, enum link_event event, const struct link_peer *peer)
{
    struct seen *s = arg;

    cr_assert_eq(s->env->ops->is_linked(s->env, peer->node), event == LINK_UP);
    if (event == LINK_UP) {
        atomic_fetch_add(&s->ups, 1);
    } else if (event == LINK_DOWN) {
        atomic_fetch_add(&s->downs, 1);
    }
}

static void
on_turn(void *arg)
{
    struct seen *s = arg;

    atomic_fetch_add(&s->turns, 1);
}

static void
on_timer(void *arg)
{
    struct seen *s = arg;

    atomic_store(&s->timer_fired_at, s->env->ops->now_ms(s->env));
}

static int
on_start(void *arg, struct env *env, struct error *err)
{
    struct node *n = arg;
    struct seen *s = &n->seen[env->shard];
    struct env_handler handler = {.arg = s,
                                  .kind_first = FRAME_BROKER_FIRST,
                                  .kind_limit = FRAME_MGMT_FIRST,
                                  .on_frame = on_frame,
                                  .on_link = on_link,
                                  .on_turn = on_turn};

    if (n->fail_start_of == env->shard) {
        return error_set(err, QR_EIO, "shard %u does not want to", env->shard);
    }
    s->node = n;
    s->env = env;
    atomic_fetch_add(&s->starts, 1);
    env_register(env, &handler);
    timer_init(&s->timer, on_timer, s);
    return 0;
}

static void
on_stop(void *arg, struct env *env)
{
    struct node *n = arg;

    atomic_fetch_add(&n->seen[env->shard].stops, 1);
}

static void
on_free(void *arg, struct env *env)
{
    struct node *n = arg;

    cr_assert_eq(atomic_load(&n->seen[env->shard].stops), 1);
    atomic_fetch_add(&n->seen[env->shard].frees, 1);
}

static void
on_log(void *arg, enum log_level level, const char *category, const char *text)
{
    (void)arg;
    (void)level;
    (void)category;
    (void)text;
}

static const struct logger quiet = {on_log, NULL, LOG_WARNING};

static void
node_new(struct node *n, qr_node_id id, uint16_t shards)
{
    struct runtime_config config = {.shards = shards, .log = &quiet};
    struct secret secret;
    struct error err;

    memset(n, 0, sizeof(*n));
    n->fail_start_of = -1;
    cr_assert_eq(secret_derive("0123456789abcdef", 16, &secret, &err), 0);
    config.identity.node = id;
    config.identity.starts.boot = 1;
    memset(config.identity.uuid.bytes, (int)id, 16);
    snprintf(config.identity.node_name, sizeof(config.identity.node_name),
             "n%u", id);
    config.proof.secret = &secret;
    config.limits.dial_min_ms = 5;
    config.limits.window[FRAME_CALL] = 1 << 20;
    config.events = (struct runtime_events){
        .arg = n, .on_start = on_start, .on_stop = on_stop, .on_free = on_free};
    n->rt = runtime_new(&config);
}

static void
node_start(struct node *n, qr_node_id id, uint16_t shards)
{
    struct error err;

    node_new(n, id, shards);
    cr_assert_eq(runtime_start(n->rt, &err), 0, "%s", err.text);
}

/* Step the runtimes of NODES, and wait a little when none has anything. */
static void
step(struct node *nodes, size_t count)
{
    struct pollfd fds[NODES_MAX];

    for (size_t i = 0; i < count; i++) {
        cr_assert(runtime_step(nodes[i].rt, false));
        fds[i].fd = uv_backend_fd(runtime_loop(nodes[i].rt, 0));
        fds[i].events = POLLIN;
    }
    poll(fds, (nfds_t)count, 1);
}

#define STEP_UNTIL(nodes, count, cond)                                     \
    do {                                                                   \
        uint64_t deadline = uv_hrtime() + (uint64_t)DEADLINE_MS * 1000000; \
        while (!(cond)) {                                                  \
            step((nodes), (count));                                        \
            cr_assert(uv_hrtime() < deadline, "deadline");                 \
        }                                                                  \
    } while (0)

static void
node_stop(struct node *n)
{
    runtime_stop_mt(n->rt);
    runtime_stop_mt(n->rt);
    runtime_run(n->rt);
    cr_expect(!runtime_step(n->rt, false));
    runtime_free(&n->rt);
    cr_expect_null(n->rt);
    for (size_t i = 0; i < SHARDS_TEST_MAX; i++) {
        struct seen *s = &n->seen[i];

        cr_expect_eq(s->starts, s->stops);
        cr_expect_eq(s->starts, s->frees);
        cr_expect(!s->disorder);
        cr_expect(!s->wrong_shard);
    }
}

Test(runtime, starts_and_stops_without_a_frame)
{
    for (uint16_t shards = 1; shards <= (uint16_t)SHARDS_TEST_MAX; shards++) {
        struct node n;

        node_start(&n, 1, shards);
        node_stop(&n);
        cr_expect_eq(n.seen[shards - 1].starts, 1);
    }
}

Test(runtime, can_be_freed_without_a_start)
{
    struct node n;

    node_new(&n, 1, 3);
    runtime_free(&n.rt);
    cr_expect_eq(n.seen[0].starts, 0);
}

Test(runtime, undoes_a_start_that_fails_on_any_shard)
{
    for (int failing = 0; failing < 3; failing++) {
        struct node n;
        struct error err;

        node_new(&n, 1, 3);
        n.fail_start_of = failing;
        error_clear(&err);
        cr_expect_eq(runtime_start(n.rt, &err), -QR_EIO);
        cr_expect_not_null(strstr(err.text, "does not want to"));
        runtime_free(&n.rt);
        for (int i = 0; i < 3; i++) {
            cr_expect_eq(n.seen[i].starts, i < failing ? 1 : 0);
            cr_expect_eq(n.seen[i].starts, n.seen[i].frees);
        }
    }
}

Test(runtime, hands_frames_to_its_own_shard_in_order)
{
    struct node n;
    struct env *env = NULL;

    node_start(&n, 1, 1);
    env = runtime_env(n.rt, 0);
    for (uint64_t i = 1; i <= 3; i++) {
        post(env, 0, 0, KIND_COUNT, i);
    }
    cr_expect_eq(n.seen[0].frames, 0, "not within the call");
    STEP_UNTIL(&n, 1, n.seen[0].frames == 3);
    post(env, 1, 0, KIND_ECHO, 4); /* answered in the next turn */
    STEP_UNTIL(&n, 1, n.seen[0].frames == 4);
    node_stop(&n);
}

Test(runtime, carries_frames_between_shards)
{
    struct node n;
    struct env *env = NULL;

    node_start(&n, 1, 3);
    env = runtime_env(n.rt, 0);
    for (uint64_t i = 1; i <= 3000; i++) {
        post(env, 0, 1, KIND_ECHO, i);
        post(env, 0, 2, KIND_ECHO, i);
        if (i % 100 == 0) {
            step(&n, 1);
        }
    }
    STEP_UNTIL(&n, 1, n.seen[0].frames == 6000);
    node_stop(&n);
}

Test(runtime, finds_the_shard_of_a_group)
{
    struct node n;

    node_start(&n, 1, 4);
    for (uint64_t i = 0; i < 400; i++) {
        post(runtime_env(n.rt, 0), 0, FRAME_TO_GROUP, KIND_COUNT, i);
    }
    STEP_UNTIL(&n, 1,
               n.seen[0].frames + n.seen[1].frames + n.seen[2].frames +
                       n.seen[3].frames ==
                   400);
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(n.seen[i].frames, 100);
    }
    node_stop(&n);
}

Test(runtime, refuses_frames_beyond_a_mailbox_s_window)
{
    struct node n;
    struct env *env = NULL;
    struct frame *f = NULL;
    struct address to = {.node = 0, .shard = 0};
    size_t taken = 0;
    bool ok = true;

    node_start(&n, 1, 1);
    env = runtime_env(n.rt, 0);
    while (ok) {
        f = frame_new(FRAME_CALL, KIND_COUNT);
        f->arg = taken + 1;
        frame_add(f, slice_of_block(block_new(10000)));
        ok = env->ops->post(env, to, &f);
        taken += ok;
    }
    cr_expect_null(f);
    cr_expect_eq(taken, (1 << 20) / (10000 + FRAME_HEADER_SIZE));
    cr_expect_gt(env->ops->backlog(env, 0, FRAME_CALL), 1000000);
    f = frame_new(FRAME_RAFT, KIND_COUNT);
    f->arg = taken + 1;
    cr_expect(env->ops->post(env, to, &f), "another class has its own");
    STEP_UNTIL(&n, 1, n.seen[0].frames == taken + 1);
    cr_expect_eq(env->ops->backlog(env, 0, FRAME_CALL), 0);
    node_stop(&n);
}

Test(runtime, refuses_shards_and_nodes_that_are_not_there)
{
    struct node n;
    struct env *env = NULL;
    struct frame *f = frame_new(FRAME_CALL, KIND_COUNT);
    struct address nowhere = {.node = 0, .shard = 7};
    struct address nobody = {.node = 9, .shard = 0};

    node_start(&n, 1, 2);
    env = runtime_env(n.rt, 0);
    cr_expect(!env->ops->post(env, nowhere, &f));
    cr_expect_null(f);
    f = frame_new(FRAME_CALL, KIND_COUNT);
    cr_expect(!env->ops->post(env, nobody, &f));
    cr_expect_null(f);
    cr_expect(!env->ops->is_linked(env, 9));
    cr_expect(env->ops->is_linked(env, 1));
    cr_expect_eq(env->ops->backlog(env, 9, FRAME_CALL), 0);
    node_stop(&n);
}

Test(runtime, runs_timers_when_they_are_due)
{
    struct node n;
    struct env *env = NULL;
    uint64_t due = 0;

    node_start(&n, 1, 1);
    env = runtime_env(n.rt, 0);
    due = env->ops->now_ms(env) + 30;
    timers_start(&env->timers, &n.seen[0].timer, due);
    for (int i = 0; n.seen[0].timer_fired_at == 0; i++) {
        cr_assert(runtime_step(n.rt, true)); /* waits by the timer alone */
        cr_assert_lt(i, 1000);
    }
    cr_expect_geq(n.seen[0].timer_fired_at, due);
    cr_expect_lt(n.seen[0].timer_fired_at, due + 1000);
    node_stop(&n);
}

Test(runtime, runs_a_turn_when_asked_and_sleeps_otherwise)
{
    struct node n;
    struct env *env = NULL;
    uint64_t turns = 0;

    node_start(&n, 1, 1);
    env = runtime_env(n.rt, 0);
    STEP_UNTIL(&n, 1, n.seen[0].turns > 1);
    turns = n.seen[0].turns;
    env->ops->wake(env);
    cr_assert(runtime_step(n.rt, true)); /* would hang if it slept */
    cr_expect_eq(n.seen[0].turns, turns + 1);
    timers_start(&env->timers, &n.seen[0].timer, env->ops->now_ms(env) + 50);
    turns = n.seen[0].turns;
    while (n.seen[0].timer_fired_at == 0) {
        cr_assert(runtime_step(n.rt, true));
    }
    cr_expect_lt(n.seen[0].turns - turns, 20, "it does not spin");
    node_stop(&n);
}

Test(runtime, tells_the_time)
{
    struct node n;
    struct env *env = NULL;
    uint8_t a[16] = {0};
    uint8_t b[16] = {0};

    node_start(&n, 1, 1);
    env = runtime_env(n.rt, 0);
    cr_expect_gt(env->ops->now_us(env), 0);
    cr_expect_gt(env->ops->wall_ms(env), (uint64_t)1700000000 * 1000);
    env->ops->random(env, a, sizeof(a));
    env->ops->random(env, b, sizeof(b));
    cr_expect_neq(memcmp(a, b, sizeof(a)), 0);
    node_stop(&n);
}

struct job {
    struct work work;
    _Atomic int *done;
    int ran;
};

static void
job_run(struct work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);

    j->ran++;
}

static void
job_done(struct work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);

    cr_assert_eq(j->ran, 1);
    atomic_fetch_add(j->done, 1);
}

Test(runtime, does_slow_work_beside_the_loop)
{
    enum {
        JOBS = RUNTIME_WORK_INFLIGHT_MAX * 3
    };
    struct node n;
    struct env *env = NULL;
    struct job *jobs = mem_zalloc(JOBS, sizeof(*jobs));
    _Atomic int done = 0;

    node_start(&n, 1, 1);
    env = runtime_env(n.rt, 0);
    for (int i = 0; i < JOBS; i++) {
        jobs[i].work.run = job_run;
        jobs[i].work.done = job_done;
        jobs[i].done = &done;
        env->ops->work(env, &jobs[i].work);
    }
    cr_expect_eq(done, 0);
    STEP_UNTIL(&n, 1, done == JOBS);
    /* What is under way at the end is finished, too. */
    jobs[0].ran = 0;
    env->ops->work(env, &jobs[0].work);
    node_stop(&n);
    cr_expect_eq(done, JOBS + 1);
    mem_free(jobs);
}

/* Link two runtimes. */
static void
link_nodes(struct node *nodes, uint16_t shards)
{
    uint16_t ports[NODES_MAX];

    for (qr_node_id id = 1; id <= NODES_MAX; id++) {
        struct error err;
        int fd = -1;

        node_start(&nodes[id - 1], id, shards);
        cr_assert_eq(listener_bind_tcp("127.0.0.1", 0, &fd, &err), 0);
        ports[id - 1] = listener_fd_port(fd);
        cr_assert_eq(peers_listen(runtime_peers(nodes[id - 1].rt), fd, &err),
                     0);
    }
    for (qr_node_id id = 1; id <= NODES_MAX; id++) {
        qr_node_id other = 3 - id;
        struct error err;

        cr_assert_eq(peers_add(runtime_peers(nodes[id - 1].rt), other,
                               other == 1 ? "n1" : "n2", "127.0.0.1",
                               ports[other - 1], &err),
                     0);
    }
    for (uint16_t i = 0; i < shards; i++) {
        STEP_UNTIL(nodes, NODES_MAX,
                   nodes[0].seen[i].ups == 1 && nodes[1].seen[i].ups == 1);
    }
}

static void
check_linked(uint16_t shards)
{
    static struct node nodes[NODES_MAX];
    struct env *env = NULL;
    uint16_t last = (uint16_t)(shards - 1);

    link_nodes(nodes, shards);
    env = runtime_env(nodes[0].rt, 0);
    cr_expect(env->ops->is_linked(env, 2));
    for (uint64_t i = 1; i <= 2000; i++) {
        for (uint16_t s = 0; s < shards; s++) {
            post(env, 2, s, KIND_ECHO, i);
        }
        if (i % 50 == 0) {
            step(nodes, NODES_MAX);
        }
    }
    STEP_UNTIL(nodes, NODES_MAX,
               nodes[0].seen[0].frames == (uint64_t)2000 * shards);
    for (uint64_t i = 0; i < 100; i++) {
        post(env, 2, FRAME_TO_GROUP, KIND_COUNT, i);
    }
    STEP_UNTIL(nodes, NODES_MAX,
               nodes[1].seen[0].frames +
                       (shards > 1 ? nodes[1].seen[last].frames : 0) ==
                   100);
    node_stop(&nodes[1]);
    for (uint16_t i = 0; i < shards; i++) {
        STEP_UNTIL(nodes, 1, nodes[0].seen[i].downs == 1);
    }
    cr_expect(!env->ops->is_linked(env, 2));
    node_stop(&nodes[0]);
}

Test(runtime, links_nodes_of_one_shard)
{
    check_linked(1);
}

Test(runtime, links_nodes_of_two_shards)
{
    check_linked(2);
}

Test(runtime, sends_to_other_nodes_from_any_shard)
{
    static struct node nodes[NODES_MAX];

    link_nodes(nodes, 2);
    post(runtime_env(nodes[0].rt, 0), 0, 1, KIND_SEND, 1000);
    STEP_UNTIL(nodes, NODES_MAX, nodes[1].seen[1].frames == 1000);
    node_stop(&nodes[0]);
    node_stop(&nodes[1]);
}

Test(runtime, does_not_read_links_for_a_shard_that_does_not_keep_up)
{
    static struct node nodes[NODES_MAX];
    struct env *env = NULL;
    uint64_t sent = 0;
    struct link_gauge *gauge = NULL;

    link_nodes(nodes, 2);
    env = runtime_env(nodes[0].rt, 0);
    gauge = &CONTAINER_OF(runtime_env(nodes[1].rt, 1), struct shard, env)
                 ->box.gauge;
    cr_assert_eq(uv_sem_init(&nodes[1].gate, 0), 0);
    post(env, 2, 1, KIND_HOLD, 0);
    for (int i = 0; i < 3000; i++) {
        struct frame *f = frame_new(FRAME_CALL, KIND_COUNT);
        struct address to = {.node = 2, .shard = 1};

        f->arg = sent + 1;
        frame_add(f, slice_of_block(block_new(10000)));
        memset(f->content[0].block->data, 0, 10000);
        sent += env->ops->post(env, to, &f);
        step(nodes, NODES_MAX);
        cr_assert_lt(gauge->waiting[FRAME_CALL], 4 << 20);
    }
    cr_expect_gt(gauge->waiting[FRAME_CALL], gauge->window[FRAME_CALL] / 2);
    cr_expect_lt(sent, 3000, "the sender is told");
    uv_sem_post(&nodes[1].gate);
    STEP_UNTIL(nodes, NODES_MAX, nodes[1].seen[1].frames == sent);
    cr_expect_eq(nodes[0].seen[0].downs, 0);
    node_stop(&nodes[0]);
    node_stop(&nodes[1]);
    uv_sem_destroy(&nodes[1].gate);
}

Test(runtime, stops_with_frames_under_way)
{
    for (int i = 0; i < 5; i++) {
        static struct node nodes[NODES_MAX];

        link_nodes(nodes, 2);
        for (uint64_t k = 1; k <= 500; k++) {
            post(runtime_env(nodes[0].rt, 0), 2, 1, KIND_ECHO, k);
            post(runtime_env(nodes[0].rt, 0), 0, 1, KIND_ECHO, k);
        }
        for (int k = 0; k < i; k++) {
            step(nodes, NODES_MAX);
        }
        node_stop(&nodes[0]);
        node_stop(&nodes[1]);
    }
}

static void
stopper(void *arg)
{
    runtime_stop_mt(arg);
}

Test(runtime, stops_when_another_thread_says_so)
{
    struct node n;
    uv_thread_t thread;

    node_start(&n, 1, 2);
    cr_assert_eq(uv_thread_create(&thread, stopper, n.rt), 0);
    runtime_run(n.rt);
    uv_thread_join(&thread);
    node_stop(&n);
}
