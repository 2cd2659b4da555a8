/* Bytes back into a state.
 *
 * The bytes come from another replica or from the disk, so nothing in them is
 * believed: each value is checked against its limit, and against the order and
 * the sums that queue_check.c asks of a sound state. The state is built aside
 * and takes the machine's place when all of it was right. A list names its
 * total first, which must agree with its runs before any of them is unfolded:
 * a few damaged bytes cannot make it fill the memory. */
#include <quorate/error.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "machine/queue/queue_snapshot.h"

/* No log is longer; a larger index is damage. */
#define RESTORE_INDEX_MAX (UINT64_C(1) << 62)

/* A run as it is coded: distances. */
struct queue_code {
    uint64_t repeats;
    uint64_t length;
    uint64_t index;  /* zigzag */
    uint64_t offset; /* zigzag */
    uint64_t size;
    uint64_t gap;
    uint64_t count;
    uint64_t delivery;
};

/* Reads the snapshot into M. */
struct queue_reader {
    struct cursor c;
    struct queue_machine *m;
    struct queue_consumer **consumers; /* by ordinal */
    size_t consumer_count;
    size_t consumer_capacity;
};

/* Takes one message of a list; false if it is out of order. */
typedef bool queue_list_take(struct queue_machine *m, struct queue_consumer *c,
                             const struct queue_held *h);

static uint64_t
queue_read_below(struct cursor *c, uint64_t limit)
{
    uint64_t v = cursor_varint(c);

    if (v >= limit) {
        cursor_fail(c);
        return 0;
    }
    return v;
}

/* The next run of LIST, with how often it repeats; C is bad if it is. */
static void
queue_read_code(struct cursor *c, enum queue_list list, struct queue_code *out)
{
    memset(out, 0, sizeof(*out));
    out->repeats = queue_read_below(c, QUEUE_MESSAGES_MAX + 1);
    out->length = queue_read_below(c, QUEUE_MESSAGES_MAX + 1);
    out->index = cursor_varint(c);
    out->offset = cursor_varint(c);
    out->size = queue_read_below(c, QUEUE_MESSAGE_SIZE_MAX + 1);
    if (out->length > 1) {
        out->gap = queue_read_below(c, (uint64_t)UINT32_MAX + 1);
    }
    if (list != QUEUE_LIST_READY) {
        out->count = queue_read_below(c, (uint64_t)UINT32_MAX + 1);
    }
    if (list == QUEUE_LIST_RETURNED && out->count == 0) {
        cursor_fail(c);
    }
    if (list == QUEUE_LIST_HELD) {
        out->delivery = cursor_varint(c);
    }
    if (out->repeats == 0 || out->length == 0) {
        cursor_fail(c);
    }
}

/* How many messages the runs from C on have, up to TOTAL: exactly TOTAL, or
 * C's user must fail. C is a copy: the runs are read again. */
static bool
queue_read_is_total(struct cursor c, enum queue_list list, uint64_t total)
{
    struct queue_code code;
    uint64_t count = 0;

    while (count < total && !c.bad) {
        queue_read_code(&c, list, &code);
        count += code.repeats * code.length;
    }
    return !c.bad && count == total;
}

/* Where the messages of a list go, and what the last one was. */
struct queue_unfold {
    struct queue_machine *m;
    struct queue_consumer *consumer;
    queue_list_take *take;
    struct queue_place place;
};

/* Unfold one run of CODE. False if it does not fit an entry or its list. */
static bool
queue_unfold_run(struct queue_unfold *u, const struct queue_code *code)
{
    struct queue_place *place = &u->place;
    uint64_t index = queue_unzigzag(place->index, code->index);
    uint64_t end = index == place->index ? place->end : 0;
    uint64_t offset = queue_unzigzag(end, code->offset);
    uint64_t delivery = place->delivery + code->delivery;

    if (index == 0 || index > RESTORE_INDEX_MAX || offset > UINT32_MAX ||
        code->delivery > RESTORE_INDEX_MAX) {
        return false;
    }
    for (uint64_t i = 0; i < code->length; i++) {
        struct queue_held h = {
            .delivery = delivery + i,
            .item.message = {index, (uint32_t)offset, (uint32_t)code->size},
            .item.count = (uint32_t)code->count,
        };

        if (offset + code->size > UINT32_MAX ||
            !u->take(u->m, u->consumer, &h)) {
            return false;
        }
        u->m->index_last = MAX(u->m->index_last, index);
        place->end = offset + code->size;
        offset = place->end + code->gap;
    }
    place->index = index;
    place->delivery = delivery + code->length - 1;
    return true;
}

