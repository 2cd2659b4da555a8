/* The check must be able to fail. */
#include "lib/harness.h"
#include "machine/queue/queue_state.h"
#include "unit/machine/queue/queue_fixture.h"

static const uint64_t S = UINT64_C(0x0001000000010000);

/* A state with something of everything. */
static void
init(struct fixture *f)
{
    fixture_init(f);
    fixture_attach(f, S, 1, 3);
    for (unsigned i = 0; i < 6; i++) {
        fixture_enqueue(f, S, "m");
    }
    fixture_apply_quietly(f);
    fixture_consumer(f, QUEUE_CANCEL, S, 1);
    fixture_return(f, S, 1, 1, 2);
    fixture_apply_quietly(f);
    queue_machine_check(f->m);
}

Test(queue_check, finds_a_wrong_count_of_ready_messages, .signal = SIGABRT)
{
    struct fixture f;

    init(&f);
    f.m->ready.fresh_count++;
    queue_machine_check(f.m);
}

Test(queue_check, finds_wrong_bytes_of_ready_messages, .signal = SIGABRT)
{
    struct fixture f;

    init(&f);
    f.m->ready.bytes++;
    queue_machine_check(f.m);
}

Test(queue_check, finds_messages_out_of_order, .signal = SIGABRT)
{
    struct fixture f;

    init(&f);
    f.m->ready.head->slots[f.m->ready.head->first].offset = 1000;
    queue_machine_check(f.m);
}

Test(queue_check, finds_a_heap_out_of_order, .signal = SIGABRT)
{
    struct fixture f;

    init(&f);
    f.m->ready.returned[0].message.index += 10;
    queue_machine_check(f.m);
}

Test(queue_check, finds_a_wrong_count_of_unsettled_messages, .signal = SIGABRT)
{
    struct fixture f;

    init(&f);
    f.m->held_count++;
    queue_machine_check(f.m);
}

Test(queue_check, finds_a_wrong_count_of_consumers, .signal = SIGABRT)
{
    struct fixture f;

    init(&f);
    f.m->attached_count++;
    queue_machine_check(f.m);
}

Test(queue_check, finds_a_session_that_should_be_dead, .signal = SIGABRT)
{
    struct fixture f;

    init(&f);
    queue_session_mark_dead(f.m, 1, 1);
    queue_machine_check(f.m);
}

Test(queue_check, finds_a_result_from_the_future, .signal = SIGABRT)
{
    struct fixture f;

    init(&f);
    queue_session_find(f.m, S)->result.seq = 1000;
    queue_machine_check(f.m);
}
