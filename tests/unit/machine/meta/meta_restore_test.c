/* Restoring: the difference is told, the rest carried over, and nothing that
 * is malformed accepted. */
#include <quorate/error.h>

#include "base/rng.h"
#include "lib/harness.h"
#include "world.h"

Test(meta_restore, tells_what_is_gone_new_and_kept)
{
    struct world a;
    struct world b;
    struct buf snapshot;
    struct meta_queue *kept = NULL;

    world_init_cluster(&a);
    world_init_cluster(&b);
    buf_init(&snapshot);
    cr_assert_eq(world_vhost(&a, "v"), META_OK);
    cr_assert_eq(world_user(&a, "old"), META_OK);
    cr_assert_eq(world_queue(&a, "kept"), META_OK);
    cr_assert_eq(world_queue(&a, "gone"), META_OK);
    cr_assert_eq(world_queue(&b, "kept"), META_OK);
    cr_assert_eq(world_queue(&b, "skipped"), META_OK);
    cr_assert_eq(world_delete_queue(&b, "skipped"), META_OK);
    cr_assert_eq(world_queue(&b, "new"), META_OK);
    cr_assert_eq(world_user(&b, "young"), META_OK);
    meta_machine_snapshot(b.m, &snapshot);
    (void)world_events(&a);
    cr_assert_eq(meta_machine_restore(a.m, 100, snapshot.data, snapshot.size),
                 0);
    cr_assert_str_eq(world_events(&a),
                     "-gone =kept +new vhost:v user:old user:guest user:young "
                     "node1 node2 node3");
    cr_assert_eq(meta_applied(a.m), 100U);
    kept = world_find_queue(&a, "kept");
    cr_assert_eq(kept->user, &a, "the owner's pointer came along");
    a.index = 100;
    cr_assert_eq(world_bind(&a, "amq.topic", "kept", "#"), META_OK);
    cr_assert_str_eq(world_route(&a, "amq.topic", "x"), "kept");
    cr_assert_eq(world_queue(&a, "next"), META_OK);
    cr_assert_eq(a.outcome.group, meta_group_next(b.m));
    buf_deinit(&snapshot);
    world_deinit(&a);
    world_deinit(&b);
}

Test(meta_restore, of_nothing_is_the_empty_state)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    (void)world_events(&w);
    cr_assert_eq(meta_machine_restore(w.m, 0, NULL, 0), 0);
    cr_assert_str_eq(world_events(&w), "-q vhost:/ user:guest");
    cr_assert_eq(meta_applied(w.m), 0U);
    cr_assert_eq(meta_group_next(w.m), (qr_group_id)QR_GROUP_FIRST_QUEUE);
    world_deinit(&w);
}

Test(meta_restore, indexes_owners_and_transients_again)
{
    struct world w;
    struct buf snapshot;

    world_init_cluster(&w);
    buf_init(&snapshot);
    cr_assert_eq(world_exclusive(&w, "a", 1, 5), META_OK);
    cr_assert_eq(world_exclusive(&w, "b", 1, 6), META_OK);
    cr_assert_eq(world_transient(&w, "t", 1), META_OK);
    meta_machine_snapshot(w.m, &snapshot);
    cr_assert_eq(
        meta_machine_restore(w.m, w.index, snapshot.data, snapshot.size), 0);
    (void)world_events(&w);
    meta_put_connection_gone(&w.commands, 1, 1, &(struct meta_owner){1, 1, 5});
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_eq(world_node_up(&w, 1, 2), META_OK);
    cr_assert_str_eq(world_events(&w), "-a node1 -b -t");
    buf_deinit(&snapshot);
    world_deinit(&w);
}

