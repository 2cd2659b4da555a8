/* Runs in processes of their own, and plans made smaller. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "lib/harness.h"
#include "sim/sim_job.h"
#include "sim/sim_shrink.h"
#include "sim/sim_total.h"

static void
expect_contract(const char *violation, const char *contract)
{
    char out[SIM_CONTRACT_SIZE];

    sim_contract(violation, out);
    cr_assert_str_eq(out, contract);
}

Test(sim_shrink, a_violation_names_its_contract)
{
    expect_contract("I4: queue 1 delivered message 7 again", "I4");
    expect_contract("src/a/b.c:17: check failed: x: 3", "src/a/b.c:17");
    expect_contract("stuck: it ran for 300 s", "stuck");
    expect_contract("nothing", "nothing");
}

static struct sim_plan *
plan(uint64_t seed)
{
    struct sim_wishes wishes = {.seed = seed, .nodes = 3, .seconds = 5};
    struct sim_plan *p = mem_zalloc(1, sizeof(*p));

    sim_plan_make(p, &wishes);
    return p;
}

Test(sim_shrink, a_run_in_a_process_of_its_own_is_the_same)
{
    struct sim_plan *p = plan(3);
    struct sim_world_config config = {.plan = p};
    struct sim_world_result here;
    struct sim_world_result there;

    sim_world_run(&config, &here);
    cr_assert_eq(sim_job_run(&config, &there), 0);
    cr_assert_eq(here.trace, there.trace);
    cr_assert_eq(here.confirmed, there.confirmed);
    cr_assert_str_eq(there.violation, "");
    mem_free(p);
}

/* A crash of a node that does not exist fails an assertion: a plan that fails
 * by one fault of many. */
Test(sim_shrink, only_what_is_needed_remains)
{
    struct sim_plan *p = plan(5);
    struct sim_world_config config = {.plan = p};
    struct sim_shrink shrink = {.runs_max = 100, .seconds_max = 60};
    struct sim_world_result result;

    p->faults_count = 8;
    for (size_t i = 0; i < p->faults_count; i++) {
        struct sim_fault *f = &p->faults[i];

        memset(f, 0, sizeof(*f));
        f->number = (uint32_t)i + 1;
        f->kind = SIM_CLOCK;
        f->node = 1;
        f->at_us = 3000000 + i * 100000;
    }
    p->faults[5].node = 77;
    cr_assert_eq(sim_job_run(&config, &result), 0);
    cr_assert_not_null(strstr(result.violation, "sim_fault.c"), "%s",
                       result.violation);
    sim_shrink(p, &result, &shrink);
    cr_assert_eq(p->faults_count, 1);
    cr_assert_eq(p->faults[0].number, 6);
    cr_assert_eq(p->clients, 1);
    cr_assert_gt(shrink.runs, 3);
    mem_free(p);
}

Test(sim_shrink, no_more_runs_than_allowed)
{
    struct sim_plan *p = plan(5);
    struct sim_shrink shrink = {.runs_max = 2, .seconds_max = 60};
    struct sim_world_result result = {.violation = "I1: made up"};
    size_t count = p->faults_count;

    sim_shrink(p, &result, &shrink);
    cr_assert_eq(shrink.runs, 2);
    cr_assert_eq(p->faults_count, count, "nothing else fails like that");
    mem_free(p);
}

Test(sim_shrink, totals_add_up)
{
    struct sim_world_result good = {.published = 3, .virtual_us = 1000000};
    struct sim_world_result bad = {.published = 4, .violation = "I1: x"};
    struct sim_total t = {0};
    struct buf b;

    good.faults[SIM_CRASH] = 2;
    sim_total_add(&t, &good);
    sim_total_add(&t, &bad);
    cr_assert_eq(t.seeds, 2);
    cr_assert_eq(t.failed, 1);
    buf_init(&b);
    sim_total_print_keys(&t, 2.0, &b);
    buf_putf(&b, "%c", 0);
    cr_assert_not_null(strstr((const char *)b.data, " published=7 "));
    cr_assert_not_null(strstr((const char *)b.data, " crash=2\n"));
    cr_assert_not_null(strstr((const char *)b.data, " failed=1 "));
    buf_deinit(&b);
}
