/* What each command does, one by one. */
#include "lib/harness.h"
#include "machine/queue/queue_machine.h"
#include "unit/machine/queue/queue_fixture.h"

static const uint64_t S = UINT64_C(0x0001000000010000);
static const uint64_t T = UINT64_C(0x0002000000010000);

/* COUNT messages from session S, one entry. */
static void
enqueue_many(struct fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        fixture_enqueue(f, S, "m");
    }
    fixture_apply_quietly(f);
}

Test(queue_machine, keeps_a_message_until_somebody_wants_it)
{
    struct fixture f;
    struct queue_counts n;

    fixture_init(&f);
    fixture_enqueue(&f, S, "hello");
    fixture_apply(&f);
    fixture_expect_applied(&f, S, 1);
    fixture_expect_end(&f);
    n = fixture_counts(&f);
    cr_assert_eq(n.ready, 1);
    cr_assert_eq(n.ready_bytes, 5);
    cr_assert_eq(n.unsettled, 0);
    cr_assert_eq(n.sessions, 1);
    cr_assert_not(n.was_used);
    fixture_deinit(&f);
}

Test(queue_machine, answers_an_attach_before_it_delivers)
{
    struct fixture f;
    const struct queue_effect *e = NULL;

    fixture_init(&f);
    fixture_enqueue(&f, S, "hello");
    fixture_attach(&f, T, 7, 10);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_expect_deliver(&f, T, 7, 1, 0);
    e = &f.effects.items[f.seen - 1];
    cr_assert_eq(e->message.index, 1);
    cr_assert_eq(e->message.size, 5);
    fixture_expect_applied(&f, S, 1);
    fixture_expect_applied(&f, T, 1);
    fixture_expect_end(&f);
    fixture_deinit(&f);
}

Test(queue_machine, says_where_in_its_entry_a_message_lies)
{
    struct fixture f;
    struct buf copy;
    const struct queue_effect *e = NULL;

    fixture_init(&f);
    buf_init(&copy);
    fixture_attach(&f, T, 1, 0);
    fixture_enqueue(&f, S, "first");
    fixture_enqueue(&f, S, "second");
    buf_put(&copy, f.body.data, f.body.size);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    e = fixture_next(&f);
    cr_assert_arr_eq(copy.data + e->message.offset, "first", 5);
    e = fixture_next(&f);
    cr_assert_eq(e->message.size, 6);
    cr_assert_arr_eq(copy.data + e->message.offset, "second", 6);
    buf_deinit(&copy);
    fixture_deinit(&f);
}

Test(queue_machine, lets_go_of_what_is_settled)
{
    struct fixture f;
    struct queue_counts n;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 10);
    enqueue_many(&f, 3);
    fixture_settle(&f, T, 7, 1, 2);
    fixture_apply(&f);
    fixture_expect_applied(&f, T, 2);
    fixture_expect_end(&f);
    n = fixture_counts(&f);
    cr_assert_eq(n.unsettled, 1);
    cr_assert_eq(n.unsettled_bytes, 1);
    cr_assert_eq(n.dead_bytes, 2);
    fixture_deinit(&f);
}

Test(queue_machine, lets_go_of_what_is_discarded)
{
    const uint64_t range[2] = {1, 1};
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 10);
    enqueue_many(&f, 1);
    fixture_ids(&f, QUEUE_DISCARD, T, 7, range);
    fixture_apply(&f);
    fixture_expect_applied(&f, T, 2);
    fixture_expect_end(&f);
    cr_assert_eq(fixture_counts(&f).unsettled, 0);
    cr_assert_eq(fixture_counts(&f).ready, 0);
    fixture_deinit(&f);
}

Test(queue_machine, settles_ids_that_reach_beyond_what_is_held)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 10);
    enqueue_many(&f, 3);
    fixture_settle(&f, T, 7, 1, UINT64_MAX);
    fixture_settle(&f, T, 7, 1, 3);
    fixture_settle(&f, T, 8, 1, 3); /* no such consumer */
    fixture_apply(&f);
    fixture_expect_applied(&f, T, 4);
    fixture_expect_end(&f);
    cr_assert_eq(fixture_counts(&f).unsettled, 0);
    fixture_deinit(&f);
}

