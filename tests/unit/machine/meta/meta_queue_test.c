/* Queues: declaring, deleting, owners, members. */
#include "lib/harness.h"
#include "world.h"

Test(meta_queue, is_declared_with_members_in_one_command)
{
    struct world w;
    struct meta_queue *q = NULL;

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    cr_assert_eq(w.outcome.group, (qr_group_id)QR_GROUP_FIRST_QUEUE);
    cr_assert_eq(w.outcome.session, 77U);
    cr_assert_eq(w.outcome.request, w.index);
    cr_assert_str_eq(world_events(&w), "+q");
    q = world_find_queue(&w, "q");
    cr_assert_not_null(q);
    cr_assert_eq(q->group, w.outcome.group);
    cr_assert_eq(q->members_count, 3U);
    cr_assert_eq(q->members[2].replica, qr_replica(3, 1));
    cr_assert(q->members[2].is_voter);
    cr_assert_eq(q->members[2].boot, 1U);
    cr_assert_eq(q->stand, 2U);
    cr_assert_eq(q->owner.node, 0U);
    cr_assert_eq(q->created_ms, w.time_ms);
    cr_assert(q->is_durable);
    cr_assert_eq(meta_queue_incarnation(q), 2U);
    cr_assert_eq(meta_group_next(w.m), q->group + 1);
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_queue, declared_again_is_the_same_queue)
{
    struct world w;
    qr_group_id group = 0;

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    group = w.outcome.group;
    cr_assert_eq(world_transient(&w, "q", 1), META_EXISTS);
    cr_assert_eq(w.outcome.group, group);
    cr_assert_str_eq(world_events(&w), "+q");
    cr_assert_eq(meta_group_next(w.m), group + 1);
    world_deinit(&w);
}

Test(meta_queue, groups_are_never_given_twice)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    cr_assert_eq(world_delete_queue(&w, "q"), META_OK);
    cr_assert_eq(w.outcome.group, (qr_group_id)QR_GROUP_FIRST_QUEUE);
    world_check_snapshot(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    cr_assert_eq(w.outcome.group, (qr_group_id)QR_GROUP_FIRST_QUEUE + 1);
    cr_assert_null(meta_queue_by_group(w.m, QR_GROUP_FIRST_QUEUE));
    world_deinit(&w);
}

static enum meta_status
declare(struct world *w, const struct meta_queue_declare *d)
{
    meta_put_queue_declare(&w->commands, 1, 1, d);
    return world_apply(w);
}

Test(meta_queue, declared_while_a_node_goes_does_without_it)
{
    struct world w;
    struct meta_queue *q = NULL;
    struct meta_queue_declare d = {.vhost = text("/"),
                                   .name = text("q"),
                                   .nodes = {3, 1, 2},
                                   .nodes_count = 3,
                                   .stand = 3};

    world_init_cluster(&w);
    meta_put_node_remove(&w.commands, 1, 1, 3);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_eq(declare(&w, &d), META_OK);
    q = world_find_queue(&w, "q");
    cr_assert_not_null(q);
    cr_assert_eq(q->members_count, 2U);
    cr_assert_eq(q->members[0].replica, qr_replica(1, 1));
    cr_assert_eq(q->members[1].replica, qr_replica(2, 1));
    cr_assert_eq(q->stand, 1U, "who stands is a member");
    world_check_snapshot(&w);
    d.name = text("none");
    d.nodes_count = 1;
    cr_assert_eq(declare(&w, &d), META_NOT_FOUND, "no node is left");
    world_deinit(&w);
}

