/* Control records: see control.h. Whatever is written, first or again, states
 * what is true at that moment; that is why queueing it once more is harmless,
 * and why a snapshot also says where the log ends: zombies, entries that were
 * cut off long ago but whose segment is still there, stay dead by it. */
#include "store/control.h"

#include "base/mem.h"
#include "store/batch.h"
#include "store/segment.h"

void
control_place(struct store *s, struct control *c, struct segment *seg,
              uint64_t span)
{
    struct segment *old = c->segment;

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT_IMPLIES(seg != NULL, span >= RECORD_HEADER_SIZE);
    if (old != NULL) {
        list_remove(&c->link);
        ASSERT(old->control_bytes >= c->span);
        ASSERT(s->live_bytes >= c->span);
        old->control_bytes -= c->span;
        s->live_bytes -= c->span;
        old->kill_batch = s->batch_next;
        s->must_maintain = s->must_maintain || old->entry_count == 0;
    }
    c->segment = seg;
    c->span = (uint32_t)span;
    if (seg != NULL) {
        list_push_back(&seg->controls, &c->link);
        seg->control_bytes += span;
        s->live_bytes += span;
    }
}

enum {
    CONTROL_RESOLVED_MAX = 1000
};

static struct place
add_snapshot(struct store *s, struct group *g, struct record *r)
{
    struct slice parts[2];

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(g->last_index >= g->snapshot.index);
    ASSERT(g->has_snapshot);
    buf_clear(&s->scratch);
    snapshot_encode(&s->scratch, &g->snapshot, &g->entries);
    parts[0] = (struct slice){NULL, s->scratch.data, s->scratch.size};
    parts[1] = g->snapshot.manifest;
    r->type = RECORD_SNAPSHOT;
    r->index = g->snapshot.index;
    r->term = g->last_index;
    return batch_add(s, r, parts, 2);
}

static struct place
add(struct store *s, struct group *g, enum control_kind kind, struct record *r)
{
    switch (kind) {
    case CONTROL_CREATED:
        r->type = RECORD_CREATED;
        r->entry_type =
            g->controls[CONTROL_CREATED].segment != NULL ? CREATED_AGAIN : 0;
        r->index = g->id;
        return batch_add(s, r, &g->header, 1);
    case CONTROL_HARD:
        r->type = RECORD_HARD;
        r->index = g->vote;
        r->term = g->term;
        return batch_add(s, r, NULL, 0);
    case CONTROL_SNAPSHOT:
        return add_snapshot(s, g, r);
    case CONTROL_CUT:
        r->type = RECORD_CUT;
        r->index = g->last_index;
        return batch_add(s, r, NULL, 0);
    case CONTROL_LOST:
        r->type = RECORD_LOST;
        r->index = g->id;
        return batch_add(s, r, NULL, 0);
    case CONTROL_TOMBSTONE:
    case CONTROL_STATE:
    default:
        UNREACHABLE("a group has no such record");
    }
}

uint64_t
control_write(struct store *s, struct group *g, enum control_kind kind)
{
    struct record r = {.log = g->log};
    struct place place;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(!g->is_volatile);
    place = add(s, g, kind, &r);
    control_place(s, &g->controls[kind], place.segment, record_span(r.size));
    return place.batch;
}

static uint64_t
write_tombstone(struct store *s, struct tombstone *t)
{
    struct record r = {
        .type = RECORD_DELETED, .log = t->log, .index = t->until};
    struct place place = batch_add(s, &r, NULL, 0);

    ASSERT(t->until > 0);
    ASSERT(t->control.kind == CONTROL_TOMBSTONE);
    control_place(s, &t->control, place.segment, record_span(r.size));
    return place.batch;
}

static struct tombstone *
tombstone_new(struct store *s, uint32_t log, uint64_t until)
{
    struct tombstone *t = mem_zalloc(1, sizeof(*t));

    ASSERT(until > 0);
    t->log = log;
    t->until = until;
    t->control.kind = CONTROL_TOMBSTONE;
    list_init(&t->control.link);
    list_push_back(&s->tombstones, &t->link);
    return t;
}