/* A list whose messages go to TAKE. */
static void
queue_read_list(struct queue_reader *r, enum queue_list list,
                struct queue_consumer *consumer, queue_list_take *take)
{
    struct queue_unfold u = {.m = r->m, .consumer = consumer, .take = take};
    uint64_t total = queue_read_below(&r->c, QUEUE_MESSAGES_MAX + 1);
    struct queue_code code;

    if (!queue_read_is_total(r->c, list, total)) {
        cursor_fail(&r->c);
        return;
    }
    while (total > 0) {
        queue_read_code(&r->c, list, &code);
        ASSERT(!r->c.bad);
        for (uint64_t i = 0; i < code.repeats; i++) {
            if (!queue_unfold_run(&u, &code)) {
                cursor_fail(&r->c);
                return;
            }
        }
        total -= code.repeats * code.length;
    }
}

static bool
queue_take_held(struct queue_machine *m, struct queue_consumer *c,
                const struct queue_held *h)
{
    /* The consumer's next number is known, and kept out of the way. */
    uint64_t next = c->delivery_next;
    const struct queue_held *last = NULL;

    if (c->held.count > 0) {
        last = ring_at(&c->held, c->held.count - 1);
    }
    if (h->delivery == 0 || h->delivery >= next ||
        (last != NULL && h->delivery <= last->delivery) ||
        c->held_count == QUEUE_CREDIT_MAX) {
        return false;
    }
    c->delivery_next = h->delivery;
    queue_consumer_hold(m, c, h->delivery, &h->item);
    c->delivery_next = next;
    return true;
}

static bool
queue_take_returned(struct queue_machine *m, struct queue_consumer *c,
                    const struct queue_held *h)
{
    const struct queue_ready *r = &m->ready;

    ASSERT(c == NULL);
    /* Written in order, so the heap is an array in order. */
    if (r->returned_count > 0 &&
        !queue_message_is_before(&r->returned[r->returned_count - 1].message,
                                 &h->item.message)) {
        return false;
    }
    queue_ready_return(&m->ready, &h->item);
    return true;
}

static bool
queue_take_fresh(struct queue_machine *m, struct queue_consumer *c,
                 const struct queue_held *h)
{
    const struct queue_block *tail = m->ready.tail;
    struct queue_message last;

    ASSERT(c == NULL);
    if (tail != NULL) {
        queue_block_read(tail, tail->end - 1, &last);
        if (!queue_message_is_before(&last, &h->item.message)) {
            return false;
        }
    }
    queue_ready_push(&m->ready, &h->item.message);
    return true;
}

static void
queue_read_dead(struct queue_reader *r)
{
    uint64_t count = queue_read_below(&r->c, QUEUE_DEAD_MAX + 1);
    uint64_t node = 0;

    for (uint64_t i = 0; i < count && !r->c.bad; i++) {
        uint64_t gap = queue_read_below(&r->c, QUEUE_DEAD_MAX - node);
        uint64_t boot = queue_read_below(&r->c, (uint64_t)UINT32_MAX + 1);

        node += gap;
        if ((i > 0 && gap == 0) || r->c.bad) {
            cursor_fail(&r->c);
            return;
        }
        queue_session_mark_dead(r->m, (qr_node_id)node, (uint32_t)boot);
    }
}

/* Whether a consumer in STATE with FLAGS may join those that are there. */
static bool
queue_read_may_join(const struct queue_reader *r,
                    enum queue_consumer_state state, uint32_t flags)
{
    const struct queue_machine *m = r->m;

    if (m->consumer_count == QUEUE_CONSUMERS_MAX) {
        return false;
    }
    if (state != QUEUE_CONSUMER_ATTACHED) {
        return true;
    }
    return m->exclusive == NULL &&
           ((flags & QUEUE_ATTACH_EXCLUSIVE) == 0 || m->attached_count == 0);
}