/* A state with something of every kind. */
static void
fill(struct world *w)
{
    struct meta_permission p = {
        .vhost = text("/"), .user = text("guest"), .configure = text(".*")};
    struct meta_policy policy = {.vhost = text("/"),
                                 .name = text("p"),
                                 .pattern = text("^a"),
                                 .priority = -3};
    struct meta_parameter parameter = {
        .vhost = text("/"), .component = text("c"), .name = text("n")};

    world_init_cluster(w);
    cr_assert_eq(world_exclusive(w, "mine", 1, 5), META_OK);
    cr_assert_eq(world_queue(w, "q"), META_OK);
    cr_assert_eq(world_transient(w, "t", 2), META_OK);
    cr_assert_eq(world_exchange(w, "x", META_TOPIC, true), META_OK);
    cr_assert_eq(world_bind(w, "x", "q", "a.#"), META_OK);
    cr_assert_eq(world_bind_exchange(w, "amq.fanout", "x", ""), META_OK);
    meta_put_permission_set(&w->commands, 1, 1, &p);
    meta_put_policy_set(&w->commands, 1, 1, &policy);
    meta_put_parameter_set(&w->commands, 1, 1, &parameter);
    meta_put_cluster_name(&w->commands, 1, 1, text("c"));
    cr_assert_eq(world_apply(w), META_OK);
    (void)world_events(w);
}

Test(meta_restore, refuses_a_newer_version)
{
    struct world w;
    struct buf snapshot;

    fill(&w);
    buf_init(&snapshot);
    meta_machine_snapshot(w.m, &snapshot);
    snapshot.data[0]++;
    cr_assert_eq(meta_machine_restore(w.m, 50, snapshot.data, snapshot.size),
                 -QR_EVERSION);
    snapshot.data[0] = 0;
    cr_assert_eq(meta_machine_restore(w.m, 50, snapshot.data, snapshot.size),
                 -QR_EFORMAT);
    cr_assert_str_eq(world_events(&w), "");
    cr_assert_eq(meta_applied(w.m), w.index);
    buf_deinit(&snapshot);
    world_deinit(&w);
}

Test(meta_restore, refuses_every_truncation_and_one_byte_more)
{
    struct world w;
    struct buf snapshot;

    fill(&w);
    buf_init(&snapshot);
    meta_machine_snapshot(w.m, &snapshot);
    buf_put_u8(&snapshot, 0);
    for (size_t size = 1; size <= snapshot.size; size++) {
        if (size != snapshot.size - 1) {
            cr_assert_eq(meta_machine_restore(w.m, 50, snapshot.data, size),
                         -QR_EFORMAT, "of %zu bytes", size);
        }
    }
    cr_assert_str_eq(world_events(&w), "");
    cr_assert_not_null(world_find_queue(&w, "q"));
    world_check_snapshot(&w);
    buf_deinit(&snapshot);
    world_deinit(&w);
}

Test(meta_restore, spoilt_bytes_are_refused_or_make_a_sound_state)
{
    struct world w;
    struct world target;
    struct buf snapshot;
    struct buf spoilt;
    struct rng rng;
    unsigned refused = 0;

    rng_init(&rng, 11);
    fill(&w);
    world_init(&target);
    buf_init(&snapshot);
    buf_init(&spoilt);
    meta_machine_snapshot(w.m, &snapshot);
    for (unsigned round = 0; round < 20000; round++) {
        size_t flips = (size_t)rng_between(&rng, 1, 3);

        buf_clear(&spoilt);
        buf_put(&spoilt, snapshot.data, snapshot.size);
        for (size_t i = 0; i < flips; i++) {
            spoilt.data[rng_below(&rng, spoilt.size)] ^=
                (uint8_t)(1U << rng_below(&rng, 8));
        }
        if (meta_machine_restore(target.m, 1, spoilt.data, spoilt.size) != 0) {
            refused++;
        }
    }
    world_check_snapshot(&target);
    cr_assert_gt(refused, 5000U);
    buf_deinit(&snapshot);
    buf_deinit(&spoilt);
    world_deinit(&target);
    world_deinit(&w);
}
