/* The store's public face: it checks what callers promise, queues the records
 * that say what they want, and keeps the state in memory in step with them.
 *
 * Order matters in every function here. A record is queued before anything is
 * counted as dead by it, so that the segments of the dead wait for the right
 * batch; and the state that a record describes is set before it is queued. */
#include "store/store.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/batch.h"
#include "store/chores.h"
#include "store/control.h"
#include "store/group.h"
#include "store/read.h"
#include "store/recovery.h"
#include "store/segment.h"
#include "store/store_impl.h"
#include "store/walk.h"

enum {
    FAILURE_TEXT_SIZE = 256
};

void
store_fail(struct store *s, int rv, const char *what)
{
    char text[FAILURE_TEXT_SIZE];

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT(rv != 0);
    if (s->has_failed) {
        return;
    }
    s->has_failed = true;
    snprintf(text, sizeof(text),
             "store: %s: %s; what was confirmed is safe, but nothing more can "
             "be stored: check the disk, then start again",
             what, qr_error_text(rv));
    s->config.on_failure(s->config.arg, text);
}

static struct group *
get_group(const struct store *s, qr_group_id id)
{
    struct group *g;

    OBJ_CHECK(s, STORE_MAGIC);
    g = map_get(&s->groups, id);
    OBJ_CHECK(g, GROUP_MAGIC);
    return g;
}

int
store_open(const struct store_config *config, struct store **out,
           struct error *err)
{
    struct store *s;
    int rv;

    ASSERT(config->segment_size >= STORE_SEGMENT_SIZE_MIN);
    ASSERT(config->segment_size <= SEGMENT_SIZE_MAX);
    ASSERT(config->segment_size % SECTOR_SIZE == 0);
    ASSERT(config->on_durable != NULL);
    ASSERT(config->on_failure != NULL);
    s = mem_zalloc(1, sizeof(*s));
    s->magic = STORE_MAGIC;
    s->config = *config;
    s->disk = config->disk;
    map_init(&s->groups);
    map_init(&s->logs);
    list_init(&s->tombstones);
    list_init(&s->closed);
    list_init(&s->fetches);
    list_init(&s->state.link);
    s->state.kind = CONTROL_STATE;
    ranges_init(&s->resolved);
    buf_init(&s->scratch);
    cache_init(&s->cache, config->cache_size);
    s->log_next = 1;
    s->sequence_next = 1;
    s->batch_next = 1;
    rv = recovery_run(s, err);
    if (rv != 0) {
        store_close(&s);
        return error_wrap(err, rv, "open store");
    }
    s->must_maintain = true;
    control_mend(s);
    segment_ensure_spare(s);
    chores_start(s);
    *out = s;
    return 0;
}

bool
store_is_idle(const struct store *s)
{
    OBJ_CHECK(s, STORE_MAGIC);
    return !s->is_writing && s->creating == 0 && s->fetching == 0 &&
           !walk_is_reading(s);
}

static void
free_groups(struct store *s)
{
    size_t pos;
    uint64_t id;
    struct group *g;

    map_foreach (&s->groups, pos, id, g) {
        group_free(g);
    }
    map_deinit(&s->groups);
    map_deinit(&s->logs);
}

void
store_close(struct store **sp)
{
    struct store *s = *sp;
    struct list *it;

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT(s->disk->ops->inflight(s->disk) == 0);
    chores_stop(s);
    batch_drop_all(s);
    read_forget_all(s);
    free_groups(s);
    while ((it = list_pop_front(&s->tombstones)) != NULL) {
        mem_free(list_entry(it, struct tombstone, link));
    }
    for (size_t i = 1; i < s->segments_capacity; i++) {
        if (s->segments[i] != NULL) {
            segment_free(s, s->segments[i]);
        }
    }
    mem_free(s->segments);
    cache_deinit(&s->cache);
    ranges_deinit(&s->resolved);
    buf_deinit(&s->scratch);
    s->magic = 0;
    mem_free(s);
    *sp = NULL;
}

static void
fill_info(const struct group *g, struct store_group_info *out)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    out->id = g->id;
    out->header = g->header;
    out->is_volatile = g->is_volatile;
    out->term = g->term;
    out->vote = g->vote;
    out->has_snapshot = g->has_snapshot;
    out->snapshot = g->snapshot;
    out->first_index = g->snapshot.index + 1;
    out->last_index = g->last_index;
    out->is_lost = g->is_lost;
}