Test(meta_queue, malformed_declarations_change_nothing)
{
    static char big[META_ARGUMENTS_SIZE_MAX + 1];
    struct world w;
    const struct meta_queue_declare sound = {.vhost = text("/"),
                                             .name = text("q"),
                                             .nodes = {1, 2},
                                             .nodes_count = 2};
    struct meta_queue_declare d = sound;

    world_init_cluster(&w);
    d.name = text("");
    cr_assert_eq(declare(&w, &d), META_MALFORMED);
    d.name = meta_text(big, QR_NAME_SIZE_MAX + 1);
    cr_assert_eq(declare(&w, &d), META_MALFORMED);
    d = sound;
    d.arguments = meta_text(big, sizeof(big));
    cr_assert_eq(declare(&w, &d), META_MALFORMED);
    d = sound;
    d.nodes_count = 0;
    cr_assert_eq(declare(&w, &d), META_MALFORMED);
    d = sound;
    d.nodes[1] = 1;
    cr_assert_eq(declare(&w, &d), META_MALFORMED, "a node twice");
    d = sound;
    d.stand = 3;
    cr_assert_eq(declare(&w, &d), META_MALFORMED, "no member stands");
    d = sound;
    d.vhost = text("none");
    cr_assert_eq(declare(&w, &d), META_NO_VHOST);
    d = sound;
    d.nodes[1] = 9;
    cr_assert_eq(declare(&w, &d), META_NOT_FOUND, "an unknown node");
    d = sound;
    d.owner = (struct meta_owner){9, 1, 1};
    cr_assert_eq(declare(&w, &d), META_NOT_FOUND, "an unknown owner");
    cr_assert_str_eq(world_events(&w), "");
    cr_assert_eq(meta_group_next(w.m), (qr_group_id)QR_GROUP_FIRST_QUEUE);
    d = sound;
    d.arguments = meta_text(big, sizeof(big) - 1);
    cr_assert_eq(declare(&w, &d), META_OK);
    cr_assert_eq(world_find_queue(&w, "q")->stand, 1U, "the first stands");
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_queue, names_may_hold_any_byte)
{
    struct world w;
    struct meta_queue_declare d = {.vhost = text("/"),
                                   .name = meta_text("a\0b", 3),
                                   .nodes = {1},
                                   .nodes_count = 1};

    world_init_cluster(&w);
    cr_assert_eq(declare(&w, &d), META_OK);
    d.name = meta_text("a\0c", 3);
    cr_assert_eq(declare(&w, &d), META_OK);
    cr_assert_not_null(meta_queue(w.m, world_root(&w), "a\0b", 3));
    cr_assert_null(meta_queue(w.m, world_root(&w), "a", 1));
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_queue, a_late_delete_does_not_hit_its_successor)
{
    struct world w;
    struct meta_queue_delete del = {.vhost = text("/"), .name = text("q")};

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    del.group = w.outcome.group;
    cr_assert_eq(world_delete_queue(&w, "q"), META_OK);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    meta_put_queue_delete(&w.commands, 1, 1, &del);
    cr_assert_eq(world_apply(&w), META_NO_QUEUE);
    cr_assert_not_null(world_find_queue(&w, "q"));
    del.group++;
    meta_put_queue_delete(&w.commands, 1, 1, &del);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_eq(w.outcome.group, del.group);
    meta_put_queue_delete(&w.commands, 1, 1, &del);
    cr_assert_eq(world_apply(&w), META_NO_QUEUE);
    del.vhost = text("none");
    meta_put_queue_delete(&w.commands, 1, 1, &del);
    cr_assert_eq(world_apply(&w), META_NO_VHOST);
    world_deinit(&w);
}

Test(meta_queue, may_be_deleted_by_its_owner_alone)
{
    struct world w;
    struct meta_queue_delete del = {
        .vhost = text("/"), .name = text("q"), .owner = {1, 1, 6}};

    world_init_cluster(&w);
    cr_assert_eq(world_exclusive(&w, "q", 1, 5), META_OK);
    meta_put_queue_delete(&w.commands, 1, 1, &del);
    cr_assert_eq(world_apply(&w), META_REFUSED);
    del.owner.connection = 5;
    meta_put_queue_delete(&w.commands, 1, 1, &del);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_str_eq(world_events(&w), "+q -q");
    world_deinit(&w);
}

Test(meta_queue, takes_its_bindings_with_it)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.topic", "q", "a.*"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.direct", "q", "a"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.match", "q", "a"), META_OK);
    cr_assert_eq(meta_bindings_count(w.m), 3U);
    cr_assert_eq(world_delete_queue(&w, "q"), META_OK);
    cr_assert_eq(meta_bindings_count(w.m), 0U);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    cr_assert_str_eq(world_route(&w, "amq.topic", "a.b"), "");
    world_deinit(&w);
}

Test(meta_queue, a_connection_takes_its_exclusive_queues_with_it)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_exclusive(&w, "a", 1, 5), META_OK);
    cr_assert_eq(world_exclusive(&w, "b", 1, 5), META_OK);
    cr_assert_eq(world_exclusive(&w, "c", 1, 6), META_OK);
    cr_assert_eq(world_find_queue(&w, "a")->owner.connection, 5U);
    (void)world_events(&w);
    world_check_snapshot(&w);
    meta_put_connection_gone(&w.commands, 1, 1, &(struct meta_owner){1, 1, 5});
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_str_eq(world_events(&w), "-a -b");
    meta_put_connection_gone(&w.commands, 1, 1, &(struct meta_owner){1, 1, 5});
    cr_assert_eq(world_apply(&w), META_OK);
    meta_put_connection_gone(&w.commands, 1, 1, &(struct meta_owner){0, 1, 5});
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    cr_assert_str_eq(world_events(&w), "");
    world_deinit(&w);
}

