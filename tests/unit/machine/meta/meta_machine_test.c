/* Applying entries: outcomes, several commands, and whatever is no command. */
#include "base/rng.h"
#include "lib/harness.h"
#include "meta.pb-c.h"
#include "world.h"

Test(meta_machine, starts_empty)
{
    struct world w;

    world_init(&w);
    cr_assert_eq(meta_applied(w.m), 0U);
    cr_assert_eq(meta_group_next(w.m), (qr_group_id)QR_GROUP_FIRST_QUEUE);
    cr_assert_eq(meta_cluster_name(w.m).size, 0U);
    cr_assert_eq(meta_queues_count(w.m), 0U);
    cr_assert_null(meta_vhost(w.m, "/", 1));
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_machine, may_have_no_listener)
{
    struct world w;
    struct meta_machine *quiet = meta_machine_new(NULL);
    struct meta_node node = {.id = 1, .name = text("n"), .boot = 1};

    world_init(&w);
    node.uuid.bytes[0] = 1;
    meta_put_node_up(&w.commands, 1, 1, &node);
    meta_put_barrier(&w.commands, 1, 2);
    meta_machine_apply(quiet, 5, 9, w.commands.data, w.commands.size);
    cr_assert_not_null(meta_node(quiet, 1));
    meta_machine_free(&quiet);
    meta_machine_free(&quiet);
    world_deinit(&w);
}

/* The outcomes of one entry. */
struct outcomes {
    struct meta_outcome list[8];
    size_t count;
};

static void
collect(void *arg, const struct meta_outcome *outcome)
{
    struct outcomes *o = arg;

    cr_assert_lt(o->count, 8U);
    o->list[o->count++] = *outcome;
}

Test(meta_machine, reports_each_command_of_an_entry_in_order)
{
    struct outcomes o = {.count = 0};
    struct meta_events events = {.arg = &o, .on_outcome = collect};
    struct meta_machine *m = meta_machine_new(&events);
    struct buf b;

    buf_init(&b);
    meta_put_vhost_add(&b, 7, 1, &(struct meta_vhost){.name = text("v")});
    meta_put_barrier(&b, 8, 2);
    meta_put_vhost_add(&b, 9, 3, &(struct meta_vhost){.name = text("v")});
    meta_put_cluster_name(&b, 0, 4, text("rabbit"));
    meta_machine_apply(m, 30, 1, b.data, b.size);
    cr_assert_eq(o.count, 4U);
    cr_assert_eq(o.list[0].session, 7U);
    cr_assert_eq(o.list[0].request, 1U);
    cr_assert_eq(o.list[0].status, META_OK);
    cr_assert_eq(o.list[0].index, 30U);
    cr_assert_eq(o.list[1].session, 8U);
    cr_assert_eq(o.list[1].status, META_OK);
    cr_assert_eq(o.list[2].status, META_EXISTS);
    cr_assert_eq(o.list[2].group, 0U);
    cr_assert_eq(o.list[3].session, 0U);
    cr_assert_str_eq(meta_cluster_name(m).data, "rabbit");
    buf_deinit(&b);
    meta_machine_free(&m);
}

Test(meta_machine, an_entry_may_be_empty)
{
    struct meta_machine *m = meta_machine_new(NULL);

    meta_machine_apply(m, 1, 1, NULL, 0);
    meta_machine_apply(m, 9, 1, "", 0);
    cr_assert_eq(meta_applied(m), 9U);
    meta_machine_free(&m);
}

Test(meta_machine, an_index_twice_is_a_bug, .signal = SIGABRT)
{
    struct meta_machine *m = meta_machine_new(NULL);

    meta_machine_apply(m, 1, 1, NULL, 0);
    meta_machine_apply(m, 1, 1, NULL, 0);
}

Test(meta_machine, the_cluster_can_be_renamed)
{
    static char big[QR_NAME_SIZE_MAX + 1];
    struct world w;

    world_init(&w);
    meta_put_cluster_name(&w.commands, 1, 1, text("one"));
    meta_put_cluster_name(&w.commands, 1, 1, text("two"));
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_str_eq(meta_cluster_name(w.m).data, "two");
    meta_put_cluster_name(&w.commands, 1, 1, meta_text(big, sizeof(big)));
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    world_check_snapshot(&w);
    meta_put_cluster_name(&w.commands, 1, 1, text(""));
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_eq(meta_cluster_name(w.m).size, 0U);
    world_deinit(&w);
}

Test(meta_machine, a_command_that_cannot_be_read_is_malformed)
{
    struct world w;

    world_init(&w);
    buf_put_blob(&w.commands, "\xff\xff\xff", 3);
    meta_put_vhost_add(&w.commands, 1, 1,
                       &(struct meta_vhost){.name = text("v")});
    cr_assert_eq(world_apply(&w), META_OK, "the next one is applied");
    cr_assert_eq(w.outcomes, 2U);
    cr_assert_not_null(meta_vhost(w.m, "v", 1));
    buf_put_blob(&w.commands, "\xff\xff\xff", 3);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    cr_assert_eq(w.outcome.session, 0U);
    world_deinit(&w);
}