Test(queue_machine, stops_at_a_consumer_s_credit_and_goes_on_when_it_settles)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 2);
    enqueue_many(&f, 5);
    cr_assert_eq(fixture_counts(&f).unsettled, 2);
    cr_assert_eq(fixture_counts(&f).ready, 3);
    fixture_settle(&f, T, 7, 1, 1);
    fixture_apply(&f);
    fixture_expect_deliver(&f, T, 7, 3, 0);
    fixture_expect_applied(&f, T, 2);
    fixture_expect_end(&f);
    fixture_deinit(&f);
}

Test(queue_machine, takes_a_new_credit_up_and_down)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 1);
    enqueue_many(&f, 5);
    fixture_credit(&f, T, 7, 3);
    fixture_apply(&f);
    fixture_expect_deliver(&f, T, 7, 2, 0);
    fixture_expect_deliver(&f, T, 7, 3, 0);
    fixture_expect_applied(&f, T, 2);
    fixture_credit(&f, T, 7, 1);
    fixture_settle(&f, T, 7, 1, 2);
    fixture_credit(&f, T, 99, 1); /* no such consumer */
    fixture_apply(&f);
    fixture_expect_applied(&f, T, 5);
    fixture_expect_end(&f);
    fixture_settle(&f, T, 7, 3, 3);
    fixture_apply(&f);
    fixture_expect_deliver(&f, T, 7, 4, 0);
    fixture_deinit(&f);
}

Test(queue_machine, gives_an_unlimited_consumer_the_most_there_is)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 0);
    enqueue_many(&f, QUEUE_CREDIT_MAX + 1);
    cr_assert_eq(fixture_counts(&f).unsettled, QUEUE_CREDIT_MAX);
    cr_assert_eq(fixture_counts(&f).ready, 1);
    fixture_settle(&f, T, 7, 500, 500);
    fixture_apply(&f);
    fixture_expect_deliver(&f, T, 7, QUEUE_CREDIT_MAX + 1, 0);
    fixture_deinit(&f);
}

Test(queue_machine, serves_consumers_in_turn)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, S, 1, 2);
    fixture_attach(&f, T, 2, 3);
    fixture_attach(&f, T, 3, 1);
    for (unsigned i = 0; i < 7; i++) {
        fixture_enqueue(&f, S, "m");
    }
    fixture_apply(&f);
    f.seen = 3; /* results */
    fixture_expect_deliver(&f, S, 1, 1, 0);
    fixture_expect_deliver(&f, T, 2, 1, 0);
    fixture_expect_deliver(&f, T, 3, 1, 0);
    fixture_expect_deliver(&f, S, 1, 2, 0);
    fixture_expect_deliver(&f, T, 2, 2, 0);
    fixture_expect_deliver(&f, T, 2, 3, 0);
    fixture_expect_applied(&f, S, 8);
    fixture_expect_applied(&f, T, 2);
    fixture_expect_end(&f);
    fixture_deinit(&f);
}

Test(queue_machine, puts_returned_messages_to_the_front_in_their_order)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 3);
    enqueue_many(&f, 5);
    fixture_return(&f, T, 7, 3, 3);
    fixture_return(&f, T, 7, 1, 1);
    fixture_apply(&f);
    /* 1 and 3 come again, before 4 and 5, with new numbers. */
    fixture_expect_deliver(&f, T, 7, 4, 1);
    cr_assert_lt(f.effects.items[0].message.offset,
                 f.effects.items[1].message.offset);
    fixture_expect_deliver(&f, T, 7, 5, 1);
    fixture_expect_applied(&f, T, 3);
    fixture_return(&f, T, 7, 5, 5);
    fixture_apply(&f);
    fixture_expect_deliver(&f, T, 7, 6, 2);
    fixture_deinit(&f);
}

