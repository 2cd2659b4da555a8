/* The life of a segment file:
 *
 *              batches            the next one         nothing live, and
 *              go there           takes over           all that says so durable
 *   (created) --> FREE --> ACTIVE --------> SEALED -------------> ERASING
 *                  ^                                                 |
 *                  +---------------- header overwritten -------------+
 *                                   DISCARDING: more of them than needed
 *
 * A file is zeroed before its first use, so that the sync of a batch writes no
 * metadata. A sealed segment gets an index of its records at its end, so that
 * a start reads that and not the data.
 *
 * That a segment became free is written to its header before anything relies
 * on it: otherwise its dead records could come back to life after a crash,
 * when what made them dead is gone itself. The newest segment is never erased,
 * so that sequence numbers go on from it.
 *
 * A segment that is mostly dead is emptied by walk.c. When there is no space
 * for another file, batches wait for one: until there is space again, or a
 * segment that has become free gives them its file. */
#include "store/segment.h"

#include <quorate/version.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/batch.h"
#include "store/chores.h"
#include "store/control.h"
#include "store/store_impl.h"

/* Both of them. */
static const uint64_t headers_size = 2 * (uint64_t)SECTOR_SIZE;
static const uint64_t trailers_size = 2 * (uint64_t)TRAILER_SIZE;

static uint32_t
slot_take(struct store *s)
{
    for (size_t i = 1; i < s->segments_capacity; i++) {
        if (s->segments[i] == NULL) {
            return (uint32_t)i;
        }
    }
    return 0;
}

struct segment *
segment_new(struct store *s, uint32_t number, uint64_t size)
{
    struct segment *seg = mem_zalloc(1, sizeof(*seg));
    uint32_t slot = slot_take(s);
    size_t before = s->segments_capacity;

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT(size % SECTOR_SIZE == 0);
    ASSERT(number <= SEGMENT_NUMBER_MAX);
    if (slot == 0) {
        ASSERT(before < SEGMENTS_MAX);
        s->segments_capacity = before == 0 ? 16 : before * 2;
        s->segments = mem_realloc(s->segments, s->segments_capacity *
                                                   sizeof(struct segment *));
        memset(s->segments + before, 0,
               (s->segments_capacity - before) * sizeof(struct segment *));
        slot = before == 0 ? 1 : (uint32_t)before;
    }
    seg->magic = SEGMENT_MAGIC;
    seg->store = s;
    seg->slot = slot;
    seg->number = number;
    seg->state = SEGMENT_FREE;
    seg->header.size = size;
    list_init(&seg->controls);
    buf_init(&seg->index);
    snprintf(seg->name, sizeof(seg->name), "segment-%08u.log", number);
    s->segments[slot] = seg;
    return seg;
}

void
segment_free(struct store *s, struct segment *seg)
{
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(s->segments[seg->slot] == seg);
    if (seg->file != NULL) {
        s->disk->ops->close(seg->file);
    }
    buf_deinit(&seg->index);
    s->segments[seg->slot] = NULL;
    seg->magic = 0;
    mem_free(seg);
}

struct segment *
segment_at(const struct store *s, uint32_t slot)
{
    struct segment *seg;

    ASSERT(slot > 0);
    ASSERT(slot < s->segments_capacity);
    seg = s->segments[slot];
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    return seg;
}

bool
segment_has_room(const struct segment *seg, uint64_t gathered, uint64_t span)
{
    uint64_t data = sector_round_up(gathered + span + INDEX_ITEM_SIZE_MAX +
                                    BATCH_MARK_SIZE);
    uint64_t index = sector_round_up(seg->index.size + INDEX_ITEM_SIZE_MAX);

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(gathered >= BATCH_HEADER_SIZE);
    return seg->end + data + index + trailers_size <= seg->header.size;
}

/* The size of a segment that a record of SPAN bytes fits into: usually the
 * configured one, otherwise one made to measure. */
static uint64_t
size_for(const struct store *s, uint64_t span)
{
    uint64_t least = SEGMENT_DATA_AT +
                     sector_round_up(BATCH_HEADER_SIZE + span +
                                     INDEX_ITEM_SIZE_MAX + BATCH_MARK_SIZE) +
                     SECTOR_SIZE + trailers_size;

    ASSERT(span >= RECORD_HEADER_SIZE);
    return MAX(s->config.segment_size, least);
}

