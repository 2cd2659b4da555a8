/* Users and permissions. */
#include "lib/harness.h"
#include "world.h"

Test(meta_user, is_added_changed_and_deleted)
{
    struct world w;
    struct meta_user spec = {.name = text("u"),
                             .password = text("h1"),
                             .tags = text("administrator")};
    const struct meta_user *user = NULL;

    world_init_cluster(&w);
    meta_put_user_add(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_OK);
    user = meta_user(w.m, "u", 1);
    cr_assert_not_null(user);
    cr_assert_str_eq(user->password.data, "h1");
    cr_assert_str_eq(user->tags.data, "administrator");
    spec.password = text("h2");
    meta_put_user_add(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_EXISTS);
    cr_assert_str_eq(meta_user(w.m, "u", 1)->password.data, "h1");
    meta_put_user_password(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_str_eq(meta_user(w.m, "u", 1)->password.data, "h2");
    spec.tags = text("");
    meta_put_user_tags(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_str_eq(meta_user(w.m, "u", 1)->tags.data, "");
    world_check_snapshot(&w);
    meta_put_user_delete(&w.commands, 1, 1, text("u"));
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_str_eq(world_events(&w), "user:u user:u user:u user:u");
    cr_assert_null(meta_user(w.m, "u", 1));
    world_deinit(&w);
}

Test(meta_user, one_that_is_not_there_is_not_found)
{
    struct world w;
    struct meta_user spec = {.name = text("nobody")};

    world_init_cluster(&w);
    meta_put_user_password(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_NOT_FOUND);
    meta_put_user_tags(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_NOT_FOUND);
    meta_put_user_delete(&w.commands, 1, 1, spec.name);
    cr_assert_eq(world_apply(&w), META_NOT_FOUND);
    cr_assert_str_eq(world_events(&w), "");
    world_deinit(&w);
}

Test(meta_user, oversized_values_are_malformed)
{
    static char big[META_TEXT_SIZE_MAX + 1];
    struct world w;
    struct meta_user spec = {.name = text("guest")};

    world_init_cluster(&w);
    spec.password = meta_text(big, sizeof(big));
    meta_put_user_password(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    meta_put_user_add(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    spec.tags = spec.password;
    meta_put_user_tags(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    spec.tags = meta_text(big, sizeof(big) - 1);
    meta_put_user_tags(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_OK);
    spec.name = text("");
    meta_put_user_add(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    world_check_snapshot(&w);
    world_deinit(&w);
}

static const struct meta_permission *
permission(const struct world *w, const char *user)
{
    return meta_permission(w->m, world_root(w), user, strlen(user));
}

Test(meta_user, permissions_are_set_replaced_and_cleared)
{
    struct world w;
    struct meta_permission p = {.vhost = text("/"),
                                .user = text("guest"),
                                .configure = text("^a"),
                                .write = text(".*"),
                                .read = text("")};

    world_init_cluster(&w);
    cr_assert_null(permission(&w, "guest"));
    meta_put_permission_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_str_eq(permission(&w, "guest")->configure.data, "^a");
    cr_assert_str_eq(permission(&w, "guest")->vhost.data, "/");
    p.configure = text("^b");
    meta_put_permission_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_str_eq(permission(&w, "guest")->configure.data, "^b");
    cr_assert_str_eq(permission(&w, "guest")->write.data, ".*");
    cr_assert_str_eq(permission(&w, "guest")->read.data, "");
    world_check_snapshot(&w);
    meta_put_permission_clear(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_null(permission(&w, "guest"));
    meta_put_permission_clear(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_NOT_FOUND);
    cr_assert_str_eq(world_events(&w), "user:guest user:guest user:guest");
    world_deinit(&w);
}

Test(meta_user, permissions_need_a_vhost_and_a_user)
{
    static char big[META_PATTERN_SIZE_MAX + 1];
    struct world w;
    struct meta_permission p = {.vhost = text("none"), .user = text("guest")};

    world_init_cluster(&w);
    meta_put_permission_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_NO_VHOST);
    meta_put_permission_clear(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_NO_VHOST);
    p.vhost = text("/");
    p.user = text("none");
    meta_put_permission_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_NOT_FOUND);
    p.user = text("guest");
    p.read = meta_text(big, sizeof(big));
    meta_put_permission_set(&w.commands, 1, 1, &p);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    world_deinit(&w);
}

Test(meta_user, takes_its_permissions_with_it)
{
    struct world w;
    struct meta_permission p = {.vhost = text("/"), .user = text("guest")};

    world_init_cluster(&w);
    cr_assert_eq(world_vhost(&w, "v"), META_OK);
    meta_put_permission_set(&w.commands, 1, 1, &p);
    p.vhost = text("v");
    meta_put_permission_set(&w.commands, 1, 1, &p);
    meta_put_user_delete(&w.commands, 1, 1, p.user);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_eq(world_user(&w, "guest"), META_OK);
    cr_assert_null(permission(&w, "guest"), "a new user starts with none");
    world_check_snapshot(&w);
    world_deinit(&w);
}
