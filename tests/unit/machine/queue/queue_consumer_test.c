/* What consumers hold: out of order, for long, much. */
#include "base/rng.h"
#include "lib/harness.h"
#include "machine/queue/queue_state.h"
#include "unit/machine/queue/queue_fixture.h"

static const uint64_t S = UINT64_C(0x0001000000010000);
static const uint64_t T = UINT64_C(0x0002000000010000);

/* Consumer 7 of T. */
static struct queue_consumer *
consumer_of(struct fixture *f)
{
    struct queue_session *s = queue_session_find(f->m, T);

    cr_assert_not_null(s);
    return queue_consumer_find(s, 7);
}

Test(queue_consumer, takes_little_for_an_unsettled_delivery)
{
    cr_assert_leq(sizeof(struct queue_held), 40);
}

Test(queue_consumer, stays_small_while_one_old_delivery_is_never_settled)
{
    struct fixture f;
    uint64_t delivery = 2;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 20);
    fixture_enqueue(&f, S, "old");
    fixture_apply_quietly(&f);
    for (unsigned round = 0; round < 3000; round++) {
        for (unsigned i = 0; i < 10; i++) {
            fixture_enqueue(&f, S, "new");
        }
        fixture_apply_quietly(&f);
        fixture_settle(&f, T, 7, delivery, delivery + 9);
        fixture_apply_quietly(&f);
        delivery += 10;
    }
    cr_assert_eq(fixture_counts(&f).unsettled, 1);
    cr_assert_leq(consumer_of(&f)->held.capacity, 256);
    fixture_return(&f, T, 7, 1, 1);
    fixture_apply(&f);
    fixture_expect_deliver(&f, T, 7, delivery, 1);
    cr_assert_eq(f.effects.items[0].message.index, 1);
    fixture_deinit(&f);
}

Test(queue_consumer, settles_in_any_order)
{
    enum {
        COUNT = 2000
    };
    static bool is_settled[COUNT + 1];
    struct queue_effects again;
    struct fixture f;
    struct rng rng;
    size_t left = COUNT;

    rng_init(&rng, 3);
    fixture_init(&f);
    queue_effects_init(&again);
    memset(is_settled, 0, sizeof(is_settled));
    fixture_attach(&f, T, 7, 0);
    for (unsigned i = 0; i < COUNT; i++) {
        fixture_enqueue(&f, S, "m");
    }
    fixture_apply_quietly(&f);
    while (left > 0) {
        uint64_t id = rng_between(&rng, 1, COUNT);
        uint64_t want = 1;

        left -= is_settled[id] ? 0 : 1;
        is_settled[id] = true;
        fixture_settle(&f, T, 7, id, id);
        fixture_apply_quietly(&f);
        cr_assert_eq(fixture_counts(&f).unsettled, left);
        /* What is held is found from any id on. */
        want = id;
        while (want <= COUNT && is_settled[want]) {
            want++;
        }
        queue_effects_clear(&again);
        (void)queue_machine_resend(f.m, T, 7, id, 1, &again);
        cr_assert_eq(again.count, want <= COUNT ? 1 : 0);
        cr_assert(again.count == 0 || again.items[0].delivery == want);
    }
    queue_effects_deinit(&again);
    fixture_deinit(&f);
}

Test(queue_consumer, gives_memory_back_when_it_holds_nothing)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 0);
    for (unsigned i = 0; i < 5000; i++) {
        fixture_enqueue(&f, S, "m");
    }
    fixture_apply_quietly(&f);
    cr_assert_geq(consumer_of(&f)->held.capacity, 5000);
    fixture_settle(&f, T, 7, 1, 5000);
    fixture_apply_quietly(&f);
    cr_assert_eq(consumer_of(&f)->held.capacity, 0);
    fixture_deinit(&f);
}

Test(queue_consumer, counts_deliveries_no_further_than_it_can)
{
    struct fixture f;
    struct queue_held *h = NULL;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 1);
    fixture_enqueue(&f, S, "m");
    fixture_apply_quietly(&f);
    h = ring_at(&consumer_of(&f)->held, 0);
    h->item.count = UINT32_MAX;
    fixture_return(&f, T, 7, 1, 1);
    fixture_apply(&f);
    fixture_expect_deliver(&f, T, 7, 2, UINT32_MAX);
    fixture_deinit(&f);
}

Test(queue_consumer, refuses_consumers_beyond_their_number)
{
    struct fixture f;

    fixture_init(&f);
    for (unsigned i = 0; i < QUEUE_CONSUMERS_MAX; i++) {
        fixture_attach(&f, T, i + 1, 1);
    }
    fixture_enqueue(&f, S, "m");
    fixture_enqueue(&f, S, "m");
    fixture_apply_quietly(&f);
    cr_assert_eq(fixture_counts(&f).consumers, QUEUE_CONSUMERS_MAX);
    fixture_attach(&f, S, 1, 1);
    fixture_return(&f, T, 1, 1, 1);
    fixture_credit(&f, T, 1, 1);
    fixture_consumer(&f, QUEUE_GET, S, 1);
    fixture_apply(&f);
    fixture_expect_result(&f, S, QUEUE_LIMIT, 0);
    fixture_expect_result(&f, S, QUEUE_LIMIT, 0);
    fixture_consumer(&f, QUEUE_DETACH, T, 9);
    fixture_attach(&f, S, 2, 1);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_expect_result(&f, S, QUEUE_OK, 0);
    fixture_deinit(&f);
}

Test(queue_consumer, lets_a_getter_hold_as_much_as_any)
{
    struct fixture f;

    fixture_init(&f);
    for (unsigned i = 0; i <= QUEUE_CREDIT_MAX; i++) {
        fixture_enqueue(&f, S, "m");
    }
    for (unsigned i = 0; i < QUEUE_CREDIT_MAX; i++) {
        fixture_consumer(&f, QUEUE_GET, T, 7);
    }
    fixture_apply_quietly(&f);
    cr_assert_eq(fixture_counts(&f).unsettled, QUEUE_CREDIT_MAX);
    fixture_consumer(&f, QUEUE_GET, T, 7);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_LIMIT, 0);
    fixture_settle(&f, T, 7, 3, 3);
    fixture_consumer(&f, QUEUE_GET, T, 7);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_deinit(&f);
}
