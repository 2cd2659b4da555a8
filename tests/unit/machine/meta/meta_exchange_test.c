/* Exchanges: declaring, deleting, and going by themselves. */
#include "lib/harness.h"
#include "world.h"

static enum meta_status
delete_exchange(struct world *w, const char *name, bool if_unused)
{
    struct meta_exchange_delete del = {
        .vhost = text("/"), .name = text(name), .if_unused = if_unused};

    meta_put_exchange_delete(&w->commands, 1, 1, &del);
    return world_apply(w);
}

Test(meta_exchange, keeps_what_it_was_declared_with)
{
    struct world w;
    struct meta_exchange spec = {.vhost = text("/"),
                                 .name = text("x"),
                                 .type = META_HEADERS,
                                 .is_internal = true,
                                 .arguments = text("table")};
    const struct meta_exchange *x = NULL;

    world_init_cluster(&w);
    meta_put_exchange_declare(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_OK);
    x = world_find_exchange(&w, "x");
    cr_assert_not_null(x);
    cr_assert_eq(x->type, META_HEADERS);
    cr_assert(x->is_internal);
    cr_assert(!x->is_durable);
    cr_assert(!x->is_auto_delete);
    cr_assert_str_eq(x->arguments.data, "table");
    cr_assert_str_eq(x->vhost.data, "/");
    cr_assert_eq(world_exchange(&w, "x", META_DIRECT, false), META_EXISTS);
    cr_assert_eq(world_find_exchange(&w, "x")->type, META_HEADERS);
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_exchange, malformed_ones_are_refused)
{
    static char big[META_ARGUMENTS_SIZE_MAX + 1];
    struct world w;
    struct meta_exchange spec = {.vhost = text("/"),
                                 .name = text("x"),
                                 .type = META_DIRECT,
                                 .arguments = meta_text(big, sizeof(big))};

    world_init_cluster(&w);
    meta_put_exchange_declare(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    spec.arguments = text("");
    spec.type = (enum meta_exchange_type)0;
    meta_put_exchange_declare(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    spec.type = (enum meta_exchange_type)(META_HEADERS + 1);
    meta_put_exchange_declare(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    spec.type = META_DIRECT;
    spec.name = meta_text(big, QR_NAME_SIZE_MAX + 1);
    meta_put_exchange_declare(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    spec.name = text("x");
    spec.vhost = text("none");
    meta_put_exchange_declare(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_NO_VHOST);
    cr_assert_eq(meta_exchanges_count(w.m), 7U);
    world_deinit(&w);
}

Test(meta_exchange, reserved_names_are_the_machines_own)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_exchange(&w, "amq.mine", META_DIRECT, false),
                 META_REFUSED);
    cr_assert_eq(world_exchange(&w, "amq", META_DIRECT, false), META_OK);
    cr_assert_eq(world_exchange(&w, "", META_DIRECT, false), META_EXISTS);
    cr_assert_eq(world_exchange(&w, "amq.topic", META_TOPIC, false),
                 META_EXISTS);
    cr_assert_eq(delete_exchange(&w, "", false), META_REFUSED);
    cr_assert_eq(delete_exchange(&w, "amq.topic", false), META_REFUSED);
    cr_assert_eq(delete_exchange(&w, "amq", false), META_OK);
    world_deinit(&w);
}

Test(meta_exchange, deleting_takes_bindings_of_both_directions)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    cr_assert_eq(world_exchange(&w, "x", META_FANOUT, false), META_OK);
    cr_assert_eq(world_bind(&w, "x", "q", ""), META_OK);
    cr_assert_eq(world_bind(&w, "x", "q", "k"), META_OK);
    cr_assert_eq(world_bind_exchange(&w, "amq.topic", "x", "#"), META_OK);
    cr_assert_eq(world_bind_exchange(&w, "x", "x", "self"), META_OK);
    cr_assert_eq(world_find_exchange(&w, "x")->bindings_count, 3U);
    cr_assert_eq(delete_exchange(&w, "x", true), META_IN_USE);
    cr_assert_eq(delete_exchange(&w, "x", false), META_OK);
    cr_assert_eq(meta_bindings_count(w.m), 0U);
    cr_assert_eq(world_find_exchange(&w, "amq.topic")->bindings_count, 0U);
    cr_assert_eq(delete_exchange(&w, "x", false), META_NO_EXCHANGE);
    world_deinit(&w);
}

Test(meta_exchange, if_unused_goes_by_bindings_as_a_source)
{
    struct world w;
    struct meta_exchange_delete del = {.vhost = text("none"),
                                       .name = text("x")};

    world_init_cluster(&w);
    cr_assert_eq(world_exchange(&w, "x", META_FANOUT, false), META_OK);
    cr_assert_eq(world_bind_exchange(&w, "amq.topic", "x", "#"), META_OK);
    meta_put_exchange_delete(&w.commands, 1, 1, &del);
    cr_assert_eq(world_apply(&w), META_NO_VHOST);
    cr_assert_eq(delete_exchange(&w, "x", true), META_OK);
    world_deinit(&w);
}

Test(meta_exchange, auto_delete_waits_for_the_last_of_its_bindings)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    cr_assert_eq(world_exchange(&w, "x", META_DIRECT, true), META_OK);
    world_check_snapshot(&w);
    cr_assert_eq(world_bind(&w, "x", "q", "a"), META_OK);
    cr_assert_eq(world_bind(&w, "x", "q", "b"), META_OK);
    cr_assert_eq(world_unbind(&w, "x", "q", "a"), META_OK);
    cr_assert_not_null(world_find_exchange(&w, "x"));
    cr_assert_eq(world_unbind(&w, "x", "q", "b"), META_OK);
    cr_assert_null(world_find_exchange(&w, "x"));
    world_deinit(&w);
}

