/* The check finds what it is there to find. */
#include "lib/harness.h"
#include "machine/meta/meta_state.h"
#include "world.h"

static void
fill(struct world *w)
{
    world_init_cluster(w);
    cr_assert_eq(world_queue(w, "q"), META_OK);
    cr_assert_eq(world_exclusive(w, "mine", 1, 1), META_OK);
    cr_assert_eq(world_bind(w, "amq.topic", "q", "#"), META_OK);
    meta_check(w->m);
}

Test(meta_check, finds_a_count_that_is_off, .signal = SIGABRT)
{
    struct world w;

    fill(&w);
    meta_exchange_of(world_find_exchange(&w, "amq.topic"))
        ->pub.bindings_count++;
    meta_check(w.m);
}

Test(meta_check, finds_a_queue_under_another_group, .signal = SIGABRT)
{
    struct world w;

    fill(&w);
    world_find_queue(&w, "q")->group++;
    meta_check(w.m);
}

Test(meta_check, finds_an_owner_that_is_not_the_queues, .signal = SIGABRT)
{
    struct world w;

    fill(&w);
    world_find_queue(&w, "mine")->owner.connection++;
    meta_check(w.m);
}

Test(meta_check, finds_an_exchange_left_to_its_doom, .signal = SIGABRT)
{
    struct world w;

    fill(&w);
    list_push_back(
        &w.m->doomed,
        &meta_exchange_of(world_find_exchange(&w, "amq.topic"))->doomed);
    meta_check(w.m);
}
