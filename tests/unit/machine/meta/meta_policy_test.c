/* Policies and parameters are kept, replaced, listed and cleared. */
#include "lib/harness.h"
#include "world.h"

static const struct meta_policy *
find(const struct world *w, bool is_operator, const char *name)
{
    return meta_policy(w->m, world_root(w), is_operator, name, strlen(name));
}

Test(meta_policy, is_set_replaced_and_cleared)
{
    struct world w;
    struct meta_policy p = {.vhost = text("/"),
                            .name = text("p"),
                            .pattern = text("^x"),
                            .apply_to = text("queues"),
                            .definition = text("{\"max-length\":1}"),
                            .priority = -7};

    world_init_cluster(&w);
    meta_put_policy_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_eq(find(&w, false, "p")->priority, -7);
    cr_assert_str_eq(find(&w, false, "p")->pattern.data, "^x");
    cr_assert_null(find(&w, true, "p"));
    p.is_operator = true;
    p.priority = INT32_MAX;
    meta_put_policy_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_OK);
    p.definition = text("{}");
    meta_put_policy_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_str_eq(find(&w, true, "p")->definition.data, "{}");
    cr_assert_str_eq(find(&w, false, "p")->definition.data,
                     "{\"max-length\":1}");
    world_check_snapshot(&w);
    meta_put_policy_clear(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_null(find(&w, true, "p"));
    cr_assert_not_null(find(&w, false, "p"));
    meta_put_policy_clear(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_NOT_FOUND);
    world_deinit(&w);
}

Test(meta_policy, needs_a_vhost_a_name_and_sizes_in_bounds)
{
    static char big[META_TEXT_SIZE_MAX + 1];
    struct world w;
    struct meta_policy p = {.vhost = text("none"), .name = text("p")};

    world_init_cluster(&w);
    meta_put_policy_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_NO_VHOST);
    meta_put_policy_clear(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_NO_VHOST);
    p.vhost = text("/");
    p.name = text("");
    meta_put_policy_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    p.name = text("p");
    p.pattern = meta_text(big, META_PATTERN_SIZE_MAX + 1);
    meta_put_policy_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    p.pattern = text("");
    p.definition = meta_text(big, sizeof(big));
    meta_put_policy_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    p.definition = text("");
    p.name = meta_text(big, QR_NAME_SIZE_MAX + 1);
    meta_put_policy_clear(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_NOT_FOUND);
    world_deinit(&w);
}

Test(meta_policy, there_are_at_most_ten_thousand)
{
    struct world w;
    char name[16];
    struct meta_policy p = {.vhost = text("/")};

    world_init_cluster(&w);
    for (unsigned i = 0; i < META_POLICIES_MAX; i++) {
        (void)snprintf(name, sizeof(name), "p%u", i);
        p.name = text(name);
        meta_put_policy_set(&w.commands, 1, 1, &p);
        cr_assert_eq(world_apply(&w), META_OK);
    }
    meta_put_policy_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_OK, "replacing takes no room");
    p.name = text("one more");
    meta_put_policy_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_LIMIT);
    world_deinit(&w);
}

Test(meta_policy, parameters_are_found_by_component_vhost_and_name)
{
    struct world w;
    struct meta_parameter p = {
        .component = text("shovel"), .name = text("s"), .value = text("1")};

    world_init_cluster(&w);
    cr_assert_null(meta_parameter(w.m, &p));
    meta_put_parameter_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_OK);
    p.vhost = text("/");
    cr_assert_null(meta_parameter(w.m, &p));
    p.value = text("2");
    meta_put_parameter_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_str_eq(meta_parameter(w.m, &p)->value.data, "2");
    p.value = text("3");
    meta_put_parameter_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_str_eq(meta_parameter(w.m, &p)->value.data, "3");
    world_check_snapshot(&w);
    meta_put_parameter_clear(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_OK);
    meta_put_parameter_clear(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_NOT_FOUND);
    p.vhost = text("");
    cr_assert_str_eq(meta_parameter(w.m, &p)->value.data, "1");
    p.vhost = text("none");
    meta_put_parameter_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_NO_VHOST);
    p.component = text("");
    meta_put_parameter_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    world_deinit(&w);
}

Test(meta_policy, parameters_have_a_limit)
{
    struct world w;
    char name[16];
    struct meta_parameter p = {.component = text("c")};

    world_init_cluster(&w);
    for (unsigned i = 0; i < META_PARAMETERS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "p%u", i);
        p.name = text(name);
        meta_put_parameter_set(&w.commands, 1, 1, &p);
        cr_assert_eq(world_apply(&w), META_OK);
    }
    p.name = text("one more");
    meta_put_parameter_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_LIMIT);
    world_deinit(&w);
}
