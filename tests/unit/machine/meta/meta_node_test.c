/* Nodes: ids, identity, and what a new start ends. */
#include "lib/harness.h"
#include "world.h"

Test(meta_node, registers_with_the_id_it_says)
{
    struct world w;
    const struct meta_node *node = NULL;

    world_init(&w);
    cr_assert_eq(world_node_up(&w, 3, 5), META_OK);
    cr_assert_str_eq(world_events(&w), "node3");
    node = meta_node(w.m, 3);
    cr_assert_not_null(node);
    cr_assert_eq(node->boot, 5U);
    cr_assert_str_eq(node->name.data, "n3");
    cr_assert_str_eq(node->address.data, "127.0.0.1:25000");
    cr_assert_eq(meta_node_named(w.m, "n3", 2), node);
    cr_assert_eq(meta_node_by_uuid(w.m, &node->uuid), node);
    cr_assert_null(meta_node(w.m, 1));
    cr_assert_null(meta_node_named(w.m, "n1", 2));
    world_check_snapshot(&w);
    world_deinit(&w);
}

static struct meta_node
node_of(const char *name, int uuid)
{
    struct meta_node node = {.name = text(name), .boot = 1};

    memset(node.uuid.bytes, uuid, sizeof(node.uuid.bytes));
    return node;
}

static enum meta_status
up(struct world *w, const struct meta_node *node)
{
    meta_put_node_up(&w->commands, 1, 1, node);
    return world_apply(w);
}

Test(meta_node, is_given_the_next_id_when_it_says_none)
{
    struct world w;
    struct meta_node node = node_of("x", 9);

    world_init_cluster(&w);
    cr_assert_eq(up(&w, &node), META_OK);
    cr_assert_eq(meta_node_by_uuid(w.m, &node.uuid)->id, 4U);
    node.boot = 2;
    cr_assert_eq(up(&w, &node), META_OK);
    cr_assert_eq(meta_node_by_uuid(w.m, &node.uuid)->id, 4U);
    cr_assert_eq(meta_node(w.m, 4)->boot, 2U);
    world_deinit(&w);
}

Test(meta_node, an_id_a_name_or_an_identity_belongs_to_one)
{
    struct world w;
    struct meta_node node = node_of("n1", 9);

    world_init_cluster(&w);
    cr_assert_eq(up(&w, &node), META_REFUSED, "the name is another's");
    node = node_of("other", 9);
    node.id = 1;
    cr_assert_eq(up(&w, &node), META_REFUSED, "the id is another's");
    node = node_of("other", 2);
    node.id = 7;
    cr_assert_eq(up(&w, &node), META_REFUSED, "the uuid has another id");
    node = node_of("n2", 1);
    node.id = 1;
    cr_assert_eq(up(&w, &node), META_REFUSED, "renamed to a name in use");
    node = node_of("new-name", 1);
    node.id = 1;
    node.address = text("host:1");
    cr_assert_eq(up(&w, &node), META_OK);
    cr_assert_str_eq(meta_node(w.m, 1)->name.data, "new-name");
    cr_assert_str_eq(meta_node(w.m, 1)->address.data, "host:1");
    world_deinit(&w);
}

Test(meta_node, an_earlier_boot_is_refused)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_node_up(&w, 1, 3), META_OK);
    cr_assert_eq(world_node_up(&w, 1, 2), META_REFUSED);
    cr_assert_eq(world_node_up(&w, 1, 3), META_OK);
    cr_assert_eq(meta_node(w.m, 1)->boot, 3U);
    world_deinit(&w);
}

Test(meta_node, add_gives_an_id_to_one_that_has_not_started)
{
    struct world w;
    struct meta_node node = node_of("later", 9);

    world_init_cluster(&w);
    meta_put_node_add(&w.commands, 1, 1, &node);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_eq(meta_node_by_uuid(w.m, &node.uuid)->id, 4U);
    cr_assert_eq(meta_node(w.m, 4)->boot, 0U);
    meta_put_node_add(&w.commands, 1, 1, &node);
    cr_assert_eq(world_apply(&w), META_EXISTS);
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_node, a_removed_one_does_not_come_back)
{
    struct world w;
    struct meta_node node = node_of("n3", 9);

    world_init_cluster(&w);
    meta_put_node_remove(&w.commands, 1, 1, 3);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert(meta_node(w.m, 3)->is_removed);
    cr_assert_null(meta_node_named(w.m, "n3", 2));
    cr_assert_eq(world_node_up(&w, 3, 2), META_REFUSED);
    meta_put_node_remove(&w.commands, 1, 1, 3);
    cr_assert_eq(world_apply(&w), META_NOT_FOUND);
    cr_assert_eq(up(&w, &node), META_OK, "its name is free");
    cr_assert_eq(meta_node_named(w.m, "n3", 2)->id, 4U, "its id is not");
    memset(node.uuid.bytes, 3, sizeof(node.uuid.bytes));
    node.name = text("n5");
    meta_put_node_add(&w.commands, 1, 1, &node);
    cr_assert_eq(world_apply(&w), META_REFUSED, "nor is its uuid");
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_node, the_last_one_stays)
{
    struct world w;

    world_init(&w);
    cr_assert_eq(world_node_up(&w, 1, 1), META_OK);
    meta_put_node_remove(&w.commands, 1, 1, 1);
    cr_assert_eq(world_apply(&w), META_REFUSED);
    world_deinit(&w);
}