/* Remember C by its ordinal. */
static void
queue_read_number(struct queue_reader *r, struct queue_consumer *c)
{
    if (r->consumer_count == r->consumer_capacity) {
        r->consumer_capacity = MAX(r->consumer_capacity * 2, (size_t)16);
        r->consumers = mem_realloc(r->consumers, r->consumer_capacity *
                                                     sizeof(*r->consumers));
    }
    ASSERT(r->consumer_count < r->consumer_capacity);
    r->consumers[r->consumer_count] = c;
    r->consumer_count++;
}

/* The consumer ID of S. */
static void
queue_read_consumer(struct queue_reader *r, struct queue_session *s,
                    uint64_t id)
{
    struct queue_command attach = {.consumer = id};
    struct queue_consumer *consumer = NULL;
    struct cursor *c = &r->c;
    enum queue_consumer_state state = QUEUE_CONSUMER_GETS;
    uint64_t next = 0;

    state = (enum queue_consumer_state)queue_read_below(
        c, QUEUE_CONSUMER_CANCELLED + 1);
    attach.flags = (uint32_t)queue_read_below(
        c, (QUEUE_ATTACH_EXCLUSIVE | QUEUE_ATTACH_NO_ACK) + 1);
    attach.credit = (uint32_t)queue_read_below(c, QUEUE_CREDIT_MAX + 1);
    attach.bytes = cursor_blob(c, &attach.size);
    next = cursor_varint(c);
    if (c->bad || next == 0 || next > RESTORE_INDEX_MAX ||
        attach.size > QUEUE_TAG_SIZE_MAX ||
        !queue_read_may_join(r, state, attach.flags)) {
        cursor_fail(c);
        return;
    }
    consumer = queue_consumer_new(r->m, s, state, &attach);
    consumer->delivery_next = next;
    queue_read_number(r, consumer);
    queue_read_list(r, QUEUE_LIST_HELD, consumer, queue_take_held);
    if (state == QUEUE_CONSUMER_CANCELLED && consumer->held_count == 0) {
        cursor_fail(c);
    }
}

/* S's number and last result. */
static void
queue_read_result(struct queue_reader *r, struct queue_session *s)
{
    struct cursor *c = &r->c;
    struct queue_result *result = &s->result;

    s->applied = cursor_varint(c);
    result->seq = cursor_varint(c);
    if (result->seq > s->applied) {
        cursor_fail(c);
    }
    if (result->seq > 0) {
        result->status =
            (enum queue_status)queue_read_below(c, QUEUE_LIMIT + 1);
        result->consumer = cursor_varint(c);
        result->delivery = cursor_varint(c);
        result->value = cursor_varint(c);
    }
}

/* The session ID. */
static void
queue_read_session(struct queue_reader *r, uint64_t id)
{
    struct queue_session *s = NULL;
    uint64_t consumer = 0;
    uint64_t count = 0;

    if (queue_session_is_dead(r->m, id)) {
        cursor_fail(&r->c);
        return;
    }
    s = queue_session_open(r->m, id);
    queue_read_result(r, s);
    count = queue_read_below(&r->c, QUEUE_CONSUMERS_MAX + 1);
    for (uint64_t i = 0; i < count && !r->c.bad; i++) {
        uint64_t gap = cursor_varint(&r->c);

        if ((i > 0 && gap == 0) || gap > UINT64_MAX - consumer) {
            cursor_fail(&r->c);
            return;
        }
        consumer += gap;
        queue_read_consumer(r, s, consumer);
    }
}

static void
queue_read_sessions(struct queue_reader *r)
{
    uint64_t count = queue_read_below(&r->c, QUEUE_SESSIONS_MAX + 1);
    uint64_t id = 0;

    for (uint64_t i = 0; i < count && !r->c.bad; i++) {
        uint64_t gap = cursor_varint(&r->c);

        if ((i > 0 && gap == 0) || gap > UINT64_MAX - id) {
            cursor_fail(&r->c);
            return;
        }
        id += gap;
        queue_read_session(r, id);
    }
}

