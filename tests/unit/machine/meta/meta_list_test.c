/* Listings come in the order of names and stop when told. */
#include "lib/harness.h"
#include "world.h"

/* What a listing wrote, and after how many it stops it. */
struct sink {
    struct buf text;
    size_t left;
};

static bool
put(struct sink *s, struct meta_text a, struct meta_text b, struct meta_text c)
{
    buf_putf(&s->text, "[%s|%s|%s]", a.data, b.data, c.data);
    s->left--;
    return s->left > 0;
}

static bool
on_node(void *arg, const struct meta_node *node)
{
    return put(arg, node->name, node->address,
               text(node->is_removed ? "removed" : "live"));
}

static bool
on_vhost(void *arg, const struct meta_vhost *vhost)
{
    return put(arg, vhost->name, text(""), text(""));
}

static bool
on_user(void *arg, const struct meta_user *user)
{
    return put(arg, user->name, user->password, user->tags);
}

static bool
on_permission(void *arg, const struct meta_permission *p)
{
    return put(arg, p->vhost, p->user, p->configure);
}

static bool
on_queue(void *arg, struct meta_queue *queue)
{
    return put(arg, queue->vhost, queue->name, text(""));
}

static bool
on_binding(void *arg, const struct meta_binding *b)
{
    return put(arg, b->source, b->destination, b->key);
}

static bool
on_policy(void *arg, const struct meta_policy *p)
{
    return put(arg, p->vhost, p->name, text(p->is_operator ? "op" : ""));
}

static bool
on_parameter(void *arg, const struct meta_parameter *p)
{
    return put(arg, p->component, p->vhost, p->name);
}

/* Check what was written since the last check, and start again. */
static void
check(struct sink *s, const char *expected)
{
    buf_put_u8(&s->text, 0);
    cr_assert_str_eq((char *)s->text.data, expected);
    buf_clear(&s->text);
    s->left = SIZE_MAX;
}

static void
sink_init(struct sink *s)
{
    buf_init(&s->text);
    s->left = SIZE_MAX;
}

Test(meta_list, nodes_vhosts_and_users_by_name)
{
    struct world w;
    struct sink s;
    struct meta_node node = {
        .name = text("n0"), .address = text("x"), .boot = 1};

    world_init_cluster(&w);
    sink_init(&s);
    memset(node.uuid.bytes, 9, sizeof(node.uuid.bytes));
    meta_put_node_remove(&w.commands, 1, 1, 2);
    meta_put_node_up(&w.commands, 1, 1, &node);
    cr_assert_eq(world_apply(&w), META_OK);
    meta_each_node(w.m, on_node, &s);
    check(&s, "[n0|x|live][n1|127.0.0.1:25000|live]"
              "[n2|127.0.0.1:25000|removed][n3|127.0.0.1:25000|live]");
    s.left = 1;
    meta_each_node(w.m, on_node, &s);
    check(&s, "[n0|x|live]");
    cr_assert_eq(world_vhost(&w, "b"), META_OK);
    cr_assert_eq(world_vhost(&w, "a"), META_OK);
    meta_each_vhost(w.m, on_vhost, &s);
    check(&s, "[/||][a||][b||]");
    s.left = 2;
    meta_each_vhost(w.m, on_vhost, &s);
    check(&s, "[/||][a||]");
    cr_assert_eq(world_user(&w, "anna"), META_OK);
    meta_each_user(w.m, on_user, &s);
    check(&s, "[anna|hash|][guest|hash|]");
    buf_deinit(&s.text);
    world_deinit(&w);
}

Test(meta_list, what_is_in_vhosts_of_one_or_of_all)
{
    struct world w;
    struct sink s;
    struct meta_permission p = {.vhost = text("a"), .user = text("guest")};
    struct meta_policy policy = {.vhost = text("a"), .name = text("p")};
    struct meta_parameter parameter = {.component = text("c"),
                                       .name = text("n")};

    world_init_cluster(&w);
    sink_init(&s);
    cr_assert_eq(world_vhost(&w, "a"), META_OK);
    cr_assert_eq(world_queue(&w, "q10"), META_OK);
    cr_assert_eq(world_queue(&w, "q1"), META_OK);
    meta_each_queue(w.m, NULL, on_queue, &s);
    check(&s, "[/|q1|][/|q10|]");
    meta_each_queue(w.m, meta_vhost(w.m, "a", 1), on_queue, &s);
    check(&s, "");
    meta_put_permission_set(&w.commands, 1, 1, &p);
    p.vhost = text("/");
    meta_put_permission_set(&w.commands, 1, 1, &p);
    meta_put_policy_set(&w.commands, 1, 1, &policy);
    policy.is_operator = true;
    meta_put_policy_set(&w.commands, 1, 1, &policy);
    meta_put_parameter_set(&w.commands, 1, 1, &parameter);
    parameter.vhost = text("a");
    meta_put_parameter_set(&w.commands, 1, 1, &parameter);
    cr_assert_eq(world_apply(&w), META_OK);
    meta_each_permission(w.m, NULL, on_permission, &s);
    check(&s, "[/|guest|][a|guest|]");
    meta_each_permission(w.m, world_root(&w), on_permission, &s);
    check(&s, "[/|guest|]");
    s.left = 1;
    meta_each_permission(w.m, NULL, on_permission, &s);
    check(&s, "[/|guest|]");
    meta_each_policy(w.m, NULL, on_policy, &s);
    check(&s, "[a|p|][a|p|op]");
    meta_each_parameter(w.m, on_parameter, &s);
    check(&s, "[c||n][c|a|n]");
    buf_deinit(&s.text);
    world_deinit(&w);
}

Test(meta_list, bindings_with_the_implicit_ones_first)
{
    struct world w;
    struct sink s;

    world_init_cluster(&w);
    sink_init(&s);
    cr_assert_eq(world_queue(&w, "b"), META_OK);
    cr_assert_eq(world_queue(&w, "a"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.topic", "b", "2"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.topic", "b", "1"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.topic", "a", "3"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.direct", "b", ""), META_OK);
    cr_assert_eq(world_bind_exchange(&w, "amq.topic", "amq.match", "0"),
                 META_OK);
    meta_each_binding(w.m, world_root(&w), on_binding, &s);
    check(&s, "[|a|a][|b|b][amq.direct|b|][amq.topic|a|3][amq.topic|b|1]"
              "[amq.topic|b|2][amq.topic|amq.match|0]");
    s.left = 4;
    meta_each_binding(w.m, NULL, on_binding, &s);
    check(&s, "[|a|a][|b|b][amq.direct|b|][amq.topic|a|3]");
    s.left = 1;
    meta_each_binding(w.m, NULL, on_binding, &s);
    check(&s, "[|a|a]");
    buf_deinit(&s.text);
    world_deinit(&w);
}
