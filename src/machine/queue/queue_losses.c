/* What has rotted on every replica.
 *
 * A message whose bytes nobody has any more cannot be delivered, and must not
 * keep those behind it. When all replicas have said so, the leader commits
 * SET_ASIDE of its entry. What is ready of that entry goes, and is counted and
 * recorded: which entry, how many messages and bytes, when. What a consumer
 * holds stays: it may have had it long ago, and then nothing is lost when it
 * acknowledges. If it has not, its client hears that the delivery is absent,
 * and returns it; what comes back of such an entry, for whatever reason, is
 * counted then. So `aside` has the entries of which something is held.
 *
 * Commands themselves can be lost, too, of a queue with one replica (the others
 * wait: a group's replicas must not differ). What they did is unknowable, and
 * recorded as such. But the log goes on behind them with commands that are
 * numbered on, and would all be refused as too early: messages that are there
 * would be lost with those that are not. So up to the end of the log as it was
 * found, a session's numbers may jump. The log also has commands that did come
 * too early, were refused, and follow once more: what was jumped over is kept,
 * and still taken once. A snapshot that is taken in the middle of such a replay
 * has it, too: were the rest replayed from there with another result, the
 * settlements in it would mean other deliveries. */
#include <quorate/error.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "machine/queue/queue_state.h"

static struct queue_losses *
queue_losses_of(struct queue_machine *m)
{
    if (m->losses == NULL) {
        m->losses = mem_zalloc(1, sizeof(*m->losses));
        ranges_init(&m->losses->aside);
    }
    return m->losses;
}

void
queue_losses_free(struct queue_machine *m)
{
    if (m->losses != NULL) {
        ranges_deinit(&m->losses->aside);
        mem_free(m->losses);
        m->losses = NULL;
    }
}

/* Record LOSS of one entry: with the one before when they belong together, or
 * when there is no room for more. */
static void
queue_losses_add(struct queue_losses *l, const struct queue_loss *loss)
{
    struct queue_loss *last = l->count > 0 ? &l->items[l->count - 1] : NULL;
    bool is_near = last != NULL && last->time_ms == loss->time_ms &&
                   last->is_unknown == loss->is_unknown &&
                   loss->first >= last->first && loss->first <= last->last + 1;

    ASSERT(loss->first == loss->last);
    ASSERT(l->count <= QUEUE_LOSSES_MAX);
    l->messages += loss->messages;
    l->bytes += loss->bytes;
    if (!is_near && l->count < QUEUE_LOSSES_MAX) {
        l->items[l->count++] = *loss;
        return;
    }
    last->first = MIN(last->first, loss->first);
    last->last = MAX(last->last, loss->last);
    last->messages += loss->messages;
    last->bytes += loss->bytes;
    last->time_ms = loss->time_ms;
    last->is_unknown = last->is_unknown || loss->is_unknown;
}

/* MESSAGE is gone for good. */
static void
queue_losses_count(void *arg, const struct queue_message *message)
{
    struct queue_machine *m = arg;
    struct queue_loss loss = {.first = message->index,
                              .last = message->index,
                              .messages = 1,
                              .bytes = message->size,
                              .time_ms = m->time_ms};

    OBJ_CHECK(m, QUEUE_MACHINE_MAGIC);
    ASSERT(m->losses != NULL);
    queue_losses_add(m->losses, &loss);
}

bool
queue_losses_take(struct queue_machine *m, const struct queue_message *message)
{
    OBJ_CHECK(m, QUEUE_MACHINE_MAGIC);
    ASSERT(message->index > 0);
    if (m->losses == NULL || !ranges_has(&m->losses->aside, message->index)) {
        return false;
    }
    queue_losses_count(m, message);
    return true;
}

/* Mark those of ENTRIES of which C holds something. */
static void
queue_losses_mark(struct queue_losses *l, const struct queue_consumer *c,
                  const struct ranges *entries)
{
    for (size_t slot = 0; slot < c->held.count; slot++) {
        const struct queue_held *h = queue_consumer_held(c, slot);

        if (h != NULL && ranges_has(entries, h->item.message.index)) {
            ranges_add(&l->aside, h->item.message.index, h->item.message.index);
        }
    }
}

