/* Restoring: nothing that is wrong is let in, and nothing wrong crashes. */
#include <quorate/error.h>

#include "base/buf.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "machine/queue/queue_snapshot.h"
#include "unit/machine/queue/queue_fixture.h"

static const uint64_t S = UINT64_C(0x0001000000010000);
static const uint64_t T = UINT64_C(0x0002000000010000);

/* The bytes before the sessions of a snapshot. */
static void
put_head(struct buf *b)
{
    buf_clear(b);
    buf_put_u8(b, QUEUE_SNAPSHOT_VERSION);
    buf_put_u8(b, QUEUE_SNAPSHOT_WAS_USED);
    buf_put_varint(b, 0);
    buf_put_varint(b, 0);
}

static void
put_numbers(struct buf *b, const uint64_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_put_varint(b, numbers[i]);
    }
}

/* What a restore of B says; a machine that is refused keeps its state. */
static int
try_restore(const struct buf *b)
{
    struct fixture f;
    struct buf before;
    struct buf after;
    int rv = 0;

    fixture_init(&f);
    buf_init(&before);
    buf_init(&after);
    fixture_attach(&f, S, 1, 1);
    fixture_enqueue(&f, S, "m");
    fixture_enqueue(&f, S, "m");
    fixture_apply_quietly(&f);
    fixture_snapshot(f.m, &before);
    rv = queue_machine_restore(f.m, b->data, b->size);
    queue_machine_check(f.m);
    fixture_snapshot(f.m, &after);
    if (rv != 0) {
        cr_assert_eq(before.size, after.size);
        cr_assert_arr_eq(before.data, after.data, before.size);
    } else if (b->size > 0) {
        cr_assert_eq(b->size, after.size);
        cr_assert_arr_eq(b->data, after.data, b->size);
    }
    buf_deinit(&before);
    buf_deinit(&after);
    fixture_deinit(&f);
    return rv;
}

/* NUMBERS after the head: 0 if a restore takes them. */
static int
try_numbers(const uint64_t *numbers, size_t count)
{
    struct buf b;
    int rv = 0;

    buf_init(&b);
    put_head(&b);
    put_numbers(&b, numbers, count);
    rv = try_restore(&b);
    buf_deinit(&b);
    return rv;
}

#define TRY(...)                                 \
    try_numbers((const uint64_t[]){__VA_ARGS__}, \
                ARRAY_COUNT(((const uint64_t[]){__VA_ARGS__})))

Test(queue_restore, of_no_bytes_is_an_empty_state)
{
    struct fixture f;

    fixture_init(&f);
    fixture_enqueue(&f, S, "m");
    fixture_apply_quietly(&f);
    cr_assert_eq(queue_machine_restore(f.m, NULL, 0), 0);
    queue_machine_check(f.m);
    cr_assert_eq(fixture_counts(&f).ready, 0);
    cr_assert_eq(fixture_counts(&f).sessions, 0);
    f.index = 0; /* and its log may begin again */
    f.seqs[0] = 0;
    fixture_enqueue(&f, S, "m");
    fixture_apply(&f);
    fixture_expect_applied(&f, S, 1);
    fixture_deinit(&f);
}

Test(queue_restore, refuses_another_version)
{
    struct buf b;

    buf_init(&b);
    put_head(&b);
    put_numbers(&b, (const uint64_t[]){0, 0, 0, 0}, 4);
    cr_assert_eq(try_restore(&b), 0);
    b.data[0] = QUEUE_SNAPSHOT_VERSION + 1;
    cr_assert_eq(try_restore(&b), -QR_EVERSION);
    b.data[0] = 0;
    cr_assert_eq(try_restore(&b), -QR_EVERSION);
    b.data[0] = QUEUE_SNAPSHOT_VERSION;
    b.data[1] = 2; /* an unknown flag */
    cr_assert_eq(try_restore(&b), -QR_EFORMAT);
    buf_deinit(&b);
}

