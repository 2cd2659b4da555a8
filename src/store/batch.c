/* Group commit.
 *
 * Records of all groups gather in one batch, whose place on the disk is known
 * from its start: the segment's end. So an entry's location is final as soon
 * as it is queued. When a record does not fit the segment any more, the batch
 * is closed and the next one starts another segment.
 *
 * One batch is written at a time, with one pwritev and one fdatasync, and the
 * next gathers meanwhile: the slower the disk, the larger the batches. That a
 * batch is not even submitted before the one ahead of it is durable is what
 * recovery relies on to tell rot from a torn tail. */
#include "store/batch.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "store/chores.h"
#include "store/segment.h"
#include "store/store_impl.h"

static const uint8_t zeros[SECTOR_SIZE];

_Static_assert((int)SEGMENT_DATA_AT == 2 * (int)SECTOR_SIZE,
               "a header is written twice");

enum {
    BATCH_IOV_MAX = 2 * BATCH_PIECES_MAX + 3
};

_Static_assert((int)BATCH_IOV_MAX <= (int)DISK_IOV_MAX,
               "a batch is one request");
_Static_assert((uint64_t)RECORD_SIZE_MAX + BATCH_HEADER_SIZE + SECTOR_SIZE <=
                   (uint64_t)STORE_BATCH_SIZE_MAX,
               "any record fits a batch");
_Static_assert((uint64_t)STORE_ENTRY_SIZE_MAX + RECORD_HEADER_SIZE <=
                   (uint64_t)RECORD_SIZE_MAX,
               "any entry fits a record");

static struct batch *
batch_new(struct store *s)
{
    struct batch *b;

    OBJ_CHECK(s, STORE_MAGIC);
    if (s->spare_count > 0) {
        return s->spare[--s->spare_count];
    }
    b = mem_zalloc(1, sizeof(*b));
    b->magic = BATCH_OBJ_MAGIC;
    b->store = s;
    list_init(&b->link);
    buf_init(&b->head);
    b->pieces = mem_zalloc(BATCH_PIECES_MAX, sizeof(*b->pieces));
    b->iov = mem_zalloc(BATCH_IOV_MAX, sizeof(*b->iov));
    return b;
}

static void
batch_destroy(struct batch *b)
{
    OBJ_CHECK(b, BATCH_OBJ_MAGIC);
    b->magic = 0;
    buf_deinit(&b->head);
    mem_free(b->pieces);
    mem_free(b->iov);
    mem_free(b);
}

/* B was written or is given up. */
static void
batch_release(struct batch *b)
{
    struct store *s = b->store;

    OBJ_CHECK(b, BATCH_OBJ_MAGIC);
    list_remove(&b->link);
    for (size_t i = 0; i < b->pieces_count; i++) {
        slice_unref(&b->pieces[i].data);
    }
    b->pieces_count = 0;
    if (s->spare_count < BATCHES_SPARE_MAX &&
        b->head.capacity <= BATCH_BUFFER_KEPT) {
        buf_clear(&b->head);
        s->spare[s->spare_count++] = b;
    } else {
        batch_destroy(b);
    }
}

static void
batch_open(struct store *s, uint64_t span)
{
    struct batch *b;

    ASSERT(s->gather == NULL);
    if (s->active == NULL ||
        !segment_has_room(s->active, BATCH_HEADER_SIZE, span)) {
        segment_roll(s, span);
    }
    b = batch_new(s);
    b->number = s->batch_next;
    b->segment = s->active;
    b->offset = s->active->end;
    b->records = 0;
    b->body_crc = 0;
    b->size = BATCH_HEADER_SIZE;
    b->index_at = s->active->index.size;
    ASSERT(b->head.size == 0);
    ASSERT(b->offset % SECTOR_SIZE == 0);
    buf_extend(&b->head, BATCH_HEADER_SIZE);
    s->gather = b;
}

/* Bytes of the items of B's records, which end its segment's index. */
static size_t
items_size(const struct batch *b)
{
    ASSERT(b->segment->index.size >= b->index_at);
    return b->segment->index.size - b->index_at;
}

