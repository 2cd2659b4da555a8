/* The state as bytes: the same bytes for the same state on every replica.
 *
 * Sessions, and the consumers of each, come in the order of their ids, not of
 * the hash tables that hold them; turns name consumers by their place in that
 * order.
 *
 * Messages are most of it. They are written as runs (messages of one entry, of
 * one size, at equal distances), each coded by its distance from the one
 * before; and runs whose bytes come out equal are written once, with how often
 * they repeat. A backlog of equal messages published at a steady pace costs
 * next to nothing, one of random sizes about five bytes a message. */
#include "machine/queue/queue_snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "base/ranges.h"

/* Writes one list. */
struct queue_writer {
    struct buf *out;
    struct buf last; /* the bytes of the last run, not yet written */
    struct buf next; /* those of the one being coded */
    uint64_t repeats;
    enum queue_list list;
    struct queue_place place;
    struct queue_run run; /* length 0: none yet */
};

/* The indexes of held and returned messages: in no order, in the way of LIVE's
 * preference for ascending ones. */
struct queue_indexes {
    qr_index *items;
    size_t count;
    size_t capacity;
};

static void
queue_writer_init(struct queue_writer *w, struct buf *out, enum queue_list list,
                  uint64_t total)
{
    memset(w, 0, sizeof(*w));
    w->out = out;
    w->list = list;
    buf_init(&w->last);
    buf_init(&w->next);
    buf_put_varint(out, total);
}

/* Code the run by its distance from the place, and move the place behind. */
static void
queue_writer_code(struct queue_writer *w)
{
    const struct queue_run *run = &w->run;
    const struct queue_message *first = &run->first.item.message;
    struct buf *b = &w->next;
    uint64_t end = first->index == w->place.index ? w->place.end : 0;
    uint64_t stride = (uint64_t)first->size + run->gap;

    ASSERT(run->length > 0);
    buf_clear(b);
    buf_put_varint(b, run->length);
    buf_put_varint(b, queue_zigzag(w->place.index, first->index));
    buf_put_varint(b, queue_zigzag(end, first->offset));
    buf_put_varint(b, first->size);
    if (run->length > 1) {
        buf_put_varint(b, run->gap);
    }
    if (w->list != QUEUE_LIST_READY) {
        buf_put_varint(b, run->first.item.count);
    }
    if (w->list == QUEUE_LIST_HELD) {
        ASSERT(run->first.delivery > w->place.delivery);
        buf_put_varint(b, run->first.delivery - w->place.delivery);
    }
    w->place.index = first->index;
    w->place.end = first->offset + stride * (run->length - 1) + first->size;
    w->place.delivery = run->first.delivery + run->length - 1;
}

/* Write the last run. */
static void
queue_writer_flush(struct queue_writer *w)
{
    if (w->repeats > 0) {
        buf_put_varint(w->out, w->repeats);
        buf_put(w->out, w->last.data, w->last.size);
    }
    w->repeats = 0;
}

/* The run is complete: it repeats the last one, or becomes it. */
static void
queue_writer_end_run(struct queue_writer *w)
{
    struct buf swap = w->last;

    if (w->run.length == 0) {
        return;
    }
    queue_writer_code(w);
    w->run.length = 0;
    if (w->repeats > 0 && w->last.size == w->next.size &&
        memcmp(w->last.data, w->next.data, w->next.size) == 0) {
        w->repeats++;
        return;
    }
    queue_writer_flush(w);
    w->last = w->next;
    w->next = swap;
    w->repeats = 1;
}

/* Whether H goes on where the run ends; the distance between two messages is
 * that of the first two. */
static bool
queue_writer_extend(struct queue_writer *w, const struct queue_held *h)
{
    struct queue_run *run = &w->run;
    const struct queue_message *a = &run->first.item.message;
    const struct queue_message *b = &h->item.message;
    uint64_t end = a->offset + (uint64_t)a->size * run->length +
                   (uint64_t)run->gap * (run->length - 1);

    if (a->index != b->index || a->size != b->size || b->offset < end ||
        run->first.item.count != h->item.count) {
        return false;
    }
    if (w->list == QUEUE_LIST_HELD &&
        h->delivery != run->first.delivery + run->length) {
        return false;
    }
    if (run->length > 1 && b->offset - end != run->gap) {
        return false;
    }
    run->gap = (uint32_t)(b->offset - end);
    run->length++;
    return true;
}

