/* Starts of a store: a segment whose checksums are right but whose records say
 * anything at all.
 *
 *   0        1
 *   +--------+--------------------------------------------------+
 *   | flags  | records: type, entry type, log, index (2), term, |
 *   |        | size of the body, body                           |
 *   +--------+--------------------------------------------------+
 *
 * Flags: bit 0 the segment is sealed, so that its index is read; bits 1-3
 * records of a batch - 1; bit 4 every index is large, bit 5 every log. */
#include <quorate/error.h>
#include <quorate/version.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "fuzz/fuzz.h"
#include "store/disk.h"
#include "store/disk_sim.h"
#include "store/record.h"
#include "store/store.h"

enum {
    SEALED = 1,
    LARGE_INDEX = 16,
    LARGE_LOG = 32,
    RECORD_PREFIX = 7,
    SIZE = STORE_SEGMENT_SIZE_MIN,
    DATA_MAX = SIZE / 2,
    ENTRIES_MAX = 300
};

/* A segment being made; zeroed at first. */
struct image {
    uint8_t bytes[SIZE];
    struct segment_header header;
    uint32_t seed;
    struct buf index;
    uint64_t before;
    uint64_t end;
    uint64_t number; /* of the next batch */
    uint32_t chain;
    uint64_t records;
    struct buf batch; /* records of the one being made */
    uint32_t batch_records;
    uint32_t fold;
    size_t index_at; /* where its items begin */
    struct log_counts counts;
};

static void
image_start(struct image *im)
{
    im->header.version = QR_STORE_FORMAT;
    im->header.use = SEGMENT_IN_USE;
    im->header.sequence = 1;
    im->header.batch_first = 1;
    im->header.size = SIZE;
    im->seed = segment_seed(&im->header);
    segment_header_encode(&im->header, im->bytes);
    memcpy(im->bytes + SECTOR_SIZE, im->bytes, SECTOR_SIZE);
    im->end = SEGMENT_DATA_AT;
    im->number = 1;
    buf_init(&im->index);
    buf_init(&im->batch);
}

static void
image_record(struct image *im, struct record *r, const uint8_t *body,
             size_t size)
{
    uint8_t crc_bytes[4];
    uint8_t *at;
    uint32_t crc;

    r->size = (uint32_t)(RECORD_HEADER_SIZE + size);
    r->offset = im->end + BATCH_HEADER_SIZE + im->batch.size;
    at = buf_extend(&im->batch, (size_t)record_span(r->size));
    memset(at, 0, (size_t)record_span(r->size));
    record_encode(r, at);
    crc = crc32c(record_crc_start(at), body, size);
    record_seal(at, crc);
    if (size > 0) {
        memcpy(at + RECORD_HEADER_SIZE, body, size);
    }
    put_u32le(crc_bytes, crc);
    im->fold = crc32c(im->fold, crc_bytes, sizeof(crc_bytes));
    index_item_encode(&im->index, r, im->before);
    im->before = r->offset + record_span(r->size);
    log_counts_add(&im->counts, r);
    im->batch_records++;
    im->records++;
}

static void
image_batch(struct image *im)
{
    size_t items = im->index.size - im->index_at;
    struct batch_mark m;
    uint8_t *end;
    struct batch_header h = {
        .size = (uint32_t)sector_round_up(BATCH_HEADER_SIZE + im->batch.size +
                                          items + BATCH_MARK_SIZE),
        .number = im->number,
        .chain_before = im->chain,
        .records = im->batch_records,
        .body_crc = im->fold,
    };

    if (im->batch_records == 0) {
        return;
    }
    batch_header_encode(&h, im->seed, im->bytes + im->end);
    memcpy(im->bytes + im->end + BATCH_HEADER_SIZE, im->batch.data,
           im->batch.size);
    end = im->bytes + im->end + h.size - BATCH_MARK_SIZE;
    memcpy(end - items, im->index.data + im->index_at, items);
    m = (struct batch_mark){.size = h.size,
                            .number = h.number,
                            .chain = h.chain,
                            .items_size = (uint32_t)items,
                            .records = h.records,
                            .counts = im->counts};
    batch_mark_encode(&m, im->seed, end);
    im->index_at = im->index.size;
    im->end += h.size;
    im->chain = h.chain;
    im->number++;
    buf_clear(&im->batch);
    im->batch_records = 0;
    im->fold = 0;
}