Test(meta_node, there_are_at_most_64)
{
    struct world w;

    world_init(&w);
    for (qr_node_id id = 1; id <= QR_NODES_MAX; id++) {
        cr_assert_eq(world_node_up(&w, id, 1), META_OK);
    }
    cr_assert_eq(world_node_up(&w, QR_NODES_MAX + 1, 1), META_LIMIT);
    meta_put_node_remove(&w.commands, 1, 1, 5);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_eq(world_node_up(&w, META_NODE_ID_MAX + 200, 1), META_LIMIT);
    cr_assert_eq(world_node_up(&w, META_NODE_ID_MAX, 1), META_OK);
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_node, malformed_ones_change_nothing)
{
    struct world w;
    struct meta_node node = node_of("", 9);

    world_init(&w);
    cr_assert_eq(up(&w, &node), META_MALFORMED, "no name");
    node = node_of("x", 0);
    cr_assert_eq(up(&w, &node), META_MALFORMED, "a nil uuid");
    node = node_of("x", 9);
    node.boot = 0;
    cr_assert_eq(up(&w, &node), META_MALFORMED, "no boot");
    node = node_of("", 9);
    meta_put_node_add(&w.commands, 1, 1, &node);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    cr_assert_str_eq(world_events(&w), "");
    world_deinit(&w);
}

Test(meta_node, a_new_boot_ends_exclusive_queues_of_earlier_ones)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_exclusive(&w, "a", 1, 10), META_OK);
    cr_assert_eq(world_exclusive(&w, "b", 1, 11), META_OK);
    cr_assert_eq(world_exclusive(&w, "c", 1, 10), META_OK);
    cr_assert_eq(world_exclusive(&w, "early", 2, 10), META_OK);
    cr_assert_eq(world_queue(&w, "durable"), META_OK);
    (void)world_events(&w);
    cr_assert_eq(world_node_up(&w, 1, 1), META_OK);
    cr_assert_str_eq(world_events(&w), "node1", "the same boot again");
    cr_assert_eq(world_node_up(&w, 1, 2), META_OK);
    cr_assert_str_eq(world_events(&w), "node1 -a -c -b");
    cr_assert_not_null(world_find_queue(&w, "durable"));
    cr_assert_not_null(world_find_queue(&w, "early"));
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_node, a_transient_queue_ends_when_all_its_nodes_have_restarted)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_transient(&w, "t2", 2), META_OK);
    cr_assert_eq(world_transient(&w, "t3", 3), META_OK);
    cr_assert_eq(world_queue(&w, "durable"), META_OK);
    (void)world_events(&w);
    cr_assert_eq(world_node_up(&w, 1, 2), META_OK);
    cr_assert_eq(world_node_up(&w, 1, 3), META_OK);
    cr_assert_str_eq(world_events(&w), "node1 node1");
    cr_assert_eq(world_transient(&w, "later", 2), META_OK);
    (void)world_events(&w);
    cr_assert_eq(world_node_up(&w, 2, 2), META_OK);
    cr_assert_str_eq(world_events(&w), "node2 -t2");
    cr_assert_eq(world_node_up(&w, 3, 2), META_OK);
    cr_assert_str_eq(world_events(&w), "node3 -t3");
    cr_assert_eq(world_node_up(&w, 1, 4), META_OK);
    cr_assert_str_eq(world_events(&w), "node1 -later");
    cr_assert_eq(meta_queues_count(w.m), 1U);
    world_deinit(&w);
}

Test(meta_node, a_removed_member_counts_as_restarted)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_transient(&w, "t", 2), META_OK);
    cr_assert_eq(world_node_up(&w, 2, 2), META_OK);
    cr_assert_eq(world_exclusive(&w, "mine", 1, 1), META_OK);
    (void)world_events(&w);
    meta_put_node_remove(&w.commands, 1, 1, 1);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_str_eq(world_events(&w), "node1 -mine -t");
    world_check_snapshot(&w);
    world_deinit(&w);
}

/* ---- joining and leaving ---- */

static enum meta_status
replace(struct world *w, qr_node_id old, const struct meta_node *node)
{
    meta_put_node_replace(&w->commands, 0, 0, old, node);
    return world_apply(w);
}