static void
queue_writer_add(struct queue_writer *w, const struct queue_held *h)
{
    ASSERT(h->item.message.index > 0);
    if (w->run.length > 0 && queue_writer_extend(w, h)) {
        return;
    }
    queue_writer_end_run(w);
    w->run.length = 1;
    w->run.gap = 0;
    w->run.first = *h;
}

static void
queue_writer_finish(struct queue_writer *w)
{
    queue_writer_end_run(w);
    queue_writer_flush(w);
    buf_deinit(&w->last);
    buf_deinit(&w->next);
}

static void
queue_indexes_add(struct queue_indexes *x, qr_index index)
{
    ASSERT(index > 0);
    ASSERT(x->count < x->capacity);
    x->items[x->count] = index;
    x->count++;
}

/* What was set aside need not be kept: nobody has it. */
static void
queue_indexes_drop(struct queue_indexes *x, const struct ranges *aside)
{
    size_t kept = 0;

    for (size_t i = 0; i < x->count; i++) {
        if (!ranges_has(aside, x->items[i])) {
            x->items[kept++] = x->items[i];
        }
    }
    x->count = kept;
}

static int
queue_index_compare(const void *a, const void *b)
{
    qr_index x = *(const qr_index *)a;
    qr_index y = *(const qr_index *)b;

    return (x > y) - (x < y);
}

static void
queue_snapshot_held(const struct queue_consumer *c, struct buf *out,
                    struct queue_indexes *indexes)
{
    struct queue_writer w;

    queue_writer_init(&w, out, QUEUE_LIST_HELD, c->held_count);
    for (size_t slot = 0; slot < c->held.count; slot++) {
        const struct queue_held *h = queue_consumer_held(c, slot);

        if (h != NULL) {
            queue_writer_add(&w, h);
            queue_indexes_add(indexes, h->item.message.index);
        }
    }
    queue_writer_finish(&w);
}

static void
queue_snapshot_consumer(const struct queue_consumer *c, struct buf *out,
                        struct queue_indexes *indexes)
{
    OBJ_CHECK(c, QUEUE_CONSUMER_MAGIC);
    buf_put_u8(out, (uint8_t)c->state);
    buf_put_varint(out, c->flags);
    buf_put_varint(out, c->credit);
    buf_put_blob(out, c->tag, c->tag_size);
    buf_put_varint(out, c->delivery_next);
    queue_snapshot_held(c, out, indexes);
}

/* S's number and last result, without its consumers. */
static void
queue_snapshot_result(const struct queue_session *s, struct buf *out)
{
    const struct queue_result *r = &s->result;

    ASSERT(s->magic == QUEUE_SESSION_MAGIC);
    ASSERT(r->seq <= s->applied);
    if (MUTATION(drop_dedup)) {
        buf_put_varint(out, 0);
        buf_put_varint(out, 0);
        return;
    }
    buf_put_varint(out, s->applied);
    buf_put_varint(out, r->seq);
    if (r->seq > 0) {
        buf_put_u8(out, (uint8_t)r->status);
        buf_put_varint(out, r->consumer);
        buf_put_varint(out, r->delivery);
        buf_put_varint(out, r->value);
    }
}

/* All sessions with all consumers, which get their ordinals. */
static void
queue_snapshot_sessions(struct queue_machine *m, struct buf *out,
                        struct queue_indexes *indexes)
{
    uint64_t *ids = map_keys_sorted(&m->sessions);
    uint64_t before = 0;
    uint32_t ordinal = 0;

    buf_put_varint(out, m->sessions.count);
    for (size_t i = 0; i < m->sessions.count; i++) {
        const struct queue_session *s = map_get(&m->sessions, ids[i]);
        uint64_t *consumer_ids = map_keys_sorted(&s->consumers);
        uint64_t consumer_before = 0;

        buf_put_varint(out, ids[i] - before);
        before = ids[i];
        queue_snapshot_result(s, out);
        buf_put_varint(out, s->consumers.count);
        for (size_t j = 0; j < s->consumers.count; j++) {
            struct queue_consumer *c = queue_consumer_find(s, consumer_ids[j]);

            buf_put_varint(out, c->id - consumer_before);
            consumer_before = c->id;
            c->ordinal = ordinal++;
            queue_snapshot_consumer(c, out, indexes);
        }
        mem_free(consumer_ids);
    }
    ASSERT(ordinal == m->consumer_count);
    mem_free(ids);
}

