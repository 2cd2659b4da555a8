/* A snapshot depends on the state alone, not on the way there. */
#include "lib/harness.h"
#include "world.h"

static void
check_equal(const struct world *a, const struct world *b)
{
    struct buf x;
    struct buf y;

    buf_init(&x);
    buf_init(&y);
    meta_machine_snapshot(a->m, &x);
    meta_machine_snapshot(b->m, &y);
    cr_assert_eq(x.size, y.size);
    cr_assert_arr_eq(x.data, y.data, x.size);
    buf_deinit(&x);
    buf_deinit(&y);
}

Test(meta_snapshot, another_order_of_independent_commands_is_the_same_state)
{
    struct world a;
    struct world b;

    world_init_cluster(&a);
    world_init_cluster(&b);
    cr_assert_eq(world_user(&a, "x"), META_OK);
    cr_assert_eq(world_exchange(&a, "e", META_TOPIC, false), META_OK);
    cr_assert_eq(world_queue(&a, "q"), META_OK);
    cr_assert_eq(world_bind(&a, "e", "q", "1"), META_OK);
    cr_assert_eq(world_bind(&a, "e", "q", "2"), META_OK);
    cr_assert_eq(world_bind(&a, "amq.topic", "q", "3"), META_OK);

    cr_assert_eq(world_exchange(&b, "e", META_TOPIC, false), META_OK);
    cr_assert_eq(world_user(&b, "x"), META_OK);
    cr_assert_eq(world_queue(&b, "q"), META_OK);
    cr_assert_eq(world_bind(&b, "amq.topic", "q", "3"), META_OK);
    cr_assert_eq(world_bind(&b, "e", "q", "2"), META_OK);
    cr_assert_eq(world_bind(&b, "e", "q", "1"), META_OK);
    check_equal(&a, &b);
    world_deinit(&a);
    world_deinit(&b);
}

Test(meta_snapshot, what_is_undone_leaves_no_trace_but_ids)
{
    struct world a;
    struct world b;

    world_init_cluster(&a);
    world_init_cluster(&b);
    cr_assert_eq(world_exchange(&a, "e", META_TOPIC, true), META_OK);
    cr_assert_eq(world_queue(&a, "q"), META_OK);
    cr_assert_eq(world_bind(&a, "e", "q", "a.b.#"), META_OK);
    cr_assert_eq(world_delete_queue(&a, "q"), META_OK);
    cr_assert_eq(world_queue(&b, "z"), META_OK);
    cr_assert_eq(world_delete_queue(&b, "z"), META_OK);
    check_equal(&a, &b);
    world_deinit(&a);
    world_deinit(&b);
}

Test(meta_snapshot, the_layout_is_the_documented_one)
{
    /* An empty machine: docs/formats/meta.md, "Snapshot". */
    static const uint8_t expected[] = {2, 16, 1, 0, 0, 0, 0, 0, 0};
    struct world w;
    struct buf b;

    world_init(&w);
    buf_init(&b);
    meta_machine_snapshot(w.m, &b);
    cr_assert_eq(b.size, sizeof(expected));
    cr_assert_arr_eq(b.data, expected, sizeof(expected));
    buf_deinit(&b);
    world_deinit(&w);
}
