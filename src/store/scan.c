/* A sealed segment is known by its index. Another one, usually only the last,
 * is read batch by batch until one is not valid.
 *
 * Why that one is not valid decides what follows. A batch is submitted only
 * when the one before it is durable. So if any header of a later batch is
 * found behind, the invalid one had been durable: it has rotted, and what it
 * confirmed is lost. If there is none, it is the torn tail of a write that
 * nobody was told of, whatever subset of its sectors reached the disk, and it
 * is cut off. (Rot in the very last batch looks the same; a replica that holds
 * its entries gives them back.) */
#include "store/scan.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/segment.h"
#include "store/store_impl.h"

struct scan {
    struct store *store;
    struct segment *seg;
    scan_record_cb cb;
    void *arg;
    struct buf window;
    uint64_t window_at; /* offset of its first byte in the file */
    struct error *err;
};

/* SIZE bytes at OFFSET, which lie within the file; NULL if they cannot be
 * read. Valid until the next call. */
static const uint8_t *
window_get(struct scan *sc, uint64_t offset, uint64_t size)
{
    uint64_t left = sc->seg->header.size - offset;
    uint64_t want = MIN(MAX(size, (uint64_t)SCAN_WINDOW), left);
    struct buf *w = &sc->window;

    ASSERT(size <= left);
    if (offset >= sc->window_at && offset + size <= sc->window_at + w->size) {
        return w->data + (offset - sc->window_at);
    }
    buf_clear(w);
    buf_reserve(w, (size_t)want);
    if (sc->store->disk->ops->read(sc->seg->file, offset, w->data,
                                   (size_t)want) != 0) {
        return NULL;
    }
    w->size = (size_t)want;
    sc->window_at = offset;
    return w->data;
}

static int
read_error(struct scan *sc, uint64_t offset)
{
    return error_set(sc->err, QR_EIO, "%s: offset %llu: cannot be read",
                     sc->seg->name, (unsigned long long)offset);
}

/* Whether all records of the batch are whole. */
static bool
body_is_valid(const uint8_t *data, const struct batch_header *h)
{
    size_t at = BATCH_HEADER_SIZE;
    uint32_t fold = 0;
    uint32_t count = 0;

    ASSERT(h->size >= BATCH_HEADER_SIZE);
    while (at < h->size) {
        struct record r;
        uint8_t crc_bytes[4];
        uint32_t crc;

        if (record_decode(data + at, h->size - at, &r, &crc) != 0 ||
            record_span(r.size) > h->size - at) {
            return false;
        }
        put_u32le(crc_bytes, crc);
        fold = crc32c(fold, crc_bytes, sizeof(crc_bytes));
        at += record_span(r.size);
        count++;
    }
    return count == h->records && fold == h->body_crc;
}

static int
deliver(struct scan *sc, uint64_t offset, const uint8_t *data,
        const struct batch_header *h)
{
    size_t at = BATCH_HEADER_SIZE;
    int rv = 0;

    ASSERT(offset % SECTOR_SIZE == 0);
    while (at < h->size && rv == 0) {
        struct record r;
        uint32_t crc;

        rv = record_decode(data + at, h->size - at, &r, &crc);
        ASSERT(rv == 0);
        r.offset = offset + at;
        segment_note(sc->seg, &r);
        rv = sc->cb(sc->arg, sc->seg, &r);
        at += record_span(r.size);
    }
    return rv;
}

/* The next batch, or -QR_ENOENT where the valid ones end. */
static int
scan_batch(struct scan *sc, uint64_t offset)
{
    struct segment *seg = sc->seg;
    struct batch_header h;
    const uint8_t *data;
    int rv;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(offset % SECTOR_SIZE == 0);
    if (offset + SECTOR_SIZE > seg->header.size) {
        return -QR_ENOENT;
    }
    data = window_get(sc, offset, SECTOR_SIZE);
    if (data == NULL) {
        return read_error(sc, offset);
    }
    if (!batch_header_decode(data, seg->seed, &h) ||
        h.number != seg->batch_last + 1 || h.chain_before != seg->chain_last ||
        h.size > seg->header.size - offset) {
        return -QR_ENOENT;
    }
    data = window_get(sc, offset, h.size);
    if (data == NULL) {
        return read_error(sc, offset);
    }
    if (!body_is_valid(data, &h)) {
        return -QR_ENOENT;
    }
    rv = deliver(sc, offset, data, &h);
    if (rv != 0) {
        return rv;
    }
    seg->batch_last = h.number;
    seg->chain_last = h.chain;
    seg->end = offset + sector_round_up(h.size);
    return 0;
}

/* Whether a later batch than the one that is missing at the end left a
 * header behind it. */
