/* A sealed segment is known by its index. Another one, usually only the last,
 * is read batch by batch.
 *
 * Where a batch is not as it was written, what comes behind decides. A batch is
 * submitted only when the one before it is durable. So if a header, a mark or a
 * trailer of a later batch is found behind, the bad one had been durable: it
 * has rotted. If there is none, it is the torn tail of a write that nobody was
 * told of, whatever subset of its sectors reached the disk, and it is cut off.
 * (Rot in the very last batch looks the same; see RECORD_SEAL.)
 *
 * A batch that has rotted is known by its header or its mark, which say the
 * same; the items before the mark tell all its records, of which each can then
 * be tried by itself. If header and mark, or items and a record, are both gone,
 * there is a hole in the log.
 *
 * A sector that cannot be read counts as rotten. It may be read again at a
 * later start, when the log has gone on without what it holds. Then the headers
 * of later segments tell what is not part of the log any more. And where
 * something behind the end cannot be read, nothing is written there, so that it
 * cannot show up behind what was written since. */
#include "store/scan.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/segment.h"
#include "store/store_impl.h"

enum {
    UNREADABLE = 0xdb /* stands for bytes that cannot be read */
};

struct scan {
    struct store *store;
    struct segment *seg;
    const struct scan_sink *sink;
    bool is_newest;
    uint64_t known_last; /* this batch was durable at least; 0: nobody knows */
    struct buf window;
    uint64_t window_at; /* offset of its first byte in the file */
    uint64_t bad_at;    /* the last sector that could not be read */
    bool is_chained;    /* what came before the next batch is known */
    int failed;         /* the disk as a whole */
    struct error *err;
};

/* A batch that was found behind something bad. */
struct found {
    uint64_t offset; /* where it starts */
    uint64_t number;
    uint32_t size;
    uint32_t chain;
};

/* Fill the window from OFFSET on, sector by sector. */
static void
read_around(struct scan *sc, uint64_t offset, uint64_t size)
{
    struct buf *w = &sc->window;

    ASSERT(offset % SECTOR_SIZE == 0);
    for (uint64_t at = 0; at < size && sc->failed == 0; at += SECTOR_SIZE) {
        size_t part = (size_t)MIN(size - at, (uint64_t)SECTOR_SIZE);
        int rv = sc->store->disk->ops->read(sc->seg->file, offset + at,
                                            w->data + at, part);

        if (rv == -QR_EIO) {
            memset(w->data + at, UNREADABLE, part);
            sc->bad_at = MAX(sc->bad_at, offset + at);
        } else if (rv != 0) {
            sc->failed = rv;
        }
    }
}

/* SIZE bytes at OFFSET, which lie within the file and start a sector. Valid
 * until the next call. NULL when the disk fails as a whole. */
static const uint8_t *
window_get(struct scan *sc, uint64_t offset, uint64_t size)
{
    uint64_t left = sc->seg->header.size - offset;
    uint64_t want = MIN(MAX(size, (uint64_t)SCAN_WINDOW), left);
    struct buf *w = &sc->window;
    int rv;

    ASSERT(size <= left);
    if (offset >= sc->window_at && offset + size <= sc->window_at + w->size) {
        return w->data + (offset - sc->window_at);
    }
    buf_clear(w);
    buf_reserve(w, (size_t)want);
    rv = sc->store->disk->ops->read(sc->seg->file, offset, w->data,
                                    (size_t)want);
    if (rv == -QR_EIO) {
        read_around(sc, offset, want);
    } else if (rv != 0) {
        sc->failed = rv;
    }
    w->size = sc->failed == 0 ? (size_t)want : 0;
    sc->window_at = offset;
    return sc->failed == 0 ? w->data : NULL;
}

static int
read_error(struct scan *sc, uint64_t offset)
{
    ASSERT(sc->failed != 0);
    return error_set(sc->err, -sc->failed, "%s: offset %llu: cannot be read",
                     sc->seg->name, (unsigned long long)offset);
}

/* Whether all records of the batch are whole. */
static bool
body_is_valid(const uint8_t *data, const struct batch_header *h)
{
    size_t at = BATCH_HEADER_SIZE;
    uint32_t fold = 0;

    ASSERT(h->size >= BATCH_HEADER_SIZE);
    for (uint32_t i = 0; i < h->records; i++) {
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
    }
    return fold == h->body_crc;
}