static void
image_seal(struct image *im)
{
    size_t padded = (size_t)sector_round_up(im->index.size);
    struct trailer t = {
        .sequence = 1,
        .batch_last = im->number - 1,
        .chain = im->chain,
        .data_end = im->end,
        .index_size = im->index.size,
        .records = im->records,
        .counts = im->counts,
    };
    uint8_t *at = im->bytes + SIZE - TRAILER_SIZE - padded;

    if (im->records > 0) {
        memcpy(at, im->index.data, im->index.size);
    }
    t.index_crc = crc32c(im->seed, at, padded);
    trailer_encode(&t, im->seed, im->bytes + SIZE - TRAILER_SIZE);
}

/* Whether one more record surely fits. */
static bool
has_room(const struct image *im)
{
    return im->end + im->batch.size < DATA_MAX && im->index.size < DATA_MAX / 2;
}

static void
image_fill(struct image *im, uint8_t flags, struct cursor *c)
{
    uint32_t per_batch = 1 + ((flags >> 1) & 7);

    while (cursor_left(c) >= RECORD_PREFIX && has_room(im)) {
        struct record r = {0};
        const uint8_t *body;
        size_t size;

        r.type = (enum record_type)(1 + cursor_u8(c) % RECORD_SEAL);
        r.entry_type = cursor_u8(c);
        r.log = cursor_u8(c);
        r.log = (flags & LARGE_LOG) != 0 ? UINT32_MAX - r.log : r.log % 4;
        r.index = (uint64_t)cursor_u8(c) | (uint64_t)cursor_u8(c) << 8;
        r.term = cursor_u8(c);
        if ((flags & LARGE_INDEX) != 0) {
            r.index = UINT64_MAX - r.index;
        }
        size = cursor_u8(c);
        size = MIN(size, cursor_left(c));
        body = cursor_bytes(c, size);
        image_record(im, &r, body, size);
        if (im->batch_records == per_batch) {
            image_batch(im);
        }
    }
    image_batch(im);
}

static void
on_durable(void *arg, uint64_t batch)
{
    uint64_t *durable = arg;

    *durable = batch;
}

static void
on_failure(void *arg, const char *text)
{
    (void)arg;
    (void)text;
    UNREACHABLE("this disk does not fail");
}

static struct store *
open_store(struct disk_sim *sim, uint64_t *durable)
{
    struct store_config config = {
        .disk = disk_sim_disk(sim),
        .segment_size = SIZE,
        .cache_size = 1024,
        .on_durable = on_durable,
        .on_failure = on_failure,
        .arg = durable,
    };
    struct store *s = NULL;
    struct error err;
    int rv = store_open(&config, &s, &err);

    ASSERT(rv == 0 || rv == -QR_ECORRUPT);
    return s;
}

/* What the store says of a group must hold together. */
static void
check_group(struct store *s, const struct store_group_info *info)
{
    struct store_entry e;

    ASSERT(info->last_index + 1 >= info->first_index);
    for (qr_index i = info->first_index;
         i <= info->last_index && i < info->first_index + ENTRIES_MAX; i++) {
        ASSERT(store_term(s, info->id, i) > 0);
        if (store_is_damaged(s, info->id, i)) {
            ASSERT(store_read(s, info->id, i, &e) == -QR_ECORRUPT);
            continue;
        }
        ASSERT(store_read(s, info->id, i, &e) == 0);
        slice_unref(&e.data);
    }
    if (info->has_snapshot) {
        ASSERT(info->snapshot.index + 1 == info->first_index);
    }
}

struct visit {
    struct store *store;
    qr_group_id ids[8];
    size_t count;
};

static void
on_group(void *arg, const struct store_group_info *info)
{
    struct visit *v = arg;

    check_group(v->store, info);
    if (v->count < 8) {
        v->ids[v->count++] = info->id;
    }
}