/* Padding, items and mark up to the end of a sector: B's size is PADDED. */
static void
put_end(struct batch *b, const struct batch_header *h)
{
    const struct segment *seg = b->segment;
    size_t items = items_size(b);
    struct batch_mark m = {.size = h->size,
                           .number = h->number,
                           .chain = h->chain,
                           .items_size = (uint32_t)items,
                           .records = h->records,
                           .counts = b->store->counts};

    ASSERT(h->size >= b->size + items + BATCH_MARK_SIZE);
    buf_put(&b->head, zeros,
            (size_t)(h->size - b->size - items - BATCH_MARK_SIZE));
    buf_put(&b->head, seg->index.data + b->index_at, items);
    batch_mark_encode(&m, seg->seed, buf_extend(&b->head, BATCH_MARK_SIZE));
    b->size = h->size;
}

/* The gathering batch is complete: give it its header and its place in the
 * sequence. */
static void
batch_close(struct store *s)
{
    struct batch *b = s->gather;
    struct segment *seg = b->segment;
    uint64_t padded =
        sector_round_up(b->size + items_size(b) + BATCH_MARK_SIZE);
    struct batch_header h = {.size = (uint32_t)padded,
                             .number = b->number,
                             .chain_before = s->chain,
                             .records = b->records,
                             .body_crc = b->body_crc};

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    OBJ_CHECK(b, BATCH_OBJ_MAGIC);
    ASSERT(b->number == s->batch_next);
    ASSERT(b->offset == seg->end);
    ASSERT(b->records > 0);
    batch_header_encode(&h, seg->seed, b->head.data);
    put_end(b, &h);
    seg->end += padded;
    seg->batch_last = b->number;
    seg->chain_last = h.chain;
    seg->counts_last = s->counts;
    s->chain = h.chain;
    s->batch_next++;
    s->gather = NULL;
    list_push_back(&s->closed, &b->link);
    segment_ensure_spare(s);
}

/* Whether PART is written from where it lies. */
static bool
is_piece(const struct batch *b, const struct slice *part)
{
    return part->block != NULL && part->size > BATCH_COPY_MAX &&
           b->pieces_count < BATCH_PIECES_MAX;
}

static void
put_part(struct batch *b, const struct slice *part)
{
    struct piece *piece;

    OBJ_CHECK(b, BATCH_OBJ_MAGIC);
    if (!is_piece(b, part)) {
        buf_put(&b->head, part->data, part->size);
        return;
    }
    piece = &b->pieces[b->pieces_count++];
    piece->data = slice_ref(part);
    piece->at = b->head.size;
}

/* Append the record to the gathering batch, which has room for it. */
static void
batch_put(struct batch *b, const struct record *r, const struct slice *parts,
          size_t count)
{
    size_t at = b->head.size;
    uint8_t crc_bytes[4];
    uint32_t crc;

    OBJ_CHECK(b, BATCH_OBJ_MAGIC);
    ASSERT(at >= BATCH_HEADER_SIZE);
    record_encode(r, buf_extend(&b->head, RECORD_HEADER_SIZE));
    crc = record_crc_start(b->head.data + at);
    for (size_t i = 0; i < count; i++) {
        crc = crc32c(crc, parts[i].data, parts[i].size);
        put_part(b, &parts[i]);
    }
    record_seal(b->head.data + at, crc);
    put_u32le(crc_bytes, crc);
    b->body_crc = crc32c(b->body_crc, crc_bytes, sizeof(crc_bytes));
    buf_put(&b->head, zeros, (size_t)(record_span(r->size) - r->size));
    b->size += record_span(r->size);
    b->records++;
}

struct place
batch_add(struct store *s, struct record *r, const struct slice *parts,
          size_t count)
{
    uint64_t size = RECORD_HEADER_SIZE;
    struct place place;
    struct batch *b;

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT(count <= BATCH_BODY_PARTS_MAX);
    for (size_t i = 0; i < count; i++) {
        size += parts[i].size;
    }
    ASSERT(size <= RECORD_SIZE_MAX);
    r->size = (uint32_t)size;
    b = s->gather;
    if (b != NULL &&
        (b->size + record_span(size) + items_size(b) + SECTOR_SIZE >
             STORE_BATCH_SIZE_MAX ||
         !segment_has_room(b->segment, b->size + items_size(b),
                           record_span(size)))) {
        batch_close(s);
    }
    if (s->gather == NULL) {
        batch_open(s, record_span(size));
    }
    b = s->gather;
    r->offset = b->offset + b->size;
    batch_put(b, r, parts, count);
    segment_note(b->segment, r);
    log_counts_add(&s->counts, r);
    s->stats.records++;
    place.segment = b->segment;
    place.offset = r->offset;
    place.batch = b->number;
    return place;
}