/* The oldest segment that has batches to be written, but no file, or NULL. */
static struct segment *
find_waiting(const struct store *s)
{
    struct segment *found = NULL;

    OBJ_CHECK(s, STORE_MAGIC);
    for (size_t i = 1; i < s->segments_capacity; i++) {
        struct segment *seg = s->segments[i];

        if (seg != NULL && seg->file == NULL && !seg->is_creating &&
            (seg->state == SEGMENT_ACTIVE || seg->state == SEGMENT_SEALED) &&
            (found == NULL || seg->header.sequence < found->header.sequence)) {
            found = seg;
        }
    }
    return found;
}

static void
note_shortage(struct store *s)
{
    OBJ_CHECK(s, STORE_MAGIC);
    if (!s->is_short) {
        log_warning(s->config.log, "store",
                    "no space for another segment of %llu MiB on the disk: "
                    "publishing stops soon; make room, it goes on by itself",
                    (unsigned long long)s->config.segment_size >> 20);
    }
    s->is_short = true;
}

static void
create_done(struct disk_req *req)
{
    struct segment *seg = req->arg;
    struct store *s = seg->store;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->is_creating);
    seg->is_creating = false;
    s->creating--;
    if (req->result == 0) {
        seg->file = req->file;
        s->is_short = find_waiting(s) != NULL;
        segment_retry(s);
        batch_write_next(s);
        return;
    }
    if (req->result == -QR_ENOSPC) {
        note_shortage(s);
    }
    if (seg->state != SEGMENT_FREE && req->result != -QR_ENOSPC) {
        store_fail(s, req->result, seg->name);
    } else if (seg->state == SEGMENT_FREE) {
        log_warning(s->config.log, "store", "cannot create %s ahead: %s",
                    seg->name, qr_error_text(req->result));
        segment_free(s, seg);
    }
}

static bool
number_is_taken(const struct store *s, uint32_t number)
{
    for (size_t i = 1; i < s->segments_capacity; i++) {
        if (s->segments[i] != NULL && s->segments[i]->number == number) {
            return true;
        }
    }
    return false;
}

static void
create_file(struct store *s, struct segment *seg)
{
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->file == NULL);
    ASSERT(!seg->is_creating);
    seg->is_creating = true;
    s->creating++;
    memset(&seg->req, 0, sizeof(seg->req));
    seg->req.done = create_done;
    seg->req.arg = seg;
    seg->req.name = seg->name;
    seg->req.size = seg->header.size;
    s->disk->ops->create(s->disk, &seg->req);
}

static struct segment *
create(struct store *s, uint64_t size)
{
    struct segment *seg;
    uint32_t number = 1;

    OBJ_CHECK(s, STORE_MAGIC);
    while (number_is_taken(s, number)) {
        number++;
    }
    seg = segment_new(s, number, size);
    create_file(s, seg);
    return seg;
}

/* SEG has become free; one that waits for space gets its file. */
static void
hand_over(struct store *s, struct segment *seg)
{
    struct segment *to = find_waiting(s);
    uint32_t number = seg->number;
    char name[DISK_NAME_SIZE];

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    if (to == NULL || to->header.size != seg->header.size) {
        return;
    }
    ASSERT(seg->state == SEGMENT_FREE);
    memcpy(name, seg->name, sizeof(name));
    memcpy(seg->name, to->name, sizeof(name));
    memcpy(to->name, name, sizeof(name));
    seg->number = to->number;
    to->number = number;
    to->file = seg->file;
    seg->file = NULL;
    segment_free(s, seg);
    batch_write_next(s);
}

uint64_t
segment_room(const struct store *s)
{
    const struct segment *seg = s->active;
    uint64_t room = 0;
    uint64_t used;

    OBJ_CHECK(s, STORE_MAGIC);
    if (seg != NULL && seg->file != NULL) {
        used = seg->end + sector_round_up(seg->index.size) + trailers_size;
        room = seg->header.size > used ? seg->header.size - used : 0;
    }
    for (size_t i = 1; i < s->segments_capacity; i++) {
        seg = s->segments[i];
        if (seg != NULL && seg->state == SEGMENT_FREE && seg->file != NULL &&
            seg->header.size == s->config.segment_size) {
            room += seg->header.size;
        }
    }
    return room;
}

/* A free segment of SIZE, one that is ready if there is any, or NULL. */
static struct segment *
find_free(const struct store *s, uint64_t size)
{
    struct segment *found = NULL;

    OBJ_CHECK(s, STORE_MAGIC);
    for (size_t i = 1; i < s->segments_capacity; i++) {
        struct segment *seg = s->segments[i];

        if (seg == NULL || seg->state != SEGMENT_FREE ||
            seg->header.size != size) {
            continue;
        }
        if (found == NULL || found->is_creating) {
            found = seg;
        }
    }
    return found;
}

