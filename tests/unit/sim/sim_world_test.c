/* Whole runs: the same seed gives the same trace, seeds that once found
 * something are good (docs/seeds.md), another seed gives another run. */
#include "lib/harness.h"
#include "sim/sim_world.h"

static struct sim_world_result
run(uint64_t seed, uint32_t seconds)
{
    struct sim_world_config config = {.seed = seed, .seconds = seconds};
    struct sim_world_result result;

    sim_world_run(&config, &result);
    return result;
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

Test(sim_world, one_node_alone_and_five_work)
{
    struct sim_world_config config = {.seed = 3, .seconds = 6, .shards = 2};
    struct sim_world_result result;

    config.nodes = 1;
    sim_world_run(&config, &result);
    cr_assert_str_eq(result.violation, "");
    config.nodes = 5;
    sim_world_run(&config, &result);
    cr_assert_str_eq(result.violation, "");
    cr_assert_gt(result.delivered, 0);
}
