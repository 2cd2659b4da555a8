/* What has rotted everywhere is set aside, counted, and in nobody's way. */
#include <quorate/error.h>
#include <string.h>

#include "base/rng.h"
#include "lib/harness.h"
#include "unit/machine/queue/queue_fixture.h"

static const uint64_t S = UINT64_C(0x0001000000010000);
static const uint64_t T = UINT64_C(0x0002000000010000);

/* COUNT messages from session S, one entry; its index. */
static qr_index
publish(struct fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        fixture_enqueue(f, S, "four");
    }
    fixture_apply_quietly(f);
    return f->index;
}

static void
set_aside(struct fixture *f, qr_index first, qr_index last)
{
    fixture_set_aside(f, first, last);
    fixture_apply_quietly(f);
}

/* Its one loss is this. */
static void
expect_loss(const struct fixture *f, qr_index first, qr_index last,
            uint64_t messages)
{
    const struct queue_loss *loss;

    cr_assert_eq(queue_machine_losses(f->m, &loss), 1);
    cr_assert_eq(loss->first, first);
    cr_assert_eq(loss->last, last);
    cr_assert_eq(loss->messages, messages);
    cr_assert_eq(loss->bytes, messages * 4);
}

Test(queue_losses, there_are_none_as_a_rule)
{
    struct fixture f;
    const struct queue_loss *loss;

    fixture_init(&f);
    publish(&f, 1);
    cr_assert_eq(queue_machine_losses(f.m, &loss), 0);
    cr_assert_not(queue_machine_is_aside(f.m, 1));
    cr_assert_eq(fixture_counts(&f).losses, 0);
    fixture_deinit(&f);
}

Test(queue_losses, those_behind_what_is_lost_are_delivered)
{
    struct fixture f;
    const struct queue_effect *e;
    qr_index lost;
    qr_index next;

    fixture_init(&f);
    lost = publish(&f, 3);
    next = publish(&f, 1);
    set_aside(&f, lost, lost);
    cr_assert_eq(fixture_counts(&f).ready, 1);
    cr_assert_eq(fixture_counts(&f).lost, 3);
    cr_assert_eq(fixture_counts(&f).lost_bytes, 12);
    cr_assert_eq(fixture_counts(&f).dead_bytes, 12);
    expect_loss(&f, lost, lost, 3);
    fixture_attach(&f, T, 1, 10);
    fixture_apply(&f);
    fixture_expect_result(&f, T, QUEUE_OK, 0);
    e = fixture_next(&f);
    cr_assert_eq((int)e->kind, (int)QUEUE_EFFECT_DELIVER);
    cr_assert_eq(e->message.index, next);
    fixture_deinit(&f);
}

Test(queue_losses, twice_is_once)
{
    struct fixture f;

    fixture_init(&f);
    publish(&f, 2);
    set_aside(&f, 1, 1);
    set_aside(&f, 1, 1);
    expect_loss(&f, 1, 1, 2);
    cr_assert_eq(fixture_counts(&f).losses, 2);
    fixture_deinit(&f);
}

Test(queue_losses, what_comes_after_the_command_is_not_meant)
{
    struct fixture f;

    fixture_init(&f);
    publish(&f, 1);
    fixture_enqueue(&f, S, "same");
    fixture_set_aside(&f, 1, 1000);
    fixture_apply_quietly(&f);
    publish(&f, 1);
    cr_assert_eq(fixture_counts(&f).ready, 2);
    expect_loss(&f, 1, 1, 1);
    fixture_deinit(&f);
}

Test(queue_losses, a_consumer_that_has_it_may_settle_it)
{
    struct fixture f;
    const struct queue_loss *loss;

    fixture_init(&f);
    fixture_attach(&f, T, 1, 10);
    publish(&f, 2);
    set_aside(&f, 1, 1);
    cr_assert(queue_machine_is_aside(f.m, 1));
    cr_assert_eq(fixture_counts(&f).unsettled, 2);
    cr_assert_eq(fixture_counts(&f).lost, 0);
    fixture_settle(&f, T, 1, 1, 2);
    fixture_apply_quietly(&f);
    cr_assert_eq(fixture_counts(&f).lost, 0);
    cr_assert_eq(queue_machine_losses(f.m, &loss), 0);
    fixture_deinit(&f);
}

Test(queue_losses, what_comes_back_is_lost_then)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 1, 10);
    publish(&f, 3);
    set_aside(&f, 1, 1);
    fixture_settle(&f, T, 1, 1, 1);
    fixture_return(&f, T, 1, 2, 2);
    fixture_apply_quietly(&f);
    expect_loss(&f, 1, 1, 1);
    queue_put_session_down(&f.body, 2, 1);
    fixture_apply_quietly(&f);
    cr_assert_eq(fixture_counts(&f).ready, 0);
    cr_assert_eq(fixture_counts(&f).unsettled, 0);
    cr_assert_eq(fixture_counts(&f).lost, 2);
    fixture_deinit(&f);
}

