/* The fixture of the queue machine's tests. */
#include "unit/machine/queue/queue_fixture.h"

#include "lib/harness.h"

uint64_t
fixture_session(unsigned which)
{
    return session_id(1 + which % 3, 1 + which / 3 % 2, (uint16_t)which);
}

void
fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->m = queue_machine_new();
    queue_effects_init(&f->effects);
    buf_init(&f->body);
}

void
fixture_deinit(struct fixture *f)
{
    queue_machine_free(&f->m);
    cr_assert_null(f->m);
    queue_effects_deinit(&f->effects);
    buf_deinit(&f->body);
}

/* Where the number of session S is kept. */
static uint64_t *
fixture_find(struct fixture *f, uint64_t s)
{
    for (size_t i = 0; i < FIXTURE_SESSIONS; i++) {
        if (f->sessions[i] == 0) {
            f->sessions[i] = s;
        }
        if (f->sessions[i] == s) {
            return &f->seqs[i];
        }
    }
    cr_assert(false, "too many sessions");
    return &f->seqs[0];
}

uint64_t
fixture_seq(struct fixture *f, uint64_t s)
{
    uint64_t *seq = fixture_find(f, s);

    (*seq)++;
    return *seq;
}

void
fixture_enqueue(struct fixture *f, uint64_t s, const char *text)
{
    size_t size = strlen(text);

    queue_put_enqueue(&f->body, s, fixture_seq(f, s), size);
    buf_put(&f->body, text, size);
}

void
fixture_attach_flags(struct fixture *f, uint64_t s, uint64_t consumer,
                     uint32_t credit, uint32_t flags)
{
    struct queue_command cmd = {
        .consumer = consumer,
        .credit = credit,
        .flags = flags,
        .bytes = (const uint8_t *)"tag",
        .size = 3,
    };

    queue_put_attach(&f->body, s, fixture_seq(f, s), &cmd);
}

void
fixture_attach(struct fixture *f, uint64_t s, uint64_t consumer,
               uint32_t credit)
{
    fixture_attach_flags(f, s, consumer, credit, 0);
}

void
fixture_credit(struct fixture *f, uint64_t s, uint64_t consumer,
               uint32_t credit)
{
    queue_put_credit(&f->body, s, fixture_seq(f, s), consumer, credit);
}

void
fixture_ids(struct fixture *f, enum queue_command_kind kind, uint64_t s,
            uint64_t consumer, const uint64_t range[2])
{
    struct queue_command head = {.session = s, .consumer = consumer};
    struct ranges ids;

    ranges_init(&ids);
    ranges_add(&ids, range[0], range[1]);
    head.seq = fixture_seq(f, s);
    queue_put_ids(&f->body, kind, &head, &ids);
    ranges_deinit(&ids);
}

void
fixture_settle(struct fixture *f, uint64_t s, uint64_t consumer, uint64_t first,
               uint64_t last)
{
    uint64_t range[2] = {first, last};

    fixture_ids(f, QUEUE_SETTLE, s, consumer, range);
}

void
fixture_return(struct fixture *f, uint64_t s, uint64_t consumer, uint64_t first,
               uint64_t last)
{
    uint64_t range[2] = {first, last};

    fixture_ids(f, QUEUE_RETURN, s, consumer, range);
}

void
fixture_consumer(struct fixture *f, enum queue_command_kind kind, uint64_t s,
                 uint64_t consumer)
{
    queue_put_consumer(&f->body, kind, s, fixture_seq(f, s), consumer);
}

void
fixture_purge(struct fixture *f, uint64_t s)
{
    queue_put_purge(&f->body, s, fixture_seq(f, s));
}

void
fixture_set_aside(struct fixture *f, qr_index first, qr_index last)
{
    struct ranges entries;

    ranges_init(&entries);
    ranges_add(&entries, first, last);
    queue_put_set_aside(&f->body, &entries);
    ranges_deinit(&entries);
}

void
fixture_apply(struct fixture *f)
{
    queue_effects_clear(&f->effects);
    f->seen = 0;
    f->index++;
    queue_machine_apply(f->m, f->index, 0, f->body.data, f->body.size,
                        &f->effects);
    buf_clear(&f->body);
    queue_machine_check(f->m);
}

void
fixture_apply_quietly(struct fixture *f)
{
    fixture_apply(f);
    f->seen = f->effects.count;
}

const struct queue_effect *
fixture_next(struct fixture *f)
{
    cr_assert_lt(f->seen, f->effects.count, "no effect left");
    f->seen++;
    return &f->effects.items[f->seen - 1];
}

void
fixture_expect_deliver(struct fixture *f, uint64_t s, uint64_t consumer,
                       uint64_t delivery, uint32_t count)
{
    const struct queue_effect *e = fixture_next(f);

    cr_assert_eq((int)e->kind, (int)QUEUE_EFFECT_DELIVER);
    cr_assert_eq(e->session, s);
    cr_assert_eq(e->consumer, consumer);
    cr_assert_eq(e->delivery, delivery);
    cr_assert_eq(e->count, count);
}

void
fixture_expect_result(struct fixture *f, uint64_t s, enum queue_status status,
                      uint64_t value)
{
    const struct queue_effect *e = fixture_next(f);

    cr_assert_eq((int)e->kind, (int)QUEUE_EFFECT_RESULT);
    cr_assert_eq(e->session, s);
    cr_assert_eq((int)e->status, (int)status);
    cr_assert_eq(e->value, value);
}

void
fixture_expect_applied(struct fixture *f, uint64_t s, uint64_t seq)
{
    const struct queue_effect *e = fixture_next(f);

    cr_assert_eq((int)e->kind, (int)QUEUE_EFFECT_APPLIED);
    cr_assert_eq(e->session, s);
    cr_assert_eq(e->seq, seq);
}

void
fixture_expect_gap(struct fixture *f, uint64_t s, uint64_t seq,
                   enum queue_status status)
{
    const struct queue_effect *e = fixture_next(f);

    cr_assert_eq((int)e->kind, (int)QUEUE_EFFECT_GAP);
    cr_assert_eq(e->session, s);
    cr_assert_eq(e->seq, seq);
    cr_assert_eq((int)e->status, (int)status);
}

void
fixture_expect_unused(struct fixture *f)
{
    const struct queue_effect *e = fixture_next(f);

    cr_assert_eq((int)e->kind, (int)QUEUE_EFFECT_UNUSED);
}

void
fixture_expect_end(struct fixture *f)
{
    cr_assert_eq(f->seen, f->effects.count);
}

void
fixture_snapshot(struct queue_machine *m, struct buf *out)
{
    struct ranges live;

    ranges_init(&live);
    queue_machine_snapshot(m, out, &live);
    ranges_deinit(&live);
}

struct queue_counts
fixture_counts(const struct fixture *f)
{
    struct queue_counts counts;

    queue_machine_counts(f->m, &counts);
    return counts;
}
