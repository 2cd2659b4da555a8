/* The codec of queue commands.
 *
 * A command is a kind, for session commands the session and its number, and
 * the kind's fields. Encoding appends to a buffer that soon becomes a frame or
 * an entry; decoding borrows from its input, copies nothing, and checks all
 * there is to check, so that the machine below meets only sound commands: a
 * bad one fails here, the same way on every replica.
 *
 * Ranges of delivery ids are coded as pairs: how far the first id lies behind
 * the last one before it, and how many more follow. A client that settles in
 * order thus sends two bytes a range, however old the consumer is. */
#include "machine/queue/queue_command.h"

#include <quorate/error.h>

#include "base/ranges.h"

enum {
    QUEUE_ATTACH_FLAGS = QUEUE_ATTACH_EXCLUSIVE | QUEUE_ATTACH_NO_ACK,
    QUEUE_NODE_MAX = 65535 /* 16 bits in a session's id */
};

static void
queue_put_head(struct buf *b, enum queue_command_kind kind, uint64_t session,
               uint64_t seq)
{
    ASSERT(kind < QUEUE_SESSION_DOWN);
    ASSERT(seq > 0);
    buf_put_u8(b, (uint8_t)kind);
    buf_put_varint(b, session);
    buf_put_varint(b, seq);
}

void
queue_put_enqueue(struct buf *b, uint64_t session, uint64_t seq,
                  size_t message_size)
{
    ASSERT(message_size <= QUEUE_MESSAGE_SIZE_MAX);
    queue_put_head(b, QUEUE_ENQUEUE, session, seq);
    buf_put_varint(b, message_size);
}

void
queue_put_attach(struct buf *b, uint64_t session, uint64_t seq,
                 const struct queue_command *attach)
{
    ASSERT(attach->credit <= QUEUE_CREDIT_MAX);
    ASSERT((attach->flags & ~(uint32_t)QUEUE_ATTACH_FLAGS) == 0);
    ASSERT(attach->size <= QUEUE_TAG_SIZE_MAX);
    queue_put_head(b, QUEUE_ATTACH, session, seq);
    buf_put_varint(b, attach->consumer);
    buf_put_varint(b, attach->credit);
    buf_put_varint(b, attach->flags);
    buf_put_blob(b, attach->bytes, attach->size);
}

void
queue_put_credit(struct buf *b, uint64_t session, uint64_t seq,
                 uint64_t consumer, uint32_t credit)
{
    ASSERT(credit <= QUEUE_CREDIT_MAX);
    queue_put_head(b, QUEUE_CREDIT, session, seq);
    buf_put_varint(b, consumer);
    buf_put_varint(b, credit);
}

static void
queue_put_ranges(struct buf *b, const struct ranges *ids)
{
    uint64_t before = 0;

    ASSERT(ids->count <= QUEUE_RANGES_MAX);
    buf_put_varint(b, ids->count);
    for (size_t i = 0; i < ids->count; i++) {
        const struct range *r = &ids->items[i];

        ASSERT(r->first > before);
        buf_put_varint(b, r->first - before);
        buf_put_varint(b, r->last - r->first);
        before = r->last;
    }
}

void
queue_put_ids(struct buf *b, enum queue_command_kind kind,
              const struct queue_command *head, const struct ranges *ids)
{
    ASSERT(kind >= QUEUE_SETTLE);
    ASSERT(kind <= QUEUE_DISCARD);
    queue_put_head(b, kind, head->session, head->seq);
    buf_put_varint(b, head->consumer);
    queue_put_ranges(b, ids);
}

void
queue_put_consumer(struct buf *b, enum queue_command_kind kind,
                   uint64_t session, uint64_t seq, uint64_t consumer)
{
    ASSERT(kind >= QUEUE_CANCEL);
    ASSERT(kind <= QUEUE_GET);
    queue_put_head(b, kind, session, seq);
    buf_put_varint(b, consumer);
}

void
queue_put_purge(struct buf *b, uint64_t session, uint64_t seq)
{
    ASSERT(b != NULL);
    queue_put_head(b, QUEUE_PURGE, session, seq);
}

void
queue_put_session_down(struct buf *b, qr_node_id node, uint32_t boot)
{
    ASSERT(b != NULL);
    ASSERT(node <= QUEUE_NODE_MAX);
    buf_put_u8(b, QUEUE_SESSION_DOWN);
    buf_put_varint(b, node);
    buf_put_varint(b, boot);
}