Test(queue_machine, gives_the_oldest_returned_to_the_next_consumer)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 3);
    enqueue_many(&f, 4);
    fixture_consumer(&f, QUEUE_DETACH, T, 7);
    fixture_attach(&f, T, 8, 10);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_expect_deliver(&f, T, 8, 1, 1);
    fixture_expect_deliver(&f, T, 8, 2, 1);
    fixture_expect_deliver(&f, T, 8, 3, 1);
    fixture_expect_deliver(&f, T, 8, 4, 0);
    for (size_t i = 3; i < 6; i++) {
        cr_assert_lt(f.effects.items[i - 1].message.offset,
                     f.effects.items[i].message.offset);
    }
    fixture_deinit(&f);
}

Test(queue_machine, lets_a_cancelled_consumer_keep_what_it_holds)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 2);
    enqueue_many(&f, 3);
    fixture_settle(&f, T, 7, 1, 1);
    fixture_consumer(&f, QUEUE_CANCEL, T, 7);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_expect_applied(&f, T, 3);
    fixture_expect_unused(&f);
    fixture_expect_end(&f);
    cr_assert_eq(fixture_counts(&f).consumers, 0);
    cr_assert_eq(fixture_counts(&f).unsettled, 1);
    fixture_consumer(&f, QUEUE_CANCEL, T, 7); /* once is enough */
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_NO_CONSUMER, 0);
    fixture_settle(&f, T, 7, 2, 2);
    fixture_apply_quietly(&f);
    fixture_consumer(&f, QUEUE_DETACH, T, 7); /* it went with its last */
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_NO_CONSUMER, 0);
    fixture_deinit(&f);
}

Test(queue_machine, returns_a_cancelled_consumer_s_messages_when_told)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 2);
    enqueue_many(&f, 2);
    fixture_consumer(&f, QUEUE_CANCEL, T, 7);
    fixture_return(&f, T, 7, 1, 1);
    fixture_apply_quietly(&f);
    cr_assert_eq(fixture_counts(&f).ready, 1);
    fixture_consumer(&f, QUEUE_DETACH, T, 7);
    fixture_apply_quietly(&f);
    cr_assert_eq(fixture_counts(&f).ready, 2);
    fixture_deinit(&f);
}

Test(queue_machine, forgets_an_idle_consumer_when_it_is_cancelled)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 2);
    fixture_consumer(&f, QUEUE_CANCEL, T, 7);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_expect_applied(&f, T, 2);
    fixture_expect_unused(&f);
    fixture_expect_end(&f);
    fixture_deinit(&f);
}

Test(queue_machine, is_not_unused_if_another_consumer_came_in_the_same_entry)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 2);
    fixture_apply_quietly(&f);
    fixture_consumer(&f, QUEUE_DETACH, T, 7);
    fixture_attach(&f, T, 8, 2);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_expect_applied(&f, T, 3);
    fixture_expect_end(&f);
    cr_assert(fixture_counts(&f).was_used);
    fixture_deinit(&f);
}

Test(queue_machine, gets_one_message_at_a_time)
{
    struct fixture f;

    fixture_init(&f);
    enqueue_many(&f, 2);
    fixture_consumer(&f, QUEUE_GET, T, 1);
    fixture_consumer(&f, QUEUE_GET, T, 1);
    fixture_consumer(&f, QUEUE_GET, T, 1);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 1);
    cr_assert_eq(f.effects.items[0].delivery, 1);
    fixture_expect_deliver(&f, T, 1, 1, 0);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_expect_deliver(&f, T, 1, 2, 0);
    fixture_expect_result(&f, T, QUEUE_EMPTY, 0);
    fixture_expect_applied(&f, T, 3);
    fixture_expect_end(&f);
    cr_assert_eq(fixture_counts(&f).consumers, 0);
    cr_assert_eq(fixture_counts(&f).unsettled, 2);
    fixture_deinit(&f);
}

Test(queue_machine, never_gives_a_getter_a_turn)
{
    struct fixture f;

    fixture_init(&f);
    enqueue_many(&f, 1);
    fixture_consumer(&f, QUEUE_GET, T, 1);
    fixture_apply_quietly(&f);
    fixture_credit(&f, T, 1, 10);
    fixture_apply_quietly(&f);
    enqueue_many(&f, 1);
    cr_assert_eq(fixture_counts(&f).ready, 1);
    fixture_deinit(&f);
}