Test(queue_losses, what_was_returned_before_goes_too)
{
    struct fixture f;

    fixture_init(&f);
    fixture_attach(&f, T, 1, 10);
    publish(&f, 2);
    publish(&f, 2);
    publish(&f, 2);
    fixture_consumer(&f, QUEUE_DETACH, T, 1);
    fixture_apply_quietly(&f);
    cr_assert_eq(fixture_counts(&f).ready, 6);
    set_aside(&f, 2, 3);
    cr_assert_eq(fixture_counts(&f).ready, 2);
    expect_loss(&f, 2, 3, 4);
    set_aside(&f, 1, 1);
    cr_assert_eq(fixture_counts(&f).ready, 0);
    fixture_deinit(&f);
}

Test(queue_losses, whole_blocks_and_parts_of_blocks_go)
{
    struct fixture f;
    struct rng rng;
    uint64_t left = 0;

    fixture_init(&f);
    rng_init(&rng, 5);
    for (unsigned i = 0; i < 2000; i++) {
        unsigned count = 1 + (unsigned)rng_below(&rng, 3);

        publish(&f, count);
        left += i + 1 < 100 || i + 1 > 1900 ? count : 0;
    }
    set_aside(&f, 100, 1900);
    cr_assert_eq(fixture_counts(&f).ready, left);
    publish(&f, 1);
    set_aside(&f, 1, 99);
    set_aside(&f, 1901, 2001);
    cr_assert_eq(fixture_counts(&f).ready, 1);
    set_aside(&f, 1, f.index);
    cr_assert_eq(fixture_counts(&f).ready, 0);
    publish(&f, 1);
    cr_assert_eq(fixture_counts(&f).ready, 1);
    fixture_deinit(&f);
}

Test(queue_losses, there_is_a_bound_of_records_and_none_of_counting)
{
    struct fixture f;
    const struct queue_loss *loss;
    const unsigned count = QUEUE_LOSSES_MAX + 10;

    fixture_init(&f);
    for (unsigned i = 0; i < 2 * count; i++) {
        publish(&f, 1);
    }
    for (unsigned i = 0; i < count; i++) {
        set_aside(&f, 2 * i + 1, 2 * i + 1);
    }
    cr_assert_eq(queue_machine_losses(f.m, &loss), QUEUE_LOSSES_MAX);
    cr_assert_eq(loss[0].first, 1);
    cr_assert_eq(loss[0].last, 1);
    cr_assert_eq(loss[QUEUE_LOSSES_MAX - 1].first, 2 * QUEUE_LOSSES_MAX - 1);
    cr_assert_eq(loss[QUEUE_LOSSES_MAX - 1].last, 2 * count - 1);
    cr_assert_eq(loss[QUEUE_LOSSES_MAX - 1].messages, 11);
    cr_assert_eq(fixture_counts(&f).lost, count);
    fixture_deinit(&f);
}

Test(queue_losses, a_snapshot_has_them_and_keeps_no_entry_for_them)
{
    struct fixture f;
    struct fixture g;
    struct ranges live;
    struct buf a;
    struct buf b;

    fixture_init(&f);
    fixture_init(&g);
    ranges_init(&live);
    buf_init(&a);
    buf_init(&b);
    fixture_attach(&f, T, 1, 3);
    publish(&f, 1);
    publish(&f, 1);
    publish(&f, 1);
    publish(&f, 1);
    publish(&f, 1);
    set_aside(&f, 2, 4);
    fixture_settle(&f, T, 1, 3, 3);
    fixture_apply_quietly(&f);
    queue_machine_snapshot(f.m, &a, &live);
    cr_assert(ranges_has(&live, 1));
    cr_assert_not(ranges_has(&live, 2));
    cr_assert(ranges_has(&live, 5));
    cr_assert_eq(ranges_total(&live), 2);
    cr_assert(queue_machine_is_aside(f.m, 2));
    cr_assert_not(queue_machine_is_aside(f.m, 3), "nobody holds any of it");
    cr_assert_eq(queue_machine_restore(g.m, a.data, a.size), 0);
    queue_machine_check(g.m);
    expect_loss(&g, 4, 4, 1);
    cr_assert(queue_machine_is_aside(g.m, 2));
    fixture_snapshot(g.m, &b);
    cr_assert_eq(a.size, b.size);
    cr_assert_arr_eq(a.data, b.data, a.size);
    for (size_t size = 1; size < a.size; size++) {
        cr_assert_eq(queue_machine_restore(g.m, a.data, size), -QR_EFORMAT);
    }
    buf_deinit(&a);
    buf_deinit(&b);
    ranges_deinit(&live);
    fixture_deinit(&f);
    fixture_deinit(&g);
}