static void
queue_losses_mark_all(struct queue_machine *m, const struct ranges *entries)
{
    struct list *it = NULL;
    struct list *jt = NULL;

    list_foreach (it, &m->session_list) {
        const struct queue_session *s =
            list_entry(it, struct queue_session, sibling);

        list_foreach (jt, &s->consumer_list) {
            queue_losses_mark(m->losses,
                              list_entry(jt, struct queue_consumer, sibling),
                              entries);
        }
    }
}

void
queue_losses_set_aside(struct queue_machine *m, qr_index index,
                       const struct queue_command *cmd)
{
    struct ranges entries;
    struct cursor c;
    uint64_t first = 0;
    uint64_t last = 0;
    uint64_t before = m->ready.bytes;

    ASSERT(cmd->kind == QUEUE_SET_ASIDE);
    ASSERT(index > 0);
    ranges_init(&entries);
    cursor_init(&c, cmd->ranges, cmd->ranges_size);
    while (queue_ranges_next(&c, &first, &last)) {
        if (first < index) { /* what follows is not there yet */
            ranges_add(&entries, first, MIN(last, index - 1));
        }
    }
    queue_losses_of(m)->commands++;
    queue_ready_remove(&m->ready, &entries, queue_losses_count, m);
    ASSERT(m->ready.bytes <= before);
    m->dead_bytes += before - m->ready.bytes;
    queue_losses_mark_all(m, &entries);
    ranges_deinit(&entries);
}

void
queue_losses_prune(struct queue_machine *m, const qr_index *held, size_t count)
{
    struct ranges *aside = &m->losses->aside;
    struct ranges kept;

    ranges_init(&kept);
    for (size_t i = 0; i < count; i++) {
        ASSERT(i == 0 || held[i - 1] <= held[i]);
        if (ranges_has(aside, held[i])) {
            ranges_add(&kept, held[i], held[i]);
        }
    }
    ASSERT(ranges_total(&kept) <= ranges_total(aside));
    ranges_deinit(aside);
    *aside = kept;
}

/* ---- commands that are lost ---- */

void
queue_machine_pass(struct queue_machine *m, qr_index index, qr_index until,
                   uint64_t time_ms)
{
    struct queue_loss loss = {
        .first = index, .last = index, .time_ms = time_ms, .is_unknown = true};
    struct queue_losses *l = queue_losses_of(m);

    OBJ_CHECK(m, QUEUE_MACHINE_MAGIC);
    ASSERT(index > m->index_last);
    m->index_last = index;
    l->commands++;
    l->torn = MAX(l->torn, until);
    queue_losses_add(l, &loss);
}

bool
queue_losses_may_jump(const struct queue_machine *m, struct queue_session *s,
                      uint64_t seq)
{
    ASSERT(seq > 0);
    if (m->losses == NULL || m->index_last > m->losses->torn) {
        return false;
    }
    if (s == NULL) {
        return true; /* it comes again, as a session that is known */
    }
    if (seq > s->applied) {
        ASSERT(seq > s->applied + 1);
        ranges_add(&s->skipped, s->applied + 1, seq - 1);
        s->applied = seq;
        return true;
    }
    if (ranges_has(&s->skipped, seq)) {
        ranges_remove(&s->skipped, seq, seq);
        return true;
    }
    return false;
}

/* ---- views ---- */

size_t
queue_machine_losses(const struct queue_machine *m,
                     const struct queue_loss **out)
{
    ASSERT(m->magic == QUEUE_MACHINE_MAGIC);
    ASSERT(out != NULL);
    if (m->losses == NULL) {
        *out = NULL;
        return 0;
    }
    *out = m->losses->items;
    return m->losses->count;
}

bool
queue_machine_is_aside(const struct queue_machine *m, qr_index index)
{
    ASSERT(m->magic == QUEUE_MACHINE_MAGIC);
    return m->losses != NULL && ranges_has(&m->losses->aside, index);
}

/* ---- snapshots ---- */

static void
queue_losses_write_ranges(const struct ranges *ranges, struct buf *out)
{
    uint64_t before = 0;

    buf_put_varint(out, ranges->count);
    for (size_t i = 0; i < ranges->count; i++) {
        const struct range *r = &ranges->items[i];

        ASSERT(r->first > before);
        buf_put_varint(out, r->first - before);
        buf_put_varint(out, r->last - r->first);
        before = r->last;
    }
}