static void
batch_done(struct disk_req *req)
{
    struct batch *b = req->arg;
    struct store *s = b->store;
    uint64_t number = b->number;

    OBJ_CHECK(b, BATCH_OBJ_MAGIC);
    ASSERT(s->is_writing);
    s->is_writing = false;
    if (req->result != 0) {
        store_fail(s, req->result, b->segment->name);
        return;
    }
    ASSERT(number == s->durable + 1);
    s->durable = number;
    s->stats.batches++;
    s->stats.syncs++;
    s->stats.bytes_written += b->size;
    b->segment->is_durable = true;
    b->segment->durable_end = b->offset + b->size;
    batch_release(b);
    cache_trim(&s->cache, s->durable);
    segment_maintain(s);
    batch_write_next(s);
    chores_wake(s);
    s->config.on_durable(s->config.arg, number);
}

static int
batch_build_iov(struct batch *b, bool with_header)
{
    size_t at = 0;
    int count = 0;

    if (with_header) {
        b->iov[count].iov_base = b->sector;
        b->iov[count++].iov_len = SECTOR_SIZE;
        b->iov[count].iov_base = b->sector;
        b->iov[count++].iov_len = SECTOR_SIZE;
    }
    for (size_t i = 0; i < b->pieces_count; i++) {
        const struct piece *piece = &b->pieces[i];

        ASSERT(piece->at > at);
        b->iov[count].iov_base = b->head.data + at;
        b->iov[count++].iov_len = piece->at - at;
        /* An iovec has no const; the disk only reads from it. */
        b->iov[count].iov_base = piece->data.block->data +
                                 (piece->data.data - piece->data.block->data);
        b->iov[count++].iov_len = piece->data.size;
        at = piece->at;
    }
    if (at < b->head.size) {
        b->iov[count].iov_base = b->head.data + at;
        b->iov[count++].iov_len = b->head.size - at;
    }
    ASSERT(count <= BATCH_IOV_MAX);
    return count;
}

/* The first batch of a segment carries the segment's header, in one write. */
static void
batch_submit(struct batch *b)
{
    struct store *s = b->store;
    struct segment *seg = b->segment;
    bool with_header = !seg->is_opened;

    OBJ_CHECK(b, BATCH_OBJ_MAGIC);
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->file != NULL);
    ASSERT(!s->is_writing);
    if (with_header) {
        ASSERT(b->offset == SEGMENT_DATA_AT);
        segment_header_encode(&seg->header, b->sector);
        seg->is_opened = true;
    }
    memset(&b->req, 0, sizeof(b->req));
    b->req.done = batch_done;
    b->req.arg = b;
    b->req.file = seg->file;
    b->req.offset = with_header ? 0 : b->offset;
    b->req.iov = b->iov;
    b->req.iov_count = batch_build_iov(b, with_header);
    b->req.sync = !MUTATION(skip_sync);
    s->is_writing = true;
    s->unsealed = seg;
    s->disk->ops->write(s->disk, &b->req);
}

void
batch_write_next(struct store *s)
{
    struct batch *b;

    OBJ_CHECK(s, STORE_MAGIC);
    if (s->is_writing || s->has_failed) {
        return;
    }
    if (list_is_empty(&s->closed)) {
        if (s->gather == NULL || s->batch_next > s->flush_upto) {
            return;
        }
        batch_close(s);
    }
    b = list_entry(s->closed.next, struct batch, link);
    ASSERT(b->number == s->durable + 1);
    if (b->number > s->flush_upto) {
        return;
    }
    if (s->unsealed != NULL && s->unsealed != b->segment) {
        if (!s->unsealed->is_restoring) {
            segment_seal(s, s->unsealed);
        }
        return;
    }
    if (b->segment->file != NULL) {
        batch_submit(b);
    }
}

void
batch_drop_all(struct store *s)
{
    OBJ_CHECK(s, STORE_MAGIC);
    if (s->gather != NULL) {
        batch_release(s->gather);
        s->gather = NULL;
    }
    while (!list_is_empty(&s->closed)) {
        batch_release(list_entry(s->closed.next, struct batch, link));
    }
    while (s->spare_count > 0) {
        batch_destroy(s->spare[--s->spare_count]);
    }
}