/* Turns: consumers with credit, each once, all of them. */
static void
queue_read_turns(struct queue_reader *r)
{
    uint64_t count = queue_read_below(&r->c, r->consumer_count + 1);
    uint64_t hungry = 0;

    /* They lined up as they were made, before it was known what they hold. */
    for (size_t i = 0; i < r->consumer_count; i++) {
        list_remove(&r->consumers[i]->turn);
        hungry += queue_consumer_is_hungry(r->consumers[i]) ? 1 : 0;
    }
    for (uint64_t i = 0; i < count && !r->c.bad; i++) {
        uint64_t ordinal = queue_read_below(&r->c, r->consumer_count);
        struct queue_consumer *c = NULL;

        if (r->c.bad) {
            return;
        }
        c = r->consumers[ordinal];
        if (!queue_consumer_is_hungry(c) || list_is_linked(&c->turn)) {
            cursor_fail(&r->c);
            return;
        }
        list_push_back(&r->m->turns, &c->turn);
    }
    if (count != hungry) {
        cursor_fail(&r->c);
    }
}

/* The whole snapshot, after its version. */
static void
queue_read_machine(struct queue_reader *r)
{
    uint64_t flags = queue_read_below(
        &r->c, (QUEUE_SNAPSHOT_WAS_USED | QUEUE_SNAPSHOT_HAS_LOSSES) + 1);
    bool was_used = (flags & QUEUE_SNAPSHOT_WAS_USED) != 0;
    struct queue_machine *m = r->m;

    m->malformed = cursor_varint(&r->c);
    queue_read_dead(r);
    queue_read_sessions(r);
    queue_read_turns(r);
    queue_read_list(r, QUEUE_LIST_RETURNED, NULL, queue_take_returned);
    queue_read_list(r, QUEUE_LIST_READY, NULL, queue_take_fresh);
    if ((flags & QUEUE_SNAPSHOT_HAS_LOSSES) != 0) {
        queue_losses_read(&r->c, m);
    }
    if ((m->was_used && !was_used) || cursor_left(&r->c) > 0 ||
        (!list_is_empty(&m->turns) && queue_ready_count(&m->ready) > 0) ||
        !queue_check_is_distinct(m)) {
        cursor_fail(&r->c);
    }
    m->was_used = was_used;
    m->is_unused = false;
}

/* Move the entries of FROM to the empty list TO. */
static void
queue_list_move(struct list *to, struct list *from)
{
    ASSERT(list_is_empty(to));
    if (!list_is_empty(from)) {
        list_insert_before(from, to);
        list_remove(from);
    }
}

/* Exchange the states of A and B. */
static void
queue_machine_swap(struct queue_machine *a, struct queue_machine *b)
{
    struct list sessions[2];
    struct list turns[2];
    struct queue_machine swap;

    for (size_t i = 0; i < 2; i++) {
        struct queue_machine *m = i == 0 ? a : b;

        ASSERT(list_is_empty(&m->touched));
        list_init(&sessions[i]);
        list_init(&turns[i]);
        queue_list_move(&sessions[i], &m->session_list);
        queue_list_move(&turns[i], &m->turns);
    }
    swap = *a;
    *a = *b;
    *b = swap;
    for (size_t i = 0; i < 2; i++) {
        struct queue_machine *m = i == 0 ? b : a;

        list_init(&m->touched);
        list_init(&m->session_list);
        list_init(&m->turns);
        queue_list_move(&m->session_list, &sessions[i]);
        queue_list_move(&m->turns, &turns[i]);
    }
}

int
queue_machine_restore(struct queue_machine *m, const void *data, size_t size)
{
    struct queue_reader r = {.m = queue_machine_new()};
    int rv = 0;

    OBJ_CHECK(m, QUEUE_MACHINE_MAGIC);
    cursor_init(&r.c, data, size);
    if (size > 0) {
        if (cursor_u8(&r.c) != QUEUE_SNAPSHOT_VERSION) {
            rv = -QR_EVERSION;
        } else {
            queue_read_machine(&r);
            rv = r.c.bad ? -QR_EFORMAT : 0;
        }
    }
    if (rv == 0) {
        queue_machine_swap(m, r.m);
    }
    queue_machine_free(&r.m);
    mem_free(r.consumers);
    return rv;
}
