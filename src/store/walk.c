/* One segment at a time:
 *
 *   IDLE --> HEADER --> INDEX --> ITEMS --> IDLE
 *
 * Its headers and its index are read and verified, then every record in it that
 * is live, some together in one read; a timer spaces the reads out so that they
 * keep to their rate. What is bad and still in memory is written again. A
 * damaged entry is told; a damaged index has its segment emptied.
 *
 * Emptying a segment is the same walk: what is whole is written again at the
 * front of the log, as a copy (damage.c has what that means). It is worth its
 * while when more than half of what the log takes is dead; the segment with the
 * fewest live bytes comes first. What cannot be moved (it is damaged, or
 * staged) stays, and the segment is tried again later. */
#include "store/walk.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/batch.h"
#include "store/control.h"
#include "store/damage.h"
#include "store/segment.h"
#include "store/store_impl.h"

enum {
    WALK_MAGIC = 0x57414c4b,
    WALK_RETRY_MS = 60 * 1000, /* a segment that could not be emptied */
    WALK_STEP_MS = 1           /* between steps that read nothing */
};

enum walk_stage {
    WALK_IDLE,
    WALK_HEADER,
    WALK_INDEX,
    WALK_ITEMS
};

/* A live record of the segment. */
struct walk_item {
    enum record_type type;
    uint32_t log;
    uint32_t size;
    qr_index index;
    uint64_t offset;
};

struct walk {
    unsigned magic;
    struct store *store;
    enum walk_stage stage;
    struct segment *seg; /* one reader of it is this */
    bool moves;          /* empty it */
    bool one_by_one;     /* a read of several failed */
    bool is_reading;
    struct walk_item *items;
    size_t count;
    size_t capacity;
    size_t next;            /* the first item that is not dealt with */
    size_t limit;           /* of those that are being read */
    uint64_t done_sequence; /* the last segment of this pass */
    uint64_t pass_at_ms;    /* the next one does not begin before */
    struct block *block;
    struct iovec iov;
    struct disk_req req;
};

static uint64_t
now_of(const struct store *s)
{
    return s->config.now_ms(s->config.arg);
}

static bool
is_walkable(const struct segment *seg)
{
    return seg != NULL && seg->file != NULL && seg->is_durable &&
           !seg->is_restoring &&
           (seg->state == SEGMENT_ACTIVE ||
            (seg->state == SEGMENT_SEALED && seg->has_index));
}

/* Whether emptying SEG is possible, and gives back more than it takes. */
static bool
is_emptyable(const struct store *s, const struct segment *seg, uint64_t now)
{
    uint64_t live = seg->entry_bytes + seg->control_bytes;

    return is_walkable(seg) && seg->state == SEGMENT_SEALED && live > 0 &&
           seg->walk_after_ms <= now &&
           (seg->must_empty || live <= seg->header.size / 2) &&
           (!s->is_short || live < segment_room(s) / 2);
}

static struct segment *
pick_to_empty(const struct store *s, uint64_t now)
{
    bool crowded =
        stats_used_bytes(s) > 2 * s->live_bytes + s->config.segment_size;
    struct segment *best = NULL;

    OBJ_CHECK(s, STORE_MAGIC);
    for (size_t i = 1; i < s->segments_capacity; i++) {
        struct segment *seg = s->segments[i];

        if (!is_walkable(seg) || !is_emptyable(s, seg, now)) {
            continue;
        }
        if (seg->must_empty) {
            return seg;
        }
        if (crowded &&
            (best == NULL || seg->entry_bytes + seg->control_bytes <
                                 best->entry_bytes + best->control_bytes)) {
            best = seg;
        }
    }
    return best;
}

/* The oldest segment that this pass has not seen, or NULL. */
static struct segment *
pick_to_scrub(const struct walk *w)
{
    const struct store *s = w->store;
    struct segment *best = NULL;

    OBJ_CHECK(s, STORE_MAGIC);
    for (size_t i = 1; i < s->segments_capacity; i++) {
        struct segment *seg = s->segments[i];

        if (is_walkable(seg) && seg->header.sequence > w->done_sequence &&
            (best == NULL || seg->header.sequence < best->header.sequence)) {
            best = seg;
        }
    }
    return best;
}