Test(meta_node, takes_the_place_of_one_with_its_name_under_a_new_id)
{
    struct world w;
    struct meta_node node = node_of("n2", 9);

    world_init_cluster(&w);
    cr_assert_eq(world_exclusive(&w, "e", 1, 7), META_OK);
    (void)world_events(&w);
    cr_assert_eq(replace(&w, 2, &node), META_OK);
    cr_assert_str_eq(world_events(&w), "node2 node4");
    cr_assert(meta_node(w.m, 2)->is_removed);
    cr_assert_eq(meta_node_named(w.m, "n2", 2)->id, 4U);
    cr_assert_eq(meta_node(w.m, 4)->boot, 0U);
    cr_assert_not_null(world_find_queue(&w, "e"));
    cr_assert_eq(replace(&w, 2, &node), META_EXISTS, "asked once more");
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_node, is_replaced_again_and_again_without_an_id_used_twice)
{
    struct world w;

    world_init_cluster(&w);
    for (int i = 0; i < 100; i++) {
        struct meta_node node = node_of("n2", 10 + i);
        qr_node_id old = meta_node_named(w.m, "n2", 2)->id;

        cr_assert_eq(replace(&w, old, &node), META_OK);
        cr_assert_eq(meta_node_named(w.m, "n2", 2)->id, 4U + (unsigned)i);
    }
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_node, replaces_only_what_has_its_name)
{
    struct world w;
    struct meta_node node = node_of("n2", 9);
    struct meta_node other = node_of("other", 10);
    struct meta_node again;

    world_init_cluster(&w);
    cr_assert_eq(replace(&w, 1, &node), META_REFUSED);
    cr_assert_eq(replace(&w, 0, &node), META_REFUSED, "the name is taken");
    cr_assert_eq(replace(&w, 9, &node), META_NOT_FOUND);
    cr_assert_eq(replace(&w, 0, &other), META_OK);
    cr_assert_eq(meta_node_named(w.m, "other", 5)->id, 4U);
    again = *meta_node(w.m, 2);
    cr_assert_eq(replace(&w, 2, &node), META_OK);
    again.name = text("n2");
    again.address = text("");
    cr_assert_eq(replace(&w, 5, &again), META_REFUSED, "its UUID is over");
    world_deinit(&w);
}

Test(meta_node, takes_queues_that_were_nowhere_else_with_it)
{
    struct meta_queue_declare d = {.vhost = text("/"),
                                   .name = text("alone"),
                                   .is_durable = true,
                                   .arguments = text(""),
                                   .nodes = {2},
                                   .nodes_count = 1};
    struct meta_node node = node_of("n2", 9);
    struct world w;

    world_init_cluster(&w);
    meta_put_queue_declare(&w.commands, 0, 0, &d);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_eq(world_queue(&w, "shared"), META_OK);
    cr_assert_eq(replace(&w, 2, &node), META_OK);
    cr_assert_null(world_find_queue(&w, "alone"));
    cr_assert_not_null(world_find_queue(&w, "shared"));
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_node, is_added_with_the_id_that_it_has_elsewhere)
{
    struct world w;
    struct meta_node node = node_of("x", 9);

    world_init(&w);
    node.id = 7;
    meta_put_node_add(&w.commands, 0, 0, &node);
    cr_assert_eq(world_apply(&w), META_OK);
    meta_put_node_add(&w.commands, 0, 0, &node);
    cr_assert_eq(world_apply(&w), META_EXISTS);
    node = node_of("y", 10);
    node.id = 7;
    meta_put_node_add(&w.commands, 0, 0, &node);
    cr_assert_eq(world_apply(&w), META_REFUSED);
    node.id = 0;
    meta_put_node_add(&w.commands, 0, 0, &node);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_eq(meta_node_named(w.m, "y", 1)->id, 8U);
    world_deinit(&w);
}

Test(meta_node, another_process_with_the_same_start_is_refused)
{
    struct world w;
    struct meta_node node = node_of("x", 9);

    world_init(&w);
    node.process = 44;
    cr_assert_eq(up(&w, &node), META_OK);
    cr_assert_eq(up(&w, &node), META_OK, "each shard says so");
    node.process = 45;
    cr_assert_eq(up(&w, &node), META_REFUSED);
    node.boot = 2;
    cr_assert_eq(up(&w, &node), META_OK);
    cr_assert_eq(meta_node_by_uuid(w.m, &node.uuid)->process, 45);
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_node, that_changes_a_queues_members_ends_its_first_configuration)
{
    struct meta_member members[2] = {
        {.replica = qr_replica(1, 1), .is_voter = true},
        {.replica = qr_replica(3, 1), .is_voter = true}};
    struct world w;
    struct meta_queue *queue;

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    queue = world_find_queue(&w, "q");
    cr_assert(meta_queue_is_original(queue));
    meta_put_queue_members(&w.commands, 0, 0, queue->group, members, 2);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_not(meta_queue_is_original(queue));
    cr_assert_geq(meta_queue_incarnation(queue), 3U);
    world_check_snapshot(&w);
    world_deinit(&w);
}
