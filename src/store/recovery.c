/* A start.
 *
 * 1. Every segment file is opened and its header judged: in use, free, or left
 *    over from an unfinished creation (removed).
 * 2. The records of the segments in use are replayed in order of sequence,
 *    from a segment's index or from its batches. Replay takes every entry it
 *    sees, also those that died long ago and whose segment is still there; the
 *    logs it builds have gaps and zombies.
 * 3. Each group is settled: its newest snapshot is read, and of its entries
 *    exactly those are taken that the snapshot names as live or that follow
 *    it. One that is missing means that a file was lost or damaged.
 *
 * Nothing is written, so a start that fails or is interrupted can be repeated;
 * but what is taken as durable is synced first, since a process that was
 * killed may have left it in the page cache only. */
#include "store/recovery.h"

#include <quorate/version.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "store/group.h"
#include "store/replay.h"
#include "store/scan.h"
#include "store/segment.h"
#include "store/store_impl.h"

/* Beyond any index that a log can reach, so that sums do not overflow. */
static const uint64_t index_max = UINT64_MAX / 4;

static struct life *
life_of(struct replay *rp, uint32_t log)
{
    struct life *life = rp->last;

    OBJ_CHECK(rp->store, STORE_MAGIC);
    if (life != NULL && life->group->log == log) {
        return life;
    }
    life = map_get(&rp->lives, log);
    if (life == NULL) {
        life = mem_zalloc(1, sizeof(*life));
        life->group = group_new(0, log);
        map_put(&rp->lives, log, life);
    }
    if (log >= rp->store->log_next) {
        rp->store->log_next = log + 1;
    }
    rp->last = life;
    return life;
}

static void
life_free(struct life *life)
{
    if (life->group != NULL) {
        group_free(life->group);
    }
    mem_free(life->copies);
    mem_free(life);
}

static struct entry_loc
loc_of(const struct segment *seg, const struct record *r)
{
    struct entry_loc loc;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(r->offset % RECORD_ALIGN == 0);
    memset(&loc, 0, sizeof(loc));
    loc.segment = seg->slot;
    loc.offset = (uint32_t)(r->offset / RECORD_ALIGN);
    loc.what = entry_loc_what(r->entry_type, r->size - RECORD_HEADER_SIZE);
    return loc;
}

static void
replay_entry(struct life *life, const struct segment *seg,
             const struct record *r)
{
    struct entry_loc loc = loc_of(seg, r);

    ASSERT(r->type == RECORD_ENTRY);
    group_log_cut(&life->group->entries, r->index, NULL, NULL);
    group_log_put(&life->group->entries, r->index, r->term, &loc);
    life->last_index = r->index;
    life->seen[CONTROL_CUT].segment = NULL;
}

static void
replay_staged(struct life *life, const struct segment *seg,
              const struct record *r)
{
    struct entry_loc loc = loc_of(seg, r);

    ASSERT(r->type == RECORD_STAGED);
    group_stage_add(life->group, r->index, r->term, &loc);
}

static void
replay_copy(struct life *life, const struct segment *seg,
            const struct record *r)
{
    struct copy *c;

    ASSERT(r->type == RECORD_COPY);
    ASSERT(life->copies_count <= life->copies_capacity);
    if (life->copies_count == life->copies_capacity) {
        life->copies_capacity = MAX(16, 2 * life->copies_capacity);
        life->copies = mem_realloc(life->copies, life->copies_capacity *
                                                     sizeof(*life->copies));
    }
    c = &life->copies[life->copies_count++];
    c->index = r->index;
    c->term = r->term;
    c->loc = loc_of(seg, r);
}

/* The log ends at LAST: what replay has beyond it are zombies. */
static void
replay_end(struct life *life, qr_index last)
{
    group_log_cut(&life->group->entries, last + 1, NULL, NULL);
    life->last_index = last;
}

static void
sight(struct sighting *seen, struct segment *seg, const struct record *r)
{
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    seen->segment = seg;
    seen->offset = r->offset;
    seen->size = r->size;
}

