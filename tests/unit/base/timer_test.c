/* Timers: order, limits, and callbacks that meddle. */
#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/timer.h"
#include "lib/harness.h"

/* A timer that leaves its name in a common text when it runs. */
struct probe {
    struct timer timer;
    struct timers *ts;
    char name;
    char *trace;
    uint64_t again_ms;    /* start itself again at; 0: do not */
    struct probe *victim; /* stop this one; NULL: none */
};

static void
probe_run(void *arg)
{
    struct probe *p = arg;
    size_t size = strlen(p->trace);

    p->trace[size] = p->name;
    p->trace[size + 1] = '\0';
    cr_assert(!timer_is_running(&p->timer));
    if (p->victim != NULL) {
        timers_stop(p->ts, &p->victim->timer);
    }
    if (p->again_ms != 0) {
        timers_start(p->ts, &p->timer, p->again_ms);
    }
}

static void
probes_init(struct probe *probes, size_t count, struct timers *ts, char *trace)
{
    timers_init(ts);
    trace[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        probes[i] = (struct probe){.ts = ts, .trace = trace};
        probes[i].name = (char)('a' + (char)i);
        timer_init(&probes[i].timer, probe_run, &probes[i]);
    }
}

Test(timer, does_nothing_when_none_runs)
{
    struct timers ts;
    uint64_t due = 5;

    timers_init(&ts);
    cr_assert(!timers_next(&ts, &due));
    cr_assert_eq(due, 5);
    cr_assert_eq(timers_run(&ts, UINT64_MAX, 10), 0);
    timers_deinit(&ts);
}

Test(timer, runs_those_due_by_time_and_then_by_start)
{
    struct probe p[4];
    struct timers ts;
    char trace[20];
    uint64_t due = 0;

    probes_init(p, 4, &ts, trace);
    timers_start(&ts, &p[0].timer, 30);
    timers_start(&ts, &p[1].timer, 10);
    timers_start(&ts, &p[2].timer, 20);
    timers_start(&ts, &p[3].timer, 10);
    cr_assert(timers_next(&ts, &due));
    cr_assert_eq(due, 10);
    cr_assert_eq(timers_run(&ts, 9, 10), 0);
    cr_assert_eq(timers_run(&ts, 20, 10), 3);
    cr_assert_str_eq(trace, "bdc");
    cr_assert(timers_next(&ts, &due));
    cr_assert_eq(due, 30);
    cr_assert(timer_is_running(&p[0].timer));
    timers_deinit(&ts);
    cr_assert(!timer_is_running(&p[0].timer));
}

Test(timer, runs_no_more_than_asked)
{
    struct probe p[3];
    struct timers ts;
    char trace[20];

    probes_init(p, 3, &ts, trace);
    for (size_t i = 0; i < 3; i++) {
        timers_start(&ts, &p[i].timer, 1);
    }
    cr_assert_eq(timers_run(&ts, 1, 2), 2);
    cr_assert_str_eq(trace, "ab");
    cr_assert_eq(timers_run(&ts, 1, 2), 1);
    cr_assert_str_eq(trace, "abc");
    timers_deinit(&ts);
}

Test(timer, starts_anew_when_started_twice)
{
    struct probe p[1];
    struct timers ts;
    char trace[20];

    probes_init(p, 1, &ts, trace);
    timers_start(&ts, &p[0].timer, 10);
    timers_start(&ts, &p[0].timer, 20);
    cr_assert_eq(timers_run(&ts, 19, 10), 0);
    cr_assert_eq(timers_run(&ts, 20, 10), 1);
    timers_deinit(&ts);
}

Test(timer, stops_and_stops_again)
{
    struct probe p[1];
    struct timers ts;
    char trace[20];

    probes_init(p, 1, &ts, trace);
    timers_stop(&ts, &p[0].timer);
    timers_start(&ts, &p[0].timer, 10);
    timers_stop(&ts, &p[0].timer);
    timers_stop(&ts, &p[0].timer);
    cr_assert_eq(timers_run(&ts, 20, 10), 0);
    timers_deinit(&ts);
}