void
store_foreach_group(struct store *s,
                    void (*cb)(void *arg, const struct store_group_info *info),
                    void *arg)
{
    uint64_t *ids;
    size_t count;

    OBJ_CHECK(s, STORE_MAGIC);
    ids = map_keys_sorted(&s->groups);
    count = s->groups.count;
    for (size_t i = 0; i < count; i++) {
        struct store_group_info info;

        /* The callback may have deleted it. */
        if (store_group_info(s, ids[i], &info) == 0) {
            cb(arg, &info);
        }
    }
    mem_free(ids);
}

int
store_group_info(struct store *s, qr_group_id group,
                 struct store_group_info *out)
{
    const struct group *g;

    OBJ_CHECK(s, STORE_MAGIC);
    g = map_get(&s->groups, group);
    if (g == NULL) {
        return -QR_ENOENT;
    }
    fill_info(g, out);
    return 0;
}

uint64_t
store_group_create(struct store *s, qr_group_id group,
                   const struct slice *header, bool is_volatile)
{
    struct group *g;

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT(map_get(&s->groups, group) == NULL);
    ASSERT(s->groups.count < STORE_GROUPS_MAX);
    ASSERT(header->size <= STORE_GROUP_HEADER_SIZE_MAX);
    ASSERT(s->log_next < UINT32_MAX);
    g = group_new(group, is_volatile ? 0 : s->log_next++);
    g->is_volatile = is_volatile;
    g->header = group_keep_slice(header);
    map_put(&s->groups, group, g);
    if (!is_volatile) {
        map_put(&s->logs, g->log, g);
    }
    return is_volatile ? 0 : control_write(s, g, CONTROL_CREATED);
}

uint64_t
store_group_delete(struct store *s, qr_group_id group)
{
    struct group *g = get_group(s, group);
    struct group_ref ref = {s, g};
    uint64_t batch = 0;

    if (!g->is_volatile) {
        batch = control_bury(s, g);
        for (int kind = 0; kind < CONTROL_KINDS; kind++) {
            control_place(s, &g->controls[kind], NULL, 0);
        }
    }
    if (g->is_lost) {
        ASSERT(s->stats.groups_lost > 0);
        s->stats.groups_lost--;
    }
    group_stage_clear(s, g);
    group_log_cut(&g->entries, 1, group_drop_entry, &ref);
    map_remove(&s->groups, group);
    if (!g->is_volatile) {
        map_remove(&s->logs, g->log);
    }
    group_free(g);
    return batch;
}

uint64_t
store_hard_state(struct store *s, qr_group_id group, qr_term term,
                 qr_replica_id vote)
{
    struct group *g = get_group(s, group);

    ASSERT(term >= g->term);
    g->term = term;
    g->vote = vote;
    return g->is_volatile ? 0 : control_write(s, g, CONTROL_HARD);
}

/* Put the body of a volatile entry into LOC. */
static void
locate_in_memory(const struct store_entry *e, struct entry_loc *loc)
{
    struct slice data = slice_empty();

    ASSERT(e->data.size <= STORE_ENTRY_SIZE_MAX);
    memset(loc, 0, sizeof(*loc));
    loc->what = entry_loc_what(e->type, e->data.size);
    if (e->data.size == 0) {
        return;
    }
    data = group_keep_slice(&e->data);
    if (data.data - data.block->data > (ptrdiff_t)UINT32_MAX) {
        slice_unref(&data);
        data = slice_copy(e->data.data, e->data.size);
    }
    loc->block = data.block; /* with the reference */
    loc->cache = (uint32_t)(data.data - data.block->data);
}

