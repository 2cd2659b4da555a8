/* How fast the queue machine is, by hand:
 *
 *     meson compile -C build machine-queue-bench
 *     cd build/tests/unit/machine/queue
 *     ./machine-queue-bench [MESSAGES [BATCH [CONSUMERS]]]
 *
 * Steady: each entry brings BATCH messages and settles those of the entry
 * before. Backlog: all come first, then consumers take and settle them; with
 * the snapshot of the backlog in between. One thread; CPU time. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "base/ranges.h"
#include "machine/queue/queue_command.h"
#include "machine/queue/queue_machine.h"

enum {
    BENCH_CREDIT = 4096,
    BENCH_SIZE = 16 /* of a message: the machine does not look at it */
};

struct bench {
    struct queue_machine *m;
    struct queue_effects effects;
    struct buf body;
    struct ranges ids;
    uint64_t producer;
    uint64_t consumer; /* session */
    uint64_t seqs[2];
    qr_index index;
    unsigned batch;
    unsigned consumers;
};

static double
seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
report(const char *what, uint64_t count, double start)
{
    double took = seconds() - start;

    printf("%-28s %8.2f M/s %7.1f ns a message\n", what,
           (double)count / took / 1e6, took * 1e9 / (double)count);
}

static void
bench_init(struct bench *b, unsigned batch, unsigned consumers)
{
    memset(b, 0, sizeof(*b));
    b->m = queue_machine_new();
    queue_effects_init(&b->effects);
    buf_init(&b->body);
    ranges_init(&b->ids);
    b->producer = session_id(1, 1, 0);
    b->consumer = session_id(2, 1, 0);
    b->batch = batch;
    b->consumers = consumers;
}

static void
bench_deinit(struct bench *b)
{
    queue_machine_free(&b->m);
    queue_effects_deinit(&b->effects);
    buf_deinit(&b->body);
    ranges_deinit(&b->ids);
}

static void
bench_attach(struct bench *b)
{
    for (unsigned i = 1; i <= b->consumers; i++) {
        struct queue_command attach = {.consumer = i, .credit = BENCH_CREDIT};

        b->seqs[1]++;
        queue_put_attach(&b->body, b->consumer, b->seqs[1], &attach);
    }
}

static void
bench_enqueue(struct bench *b)
{
    for (unsigned i = 0; i < b->batch; i++) {
        b->seqs[0]++;
        queue_put_enqueue(&b->body, b->producer, b->seqs[0], BENCH_SIZE);
        memset(buf_extend(&b->body, BENCH_SIZE), 'm', BENCH_SIZE);
    }
}

/* Settle all that the last entry delivered. */
static void
bench_settle(struct bench *b)
{
    for (unsigned c = 1; c <= b->consumers; c++) {
        struct queue_command head = {.session = b->consumer, .consumer = c};

        ranges_clear(&b->ids);
        for (size_t i = 0; i < b->effects.count; i++) {
            const struct queue_effect *e = &b->effects.items[i];

            if (e->kind == QUEUE_EFFECT_DELIVER && e->consumer == c) {
                ranges_add(&b->ids, e->delivery, e->delivery);
            }
        }
        if (b->ids.count > 0) {
            b->seqs[1]++;
            head.seq = b->seqs[1];
            queue_put_ids(&b->body, QUEUE_SETTLE, &head, &b->ids);
        }
    }
}

/* Returns the time that the machine took. */
static double
bench_apply(struct bench *b)
{
    double start = 0;

    queue_effects_clear(&b->effects);
    b->index++;
    start = seconds();
    queue_machine_apply(b->m, b->index, 0, b->body.data, b->body.size,
                        &b->effects);
    start = seconds() - start;
    buf_clear(&b->body);
    return start;
}

static void
bench_steady(uint64_t messages, unsigned batch, unsigned consumers)
{
    struct bench b;
    double start = 0;
    double machine = 0;

    bench_init(&b, batch, consumers);
    bench_attach(&b);
    start = seconds();
    for (uint64_t n = 0; n < messages; n += batch) {
        bench_settle(&b);
        bench_enqueue(&b);
        machine += bench_apply(&b);
    }
    report("steady, with encoding", messages, start);
    report("steady, the machine alone", messages, seconds() - machine);
    bench_deinit(&b);
}

static void
bench_snapshot(struct bench *b, uint64_t messages)
{
    struct ranges live;
    struct buf bytes;
    double start = seconds();

    ranges_init(&live);
    buf_init(&bytes);
    queue_machine_snapshot(b->m, &bytes, &live);
    report("snapshot", messages, start);
    printf("%-28s %8zu bytes, %zu live ranges\n", "its size", bytes.size,
           live.count);
    start = seconds();
    if (queue_machine_restore(b->m, bytes.data, bytes.size) != 0) {
        printf("the snapshot was refused\n");
        exit(1);
    }
    report("restore", messages, start);
    ranges_deinit(&live);
    buf_deinit(&bytes);
}

static void
bench_backlog(uint64_t messages, unsigned batch, unsigned consumers)
{
    struct queue_counts counts;
    struct bench b;
    double machine = 0;
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;

    bench_init(&b, batch, consumers);
    for (uint64_t n = 0; n < messages; n += batch) {
        bench_enqueue(&b);
        machine += bench_apply(&b);
    }
    report("filling a backlog", messages, seconds() - machine);
    printf("%-28s %8.2f bytes a message\n", "its memory",
           (double)(mallinfo2().uordblks + mallinfo2().hblkhd - before) /
               (double)messages);
    bench_snapshot(&b, messages);
    machine = 0;
    bench_attach(&b);
    do {
        machine += bench_apply(&b);
        bench_settle(&b);
        queue_machine_counts(b.m, &counts);
    } while (counts.ready + counts.unsettled > 0);
    report("draining it", messages, seconds() - machine);
    bench_deinit(&b);
}

int
main(int argc, char **argv)
{
    uint64_t messages = argc > 1 ? strtoull(argv[1], NULL, 10) : 5000000;
    unsigned batch = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 64;
    unsigned consumers = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1;

    printf("%llu messages, %u an entry, %u consumers\n",
           (unsigned long long)messages, batch, consumers);
    bench_steady(messages, batch, consumers);
    bench_backlog(messages, batch, consumers);
    return 0;
}