void
segment_retry(struct store *s)
{
    struct segment *seg;

    OBJ_CHECK(s, STORE_MAGIC);
    if (!s->is_short || s->has_failed) {
        return;
    }
    seg = find_waiting(s);
    if (seg != NULL) {
        create_file(s, seg);
    } else if (find_free(s, s->config.segment_size) == NULL) {
        (void)create(s, s->config.segment_size);
    } else {
        s->is_short = false;
    }
}

static void
activate(struct store *s, struct segment *seg)
{
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(list_is_empty(&seg->controls));
    ASSERT(seg->state == SEGMENT_FREE);
    ASSERT(seg->entry_count == 0);
    seg->state = SEGMENT_ACTIVE;
    seg->header.version = QR_STORE_FORMAT;
    seg->header.use = SEGMENT_IN_USE;
    memcpy(seg->header.node_uuid, s->config.node_uuid, 16);
    seg->header.shard = s->config.shard;
    seg->header.chain = s->chain;
    seg->header.sequence = s->sequence_next++;
    seg->header.batch_first = s->batch_next;
    seg->header.counts = s->counts;
    seg->seed = segment_seed(&seg->header);
    seg->is_opened = false;
    seg->is_durable = false;
    seg->has_spare = false;
    seg->has_index = false;
    seg->is_open_ended = false;
    seg->is_broken = false;
    seg->is_restored = false;
    seg->is_indexed = false;
    seg->must_empty = false;
    seg->walk_after_ms = 0;
    seg->end = SEGMENT_DATA_AT;
    seg->durable_end = SEGMENT_DATA_AT;
    seg->batch_last = s->batch_next - 1;
    seg->chain_last = s->chain;
    seg->counts_last = s->counts;
    seg->records = 0;
    seg->kill_batch = 0;
    buf_clear(&seg->index);
    seg->index_before = 0;
    s->active = seg;
}

void
segment_roll(struct store *s, uint64_t span)
{
    uint64_t size = size_for(s, span);
    struct segment *seg = find_free(s, size);

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT(s->gather == NULL);
    if (s->active != NULL) {
        s->active->state = SEGMENT_SEALED;
    }
    s->must_maintain = true;
    if (seg == NULL) {
        /* The object is ready at once; its batches wait for the file. */
        seg = create(s, size);
    }
    activate(s, seg);
    ASSERT(segment_has_room(seg, BATCH_HEADER_SIZE, span));
}

void
segment_note(struct segment *seg, const struct record *r)
{
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->state == SEGMENT_ACTIVE);
    index_item_encode(&seg->index, r, seg->index_before);
    seg->index_before = r->offset + record_span(r->size);
    seg->records++;
}

void
segment_ensure_spare(struct store *s)
{
    struct segment *seg = s->active;

    OBJ_CHECK(s, STORE_MAGIC);
    if (seg != NULL && (seg->has_spare || seg->end < seg->header.size / 4)) {
        return;
    }
    if (seg != NULL) {
        seg->has_spare = true;
    }
    if (find_free(s, s->config.segment_size) == NULL && !s->has_failed) {
        (void)create(s, s->config.segment_size);
    }
}

static void
seal_done(struct disk_req *req)
{
    struct segment *seg = req->arg;
    struct store *s = seg->store;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(s->is_writing);
    s->is_writing = false;
    if (req->result != 0) {
        store_fail(s, req->result, seg->name);
        return;
    }
    s->stats.syncs++;
    s->stats.bytes_written += seg->iov[1].iov_len + trailers_size;
    seg->has_index = true;
    seg->is_indexed = !seg->is_broken;
    seg->index_padded = seg->iov[1].iov_len;
    buf_deinit(&seg->index);
    buf_init(&seg->index);
    s->unsealed = NULL;
    s->must_maintain = true;
    batch_write_next(s);
}

