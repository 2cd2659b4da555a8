/* Snapshots: what they say, how small they are. */
#include "base/buf.h"
#include "base/ranges.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "machine/queue/queue_snapshot.h"
#include "unit/machine/queue/queue_fixture.h"

static const uint64_t S = UINT64_C(0x0001000000010000);
static const uint64_t T = UINT64_C(0x0002000000010000);

/* The bytes of F's snapshot. */
static size_t
size_of(struct fixture *f)
{
    struct buf b;
    size_t size = 0;

    buf_init(&b);
    fixture_snapshot(f->m, &b);
    size = b.size;
    buf_deinit(&b);
    return size;
}

/* F's machine, from its snapshot: the same bytes again. */
static void
go_through_bytes(struct fixture *f)
{
    struct buf b;
    struct buf again;

    buf_init(&b);
    buf_init(&again);
    fixture_snapshot(f->m, &b);
    queue_machine_free(&f->m);
    f->m = queue_machine_new();
    cr_assert_eq(queue_machine_restore(f->m, b.data, b.size), 0);
    queue_machine_check(f->m);
    fixture_snapshot(f->m, &again);
    cr_assert_eq(b.size, again.size);
    cr_assert_arr_eq(b.data, again.data, b.size);
    buf_deinit(&b);
    buf_deinit(&again);
}

Test(queue_snapshot, folds_signs_into_small_numbers)
{
    const uint64_t pairs[][2] = {{5, 5},          {5, 4}, {5, 6},
                                 {0, UINT64_MAX}, {9, 0}, {0, UINT64_MAX / 2}};

    cr_assert_eq(queue_zigzag(5, 5), 0);
    cr_assert_eq(queue_zigzag(5, 4), 1);
    cr_assert_eq(queue_zigzag(5, 6), 2);
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        uint64_t z = queue_zigzag(pairs[i][0], pairs[i][1]);

        cr_assert_eq(queue_unzigzag(pairs[i][0], z), pairs[i][1]);
    }
}

Test(queue_snapshot, of_nothing_is_a_few_bytes)
{
    const uint8_t empty[] = {QUEUE_SNAPSHOT_VERSION, 0, 0, 0, 0, 0, 0, 0};
    struct fixture f;
    struct buf b;

    fixture_init(&f);
    buf_init(&b);
    fixture_snapshot(f.m, &b);
    cr_assert_eq(b.size, sizeof(empty));
    cr_assert_arr_eq(b.data, empty, sizeof(empty));
    go_through_bytes(&f);
    buf_deinit(&b);
    fixture_deinit(&f);
}

/* Four messages: the first was returned, the second is held by a consumer that
 * was cancelled, the others were never delivered. docs/formats/queue.md has
 * this as its example. */
Test(queue_snapshot, is_as_the_format_page_says)
{
    const uint8_t want[] = {
        1, 1,    0, /* version, used, malformed */
        1, 3,    8, /* dead: node 3, boot 8 */
        1, 0x80, 0x80, 0x84, 0x80, 0x80, 0x80, 0x40, /* one session: its id, */
        7, 6,    0,    9,    0,    0,             /* applied 7, result of 6, */
        1, 9,    2,    0,    2,    1,    't',  3, /* one consumer, */
        1, 1,    1,    2,    44,   2,    0,    2, /* which holds one message */
        0,                                        /* no turns */
        1, 1,    1,    2,    20,   2,    1,       /* one message returned */
        2, 1,    2,    2,    68,   2,    10,      /* two ready, one run */
    };
    struct queue_command attach = {
        .consumer = 9, .credit = 2, .bytes = (const uint8_t *)"t", .size = 1};
    struct fixture f;
    struct buf b;

    fixture_init(&f);
    buf_init(&b);
    for (unsigned i = 0; i < 4; i++) {
        fixture_enqueue(&f, S, "ab");
    }
    queue_put_attach(&f.body, S, fixture_seq(&f, S), &attach);
    fixture_apply_quietly(&f);
    fixture_consumer(&f, QUEUE_CANCEL, S, 9);
    fixture_return(&f, S, 9, 1, 1);
    queue_put_session_down(&f.body, 3, 8);
    fixture_apply_quietly(&f);
    fixture_snapshot(f.m, &b);
    cr_assert_eq(b.size, sizeof(want));
    cr_assert_arr_eq(b.data, want, sizeof(want));
    go_through_bytes(&f);
    buf_deinit(&b);
    fixture_deinit(&f);
}

Test(queue_snapshot, keeps_everything)
{
    struct fixture f;
    struct queue_counts before;
    struct queue_counts after;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 3);
    fixture_attach(&f, T, 8, 0);
    fixture_attach_flags(&f, S, 9, 2, QUEUE_ATTACH_NO_ACK);
    for (unsigned i = 0; i < 20; i++) {
        fixture_enqueue(&f, S, i % 3 == 0 ? "long one" : "m");
    }
    fixture_apply_quietly(&f);
    fixture_return(&f, T, 8, 2, 4);
    fixture_return(&f, T, 7, 1, 2);
    fixture_consumer(&f, QUEUE_CANCEL, S, 9);
    fixture_credit(&f, T, 8, 1);
    fixture_consumer(&f, QUEUE_GET, S, 77);
    queue_put_session_down(&f.body, 9, 3);
    buf_put_u8(&f.body, 255);
    fixture_apply_quietly(&f);
    queue_machine_counts(f.m, &before);
    go_through_bytes(&f);
    queue_machine_counts(f.m, &after);
    before.dead_bytes = 0;
    cr_assert_eq(before.malformed, 1);
    cr_assert_arr_eq(&before, &after, sizeof(before));
    fixture_enqueue(&f, session_id(9, 3, 0), "from the dead");
    fixture_apply(&f);
    fixture_expect_end(&f);
    fixture_deinit(&f);
}