static void
schedule(struct walk *w, uint64_t bytes)
{
    struct store *s = w->store;
    uint64_t rate = w->moves ? s->config.compact_rate : s->config.scrub_rate;
    uint64_t pause = rate > 0 ? bytes * 1000 / rate : 0;

    OBJ_CHECK(w, WALK_MAGIC);
    ASSERT(!w->is_reading);
    timers_start(s->config.timers, &s->walk_timer,
                 now_of(s) + MAX(pause, (uint64_t)WALK_STEP_MS));
}

static void
begin(struct walk *w, struct segment *seg, bool moves)
{
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(w->seg == NULL);
    w->seg = seg;
    seg->readers++;
    w->moves = moves;
    w->stage = WALK_HEADER;
    w->count = 0;
    w->next = 0;
    w->one_by_one = false;
}

/* Choose what to do next; false if nothing is due. */
static bool
choose(struct walk *w, uint64_t now)
{
    struct store *s = w->store;
    struct segment *seg = NULL;

    OBJ_CHECK(s, STORE_MAGIC);
    if (s->config.compact_rate > 0) {
        seg = pick_to_empty(s, now);
    }
    if (seg != NULL) {
        begin(w, seg, true);
        return true;
    }
    if (s->config.scrub_rate == 0) {
        return false;
    }
    if (now >= w->pass_at_ms) {
        seg = pick_to_scrub(w);
        if (seg != NULL) {
            begin(w, seg, false);
            return true;
        }
        s->stats.scrub_passes += w->done_sequence > 0;
        w->done_sequence = 0;
        w->pass_at_ms =
            now + (s->config.scrub_pause_ms > 0 ? s->config.scrub_pause_ms
                                                : STORE_SCRUB_PAUSE_MS);
    }
    timers_start(s->config.timers, &s->walk_timer, w->pass_at_ms);
    return false;
}

static void
finish(struct walk *w)
{
    struct store *s = w->store;
    struct segment *seg = w->seg;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->readers > 0);
    seg->readers--;
    if (w->moves) {
        seg->walk_after_ms = now_of(s) + WALK_RETRY_MS;
    } else {
        w->done_sequence = seg->header.sequence;
    }
    w->seg = NULL;
    w->stage = WALK_IDLE;
    s->must_maintain = true;
    segment_maintain(s);
    batch_write_next(s);
    schedule(w, 0);
}

static void
read_range(struct walk *w, uint64_t offset, uint64_t size,
           void (*done)(struct disk_req *req))
{
    struct store *s = w->store;

    OBJ_CHECK(w, WALK_MAGIC);
    ASSERT(!w->is_reading);
    ASSERT(w->block == NULL);
    ASSERT(offset + size <= w->seg->header.size);
    w->block = block_new((size_t)size);
    w->iov.iov_base = w->block->data;
    w->iov.iov_len = (size_t)size;
    memset(&w->req, 0, sizeof(w->req));
    w->req.done = done;
    w->req.arg = w;
    w->req.file = w->seg->file;
    w->req.offset = offset;
    w->req.iov = &w->iov;
    w->req.iov_count = 1;
    w->req.uncached = !w->moves;
    w->is_reading = true;
    s->disk->ops->read_async(s->disk, &w->req);
}

/* The read is over; how many bytes it had. */
static uint64_t
end_read(struct walk *w)
{
    OBJ_CHECK(w, WALK_MAGIC);
    ASSERT(w->is_reading);
    w->is_reading = false;
    if (!w->moves) {
        w->store->stats.scrubbed_bytes += w->iov.iov_len;
    }
    return w->iov.iov_len;
}

static void
drop_block(struct walk *w)
{
    if (w->block != NULL) {
        block_unref(w->block);
        w->block = NULL;
    }
}

static void
warn(const struct walk *w, const char *what)
{
    log_error(w->store->config.log, "store", "%s: its %s is damaged",
              w->seg->name, what);
}

