/* The first part of a start: what each file is. A header that is lost is found
 * out from what the file holds; only another node's or shard's file, or one of
 * a newer program, refuses the start. */
#include <quorate/version.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "store/replay.h"
#include "store/segment.h"

enum {
    STRAY_SEQUENCES = 4, /* beyond the highest known */
    STRAY_TRIES = 100000 /* to find out which segment a file is */
};

/* What is not a segment's name is none of the store's business. */
static bool
parse_name(const char *name, uint32_t *number)
{
    static const char prefix[] = "segment-";
    static const char suffix[] = ".log";
    size_t at = sizeof(prefix) - 1;
    uint32_t found = 0;

    if (strlen(name) != at + SEGMENT_NAME_DIGITS + sizeof(suffix) - 1 ||
        memcmp(name, prefix, at) != 0 ||
        strcmp(name + at + SEGMENT_NAME_DIGITS, suffix) != 0) {
        return false;
    }
    for (size_t i = at; i < at + SEGMENT_NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return false;
        }
        found = found * 10 + (uint32_t)(name[i] - '0');
    }
    *number = found;
    return true;
}

static void
list_file(void *arg, const char *name, uint64_t size)
{
    struct replay *rp = arg;
    uint32_t number;

    OBJ_CHECK(rp->store, STORE_MAGIC);
    if (parse_name(name, &number)) {
        (void)segment_new(rp->store, number, size - size % SECTOR_SIZE);
    }
}

static int
check_owner(struct replay *rp, const struct segment *seg,
            const struct segment_header *h)
{
    const struct store_config *config = &rp->store->config;
    struct uuid theirs;
    struct uuid ours;
    char theirs_text[UUID_TEXT_SIZE];
    char ours_text[UUID_TEXT_SIZE];

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    if (h->version > QR_STORE_FORMAT) {
        return error_set(rp->err, QR_EVERSION,
                         "%s has format %u, this program knows up to %u: run "
                         "the version that wrote it, or a newer one",
                         seg->name, h->version, (unsigned)QR_STORE_FORMAT);
    }
    memcpy(theirs.bytes, h->node_uuid, 16);
    memcpy(ours.bytes, config->node_uuid, 16);
    if (!uuid_is_equal(&theirs, &ours) || h->shard != config->shard) {
        uuid_format(&theirs, theirs_text);
        uuid_format(&ours, ours_text);
        return error_set(rp->err, QR_ECONFLICT,
                         "%s belongs to node %s, shard %u, but this is node "
                         "%s, shard %u: put back the right data directory",
                         seg->name, theirs_text, h->shard, ours_text,
                         config->shard);
    }
    return 0;
}

/* A file that nobody needs: of another size than spares have now, or left over
 * from a creation that was interrupted. */
static int
remove_file(struct replay *rp, struct segment *seg)
{
    struct store *s = rp->store;
    char name[DISK_NAME_SIZE];
    int rv;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->entry_count == 0);
    memcpy(name, seg->name, sizeof(name));
    segment_free(s, seg);
    rv = s->disk->ops->remove(s->disk, name);
    return rv == 0 ? 0 : error_set(rp->err, -rv, "%s: cannot be removed", name);
}

static int
judge_free(struct replay *rp, struct segment *seg)
{
    struct store *s = rp->store;
    int rv;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->state == SEGMENT_FREE);
    if (seg->header.size != s->config.segment_size) {
        return remove_file(rp, seg);
    }
    /* That it is free may be in the page cache only. */
    rv = s->disk->ops->sync(seg->file);
    return rv == 0 ? 0
                   : error_set(rp->err, -rv, "%s: cannot be synced", seg->name);
}

/* Copy I of SEG's header: as segment_header_decode(), or how the disk fails as
 * a whole. What cannot be read is damaged. */
static int
read_header(struct replay *rp, struct segment *seg, unsigned i,
            struct segment_header *out)
{
    int rv = rp->store->disk->ops->read(seg->file, i * (uint64_t)SECTOR_SIZE,
                                        seg->sector, SECTOR_SIZE);

    ASSERT(i < 2);
    if (rv == -QR_EIO) {
        return -QR_ECORRUPT;
    }
    return rv == 0 ? segment_header_decode(seg->sector, out) : rv;
}