static int
tell(struct scan *sc, const struct record *r)
{
    segment_note(sc->seg, r);
    return sc->sink->record(sc->sink->arg, sc->seg, r);
}

static int
deliver(struct scan *sc, uint64_t offset, const uint8_t *data,
        const struct batch_header *h)
{
    size_t at = BATCH_HEADER_SIZE;
    int rv = 0;

    ASSERT(offset % SECTOR_SIZE == 0);
    for (uint32_t i = 0; i < h->records && rv == 0; i++) {
        struct record r;
        uint32_t crc;

        rv = record_decode(data + at, h->size - at, &r, &crc);
        ASSERT(rv == 0);
        r.offset = offset + at;
        at += record_span(r.size);
        rv = tell(sc, &r);
    }
    return rv;
}

/* The batch of SIZE bytes at DATA is dealt with; its mark, if whole, tells the
 * counts. */
static void
advance(struct scan *sc, const struct found *f, const uint8_t *data)
{
    struct segment *seg = sc->seg;
    struct batch_mark m;
    uint64_t at = f->size - BATCH_MARK_SIZE;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(f->size % SECTOR_SIZE == 0);
    if (batch_mark_decode(data + at, at, seg->seed, &m) &&
        m.number == f->number) {
        sc->sink->counts(sc->sink->arg, &m.counts);
    }
    seg->batch_last = f->number;
    seg->chain_last = f->chain;
    sc->is_chained = true;
    seg->end = f->offset + f->size;
}

/* The header at the segment's end, if it is that of the next batch. */
static bool
next_header(struct scan *sc, const uint8_t *data, struct batch_header *h)
{
    const struct segment *seg = sc->seg;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    return batch_header_decode(data, seg->seed, h) &&
           h->number == seg->batch_last + 1 &&
           (!sc->is_chained || h->chain_before == seg->chain_last) &&
           h->size <= seg->header.size - seg->end;
}