void
segment_seal(struct store *s, struct segment *seg)
{
    struct trailer t = {.sequence = seg->header.sequence,
                        .batch_last = seg->batch_last,
                        .chain = seg->chain_last,
                        .data_end = seg->end,
                        .has_no_index = seg->is_broken,
                        .counts = seg->counts_last};
    uint64_t padded;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(!s->is_writing);
    ASSERT(seg->state == SEGMENT_SEALED);
    if (seg->is_broken) {
        buf_clear(&seg->index);
    }
    t.records = seg->is_broken ? 0 : seg->records;
    t.index_size = seg->index.size;
    padded = sector_round_up(t.index_size);
    ASSERT(seg->end + padded + trailers_size <= seg->header.size);
    memset(buf_extend(&seg->index, (size_t)(padded - t.index_size)), 0,
           (size_t)(padded - t.index_size));
    t.index_crc = crc32c(seg->seed, seg->index.data, seg->index.size);
    trailer_encode(&t, seg->seed, seg->sector);
    seg->iov[0].iov_base = seg->sector;
    seg->iov[0].iov_len = TRAILER_SIZE;
    seg->iov[1].iov_base = seg->index.data;
    seg->iov[1].iov_len = seg->index.size;
    seg->iov[2] = seg->iov[0];
    memset(&seg->req, 0, sizeof(seg->req));
    seg->req.done = seal_done;
    seg->req.arg = seg;
    seg->req.file = seg->file;
    seg->req.offset = seg->header.size - trailers_size - padded;
    seg->req.iov = seg->iov;
    seg->req.iov_count = 3;
    seg->req.sync = true;
    s->is_writing = true;
    s->disk->ops->write(s->disk, &seg->req);
}

void
segment_add_live(struct store *s, struct segment *seg, uint64_t span)
{
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(span >= RECORD_HEADER_SIZE);
    seg->entry_bytes += span;
    seg->entry_count++;
    s->live_bytes += span;
}

void
segment_kill(struct store *s, struct segment *seg, uint64_t span)
{
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->entry_count > 0);
    ASSERT(seg->entry_bytes >= span);
    seg->entry_bytes -= span;
    seg->entry_count--;
    ASSERT(s->live_bytes >= span);
    s->live_bytes -= span;
    seg->kill_batch = s->batch_next;
    if (seg->entry_count == 0) {
        s->must_maintain = true;
    }
}

static bool
is_used(const struct segment *seg)
{
    return seg->state == SEGMENT_ACTIVE || seg->state == SEGMENT_SEALED ||
           seg->state == SEGMENT_ERASING;
}

uint64_t
segment_oldest(const struct store *s)
{
    uint64_t oldest = UINT64_MAX;

    for (size_t i = 1; i < s->segments_capacity; i++) {
        const struct segment *seg = s->segments[i];

        if (seg != NULL && is_used(seg)) {
            oldest = MIN(oldest, seg->header.sequence);
        }
    }
    return oldest;
}

static void
discard_done(struct disk_req *req)
{
    struct segment *seg = req->arg;
    struct store *s = seg->store;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    s->creating--;
    if (req->result != 0) {
        /* The object stays, so that nobody takes its name. */
        log_warning(s->config.log, "store", "cannot remove %s: %s", seg->name,
                    qr_error_text(req->result));
        return;
    }
    segment_free(s, seg);
}

static void
discard(struct store *s, struct segment *seg)
{
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->state == SEGMENT_FREE);
    seg->state = SEGMENT_DISCARDING;
    s->disk->ops->close(seg->file);
    seg->file = NULL;
    s->creating++;
    memset(&seg->req, 0, sizeof(seg->req));
    seg->req.done = discard_done;
    seg->req.arg = seg;
    seg->req.name = seg->name;
    s->disk->ops->discard(s->disk, &seg->req);
}

static size_t
count_free(const struct store *s)
{
    size_t count = 0;

    for (size_t i = 1; i < s->segments_capacity; i++) {
        count +=
            s->segments[i] != NULL && s->segments[i]->state == SEGMENT_FREE;
    }
    return count;
}

static void
erase_done(struct disk_req *req)
{
    struct segment *seg = req->arg;
    struct store *s = seg->store;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->state == SEGMENT_ERASING);
    s->creating--;
    if (req->result != 0) {
        store_fail(s, req->result, seg->name);
        return;
    }
    s->stats.syncs++;
    s->stats.bytes_written += headers_size;
    seg->state = SEGMENT_FREE;
    control_trim(s);
    chores_wake(s);
    if (seg->header.size != s->config.segment_size ||
        count_free(s) > SEGMENT_SPARES_MAX) {
        discard(s, seg);
    } else {
        hand_over(s, seg);
    }
}

/* Put SEG's header on the disk, both times. */
static void
write_header(struct store *s, struct segment *seg,
             void (*done)(struct disk_req *req))
{
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->file != NULL);
    /* Of a file that nobody knows, nothing else is set. */
    seg->header.version = QR_STORE_FORMAT;
    memcpy(seg->header.node_uuid, s->config.node_uuid, 16);
    seg->header.shard = s->config.shard;
    segment_header_encode(&seg->header, seg->sector);
    seg->iov[0].iov_base = seg->sector;
    seg->iov[0].iov_len = SECTOR_SIZE;
    seg->iov[1] = seg->iov[0];
    s->creating++;
    memset(&seg->req, 0, sizeof(seg->req));
    seg->req.done = done;
    seg->req.arg = seg;
    seg->req.file = seg->file;
    seg->req.iov = seg->iov;
    seg->req.iov_count = 2;
    seg->req.sync = true;
    s->disk->ops->write(s->disk, &seg->req);
}