Test(queue_restore, refuses_bytes_too_few_and_too_many)
{
    struct fixture f;
    struct buf b;

    fixture_init(&f);
    buf_init(&b);
    fixture_attach(&f, T, 7, 3);
    for (unsigned i = 0; i < 9; i++) {
        fixture_enqueue(&f, S, "m");
    }
    fixture_apply_quietly(&f);
    fixture_return(&f, T, 7, 2, 2);
    fixture_consumer(&f, QUEUE_CANCEL, T, 7);
    fixture_apply_quietly(&f);
    fixture_snapshot(f.m, &b);
    cr_assert_eq(try_restore(&b), 0);
    for (size_t size = 1; size < b.size; size++) {
        struct buf part = {.data = b.data, .size = size};

        cr_assert_eq(try_restore(&part), -QR_EFORMAT);
    }
    buf_put_u8(&b, 0);
    cr_assert_eq(try_restore(&b), -QR_EFORMAT);
    buf_deinit(&b);
    fixture_deinit(&f);
}

Test(queue_restore, refuses_ready_messages_out_of_order)
{
    /* sessions, turns, returned, ready: total, repeats, length, index,
     * offset, size. */
    cr_assert_eq(TRY(0, 0, 0, 1, 1, 1, 2, 10, 5), 0);
    cr_assert_eq(TRY(0, 0, 0, 1, 1, 1, 0, 10, 5), -QR_EFORMAT); /* index 0 */
    cr_assert_eq(TRY(0, 0, 0, 1, 1, 1, 1, 10, 5), -QR_EFORMAT); /* index -1 */
    cr_assert_eq(TRY(0, 0, 0, 2, 2, 1, 2, 10, 5), 0);
    /* The second run lies in the same entry, before the first. */
    cr_assert_eq(TRY(0, 0, 0, 2, 1, 1, 2, 10, 5, 1, 1, 0, 13, 5), -QR_EFORMAT);
    /* Messages of no size in one place. */
    cr_assert_eq(TRY(0, 0, 0, 2, 1, 2, 2, 10, 0, 0), -QR_EFORMAT);
}

Test(queue_restore, refuses_messages_that_leave_their_entry)
{
    const uint64_t end = UINT32_MAX;

    cr_assert_eq(TRY(0, 0, 0, 1, 1, 1, 2, 2 * (end - 5), 5), 0);
    cr_assert_eq(TRY(0, 0, 0, 1, 1, 1, 2, 2 * (end - 4), 5), -QR_EFORMAT);
    cr_assert_eq(TRY(0, 0, 0, 1, 1, 1, 2, 2 * (end + 1), 0), -QR_EFORMAT);
    cr_assert_eq(TRY(0, 0, 0, 1, 1, 1, 2, 10, QUEUE_MESSAGE_SIZE_MAX), 0);
    cr_assert_eq(TRY(0, 0, 0, 1, 1, 1, 2, 10, QUEUE_MESSAGE_SIZE_MAX + 1),
                 -QR_EFORMAT);
    cr_assert_eq(TRY(0, 0, 0, 2, 1, 2, 2, 10, 5, end), -QR_EFORMAT);
}

Test(queue_restore, believes_no_total_that_its_runs_do_not_have)
{
    const uint64_t many = QUEUE_MESSAGES_MAX;

    cr_assert_eq(TRY(0, 0, 0, 1, 2, 1, 2, 10, 5), -QR_EFORMAT);
    cr_assert_eq(TRY(0, 0, 0, 3, 2, 1, 2, 10, 5), -QR_EFORMAT);
    cr_assert_eq(TRY(0, 0, 0, many, many, 2, 2, 10, 5, 1), -QR_EFORMAT);
    cr_assert_eq(TRY(0, 0, 0, many + 1, many + 1, 1, 2, 10, 5), -QR_EFORMAT);
    cr_assert_eq(TRY(0, 0, 0, 1, 0, 1, 2, 10, 5), -QR_EFORMAT);
    cr_assert_eq(TRY(0, 0, 0, 1, 1, 0, 2, 10, 5), -QR_EFORMAT);
}

Test(queue_restore, refuses_returned_messages_never_delivered)
{
    cr_assert_eq(TRY(0, 0, 1, 1, 1, 2, 10, 5, 1, 0), 0);
    cr_assert_eq(TRY(0, 0, 1, 1, 1, 2, 10, 5, 0, 0), -QR_EFORMAT);
    /* And out of order: the same entry, backwards. */
    cr_assert_eq(TRY(0, 0, 2, 1, 1, 2, 10, 5, 1, 1, 1, 0, 13, 5, 1, 0),
                 -QR_EFORMAT);
}