/* What sessions have jumped over, as long as it may still come. */
static void
queue_losses_write_skipped(const struct queue_machine *m, struct buf *out)
{
    uint64_t *ids = map_keys_sorted(&m->sessions);
    bool is_over = m->index_last >= m->losses->torn;
    uint64_t before = 0;
    uint64_t count = 0;

    for (size_t i = 0; i < m->sessions.count && !is_over; i++) {
        const struct queue_session *s = map_get(&m->sessions, ids[i]);

        ids[count] = ids[i];
        count += s->skipped.count > 0 ? 1 : 0;
    }
    buf_put_varint(out, count);
    for (size_t i = 0; i < count; i++) {
        const struct queue_session *s = map_get(&m->sessions, ids[i]);

        ASSERT(ids[i] > before || i == 0);
        buf_put_varint(out, ids[i] - before);
        queue_losses_write_ranges(&s->skipped, out);
        before = ids[i];
    }
    mem_free(ids);
}

void
queue_losses_write(const struct queue_machine *m, struct buf *out)
{
    const struct queue_losses *l = m->losses;

    ASSERT(l->count <= QUEUE_LOSSES_MAX);
    ASSERT(l->commands > 0);
    buf_put_varint(out, l->messages);
    buf_put_varint(out, l->bytes);
    buf_put_varint(out, l->commands);
    buf_put_varint(out, l->torn);
    buf_put_varint(out, l->count);
    for (size_t i = 0; i < l->count; i++) {
        const struct queue_loss *loss = &l->items[i];

        buf_put_varint(out, loss->first);
        buf_put_varint(out, loss->last - loss->first);
        buf_put_varint(out, loss->messages);
        buf_put_varint(out, loss->bytes);
        buf_put_varint(out, loss->time_ms);
        buf_put_u8(out, loss->is_unknown ? 1 : 0);
    }
    queue_losses_write_ranges(&l->aside, out);
    queue_losses_write_skipped(m, out);
}

/* One record of L. */
static void
queue_losses_read_one(struct cursor *c, struct queue_losses *l)
{
    struct queue_loss *loss = &l->items[l->count];
    uint64_t more;

    loss->first = cursor_varint(c);
    more = cursor_varint(c);
    loss->messages = cursor_varint(c);
    loss->bytes = cursor_varint(c);
    loss->time_ms = cursor_varint(c);
    loss->is_unknown = cursor_u8(c) != 0;
    if (loss->first == 0 || more > UINT64_MAX - loss->first) {
        cursor_fail(c);
        return;
    }
    loss->last = loss->first + more;
    l->count++;
}

static void
queue_losses_read_ranges(struct cursor *c, struct ranges *out)
{
    uint64_t count = cursor_varint(c);
    uint64_t first = 0;
    uint64_t last = 0;

    ASSERT(out->count == 0);
    for (uint64_t i = 0; i < count && !c->bad; i++) {
        if (!queue_ranges_next(c, &first, &last)) {
            cursor_fail(c); /* it may have ended */
            return;
        }
        ranges_add(out, first, last);
    }
}

/* Sessions jump over what is below their last number. */
static void
queue_losses_read_skipped(struct cursor *c, struct queue_machine *m)
{
    uint64_t count = cursor_varint(c);
    uint64_t id = 0;

    ASSERT(m->losses != NULL);
    for (uint64_t i = 0; i < count && !c->bad; i++) {
        struct queue_session *s;
        const struct ranges *r;

        id += cursor_varint(c);
        s = map_get(&m->sessions, id);
        if (s == NULL || s->skipped.count > 0) {
            cursor_fail(c);
            return;
        }
        queue_losses_read_ranges(c, &s->skipped);
        r = &s->skipped;
        if (r->count == 0 || r->items[r->count - 1].last >= s->applied) {
            cursor_fail(c);
        }
    }
}

void
queue_losses_read(struct cursor *c, struct queue_machine *m)
{
    struct queue_losses *l = queue_losses_of(m);
    uint64_t count;

    ASSERT(l->count == 0);
    l->messages = cursor_varint(c);
    l->bytes = cursor_varint(c);
    l->commands = cursor_varint(c);
    l->torn = cursor_varint(c);
    count = cursor_varint(c);
    if (count > QUEUE_LOSSES_MAX || l->commands == 0) {
        cursor_fail(c);
        return;
    }
    for (uint64_t i = 0; i < count && !c->bad; i++) {
        queue_losses_read_one(c, l);
    }
    queue_losses_read_ranges(c, &l->aside);
    if (ranges_total(&l->aside) > m->held_count) {
        cursor_fail(c);
    }
    queue_losses_read_skipped(c, m);
}
