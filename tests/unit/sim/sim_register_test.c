/* What may have been so at some moment, and what cannot. */
#include "lib/harness.h"
#include "sim/sim_register.h"

Test(sim_register, at_first_it_is_not_there)
{
    struct sim_register r;

    sim_register_init(&r);
    cr_assert(sim_register_look(&r, false, 1, 2));
    cr_assert(!sim_register_look(&r, true, 1, 2));
    cr_assert(!sim_register_is_sure(&r));
    sim_register_deinit(&r);
}

Test(sim_register, what_was_promised_is_seen_by_all_who_ask_later)
{
    struct sim_register r;

    sim_register_init(&r);
    sim_register_done(&r, sim_register_change(&r, true, 10), 20);
    cr_assert(sim_register_is_sure(&r));
    cr_assert(sim_register_look(&r, true, 21, 22));
    cr_assert(!sim_register_look(&r, false, 21, 22));
    cr_assert(sim_register_look(&r, false, 19, 22), "it asked before");
    cr_assert(sim_register_look(&r, true, 5, 10), "it may just have begun");
    cr_assert(!sim_register_look(&r, true, 5, 9));
    sim_register_deinit(&r);
}

Test(sim_register, of_two_changes_at_once_either_may_be_the_last)
{
    struct sim_register r;
    uint64_t a;
    uint64_t b;

    sim_register_init(&r);
    a = sim_register_change(&r, true, 10);
    b = sim_register_change(&r, false, 15);
    sim_register_done(&r, a, 20);
    sim_register_done(&r, b, 25);
    cr_assert(sim_register_look(&r, true, 30, 31));
    cr_assert(sim_register_look(&r, false, 30, 31));
    cr_assert(!sim_register_is_sure(&r));
    sim_register_deinit(&r);
}

Test(sim_register, a_change_without_an_answer_may_happen_whenever)
{
    struct sim_register r;

    sim_register_init(&r);
    sim_register_done(&r, sim_register_change(&r, true, 10), 20);
    (void)sim_register_change(&r, false, 30);
    cr_assert(!sim_register_look(&r, false, 25, 29));
    cr_assert(sim_register_look(&r, false, 100, 101));
    cr_assert(sim_register_look(&r, true, 100, 101));
    sim_register_deinit(&r);
}

Test(sim_register, a_refused_change_never_happens)
{
    struct sim_register r;

    sim_register_init(&r);
    sim_register_refused(&r, sim_register_change(&r, true, 10));
    cr_assert(!sim_register_look(&r, true, 15, 20));
    sim_register_deinit(&r);
}

Test(sim_register, it_keeps_so_many_changes_and_judges_by_no_less)
{
    struct sim_register r;

    sim_register_init(&r);
    for (uint64_t i = 0; i < SIM_REGISTER_CHANGES_MAX; i++) {
        uint64_t at = 10 + 2 * i;

        sim_register_done(&r, sim_register_change(&r, i % 2 == 0, at), at + 1);
    }
    cr_assert_eq(r.changes.count, SIM_REGISTER_CHANGES_MAX);
    cr_assert_gt(r.dropped_us, 0);
    cr_assert(sim_register_look(&r, true, 1, 2), "not judged");
    cr_assert_eq(r.looks, 0);
    cr_assert(!sim_register_look(&r, true, 1000, 1001));
    cr_assert_eq(r.looks, 1);
    sim_register_deinit(&r);
}