/* Whether R says something that this program could have written; its checksum
 * only tells that it is as it was written. */
static bool
is_sane(const struct record *r)
{
    uint64_t body = r->size - RECORD_HEADER_SIZE;

    if (r->log == 0 || r->log == UINT32_MAX) {
        return false;
    }
    switch (r->type) {
    case RECORD_ENTRY:
    case RECORD_STAGED:
    case RECORD_COPY:
        return r->index > 0 && r->index <= index_max && r->term > 0 &&
               body <= STORE_ENTRY_SIZE_MAX && r->entry_type <= ENTRY_TYPE_MAX;
    case RECORD_SNAPSHOT:
        return r->index > 0 && r->term >= r->index && r->term <= index_max;
    case RECORD_CUT:
        return r->index <= index_max;
    case RECORD_CREATED:
        return body <= STORE_GROUP_HEADER_SIZE_MAX;
    case RECORD_DELETED:
        return r->index > 0;
    case RECORD_HARD:
    default:
        return true;
    }
}

static int
replay_record(void *arg, struct segment *seg, const struct record *r)
{
    struct replay *rp = arg;
    struct life *life = life_of(rp, r->log);

    OBJ_CHECK(life->group, GROUP_MAGIC);
    if (!is_sane(r)) {
        return error_set(rp->err, QR_ECORRUPT,
                         "%s: offset %llu: a record makes no sense", seg->name,
                         (unsigned long long)r->offset);
    }
    switch (r->type) {
    case RECORD_ENTRY:
        replay_entry(life, seg, r);
        break;
    case RECORD_STAGED:
        replay_staged(life, seg, r);
        break;
    case RECORD_COPY:
        replay_copy(life, seg, r);
        break;
    case RECORD_HARD:
        life->group->vote = r->index;
        life->group->term = r->term;
        sight(&life->seen[CONTROL_HARD], seg, r);
        break;
    case RECORD_CUT:
        replay_end(life, r->index);
        sight(&life->seen[CONTROL_CUT], seg, r);
        break;
    case RECORD_SNAPSHOT:
        replay_end(life, r->term);
        life->group->snapshot.index = r->index;
        sight(&life->seen[CONTROL_SNAPSHOT], seg, r);
        life->seen[CONTROL_CUT].segment = NULL;
        break;
    case RECORD_CREATED:
        life->group->id = r->index;
        sight(&life->seen[CONTROL_CREATED], seg, r);
        break;
    case RECORD_DELETED:
        life->until = r->index;
        sight(&life->tombstone, seg, r);
        break;
    default:
        UNREACHABLE("decoding checks the type");
    }
    return 0;
}

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
    if (size < SECTOR_SIZE) {
        return remove_file(rp, seg);
    }
    rv = s->disk->ops->read(seg->file, 0, seg->sector, SECTOR_SIZE);
    if (rv != 0) {
        return error_set(rp->err, -rv, "%s: offset 0: cannot be read",
                         seg->name);
    }
    rv = segment_header_decode(seg->sector, &h);
    if (rv == -QR_ENOENT) {
        return judge_free(rp, seg);
    }
    if (rv != 0) {
        return error_set(rp->err, QR_ECORRUPT,
                         "%s: offset 0: the header is damaged", seg->name);
    }
    rv = check_owner(rp, seg, &h);
    if (rv != 0) {
        return rv;
    }
    s->sequence_next = MAX(s->sequence_next, h.sequence + 1);
    if (h.use == SEGMENT_UNUSED) {
        return judge_free(rp, seg);
    }
    if (h.size > size || h.size < SEGMENT_HEADER_SIZE + TRAILER_SIZE ||
        h.sequence == 0) {
        return error_set(rp->err, QR_ECORRUPT,
                         "%s: is cut short: %llu of %llu bytes", seg->name,
                         (unsigned long long)size, (unsigned long long)h.size);
    }
    seg->header = h;
    seg->seed = segment_seed(&h);
    seg->state = SEGMENT_SEALED;
    rp->used[rp->used_count++] = seg;
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

