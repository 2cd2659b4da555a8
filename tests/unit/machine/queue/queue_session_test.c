/* Each command once, in order; and the end of sessions. */
#include "lib/harness.h"
#include "machine/queue/queue_state.h"
#include "unit/machine/queue/queue_fixture.h"

static const uint64_t S = UINT64_C(0x0001000000010000);

Test(queue_session, skips_what_it_has_seen)
{
    struct fixture f;

    fixture_init(&f);
    fixture_enqueue(&f, S, "a");
    fixture_apply_quietly(&f);
    f.seqs[0] = 0; /* once more */
    fixture_enqueue(&f, S, "a");
    fixture_apply(&f);
    fixture_expect_applied(&f, S, 1);
    fixture_expect_end(&f);
    cr_assert_eq(fixture_counts(&f).ready, 1);
    fixture_deinit(&f);
}

Test(queue_session, names_the_command_that_is_missing)
{
    struct fixture f;

    fixture_init(&f);
    fixture_enqueue(&f, S, "a");
    fixture_apply_quietly(&f);
    f.seqs[0] = 2; /* number 2 was lost */
    fixture_enqueue(&f, S, "c");
    fixture_enqueue(&f, S, "d");
    fixture_apply(&f);
    fixture_expect_gap(&f, S, 2, QUEUE_OK);
    fixture_expect_end(&f);
    cr_assert_eq(fixture_counts(&f).ready, 1);
    f.seqs[0] = 1;
    fixture_enqueue(&f, S, "b");
    fixture_enqueue(&f, S, "c");
    fixture_apply(&f);
    fixture_expect_applied(&f, S, 3);
    fixture_expect_end(&f);
    fixture_deinit(&f);
}

Test(queue_session, tells_what_it_applied_and_what_it_misses)
{
    struct fixture f;

    fixture_init(&f);
    fixture_enqueue(&f, S, "a");
    f.seqs[0] = 4;
    fixture_enqueue(&f, S, "e");
    fixture_apply(&f);
    fixture_expect_applied(&f, S, 1);
    fixture_expect_gap(&f, S, 2, QUEUE_OK);
    fixture_expect_end(&f);
    fixture_deinit(&f);
}

Test(queue_session, asks_a_stranger_to_begin_at_one)
{
    struct fixture f;

    fixture_init(&f);
    for (unsigned i = 0; i < 3; i++) {
        f.sessions[0] = S;
        f.seqs[0] = 7 + i;
        fixture_enqueue(&f, S, "a");
    }
    fixture_apply(&f);
    fixture_expect_gap(&f, S, 1, QUEUE_OK);
    fixture_expect_end(&f);
    cr_assert_eq(fixture_counts(&f).sessions, 0);
    fixture_enqueue(&f, S, "a"); /* and again in the next entry */
    fixture_apply(&f);
    fixture_expect_gap(&f, S, 1, QUEUE_OK);
    fixture_deinit(&f);
}

Test(queue_session, repeats_the_last_result_when_asked_again)
{
    struct fixture f;

    fixture_init(&f);
    fixture_enqueue(&f, S, "a");
    fixture_enqueue(&f, S, "a");
    fixture_consumer(&f, QUEUE_GET, S, 1);
    fixture_enqueue(&f, S, "a"); /* has no result of its own */
    fixture_apply_quietly(&f);
    f.seqs[0] = 2;
    fixture_consumer(&f, QUEUE_GET, S, 1);
    fixture_apply(&f);
    fixture_expect_result(&f, S, QUEUE_OK, 1);
    cr_assert_eq(f.effects.items[0].seq, 3);
    cr_assert_eq(f.effects.items[0].consumer, 1);
    cr_assert_eq(f.effects.items[0].delivery, 1);
    fixture_expect_applied(&f, S, 4);
    fixture_expect_end(&f);
    cr_assert_eq(fixture_counts(&f).unsettled, 1);
    fixture_deinit(&f);
}

Test(queue_session, keeps_one_result)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, S, 1, 1);
    fixture_attach(&f, S, 2, 1);
    fixture_apply_quietly(&f);
    f.seqs[0] = 0;
    fixture_attach(&f, S, 1, 1);
    fixture_apply(&f);
    fixture_expect_applied(&f, S, 2);
    fixture_expect_end(&f);
    fixture_deinit(&f);
}

Test(queue_session, tells_a_new_leader_s_clients_where_they_are)
{
    struct fixture f;

    fixture_init(&f);
    queue_effects_clear(&f.effects);
    cr_assert_eq(queue_machine_session(f.m, S, &f.effects), 0);
    cr_assert_eq(f.effects.count, 0);
    fixture_enqueue(&f, S, "a");
    fixture_apply_quietly(&f);
    queue_effects_clear(&f.effects);
    cr_assert_eq(queue_machine_session(f.m, S, &f.effects), 1);
    cr_assert_eq(f.effects.count, 0);
    fixture_purge(&f, S);
    fixture_apply_quietly(&f);
    queue_effects_clear(&f.effects);
    f.seen = 0;
    cr_assert_eq(queue_machine_session(f.m, S, &f.effects), 2);
    fixture_expect_result(&f, S, QUEUE_OK, 1);
    fixture_expect_end(&f);
    fixture_deinit(&f);
}

