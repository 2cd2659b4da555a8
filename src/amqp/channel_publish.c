/* Publishing: a message's frames are put together without copying its body
 * and handed to the broker at once.
 *
 * A body that arrives in small frames is gathered into chunks instead, since a
 * reference to a small part would hold on to the whole block it was read in
 * for as long as the message is incomplete. */
#include <string.h>

#include "amqp/channel.h"
#include "amqp/table.h"
#include "base/mem.h"

enum {
    PIECES_MIN = 4
};

static void
publish_on_confirm(struct broker_publisher *p, uint64_t tag, bool multiple,
                   bool is_ok)
{
    struct amqp_channel *ch = p->arg;

    OBJ_CHECK(ch, AMQP_CHANNEL_MAGIC);
    confirms_settle(&ch->confirms, tag, multiple, is_ok);
    ch->listed.unconfirmed = ch->confirms.pending;
    if (!list_is_linked(&ch->telling_link)) {
        list_push_back(&ch->c->telling, &ch->telling_link);
        amqp_connection_want_turn(ch->c);
    }
}

static void
publish_congested(struct amqp_channel *ch, bool is_congested)
{
    struct amqp_connection *c = ch->c;

    if (ch->is_congested == is_congested) {
        return;
    }
    ch->is_congested = is_congested;
    c->congested += is_congested ? 1 : (size_t)-1;
    amqp_connection_pause(c, AMQP_PAUSE_CONGESTED, c->congested > 0);
}

static void
publish_on_congestion(struct broker_publisher *p, bool is_congested)
{
    struct amqp_channel *ch = p->arg;

    OBJ_CHECK(ch, AMQP_CHANNEL_MAGIC);
    publish_congested(ch, is_congested);
}

static void
publish_open(struct amqp_channel *ch)
{
    if (ch->is_publishing) {
        return;
    }
    ch->is_publishing = true;
    ch->publisher = (struct broker_publisher){
        .connection = &ch->c->bc,
        .on_confirm = publish_on_confirm,
        .on_congestion = publish_on_congestion,
        .arg = ch,
    };
    broker_publisher_open(ch->c->broker, &ch->publisher);
    ch->c->has_published = true;
    amqp_connection_blocked_check(ch->c);
}

/* SIZE bytes more are held for a message that is not complete yet. */
static bool
publish_hold(struct amqp_channel *ch, size_t size)
{
    struct amqp_connection *c = ch->c;

    ch->in.held += size;
    c->incomplete_bytes += size;
    if (c->incomplete_bytes <= AMQP_INCOMPLETE_BYTES_MAX) {
        return true;
    }
    amqp_connection_fail(c, AMQP_RESOURCE_ERROR, AMQP_basic_publish,
                         "more than %d bytes of messages are incomplete on "
                         "the channels of this connection",
                         AMQP_INCOMPLETE_BYTES_MAX);
    return false;
}

/* Forget what has arrived; the next frame is a method. */
static void
publish_reset(struct amqp_channel *ch)
{
    struct amqp_assembly *in = &ch->in;

    ASSERT(ch->c->incomplete_bytes >= in->held);
    ch->c->incomplete_bytes -= in->held;
    in->held = 0;
    list_remove(&in->link);
    in->expect = AMQP_EXPECT_METHOD;
    slice_unref(&in->properties);
    for (size_t i = 0; i < in->pieces_count; i++) {
        slice_unref(&in->pieces[i]);
    }
    in->pieces_count = 0;
    in->chunk = NULL;
}

void
amqp_publish_release(struct amqp_channel *ch)
{
    publish_reset(ch);
    if (ch->is_publishing) {
        ch->is_publishing = false;
        broker_publisher_close(&ch->publisher);
        publish_congested(ch, false);
    }
}

void
amqp_confirm_select(struct amqp_channel *ch, const struct amqp_method *m)
{
    ch->listed.is_confirming = true;
    ch->is_nowait = m->confirm_select.nowait;
    amqp_channel_answer(ch, AMQP_confirm_select_ok);
}

void
amqp_publish_method(struct amqp_channel *ch, const struct amqp_method *m)
{
    const struct amqp_basic_publish *p = &m->basic_publish;
    struct amqp_assembly *in = &ch->in;

    if (p->immediate) {
        amqp_channel_fail(ch, AMQP_NOT_IMPLEMENTED, "immediate=true");
        return;
    }
    in->expect = AMQP_EXPECT_HEADER;
    in->is_mandatory = p->mandatory;
    in->exchange_size = (uint8_t)p->exchange.size;
    in->key_size = (uint8_t)p->routing_key.size;
    memcpy(in->exchange, p->exchange.data, p->exchange.size);
    memcpy(in->key, p->routing_key.data, p->routing_key.size);
    publish_open(ch);
}

