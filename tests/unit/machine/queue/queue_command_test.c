/* The codec: what goes in comes out, and nothing else is let in. */
#include <quorate/error.h>

#include "base/ranges.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "machine/queue/queue_command.h"

static const uint64_t SESSION = UINT64_C(0x0003000000070002);

/* Decode the single command in B. */
static struct queue_command
decode(const struct buf *b)
{
    struct queue_command cmd;
    struct cursor c;

    cursor_init(&c, b->data, b->size);
    cr_assert_eq(queue_command_next(&c, &cmd), 0);
    cr_assert_eq(cursor_left(&c), 0);
    return cmd;
}

/* The bytes of B, and each shorter part of them, must be refused. */
static void
assert_refused(const struct buf *b)
{
    struct queue_command cmd = {.seq = 77};
    struct cursor c;

    cursor_init(&c, b->data, b->size);
    cr_assert_eq(queue_command_next(&c, &cmd), -QR_EFORMAT);
    cr_assert(c.bad);
    cr_assert_eq(cmd.seq, 77, "output written on failure");
}

static void
assert_no_prefix_decodes(const struct buf *b)
{
    for (size_t size = 0; size < b->size; size++) {
        struct buf part = {.data = b->data, .size = size};

        assert_refused(&part);
    }
}

Test(queue_command, codes_sessions_by_node_boot_and_shard)
{
    uint64_t s = session_id(65535, 4000000000U, 65534);

    cr_assert_eq(session_node(s), 65535);
    cr_assert_eq(session_boot(s), 4000000000U);
    cr_assert_eq(session_shard(s), 65534);
}

Test(queue_command, carries_a_message_without_staging)
{
    struct queue_command cmd;
    struct buf b;

    buf_init(&b);
    queue_put_enqueue(&b, SESSION, 9, 5);
    buf_put(&b, "hello", 5);
    cmd = decode(&b);
    cr_assert_eq((int)cmd.kind, (int)QUEUE_ENQUEUE);
    cr_assert_eq(cmd.session, SESSION);
    cr_assert_eq(cmd.seq, 9);
    cr_assert_eq(cmd.size, 5);
    cr_assert_eq(cmd.bytes, b.data + b.size - 5);
    assert_no_prefix_decodes(&b);
    buf_deinit(&b);
}

Test(queue_command, carries_an_empty_message)
{
    struct queue_command cmd;
    struct buf b;

    buf_init(&b);
    queue_put_enqueue(&b, SESSION, 1, 0);
    cmd = decode(&b);
    cr_assert_eq(cmd.size, 0);
    cr_assert_not_null(cmd.bytes);
    buf_deinit(&b);
}

Test(queue_command, carries_the_largest_message)
{
    struct buf b;

    buf_init(&b);
    queue_put_enqueue(&b, SESSION, 1, QUEUE_MESSAGE_SIZE_MAX);
    memset(buf_extend(&b, QUEUE_MESSAGE_SIZE_MAX), 'm', QUEUE_MESSAGE_SIZE_MAX);
    cr_assert_eq(decode(&b).size, QUEUE_MESSAGE_SIZE_MAX);
    b.size--;
    assert_refused(&b);
    buf_deinit(&b);
}

Test(queue_command, carries_an_attach_at_all_its_limits)
{
    uint8_t tag[QUEUE_TAG_SIZE_MAX];
    struct queue_command attach = {
        .consumer = UINT64_MAX,
        .credit = QUEUE_CREDIT_MAX,
        .flags = QUEUE_ATTACH_EXCLUSIVE | QUEUE_ATTACH_NO_ACK,
        .bytes = tag,
        .size = sizeof(tag),
    };
    struct queue_command cmd;
    struct buf b;

    memset(tag, 'x', sizeof(tag));
    buf_init(&b);
    queue_put_attach(&b, SESSION, UINT64_MAX, &attach);
    cmd = decode(&b);
    cr_assert_eq((int)cmd.kind, (int)QUEUE_ATTACH);
    cr_assert_eq(cmd.seq, UINT64_MAX);
    cr_assert_eq(cmd.consumer, UINT64_MAX);
    cr_assert_eq(cmd.credit, QUEUE_CREDIT_MAX);
    cr_assert_eq(cmd.flags, attach.flags);
    cr_assert_eq(cmd.size, sizeof(tag));
    cr_assert_arr_eq(cmd.bytes, tag, sizeof(tag));
    assert_no_prefix_decodes(&b);
    buf_deinit(&b);
}