Test(queue_session, ends_with_its_node)
{
    const uint64_t a = session_id(1, 3, 0);
    const uint64_t b = session_id(1, 3, 1);
    const uint64_t younger = session_id(1, 4, 0);
    const uint64_t other = session_id(2, 1, 0);
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, a, 1, 1);
    fixture_attach(&f, b, 1, 1);
    fixture_enqueue(&f, other, "m");
    fixture_enqueue(&f, other, "m");
    fixture_enqueue(&f, younger, "m");
    fixture_apply_quietly(&f);
    cr_assert_eq(fixture_counts(&f).unsettled, 2);
    queue_put_session_down(&f.body, 1, 3);
    fixture_apply(&f);
    fixture_expect_unused(&f);
    fixture_expect_end(&f);
    cr_assert_eq(fixture_counts(&f).ready, 3);
    cr_assert_eq(fixture_counts(&f).sessions, 2);
    fixture_attach(&f, other, 1, 10);
    fixture_apply(&f);
    fixture_expect_result(&f, other, QUEUE_OK, 0);
    fixture_expect_deliver(&f, other, 1, 1, 1); /* redelivered */
    fixture_expect_deliver(&f, other, 1, 2, 1);
    fixture_expect_deliver(&f, other, 1, 3, 0);
    fixture_deinit(&f);
}

Test(queue_session, cannot_come_back_from_the_dead)
{
    const uint64_t dead = session_id(1, 3, 0);
    const uint64_t dead_too = session_id(1, 2, 5);
    const uint64_t younger = session_id(1, 4, 0);
    struct fixture f;

    fixture_init(&f);
    fixture_enqueue(&f, dead, "m");
    queue_put_session_down(&f.body, 1, 3);
    queue_put_session_down(&f.body, 1, 2); /* changes nothing */
    fixture_enqueue(&f, dead, "m");
    fixture_attach(&f, dead, 1, 1);
    f.seqs[0] = 0;
    fixture_enqueue(&f, dead, "m");
    fixture_enqueue(&f, dead_too, "m");
    fixture_enqueue(&f, younger, "m");
    fixture_apply(&f);
    cr_assert(queue_machine_is_dead(f.m, dead));
    cr_assert(queue_machine_is_dead(f.m, dead_too));
    cr_assert_not(queue_machine_is_dead(f.m, younger));
    fixture_expect_applied(&f, younger, 1);
    fixture_expect_end(&f);
    cr_assert_eq(fixture_counts(&f).ready, 2);
    cr_assert_eq(fixture_counts(&f).sessions, 1);
    fixture_deinit(&f);
}

Test(queue_session, of_a_node_never_seen_may_be_dead_already)
{
    struct fixture f;

    fixture_init(&f);
    queue_put_session_down(&f.body, 9, 1);
    queue_put_session_down(&f.body, 4, 1);
    queue_put_session_down(&f.body, 6, 0);
    fixture_enqueue(&f, session_id(9, 1, 0), "m");
    fixture_enqueue(&f, session_id(4, 0, 0), "m");
    fixture_enqueue(&f, session_id(6, 1, 0), "m");
    fixture_enqueue(&f, session_id(5, 0, 0), "m");
    fixture_apply_quietly(&f);
    cr_assert_eq(fixture_counts(&f).sessions, 2);
    fixture_deinit(&f);
}

Test(queue_session, is_refused_beyond_their_number)
{
    struct queue_effects e;
    struct buf body;
    struct queue_machine *m = queue_machine_new();
    struct queue_counts counts;

    buf_init(&body);
    queue_effects_init(&e);
    for (unsigned i = 0; i <= QUEUE_SESSIONS_MAX; i++) {
        queue_put_purge(&body, session_id(1 + i / 65536, 1, (uint16_t)i), 1);
    }
    queue_machine_apply(m, 1, 0, body.data, body.size, &e);
    queue_machine_counts(m, &counts);
    cr_assert_eq(counts.sessions, QUEUE_SESSIONS_MAX);
    /* Results of those that came, the refusal last of them. */
    cr_assert_eq((int)e.items[QUEUE_SESSIONS_MAX].kind, (int)QUEUE_EFFECT_GAP);
    cr_assert_eq((int)e.items[QUEUE_SESSIONS_MAX].status, (int)QUEUE_LIMIT);
    cr_assert_eq(e.items[QUEUE_SESSIONS_MAX].seq, 1);
    /* When one has gone there is room. */
    queue_effects_clear(&e);
    buf_clear(&body);
    queue_put_session_down(&body, 1, 1);
    queue_put_purge(&body, session_id(2, 1, 0), 1);
    queue_machine_apply(m, 2, 0, body.data, body.size, &e);
    cr_assert_eq((int)e.items[0].kind, (int)QUEUE_EFFECT_RESULT);
    queue_machine_check(m);
    queue_machine_free(&m);
    queue_effects_deinit(&e);
    buf_deinit(&body);
}

Test(queue_session, has_to_wait_when_the_queue_is_full)
{
    struct fixture f;
    uint64_t count = 0;

    fixture_init(&f);
    fixture_enqueue(&f, S, "a");
    fixture_apply_quietly(&f);
    /* A queue of a thousand million messages, as far as it knows. */
    count = f.m->ready.fresh_count;
    f.m->ready.fresh_count = QUEUE_MESSAGES_MAX - 1;
    fixture_enqueue(&f, S, "last");
    fixture_enqueue(&f, S, "one too many");
    fixture_enqueue(&f, S, "behind it");
    queue_effects_clear(&f.effects);
    queue_machine_apply(f.m, 2, 0, f.body.data, f.body.size, &f.effects);
    f.index = 2;
    f.seen = 0;
    fixture_expect_applied(&f, S, 2);
    fixture_expect_gap(&f, S, 3, QUEUE_LIMIT);
    fixture_expect_end(&f);
    f.m->ready.fresh_count = count + 1;
    buf_clear(&f.body);
    f.seqs[0] = 2;
    fixture_enqueue(&f, S, "one too many");
    fixture_apply(&f);
    fixture_expect_applied(&f, S, 3);
    fixture_deinit(&f);
}