/* The header of SEG that counts: of two that differ, because a power cut tore
 * their write, the newer, which is the one that frees. -QR_ENOENT: it was never
 * used, -QR_ECORRUPT: both are gone. */
static int
choose_header(struct replay *rp, struct segment *seg,
              struct segment_header *out)
{
    struct segment_header h[2];
    int rv[2];
    unsigned best = 0;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    for (unsigned i = 0; i < 2; i++) {
        rv[i] = read_header(rp, seg, i, &h[i]);
        if (rv[i] != 0 && rv[i] != -QR_ENOENT && rv[i] != -QR_ECORRUPT) {
            return rv[i];
        }
    }
    rp->doubts += rv[0] == -QR_ECORRUPT || rv[1] == -QR_ECORRUPT;
    if (rv[0] != 0 && rv[1] != 0) {
        return rv[0] == -QR_ENOENT || rv[1] == -QR_ENOENT ? -QR_ENOENT
                                                          : -QR_ECORRUPT;
    }
    if (rv[0] != 0 || (rv[1] == 0 && (h[1].sequence > h[0].sequence ||
                                      (h[1].sequence == h[0].sequence &&
                                       h[1].use == SEGMENT_UNUSED)))) {
        best = 1;
    }
    seg->must_restore = rv[0] != 0 || rv[1] != 0 ||
                        h[0].sequence != h[1].sequence || h[0].use != h[1].use;
    *out = h[best];
    return 0;
}

/* SEG is in use, with header H. */
static void
use_file(struct replay *rp, struct segment *seg, const struct segment_header *h)
{
    struct store *s = rp->store;
    uint64_t size = seg->header.size;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(h->sequence > 0);
    if (h->size > size) {
        log_error(s->config.log, "store",
                  "%s: is cut short: %llu of %llu bytes", seg->name,
                  (unsigned long long)size, (unsigned long long)h->size);
    }
    s->sequence_next = MAX(s->sequence_next, h->sequence + 1);
    seg->header = *h;
    seg->seed = segment_seed(h);
    seg->state = SEGMENT_SEALED;
    rp->used[rp->used_count++] = seg;
}

/* SEG, whose headers are lost, has SEQUENCE, as its contents prove. FIRST: its
 * first batch, or NULL if that is not known. */
static void
restore_header(struct replay *rp, struct segment *seg, uint64_t sequence,
               const struct batch_header *first)
{
    struct store *s = rp->store;
    struct segment_header h = {.version = QR_STORE_FORMAT,
                               .use = SEGMENT_IN_USE,
                               .shard = s->config.shard,
                               .sequence = sequence,
                               .size = seg->header.size};

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(sequence > 0);
    memcpy(h.node_uuid, s->config.node_uuid, sizeof(h.node_uuid));
    if (first != NULL) {
        h.batch_first = first->number;
        h.chain = first->chain_before;
    }
    log_error(s->config.log, "store",
              "%s: its header is damaged; its contents tell that it is "
              "segment %llu",
              seg->name, (unsigned long long)sequence);
    use_file(rp, seg, &h);
    seg->is_restored = true;
}

/* The checksum seed that a segment of ours with SEQUENCE has. */
static uint32_t
seed_of(const struct store *s, uint64_t sequence)
{
    struct segment_header h = {.shard = s->config.shard, .sequence = sequence};

    OBJ_CHECK(s, STORE_MAGIC);
    memcpy(h.node_uuid, s->config.node_uuid, sizeof(h.node_uuid));
    return segment_seed(&h);
}

static bool
is_used(const struct replay *rp, uint64_t sequence)
{
    for (size_t i = 0; i < rp->used_count; i++) {
        if (rp->used[i]->header.sequence == sequence) {
            return true;
        }
    }
    return false;
}

/* Try every sequence that SEG might have on its first batch. That is what was
 * written first when the file was used last. */