void
queue_put_set_aside(struct buf *b, const struct ranges *entries)
{
    ASSERT(b != NULL);
    ASSERT(entries->count > 0);
    buf_put_u8(b, QUEUE_SET_ASIDE);
    queue_put_ranges(b, entries);
}

bool
queue_ranges_next(struct cursor *c, uint64_t *first, uint64_t *last)
{
    uint64_t gap = 0;
    uint64_t more = 0;

    if (cursor_left(c) == 0) {
        return false;
    }
    gap = cursor_varint(c);
    more = cursor_varint(c);
    /* Id 0 is never given out, and the next range begins behind this one. */
    if (c->bad || gap == 0 || gap > UINT64_MAX - *last ||
        more > UINT64_MAX - *last - gap) {
        cursor_fail(c);
        return false;
    }
    *first = *last + gap;
    *last = *first + more;
    return true;
}

/* A varint that must not exceed MAX. */
static uint32_t
queue_take_u32(struct cursor *c, uint32_t max)
{
    uint64_t v = cursor_varint(c);

    if (v > max) {
        cursor_fail(c);
        return 0;
    }
    return (uint32_t)v;
}

/* A length of at most MAX, and as many bytes. */
static void
queue_take_bytes(struct cursor *c, uint32_t max, struct queue_command *out)
{
    out->size = queue_take_u32(c, max);
    out->bytes = cursor_bytes(c, out->size);
}

/* Check all ranges now: their reader cannot report. */
static void
queue_take_ranges(struct cursor *c, struct queue_command *out)
{
    uint32_t count = queue_take_u32(c, QUEUE_RANGES_MAX);
    const uint8_t *start = c->at;
    uint64_t first = 0;
    uint64_t last = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (!queue_ranges_next(c, &first, &last)) {
            cursor_fail(c);
            return;
        }
    }
    out->ranges = start;
    out->ranges_size = (size_t)(c->at - start);
}

/* The fields of session command OUT->kind. */
static void
queue_take_fields(struct cursor *c, struct queue_command *out)
{
    switch (out->kind) {
    case QUEUE_ENQUEUE:
        queue_take_bytes(c, QUEUE_MESSAGE_SIZE_MAX, out);
        break;
    case QUEUE_ATTACH:
        out->consumer = cursor_varint(c);
        out->credit = queue_take_u32(c, QUEUE_CREDIT_MAX);
        out->flags = queue_take_u32(c, QUEUE_ATTACH_FLAGS);
        queue_take_bytes(c, QUEUE_TAG_SIZE_MAX, out);
        break;
    case QUEUE_CREDIT:
        out->consumer = cursor_varint(c);
        out->credit = queue_take_u32(c, QUEUE_CREDIT_MAX);
        break;
    case QUEUE_SETTLE:
    case QUEUE_RETURN:
    case QUEUE_DISCARD:
        out->consumer = cursor_varint(c);
        queue_take_ranges(c, out);
        break;
    case QUEUE_CANCEL:
    case QUEUE_DETACH:
    case QUEUE_GET:
        out->consumer = cursor_varint(c);
        break;
    case QUEUE_PURGE:
        break;
    case QUEUE_SESSION_DOWN:
    case QUEUE_SET_ASIDE:
    default:
        cursor_fail(c);
        break;
    }
}

int
queue_command_next(struct cursor *c, struct queue_command *out)
{
    struct queue_command cmd = {.kind = QUEUE_ENQUEUE};
    uint8_t kind = cursor_u8(c);

    ASSERT(out != NULL);
    if (kind == QUEUE_SESSION_DOWN) {
        cmd.kind = QUEUE_SESSION_DOWN;
        cmd.node = queue_take_u32(c, QUEUE_NODE_MAX);
        cmd.boot = queue_take_u32(c, UINT32_MAX);
    } else if (kind == QUEUE_SET_ASIDE) {
        cmd.kind = QUEUE_SET_ASIDE;
        queue_take_ranges(c, &cmd);
    } else if (kind >= QUEUE_ENQUEUE && kind <= QUEUE_PURGE) {
        cmd.kind = (enum queue_command_kind)kind;
        cmd.session = cursor_varint(c);
        cmd.seq = cursor_varint(c);
        if (cmd.seq == 0) {
            cursor_fail(c);
        }
        queue_take_fields(c, &cmd);
    } else {
        cursor_fail(c);
    }
    if (c->bad) {
        return -QR_EFORMAT;
    }
    *out = cmd;
    return 0;
}