/* One session, 5, with applied 0 and no result, then NUMBERS: its consumers,
 * and the rest. */
#define TRY_CONSUMERS(...) TRY(1, 5, 0, 0, __VA_ARGS__)

Test(queue_restore, refuses_sessions_that_cannot_be)
{
    cr_assert_eq(TRY(1, 5, 0, 0, 0, 0, 0, 0), 0);
    cr_assert_eq(TRY(2, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), -QR_EFORMAT);
    cr_assert_eq(TRY(2, 5, 0, 0, 0, UINT64_MAX, 0, 0, 0, 0, 0, 0), -QR_EFORMAT);
    cr_assert_eq(TRY(QUEUE_SESSIONS_MAX + 1), -QR_EFORMAT);
    /* Results: of a command applied, with a status that there is. */
    cr_assert_eq(TRY(1, 5, 3, 3, QUEUE_LIMIT, 0, 0, 0, 0, 0, 0, 0), 0);
    cr_assert_eq(TRY(1, 5, 3, 4, QUEUE_LIMIT, 0, 0, 0, 0, 0, 0, 0),
                 -QR_EFORMAT);
    cr_assert_eq(TRY(1, 5, 3, 3, QUEUE_LIMIT + 1, 0, 0, 0, 0, 0, 0, 0),
                 -QR_EFORMAT);
}

Test(queue_restore, refuses_a_session_among_the_dead)
{
    struct buf b;

    buf_init(&b);
    for (uint64_t boot = 0; boot < 2; boot++) {
        buf_clear(&b);
        buf_put_u8(&b, QUEUE_SNAPSHOT_VERSION);
        put_numbers(&b, (const uint64_t[]){0, 0, 1, 3, boot}, 5);
        put_numbers(&b, (const uint64_t[]){1, session_id(3, 1, 0), 1}, 3);
        put_numbers(&b, (const uint64_t[]){0, 0, 0, 0, 0}, 5);
        cr_assert_eq(try_restore(&b), boot == 0 ? 0 : -QR_EFORMAT);
    }
    buf_deinit(&b);
}

Test(queue_restore, refuses_marks_out_of_order)
{
    struct buf b;

    buf_init(&b);
    for (uint64_t gap = 0; gap < 2; gap++) {
        buf_clear(&b);
        buf_put_u8(&b, QUEUE_SNAPSHOT_VERSION);
        put_numbers(&b, (const uint64_t[]){0, 0, 2, 3, 1, gap, 1}, 7);
        put_numbers(&b, (const uint64_t[]){0, 0, 0, 0}, 4);
        cr_assert_eq(try_restore(&b), gap == 1 ? 0 : -QR_EFORMAT);
    }
    buf_clear(&b);
    buf_put_u8(&b, QUEUE_SNAPSHOT_VERSION);
    put_numbers(&b, (const uint64_t[]){0, 0, 1, 65536, 1, 0, 0, 0, 0}, 9);
    cr_assert_eq(try_restore(&b), -QR_EFORMAT);
    buf_deinit(&b);
}

Test(queue_restore, refuses_consumers_that_cannot_be)
{
    const uint64_t credit = QUEUE_CREDIT_MAX;

    /* count, id, state, flags, credit, tag size, next delivery, held. */
    cr_assert_eq(TRY_CONSUMERS(1, 9, 0, 0, 0, 0, 1, 0, 0, 0, 0), 0);
    cr_assert_eq(TRY_CONSUMERS(1, 9, 1, 0, credit, 0, 1, 0, 1, 0, 0, 0), 0);
    cr_assert_eq(TRY_CONSUMERS(1, 9, 1, 0, credit + 1, 0, 1, 0, 1, 0, 0, 0),
                 -QR_EFORMAT);
    cr_assert_eq(TRY_CONSUMERS(1, 9, 3, 0, 0, 0, 1, 0, 0, 0, 0), -QR_EFORMAT);
    cr_assert_eq(TRY_CONSUMERS(1, 9, 0, 4, 0, 0, 1, 0, 0, 0, 0), -QR_EFORMAT);
    cr_assert_eq(TRY_CONSUMERS(1, 9, 0, 0, 0, 256, 1, 0, 0, 0, 0), -QR_EFORMAT);
    cr_assert_eq(TRY_CONSUMERS(1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0), -QR_EFORMAT);
    /* Cancelled, and holds nothing: it would be gone. */
    cr_assert_eq(TRY_CONSUMERS(1, 9, 2, 0, 0, 0, 1, 0, 0, 0, 0), -QR_EFORMAT);
    /* Two with one id; two that are exclusive. */
    cr_assert_eq(
        TRY_CONSUMERS(2, 9, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0),
        -QR_EFORMAT);
    cr_assert_eq(TRY_CONSUMERS(2, 9, 1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 1, 0, 2,
                               0, 1, 0, 0),
                 0);
    cr_assert_eq(TRY_CONSUMERS(2, 9, 1, 0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 0, 2,
                               0, 1, 0, 0),
                 -QR_EFORMAT);
    cr_assert_eq(TRY_CONSUMERS(2, 9, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 1, 0, 2,
                               0, 1, 0, 0),
                 -QR_EFORMAT);
    cr_assert_eq(TRY_CONSUMERS(QUEUE_CONSUMERS_MAX + 1), -QR_EFORMAT);
}