Test(queue_machine, goes_on_numbering_a_getter_that_holds_nothing)
{
    struct fixture f;

    fixture_init(&f);
    enqueue_many(&f, 2);
    fixture_consumer(&f, QUEUE_GET, T, 1);
    fixture_settle(&f, T, 1, 1, 1);
    fixture_consumer(&f, QUEUE_GET, T, 1);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 1);
    fixture_expect_deliver(&f, T, 1, 1, 0);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_expect_deliver(&f, T, 1, 2, 0);
    fixture_consumer(&f, QUEUE_DETACH, T, 1);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    cr_assert_eq(fixture_counts(&f).ready, 1);
    fixture_deinit(&f);
}

Test(queue_machine, gets_nothing_for_a_cancelled_consumer)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 1, 1);
    enqueue_many(&f, 2);
    fixture_consumer(&f, QUEUE_CANCEL, T, 1);
    fixture_apply_quietly(&f);
    fixture_consumer(&f, QUEUE_GET, T, 1);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_NO_CONSUMER, 0);
    fixture_deinit(&f);
}

Test(queue_machine, purges_what_is_ready_alone)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 2);
    enqueue_many(&f, 5);
    fixture_return(&f, T, 7, 2, 2);
    fixture_purge(&f, S);
    fixture_apply(&f);
    fixture_expect_result(&f, S, QUEUE_OK, 4);
    cr_assert_eq(fixture_counts(&f).ready, 0);
    cr_assert_eq(fixture_counts(&f).ready_bytes, 0);
    cr_assert_eq(fixture_counts(&f).unsettled, 1);
    cr_assert_eq(fixture_counts(&f).dead_bytes, 4);
    fixture_deinit(&f);
}

Test(queue_machine, refuses_others_while_an_exclusive_consumer_lives)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach_flags(&f, T, 7, 2, QUEUE_ATTACH_EXCLUSIVE);
    fixture_attach(&f, S, 1, 2);
    fixture_attach_flags(&f, S, 2, 2, QUEUE_ATTACH_EXCLUSIVE);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_expect_result(&f, S, QUEUE_EXCLUSIVE, 0);
    fixture_expect_result(&f, S, QUEUE_EXCLUSIVE, 0);
    fixture_consumer(&f, QUEUE_CANCEL, T, 7);
    fixture_attach(&f, S, 3, 2);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_expect_result(&f, S, QUEUE_OK, 0);
    fixture_deinit(&f);
}

Test(queue_machine, refuses_an_exclusive_consumer_beside_others)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 2);
    fixture_attach_flags(&f, S, 1, 2, QUEUE_ATTACH_EXCLUSIVE);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_expect_result(&f, S, QUEUE_EXCLUSIVE, 0);
    cr_assert_eq(fixture_counts(&f).consumers, 1);
    fixture_deinit(&f);
}

Test(queue_machine, uses_a_consumer_id_once)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 2);
    fixture_attach(&f, T, 7, 9);
    fixture_attach(&f, S, 7, 2); /* of another session: another consumer */
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    fixture_expect_result(&f, T, QUEUE_LIMIT, 0);
    fixture_expect_result(&f, S, QUEUE_OK, 0);
    cr_assert_eq(fixture_counts(&f).consumers, 2);
    fixture_deinit(&f);
}

Test(queue_machine, ends_an_entry_at_malformed_bytes)
{
    struct fixture f;

    fixture_init(&f);
    fixture_enqueue(&f, S, "a");
    buf_put_u8(&f.body, 200);
    fixture_enqueue(&f, S, "b");
    fixture_apply(&f);
    fixture_expect_applied(&f, S, 1);
    fixture_expect_end(&f);
    cr_assert_eq(fixture_counts(&f).malformed, 1);
    cr_assert_eq(fixture_counts(&f).ready, 1);
    fixture_deinit(&f);
}

Test(queue_machine, does_nothing_for_an_empty_entry)
{
    struct fixture f;

    fixture_init(&f);
    fixture_apply(&f);
    fixture_expect_end(&f);
    cr_assert_eq(fixture_counts(&f).malformed, 0);
    fixture_deinit(&f);
}

