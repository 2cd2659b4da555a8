/* Holes in the log: whose records were lost in them?
 *
 * A hole is what cannot be told from anything: header and mark of a batch are
 * gone, or a record and the items that would tell what it was. Each batch
 * carries counts of all records up to it, so that a hole between two batches
 * is known to have held so many entries and so many other records, and, of one,
 * of which log it was. What remains open is held against everybody whom it may
 * have concerned:
 *
 * - Control records. Who has a newer hard state and a newer snapshot behind the
 *   hole, or was created behind it, is not concerned.
 * - Entries. Where a group's log goes on behind the hole, with a gap and in the
 *   same term, the gap tells how many it lost (settle.c gives the proof), and
 *   they are damaged, no more. When all that were lost are found that way,
 *   nobody else is concerned. Otherwise those are whose log does not go on
 *   behind the hole, so that its end may have been in it, and those where it
 *   goes on in another term, so that what lies before may have been replaced.
 *
 * What was concluded is written down (RECORD_LOST, RECORD_STATE), because the
 * evidence goes away with the segments that it lies in. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/control.h"
#include "store/read.h"
#include "store/replay.h"
#include "store/segment.h"

/* So many logs may have begun in a hole, and be known from nothing else. */
static const uint32_t logs_skipped = 1 << 18;

void
loss_record(struct replay *rp, const struct record *r)
{
    log_counts_add(&rp->counts, r);
}

void
loss_hole(struct replay *rp, uint64_t first, uint64_t last)
{
    struct loss *l;

    OBJ_CHECK(rp->store, STORE_MAGIC);
    ASSERT(first <= last);
    rp->losses = mem_realloc(rp->losses, (rp->holes + 1) * sizeof(*rp->losses));
    l = &rp->losses[rp->holes++];
    memset(l, 0, sizeof(*l));
    l->hole = rp->holes;
    l->first = first;
    l->last = last;
    rp->uncounted++;
}

/* Several holes before the counts are known again share what was lost: of each
 * it is said that it may have been all of it. */
void
loss_counts(struct replay *rp, const struct log_counts *counts)
{
    struct log_counts lost = log_counts_between(&rp->counts, counts);

    OBJ_CHECK(rp->store, STORE_MAGIC);
    ASSERT(rp->uncounted <= rp->holes);
    for (; rp->uncounted > 0; rp->uncounted--) {
        struct loss *l = &rp->losses[rp->holes - rp->uncounted];

        l->is_counted = rp->is_counted;
        l->lost = lost;
    }
    rp->counts = *counts;
    rp->is_counted = true;
}

void
loss_uncounted(struct replay *rp)
{
    rp->uncounted = 0;
    rp->is_counted = false;
}

/* The term of entry INDEX as replay knows it, or 0. */
static qr_term
term_at(const struct life *life, qr_index index)
{
    const struct group_log *log = &life->group->entries;

    OBJ_CHECK(life->group, GROUP_MAGIC);
    for (size_t i = life->copies_count; i-- > 0;) {
        if (life->copies[i].index == index) {
            return life->copies[i].term;
        }
    }
    return index > 0 && group_log_get(log, index) != NULL
               ? group_log_term(log, index)
               : 0;
}

void
loss_check(struct replay *rp, struct life *life, const struct record *r)
{
    qr_index base = life->group->snapshot.index;
    qr_index end = MAX(life->last_index, base);
    struct loss *l = &rp->losses[rp->holes - 1];
    uint32_t log = life->group->log;

    ASSERT(rp->holes > 0);
    ASSERT(r->type == RECORD_ENTRY);
    if (r->index <= base + 1) {
        return;
    }
    if (r->index > end + 1) {
        uint32_t gap = (uint32_t)(r->index - end - 1);

        /* settle_tail() judges the terms. */
        l->explained.entries += gap;
        l->explained.entry_sum += gap * log;
    } else if (term_at(life, r->index - 1) != r->term &&
               term_at(life, r->index) != r->term) {
        life->doubt = MAX(life->doubt, r->index - 1);
    }
}

static void
lose(struct replay *rp, struct life *life, const struct loss *l)
{
    OBJ_CHECK(life->group, GROUP_MAGIC);
    if (life->is_lost || life->tombstone.segment != NULL) {
        return;
    }
    log_error(rp->store->config.log, "store",
              "log %u may have had records in batches %llu to %llu, which are "
              "lost",
              life->group->log, (unsigned long long)l->first,
              (unsigned long long)l->last);
    life->is_lost = true;
}

