/* The queue machine: what the log holds, and what a snapshot holds. Whatever
 * the bytes, the state stays sound, and a snapshot of it restores to a state
 * with the same snapshot. */
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/ranges.h"
#include "base/rng.h"
#include "fuzz/fuzz.h"
#include "machine/queue/queue_command.h"
#include "machine/queue/queue_machine.h"

enum {
    COMMANDS_MAX = 40,
    SESSIONS = 3,
    CONSUMERS = 3,
    MESSAGE_SIZE_MAX = 16
};

/* The first byte of the input. */
enum {
    AS_ENTRY = 0,
    AS_SNAPSHOT = 1
};

/* Append M's snapshot to OUT. */
static void
snapshot(struct queue_machine *m, struct buf *out)
{
    struct ranges live;

    ranges_init(&live);
    queue_machine_snapshot(m, out, &live);
    ranges_deinit(&live);
}

/* M's snapshot restores to the same. */
static void
check_snapshot(struct queue_machine *m)
{
    struct queue_machine *copy = queue_machine_new();
    struct buf first;
    struct buf second;

    buf_init(&first);
    buf_init(&second);
    snapshot(m, &first);
    ASSERT(queue_machine_restore(copy, first.data, first.size) == 0);
    queue_machine_check(copy);
    snapshot(copy, &second);
    ASSERT(first.size == second.size);
    ASSERT(memcmp(first.data, second.data, first.size) == 0);
    buf_deinit(&first);
    buf_deinit(&second);
    queue_machine_free(&copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct queue_machine *m = queue_machine_new();
    struct queue_effects effects;
    int rv = 0;

    queue_effects_init(&effects);
    if (size > 0 && data[0] == AS_SNAPSHOT) {
        rv = queue_machine_restore(m, data + 1, size - 1);
    } else if (size > 0) {
        queue_machine_apply(m, 2, 1000, data + 1, size - 1, &effects);
    }
    queue_machine_check(m);
    if (rv == 0) {
        check_snapshot(m);
    }
    queue_effects_deinit(&effects);
    queue_machine_free(&m);
    return 0;
}

static void
put_command(struct rng *r, struct buf *b, uint64_t *seqs)
{
    static const uint8_t bytes[MESSAGE_SIZE_MAX];
    uint64_t who = rng_below(r, SESSIONS);
    uint64_t seq = ++seqs[who];
    struct queue_command head = {
        .session = session_id((qr_node_id)who + 1, 1, 0),
        .seq = seq,
        .consumer = 1 + rng_below(r, CONSUMERS),
        .credit = (uint32_t)rng_below(r, 4),
        .bytes = bytes,
        .size = (size_t)rng_below(r, MESSAGE_SIZE_MAX),
    };
    static const enum queue_command_kind by_ids[] = {QUEUE_SETTLE, QUEUE_RETURN,
                                                     QUEUE_DISCARD};
    static const enum queue_command_kind by_consumer[] = {
        QUEUE_CANCEL, QUEUE_DETACH, QUEUE_GET};
    struct ranges ids;

    switch (rng_below(r, 8)) {
    case 0:
        queue_put_attach(b, head.session, seq, &head);
        break;
    case 1:
        queue_put_credit(b, head.session, seq, head.consumer, head.credit);
        break;
    case 2:
    case 3:
        ranges_init(&ids);
        ranges_add(&ids, 1 + rng_below(r, 6), 6 + rng_below(r, 6));
        queue_put_ids(b, by_ids[rng_below(r, ARRAY_COUNT(by_ids))], &head,
                      &ids);
        ranges_deinit(&ids);
        break;
    case 4:
        queue_put_consumer(b,
                           by_consumer[rng_below(r, ARRAY_COUNT(by_consumer))],
                           head.session, seq, head.consumer);
        break;
    case 5:
        if (rng_below(r, 8) == 0) {
            queue_put_purge(b, head.session, seq);
        }
        break;
    default:
        queue_put_enqueue(b, head.session, seq, head.size);
        buf_put(b, bytes, head.size);
        break;
    }
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    struct queue_machine *m = queue_machine_new();
    struct queue_effects effects;
    struct buf entry;
    uint64_t count = 1 + rng_below(r, COMMANDS_MAX);
    uint64_t seqs[SESSIONS] = {0};
    size_t size = 0;

    queue_effects_init(&effects);
    buf_init(&entry);
    for (uint64_t i = 0; i < count; i++) {
        put_command(r, &entry, seqs);
    }
    at[0] = AS_ENTRY;
    if (rng_below(r, 2) == 0) {
        at[0] = AS_SNAPSHOT;
        queue_machine_apply(m, 2, 1000, entry.data, entry.size, &effects);
        buf_clear(&entry);
        snapshot(m, &entry);
    }
    ASSERT(entry.size < capacity);
    if (entry.size > 0) {
        memcpy(at + 1, entry.data, entry.size);
    }
    size = entry.size + 1;
    buf_deinit(&entry);
    queue_effects_deinit(&effects);
    queue_machine_free(&m);
    return size;
}