Test(queue_snapshot, goes_on_with_the_turns_where_they_were)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 1, 9);
    fixture_attach(&f, T, 2, 9);
    fixture_attach(&f, T, 3, 9);
    for (unsigned i = 0; i < 4; i++) {
        fixture_enqueue(&f, S, "m");
    }
    fixture_apply_quietly(&f);
    go_through_bytes(&f);
    fixture_enqueue(&f, S, "m");
    fixture_apply(&f);
    fixture_expect_deliver(&f, T, 2, 2, 0);
    fixture_deinit(&f);
}

Test(queue_snapshot, names_every_index_with_a_live_message)
{
    struct fixture f;
    struct ranges live;
    struct buf b;

    fixture_init(&f);
    buf_init(&b);
    ranges_init(&live);
    fixture_attach(&f, T, 7, 4); /* entry 1 */
    fixture_apply_quietly(&f);
    for (unsigned i = 0; i < 8; i++) { /* entries 2 to 9 */
        fixture_enqueue(&f, S, "m");
        fixture_enqueue(&f, S, "m");
        fixture_apply_quietly(&f);
    }
    fixture_settle(&f, T, 7, 2, 4); /* of entries 2 and 3; brings 5 to 7 */
    fixture_apply_quietly(&f);
    fixture_settle(&f, T, 7, 5, 5); /* half of entry 4 */
    fixture_return(&f, T, 7, 6, 6); /* the other half */
    fixture_credit(&f, T, 7, 1);
    fixture_apply_quietly(&f);
    queue_machine_snapshot(f.m, &b, &live);
    cr_assert_eq(live.count, 2);
    cr_assert_eq(live.items[0].first, 2);
    cr_assert_eq(live.items[0].last, 2);
    cr_assert_eq(live.items[1].first, 4);
    cr_assert_eq(live.items[1].last, 9);
    ranges_deinit(&live);
    buf_deinit(&b);
    fixture_deinit(&f);
}

Test(queue_snapshot, leaves_the_count_of_dead_bytes)
{
    struct fixture f;

    fixture_init(&f);
    fixture_enqueue(&f, S, "four");
    fixture_purge(&f, S);
    fixture_apply_quietly(&f);
    cr_assert_eq(fixture_counts(&f).dead_bytes, 4);
    (void)size_of(&f);
    cr_assert_eq(fixture_counts(&f).dead_bytes, 4);
    queue_machine_release_dead(f.m);
    cr_assert_eq(fixture_counts(&f).dead_bytes, 0);
    fixture_deinit(&f);
}

Test(queue_snapshot, of_a_steady_backlog_is_next_to_nothing)
{
    struct fixture f;

    fixture_init(&f);
    /* Numbers of three bytes, so that all headers are alike. */
    fixture_enqueue(&f, S, "m");
    fixture_apply_quietly(&f);
    for (unsigned entry = 0; entry < 1000; entry++) {
        for (unsigned i = 0; i < 10; i++) {
            fixture_enqueue(&f, S, "sixteen bytes.....");
        }
        fixture_apply_quietly(&f);
    }
    cr_assert_lt(size_of(&f), 100);
    go_through_bytes(&f);
    cr_assert_eq(fixture_counts(&f).ready, 10001);
    fixture_deinit(&f);
}

Test(queue_snapshot, of_random_sizes_is_a_few_bytes_a_message)
{
    enum {
        COUNT = 20000
    };
    struct fixture f;
    struct rng rng;
    static char text[2001];

    rng_init(&rng, 4);
    memset(text, 'x', sizeof(text) - 1);
    fixture_init(&f);
    for (unsigned i = 0; i < COUNT; i++) {
        fixture_enqueue(&f, S, text + rng_below(&rng, sizeof(text) - 1));
        if (rng_chance(&rng, 200000)) {
            fixture_apply_quietly(&f);
        }
    }
    fixture_apply_quietly(&f);
    cr_assert_leq(size_of(&f), COUNT * 7);
    go_through_bytes(&f);
    fixture_deinit(&f);
}

Test(queue_snapshot, carries_the_longest_tag_and_the_largest_ids)
{
    uint8_t tag[QUEUE_TAG_SIZE_MAX];
    struct queue_command attach = {
        .consumer = UINT64_MAX,
        .credit = QUEUE_CREDIT_MAX,
        .bytes = tag,
        .size = sizeof(tag),
    };
    struct fixture f;

    memset(tag, 't', sizeof(tag));
    fixture_init(&f);
    queue_put_attach(&f.body, UINT64_MAX, 1, &attach);
    attach.consumer = 0;
    queue_put_attach(&f.body, UINT64_MAX, 2, &attach);
    fixture_apply_quietly(&f);
    go_through_bytes(&f);
    cr_assert_eq(fixture_counts(&f).consumers, 2);
    fixture_deinit(&f);
}
