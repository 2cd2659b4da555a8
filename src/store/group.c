/* What the store keeps in memory of one group. An entry is accounted for where
 * it lies: to its segment as live, and to the store as tail while no snapshot
 * stands for it. */
#include "store/group.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/segment.h"

struct slice
group_keep_slice(const struct slice *s)
{
    return s->block != NULL ? slice_ref(s) : slice_copy(s->data, s->size);
}

struct group *
group_new(qr_group_id id, uint32_t log)
{
    struct group *g = mem_zalloc(1, sizeof(*g));

    g->magic = GROUP_MAGIC;
    g->id = id;
    g->log = log;
    group_log_init(&g->entries);
    ranges_init(&g->live);
    for (int kind = 0; kind < CONTROL_KINDS; kind++) {
        list_init(&g->controls[kind].link);
        g->controls[kind].group = g;
        g->controls[kind].kind = (enum control_kind)kind;
    }
    return g;
}

static void
drop_memory(void *arg, qr_index index, const struct entry_loc *loc)
{
    (void)arg;
    (void)index;
    block_unref(loc->block);
}

void
group_free(struct group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    group_log_deinit(&g->entries, g->is_volatile ? drop_memory : NULL, NULL);
    for (size_t i = 0; g->is_volatile && i < g->staged_count; i++) {
        block_unref(g->staged[i].loc.block);
    }
    mem_free(g->staged);
    slice_unref(&g->header);
    slice_unref(&g->snapshot.configuration);
    slice_unref(&g->snapshot.manifest);
    ranges_deinit(&g->live);
    g->magic = 0;
    mem_free(g);
}

uint64_t
group_entry_span(const struct entry_loc *loc)
{
    return record_span(RECORD_HEADER_SIZE + (uint64_t)entry_loc_size(loc));
}

void
group_add_tail(struct store *s, struct group *g, uint64_t span)
{
    ASSERT(!g->is_volatile);
    ASSERT(span >= RECORD_HEADER_SIZE);
    s->tail_bytes += span;
    g->tail_bytes += span;
}

void
group_sub_tail(struct store *s, struct group *g, uint64_t span)
{
    ASSERT(g->tail_bytes >= span);
    ASSERT(s->tail_bytes >= span);
    s->tail_bytes -= span;
    g->tail_bytes -= span;
}

static void
drop_loc(struct group_ref *ref, qr_index index, const struct entry_loc *loc)
{
    struct store *s = ref->store;
    struct group *g = ref->group;

    OBJ_CHECK(s, STORE_MAGIC);
    if (g->is_volatile) {
        block_unref(loc->block);
        return;
    }
    if (entry_loc_is_damaged(loc)) {
        ASSERT(g->damaged > 0);
        ASSERT(s->stats.damaged > 0);
        g->damaged--;
        s->stats.damaged--;
    }
    segment_kill(s, segment_at(s, loc->segment), group_entry_span(loc));
    cache_drop(&s->cache, loc->cache, g->log, index);
}

void
group_drop_entry(void *arg, qr_index index, const struct entry_loc *loc)
{
    struct group_ref *ref = arg;
    struct store *s = ref->store;

    OBJ_CHECK(ref->group, GROUP_MAGIC);
    drop_loc(ref, index, loc);
    if (!ref->group->is_volatile && index > ref->group->snapshot.index) {
        group_sub_tail(s, ref->group, group_entry_span(loc));
    }
}

void
group_drop_retired(void *arg, qr_index index, const struct entry_loc *loc)
{
    struct group_ref *ref = arg;

    OBJ_CHECK(ref->group, GROUP_MAGIC);
    drop_loc(ref, index, loc);
}

void
group_retire_tail(struct store *s, struct group *g, qr_index last)
{
    struct entry_loc *loc = NULL;
    qr_index at = last;
    uint64_t left = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(last <= g->last_index);
    /* What is left is usually little: snapshots are taken of what was applied
     * a moment ago. */
    while ((at = group_log_next(&g->entries, at + 1, &loc)) != 0) {
        left += group_entry_span(loc);
    }
    if (!g->is_volatile) {
        group_sub_tail(s, g, g->tail_bytes - left);
    }
}

void
group_stage_add(struct group *g, qr_index index, qr_term term,
                const struct entry_loc *loc)
{
    struct staged *st;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(index > 0);
    if (g->staged_count == g->staged_capacity) {
        g->staged_capacity =
            g->staged_capacity == 0 ? 16 : g->staged_capacity * 2;
        g->staged =
            mem_realloc(g->staged, g->staged_capacity * sizeof(*g->staged));
    }
    st = &g->staged[g->staged_count];
    st->index = index;
    st->term = term;
    st->loc = *loc;
    st->order = g->staged_count++;
}

void
group_stage_clear(struct store *s, struct group *g)
{
    struct group_ref ref = {s, g};

    OBJ_CHECK(g, GROUP_MAGIC);
    for (size_t i = 0; i < g->staged_count; i++) {
        drop_loc(&ref, g->staged[i].index, &g->staged[i].loc);
    }
    mem_free(g->staged);
    g->staged = NULL;
    g->staged_count = 0;
    g->staged_capacity = 0;
}

static int
by_index(const void *a, const void *b)
{
    const struct staged *x = a;
    const struct staged *y = b;

    if (x->index != y->index) {
        return x->index < y->index ? -1 : 1;
    }
    return x->order < y->order ? -1 : x->order > y->order;
}

void
group_stage_sort(struct store *s, struct group *g)
{
    struct group_ref ref = {s, g};
    size_t out = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->staged_count == 0) {
        return;
    }
    qsort(g->staged, g->staged_count, sizeof(*g->staged), by_index);
    for (size_t i = 0; i < g->staged_count; i++) {
        if (i + 1 < g->staged_count &&
            g->staged[i + 1].index == g->staged[i].index) {
            if (s != NULL) {
                drop_loc(&ref, g->staged[i].index, &g->staged[i].loc);
            }
            continue;
        }
        g->staged[out] = g->staged[i];
        g->staged[out].order = out;
        out++;
    }
    g->staged_count = out;
}

struct staged *
group_stage_find(const struct group *g, qr_index index)
{
    size_t low = 0;
    size_t high = g->staged_count;

    OBJ_CHECK(g, GROUP_MAGIC);
    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (g->staged[mid].index < index) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < g->staged_count && g->staged[low].index == index
               ? &g->staged[low]
               : NULL;
}

void
group_set_snapshot(struct group *g, const struct store_snapshot *snapshot)
{
    struct slice configuration = group_keep_slice(&snapshot->configuration);
    struct slice manifest = group_keep_slice(&snapshot->manifest);
    const struct ranges *live = snapshot->live;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(snapshot->index > 0);
    ASSERT(live != &g->live);
    slice_unref(&g->snapshot.configuration);
    slice_unref(&g->snapshot.manifest);
    g->snapshot = *snapshot;
    g->snapshot.configuration = configuration;
    g->snapshot.manifest = manifest;
    ranges_clear(&g->live);
    for (size_t i = 0; live != NULL && i < live->count; i++) {
        ranges_add(&g->live, live->items[i].first, live->items[i].last);
    }
    g->snapshot.live = &g->live;
    g->has_snapshot = true;
}