Test(queue_command, carries_credit_purge_and_consumers)
{
    const enum queue_command_kind kinds[] = {QUEUE_CANCEL, QUEUE_DETACH,
                                             QUEUE_GET};
    struct queue_command cmd;
    struct buf b;

    buf_init(&b);
    queue_put_credit(&b, SESSION, 3, 300, 0);
    cmd = decode(&b);
    cr_assert_eq((int)cmd.kind, (int)QUEUE_CREDIT);
    cr_assert_eq(cmd.consumer, 300);
    cr_assert_eq(cmd.credit, 0);
    buf_clear(&b);
    queue_put_purge(&b, SESSION, 4);
    cr_assert_eq((int)decode(&b).kind, (int)QUEUE_PURGE);
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        buf_clear(&b);
        queue_put_consumer(&b, kinds[i], SESSION, 5, 8);
        cmd = decode(&b);
        cr_assert_eq((int)cmd.kind, (int)kinds[i]);
        cr_assert_eq(cmd.consumer, 8);
        assert_no_prefix_decodes(&b);
    }
    buf_deinit(&b);
}

Test(queue_command, carries_a_node_s_death)
{
    struct queue_command cmd;
    struct buf b;

    buf_init(&b);
    queue_put_session_down(&b, 65535, UINT32_MAX);
    cmd = decode(&b);
    cr_assert_eq((int)cmd.kind, (int)QUEUE_SESSION_DOWN);
    cr_assert_eq(cmd.node, 65535);
    cr_assert_eq(cmd.boot, UINT32_MAX);
    assert_no_prefix_decodes(&b);
    buf_deinit(&b);
}

/* Encode IDS, decode them, compare. */
static void
assert_ids_survive(const struct ranges *ids)
{
    struct queue_command head = {.session = SESSION, .seq = 2, .consumer = 7};
    struct queue_command cmd;
    struct cursor c;
    struct buf b;
    uint64_t first = 0;
    uint64_t last = 0;

    buf_init(&b);
    queue_put_ids(&b, QUEUE_RETURN, &head, ids);
    cmd = decode(&b);
    cr_assert_eq((int)cmd.kind, (int)QUEUE_RETURN);
    cr_assert_eq(cmd.consumer, 7);
    cursor_init(&c, cmd.ranges, cmd.ranges_size);
    for (size_t i = 0; i < ids->count; i++) {
        cr_assert(queue_ranges_next(&c, &first, &last));
        cr_assert_eq(first, ids->items[i].first);
        cr_assert_eq(last, ids->items[i].last);
    }
    cr_assert_not(queue_ranges_next(&c, &first, &last));
    cr_assert_not(c.bad);
    buf_deinit(&b);
}

Test(queue_command, carries_ranges_up_to_their_number_and_to_the_last_id)
{
    struct ranges ids;

    ranges_init(&ids);
    assert_ids_survive(&ids);
    ranges_add(&ids, UINT64_MAX, UINT64_MAX);
    assert_ids_survive(&ids);
    ranges_add(&ids, 1, 1);
    for (uint64_t i = 1; i <= QUEUE_RANGES_MAX - 2; i++) {
        ranges_add(&ids, i * 10, i * 10 + i % 7);
    }
    cr_assert_eq(ids.count, QUEUE_RANGES_MAX);
    assert_ids_survive(&ids);
    ranges_deinit(&ids);
}

Test(queue_command, refuses_ranges_beyond_their_number)
{
    struct buf b;

    buf_init(&b);
    buf_put_u8(&b, QUEUE_SETTLE);
    buf_put_varint(&b, SESSION);
    buf_put_varint(&b, 1);
    buf_put_varint(&b, 1);
    buf_put_varint(&b, QUEUE_RANGES_MAX + 1);
    for (size_t i = 0; i <= QUEUE_RANGES_MAX; i++) {
        buf_put_varint(&b, 2);
        buf_put_varint(&b, 0);
    }
    assert_refused(&b);
    buf_deinit(&b);
}

/* A SETTLE of one or two coded ranges must be refused. */
static void
assert_ranges_refused(const uint64_t *numbers, size_t count)
{
    struct buf b;

    buf_init(&b);
    buf_put_u8(&b, QUEUE_SETTLE);
    buf_put_varint(&b, SESSION);
    buf_put_varint(&b, 1);
    buf_put_varint(&b, 1);
    buf_put_varint(&b, count / 2);
    for (size_t i = 0; i < count; i++) {
        buf_put_varint(&b, numbers[i]);
    }
    assert_refused(&b);
    buf_deinit(&b);
}

Test(queue_command, refuses_ranges_that_stand_still_or_run_over)
{
    const uint64_t zero[] = {0, 5};
    const uint64_t still[] = {1, 5, 0, 1};
    const uint64_t length_over[] = {2, UINT64_MAX - 1};
    const uint64_t gap_over[] = {9, 0, UINT64_MAX - 8, 0};

    assert_ranges_refused(zero, 2);
    assert_ranges_refused(still, 4);
    assert_ranges_refused(length_over, 2);
    assert_ranges_refused(gap_over, 4);
}