/* The segment after SEG tells how SEG ended, if none between them is gone. */
static int
check_joint(struct replay *rp, const struct segment *seg,
            const struct segment *next)
{
    uint64_t step = next->header.sequence - seg->header.sequence;

    ASSERT(seg != next);
    ASSERT(next->header.sequence >= seg->header.sequence);
    if (step == 0 || next->header.batch_first <= seg->batch_last) {
        return error_set(rp->err, QR_ECORRUPT,
                         "%s and %s claim the same place in the log", seg->name,
                         next->name);
    }
    if (step == 1 && (next->header.batch_first != seg->batch_last + 1 ||
                      next->header.chain != seg->chain_last)) {
        return error_set(rp->err, QR_ECORRUPT,
                         "%s: offset %llu: batch %llu is damaged, yet %s "
                         "goes on after batch %llu",
                         seg->name, (unsigned long long)seg->end,
                         (unsigned long long)seg->batch_last + 1, next->name,
                         (unsigned long long)next->header.batch_first - 1);
    }
    return 0;
}

/* The newest segment has been read: the log goes on from its end. */
static int
resume(struct replay *rp, struct segment *seg)
{
    struct store *s = rp->store;
    int rv;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->end <= seg->header.size);
    s->batch_next = seg->batch_last + 1;
    s->chain = seg->chain_last;
    rv = s->disk->ops->sync(seg->file);
    if (rv != 0) {
        return error_set(rp->err, -rv, "%s: cannot be synced", seg->name);
    }
    if (!seg->has_index) {
        s->active = seg;
        s->unsealed = seg;
    }
    return 0;
}

static int
replay_segments(struct replay *rp)
{
    OBJ_CHECK(rp->store, STORE_MAGIC);
    for (size_t i = 0; i < rp->used_count; i++) {
        struct segment *seg = rp->used[i];
        bool last = i + 1 == rp->used_count;
        int rv = scan_segment(rp->store, seg, replay_record, rp, rp->err);

        if (rv == 0 && !last) {
            rv = check_joint(rp, seg, rp->used[i + 1]);
        }
        if (rv == 0 && last) {
            rv = resume(rp, seg);
        }
        if (rv != 0) {
            return rv;
        }
        seg->is_opened = true;
        seg->is_durable = true;
        if (!last && !seg->has_index) {
            /* Its index was lost; it stays readable all the same. */
            log_warning(rp->store->config.log, "store",
                        "%s: its index was damaged, read its data instead",
                        seg->name);
            seg->state = SEGMENT_SEALED;
            seg->has_index = true;
            buf_deinit(&seg->index);
            buf_init(&seg->index);
        }
    }
    rp->store->durable = rp->store->batch_next - 1;
    return 0;
}

static int
judge_files(struct replay *rp)
{
    struct store *s = rp->store;
    int rv = s->disk->ops->list(s->disk, list_file, rp);

    if (rv != 0) {
        return error_set(rp->err, -rv, "cannot list the files");
    }
    rp->used = mem_zalloc(s->segments_capacity + 1, sizeof(*rp->used));
    for (size_t i = 1; i < s->segments_capacity && rv == 0; i++) {
        if (s->segments[i] != NULL) {
            rv = judge_file(rp, s->segments[i]);
        }
    }
    qsort(rp->used, rp->used_count, sizeof(*rp->used), by_sequence);
    return rv;
}

int
recovery_run(struct store *s, struct error *err)
{
    struct replay rp = {.store = s, .err = err};
    size_t pos;
    uint64_t log;
    struct life *life;
    int rv;

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT(s->groups.count == 0);
    ASSERT(s->active == NULL);
    map_init(&rp.lives);
    rv = judge_files(&rp);
    if (rv == 0) {
        rv = replay_segments(&rp);
    }
    if (rv == 0) {
        settle_all(&rp);
    }
    map_foreach (&rp.lives, pos, log, life) {
        life_free(life);
    }
    map_deinit(&rp.lives);
    mem_free(rp.used);
    return rv;
}
