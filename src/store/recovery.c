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

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
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
    if (r->is_damaged) {
        loc.offset |= ENTRY_LOC_DAMAGED;
    }
    loc.what = entry_loc_what(r->entry_type, r->size - RECORD_HEADER_SIZE);
    return loc;
}

/* Copies from FROM on are of entries that are cut off. */
static void
cut_copies(struct life *life, qr_index from)
{
    size_t out = 0;

    if (life->copy_max < from) {
        return;
    }
    life->copy_max = 0;
    for (size_t i = 0; i < life->copies_count; i++) {
        if (life->copies[i].index < from) {
            life->copies[out++] = life->copies[i];
            life->copy_max = MAX(life->copy_max, life->copies[i].index);
        }
    }
    ASSERT(out < life->copies_count);
    life->copies_count = out;
}

static void
replay_entry(struct replay *rp, struct life *life, const struct segment *seg,
             const struct record *r)
{
    struct entry_loc loc = loc_of(seg, r);

    ASSERT(r->type == RECORD_ENTRY);
    if (life->end_at < rp->holes) {
        loss_check(rp, life, r);
        life->end_at = rp->holes;
    }
    cut_copies(life, r->index);
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
    life->copy_max = MAX(life->copy_max, r->index);
}

/* The log ends at LAST: what replay has beyond it are zombies. Of what it has
 * before, nobody said since the last hole that it is still right. */
static void
replay_end(struct replay *rp, struct life *life, qr_index last)
{
    if (life->end_at < rp->holes) {
        life->doubt = MAX(life->doubt, last);
        life->end_at = rp->holes;
    }
    cut_copies(life, last + 1);
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

    if (r->log == UINT32_MAX ||
        (r->log == 0) != (r->type == RECORD_STATE || r->type == RECORD_SEAL)) {
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
    case RECORD_LOST:
    case RECORD_STATE:
    case RECORD_SEAL:
    default:
        return true;
    }
}

static void
replay_snapshot(struct replay *rp, struct life *life, const struct record *r)
{
    ASSERT(r->type == RECORD_SNAPSHOT);
    replay_end(rp, life, r->term);
    life->group->snapshot.index = r->index;
    life->snapshot_at = rp->holes;
    life->seen[CONTROL_CUT].segment = NULL;
    if (life->doubt <= r->index) {
        life->doubt = 0;
    }
}

static void
replay_control(struct replay *rp, struct life *life, const struct record *r)
{
    OBJ_CHECK(life->group, GROUP_MAGIC);
    switch (r->type) {
    case RECORD_HARD:
        life->group->vote = r->index;
        life->group->term = r->term;
        life->hard_at = rp->holes;
        break;
    case RECORD_CUT:
        replay_end(rp, life, r->index);
        break;
    case RECORD_SNAPSHOT:
        replay_snapshot(rp, life, r);
        break;
    case RECORD_CREATED:
        life->group->id = r->index;
        if (r->entry_type != CREATED_AGAIN) {
            life->created_at = rp->holes;
        }
        break;
    case RECORD_LOST:
        life->group->id = r->index;
        life->is_lost = true;
        break;
    case RECORD_DELETED:
        life->until = r->index;
        break;
    case RECORD_ENTRY:
    case RECORD_STAGED:
    case RECORD_COPY:
    case RECORD_STATE:
    case RECORD_SEAL:
    default:
        UNREACHABLE("no control record of a group");
    }
}

/* Where the sighting of R, a control record, is kept. */
static struct sighting *
sighting_of(struct life *life, const struct record *r)
{
    switch (r->type) {
    case RECORD_HARD:
        return &life->seen[CONTROL_HARD];
    case RECORD_CUT:
        return &life->seen[CONTROL_CUT];
    case RECORD_SNAPSHOT:
        return &life->seen[CONTROL_SNAPSHOT];
    case RECORD_CREATED:
        return &life->seen[CONTROL_CREATED];
    case RECORD_LOST:
        return &life->seen[CONTROL_LOST];
    case RECORD_ENTRY:
    case RECORD_STAGED:
    case RECORD_COPY:
    case RECORD_DELETED:
    case RECORD_STATE:
    case RECORD_SEAL:
    default:
        return &life->tombstone;
    }
}