/* Whether LIFE's control records are all newer than the hole. */
static bool
has_controls_since(const struct life *life, uint32_t hole)
{
    return life->created_at >= hole ||
           (life->hard_at >= hole && life->snapshot_at >= hole);
}

static void
judge_controls(struct replay *rp, const struct loss *l)
{
    size_t pos;
    uint64_t log;
    struct life *life;

    if (l->is_counted && l->lost.controls == 0) {
        return;
    }
    if (l->is_counted && l->lost.controls == 1) {
        life = map_get(&rp->lives, l->lost.control_sum);
        if (life == NULL || (life->seen[CONTROL_CREATED].segment == NULL &&
                             life->tombstone.segment == NULL)) {
            /* A creation, or, of log 0, what the store knew of this. */
            rp->store->is_unsure = true;
        } else if (!has_controls_since(life, l->hole)) {
            lose(rp, life, l);
        }
        return;
    }
    rp->store->is_unsure = true;
    map_foreach (&rp->lives, pos, log, life) {
        if (!has_controls_since(life, l->hole)) {
            lose(rp, life, l);
        }
    }
}

/* Whether what LIFE had in its log before the hole, and where that ended, is
 * beyond doubt. */
static bool
has_entries_since(const struct life *life, uint32_t hole)
{
    return life->created_at >= hole ||
           (life->end_at >= hole && life->doubt == 0);
}

static void
judge_entries(struct replay *rp, const struct loss *l)
{
    struct log_counts rest = log_counts_between(&l->explained, &l->lost);
    size_t pos;
    uint64_t log;
    struct life *life;

    if (l->is_counted && rest.entries == 0 && rest.entry_sum == 0) {
        return;
    }
    map_foreach (&rp->lives, pos, log, life) {
        if (l->is_counted && rest.entries == 1 && log != rest.entry_sum) {
            continue;
        }
        if (!has_entries_since(life, l->hole)) {
            lose(rp, life, l);
        }
    }
}

/* What was concluded at an earlier start. */
static void
read_state(struct replay *rp)
{
    struct store *s = rp->store;
    const struct sighting *at = &rp->state;
    struct record r;
    struct slice data;
    struct cursor c;

    OBJ_CHECK(s, STORE_MAGIC);
    if (at->segment == NULL) {
        return;
    }
    control_place(s, &s->state, at->segment, record_span(at->size));
    if (record_load(s, at->segment, at->offset, at->size, &r, &data) != 0 ||
        r.type != RECORD_STATE) {
        s->is_unsure = true;
        return;
    }
    s->is_unsure = r.index != 0;
    cursor_init(&c, data.data, data.size);
    while (cursor_left(&c) > 0) {
        uint64_t first = cursor_varint(&c);
        uint64_t more = cursor_varint(&c);

        if (c.bad || first > UINT64_MAX / 2 || more > UINT64_MAX / 4) {
            break;
        }
        ranges_add(&s->resolved, first, first + more);
    }
    slice_unref(&data);
}

static bool
is_resolved(const struct store *s, const struct loss *l)
{
    size_t at = ranges_find(&s->resolved, l->first);

    ASSERT(l->first <= l->last);
    return at < s->resolved.count && s->resolved.items[at].first <= l->first &&
           s->resolved.items[at].last >= l->last;
}

void
loss_judge(struct replay *rp)
{
    struct store *s = rp->store;

    bool may_hide = false;

    OBJ_CHECK(s, STORE_MAGIC);
    read_state(rp);
    for (uint32_t i = 0; i < rp->holes; i++) {
        const struct loss *l = &rp->losses[i];

        may_hide = may_hide || !l->is_counted || l->lost.controls > 0;
        if (is_resolved(s, l)) {
            continue;
        }
        judge_controls(rp, l);
        judge_entries(rp, l);
        ranges_add(&s->resolved, l->first, l->last);
        s->must_state = true;
    }
    if (may_hide) {
        /* Should the creation of a log that nobody knows come back, it must not
         * be that of another group. */
        s->log_next += MIN(logs_skipped, UINT32_MAX - s->log_next);
    }
}
