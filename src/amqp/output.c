/* What is sent. Small frames are put together in one buffer and handed over
 * at once, large bodies go by reference between their frames' heads and ends;
 * the transport gathers what a turn brings into one write.
 *
 * The output also settles for consumers that do not acknowledge: a mark says
 * how far the socket must have come for deliveries to count as taken. So a
 * slow reader gets as many messages as its credit, and no more. */
#include "amqp/channel.h"
#include "amqp/connection_priv.h"

static void
output_flush(struct amqp_connection *c)
{
    struct buf *b = &c->out.frames;

    c->out.written += b->size;
    c->bc.bytes_sent += b->size;
    c->transport.write(c->transport.arg, b->data, b->size);
    buf_clear(b);
}

static void
output_slice(struct amqp_connection *c, struct slice *slice)
{
    c->out.written += slice->size;
    c->bc.bytes_sent += slice->size;
    c->transport.write_slice(c->transport.arg, slice);
}

static bool
output_is_open(const struct amqp_connection *c)
{
    return !c->is_lost && c->state != AMQP_CLOSED;
}

void
amqp_output_bytes(struct amqp_connection *c, const void *data, size_t size)
{
    if (output_is_open(c)) {
        buf_put(&c->out.frames, data, size);
        output_flush(c);
    }
}

static void
output_put_method(struct buf *b, uint16_t channel, const struct amqp_method *m)
{
    size_t mark = amqp_frame_begin(b, AMQP_FRAME_METHOD, channel);

    amqp_method_encode(m, b);
    amqp_frame_end(b, mark);
}

/* SIZE bytes of answers were written. */
static void
output_answered(struct amqp_connection *c, uint64_t size)
{
    c->out.answers += size;
    if (c->out.answers > AMQP_ANSWERS_BYTES_MAX) {
        amqp_connection_pause(c, AMQP_PAUSE_ANSWERS, true);
    }
    if (c->out.answers > AMQP_ANSWERS_BYTES_LOOK) {
        amqp_connection_want_turn(c);
    }
}

void
amqp_output_method(struct amqp_connection *c, uint16_t channel,
                   const struct amqp_method *m)
{
    uint64_t before = c->out.written;

    if (output_is_open(c)) {
        output_put_method(&c->out.frames, channel, m);
        output_flush(c);
        output_answered(c, c->out.written - before);
    }
}

/* A body in pieces, being cut into frames. */
struct output_body {
    const struct slice *pieces;
    size_t index;  /* of the piece that comes next */
    size_t offset; /* within it */
};

/* Hand over the next SIZE bytes. */
static void
output_pieces(struct amqp_connection *c, struct output_body *body, size_t size)
{
    while (size > 0) {
        const struct slice *piece = &body->pieces[body->index];
        size_t count = MIN(size, piece->size - body->offset);
        struct slice part = slice_sub(piece, body->offset, count);

        if (count > 0) {
            output_slice(c, &part);
        }
        body->offset += count;
        if (body->offset == piece->size) {
            body->index++;
            body->offset = 0;
        }
        size -= count;
    }
}

static void
output_small_body(struct amqp_connection *c, const struct amqp_outgoing *o)
{
    struct buf *b = &c->out.frames;

    amqp_frame_head(b, AMQP_FRAME_BODY, o->channel, o->body_size);
    for (size_t i = 0; i < o->body_count; i++) {
        buf_put(b, o->body[i].data, o->body[i].size);
    }
    buf_put_u8(b, AMQP_FRAME_END);
}

static void
output_large_body(struct amqp_connection *c, const struct amqp_outgoing *o)
{
    struct output_body body = {.pieces = o->body};
    size_t payload_max = c->frame_max - AMQP_FRAME_OVERHEAD;

    for (size_t left = o->body_size; left > 0;) {
        size_t size = MIN(left, payload_max);

        amqp_frame_head(&c->out.frames, AMQP_FRAME_BODY, o->channel, size);
        output_flush(c);
        output_pieces(c, &body, size);
        buf_put_u8(&c->out.frames, AMQP_FRAME_END);
        left -= size;
    }
}

void
amqp_output_content(struct amqp_connection *c, const struct amqp_outgoing *o)
{
    struct buf *b = &c->out.frames;
    uint64_t before = c->out.written;
    size_t mark = 0;

    if (!output_is_open(c)) {
        return;
    }
    output_put_method(b, o->channel, o->method);
    mark = amqp_frame_begin(b, AMQP_FRAME_HEADER, o->channel);
    amqp_content_head(b, o->body_size);
    buf_put(b, o->properties->data, o->properties->size);
    amqp_frame_end(b, mark);
    if (o->body_size > AMQP_BODY_COPY_MAX) {
        output_large_body(c, o);
    } else if (o->body_size > 0) {
        output_small_body(c, o);
    }
    output_flush(c);
    if (o->is_answer) {
        output_answered(c, c->out.written - before);
    }
}

void
amqp_output_mark(struct amqp_connection *c, struct amqp_consumer *consumer,
                 uint64_t id)
{
    struct ring *marks = &c->out.marks;
    struct amqp_mark *last = NULL;

    amqp_connection_want_turn(c);
    if (marks->count > 0) {
        last = ring_at(marks, marks->count - 1);
        if (last->consumer == consumer &&
            c->out.written - last->begun < AMQP_DRAIN_MARK_BYTES) {
            last->id = id;
            last->position = c->out.written;
            return;
        }
    }
    *(struct amqp_mark *)ring_push_back(marks) =
        (struct amqp_mark){consumer, id, c->out.written, c->out.written};
}

void
amqp_output_forget(struct amqp_connection *c,
                   const struct amqp_consumer *consumer)
{
    for (size_t i = 0; i < c->out.marks.count; i++) {
        struct amqp_mark *mark = ring_at(&c->out.marks, i);

        if (mark->consumer == consumer) {
            mark->consumer = NULL;
        }
    }
}

/* Whoever was kept short may have more. */
static void
output_feed(struct amqp_connection *c)
{
    struct list *entry = NULL;

    while ((entry = list_pop_front(&c->hungry)) != NULL) {
        amqp_consumer_feed(
            list_entry(entry, struct amqp_consumer, waiting_link));
    }
}

void
amqp_output_taken(struct amqp_connection *c, size_t backlog)
{
    uint64_t taken = c->out.written - MIN(backlog, c->out.written);

    while (c->out.marks.count > 0) {
        struct amqp_mark mark = *(struct amqp_mark *)ring_at(&c->out.marks, 0);

        if (mark.position > taken) {
            break;
        }
        ring_pop_front(&c->out.marks);
        if (mark.consumer != NULL) {
            amqp_consumer_drained(mark.consumer, mark.id);
        }
    }
    c->out.taken = taken;
    if (backlog <= AMQP_BACKLOG_BYTES_LOW) {
        output_feed(c);
    }
    c->out.answers = MIN(c->out.answers, backlog);
    if (c->out.answers < AMQP_ANSWERS_BYTES_MAX / 2) {
        amqp_connection_pause(c, AMQP_PAUSE_ANSWERS, false);
    }
}