static void
header_read(struct disk_req *req)
{
    struct walk *w = req->arg;
    struct segment *seg = w->seg;
    uint64_t bytes = end_read(w);
    bool good = req->result == 0;

    for (size_t i = 0; i < 2 && good; i++) {
        struct segment_header h;

        good =
            segment_header_decode(w->block->data + i * SECTOR_SIZE, &h) == 0 &&
            h.sequence == seg->header.sequence && h.use == SEGMENT_IN_USE;
    }
    drop_block(w);
    if (!good && !seg->is_restored) {
        warn(w, "header");
        w->store->stats.damages++;
        /* An active segment's request may be in use: the next pass, then. */
        if (seg->state == SEGMENT_SEALED) {
            segment_restore(w->store, seg);
            w->store->stats.repaired++;
        }
    }
    w->stage = WALK_INDEX;
    schedule(w, bytes);
}

/* The control record of KIND that R, in SEG, may be. */
static struct control *
control_of(struct store *s, const struct segment *seg,
           const struct walk_item *r)
{
    struct group *g = map_get(&s->logs, r->log);
    struct control *c = NULL;

    OBJ_CHECK(s, STORE_MAGIC);
    if (r->type == RECORD_STATE) {
        return s->state.segment == seg ? &s->state : NULL;
    }
    if (g != NULL && r->type == RECORD_SNAPSHOT) {
        c = &g->controls[CONTROL_SNAPSHOT];
    } else if (g != NULL && r->type == RECORD_CREATED) {
        c = &g->controls[CONTROL_CREATED];
    }
    return c != NULL && c->segment == seg ? c : NULL;
}

/* The place of R, an entry, if it is live and not known to be damaged. */
static struct entry_loc *
loc_of(const struct store *s, const struct segment *seg,
       const struct walk_item *r, struct group **group)
{
    struct group *g = map_get(&s->logs, r->log);
    struct entry_loc *loc;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    if (g == NULL) {
        return NULL;
    }
    loc = group_log_get(&g->entries, r->index);
    if (loc == NULL || entry_loc_is_damaged(loc) || loc->segment != seg->slot ||
        (uint64_t)loc->offset * RECORD_ALIGN != r->offset) {
        return NULL;
    }
    *group = g;
    return loc;
}

static bool
is_entry(enum record_type type)
{
    return type == RECORD_ENTRY || type == RECORD_STAGED || type == RECORD_COPY;
}

static void
list_item(struct walk *w, const struct walk_item *item)
{
    struct group *g;

    ASSERT(w->count <= w->capacity);
    if (is_entry(item->type) ? loc_of(w->store, w->seg, item, &g) == NULL
                             : control_of(w->store, w->seg, item) == NULL) {
        return;
    }
    if (w->count == w->capacity) {
        w->capacity = MAX((size_t)64, 2 * w->capacity);
        w->items = mem_realloc(w->items, w->capacity * sizeof(*w->items));
    }
    w->items[w->count++] = *item;
}

/* List what is live of the records that the index at DATA names. */
static void
list_index(struct walk *w, const uint8_t *data, size_t size)
{
    struct cursor c;
    uint64_t before = 0;

    ASSERT(w->count == 0);
    cursor_init(&c, data, size);
    while (cursor_left(&c) > 0) {
        struct record r;
        struct walk_item item;

        if (index_item_decode(&c, before, &r) != 0) {
            break;
        }
        before = r.offset + record_span(r.size);
        item = (struct walk_item){r.type, r.log, r.size, r.index, r.offset};
        if (before <= w->seg->durable_end) {
            list_item(w, &item);
        }
    }
}