static int
replay_record(void *arg, struct segment *seg, const struct record *r)
{
    struct replay *rp = arg;
    struct life *life;

    if (!is_sane(r)) {
        return error_set(rp->err, QR_ECORRUPT,
                         "%s: offset %llu: a record makes no sense", seg->name,
                         (unsigned long long)r->offset);
    }
    loss_record(rp, r);
    if (r->log == 0) {
        if (r->type == RECORD_STATE) {
            sight(&rp->state, seg, r);
        }
        return 0;
    }
    life = life_of(rp, r->log);
    OBJ_CHECK(life->group, GROUP_MAGIC);
    if (r->type == RECORD_ENTRY) {
        replay_entry(rp, life, seg, r);
    } else if (r->type == RECORD_STAGED) {
        replay_staged(life, seg, r);
    } else if (r->type == RECORD_COPY) {
        replay_copy(life, seg, r);
    } else {
        replay_control(rp, life, r);
        sight(sighting_of(life, r), seg, r);
    }
    return 0;
}

static void
on_counts(void *arg, const struct log_counts *counts)
{
    loss_counts(arg, counts);
}

static void
on_hole(void *arg, struct segment *seg, uint64_t batch)
{
    loss_hole(arg, seg->batch_last + 1, batch);
}

/* A batch of SEG that was durable, the last one if NEXT, the segment after it,
 * tells; of the newest segment that is what was durable when a segment was
 * last freed. 0: nobody knows. */
static uint64_t
last_batch(const struct replay *rp, const struct segment *seg,
           const struct segment *next)
{
    if (next == NULL) {
        return rp->freed_last;
    }
    if (next->header.batch_first == 0 ||
        next->header.sequence != seg->header.sequence + 1) {
        return 0;
    }
    return next->header.batch_first - 1;
}

/* Two files cannot be the same segment; that is no rot. */
static int
check_joint(struct replay *rp, const struct segment *seg,
            const struct segment *next)
{
    ASSERT(seg != next);
    ASSERT(next->header.sequence >= seg->header.sequence);
    if (next->header.sequence == seg->header.sequence) {
        return error_set(rp->err, QR_ECORRUPT,
                         "%s and %s claim the same place in the log: remove "
                         "the one that was copied",
                         seg->name, next->name);
    }
    ASSERT(next->header.batch_first == 0 ||
           seg->batch_last < next->header.batch_first);
    return 0;
}

/* A segment begins with the batch at which the log was when it was made. What
 * earlier ones have from that number on could not be read then, and is no part
 * of the log any more. */
static void
limit_batches(struct replay *rp)
{
    uint64_t max = UINT64_MAX;

    OBJ_CHECK(rp->store, STORE_MAGIC);
    for (size_t i = rp->used_count; i-- > 0;) {
        struct segment *seg = rp->used[i];

        seg->batch_max = max;
        if (seg->header.batch_first != 0) {
            max = MIN(max, seg->header.batch_first - 1);
        }
    }
}

/* The newest segment has been read: the log goes on from its end, or in another
 * one if this has holes. */
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
    if (seg->has_index) {
        seg->state = SEGMENT_SEALED;
    } else if (seg->is_broken || seg->is_restored) {
        seg->state = SEGMENT_SEALED;
        seg->is_broken = true;
        s->unsealed = seg;
    } else {
        s->active = seg;
        s->unsealed = seg;
    }
    return 0;
}

/* What SEG's header says of all that came before it. */
static void
count_header(struct replay *rp, const struct segment *before,
             const struct segment *seg)
{
    bool follows = before != NULL &&
                   (seg->header.sequence == before->header.sequence + 1 ||
                    seg->header.batch_first == before->batch_last + 1);

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    if (!follows) {
        loss_uncounted(rp); /* between them was one that is free now */
    }
    if (!seg->is_restored && seg->batch_max >= seg->header.batch_first - 1) {
        loss_counts(rp, &seg->header.counts);
    }
}