Test(queue_restore, refuses_deliveries_out_of_order)
{
    /* A getter whose next delivery is 4; held: total, repeats, length, index,
     * offset, size, gap, count, delivery. */
    cr_assert_eq(
        TRY_CONSUMERS(1, 9, 0, 0, 0, 0, 4, 2, 1, 2, 2, 4, 3, 1, 0, 2, 0, 0, 0),
        0);
    cr_assert_eq(
        TRY_CONSUMERS(1, 9, 0, 0, 0, 0, 4, 2, 1, 2, 2, 4, 3, 1, 0, 3, 0, 0, 0),
        -QR_EFORMAT); /* beyond the next */
    cr_assert_eq(
        TRY_CONSUMERS(1, 9, 0, 0, 0, 0, 4, 2, 1, 2, 2, 4, 3, 1, 0, 0, 0, 0, 0),
        -QR_EFORMAT); /* number 0 */
    cr_assert_eq(
        TRY_CONSUMERS(1, 9, 0, 0, 0, 0, 4, 2, 2, 1, 2, 4, 3, 0, 0, 0, 0, 0),
        -QR_EFORMAT); /* standing still */
}

Test(queue_restore, refuses_turns_of_those_without_credit)
{
    /* An attached consumer with credit 1 that holds nothing has a turn. */
    cr_assert_eq(TRY_CONSUMERS(1, 9, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0), 0);
    cr_assert_eq(TRY_CONSUMERS(1, 9, 1, 0, 1, 0, 1, 0, 0, 0, 0), -QR_EFORMAT);
    cr_assert_eq(TRY_CONSUMERS(1, 9, 1, 0, 1, 0, 1, 0, 1, 1, 0, 0),
                 -QR_EFORMAT);
    cr_assert_eq(TRY_CONSUMERS(1, 9, 1, 0, 1, 0, 1, 0, 2, 0, 0, 0, 0),
                 -QR_EFORMAT);
    /* A getter never has. */
    cr_assert_eq(TRY_CONSUMERS(1, 9, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0),
                 -QR_EFORMAT);
    /* Nor is there a turn while messages are ready. */
    cr_assert_eq(
        TRY_CONSUMERS(1, 9, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1, 1, 2, 10, 5),
        -QR_EFORMAT);
}

Test(queue_restore, refuses_a_message_in_two_places)
{
    /* A getter holds the message at 2 of entry 1; another is ready. */
    cr_assert_eq(TRY_CONSUMERS(1, 9, 0, 0, 0, 0, 4, 1, 1, 1, 2, 4, 3, 0, 2, 0,
                               0, 1, 1, 1, 2, 12, 3),
                 0);
    cr_assert_eq(TRY_CONSUMERS(1, 9, 0, 0, 0, 0, 4, 1, 1, 1, 2, 4, 3, 0, 2, 0,
                               0, 1, 1, 1, 2, 4, 3),
                 -QR_EFORMAT);
    /* Ready, never delivered, and yet before one that was. */
    cr_assert_eq(TRY_CONSUMERS(1, 9, 0, 0, 0, 0, 4, 1, 1, 1, 2, 4, 3, 0, 2, 0,
                               0, 1, 1, 1, 2, 2, 3),
                 -QR_EFORMAT);
    /* Held and returned. */
    cr_assert_eq(TRY_CONSUMERS(1, 9, 0, 0, 0, 0, 4, 1, 1, 1, 2, 4, 3, 0, 2, 0,
                               1, 1, 1, 2, 4, 3, 1, 0),
                 -QR_EFORMAT);
}