/* Go on from what was found. */
static void
use(struct store *s, const struct visit *v)
{
    for (size_t i = 0; i < v->count; i++) {
        struct store_group_info info;
        struct store_entry e = {.term = 300, .type = 1};

        ASSERT(store_group_info(s, v->ids[i], &info) == 0);
        store_append(s, v->ids[i], info.last_index + 1, &e, 1);
        if (i % 2 == 0) {
            struct store_snapshot snap = {.index = info.last_index + 1,
                                          .term = 300};

            store_snapshot(s, v->ids[i], &snap);
        } else {
            store_group_delete(s, v->ids[i]);
        }
    }
}

static void
run(struct disk_sim *sim)
{
    uint64_t durable = 0;
    struct store *s = open_store(sim, &durable);
    struct visit v = {.store = s};

    if (s == NULL) {
        return;
    }
    store_foreach_group(s, on_group, &v);
    use(s, &v);
    store_flush(s);
    disk_sim_complete_all(sim);
    store_close(&s);
    s = open_store(sim, &durable);
    ASSERT(s != NULL);
    disk_sim_complete_all(sim);
    store_close(&s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char name[] = "segment-00000001.log";
    struct rng rng;
    struct disk_sim *sim;
    struct disk *disk;
    struct image *im = mem_zalloc(1, sizeof(*im));
    struct cursor c;
    uint8_t flags;

    cursor_init(&c, data, size);
    flags = cursor_u8(&c);
    image_start(im);
    image_fill(im, flags, &c);
    if ((flags & SEALED) != 0) {
        image_seal(im);
    }
    buf_deinit(&im->index);
    buf_deinit(&im->batch);
    rng_init(&rng, 1);
    sim = disk_sim_new(&rng, 16 << 20);
    disk = disk_sim_disk(sim);
    ASSERT(disk->ops->replace(disk, name, im->bytes, SIZE) == 0);
    mem_free(im);
    run(sim);
    disk_sim_free(&sim);
    return 0;
}

static void
put_record(struct buf *b, enum record_type type, uint64_t index, uint8_t term,
           const struct buf *body)
{
    buf_put_u8(b, (uint8_t)(type - 1));
    buf_put_u8(b, 1);
    buf_put_u8(b, b->size % 8 == 0 ? 2 : 1);
    buf_put_u8(b, (uint8_t)index);
    buf_put_u8(b, (uint8_t)(index >> 8));
    buf_put_u8(b, term);
    buf_put_u8(b, (uint8_t)body->size);
    buf_put(b, body->data, body->size);
}

/* The body of a snapshot that keeps a stretch. */
static void
put_snapshot(struct buf *body, struct rng *r, uint64_t index)
{
    uint64_t first = 1 + rng_below(r, index);

    buf_put_u32le(body, 1);
    buf_put_varint(body, 1);
    buf_put_varint(body, 1);
    buf_put_blob(body, "conf", 4);
    buf_put_varint(body, first);
    buf_put_varint(body, rng_below(r, index - first + 1));
    buf_put_varint(body, 1);
    buf_put(body, "manifest", 8);
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    static const uint8_t flags[] = {0, 1, 2, 3, 6, 7, 9};
    struct buf b;
    struct buf body;
    uint64_t last = 0;
    size_t size;

    buf_init(&b);
    buf_init(&body);
    buf_put_u8(&b, flags[rng_below(r, sizeof(flags))]);
    for (uint64_t n = 3 + rng_below(r, 12); n > 0; n--) {
        enum record_type type = (enum record_type)rng_between(r, 1, 7);
        uint64_t index = 16 + rng_below(r, 2);
        uint8_t term = 1;

        buf_clear(&body);
        if (type == RECORD_SNAPSHOT && last == 0) {
            type = RECORD_ENTRY;
        }
        if (type == RECORD_ENTRY) {
            index = ++last;
        } else if (type == RECORD_SNAPSHOT) {
            index = 1 + rng_below(r, last);
            term = (uint8_t)last;
            put_snapshot(&body, r, index);
        } else if (type == RECORD_CUT) {
            last = rng_below(r, last + 1);
            index = last;
        } else if (type == RECORD_STAGED) {
            index = 1 + rng_below(r, last + 3);
        } else if (type == RECORD_DELETED && rng_below(r, 4) != 0) {
            type = RECORD_CREATED;
        }
        put_record(&b, type, index, term, &body);
    }
    size = MIN(b.size, capacity);
    memcpy(at, b.data, size);
    buf_deinit(&b);
    buf_deinit(&body);
    return size;
}
