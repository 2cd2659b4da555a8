/* What replicas receive: batches of messages with their entries, and the
 * envelope of a snapshot's manifest.
 *
 *    0 u8 0: a batch, otherwise a manifest
 *    1 u16 size of the head   3 head   then content */
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/ranges.h"
#include "base/rng.h"
#include "consensus/internal.h"
#include "fuzz/fuzz.h"

enum {
    INPUT_HEADER = 3,
    SEED_CAPACITY_MIN = 512
};

static void
check_entries(const Raft__Append *a, const struct slice *content, size_t *at)
{
    static struct raft_entry entries[WIRE_ENTRIES_MAX];
    static struct slice bodies[WIRE_ENTRIES_MAX];
    size_t before = *at;
    size_t size = 0;

    if (wire_get_entries(a, content, at, entries, bodies) != 0) {
        ASSERT(*at == before);
        return;
    }
    for (size_t i = 0; i < a->n_sizes; i++) {
        ASSERT(entries[i].term > 0);
        ASSERT(bodies[i].size == a->sizes[i] / 4);
        size += bodies[i].size;
        slice_unref(&bodies[i]);
    }
    ASSERT(*at == before + size);
}

static void
read_batch(const uint8_t *head, size_t head_size, const struct slice *content)
{
    struct wire_arena arena;
    Raft__Batch *batch;
    size_t at = 0;

    wire_arena_init(&arena);
    batch = raft__batch__unpack(wire_arena_reset(&arena, head_size), head_size,
                                head);
    for (size_t i = 0; batch != NULL && i < batch->n_messages; i++) {
        const Raft__Message *m = batch->messages[i];
        struct raft_message out;

        if (!wire_is_sane(m)) {
            break;
        }
        wire_get(m, &out);
        ASSERT(out.server_id == m->from);
        ASSERT(out.type >= RAFT_APPEND_ENTRIES);
        ASSERT(out.type <= RAFT_TIMEOUT_NOW);
        if (out.type == RAFT_APPEND_ENTRIES) {
            check_entries(m->append, content, &at);
        }
    }
    wire_arena_deinit(&arena);
}

static void
read_manifest(const struct slice *manifest)
{
    struct ranges live;
    uint64_t clock = 0;
    size_t offset = 0;

    ranges_init(&live);
    if (snapshot_open(manifest, &live, &clock, &offset) == 0) {
        ASSERT(offset <= manifest->size);
        for (size_t i = 0; i < live.count; i++) {
            ASSERT(live.items[i].first > 0);
            ASSERT(live.items[i].first <= live.items[i].last);
        }
    }
    ranges_deinit(&live);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t head;
    struct slice rest;

    if (size < INPUT_HEADER) {
        return 0;
    }
    head = MIN((size_t)(data[1] | data[2] << 8), size - INPUT_HEADER);
    if (data[0] == 0) {
        rest =
            slice_copy(data + INPUT_HEADER + head, size - INPUT_HEADER - head);
        read_batch(data + INPUT_HEADER, head, &rest);
    } else {
        rest = slice_copy(data + INPUT_HEADER, size - INPUT_HEADER);
        read_manifest(&rest);
    }
    slice_unref(&rest);
    return 0;
}

/* Any of the messages, with entries where it takes some. */
static void
put_message(struct rng *r, struct buf *head, size_t *content)
{
    static const enum raft_message_type types[] = {
        RAFT_APPEND_ENTRIES, RAFT_APPEND_ENTRIES_RESULT, RAFT_REQUEST_VOTE,
        RAFT_REQUEST_VOTE_RESULT, RAFT_TIMEOUT_NOW};
    static struct wire_entries entries;
    struct wire_route route = {1 + rng_below(r, 100), 1 + rng_below(r, 100),
                               1 + rng_below(r, 100), rng_chance(r, 500000),
                               (uint8_t)rng_below(r, 3)};
    struct raft_message m;

    memset(&m, 0, sizeof(m));
    memset(&entries, 0, sizeof(entries));
    m.type = types[rng_below(r, ARRAY_COUNT(types))];
    m.request_vote.term = 1 + rng_below(r, 10);
    if (m.type == RAFT_APPEND_ENTRIES) {
        memset(&m.append_entries, 0, sizeof(m.append_entries));
        m.append_entries.term = 5;
        for (uint64_t i = rng_below(r, 4); i > 0; i--) {
            size_t size = (size_t)rng_below(r, 20);

            wire_entries_add(&entries, 1 + rng_below(r, 2), RAFT_COMMAND, size);
            *content += size;
        }
    }
    wire_put(head, &route, &m, &entries);
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    struct buf b;
    size_t content = 0;
    size_t size;

    ASSERT(capacity >= SEED_CAPACITY_MIN);
    buf_init(&b);
    at[0] = (uint8_t)rng_below(r, 2);
    if (at[0] == 0) {
        for (uint64_t i = 1 + rng_below(r, 3); i > 0; i--) {
            put_message(r, &b, &content);
        }
    } else {
        buf_put_u8(&b, 1);
        buf_put_u64le(&b, rng_u64(r));
        buf_put_varint(&b, 2);
        for (unsigned i = 0; i < 4; i++) {
            buf_put_varint(&b, 1 + rng_below(r, 300));
        }
    }
    size = INPUT_HEADER + b.size + content;
    ASSERT(size <= capacity);
    at[1] = (uint8_t)b.size;
    at[2] = (uint8_t)(b.size >> 8);
    memcpy(at + INPUT_HEADER, b.data, b.size);
    rng_fill(r, at + INPUT_HEADER + b.size, content);
    buf_deinit(&b);
    return size;
}