static int
look_for_rot(struct scan *sc)
{
    struct segment *seg = sc->seg;
    uint64_t at = seg->end + SECTOR_SIZE;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->end % SECTOR_SIZE == 0);
    for (; at + SECTOR_SIZE <= seg->header.size; at += SECTOR_SIZE) {
        const uint8_t *data = window_get(sc, at, SECTOR_SIZE);
        struct batch_header h;

        if (data == NULL) {
            return read_error(sc, at);
        }
        if (batch_header_decode(data, seg->seed, &h) &&
            h.number > seg->batch_last + 1) {
            return error_set(
                sc->err, QR_ECORRUPT,
                "%s: offset %llu: batch %llu is damaged, yet batch %llu "
                "follows it; remove this shard's data so that the node "
                "fetches it from the others",
                seg->name, (unsigned long long)seg->end,
                (unsigned long long)seg->batch_last + 1,
                (unsigned long long)h.number);
        }
    }
    return 0;
}

static int
scan_batches(struct scan *sc)
{
    struct segment *seg = sc->seg;
    int rv = 0;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    seg->state = SEGMENT_ACTIVE;
    seg->end = SEGMENT_HEADER_SIZE;
    seg->batch_last = seg->header.batch_first - 1;
    seg->chain_last = seg->header.chain;
    while (rv == 0) {
        rv = scan_batch(sc, seg->end);
    }
    return rv == -QR_ENOENT ? look_for_rot(sc) : rv;
}

static bool
trailer_is_sane(const struct segment *seg, const struct trailer *t)
{
    uint64_t room = seg->header.size - TRAILER_SIZE;

    return t->sequence == seg->header.sequence &&
           t->batch_last + 1 >= seg->header.batch_first &&
           t->data_end % SECTOR_SIZE == 0 && t->data_end <= room &&
           t->index_size <= room &&
           sector_round_up(t->index_size) <= room - t->data_end;
}

/* The records that the index in ITEMS names; nothing is delivered unless all
 * of it makes sense. */
static bool
items_are_valid(const struct trailer *t, const uint8_t *items)
{
    struct cursor c;
    uint64_t before = 0;
    uint64_t count = 0;

    cursor_init(&c, items, (size_t)t->index_size);
    while (cursor_left(&c) > 0) {
        struct record r;

        if (index_item_decode(&c, before, &r) != 0 ||
            r.offset + record_span(r.size) > t->data_end) {
            return false;
        }
        before = r.offset + record_span(r.size);
        count++;
    }
    return count == t->records;
}

static int
deliver_items(struct scan *sc, const struct trailer *t, const uint8_t *items)
{
    struct cursor c;
    uint64_t before = 0;
    int rv = 0;

    cursor_init(&c, items, (size_t)t->index_size);
    while (cursor_left(&c) > 0 && rv == 0) {
        struct record r;

        rv = index_item_decode(&c, before, &r);
        ASSERT(rv == 0);
        before = r.offset + record_span(r.size);
        rv = sc->cb(sc->arg, sc->seg, &r);
    }
    return rv;
}

/* -QR_ENOENT: there is no index, or none to be trusted. */
static int
scan_index(struct scan *sc)
{
    struct segment *seg = sc->seg;
    uint64_t at = seg->header.size - TRAILER_SIZE;
    const uint8_t *data = window_get(sc, at, TRAILER_SIZE);
    struct trailer t;
    uint64_t padded;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    if (data == NULL || !trailer_decode(data, seg->seed, &t)) {
        return -QR_ENOENT;
    }
    if (!trailer_is_sane(seg, &t)) {
        return -QR_ENOENT;
    }
    padded = sector_round_up(t.index_size);
    at -= padded;
    data = window_get(sc, at, padded);
    /* With the padding: if a crash tore the seal, the segment went on, and the
     * next seal was torn as well, this may be the trailer of the first and the
     * longer index of the second. */
    if (data == NULL ||
        crc32c(seg->seed, data, (size_t)padded) != t.index_crc ||
        !items_are_valid(&t, data)) {
        return -QR_ENOENT;
    }
    seg->has_index = true;
    seg->end = t.data_end;
    seg->batch_last = t.batch_last;
    seg->chain_last = t.chain;
    seg->records = t.records;
    return deliver_items(sc, &t, data);
}

int
scan_segment(struct store *s, struct segment *seg, scan_record_cb cb, void *arg,
             struct error *err)
{
    struct scan sc = {.store = s,
                      .seg = seg,
                      .cb = cb,
                      .arg = arg,
                      .window_at = 0,
                      .err = err};
    int rv;

    OBJ_CHECK(s, STORE_MAGIC);
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->header.use == SEGMENT_IN_USE);
    buf_init(&sc.window);
    rv = scan_index(&sc);
    if (rv == -QR_ENOENT) {
        rv = scan_batches(&sc);
    }
    buf_deinit(&sc.window);
    return rv;
}