/* RabbitMQ's basic.return, before the confirm. */
static void
publish_return(struct amqp_channel *ch, const struct broker_message *message)
{
    const struct amqp_error *e = amqp_error(AMQP_NO_ROUTE);
    struct amqp_method m = {.id = AMQP_basic_return};
    struct amqp_outgoing o = {
        .channel = ch->number,
        .method = &m,
        .properties = &message->properties,
        .body = message->body,
        .body_count = message->body_count,
        .body_size = message->body_size,
        .is_answer = true,
    };

    m.basic_return.reply_code = e->code;
    m.basic_return.reply_text = amqp_text(e->name);
    m.basic_return.exchange = amqp_text_of(message->exchange);
    m.basic_return.routing_key = amqp_text_of(message->key);
    amqp_output_content(ch->c, &o);
}

static void
publish_complete(struct amqp_channel *ch)
{
    struct amqp_assembly *in = &ch->in;
    struct broker_message message = {
        .exchange = {in->exchange, in->exchange_size},
        .key = {in->key, in->key_size},
        .properties = in->properties,
        .body = in->pieces,
        .body_count = in->pieces_count,
        .body_size = (size_t)in->body_size,
    };
    struct broker_fault fault = {.kind = BROKER_OK};
    uint64_t tag = 0;
    size_t routed = 0;

    if (ch->listed.is_confirming) {
        tag = confirms_add(&ch->confirms);
        ch->listed.unconfirmed = ch->confirms.pending;
    }
    ch->method = AMQP_basic_publish;
    broker_publish(&ch->publisher, &message, tag, &routed, &fault);
    /* All of it is work. */
    ch->c->share_frames +=
        routed + ch->publisher.route_steps / AMQP_TURN_STEPS_OF_FRAME;
    if (fault.kind != BROKER_OK) {
        amqp_channel_fault(ch, &fault);
        return;
    }
    if (routed == 0 && in->is_mandatory) {
        publish_return(ch, &message);
    }
    publish_reset(ch);
}

/* The user-id property, if there is one, is the publisher's own name. */
static bool
publish_check_user(struct amqp_channel *ch, struct amqp_text user_id)
{
    const char *user = ch->c->bc.user;

    if (user_id.size == strlen(user) &&
        memcmp(user_id.data, user, user_id.size) == 0) {
        return true;
    }
    amqp_channel_fail(ch, AMQP_PRECONDITION_FAILED,
                      "user_id property set to '%.*s' but authenticated user "
                      "was '%s'",
                      (int)user_id.size, user_id.data, user);
    return false;
}

/* What is asked for and not there yet is refused, not forgotten. */
static bool
publish_check_served(struct amqp_channel *ch, const struct amqp_properties *p)
{
    static const char *const headers[] = {"CC", "BCC"};
    struct amqp_value v;

    if ((p->flags & AMQP_HAS_expiration) != 0) {
        amqp_channel_fail(ch, AMQP_NOT_IMPLEMENTED,
                          "message property 'expiration'");
        return false;
    }
    for (size_t i = 0; i < ARRAY_COUNT(headers); i++) {
        if ((p->flags & AMQP_HAS_headers) != 0 &&
            amqp_table_get(p->headers, headers[i], &v)) {
            amqp_channel_fail(ch, AMQP_NOT_IMPLEMENTED, "message header '%s'",
                              headers[i]);
            return false;
        }
    }
    return true;
}

/* Properties that mean something to the broker; few messages have one. */
static bool
publish_check_properties(struct amqp_channel *ch, unsigned flags)
{
    static const unsigned meaning = AMQP_HAS_user_id | AMQP_HAS_expiration |
                                    AMQP_HAS_headers | AMQP_HAS_reply_to;
    struct slice *properties = &ch->in.properties;
    struct amqp_properties p;
    int rv = 0;

    if ((flags & meaning) == 0) {
        return true;
    }
    rv = amqp_properties_decode(properties->data, properties->size, &p);
    ASSERT(rv == 0);
    if ((flags & AMQP_HAS_user_id) != 0 && !publish_check_user(ch, p.user_id)) {
        return false;
    }
    if (!publish_check_served(ch, &p)) {
        return false;
    }
    return (flags & AMQP_HAS_reply_to) == 0 ||
           !amqp_reply_is_queue(p.reply_to) ||
           amqp_reply_rewrite(ch, &p, properties);
}

static uint32_t
publish_size_max(const struct amqp_channel *ch)
{
    uint32_t configured = ch->c->config->message_size_max;

    return configured > 0 ? MIN(configured, BROKER_MESSAGE_SIZE_MAX)
                          : BROKER_MESSAGE_SIZE_MAX;
}