Test(meta_machine, a_command_of_no_kind_is_malformed)
{
    struct world w;

    world_init(&w);
    buf_put_blob(&w.commands, "", 0);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    buf_put_blob(&w.commands, "\x08\x05\x10\x06", 4); /* session, request */
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    cr_assert_eq(w.outcome.session, 5U);
    cr_assert_eq(w.outcome.request, 6U);
    buf_put_blob(&w.commands, "\xca\x02\x00", 3); /* field 41: newer */
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    world_deinit(&w);
}

Test(meta_machine, a_length_out_of_the_entry_ends_it)
{
    struct world w;

    world_init(&w);
    meta_put_vhost_add(&w.commands, 1, 1,
                       &(struct meta_vhost){.name = text("v")});
    buf_put_varint(&w.commands, 100);
    buf_put_u8(&w.commands, 0);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    cr_assert_eq(w.outcomes, 2U);
    cr_assert_not_null(meta_vhost(w.m, "v", 1));
    world_deinit(&w);
}

/* A barrier of SIZE bytes: an unknown field fills it. */
static void
put_barrier_of_size(struct buf *b, size_t size)
{
    /* Field 39, empty; tag of field 3; a length of three bytes. */
    size_t rest = size - 3 - 1 - 3;
    struct buf command;

    buf_init(&command);
    buf_put(&command, "\xba\x02\x00\x1a", 4);
    buf_put_varint(&command, rest);
    memset(buf_extend(&command, rest), 0, rest);
    cr_assert_eq(command.size, size);
    buf_put_blob(b, command.data, command.size);
    buf_deinit(&command);
}

Test(meta_machine, a_command_has_at_most_256_kib)
{
    struct world w;

    world_init(&w);
    put_barrier_of_size(&w.commands, META_COMMAND_SIZE_MAX);
    cr_assert_eq(world_apply(&w), META_OK);
    put_barrier_of_size(&w.commands, META_COMMAND_SIZE_MAX + 1);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    world_deinit(&w);
}

/* Two bytes of input each, some forty of memory: more than the arena has. */
Test(meta_machine, unknown_fields_cannot_fill_the_memory)
{
    struct world w;
    struct buf many;

    world_init(&w);
    buf_init(&many);
    while (many.size + 4 <= META_COMMAND_SIZE_MAX) {
        buf_put(&many, "\x18\x01", 2); /* field 3, a varint */
    }
    buf_put(&many, "\xba\x02\x00", 3); /* field 39, a barrier */
    many.size = MIN(many.size, (size_t)META_COMMAND_SIZE_MAX);
    buf_put_blob(&w.commands, many.data, many.size);
    cr_assert_eq(world_apply(&w), META_MALFORMED);
    buf_clear(&many);
    for (unsigned i = 0; i < 100; i++) {
        buf_put(&many, "\x18\x01", 2);
    }
    buf_put(&many, "\xba\x02\x00", 3);
    buf_put_blob(&w.commands, many.data, many.size);
    cr_assert_eq(world_apply(&w), META_OK, "a few are let pass");
    buf_deinit(&many);
    world_deinit(&w);
}

/* A sound entry of many kinds. */
static void
put_entry(struct buf *b)
{
    struct meta_node node = {
        .id = 1, .name = text("n1"), .address = text("a:1"), .boot = 1};
    struct meta_queue_declare d = {.vhost = text("v"),
                                   .name = text("q"),
                                   .arguments = text("xyz"),
                                   .owner = {1, 1, 300},
                                   .nodes = {1},
                                   .nodes_count = 1};
    struct meta_binding binding = {.vhost = text("v"),
                                   .source = text("amq.topic"),
                                   .destination = text("q"),
                                   .key = text("a.#")};
    struct meta_member member = {.replica = qr_replica(1, 1), .is_voter = true};

    memset(node.uuid.bytes, 1, sizeof(node.uuid.bytes));
    meta_put_node_up(b, 1, 1, &node);
    meta_put_vhost_add(b, 1, 2, &(struct meta_vhost){.name = text("v")});
    meta_put_queue_declare(b, 1, 3, &d);
    meta_put_bind(b, 1, 4, &binding);
    meta_put_queue_members(b, 1, 5, QR_GROUP_FIRST_QUEUE, &member, 1);
    meta_put_connection_gone(b, 1, 6, &(struct meta_owner){2, 1, 300});
    meta_put_user_add(b, 1, 7, &(struct meta_user){.name = text("u")});
}

Test(meta_machine, spoilt_entries_never_spoil_the_state)
{
    struct buf sound;
    struct rng rng;

    rng_init(&rng, 5);
    buf_init(&sound);
    put_entry(&sound);
    for (unsigned round = 0; round < 20000; round++) {
        struct world w;
        size_t flips = (size_t)rng_between(&rng, 1, 4);

        world_init(&w);
        put_entry(&w.commands);
        for (size_t i = 0; i < flips; i++) {
            w.commands.data[rng_below(&rng, w.commands.size)] ^=
                (uint8_t)(1U << rng_below(&rng, 8));
        }
        if (rng_chance(&rng, 200000)) {
            w.commands.size = (size_t)rng_below(&rng, w.commands.size) + 1;
        }
        (void)world_apply(&w);
        world_check_snapshot(&w);
        world_deinit(&w);
    }
    buf_deinit(&sound);
}
