/* Whole runs: the same seed gives the same trace, seeds that once found
 * something are good (docs/seeds.md), another seed gives another run. */
#include "base/mem.h"
#include "lib/harness.h"
#include "sim/sim_world.h"

static struct sim_world_result
run_plan(const struct sim_wishes *wishes)
{
    struct sim_plan *plan = mem_zalloc(1, sizeof(*plan));
    struct sim_world_config config = {.plan = plan};
    struct sim_world_result result;

    sim_plan_make(plan, wishes);
    sim_world_run(&config, &result);
    mem_free(plan);
    return result;
}

static struct sim_world_result
run(uint64_t seed, uint32_t seconds)
{
    struct sim_wishes wishes = {.seed = seed, .seconds = seconds};

    return run_plan(&wishes);
}

Test(sim_world, the_same_seed_gives_the_same_trace)
{
    for (uint64_t seed = 7; seed < 10; seed++) {
        struct sim_world_result a = run(seed, 8);
        struct sim_world_result b = run(seed, 8);

        cr_assert_eq(a.trace, b.trace, "seed %d", (int)seed);
        cr_assert_eq(a.delivered, b.delivered);
        cr_assert_eq(a.virtual_us, b.virtual_us);
    }
}

Test(sim_world, another_seed_gives_another_run)
{
    cr_assert_neq(run(1, 5).trace, run(2, 5).trace);
}

Test(sim_world, seeds_that_found_something_are_good)
{
    static const uint64_t seeds[] = {4, 33, 44, 58, 111, 148};

    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        struct sim_world_result r = run(seeds[i], 20);

        cr_assert_str_eq(r.violation, "", "seed %d: %s", (int)seeds[i],
                         r.violation);
        cr_assert_gt(r.confirmed, 0);
    }
}

Test(sim_world, clusters_of_every_size_work)
{
    for (uint64_t nodes = 1; nodes <= SIM_PLAN_NODES_MAX; nodes += 2) {
        struct sim_wishes wishes = {
            .seed = 3, .nodes = nodes, .shards = 2, .seconds = 6};
        struct sim_world_result result = run_plan(&wishes);

        cr_assert_str_eq(result.violation, "");
        cr_assert_gt(result.delivered, 0);
    }
}

/* What a hundred seconds of connections, publishes and deliveries leave, six
 * hundred leave, but for buffers that have grown: thousands of messages, of
 * which 500 bytes each would show. */
Test(sim_world, memory_does_not_grow_with_what_was_done)
{
    struct sim_wishes wishes = {
        .seed = 10, .nodes = 3, .shards = 1, .clients = 6, .seconds = 100};
    struct sim_plan *plan = mem_zalloc(1, sizeof(*plan));
    struct sim_world_config config = {.plan = plan};
    struct sim_world_result results[2];

    for (size_t i = 0; i < 2; i++) {
        sim_plan_make(plan, &wishes);
        plan->faults_count = 0;
        sim_world_run(&config, &results[i]);
        cr_assert_str_eq(results[i].violation, "");
        wishes.seconds *= 6;
    }
    mem_free(plan);
    cr_assert_gt(results[1].published, results[0].published + 12000);
    cr_assert_lt(results[1].memory, results[0].memory + (6 << 20));
    cr_assert_lt(results[1].leaked, 16 << 10);
}
