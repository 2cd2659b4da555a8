/* The last part of a start: what replay saw of each group becomes the group.
 *
 * Its newest snapshot is read, and of its entries exactly those are taken that
 * the snapshot names as live or that follow it. An entry may have been written
 * more than once, as a copy; the one written last says what its term is, and
 * any whole record of that term will do for its body: in Raft, index and term
 * name one content for ever.
 *
 * What is missing tells what rotted. An entry that a snapshot names is damaged,
 * no more. So is a gap after the snapshot if the entries on both sides of it
 * have the same term: both were made by one leader, whose log never changes,
 * so what lay between them was of that term, too, and everything before it is
 * what it was (Raft's Log Matching, Ongaro's thesis, 3.5). Anything else means
 * that nobody knows what this replica had promised: the group is lost. */
#include <quorate/error.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/control.h"
#include "store/group.h"
#include "store/read.h"
#include "store/replay.h"
#include "store/segment.h"

enum {
    UNKNOWN_MAX = 1 << 20 /* entries of a group of which all is lost but the
                             term; with more, the group is lost */
};

/* An entry as found. */
struct pick {
    struct entry_loc loc;
    qr_term term;
};

/* Where the record at LOC lies in the order in which all were written. */
static bool
is_later(const struct store *s, const struct entry_loc *a,
         const struct entry_loc *b)
{
    uint64_t x = segment_at(s, a->segment)->header.sequence;
    uint64_t y = segment_at(s, b->segment)->header.sequence;

    return x != y ? x > y : entry_loc_offset(a) > entry_loc_offset(b);
}

static int
compare_copies(const void *a, const void *b, void *arg)
{
    const struct copy *x = a;
    const struct copy *y = b;

    if (x->index != y->index) {
        return x->index < y->index ? -1 : 1;
    }
    if (is_later(arg, &x->loc, &y->loc)) {
        return 1;
    }
    return is_later(arg, &y->loc, &x->loc) ? -1 : 0;
}

/* The first of LIFE's copies at INDEX or above. */
static size_t
find_copy(const struct life *life, qr_index index)
{
    size_t low = 0;
    size_t high = life->copies_count;

    ASSERT(index > 0);
    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (life->copies[mid].index < index) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    ASSERT(low <= life->copies_count);
    return low;
}

/* LOC of TERM is a candidate as well. */
static void
consider(const struct store *s, const struct entry_loc *loc, qr_term term,
         bool newest, struct pick *best)
{
    bool better = best->term == 0;

    if (!better && (newest || entry_loc_is_damaged(loc) ==
                                  entry_loc_is_damaged(&best->loc))) {
        better = is_later(s, loc, &best->loc);
    } else if (!better) {
        better = entry_loc_is_damaged(&best->loc);
    }
    if (better) {
        best->loc = *loc;
        best->term = term;
    }
}

/* The record of entry INDEX to rely on, of TERM, or with TERM 0 the one that
 * was written last. */
static void
consider_all(const struct replay *rp, const struct life *life, qr_index index,
             qr_term term, struct pick *best)
{
    const struct group_log *log = &life->group->entries;
    const struct entry_loc *loc = group_log_get(log, index);

    OBJ_CHECK(life->group, GROUP_MAGIC);
    if (loc != NULL && (term == 0 || group_log_term(log, index) == term)) {
        consider(rp->store, loc, group_log_term(log, index), term == 0, best);
    }
    for (size_t i = find_copy(life, index);
         i < life->copies_count && life->copies[i].index == index; i++) {
        const struct copy *c = &life->copies[i];

        if (term == 0 || c->term == term) {
            consider(rp->store, &c->loc, c->term, term == 0, best);
        }
    }
}

/* Entry INDEX after the snapshot, or false. */
static bool
pick_tail(const struct replay *rp, const struct life *life, qr_index index,
          struct pick *out)
{
    struct pick newest = {.term = 0};
    struct pick best = {.term = 0};

    ASSERT(index > life->group->snapshot.index);
    consider_all(rp, life, index, 0, &newest);
    if (newest.term == 0) {
        return false;
    }
    consider_all(rp, life, index, newest.term, &best);
    ASSERT(best.term == newest.term);
    *out = best;
    return true;
}

/* Entry INDEX of TERM, which a snapshot names, or false. */
static bool
pick_live(const struct replay *rp, const struct life *life, qr_index index,
          qr_term term, struct pick *out)
{
    const struct staged *st = group_stage_find(life->group, index);
    struct pick best = {.term = 0};

    ASSERT(term > 0);
    consider_all(rp, life, index, term, &best);
    if (st != NULL && st->term == term) {
        consider(rp->store, &st->loc, term, false, &best);
    }
    *out = best;
    return best.term != 0;
}

/* Take P, which is entry INDEX of G, into FRESH. */
static void
take_entry(struct store *s, struct group *g, struct group_log *fresh,
           qr_index index, const struct pick *p)
{
    uint64_t span = group_entry_span(&p->loc);

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(p->term > 0);
    group_log_put(fresh, index, p->term, &p->loc);
    segment_add_live(s, segment_at(s, p->loc.segment), span);
    if (index > g->snapshot.index) {
        group_add_tail(s, g, span);
    }
    if (entry_loc_is_damaged(&p->loc)) {
        g->damaged++;
        s->stats.damaged++;
        s->stats.damages++;
    }
}