/* A rich snapshot in B. */
static void
put_rich(struct buf *b)
{
    struct fixture f;
    struct rng rng;

    rng_init(&rng, 8);
    fixture_init(&f);
    for (unsigned c = 1; c < 6; c++) {
        fixture_attach(&f, c % 2 == 0 ? S : T, c, c * 3);
    }
    for (unsigned i = 0; i < 120; i++) {
        static const char text[] = "0123456789";

        fixture_enqueue(&f, S, text + rng_below(&rng, sizeof(text)));
        if (rng_chance(&rng, 300000)) {
            fixture_apply_quietly(&f);
        }
    }
    fixture_return(&f, T, 1, 1, 2);
    fixture_return(&f, T, 5, 3, 9);
    fixture_settle(&f, S, 4, 4, 5);
    fixture_consumer(&f, QUEUE_CANCEL, T, 3);
    fixture_consumer(&f, QUEUE_GET, T, 77);
    fixture_consumer(&f, QUEUE_DETACH, T, 5);
    queue_put_session_down(&f.body, 7, 1);
    queue_put_session_down(&f.body, 4, 9);
    fixture_apply_quietly(&f);
    fixture_snapshot(f.m, b);
    fixture_deinit(&f);
}

/* Work that a restored machine must stand, whatever is in it. */
static void
work(struct queue_machine *m)
{
    const qr_index index = (UINT64_C(1) << 62) + 1;
    struct queue_effects e;
    struct buf body;
    struct queue_command attach = {.consumer = 1000, .credit = 3};
    uint64_t s = session_id(60000, 1, 1);

    buf_init(&body);
    queue_effects_init(&e);
    queue_put_attach(&body, s, 1, &attach);
    queue_put_enqueue(&body, s, 2, 0);
    queue_put_consumer(&body, QUEUE_GET, s, 3, 2);
    for (qr_node_id node = 0; node < 9; node++) {
        queue_put_session_down(&body, node, UINT32_MAX);
    }
    queue_machine_apply(m, index, 0, body.data, body.size, &e);
    queue_machine_check(m);
    buf_deinit(&body);
    queue_effects_deinit(&e);
}

Test(queue_restore, survives_damage)
{
    struct buf whole;
    struct buf b;
    struct rng rng;
    size_t taken = 0;

    rng_init(&rng, 6);
    buf_init(&whole);
    buf_init(&b);
    put_rich(&whole);
    for (size_t i = 0; i < 30000; i++) {
        size_t hits = 1 + (size_t)rng_below(&rng, 3);
        struct queue_machine *m = queue_machine_new();
        int rv = 0;

        buf_clear(&b);
        buf_put(&b, whole.data, whole.size);
        for (size_t hit = 0; hit < hits; hit++) {
            b.data[1 + rng_below(&rng, b.size - 1)] =
                (uint8_t)rng_below(&rng, rng_chance(&rng, 500000) ? 256 : 4);
        }
        b.size -= rng_chance(&rng, 100000) ? 1 : 0;
        rv = queue_machine_restore(m, b.data, b.size);
        cr_assert(rv == 0 || rv == -QR_EFORMAT);
        queue_machine_check(m);
        if (rv == 0) {
            taken++;
            work(m);
        }
        queue_machine_free(&m);
    }
    cr_assert_gt(taken, 100, "damage that is never taken tests little");
    buf_deinit(&whole);
    buf_deinit(&b);
}

Test(queue_restore, survives_random_bytes)
{
    uint8_t bytes[80];
    struct rng rng;

    rng_init(&rng, 7);
    for (size_t i = 0; i < 50000; i++) {
        struct queue_machine *m = queue_machine_new();

        for (size_t j = 0; j < sizeof(bytes); j++) {
            bytes[j] = (uint8_t)rng_below(&rng, 4);
        }
        bytes[0] = QUEUE_SNAPSHOT_VERSION;
        if (queue_machine_restore(
                m, bytes, (size_t)rng_below(&rng, sizeof(bytes))) == 0) {
            queue_machine_check(m);
        }
        queue_machine_free(&m);
    }
}