/* Session command KIND with seq 1 and these numbers must be refused. */
static void
assert_fields_refused(uint8_t kind, const uint64_t *numbers, size_t count)
{
    struct buf b;

    buf_init(&b);
    buf_put_u8(&b, kind);
    buf_put_varint(&b, SESSION);
    buf_put_varint(&b, 1);
    for (size_t i = 0; i < count; i++) {
        buf_put_varint(&b, numbers[i]);
    }
    assert_refused(&b);
    buf_deinit(&b);
}

Test(queue_command, refuses_fields_one_past_their_limits)
{
    const uint64_t credit[] = {1, QUEUE_CREDIT_MAX + 1, 0, 0};
    const uint64_t flags[] = {1, 1, 4, 0};
    const uint64_t tag[] = {1, 1, 0, QUEUE_TAG_SIZE_MAX + 1};
    const uint64_t size[] = {QUEUE_MESSAGE_SIZE_MAX + 1};

    assert_fields_refused(QUEUE_ATTACH, credit, 4);
    assert_fields_refused(QUEUE_ATTACH, flags, 4);
    assert_fields_refused(QUEUE_ATTACH, tag, 4);
    assert_fields_refused(QUEUE_CREDIT, credit, 2);
    assert_fields_refused(QUEUE_ENQUEUE, size, 1);
}

Test(queue_command, refuses_unknown_kinds_and_number_zero)
{
    struct buf b;

    buf_init(&b);
    for (unsigned kind = 0; kind < 256; kind++) {
        buf_clear(&b);
        buf_put_u8(&b, (uint8_t)kind);
        buf_put_varint(&b, SESSION);
        buf_put_varint(&b, 0); /* no command has it */
        buf_put_varint(&b, 0);
        buf_put_varint(&b, 0);
        buf_put_varint(&b, 0);
        buf_put_varint(&b, 0);
        assert_refused(&b);
    }
    buf_clear(&b);
    queue_put_session_down(&b, 1, 1);
    buf_clear(&b);
    buf_put_u8(&b, QUEUE_SESSION_DOWN);
    buf_put_varint(&b, 65536);
    buf_put_varint(&b, 1);
    assert_refused(&b);
    buf_clear(&b);
    buf_put_u8(&b, QUEUE_SESSION_DOWN);
    buf_put_varint(&b, 1);
    buf_put_varint(&b, UINT64_C(1) << 32);
    assert_refused(&b);
    buf_deinit(&b);
}

Test(queue_command, ends_a_walk_over_bad_ranges)
{
    const uint8_t bytes[] = {0, 0};
    struct cursor c;
    uint64_t first = 0;
    uint64_t last = 0;

    cursor_init(&c, bytes, sizeof(bytes));
    cr_assert_not(queue_ranges_next(&c, &first, &last));
    cr_assert(c.bad);
}

Test(queue_command, survives_random_bytes)
{
    struct queue_command cmd;
    struct cursor c;
    struct rng r;
    uint8_t bytes[64];

    rng_init(&r, 2);
    for (size_t i = 0; i < 200000; i++) {
        size_t size = (size_t)rng_below(&r, sizeof(bytes));
        int rv = 0;

        rng_fill(&r, bytes, sizeof(bytes));
        bytes[0] = (uint8_t)rng_below(&r, 12);
        cursor_init(&c, bytes, size);
        rv = queue_command_next(&c, &cmd);
        cr_assert(rv == 0 || rv == -QR_EFORMAT);
        cr_assert_eq(c.bad, rv != 0);
    }
}

Test(queue_command, entries_to_set_aside_come_back_as_they_were)
{
    struct queue_command cmd;
    struct ranges entries;
    struct cursor c;
    struct cursor r;
    struct buf b;
    uint64_t first = 0;
    uint64_t last = 0;

    buf_init(&b);
    ranges_init(&entries);
    ranges_add(&entries, 7, 9);
    ranges_add(&entries, UINT64_MAX, UINT64_MAX);
    queue_put_set_aside(&b, &entries);
    cursor_init(&c, b.data, b.size);
    cr_assert_eq(queue_command_next(&c, &cmd), 0);
    cr_assert_eq((int)cmd.kind, (int)QUEUE_SET_ASIDE);
    cr_assert_eq(cursor_left(&c), 0);
    cursor_init(&r, cmd.ranges, cmd.ranges_size);
    cr_assert(queue_ranges_next(&r, &first, &last));
    cr_assert_eq(first, 7);
    cr_assert_eq(last, 9);
    cr_assert(queue_ranges_next(&r, &first, &last));
    cr_assert_eq(last, UINT64_MAX);
    for (size_t size = 0; size < b.size; size++) {
        cursor_init(&c, b.data, size);
        cr_assert_eq(queue_command_next(&c, &cmd), -QR_EFORMAT);
    }
    ranges_deinit(&entries);
    buf_deinit(&b);
}