Test(queue_machine, sends_unsettled_deliveries_again)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 7, 10);
    enqueue_many(&f, 6);
    fixture_settle(&f, T, 7, 3, 4);
    fixture_apply_quietly(&f);
    queue_effects_clear(&f.effects);
    f.seen = 0;
    cr_assert_eq(queue_machine_resend(f.m, T, 7, 2, 3, &f.effects), 3);
    fixture_expect_deliver(&f, T, 7, 2, 0);
    fixture_expect_deliver(&f, T, 7, 5, 0);
    fixture_expect_deliver(&f, T, 7, 6, 0);
    fixture_expect_end(&f);
    cr_assert_eq(queue_machine_resend(f.m, T, 7, 7, 9, &f.effects), 0);
    cr_assert_eq(queue_machine_resend(f.m, T, 8, 1, 9, &f.effects), 0);
    cr_assert_eq(queue_machine_resend(f.m, S + 1, 7, 1, 9, &f.effects), 0);
    cr_assert_eq(fixture_counts(&f).unsettled, 4);
    fixture_deinit(&f);
}

/* Collects ids. */
struct list_of_ids {
    uint64_t sessions[8];
    uint64_t consumers[8];
    struct queue_consumer_info last;
    size_t count;
};

static void
take_consumer(void *arg, const struct queue_consumer_info *info)
{
    struct list_of_ids *l = arg;

    l->sessions[l->count] = info->session;
    l->consumers[l->count] = info->consumer;
    l->last = *info;
    l->count++;
}

static void
take_session(void *arg, uint64_t session)
{
    struct list_of_ids *l = arg;

    l->sessions[l->count] = session;
    l->count++;
}

Test(queue_machine, lists_consumers_and_sessions_in_order)
{
    struct list_of_ids l = {.count = 0};
    struct fixture f;

    fixture_init(&f);
    fixture_attach_flags(&f, T, 9, 4, QUEUE_ATTACH_NO_ACK);
    fixture_attach(&f, T, 2, 4);
    fixture_attach(&f, S, 5, 4);
    enqueue_many(&f, 4);
    fixture_consumer(&f, QUEUE_CANCEL, T, 9);
    fixture_apply_quietly(&f);
    queue_machine_foreach_consumer(f.m, take_consumer, &l);
    cr_assert_eq(l.count, 3);
    cr_assert_eq(l.sessions[0], S);
    cr_assert_eq(l.consumers[1], 2);
    cr_assert_eq(l.consumers[2], 9);
    cr_assert(l.last.is_cancelled);
    cr_assert_not(l.last.is_get);
    cr_assert_eq(l.last.credit, 4);
    cr_assert_eq(l.last.flags, QUEUE_ATTACH_NO_ACK);
    cr_assert_eq(l.last.unsettled, 2);
    cr_assert_eq(l.last.tag_size, 3);
    cr_assert_arr_eq(l.last.tag, "tag", 3);
    l.count = 0;
    queue_machine_foreach_session(f.m, take_session, &l);
    cr_assert_eq(l.count, 2);
    cr_assert_eq(l.sessions[0], S);
    cr_assert_eq(l.sessions[1], T);
    fixture_deinit(&f);
}

Test(queue_machine, keeps_no_room_for_effects_as_many_as_never_before)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, S, 1, QUEUE_EFFECTS_KEPT * 2);
    fixture_apply_quietly(&f);
    enqueue_many(&f, 10);
    queue_effects_clear(&f.effects);
    cr_assert_not_null(f.effects.items, "they are needed all the time");
    for (unsigned i = 0; i <= QUEUE_EFFECTS_KEPT; i++) {
        fixture_enqueue(&f, S, "m");
    }
    fixture_apply(&f);
    cr_assert_gt(f.effects.count, QUEUE_EFFECTS_KEPT);
    queue_effects_clear(&f.effects);
    cr_assert_null(f.effects.items);
    cr_assert_eq(f.effects.capacity, 0);
    fixture_deinit(&f);
}