/* An entry of TERM of which only that is known. It counts as live in SEG, which
 * tells that it was there. */
static struct pick
unknown_entry(const struct segment *seg, qr_term term)
{
    struct pick p = {.term = term};

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(term > 0);
    p.loc.segment = seg->slot;
    p.loc.offset = ENTRY_LOC_DAMAGED;
    p.loc.what = entry_loc_what(STORE_TYPE_UNKNOWN, 0);
    return p;
}

/* False if too many are missing. */
static bool
settle_live(struct replay *rp, struct life *life,
            const struct snapshot_body *body, struct group_log *fresh)
{
    struct group *g = life->group;
    uint32_t unknown = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(ranges_total(&g->live) == 0);
    for (size_t i = 0; i < body->runs_count; i++) {
        const struct live_run *run = &body->runs[i];

        for (qr_index at = run->first; at <= run->last; at++) {
            struct pick p;

            if (!pick_live(rp, life, at, run->term, &p)) {
                if (++unknown > UNKNOWN_MAX) {
                    return false;
                }
                p = unknown_entry(life->seen[CONTROL_SNAPSHOT].segment,
                                  run->term);
            }
            take_entry(rp->store, g, fresh, at, &p);
        }
        ranges_add(&g->live, run->first, run->last);
    }
    return true;
}

static void
warn(const struct replay *rp, const struct life *life,
     const struct sighting *at, const char *what)
{
    OBJ_CHECK(at->segment, SEGMENT_MAGIC);
    log_error(rp->store->config.log, "store",
              "%s: offset %llu: the %s of group %llu is damaged",
              at->segment->name, (unsigned long long)at->offset, what,
              (unsigned long long)life->group->id);
}

/* False if the snapshot that there is cannot be read. */
static bool
settle_snapshot(struct replay *rp, struct life *life, struct group_log *fresh)
{
    const struct sighting *at = &life->seen[CONTROL_SNAPSHOT];
    struct group *g = life->group;
    struct snapshot_body body;
    struct record r;
    struct slice data;
    bool ok;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (at->segment == NULL) {
        return true;
    }
    if (record_load(rp->store, at->segment, at->offset, at->size, &r, &data) !=
        0) {
        warn(rp, life, at, "snapshot");
        return false;
    }
    if (r.type != RECORD_SNAPSHOT || r.log != g->log ||
        r.index != g->snapshot.index ||
        snapshot_decode(data.data, data.size, r.index, &body) != 0) {
        slice_unref(&data);
        warn(rp, life, at, "snapshot");
        return false;
    }
    g->has_snapshot = true;
    g->snapshot.term = body.term;
    g->snapshot.configuration_index = body.configuration_index;
    g->snapshot.configuration =
        slice_sub(&data, (size_t)(body.configuration - data.data),
                  body.configuration_size);
    g->snapshot.manifest = slice_sub(&data, (size_t)(body.manifest - data.data),
                                     body.manifest_size);
    g->snapshot.live = &g->live;
    ok = settle_live(rp, life, &body, fresh);
    mem_free(body.runs);
    slice_unref(&data);
    return ok;
}

/* The first entry after AT that was found, or 0. */
static qr_index
next_found(const struct replay *rp, const struct life *life, qr_index at,
           struct pick *out)
{
    for (qr_index i = at + 1; i <= life->last_index; i++) {
        struct entry_loc *loc = NULL;
        qr_index next = group_log_next(&life->group->entries, i, &loc);
        size_t copy = find_copy(life, i);

        /* Leap over what nobody has. */
        if (copy < life->copies_count &&
            (next == 0 || life->copies[copy].index < next)) {
            next = life->copies[copy].index;
        }
        if (next == 0 || next > life->last_index) {
            return 0;
        }
        i = next;
        if (pick_tail(rp, life, i, out)) {
            return i;
        }
    }
    return 0;
}

/* The entries of (g->snapshot.index, LAST]; false if some are missing and
 * nothing tells what they were. */
static bool
settle_tail(struct replay *rp, struct life *life, struct group_log *fresh)
{
    struct group *g = life->group;
    qr_index at = g->snapshot.index;
    qr_term before = g->snapshot.term;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (life->last_index < at) {
        return false;
    }
    while (at < life->last_index) {
        struct pick p;
        struct pick gap;
        qr_index next = next_found(rp, life, at, &p);

        if (next == 0 || (next > at + 1 && p.term != before) ||
            next - at > UNKNOWN_MAX) {
            return false;
        }
        while (++at < next) {
            gap = unknown_entry(segment_at(rp->store, p.loc.segment), p.term);
            take_entry(rp->store, g, fresh, at, &gap);
        }
        take_entry(rp->store, g, fresh, at, &p);
        before = p.term;
    }
    g->last_index = life->last_index;
    return true;
}