Test(meta_queue, exclusive_to_an_earlier_boot_is_refused)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_node_up(&w, 1, 2), META_OK);
    cr_assert_eq(world_exclusive(&w, "a", 1, 5), META_REFUSED);
    cr_assert_eq(world_exclusive(&w, "a", 2, 5), META_OK);
    world_deinit(&w);
}

static enum meta_status
set_members(struct world *w, qr_group_id group,
            const struct meta_member *members, size_t count)
{
    meta_put_queue_members(&w->commands, 1, 1, group, members, count);
    return world_apply(w);
}

Test(meta_queue, members_change_and_keep_their_boots)
{
    struct world w;
    struct meta_queue *q = NULL;
    struct meta_member members[2] = {
        {.replica = qr_replica(1, 1), .is_voter = true},
        {.replica = qr_replica(2, 2)}};

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    cr_assert_eq(world_node_up(&w, 1, 4), META_OK);
    cr_assert_eq(world_node_up(&w, 2, 7), META_OK);
    (void)world_events(&w);
    q = world_find_queue(&w, "q");
    cr_assert_eq(set_members(&w, q->group, members, 2), META_OK);
    cr_assert_str_eq(world_events(&w), "=q");
    cr_assert_eq(q->members_count, 2U);
    cr_assert_eq(q->members[0].boot, 1U, "as it was");
    cr_assert_eq(q->members[1].boot, 7U, "a new replica, of now");
    cr_assert(!q->members[1].is_voter);
    cr_assert_eq(q->stand, 2U, "still a member");
    cr_assert_eq(meta_queue_incarnation(q), 3U);
    cr_assert_eq(set_members(&w, q->group, members, 1), META_OK);
    cr_assert_eq(q->stand, 1U, "the first voter stands now");
    cr_assert_eq(meta_queue_incarnation(q), 3U);
    cr_assert_eq(set_members(&w, q->group, members, 2), META_REFUSED,
                 "that replica has left");
    members[1].replica = qr_replica(3, 3);
    cr_assert_eq(set_members(&w, q->group, members, 2), META_OK);
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_queue, malformed_members_change_nothing)
{
    struct world w;
    struct meta_member members[2] = {
        {.replica = qr_replica(1, 1), .is_voter = true},
        {.replica = qr_replica(1, 2), .is_voter = true}};
    qr_group_id group = 0;

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    group = w.outcome.group;
    (void)world_events(&w);
    cr_assert_eq(set_members(&w, group, members, 2), META_MALFORMED,
                 "a node twice");
    cr_assert_eq(set_members(&w, group, members, 0), META_MALFORMED);
    members[1].replica = qr_replica(2, 0);
    cr_assert_eq(set_members(&w, group, members, 2), META_MALFORMED);
    members[1].replica = qr_replica(2, UINT32_MAX);
    cr_assert_eq(set_members(&w, group, members, 2), META_MALFORMED);
    members[1].replica = qr_replica(9, 2);
    cr_assert_eq(set_members(&w, group, members, 2), META_NOT_FOUND);
    members[0].is_voter = false;
    cr_assert_eq(set_members(&w, group, members, 1), META_MALFORMED,
                 "no voter");
    members[0].is_voter = true;
    cr_assert_eq(set_members(&w, group + 1, members, 1), META_NO_QUEUE);
    cr_assert_str_eq(world_events(&w), "");
    cr_assert_eq(world_find_queue(&w, "q")->members_count, 3U);
    world_deinit(&w);
}

Test(meta_queue, a_transient_one_ends_with_its_last_old_member)
{
    struct world w;
    struct meta_member members[1] = {
        {.replica = qr_replica(1, 1), .is_voter = true}};

    world_init_cluster(&w);
    cr_assert_eq(world_transient(&w, "t", 2), META_OK);
    cr_assert_eq(world_node_up(&w, 1, 2), META_OK);
    (void)world_events(&w);
    cr_assert_eq(set_members(&w, world_find_queue(&w, "t")->group, members, 1),
                 META_OK);
    cr_assert_str_eq(world_events(&w), "=t -t");
    world_deinit(&w);
}
