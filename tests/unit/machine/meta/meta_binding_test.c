/* Bindings: what they need, what makes two of them one. */
#include "lib/harness.h"
#include "world.h"

Test(meta_binding, exists_once_for_each_key_and_arguments)
{
    struct world w;
    struct meta_binding b = {.vhost = text("/"),
                             .source = text("amq.direct"),
                             .destination = text("q"),
                             .key = text("k"),
                             .arguments = text("1")};

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.direct", "q", "k"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.direct", "q", "k"), META_EXISTS);
    cr_assert_eq(world_bind(&w, "amq.direct", "q", "l"), META_OK);
    meta_put_bind(&w.commands, 1, 1, &b);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_eq(meta_bindings_count(w.m), 3U);
    cr_assert_str_eq(world_route(&w, "amq.direct", "k"), "q");
    world_check_snapshot(&w);
    cr_assert_eq(world_unbind(&w, "amq.direct", "q", "k"), META_OK);
    cr_assert_eq(world_unbind(&w, "amq.direct", "q", "k"), META_NOT_FOUND);
    cr_assert_str_eq(world_route(&w, "amq.direct", "k"), "q");
    meta_put_unbind(&w.commands, 1, 1, &b);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_str_eq(world_route(&w, "amq.direct", "k"), "");
    world_deinit(&w);
}

Test(meta_binding, a_queue_and_an_exchange_of_one_name_are_two_ends)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "same"), META_OK);
    cr_assert_eq(world_exchange(&w, "same", META_FANOUT, false), META_OK);
    cr_assert_eq(world_bind(&w, "amq.topic", "same", "k"), META_OK);
    cr_assert_eq(world_bind_exchange(&w, "amq.topic", "same", "k"), META_OK);
    cr_assert_eq(meta_bindings_count(w.m), 2U);
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_binding, both_ends_must_be_there)
{
    struct world w;
    struct meta_binding b = {.vhost = text("none"), .source = text("x")};

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    cr_assert_eq(world_bind(&w, "none", "q", ""), META_NO_EXCHANGE);
    cr_assert_eq(world_bind(&w, "amq.topic", "none", ""), META_NO_QUEUE);
    cr_assert_eq(world_bind_exchange(&w, "amq.topic", "none", ""),
                 META_NO_EXCHANGE);
    cr_assert_eq(world_bind(&w, "", "q", "q"), META_REFUSED);
    cr_assert_eq(world_bind_exchange(&w, "amq.topic", "", ""), META_REFUSED);
    cr_assert_eq(world_unbind(&w, "", "q", "q"), META_REFUSED);
    meta_put_bind(&w.commands, 1, 1, &b);
    cr_assert_eq(world_apply(&w), META_NO_VHOST);
    cr_assert_eq(meta_bindings_count(w.m), 0U);
    world_deinit(&w);
}

Test(meta_binding, oversized_ones_are_malformed)
{
    static char big[META_ARGUMENTS_SIZE_MAX + 1];
    struct world w;
    struct meta_binding b = {.vhost = text("/"),
                             .source = text("amq.topic"),
                             .destination = text("q"),
                             .key = meta_text(big, QR_NAME_SIZE_MAX + 1)};

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    meta_put_bind(&w.commands, 1, 1, &b);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    b.key = meta_text(big, QR_NAME_SIZE_MAX);
    b.arguments = meta_text(big, sizeof(big));
    meta_put_bind(&w.commands, 1, 1, &b);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    b.arguments = meta_text(big, sizeof(big) - 1);
    meta_put_bind(&w.commands, 1, 1, &b);
    cr_assert_eq(world_apply(&w), META_OK);
    world_check_snapshot(&w);
    world_deinit(&w);
}