Test(meta_exchange, auto_delete_goes_with_its_last_queue)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_exclusive(&w, "q", 1, 5), META_OK);
    cr_assert_eq(world_exchange(&w, "x", META_FANOUT, true), META_OK);
    cr_assert_eq(world_bind(&w, "x", "q", "a"), META_OK);
    cr_assert_eq(world_bind(&w, "x", "q", "b"), META_OK);
    meta_put_connection_gone(&w.commands, 1, 1, &(struct meta_owner){1, 1, 5});
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_null(world_find_exchange(&w, "x"));
    world_deinit(&w);
}

Test(meta_exchange, auto_delete_runs_through_chains_and_cycles)
{
    struct world w;
    char from[16];
    char to[16];

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(to, sizeof(to), "x%u", i);
        cr_assert_eq(world_exchange(&w, to, META_FANOUT, true), META_OK);
        if (i > 0) {
            (void)snprintf(from, sizeof(from), "x%u", i - 1);
            cr_assert_eq(world_bind_exchange(&w, from, to, ""), META_OK);
        }
    }
    cr_assert_eq(world_bind(&w, "x999", "q", ""), META_OK);
    cr_assert_eq(meta_exchanges_count(w.m), 1007U);
    cr_assert_eq(world_delete_queue(&w, "q"), META_OK);
    cr_assert_eq(meta_exchanges_count(w.m), 7U);

    cr_assert_eq(world_exchange(&w, "a", META_FANOUT, true), META_OK);
    cr_assert_eq(world_exchange(&w, "b", META_FANOUT, true), META_OK);
    cr_assert_eq(world_bind_exchange(&w, "a", "b", ""), META_OK);
    cr_assert_eq(world_bind_exchange(&w, "b", "a", ""), META_OK);
    cr_assert_eq(delete_exchange(&w, "a", false), META_OK);
    cr_assert_null(world_find_exchange(&w, "b"));
    cr_assert_eq(meta_bindings_count(w.m), 0U);
    world_deinit(&w);
}
