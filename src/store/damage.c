/* Damage and its repair.
 *
 * A damaged entry keeps its place in the group's log, with its term, so that
 * everything but its body can be told; the mark is a bit of its location.
 *
 * A body that is written again, because it was repaired or because its segment
 * is to be emptied, becomes a record of type COPY: it cuts nothing and says
 * "the log has this entry now". Recovery takes of several records for an index
 * the one written last. What such a record cannot do is tell where the log
 * ends: that was the job of the entry's first record, which may go away with
 * its segment. So a copy of the log's last entry is followed by a cut. */
#include "store/damage.h"

#include <quorate/error.h>
#include <string.h>

#include "base/mem.h"
#include "store/control.h"
#include "store/group.h"
#include "store/segment.h"
#include "store/store_impl.h"

static struct store_damage
describe(const struct group *g, qr_index index, const struct entry_loc *loc)
{
    struct store_damage d = {.kind = STORE_DAMAGE_ENTRY,
                             .group = g->id,
                             .index = index,
                             .term = group_log_term(&g->entries, index),
                             .type = entry_loc_type(loc)};

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(entry_loc_is_damaged(loc));
    return d;
}

void
damage_mark(struct store *s, struct group *g, qr_index index,
            struct entry_loc *loc, bool tell)
{
    struct store_damage d;

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT(!g->is_volatile);
    if (entry_loc_is_damaged(loc)) {
        return;
    }
    loc->offset |= ENTRY_LOC_DAMAGED;
    g->damaged++;
    s->stats.damaged++;
    s->stats.damages++;
    if (tell && s->config.on_damage != NULL) {
        d = describe(g, index, loc);
        s->config.on_damage(s->config.arg, &d);
    }
}

void
damage_at_read(struct store *s, const struct segment *seg, qr_group_id group,
               const struct record *want)
{
    struct group *g = map_get(&s->groups, group);
    struct entry_loc *loc;

    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(want->index > 0);
    if (g == NULL || g->log != want->log) {
        return;
    }
    loc = group_log_get(&g->entries, want->index);
    if (loc != NULL && loc->segment == seg->slot &&
        (uint64_t)entry_loc_offset(loc) * RECORD_ALIGN == want->offset) {
        damage_mark(s, g, want->index, loc, true);
    }
}

static void
list_entries(const struct group *g,
             void (*cb)(void *arg, const struct store_damage *damage),
             void *arg)
{
    struct entry_loc *loc = NULL;
    qr_index at = 0;
    uint64_t found = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    while (found < g->damaged &&
           (at = group_log_next(&g->entries, at + 1, &loc)) != 0) {
        if (entry_loc_is_damaged(loc)) {
            struct store_damage d = describe(g, at, loc);

            cb(arg, &d);
            found++;
        }
    }
    ASSERT(found == g->damaged);
}

void
store_foreach_damage(struct store *s,
                     void (*cb)(void *arg, const struct store_damage *damage),
                     void *arg)
{
    uint64_t *ids;

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT(cb != NULL);
    ids = map_keys_sorted(&s->groups);
    for (size_t i = 0; i < s->groups.count; i++) {
        const struct group *g = map_get(&s->groups, ids[i]);

        if (g->is_lost) {
            struct store_damage d = {.kind = STORE_DAMAGE_MEMORY,
                                     .group = g->id};

            cb(arg, &d);
        } else if (!g->is_volatile) {
            list_entries(g, cb, arg);
        }
    }
    mem_free(ids);
    if (s->is_unsure) {
        struct store_damage d = {.kind = STORE_DAMAGE_MEMORY};

        cb(arg, &d);
    }
}

bool
store_is_damaged(const struct store *s, qr_group_id group, qr_index index)
{
    const struct group *g;
    const struct entry_loc *loc;

    OBJ_CHECK(s, STORE_MAGIC);
    g = map_get(&s->groups, group);
    if (g == NULL || g->damaged == 0) {
        return false;
    }
    loc = group_log_get(&g->entries, index);
    return loc != NULL && entry_loc_is_damaged(loc);
}

uint64_t
damage_rewrite(struct store *s, struct group *g, qr_index index,
               const struct slice *data)
{
    struct entry_loc *loc = group_log_get(&g->entries, index);
    struct store_entry e = {.term = group_log_term(&g->entries, index),
                            .type = entry_loc_type(loc),
                            .data = *data};
    struct record r = {.type = RECORD_COPY, .index = index};
    struct group_ref ref = {s, g};
    struct entry_loc old = *loc;
    uint64_t batch;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(!g->is_volatile);
    batch = entry_write(s, g, &r, &e, loc);
    if (index > g->snapshot.index) {
        group_add_tail(s, g, group_entry_span(loc));
    }
    group_drop_entry(&ref, index, &old);
    if (index == g->last_index && index > g->snapshot.index) {
        batch = control_write(s, g, CONTROL_CUT);
    }
    return batch;
}

int
store_repair(struct store *s, qr_group_id group, qr_index index,
             const struct store_entry *entry, uint64_t *batch)
{
    struct group *g = map_get(&s->groups, group);
    struct entry_loc *loc;
    uint8_t type;

    OBJ_CHECK(s, STORE_MAGIC);
    loc = g != NULL && !g->is_lost ? group_log_get(&g->entries, index) : NULL;
    if (loc == NULL) {
        return -QR_ENOENT;
    }
    if (g->is_volatile || !entry_loc_is_damaged(loc)) {
        *batch = 0;
        return 0;
    }
    type = entry_loc_type(loc);
    if (entry->term != group_log_term(&g->entries, index) ||
        entry->data.size > STORE_ENTRY_SIZE_MAX ||
        entry->type == STORE_TYPE_UNKNOWN || entry->type > ENTRY_TYPE_MAX ||
        (type != STORE_TYPE_UNKNOWN &&
         (entry->type != type || entry->data.size != entry_loc_size(loc)))) {
        return -QR_ECONFLICT;
    }
    loc->what = entry_loc_what(entry->type, entry_loc_size(loc));
    *batch = damage_rewrite(s, g, index, &entry->data);
    s->stats.repaired++;
    ASSERT(!entry_loc_is_damaged(group_log_get(&g->entries, index)));
    return 0;
}

void
store_accept_loss(struct store *s)
{
    OBJ_CHECK(s, STORE_MAGIC);
    if (s->is_unsure) {
        s->is_unsure = false;
        (void)control_write_state(s);
    }
}