uint64_t
entry_write(struct store *s, const struct group *g, struct record *r,
            const struct store_entry *e, struct entry_loc *loc)
{
    struct cache_key key = {g->log, r->index, e->term};
    struct place place;
    struct slice body;

    ASSERT(!g->is_volatile);
    ASSERT(r->index > 0);
    r->entry_type = e->type;
    r->log = g->log;
    r->term = e->term;
    place = batch_add(s, r, &e->data, 1);
    memset(loc, 0, sizeof(*loc));
    loc->segment = place.segment->slot;
    loc->offset = (uint32_t)(place.offset / RECORD_ALIGN);
    loc->what = entry_loc_what(e->type, e->data.size);
    if (e->data.size > 0) {
        body = group_keep_slice(&e->data);
        loc->cache = cache_add(&s->cache, &key, &body, place.batch);
        slice_unref(&body);
    }
    segment_add_live(s, place.segment, record_span(r->size));
    return place.batch;
}

static uint64_t
store_entry_record(struct store *s, const struct group *g, struct record *r,
                   const struct store_entry *e, struct entry_loc *loc)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(e->term > 0);
    ASSERT(e->type <= ENTRY_TYPE_MAX);
    ASSERT(e->data.size <= STORE_ENTRY_SIZE_MAX);
    if (g->is_volatile) {
        locate_in_memory(e, loc);
        return 0;
    }
    return entry_write(s, g, r, e, loc);
}

/* Cut off everything from FROM on; what says so has been queued. */
static void
cut_entries(struct store *s, struct group *g, qr_index from)
{
    struct group_ref ref = {s, g};

    ASSERT(from == g->last_index + 1 || from <= g->last_index);
    group_log_cut(&g->entries, from, group_drop_entry, &ref);
}

static uint64_t
append_nothing(struct store *s, struct group *g, qr_index first)
{
    uint64_t batch = s->durable;

    ASSERT(first > g->snapshot.index);
    if (first > g->last_index) {
        return g->is_volatile ? 0 : batch;
    }
    g->last_index = first - 1;
    if (!g->is_volatile) {
        batch = control_write(s, g, CONTROL_CUT);
    }
    cut_entries(s, g, first);
    return g->is_volatile ? 0 : batch;
}

uint64_t
store_append(struct store *s, qr_group_id group, qr_index first,
             const struct store_entry *entries, size_t count)
{
    struct group *g = get_group(s, group);
    uint64_t batch = 0;

    ASSERT(first > g->snapshot.index);
    ASSERT(first <= g->last_index + 1);
    if (count == 0) {
        return append_nothing(s, g, first);
    }
    for (size_t i = 0; i < count; i++) {
        struct record r = {.type = RECORD_ENTRY, .index = first + i};
        struct entry_loc loc;

        batch = store_entry_record(s, g, &r, &entries[i], &loc);
        if (i == 0 && first <= g->last_index) {
            cut_entries(s, g, first);
        }
        group_log_put(&g->entries, first + i, entries[i].term, &loc);
        if (!g->is_volatile) {
            group_add_tail(s, g, group_entry_span(&loc));
        }
    }
    g->last_index = first + count - 1;
    /* The first record cuts off what a cut may have had to. */
    control_place(s, &g->controls[CONTROL_CUT], NULL, 0);
    return batch;
}

uint64_t
store_snapshot(struct store *s, qr_group_id group,
               const struct store_snapshot *snapshot)
{
    struct group *g = get_group(s, group);
    struct group_ref ref = {s, g};
    uint64_t batch = 0;
    uint64_t kept;

    ASSERT(snapshot->index > g->snapshot.index);
    ASSERT(snapshot->index <= g->last_index);
    ASSERT(snapshot->configuration.size + snapshot->manifest.size <=
           STORE_ENTRY_SIZE_MAX);
    group_retire_tail(s, g, snapshot->index);
    group_set_snapshot(g, snapshot);
    if (!g->is_volatile) {
        batch = control_write(s, g, CONTROL_SNAPSHOT);
    }
    kept = group_log_keep(&g->entries, snapshot->index, &g->live,
                          group_drop_entry, &ref);
    /* What was released before cannot be live again. */
    ASSERT(kept == ranges_total(&g->live));
    control_place(s, &g->controls[CONTROL_CUT], NULL, 0);
    return batch;
}

uint64_t
store_stage(struct store *s, qr_group_id group, qr_index index,
            const struct store_entry *entry)
{
    struct group *g = get_group(s, group);
    struct record r = {.type = RECORD_STAGED, .index = index};
    struct entry_loc loc;
    uint64_t batch;

    ASSERT(index > 0);
    batch = store_entry_record(s, g, &r, entry, &loc);
    group_stage_add(g, index, entry->term, &loc);
    return batch;
}