static bool
publish_check_header(struct amqp_channel *ch, int decoded,
                     const struct amqp_content_header *header)
{
    ch->method = AMQP_basic_publish;
    if (decoded != 0) {
        amqp_channel_fail(ch, AMQP_SYNTAX_ERROR,
                          "malformed content header or properties");
        return false;
    }
    if (header->class_id != AMQP_CLASS_BASIC) {
        amqp_channel_fail(ch, AMQP_UNEXPECTED_FRAME,
                          "expected content header for class %d, got one for "
                          "class %u instead",
                          AMQP_CLASS_BASIC, header->class_id);
        return false;
    }
    if (header->body_size > publish_size_max(ch)) {
        amqp_channel_fail(ch, AMQP_PRECONDITION_FAILED,
                          "message size %llu is larger than configured max "
                          "size %u",
                          (unsigned long long)header->body_size,
                          publish_size_max(ch));
        return false;
    }
    return true;
}

void
amqp_publish_header(struct amqp_channel *ch, const struct slice *payload)
{
    struct amqp_assembly *in = &ch->in;
    struct amqp_content_header header;
    int rv = amqp_content_decode(payload->data, payload->size, &header);

    if (!publish_check_header(ch, rv, &header)) {
        return;
    }
    in->properties =
        slice_sub(payload, AMQP_CONTENT_HEAD_SIZE, header.properties_size);
    if (!publish_check_properties(ch, header.flags)) {
        return;
    }
    in->body_size = header.body_size;
    in->received = 0;
    in->expect = AMQP_EXPECT_BODY;
    if (header.body_size == 0) {
        publish_complete(ch);
    } else {
        list_push_back(&ch->c->incomplete, &in->link);
    }
}

void
amqp_publish_keep(struct amqp_connection *c)
{
    struct list *entry = NULL;

    while ((entry = list_pop_front(&c->incomplete)) != NULL) {
        struct amqp_channel *ch =
            list_entry(entry, struct amqp_channel, in.link);
        struct slice own =
            slice_copy(ch->in.properties.data, ch->in.properties.size);

        slice_unref(&ch->in.properties);
        ch->in.properties = own;
        if (!publish_hold(ch, own.size)) {
            return;
        }
    }
}

static struct slice *
publish_add_piece(struct amqp_assembly *in)
{
    if (in->pieces_count == in->pieces_capacity) {
        in->pieces_capacity = MAX(PIECES_MIN, in->pieces_capacity * 2);
        in->pieces =
            mem_realloc(in->pieces, in->pieces_capacity * sizeof(*in->pieces));
    }
    return &in->pieces[in->pieces_count++];
}

/* A chunk for what comes next, as large as what came already: an announced
 * size alone costs nothing. */
static struct block *
publish_chunk(const struct amqp_assembly *in)
{
    uint64_t size = MAX(in->received, (uint64_t)AMQP_BODY_CHUNK_SIZE_MIN);
    uint64_t left = in->body_size - in->received;

    size = MIN(size, (uint64_t)AMQP_BODY_CHUNK_SIZE);
    return block_new((size_t)MIN(size, left));
}

/* Copy SIZE bytes behind what chunks hold already. False: the connection has
 * failed. */
static bool
publish_gather(struct amqp_channel *ch, const uint8_t *data, size_t size)
{
    struct amqp_assembly *in = &ch->in;

    while (size > 0) {
        struct slice *piece = NULL;
        size_t count = 0;

        if (in->chunk == NULL) {
            in->chunk = publish_chunk(in);
            *publish_add_piece(in) =
                (struct slice){in->chunk, in->chunk->data, 0};
            if (!publish_hold(ch, in->chunk->size)) {
                return false;
            }
        }
        piece = &in->pieces[in->pieces_count - 1];
        count = MIN(size, in->chunk->size - piece->size);
        memcpy(in->chunk->data + piece->size, data, count);
        piece->size += count;
        in->received += count;
        data += count;
        size -= count;
        if (piece->size == in->chunk->size) {
            in->chunk = NULL;
        }
    }
    return true;
}

void
amqp_publish_body(struct amqp_channel *ch, const struct slice *payload)
{
    struct amqp_assembly *in = &ch->in;

    ch->method = AMQP_basic_publish;
    if (payload->size > in->body_size - in->received) {
        amqp_channel_fail(ch, AMQP_FRAME_ERROR,
                          "content body is larger than the %llu bytes that "
                          "its header announced",
                          (unsigned long long)in->body_size);
        return;
    }
    if (payload->size == in->body_size ||
        (payload->size >= AMQP_BODY_PIECE_MIN && in->chunk == NULL)) {
        *publish_add_piece(in) = slice_ref(payload);
        in->received += payload->size;
        if (in->received < in->body_size && !publish_hold(ch, payload->size)) {
            return;
        }
    } else if (!publish_gather(ch, payload->data, payload->size)) {
        return;
    }
    if (in->received == in->body_size) {
        publish_complete(ch);
    }
}