Test(timer, may_stop_another_that_is_due)
{
    struct probe p[2];
    struct timers ts;
    char trace[20];

    probes_init(p, 2, &ts, trace);
    p[0].victim = &p[1];
    timers_start(&ts, &p[0].timer, 10);
    timers_start(&ts, &p[1].timer, 10);
    cr_assert_eq(timers_run(&ts, 10, 10), 1);
    cr_assert_str_eq(trace, "a");
    timers_deinit(&ts);
}

Test(timer, that_restarts_in_the_past_starves_nobody)
{
    struct probe p[3];
    struct timers ts;
    char trace[20];
    uint64_t due = 0;

    probes_init(p, 3, &ts, trace);
    p[0].again_ms = 1;
    for (size_t i = 0; i < 3; i++) {
        timers_start(&ts, &p[i].timer, 5 + i);
    }
    cr_assert_eq(timers_run(&ts, 7, 10), 3);
    cr_assert_str_eq(trace, "abc");
    cr_assert(timers_next(&ts, &due));
    cr_assert_eq(due, 7);
    cr_assert_eq(timers_run(&ts, 8, 10), 1);
    cr_assert_str_eq(trace, "abca");
    timers_deinit(&ts);
}

static void
free_run(void *arg)
{
    mem_free(arg);
}

Test(timer, may_be_freed_by_its_callback)
{
    struct timer *t = mem_alloc(sizeof(*t));
    struct timers ts;

    timers_init(&ts);
    timer_init(t, free_run, t);
    timers_start(&ts, t, 1);
    cr_assert_eq(timers_run(&ts, 1, 10), 1);
    timers_deinit(&ts);
}

enum {
    MANY = 300
};

/* A timer of the model, and when it should run; 0: it does not. */
struct modelled {
    struct timer timer;
    uint64_t due_ms;
};

static void
modelled_run(void *arg)
{
    struct modelled *m = arg;

    cr_assert_neq(m->due_ms, 0, "called although stopped");
    m->due_ms = 0;
}

/* When the first of ALL is due, 0 for never. */
static uint64_t
modelled_next(const struct modelled *all)
{
    uint64_t next = 0;

    for (size_t i = 0; i < MANY; i++) {
        if (all[i].due_ms != 0 && (next == 0 || all[i].due_ms < next)) {
            next = all[i].due_ms;
        }
    }
    return next;
}

Test(timer, matches_a_searched_array)
{
    static struct modelled all[MANY];
    struct timers ts;
    struct rng r;
    uint64_t now = 1;

    rng_init(&r, 17);
    timers_init(&ts);
    for (size_t i = 0; i < MANY; i++) {
        timer_init(&all[i].timer, modelled_run, &all[i]);
    }
    for (unsigned step = 0; step < 20000; step++) {
        struct modelled *m = &all[rng_below(&r, MANY)];
        uint64_t due = 0;

        if (rng_chance(&r, 300000)) {
            timers_stop(&ts, &m->timer);
            m->due_ms = 0;
        } else {
            m->due_ms = now + rng_below(&r, 100);
            timers_start(&ts, &m->timer, m->due_ms);
        }
        if (rng_chance(&r, 50000)) {
            now += rng_below(&r, 20);
            (void)timers_run(&ts, now, MANY);
            cr_assert(modelled_next(all) == 0 || modelled_next(all) > now);
        }
        cr_assert_eq(timers_next(&ts, &due), modelled_next(all) != 0);
        cr_assert_eq(due, modelled_next(all));
    }
    timers_deinit(&ts);
}

static void
nested_run(void *arg)
{
    (void)timers_run(arg, 1, 1);
}

Test(timer, refuses_to_run_within_a_run, .signal = SIGABRT)
{
    struct timer t;
    struct timers ts;

    timers_init(&ts);
    timer_init(&t, nested_run, &ts);
    timers_start(&ts, &t, 1);
    (void)timers_run(&ts, 1, 1);
}

Test(timer, refuses_to_run_none, .signal = SIGABRT)
{
    struct timers ts;

    timers_init(&ts);
    (void)timers_run(&ts, 1, 0);
}

Test(timer, refuses_to_call_nothing, .signal = SIGABRT)
{
    struct timer t;

    timer_init(&t, NULL, NULL);
}