static bool
identify_by_batch(struct replay *rp, struct segment *seg)
{
    struct store *s = rp->store;
    uint64_t limit = s->sequence_next + STRAY_SEQUENCES;
    struct batch_header first;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    if (s->disk->ops->read(seg->file, SEGMENT_DATA_AT, seg->sector,
                           SECTOR_SIZE) != 0) {
        return false;
    }
    for (uint64_t i = limit; i-- > 1 && limit - i < STRAY_TRIES;) {
        if (batch_header_decode(seg->sector, seed_of(s, i), &first) &&
            !is_used(rp, i)) {
            restore_header(rp, seg, i, &first);
            return true;
        }
    }
    return false;
}

/* Believe what SEG's trailer says. It may be that of an earlier use, of which
 * the first batch would tell if it could be read. */
static bool
identify_by_trailer(struct replay *rp, struct segment *seg)
{
    struct store *s = rp->store;
    uint64_t sequence = 0;
    struct trailer t;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    if (s->disk->ops->read(seg->file, seg->header.size - TRAILER_SIZE,
                           seg->sector, TRAILER_SIZE) == 0) {
        sequence = trailer_sequence(seg->sector);
    }
    if (sequence == 0 || is_used(rp, sequence) ||
        !trailer_decode(seg->sector, seed_of(s, sequence), &t)) {
        return false;
    }
    restore_header(rp, seg, sequence, NULL);
    return true;
}

static int
judge_file(struct replay *rp, struct segment *seg)
{
    struct store *s = rp->store;
    struct segment_header h;
    uint64_t size = seg->header.size;
    int rv = s->disk->ops->open(s->disk, seg->name, &seg->file);

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    if (rv != 0) {
        return error_set(rp->err, -rv, "%s: cannot be opened", seg->name);
    }
    if (size < SEGMENT_DATA_AT + TRAILER_SIZE) {
        return remove_file(rp, seg);
    }
    rv = choose_header(rp, seg, &h);
    if (rv == -QR_ENOENT) {
        return judge_free(rp, seg);
    }
    if (rv == -QR_ECORRUPT) {
        rp->strays[rp->strays_count++] = seg;
        return 0;
    }
    if (rv != 0) {
        return error_set(rp->err, -rv, "%s: offset 0: cannot be read",
                         seg->name);
    }
    rv = check_owner(rp, seg, &h);
    if (rv != 0) {
        return rv;
    }
    s->sequence_next = MAX(s->sequence_next, h.sequence + 1);
    if (h.use == SEGMENT_UNUSED) {
        rp->freed_last = MAX(rp->freed_last, MAX(h.batch_first, 1U) - 1);
        return judge_free(rp, seg);
    }
    if (h.size < SEGMENT_DATA_AT + 2 * TRAILER_SIZE || h.sequence == 0) {
        return error_set(rp->err, QR_ECORRUPT, "%s: the header makes no sense",
                         seg->name);
    }
    use_file(rp, seg, &h);
    return 0;
}

static int
by_sequence(const void *a, const void *b)
{
    const struct segment *const *x = a;
    const struct segment *const *y = b;

    if ((*x)->header.sequence == (*y)->header.sequence) {
        return 0;
    }
    return (*x)->header.sequence < (*y)->header.sequence ? -1 : 1;
}

int
replay_judge_files(struct replay *rp)
{
    struct store *s = rp->store;
    int rv = s->disk->ops->list(s->disk, list_file, rp);
    size_t strays = 0;

    if (rv != 0) {
        return error_set(rp->err, -rv, "cannot list the files");
    }
    rp->used = mem_zalloc(s->segments_capacity + 1, sizeof(*rp->used));
    rp->strays = mem_zalloc(s->segments_capacity + 1, sizeof(*rp->strays));
    for (size_t i = 1; i < s->segments_capacity && rv == 0; i++) {
        if (s->segments[i] != NULL) {
            rv = judge_file(rp, s->segments[i]);
        }
    }
    for (size_t i = 0; i < rp->strays_count && rv == 0; i++) {
        if (!identify_by_batch(rp, rp->strays[i]) &&
            !identify_by_trailer(rp, rp->strays[i])) {
            rp->strays[strays++] = rp->strays[i];
        }
    }
    rp->strays_count = strays;
    /* What cannot be read now might be of the next segments, and come back. */
    s->sequence_next += rp->doubts;
    qsort(rp->used, rp->used_count, sizeof(*rp->used), by_sequence);
    return rv;
}
