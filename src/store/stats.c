/* What the store holds, and who holds it up. */
#include <stdlib.h>

#include "base/mem.h"
#include "store/segment.h"
#include "store/store_impl.h"

enum {
    PRESSED_SEGMENTS = 4
};

static const uint64_t pressed_slack_max = 256ull << 20;

void
store_stats(const struct store *s, struct store_stats *out)
{
    struct store_stats stats;

    OBJ_CHECK(s, STORE_MAGIC);
    stats = s->stats;
    stats.segments = 0;
    stats.segments_free = 0;
    stats.disk_bytes = 0;
    for (size_t i = 1; i < s->segments_capacity; i++) {
        const struct segment *seg = s->segments[i];

        if (seg == NULL) {
            continue;
        }
        stats.segments++;
        stats.segments_free += seg->state == SEGMENT_FREE;
        stats.disk_bytes += seg->header.size;
    }
    stats.live_bytes = s->live_bytes;
    stats.cache_bytes = s->cache.bytes;
    *out = stats;
}

uint64_t
stats_used_bytes(const struct store *s)
{
    uint64_t used = 0;

    for (size_t i = 1; i < s->segments_capacity; i++) {
        const struct segment *seg = s->segments[i];

        if (seg != NULL && seg->state != SEGMENT_FREE) {
            used += seg->header.size;
        }
    }
    return used;
}

/* Entries that no snapshot stands for do not count as live here: most of them
 * may be dead, and only a snapshot can tell. */
bool
store_is_pressed(const struct store *s)
{
    uint64_t slack;

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT(s->live_bytes >= s->tail_bytes);
    slack = MIN(pressed_slack_max, PRESSED_SEGMENTS * s->config.segment_size);
    return stats_used_bytes(s) > 2 * (s->live_bytes - s->tail_bytes) + slack;
}

/* The segment, by sequence, of the first entry after G's snapshot, if it is
 * not the one being written to; otherwise UINT64_MAX. */
static uint64_t
pinned_sequence(const struct store *s, const struct group *g)
{
    struct entry_loc *loc = NULL;
    const struct segment *seg;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->is_volatile || g->last_index <= g->snapshot.index ||
        group_log_next(&g->entries, g->snapshot.index + 1, &loc) == 0) {
        return UINT64_MAX;
    }
    seg = segment_at(s, loc->segment);
    return seg == s->active ? UINT64_MAX : seg->header.sequence;
}

static int
by_id(const void *a, const void *b)
{
    const qr_group_id *x = a;
    const qr_group_id *y = b;

    return *x < *y ? -1 : *x > *y;
}

size_t
store_pinning_groups(struct store *s, qr_group_id *out, size_t max)
{
    uint64_t oldest = UINT64_MAX;
    size_t count = 0;
    size_t pos;
    uint64_t id;
    struct group *g;

    OBJ_CHECK(s, STORE_MAGIC);
    map_foreach (&s->groups, pos, id, g) {
        oldest = MIN(oldest, pinned_sequence(s, g));
    }
    if (oldest == UINT64_MAX) {
        return 0;
    }
    map_foreach (&s->groups, pos, id, g) {
        if (count < max && pinned_sequence(s, g) == oldest) {
            out[count++] = id;
        }
    }
    qsort(out, count, sizeof(*out), by_id);
    return count;
}