/* Whose turn it is: ordinals, the next one first. */
static void
queue_snapshot_turns(const struct queue_machine *m, struct buf *out)
{
    struct list *it = NULL;
    uint64_t count = 0;

    list_foreach (it, &m->turns) {
        count++;
    }
    ASSERT(count <= m->attached_count);
    buf_put_varint(out, count);
    list_foreach (it, &m->turns) {
        const struct queue_consumer *c =
            list_entry(it, struct queue_consumer, turn);

        buf_put_varint(out, c->ordinal);
    }
}

static void
queue_snapshot_dead(const struct queue_machine *m, struct buf *out)
{
    qr_node_id before = 0;

    buf_put_varint(out, m->dead_count);
    for (size_t i = 0; i < m->dead_count; i++) {
        ASSERT(i == 0 || m->dead[i].node > before);
        buf_put_varint(out, m->dead[i].node - before);
        buf_put_varint(out, m->dead[i].boot);
        before = m->dead[i].node;
    }
}

static void
queue_snapshot_returned(const struct queue_machine *m, struct buf *out,
                        struct queue_indexes *indexes)
{
    struct queue_item *items = queue_ready_returned_sorted(&m->ready);
    struct queue_writer w;

    queue_writer_init(&w, out, QUEUE_LIST_RETURNED, m->ready.returned_count);
    for (size_t i = 0; i < m->ready.returned_count; i++) {
        struct queue_held h = {.item = items[i]};

        queue_writer_add(&w, &h);
        queue_indexes_add(indexes, items[i].message.index);
    }
    queue_writer_finish(&w);
    mem_free(items);
}

/* Fresh messages; LIVE gets their indexes and INDEXES, merged. */
static void
queue_snapshot_fresh(const struct queue_machine *m, struct buf *out,
                     const struct queue_indexes *indexes, struct ranges *live)
{
    struct queue_walk walk = {m->ready.head, 0};
    struct queue_held h = {.delivery = 0};
    struct queue_writer w;
    size_t i = 0;

    queue_writer_init(&w, out, QUEUE_LIST_READY, m->ready.fresh_count);
    while (queue_ready_walk(&walk, &h.item.message)) {
        qr_index index = h.item.message.index;

        for (; i < indexes->count && indexes->items[i] <= index; i++) {
            ranges_add(live, indexes->items[i], indexes->items[i]);
        }
        if (!MUTATION(drop_live) || index % 16 != 0) {
            ranges_add(live, index, index);
        }
        queue_writer_add(&w, &h);
    }
    for (; i < indexes->count; i++) {
        ranges_add(live, indexes->items[i], indexes->items[i]);
    }
    queue_writer_finish(&w);
}

void
queue_machine_snapshot(struct queue_machine *m, struct buf *out,
                       struct ranges *live)
{
    struct queue_indexes indexes = {.count = 0};

    OBJ_CHECK(m, QUEUE_MACHINE_MAGIC);
    ASSERT(list_is_empty(&m->touched));
    indexes.capacity = (size_t)m->held_count + m->ready.returned_count;
    indexes.items = mem_zalloc(indexes.capacity, sizeof(*indexes.items));
    buf_put_u8(out, QUEUE_SNAPSHOT_VERSION);
    buf_put_u8(out,
               (uint8_t)((m->was_used ? QUEUE_SNAPSHOT_WAS_USED : 0) |
                         (m->losses != NULL ? QUEUE_SNAPSHOT_HAS_LOSSES : 0)));
    buf_put_varint(out, m->malformed);
    queue_snapshot_dead(m, out);
    queue_snapshot_sessions(m, out, &indexes);
    queue_snapshot_turns(m, out);
    queue_snapshot_returned(m, out, &indexes);
    ASSERT(indexes.count == indexes.capacity);
    qsort(indexes.items, indexes.count, sizeof(*indexes.items),
          queue_index_compare);
    if (m->losses != NULL) {
        queue_losses_prune(m, indexes.items, indexes.count);
        queue_indexes_drop(&indexes, &m->losses->aside);
    }
    queue_snapshot_fresh(m, out, &indexes, live);
    if (m->losses != NULL) {
        queue_losses_write(m, out);
    }
    mem_free(indexes.items);
}