static int
by_offset(const void *a, const void *b)
{
    const struct walk_item *x = a;
    const struct walk_item *y = b;

    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The same without an index: ask every group. Rare. */
static void
list_groups(struct walk *w)
{
    size_t pos;
    uint64_t id;
    struct group *g;

    ASSERT(w->count == 0);
    map_foreach (&w->store->logs, pos, id, g) {
        struct entry_loc *loc = NULL;
        qr_index at = 0;

        while ((at = group_log_next(&g->entries, at + 1, &loc)) != 0) {
            struct walk_item item = {
                RECORD_ENTRY, g->log, RECORD_HEADER_SIZE + entry_loc_size(loc),
                at, (uint64_t)entry_loc_offset(loc) * RECORD_ALIGN};

            if (loc->segment == w->seg->slot) {
                list_item(w, &item);
            }
        }
    }
    if (w->count > 0) {
        qsort(w->items, w->count, sizeof(*w->items), by_offset);
    }
}

static void
index_read(struct disk_req *req)
{
    struct walk *w = req->arg;
    struct segment *seg = w->seg;
    const uint8_t *data = w->block->data;
    uint64_t bytes = end_read(w);
    const uint8_t *end = data + bytes - TRAILER_SIZE;
    struct trailer t[2];

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    if (req->result == 0 && trailer_decode(data, seg->seed, &t[0]) &&
        trailer_decode(end, seg->seed, &t[1]) &&
        t[1].index_size <= seg->index_padded &&
        crc32c(seg->seed, data + TRAILER_SIZE, (size_t)seg->index_padded) ==
            t[1].index_crc) {
        list_index(w, data + TRAILER_SIZE, (size_t)t[1].index_size);
    } else {
        warn(w, "index");
        w->store->stats.damages++;
        seg->must_empty = true;
        list_groups(w);
    }
    drop_block(w);
    w->stage = WALK_ITEMS;
    schedule(w, bytes);
}

static void
step_index(struct walk *w)
{
    struct segment *seg = w->seg;
    uint64_t size = seg->index_padded + 2 * (uint64_t)TRAILER_SIZE;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    if (seg->is_indexed) {
        read_range(w, seg->header.size - size, size, index_read);
        return;
    }
    if (seg->state == SEGMENT_ACTIVE) {
        list_index(w, seg->index.data, seg->index.size);
    } else {
        list_groups(w);
    }
    w->stage = WALK_ITEMS;
    schedule(w, 0);
}

/* ITEM, an entry of G at LOC, cannot be read. */
static void
damaged_entry(struct walk *w, struct group *g, const struct walk_item *item,
              struct entry_loc *loc)
{
    struct store *s = w->store;
    struct cache_key key = {.log = g->log, .index = item->index};
    const struct slice *hit;
    struct slice data = slice_empty();

    OBJ_CHECK(g, GROUP_MAGIC);
    log_error(s->config.log, "store",
              "%s: offset %llu: entry %llu of group %llu is damaged",
              w->seg->name, (unsigned long long)item->offset,
              (unsigned long long)item->index, (unsigned long long)g->id);
    key.term = group_log_term(&g->entries, item->index);
    hit = cache_get(&s->cache, loc->cache, &key);
    if (hit == NULL && entry_loc_size(loc) > 0) {
        damage_mark(s, g, item->index, loc, true);
        return;
    }
    if (hit != NULL) {
        data = slice_ref(hit);
    }
    s->stats.damages++;
    s->stats.repaired++;
    (void)damage_rewrite(s, g, item->index, &data);
    slice_unref(&data);
}

static void
judge_control(struct walk *w, const struct walk_item *item, bool good)
{
    struct store *s = w->store;
    struct control *c = control_of(s, w->seg, item);

    if (c == NULL || good) {
        return;
    }
    warn(w, "control record");
    s->stats.damages++;
    s->stats.repaired++;
    if (c->kind == CONTROL_STATE) {
        (void)control_write_state(s);
    } else {
        (void)control_write(s, c->group, c->kind);
    }
}

/* ITEM is at DATA; NULL: it cannot be read. */
static void
judge(struct walk *w, const struct walk_item *item, const uint8_t *data)
{
    struct store *s = w->store;
    struct group *g = NULL;
    struct entry_loc *loc;
    struct record r;
    uint32_t crc;
    bool good =
        data != NULL && record_decode(data, item->size, &r, &crc) == 0 &&
        r.size == item->size && r.log == item->log && r.index == item->index;

    OBJ_CHECK(s, STORE_MAGIC);
    if (!is_entry(item->type)) {
        judge_control(w, item, good && r.type == item->type);
        return;
    }
    loc = loc_of(s, w->seg, item, &g);
    if (loc == NULL) {
        return; /* it died or moved meanwhile */
    }
    if (!good || !is_entry(r.type) ||
        r.term != group_log_term(&g->entries, item->index)) {
        damaged_entry(w, g, item, loc);
    } else if (w->moves) {
        struct slice body = slice_copy(data + RECORD_HEADER_SIZE,
                                       item->size - RECORD_HEADER_SIZE);

        s->stats.moved_bytes += item->size;
        (void)damage_rewrite(s, g, item->index, &body);
        slice_unref(&body);
    }
}

static void
items_read(struct disk_req *req)
{
    struct walk *w = req->arg;
    struct store *s = w->store;
    uint64_t bytes = end_read(w);
    uint64_t base = req->offset;

    ASSERT(w->limit > w->next);
    if (req->result != 0 && w->limit - w->next > 1) {
        w->one_by_one = true; /* which of them? */
        drop_block(w);
        schedule(w, bytes);
        return;
    }
    for (; w->next < w->limit; w->next++) {
        const struct walk_item *item = &w->items[w->next];

        judge(w, item,
              req->result == 0 ? w->block->data + (item->offset - base) : NULL);
    }
    drop_block(w);
    if (s->gather != NULL) {
        s->flush_upto = s->batch_next;
        batch_write_next(s);
    }
    schedule(w, bytes);
}

static void
step_items(struct walk *w)
{
    uint64_t from;
    uint64_t end;

    OBJ_CHECK(w, WALK_MAGIC);
    if (w->next == w->count) {
        finish(w);
        return;
    }
    from = w->items[w->next].offset;
    end = from + w->items[w->next].size;
    w->limit = w->next + 1;
    while (w->limit < w->count && !w->one_by_one &&
           w->items[w->limit].offset + w->items[w->limit].size - from <=
               STORE_WALK_SIZE) {
        end = w->items[w->limit].offset + w->items[w->limit].size;
        w->limit++;
    }
    read_range(w, from, end - from, items_read);
}

static void
on_walk(void *arg)
{
    struct store *s = arg;
    struct walk *w = s->walk;

    OBJ_CHECK(w, WALK_MAGIC);
    if (s->has_failed || w->is_reading ||
        (w->seg == NULL && !choose(w, now_of(s)))) {
        return;
    }
    switch (w->stage) {
    case WALK_HEADER:
        read_range(w, 0, SEGMENT_DATA_AT, header_read);
        break;
    case WALK_INDEX:
        step_index(w);
        break;
    case WALK_ITEMS:
        step_items(w);
        break;
    case WALK_IDLE:
    default:
        UNREACHABLE("a segment was chosen");
    }
}

void
walk_wake(struct store *s)
{
    struct walk *w = s->walk;

    OBJ_CHECK(s, STORE_MAGIC);
    if (w == NULL || w->is_reading || w->seg != NULL || s->has_failed) {
        return;
    }
    if ((s->config.compact_rate > 0 && pick_to_empty(s, now_of(s)) != NULL) ||
        (s->config.scrub_rate > 0 && !timer_is_running(&s->walk_timer))) {
        schedule(w, 0);
    }
}

bool
walk_is_reading(const struct store *s)
{
    return s->walk != NULL && s->walk->is_reading;
}

void
walk_start(struct store *s)
{
    struct walk *w;

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT(s->walk == NULL);
    timer_init(&s->walk_timer, on_walk, s);
    if (s->config.timers == NULL) {
        return;
    }
    w = mem_zalloc(1, sizeof(*w));
    w->magic = WALK_MAGIC;
    w->store = s;
    /* A start has more important things to do. */
    w->pass_at_ms =
        now_of(s) + (s->config.scrub_pause_ms > 0 ? s->config.scrub_pause_ms
                                                  : STORE_SCRUB_DELAY_MS);
    s->walk = w;
}

void
walk_stop(struct store *s)
{
    struct walk *w = s->walk;

    OBJ_CHECK(s, STORE_MAGIC);
    if (w == NULL) {
        return;
    }
    OBJ_CHECK(w, WALK_MAGIC);
    timers_stop(s->config.timers, &s->walk_timer);
    drop_block(w);
    mem_free(w->items);
    w->magic = 0;
    mem_free(w);
    s->walk = NULL;
}