static bool
settle_header(struct replay *rp, struct life *life)
{
    const struct sighting *at = &life->seen[CONTROL_CREATED];
    struct record r;

    ASSERT(life->group->header.size == 0);
    if (at->segment == NULL) {
        return false;
    }
    if (record_load(rp->store, at->segment, at->offset, at->size, &r,
                    &life->group->header) != 0) {
        warn(rp, life, at, "header");
        return false;
    }
    return true;
}

static void
settle_controls(struct replay *rp, struct life *life)
{
    OBJ_CHECK(life->group, GROUP_MAGIC);
    for (int kind = 0; kind < CONTROL_KINDS; kind++) {
        const struct sighting *at = &life->seen[kind];

        if (at->segment != NULL) {
            control_place(rp->store, &life->group->controls[kind], at->segment,
                          record_span(at->size));
        }
    }
}

/* Give back what was taken into LOG. */
static void
untake(struct replay *rp, struct group *g, struct group_log *log)
{
    struct group_ref ref = {rp->store, g};

    OBJ_CHECK(g, GROUP_MAGIC);
    group_log_deinit(log, group_drop_entry, &ref);
    ASSERT(g->tail_bytes == 0);
    ASSERT(g->damaged == 0);
}

/* LIFE's group cannot be relied on. Only its identity is kept; what of it lies
 * in the segments is dead, once its record of type LOST says so. */
static void
lose(struct replay *rp, struct life *life, struct group_log *fresh)
{
    struct group *g = life->group;

    OBJ_CHECK(g, GROUP_MAGIC);
    untake(rp, g, fresh);
    ranges_clear(&g->live);
    slice_unref(&g->snapshot.configuration);
    slice_unref(&g->snapshot.manifest);
    memset(&g->snapshot, 0, sizeof(g->snapshot));
    g->has_snapshot = false;
    g->last_index = 0;
    g->is_lost = true;
    life->seen[CONTROL_SNAPSHOT].segment = NULL;
    life->seen[CONTROL_CUT].segment = NULL;
    rp->store->stats.groups_lost++;
    rp->store->stats.damages++;
    log_error(rp->store->config.log, "store",
              "group %llu: what this replica had stored or promised is not "
              "known any more; it takes no further part and is to be replaced",
              (unsigned long long)g->id);
}

/* LIFE's group is one of the store's. */
static void
settle(struct replay *rp, struct life *life)
{
    struct store *s = rp->store;
    struct group *g = life->group;
    struct group_log fresh;
    bool ok;

    OBJ_CHECK(s, STORE_MAGIC);
    OBJ_CHECK(g, GROUP_MAGIC);
    group_log_init(&fresh);
    group_stage_sort(NULL, g);
    if (life->copies_count > 0) { /* of NULL nothing may be sorted */
        qsort_r(life->copies, life->copies_count, sizeof(*life->copies),
                compare_copies, s);
    }
    ok = settle_header(rp, life) && !life->is_lost &&
         settle_snapshot(rp, life, &fresh) && settle_tail(rp, life, &fresh);
    if (!ok) {
        lose(rp, life, &fresh);
    }
    group_log_deinit(&g->entries, NULL, NULL);
    g->entries = fresh;
    mem_free(g->staged);
    g->staged = NULL;
    g->staged_count = 0;
    g->staged_capacity = 0;
    settle_controls(rp, life);
    if (map_put(&s->groups, g->id, g) != NULL) {
        UNREACHABLE("settle_all() looked for the id");
    }
    map_put(&s->logs, g->log, g);
    life->group = NULL;
}

static void
settle_tombstone(struct replay *rp, const struct life *life)
{
    struct store *s = rp->store;

    OBJ_CHECK(life->tombstone.segment, SEGMENT_MAGIC);
    if (life->until >= segment_oldest(s)) {
        control_exhume(s, life->group->log, life->until,
                       life->tombstone.segment,
                       record_span(life->tombstone.size));
    }
}

/* In order of log from the newest, so that of two lives of a group (what said
 * that the first was deleted has rotted) the later one counts. */
void
settle_all(struct replay *rp)
{
    uint64_t *logs = map_keys_sorted(&rp->lives);

    OBJ_CHECK(rp->store, STORE_MAGIC);
    for (size_t i = rp->lives.count; i-- > 0;) {
        struct life *life = map_get(&rp->lives, logs[i]);

        if (life->tombstone.segment != NULL) {
            settle_tombstone(rp, life);
        } else if (life->seen[CONTROL_CREATED].segment == NULL &&
                   life->seen[CONTROL_LOST].segment == NULL) {
            /* Deleted so long ago that even that is forgotten; unless what told
             * of it was lost just now. Then it stays so: should that come back,
             * what followed may be gone. */
            if (rp->store->must_state) {
                control_exhume(rp->store, life->group->log,
                               rp->store->sequence_next - 1, NULL, 0);
            }
        } else if (map_get(&rp->store->groups, life->group->id) == NULL) {
            settle(rp, life);
        } else {
            control_exhume(rp->store, life->group->log,
                           rp->store->sequence_next - 1, NULL, 0);
        }
    }
    mem_free(logs);
}