uint64_t
control_write_state(struct store *s)
{
    struct record r = {.type = RECORD_STATE, .index = s->is_unsure ? 1 : 0};
    const struct ranges *done = &s->resolved;
    struct slice body;
    struct place place;

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT(s->state.kind == CONTROL_STATE);
    buf_clear(&s->scratch);
    for (size_t i = 0; i < done->count && i < CONTROL_RESOLVED_MAX; i++) {
        /* The newest ones, should there be too many. */
        const struct range *at = &done->items[done->count - 1 - i];

        buf_put_varint(&s->scratch, at->first);
        buf_put_varint(&s->scratch, at->last - at->first);
    }
    body = (struct slice){NULL, s->scratch.data, s->scratch.size};
    place = batch_add(s, &r, &body, 1);
    control_place(s, &s->state, place.segment, record_span(r.size));
    s->must_state = false;
    return place.batch;
}

void
control_mend(struct store *s)
{
    uint64_t *ids = map_keys_sorted(&s->groups);
    bool wrote = s->must_state;
    struct list *it;

    OBJ_CHECK(s, STORE_MAGIC);
    for (size_t i = 0; i < s->groups.count; i++) {
        struct group *g = map_get(&s->groups, ids[i]);

        if (g->is_lost && g->controls[CONTROL_LOST].segment == NULL) {
            (void)control_write(s, g, CONTROL_LOST);
            wrote = true;
        }
    }
    mem_free(ids);
    list_foreach (it, &s->tombstones) {
        struct tombstone *t = list_entry(it, struct tombstone, link);

        if (t->control.segment == NULL) {
            (void)write_tombstone(s, t);
            wrote = true;
        }
    }
    if (s->must_state) {
        (void)control_write_state(s);
    }
    if (wrote) {
        s->flush_upto = s->batch_next;
        segments_hold(s);
    }
}

uint64_t
control_bury(struct store *s, const struct group *g)
{
    const struct segment *seg = g->controls[CONTROL_CREATED].segment;

    ASSERT(!g->is_volatile);
    /* Of a lost group, that record may be lost, too: it is in some segment. */
    ASSERT_IMPLIES(seg == NULL, g->is_lost);
    return write_tombstone(s,
                           tombstone_new(s, g->log,
                                         seg != NULL ? seg->header.sequence
                                                     : s->sequence_next - 1));
}

void
control_exhume(struct store *s, uint32_t log, uint64_t until,
               struct segment *seg, uint64_t span)
{
    struct tombstone *t = tombstone_new(s, log, until);

    control_place(s, &t->control, seg, span);
}

void
control_trim(struct store *s)
{
    uint64_t oldest = segment_oldest(s);
    struct list *it;
    struct list *next;

    OBJ_CHECK(s, STORE_MAGIC);
    list_foreach_safe (it, next, &s->tombstones) {
        struct tombstone *t = list_entry(it, struct tombstone, link);

        if (t->until >= oldest) {
            continue;
        }
        control_place(s, &t->control, NULL, 0);
        list_remove(&t->link);
        mem_free(t);
    }
}

void
control_rewrite(struct store *s, struct segment *seg)
{
    OBJ_CHECK(s, STORE_MAGIC);
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(seg->state == SEGMENT_SEALED);
    while (!list_is_empty(&seg->controls)) {
        struct control *c =
            list_entry(seg->controls.next, struct control, link);

        if (c->kind == CONTROL_STATE) {
            (void)control_write_state(s);
        } else if (c->kind == CONTROL_TOMBSTONE) {
            (void)write_tombstone(s,
                                  CONTAINER_OF(c, struct tombstone, control));
        } else {
            (void)control_write(s, c->group, c->kind);
        }
        ASSERT(c->segment != seg);
    }
    s->flush_upto = s->batch_next;
}