void
store_stage_drop(struct store *s, qr_group_id group)
{
    group_stage_clear(s, get_group(s, group));
}

/* The first live entry that is neither staged nor present, or 0. */
static qr_index
find_missing(const struct group *g, const struct ranges *live)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    for (size_t i = 0; live != NULL && i < live->count; i++) {
        const struct range *range = &live->items[i];

        for (qr_index at = range->first; at <= range->last; at++) {
            if (group_stage_find(g, at) == NULL &&
                group_log_get(&g->entries, at) == NULL) {
                return at;
            }
        }
    }
    return 0;
}

/* Move what LIVE names out of G's stage and log, into OUT. */
static void
collect_live(struct group *g, const struct ranges *live, struct group_log *out)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(out->count == 0);
    for (size_t i = 0; live != NULL && i < live->count; i++) {
        const struct range *range = &live->items[i];

        for (qr_index at = range->first; at <= range->last; at++) {
            struct staged *st = group_stage_find(g, at);
            struct entry_loc *loc;

            if (st != NULL) {
                group_log_put(out, at, st->term, &st->loc);
                st->loc.what = 0;
                continue;
            }
            loc = group_log_get(&g->entries, at);
            ASSERT(loc != NULL);
            group_log_put(out, at, group_log_term(&g->entries, at), loc);
            loc->what = 0; /* moved: the old log goes away as a whole */
        }
    }
}

/* Staged entries that collect_live() took are no longer staged. */
static void
stage_forget_moved(struct group *g)
{
    size_t out = 0;

    for (size_t i = 0; i < g->staged_count; i++) {
        if (g->staged[i].loc.what != 0) {
            g->staged[out++] = g->staged[i];
        }
    }
    g->staged_count = out;
}

int
store_install(struct store *s, qr_group_id group,
              const struct store_snapshot *snapshot, uint64_t *batch,
              qr_index *missing)
{
    struct group *g = get_group(s, group);
    struct group_ref ref = {s, g};
    struct group_log old;
    struct group_log fresh;
    qr_index gap;

    ASSERT(snapshot->index > g->snapshot.index);
    ASSERT(snapshot->configuration.size + snapshot->manifest.size <=
           STORE_ENTRY_SIZE_MAX);
    group_stage_sort(s, g);
    gap = find_missing(g, snapshot->live);
    if (gap != 0) {
        *missing = gap;
        return -QR_ENOENT;
    }
    group_retire_tail(s, g, g->last_index);
    group_log_init(&fresh);
    collect_live(g, snapshot->live, &fresh);
    stage_forget_moved(g);
    old = g->entries;
    g->entries = fresh;
    group_set_snapshot(g, snapshot);
    g->last_index = snapshot->index;
    *batch = g->is_volatile ? 0 : control_write(s, g, CONTROL_SNAPSHOT);
    group_log_deinit(&old, group_drop_retired, &ref);
    group_stage_clear(s, g);
    control_place(s, &g->controls[CONTROL_CUT], NULL, 0);
    return 0;
}

void
store_flush(struct store *s)
{
    OBJ_CHECK(s, STORE_MAGIC);
    segment_maintain(s);
    if (s->config.timers == NULL) {
        segment_retry(s);
    }
    s->flush_upto = s->gather != NULL ? s->batch_next : s->batch_next - 1;
    batch_write_next(s);
}

uint64_t
store_durable(const struct store *s)
{
    OBJ_CHECK(s, STORE_MAGIC);
    return s->durable;
}

uint64_t
store_current(const struct store *s)
{
    OBJ_CHECK(s, STORE_MAGIC);
    return s->batch_next;
}

qr_term
store_term(const struct store *s, qr_group_id group, qr_index index)
{
    const struct group *g;

    OBJ_CHECK(s, STORE_MAGIC);
    g = map_get(&s->groups, group);
    if (g == NULL || index == 0) {
        return 0;
    }
    if (index == g->snapshot.index) {
        return g->snapshot.term;
    }
    return group_log_get(&g->entries, index) != NULL
               ? group_log_term(&g->entries, index)
               : 0;
}