/* As apply, of what was collected, but the bytes are lost. */
static void
lose(struct fixture *f, qr_index until)
{
    buf_clear(&f->body);
    f->index++;
    queue_machine_pass(f->m, f->index, until, 7);
    queue_machine_check(f->m);
}

Test(queue_losses, a_session_goes_on_behind_commands_that_are_lost)
{
    struct fixture f;
    const struct queue_loss *loss;

    fixture_init(&f);
    publish(&f, 2);
    fixture_enqueue(&f, S, "gone");
    fixture_attach(&f, T, 1, 10);
    lose(&f, 4);
    publish(&f, 2);
    fixture_settle(&f, T, 1, 1, 1);
    fixture_apply_quietly(&f);
    cr_assert_eq(fixture_counts(&f).ready, 4, "nothing else is lost");
    cr_assert_eq(queue_machine_session(f.m, S, &f.effects), 5);
    cr_assert_eq(queue_machine_session(f.m, T, &f.effects), 2);
    cr_assert_eq(queue_machine_losses(f.m, &loss), 1);
    cr_assert(loss->is_unknown);
    cr_assert_eq(loss->first, 2);
    cr_assert_eq(loss->messages, 0);
    cr_assert_eq(loss->time_ms, 7);
    fixture_deinit(&f);
}

Test(queue_losses, what_came_too_early_before_is_taken_once_after)
{
    struct fixture f;
    struct buf message;

    fixture_init(&f);
    fixture_enqueue(&f, S, "gone");
    lose(&f, 4);
    buf_init(&message);
    /* 4 came before 2 and 3, was refused, and came again with them. */
    for (unsigned i = 0; i < 4; i++) {
        static const uint64_t seqs[] = {4, 2, 3, 4};

        queue_put_enqueue(&f.body, S, seqs[i], 1);
        buf_put(&f.body, "m", 1);
    }
    fixture_apply_quietly(&f);
    cr_assert_eq(fixture_counts(&f).ready, 3);
    buf_deinit(&message);
    fixture_deinit(&f);
}

/* A snapshot in the middle of a replay changes nothing of what follows: the
 * same deliveries have the same numbers before and after a start. */
Test(queue_losses, a_snapshot_has_the_numbers_that_were_jumped_over)
{
    struct fixture f;
    struct fixture g;
    struct buf a;
    struct buf b;

    fixture_init(&f);
    fixture_init(&g);
    buf_init(&a);
    buf_init(&b);
    publish(&f, 1);
    fixture_enqueue(&f, S, "gone");
    lose(&f, 9);
    queue_put_enqueue(&f.body, S, 4, 1);
    buf_put(&f.body, "m", 1);
    queue_put_enqueue(&f.body, S, 7, 1);
    buf_put(&f.body, "m", 1);
    fixture_apply_quietly(&f);
    fixture_snapshot(f.m, &a);
    cr_assert_eq(queue_machine_restore(g.m, a.data, a.size), 0);
    queue_machine_check(g.m);
    fixture_snapshot(g.m, &b);
    cr_assert_eq(a.size, b.size);
    cr_assert_arr_eq(a.data, b.data, a.size);
    for (size_t size = 1; size < a.size; size++) {
        cr_assert_eq(queue_machine_restore(f.m, a.data, size), -QR_EFORMAT);
    }
    g.index = f.index;
    queue_put_enqueue(&g.body, S, 3, 1);
    buf_put(&g.body, "m", 1);
    queue_put_enqueue(&g.body, S, 4, 1);
    buf_put(&g.body, "m", 1);
    fixture_apply_quietly(&g);
    cr_assert_eq(fixture_counts(&g).ready, 4, "3 is taken, 4 was");
    buf_deinit(&a);
    buf_deinit(&b);
    fixture_deinit(&f);
    fixture_deinit(&g);
}

Test(queue_losses, numbers_do_not_jump_beyond_the_log_that_was_found)
{
    struct fixture f;

    fixture_init(&f);
    publish(&f, 1);
    fixture_enqueue(&f, S, "gone");
    lose(&f, 2);
    fixture_enqueue(&f, S, "early");
    fixture_apply(&f);
    fixture_expect_gap(&f, S, 2, QUEUE_OK);
    cr_assert_eq(fixture_counts(&f).ready, 1);
    fixture_deinit(&f);
}

Test(queue_losses, a_result_that_is_skipped_does_not_replace_a_later_one)
{
    struct fixture f;

    fixture_init(&f);
    fixture_enqueue(&f, S, "gone");
    lose(&f, 9);
    queue_put_purge(&f.body, S, 5);
    queue_put_purge(&f.body, S, 3);
    fixture_apply_quietly(&f);
    queue_effects_clear(&f.effects);
    cr_assert_eq(queue_machine_session(f.m, S, &f.effects), 5);
    cr_assert_eq(f.effects.items[0].seq, 5);
    fixture_deinit(&f);
}