/* The next batch, or -QR_ENOENT if it is not there or not whole. */
static int
scan_batch(struct scan *sc)
{
    struct segment *seg = sc->seg;
    uint64_t offset = seg->end;
    struct batch_header h;
    struct found f;
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
    if (!next_header(sc, data, &h)) {
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
    f = (struct found){offset, h.number, h.size, h.chain};
    advance(sc, &f, data);
    return rv;
}

/* Whether the mark that ends with the sector at AT is one of batch NUMBER or a
 * later one that starts at FROM or behind. */
static bool
find_mark(struct scan *sc, uint64_t at, uint64_t from, uint64_t number,
          struct found *out)
{
    const uint8_t *data = window_get(sc, at, SECTOR_SIZE);
    struct batch_mark m;
    uint64_t end = at + SECTOR_SIZE;
    uint64_t size;

    if (data == NULL || !batch_mark_is_likely(data)) {
        return false;
    }
    size = batch_mark_size(data + SECTOR_SIZE - BATCH_MARK_SIZE);
    if (size < SECTOR_SIZE || size % SECTOR_SIZE != 0 || size > end - from) {
        return false;
    }
    data = window_get(sc, end - size, size);
    size -= BATCH_MARK_SIZE;
    if (data == NULL ||
        !batch_mark_decode(data + size, size, sc->seg->seed, &m) ||
        m.number < number || m.number > sc->seg->batch_max) {
        return false;
    }
    *out = (struct found){end - m.size, m.number, m.size, m.chain};
    return true;
}

/* What the sector at AT, behind something bad, says of batches from NUMBER on.
 * The segment's trailer says which was the last. */
static bool
find_batch(struct scan *sc, uint64_t at, uint64_t number, struct found *out)
{
    struct segment *seg = sc->seg;
    const uint8_t *data = window_get(sc, at, SECTOR_SIZE);
    struct batch_header h;
    struct trailer t;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    if (data == NULL) {
        return false;
    }
    if (trailer_decode(data, seg->seed, &t) &&
        t.sequence == seg->header.sequence) {
        sc->known_last = MAX(sc->known_last, MIN(t.batch_last, seg->batch_max));
        return false;
    }
    /* What a torn write left behind may bear the very number, but none above
     * it. */
    if (at > seg->end && batch_header_decode(data, seg->seed, &h) &&
        h.number > number && h.number <= seg->batch_max &&
        h.size <= seg->header.size - at) {
        *out = (struct found){at, h.number, h.size, h.chain};
        return true;
    }
    return find_mark(sc, at, seg->end, number, out);
}

/* The records of the batch at DATA, known by the items before its mark. */
static int
deliver_items(struct scan *sc, const struct found *f, const uint8_t *data,
              const struct batch_mark *m)
{
    struct cursor c;
    uint64_t before = 0;
    int rv = 0;

    cursor_init(&c, data + f->size - BATCH_MARK_SIZE - m->items_size,
                m->items_size);
    for (uint32_t i = 0; i < m->records && rv == 0; i++) {
        struct record r;
        struct record got;
        uint32_t crc;
        uint64_t at;

        rv = index_item_decode(&c, before, &r);
        if (rv != 0) {
            return error_set(sc->err, -rv, "%s: offset %llu: senseless items",
                             sc->seg->name, (unsigned long long)f->offset);
        }
        if (i == 0) {
            r.offset = f->offset + BATCH_HEADER_SIZE;
        }
        before = r.offset + record_span(r.size);
        at = r.offset - f->offset;
        r.is_damaged =
            at + r.size > f->size ||
            record_decode(data + at, f->size - at, &got, &crc) != 0 ||
            got.type != r.type || got.log != r.log || got.index != r.index ||
            got.term != r.term || got.size != r.size ||
            got.entry_type != r.entry_type;
        rv = tell(sc, &r);
    }
    return rv;
}

static void
warn(const struct scan *sc, const char *what)
{
    log_error(sc->store->config.log, "store",
              "%s: offset %llu: batch %llu is damaged: %s", sc->seg->name,
              (unsigned long long)sc->seg->end,
              (unsigned long long)sc->seg->batch_last + 1, what);
}

static void
tell_hole(struct scan *sc, uint64_t batch)
{
    warn(sc, "some of its records are not known");
    sc->seg->is_broken = true;
    sc->is_chained = false;
    sc->sink->hole(sc->sink->arg, sc->seg, batch);
}

/* Without items: those records that are whole, up to the first that is not. */
static int
deliver_prefix(struct scan *sc, const struct found *f, const uint8_t *data,
               uint32_t records)
{
    uint64_t at = BATCH_HEADER_SIZE;
    int rv = 0;

    for (uint32_t i = 0; i < records && rv == 0; i++) {
        struct record r;
        uint32_t crc;

        if (record_decode(data + at, f->size - at, &r, &crc) != 0 ||
            record_span(r.size) > f->size - at) {
            break;
        }
        r.offset = f->offset + at;
        at += record_span(r.size);
        rv = tell(sc, &r);
    }
    tell_hole(sc, f->number);
    return rv;
}

/* The next batch, at F, has rotted, but its place is known. RECORDS: how many
 * its header tells, 0 if that is gone. */
static int
salvage(struct scan *sc, const struct found *f, uint32_t records)
{
    const uint8_t *data = window_get(sc, f->offset, f->size);
    uint64_t at = f->size - BATCH_MARK_SIZE;
    struct batch_mark m;
    int rv;

    ASSERT(f->number == sc->seg->batch_last + 1);
    if (data == NULL) {
        return read_error(sc, f->offset);
    }
    if (batch_mark_decode(data + at, at, sc->seg->seed, &m) &&
        m.number == f->number) {
        warn(sc, "its records are known");
        rv = deliver_items(sc, f, data, &m);
    } else {
        rv = deliver_prefix(sc, f, data, records);
    }
    if (rv == 0) {
        /* The window may have moved while records were told. */
        data = window_get(sc, f->offset, f->size);
        if (data == NULL) {
            return read_error(sc, f->offset);
        }
        advance(sc, f, data);
    }
    return rv;
}

/* The batch at the segment's end is bad. Go on behind it, or -QR_ENOENT where
 * the log ends. */
static int
skip_rot(struct scan *sc)
{
    struct segment *seg = sc->seg;
    uint64_t number = seg->batch_last + 1;
    struct batch_header h = {.records = 0};
    struct found own = {.size = 0};
    struct found f = {.size = 0};
    const uint8_t *data;
    uint64_t at = seg->end;
    bool later = false;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    for (; at + SECTOR_SIZE <= seg->header.size && !later; at += SECTOR_SIZE) {
        if (at == seg->end && (data = window_get(sc, at, SECTOR_SIZE)) &&
            next_header(sc, data, &h)) {
            own = (struct found){at, h.number, h.size, h.chain};
        }
        if (find_batch(sc, at, number, &f)) {
            later = f.number > number;
            if (!later && f.offset == seg->end && own.size == 0) {
                own = f;
            }
        }
    }
    if (sc->failed != 0) {
        return read_error(sc, at);
    }
    if (!later && sc->known_last < number) {
        return -QR_ENOENT;
    }
    if (own.size > 0) {
        return salvage(sc, &own, h.records);
    }
    if (!later) {
        tell_hole(sc, sc->known_last);
        seg->batch_last = sc->known_last;
        return -QR_ENOENT;
    }
    tell_hole(sc, f.number - 1);
    seg->batch_last = f.number - 1;
    seg->end = f.offset;
    return 0;
}

static int
scan_batches(struct scan *sc)
{
    struct segment *seg = sc->seg;
    int rv = 0;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    seg->state = SEGMENT_ACTIVE;
    seg->end = SEGMENT_DATA_AT;
    seg->batch_last = seg->header.batch_first == 0
                          ? 0
                          : MIN(seg->header.batch_first - 1, seg->batch_max);
    seg->chain_last = seg->header.chain;
    sc->is_chained = seg->header.batch_first != 0;
    while (rv == 0 && seg->batch_last < seg->batch_max) {
        rv = scan_batch(sc);
        if (rv == -QR_ENOENT) {
            rv = skip_rot(sc);
        }
    }
    if (rv != 0 && rv != -QR_ENOENT) {
        return rv;
    }
    if (!sc->is_newest && rv != 0 && sc->known_last == 0) {
        tell_hole(sc, seg->batch_last + 1); /* or not: nothing tells */
    }
    seg->is_broken =
        seg->is_broken || (sc->is_newest && sc->bad_at >= seg->end);
    return 0;
}

static bool
trailer_is_sane(const struct segment *seg, const struct trailer *t)
{
    uint64_t room = seg->header.size - 2 * (uint64_t)TRAILER_SIZE;

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
deliver_index(struct scan *sc, const struct trailer *t, const uint8_t *items)
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
        rv = sc->sink->record(sc->sink->arg, sc->seg, &r);
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
    int rv;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    if (sc->failed != 0) {
        return read_error(sc, at);
    }
    if (!trailer_decode(data, seg->seed, &t) || !trailer_is_sane(seg, &t) ||
        t.batch_last > seg->batch_max) {
        return -QR_ENOENT;
    }
    if (t.has_no_index) {
        seg->has_index = true; /* in so far as it is sealed */
        sc->known_last = MAX(sc->known_last, t.batch_last);
        seg->batch_max = MIN(seg->batch_max, t.batch_last);
        return -QR_ENOENT;
    }
    padded = sector_round_up(t.index_size);
    at -= padded;
    data = window_get(sc, at, padded);
    if (sc->failed != 0) {
        return read_error(sc, at);
    }
    /* With the padding: if a crash tore the seal, the segment went on, and the
     * next seal was torn as well, this may be the trailer of the first and the
     * longer index of the second. */
    if (crc32c(seg->seed, data, (size_t)padded) != t.index_crc ||
        !items_are_valid(&t, data)) {
        return -QR_ENOENT;
    }
    seg->has_index = true;
    seg->is_indexed = true;
    seg->index_padded = padded;
    seg->end = t.data_end;
    seg->batch_last = t.batch_last;
    seg->chain_last = t.chain;
    seg->records = t.records;
    rv = deliver_index(sc, &t, data);
    sc->sink->counts(sc->sink->arg, &t.counts);
    return rv;
}

int
scan_segment(struct store *s, struct segment *seg, uint64_t batch_last,
             bool is_newest, const struct scan_sink *sink, struct error *err)
{
    struct scan sc = {.store = s,
                      .seg = seg,
                      .sink = sink,
                      .is_newest = is_newest,
                      .known_last = batch_last,
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