static void
erase(struct store *s, struct segment *seg)
{
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->state == SEGMENT_SEALED);
    ASSERT(seg->entry_count == 0);
    ASSERT(list_is_empty(&seg->controls));
    ASSERT(seg->readers == 0);
    seg->state = SEGMENT_ERASING;
    seg->header.use = SEGMENT_UNUSED;
    /* What was told elsewhere instead is durable; should it rot where the log
     * ends, it must not pass for a batch that a power cut tore. */
    seg->header.batch_first = s->durable + 1;
    write_header(s, seg, erase_done);
}

static void
restore_done(struct disk_req *req)
{
    struct segment *seg = req->arg;
    struct store *s = seg->store;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->is_restoring);
    s->creating--;
    seg->is_restoring = false;
    s->must_maintain = true;
    if (req->result != 0) {
        store_fail(s, req->result, seg->name);
        return;
    }
    s->stats.syncs++;
    s->stats.bytes_written += headers_size;
    batch_write_next(s);
}

void
segment_restore(struct store *s, struct segment *seg)
{
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(!seg->is_restoring);
    ASSERT(!seg->is_restored);
    seg->must_restore = false;
    seg->is_restoring = true;
    write_header(s, seg, restore_done);
}

void
segments_mend(struct store *s)
{
    OBJ_CHECK(s, STORE_MAGIC);
    for (size_t i = 1; i < s->segments_capacity; i++) {
        struct segment *seg = s->segments[i];

        if (seg == NULL) {
            continue;
        }
        if (seg->is_broken || seg->header.sequence == 0) {
            seg->kill_batch = s->batch_next; /* told elsewhere first */
        }
        if (seg->must_restore && seg->state != SEGMENT_FREE) {
            segment_restore(s, seg);
        }
    }
}

void
segments_hold(struct store *s)
{
    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT(s->durable < s->batch_next);
    for (size_t i = 1; i < s->segments_capacity; i++) {
        if (s->segments[i] != NULL) {
            s->segments[i]->kill_batch = s->batch_next;
        }
    }
}

static uint64_t
newest_durable(const struct store *s)
{
    uint64_t newest = 0;

    for (size_t i = 1; i < s->segments_capacity; i++) {
        const struct segment *seg = s->segments[i];

        if (seg != NULL && is_used(seg) && seg->is_durable) {
            newest = MAX(newest, seg->header.sequence);
        }
    }
    return newest;
}

/* Whether SEG holds no entry that anybody may still want. */
static bool
is_spent(const struct segment *seg)
{
    return seg->state == SEGMENT_SEALED && seg->has_index &&
           seg->entry_count == 0 && seg->readers == 0 && !seg->is_restoring;
}

/* Whether SEG's header is all that tells where the segment before it ends: a
 * start would have to take that for one with batches that are lost. */
static bool
tells_an_end(const struct store *s, const struct segment *seg)
{
    bool tells = false;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    for (size_t i = 1; i < s->segments_capacity && !tells; i++) {
        const struct segment *before = s->segments[i];

        tells = before != NULL && is_used(before) && before->is_open_ended &&
                before->header.sequence + 1 == seg->header.sequence;
    }
    return tells;
}

void
segment_maintain(struct store *s)
{
    struct segment *rewrite = NULL;
    uint64_t newest;

    OBJ_CHECK(s, STORE_MAGIC);
    if (!s->must_maintain || s->has_failed) {
        return;
    }
    s->must_maintain = false;
    newest = newest_durable(s);
    for (size_t i = 1; i < s->segments_capacity; i++) {
        struct segment *seg = s->segments[i];

        if (seg == NULL || !is_spent(seg)) {
            continue;
        }
        if (!list_is_empty(&seg->controls)) {
            /* More than half of it: moving them would gain too little. */
            if (seg->control_bytes <= seg->header.size / 2 &&
                (rewrite == NULL ||
                 seg->header.sequence < rewrite->header.sequence)) {
                rewrite = seg;
            }
        } else if (seg->kill_batch > s->durable ||
                   seg->header.sequence >= newest || tells_an_end(s, seg)) {
            s->must_maintain = true; /* look again when more is durable */
        } else {
            erase(s, seg);
        }
    }
    if (rewrite != NULL) {
        control_rewrite(s, rewrite);
        s->must_maintain = true;
    }
}