static int
replay_segment(struct replay *rp, size_t i)
{
    struct segment *seg = rp->used[i];
    struct segment *before = i > 0 ? rp->used[i - 1] : NULL;
    struct segment *next = i + 1 < rp->used_count ? rp->used[i + 1] : NULL;
    const struct scan_sink sink = {replay_record, on_counts, on_hole, rp};
    int rv;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    count_header(rp, before, seg);
    rv = scan_segment(rp->store, seg,
                      MIN(last_batch(rp, seg, next), seg->batch_max),
                      next == NULL, &sink, rp->err);
    if (rv == 0 && before != NULL) {
        seg->batch_last = MAX(seg->batch_last, before->batch_last);
    }
    if (rv == 0 && next != NULL) {
        rv = check_joint(rp, seg, next);
    }
    if (rv != 0) {
        return rv;
    }
    seg->counts_last = rp->counts;
    seg->durable_end = seg->end;
    seg->is_opened = true;
    seg->is_durable = true;
    if (next == NULL) {
        return resume(rp, seg);
    }
    seg->state = SEGMENT_SEALED;
    if (!seg->has_index) {
        /* Its index was lost; it stays readable all the same. */
        log_warning(rp->store->config.log, "store",
                    "%s: its index was damaged, read its data instead",
                    seg->name);
        seg->has_index = true;
        seg->is_open_ended = true;
        seg->must_empty = true;
    }
    buf_deinit(&seg->index);
    buf_init(&seg->index);
    return 0;
}

/* What nobody knows may have been anything. */
static void
replay_strays(struct replay *rp)
{
    struct store *s = rp->store;

    OBJ_CHECK(s, STORE_MAGIC);
    for (size_t i = 0; i < rp->strays_count; i++) {
        struct segment *seg = rp->strays[i];

        log_error(s->config.log, "store",
                  "%s: header and contents are damaged beyond recognition",
                  seg->name);
        loss_uncounted(rp);
        loss_hole(rp, s->batch_next, s->batch_next);
        seg->state = SEGMENT_SEALED;
        seg->has_index = true;
        seg->is_opened = true;
    }
}

/* The log was durable beyond its end, in a file that nobody knows. Its numbers
 * are not used again, or a later start would miss the same batches anew. */
static void
skip_freed(struct replay *rp)
{
    struct store *s = rp->store;

    OBJ_CHECK(s, STORE_MAGIC);
    if (s->batch_next <= rp->freed_last) {
        ASSERT(s->active == NULL);
        loss_hole(rp, s->batch_next, rp->freed_last);
        s->batch_next = rp->freed_last + 1;
    }
}

static int
replay_segments(struct replay *rp)
{
    struct store *s = rp->store;
    bool known;

    OBJ_CHECK(s, STORE_MAGIC);
    limit_batches(rp);
    for (size_t i = 0; i < rp->used_count; i++) {
        int rv = replay_segment(rp, i);

        if (rv != 0) {
            return rv;
        }
    }
    skip_freed(rp);
    known = rp->uncounted == 0 && rp->is_counted;
    replay_strays(rp);
    s->durable = s->batch_next - 1;
    s->counts = rp->counts;
    if (!known) {
        /* So that it can never seem as if nothing had been lost here. */
        s->counts.controls += UINT32_MAX / 2;
    }
    return 0;
}

int
recovery_run(struct store *s, struct error *err)
{
    struct replay rp = {.store = s, .err = err, .is_counted = true};
    size_t pos;
    uint64_t log;
    struct life *life;
    int rv;

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT(s->groups.count == 0);
    ASSERT(s->active == NULL);
    map_init(&rp.lives);
    rv = replay_judge_files(&rp);
    if (rv == 0) {
        rv = replay_segments(&rp);
    }
    if (rv == 0) {
        loss_judge(&rp);
        settle_all(&rp);
        segments_mend(s);
    }
    map_foreach (&rp.lives, pos, log, life) {
        life_free(life);
    }
    map_deinit(&rp.lives);
    mem_free(rp.losses);
    mem_free(rp.strays);
    mem_free(rp.used);
    return rv;
}
