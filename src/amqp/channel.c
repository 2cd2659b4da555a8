/* Channels: opening and closing them, handing methods to their handlers, and
 * keeping what the client sends in order while the broker is asked.
 *
 * A handler that fails the channel must do nothing with it after that: its
 * consumers are gone, and a reply of the client may free it. */
#include "amqp/channel.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

enum {
    CHANNEL_TEXT_SIZE = BROKER_FAULT_TEXT_SIZE
};

static void
channel_open(struct amqp_connection *c, uint16_t number)
{
    struct amqp_method m = {.id = AMQP_channel_open_ok};
    struct amqp_channel *ch = NULL;

    if (number > c->channel_max) {
        amqp_connection_fail(c, AMQP_NOT_ALLOWED, AMQP_channel_open,
                             "channel %u is above the negotiated channel_max "
                             "(%u)",
                             number, c->channel_max);
        return;
    }
    ch = mem_zalloc(1, sizeof(*ch));
    ch->magic = AMQP_CHANNEL_MAGIC;
    ch->c = c;
    ch->number = number;
    ch->next_tag = 1;
    ch->in.properties = slice_empty();
    list_init(&ch->in.link);
    ring_init(&ch->waiting, sizeof(struct amqp_waiting));
    confirms_init(&ch->confirms);
    unacked_init(&ch->unacked);
    strmap_init(&ch->tags);
    list_init(&ch->telling_link);
    list_init(&ch->yielding_link);
    list_init(&ch->consumers);
    list_init(&ch->holders);
    list_init(&ch->leaving);
    ch->listed.number = number;
    list_push_back(&c->bc.channels, &ch->listed.link);
    c->bc.channels_count++;
    (void)map_put(&c->channels, number, ch);
    m.channel_open_ok.reserved_1 = amqp_text("");
    amqp_output_method(c, number, &m);
}

/* The first of WAITING, which has some, taken out; its payload is returned. */
static struct amqp_waiting
channel_take_waiting(struct amqp_connection *c, struct ring *waiting)
{
    struct amqp_waiting w = *(struct amqp_waiting *)ring_at(waiting, 0);

    ring_pop_front(waiting);
    c->waiting_frames--;
    c->waiting_bytes -= w.payload.size;
    return w;
}

static void
channel_drop_waiting(struct amqp_connection *c, struct ring *waiting)
{
    while (waiting->count > 0) {
        struct amqp_waiting w = channel_take_waiting(c, waiting);

        slice_unref(&w.payload);
    }
}

/* Fewer frames wait than before. */
static void
channel_relieve(struct amqp_connection *c)
{
    if (c->waiting_frames <= AMQP_WAITING_FRAMES_MAX / 2 &&
        c->waiting_bytes <= AMQP_WAITING_BYTES_MAX / 2) {
        amqp_connection_pause(c, AMQP_PAUSE_WAITING, false);
    }
}

void
amqp_channel_release(struct amqp_channel *ch)
{
    OBJ_CHECK(ch, AMQP_CHANNEL_MAGIC);
    broker_call_abandon(&ch->call);
    ch->is_calling = false;
    ch->subject = NULL;
    amqp_publish_release(ch);
    amqp_consume_release(ch);
    channel_drop_waiting(ch->c, &ch->waiting);
    channel_relieve(ch->c);
    list_remove(&ch->telling_link);
    list_remove(&ch->yielding_link);
    if (list_is_linked(&ch->listed.link)) {
        list_remove(&ch->listed.link);
        ch->c->bc.channels_count--;
    }
}

void
amqp_channel_free(struct amqp_channel *ch)
{
    amqp_channel_release(ch);
    ring_deinit(&ch->waiting);
    confirms_deinit(&ch->confirms);
    unacked_deinit(&ch->unacked);
    strmap_deinit(&ch->tags);
    mem_free(ch->in.pieces);
    ch->magic = 0;
    mem_free(ch);
}

static void
channel_remove(struct amqp_channel *ch)
{
    (void)map_remove(&ch->c->channels, ch->number);
    amqp_channel_free(ch);
}

bool
amqp_channel_is_idle(const struct amqp_channel *ch)
{
    return !ch->is_calling && ch->waiting.count == 0;
}

void
amqp_channel_send(struct amqp_channel *ch, const struct amqp_method *m)
{
    amqp_output_method(ch->c, ch->number, m);
}

void
amqp_channel_answer(struct amqp_channel *ch, enum amqp_method_id id)
{
    struct amqp_method m = {.id = id};

    if (!ch->is_nowait) {
        amqp_channel_send(ch, &m);
    }
}

static uint32_t
channel_method_id(uint8_t type, const uint8_t *payload, size_t size)
{
    return type == AMQP_FRAME_METHOD && size >= sizeof(uint32_t)
               ? get_u32be(payload)
               : AMQP_NO_METHOD;
}

/* Whether the client's own channel.close waits. */
static bool
channel_close_waits(const struct amqp_channel *ch)
{
    for (size_t i = 0; i < ch->waiting.count; i++) {
        const struct amqp_waiting *w = ring_at(&ch->waiting, i);

        if (channel_method_id(w->type, w->payload.data, w->payload.size) ==
            AMQP_channel_close) {
            return true;
        }
    }
    return false;
}

/* A soft error: channel.close, and nothing of the channel is heard until its
 * close-ok. A close of the client's that waits is dropped with all that does,
 * but answered, as one that crosses ours is: the client waits for that. */
static void
channel_close(struct amqp_channel *ch, const struct amqp_error *e,
              const char *text)
{
    struct amqp_connection *c = ch->c;
    struct amqp_method m = {.id = AMQP_channel_close};
    struct amqp_method ok = {.id = AMQP_channel_close_ok};
    bool is_answer_due = channel_close_waits(ch);
    char reply[AMQP_REPLY_TEXT_SIZE];

    amqp_reply_text(reply, e, text);
    log_error(c->config->log, "channel",
              "channel error on connection (%s, vhost: '%s', user: '%s'), "
              "channel %u: operation %s caused a channel exception: %s",
              c->bc.name, c->bc.vhost, c->bc.user, ch->number,
              amqp_method_name(ch->method), reply);
    amqp_channel_release(ch);
    ch->is_closing = true;
    m.channel_close.reply_code = e->code;
    m.channel_close.reply_text = amqp_text(reply);
    m.channel_close.class_id = amqp_class_of(ch->method);
    m.channel_close.method_id = amqp_method_of(ch->method);
    amqp_channel_send(ch, &m);
    if (is_answer_due) {
        amqp_channel_send(ch, &ok);
    }
}

static void
channel_refuse(struct amqp_channel *ch, const struct amqp_error *e,
               const char *text)
{
    if (e->scope == AMQP_SCOPE_CHANNEL) {
        channel_close(ch, e, text);
    } else {
        amqp_connection_fail(ch->c, e->code, ch->method, "%s", text);
    }
}

void
amqp_channel_fail(struct amqp_channel *ch, enum amqp_code code, const char *fmt,
                  ...)
{
    char text[CHANNEL_TEXT_SIZE];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    channel_refuse(ch, amqp_error(code), text);
}

void
amqp_channel_fault(struct amqp_channel *ch, const struct broker_fault *fault)
{
    channel_refuse(ch, amqp_error_of_fault(fault->kind), fault->text);
}

bool
amqp_channel_queue_name(struct amqp_channel *ch, struct amqp_text text,
                        struct meta_text *out)
{
    if (text.size > 0) {
        *out = meta_text_of(text);
        return true;
    }
    if (ch->last_queue_size == 0) {
        amqp_channel_fail(ch, AMQP_NOT_FOUND, "no previously declared queue");
        return false;
    }
    *out = (struct meta_text){ch->last_queue, ch->last_queue_size};
    return true;
}

bool
amqp_channel_check_arguments(struct amqp_channel *ch, struct amqp_text table)
{
    if (table.size <= META_ARGUMENTS_SIZE_MAX) {
        return true;
    }
    amqp_channel_fail(ch, AMQP_PRECONDITION_FAILED,
                      "arguments of %zu bytes are larger than the maximum of "
                      "%d bytes",
                      table.size, META_ARGUMENTS_SIZE_MAX);
    return false;
}

static void
channel_flow(struct amqp_channel *ch, const struct amqp_method *m)
{
    struct amqp_method ok = {.id = AMQP_channel_flow_ok};

    if (!m->channel_flow.active) {
        amqp_channel_fail(ch, AMQP_NOT_IMPLEMENTED, "active=false");
        return;
    }
    ok.channel_flow_ok.active = true;
    amqp_channel_send(ch, &ok);
}

static void
channel_reopen(struct amqp_channel *ch, const struct amqp_method *m)
{
    (void)m;
    amqp_channel_fail(ch, AMQP_CHANNEL_ERROR, "second 'channel.open' seen");
}

/* What waited behind the close of channel NUMBER means what it would have
 * meant if it had come after it: the channel again, which then has the rest as
 * its input, or an error. */
static void
channel_follow(struct amqp_connection *c, uint16_t number, struct ring *behind)
{
    while (behind->count > 0 && c->state < AMQP_CLOSING) {
        struct amqp_channel *again = map_get(&c->channels, number);
        struct amqp_waiting w;
        struct amqp_frame frame;
        struct ring empty;

        if (again != NULL) {
            ASSERT(again->waiting.count == 0);
            empty = again->waiting;
            again->waiting = *behind;
            *behind = empty;
            return;
        }
        w = channel_take_waiting(c, behind);
        frame = (struct amqp_frame){.type = w.type,
                                    .channel = number,
                                    .payload = w.payload.data,
                                    .size = (uint32_t)w.payload.size};
        amqp_channel_frame(c, &frame, &w.payload);
        slice_unref(&w.payload);
    }
    channel_drop_waiting(c, behind);
}

/* All that came before it has been handed to the broker. */
static void
channel_closed_by_client(struct amqp_channel *ch, const struct amqp_method *m)
{
    struct amqp_method ok = {.id = AMQP_channel_close_ok};
    struct amqp_connection *c = ch->c;
    struct ring behind = ch->waiting;
    uint16_t number = ch->number;

    (void)m;
    ring_init(&ch->waiting, sizeof(struct amqp_waiting));
    amqp_channel_tell(ch);
    channel_remove(ch);
    amqp_output_method(c, number, &ok);
    channel_follow(c, number, &behind);
    ring_deinit(&behind);
}

static void
channel_access(struct amqp_channel *ch, const struct amqp_method *m)
{
    struct amqp_method ok = {.id = AMQP_access_request_ok};

    (void)m;
    ok.access_request_ok.ticket = 1;
    amqp_channel_send(ch, &ok);
}

/* Methods that are not there yet, refused by name. */
static void
channel_not_implemented(struct amqp_channel *ch, const struct amqp_method *m)
{
    amqp_channel_fail(ch, AMQP_NOT_IMPLEMENTED, "%s", amqp_method_name(m->id));
}

/* Answers to what the server never asks, or asks without caring. */
static void
channel_ignore(struct amqp_channel *ch, const struct amqp_method *m)
{
    (void)ch;
    (void)m;
}

/* What a client may send; the rest is 503. */
static const amqp_channel_handler HANDLERS[AMQP_ROWS] = {
    [AMQP_ROW_channel_open] = channel_reopen,
    [AMQP_ROW_channel_flow] = channel_flow,
    [AMQP_ROW_channel_flow_ok] = channel_ignore,
    [AMQP_ROW_channel_close] = channel_closed_by_client,
    [AMQP_ROW_access_request] = channel_access,
    [AMQP_ROW_exchange_declare] = amqp_exchange_declare,
    [AMQP_ROW_exchange_delete] = amqp_exchange_delete,
    [AMQP_ROW_exchange_bind] = amqp_exchange_bind,
    [AMQP_ROW_exchange_unbind] = amqp_exchange_unbind,
    [AMQP_ROW_queue_declare] = amqp_queue_declare,
    [AMQP_ROW_queue_bind] = amqp_queue_bind,
    [AMQP_ROW_queue_unbind] = amqp_queue_unbind,
    [AMQP_ROW_queue_purge] = amqp_queue_purge,
    [AMQP_ROW_queue_delete] = amqp_queue_delete,
    [AMQP_ROW_basic_qos] = amqp_qos,
    [AMQP_ROW_basic_consume] = amqp_consume,
    [AMQP_ROW_basic_cancel] = amqp_cancel,
    [AMQP_ROW_basic_cancel_ok] = channel_ignore,
    [AMQP_ROW_basic_publish] = amqp_publish_method,
    [AMQP_ROW_basic_get] = amqp_get,
    [AMQP_ROW_basic_ack] = amqp_ack,
    [AMQP_ROW_basic_nack] = amqp_nack,
    [AMQP_ROW_basic_reject] = amqp_reject,
    [AMQP_ROW_basic_recover] = amqp_recover,
    [AMQP_ROW_basic_recover_async] = amqp_recover_async,
    [AMQP_ROW_confirm_select] = amqp_confirm_select,
    [AMQP_ROW_tx_select] = channel_not_implemented,
    [AMQP_ROW_tx_commit] = channel_not_implemented,
    [AMQP_ROW_tx_rollback] = channel_not_implemented,
};

/* In the middle of a message, only its frames may come. */
static void
channel_unexpected(struct amqp_channel *ch)
{
    ch->method = AMQP_basic_publish;
    switch (ch->in.expect) {
    case AMQP_EXPECT_METHOD:
        ch->method = AMQP_NO_METHOD;
        amqp_channel_fail(ch, AMQP_UNEXPECTED_FRAME,
                          "expected method frame, got non method frame "
                          "instead");
        return;
    case AMQP_EXPECT_HEADER:
        amqp_channel_fail(ch, AMQP_UNEXPECTED_FRAME,
                          "expected content header for class %d, got non "
                          "content header frame instead",
                          AMQP_CLASS_BASIC);
        return;
    case AMQP_EXPECT_BODY:
        amqp_channel_fail(ch, AMQP_UNEXPECTED_FRAME,
                          "expected content body, got non content body "
                          "frame instead");
        return;
    }
    UNREACHABLE("what is expected");
}

static void
channel_method(struct amqp_channel *ch, const struct slice *payload)
{
    struct amqp_method m;
    struct error err = {""};
    enum amqp_row row = AMQP_ROWS;
    int rv = amqp_method_decode(payload->data, payload->size, &m, &err);

    if (rv != 0) {
        ch->method = AMQP_NO_METHOD;
        amqp_channel_fail(ch,
                          rv == -QR_EUNSUPPORTED ? AMQP_COMMAND_INVALID
                                                 : AMQP_SYNTAX_ERROR,
                          "%s", err.text);
        return;
    }
    ch->method = m.id;
    row = amqp_method_row(m.id);
    if (HANDLERS[row] == NULL) {
        amqp_channel_fail(ch, AMQP_COMMAND_INVALID, "unimplemented method %s",
                          amqp_method_name(m.id));
        return;
    }
    HANDLERS[row](ch, &m);
}

/* PAYLOAD is borrowed; so are references within it unless they are taken. */
static void
channel_dispatch(struct amqp_channel *ch, uint8_t type,
                 const struct slice *payload)
{
    if (type == AMQP_FRAME_METHOD && ch->in.expect == AMQP_EXPECT_METHOD) {
        channel_method(ch, payload);
    } else if (type == AMQP_FRAME_HEADER &&
               ch->in.expect == AMQP_EXPECT_HEADER) {
        amqp_publish_header(ch, payload);
    } else if (type == AMQP_FRAME_BODY && ch->in.expect == AMQP_EXPECT_BODY) {
        amqp_publish_body(ch, payload);
    } else {
        channel_unexpected(ch);
    }
}

/* Whether CH has input that may be dispatched now; it yields to others when
 * the connection has had its share of this turn. */
static bool
channel_has_input(struct amqp_channel *ch)
{
    if (ch == NULL || ch->is_calling || ch->is_closing ||
        ch->waiting.count == 0) {
        return false;
    }
    if ((ch->c->pauses & AMQP_PAUSE_TURN) == 0) {
        return true;
    }
    if (!list_is_linked(&ch->yielding_link)) {
        list_push_back(&ch->c->yielding, &ch->yielding_link);
    }
    return false;
}

/* What waited behind a call of channel NUMBER goes on. */
static void
channel_continue(struct amqp_connection *c, uint16_t number)
{
    for (;;) {
        /* Any frame may have closed it. */
        struct amqp_channel *ch = map_get(&c->channels, number);
        struct amqp_waiting w;
        size_t size = 0;

        if (!channel_has_input(ch)) {
            break;
        }
        w = channel_take_waiting(c, &ch->waiting);
        size = w.payload.size + AMQP_FRAME_OVERHEAD;
        channel_dispatch(ch, w.type, &w.payload);
        slice_unref(&w.payload);
        amqp_connection_share(c, size);
    }
    channel_relieve(c);
    amqp_connection_drained(c);
}

void
amqp_channel_continue(struct amqp_channel *ch)
{
    OBJ_CHECK(ch, AMQP_CHANNEL_MAGIC);
    channel_continue(ch->c, ch->number);
}

static void
channel_done(struct broker_call *call, const struct broker_reply *reply)
{
    struct amqp_channel *ch = call->arg;
    struct amqp_connection *c = NULL;
    uint16_t number = 0;

    OBJ_CHECK(ch, AMQP_CHANNEL_MAGIC);
    ASSERT(ch->is_calling);
    c = ch->c;
    number = ch->number;
    ch->is_calling = false;
    if (reply->fault.kind == BROKER_OK) {
        ch->resume(ch, reply);
    } else {
        amqp_channel_fault(ch, &reply->fault);
    }
    channel_continue(c, number);
}

void
amqp_channel_begin(struct amqp_channel *ch, bool nowait,
                   void (*resume)(struct amqp_channel *ch,
                                  const struct broker_reply *reply))
{
    ASSERT(!ch->is_calling);
    ch->is_calling = true;
    ch->is_nowait = nowait;
    ch->resume = resume;
    ch->call = (struct broker_call){.done = channel_done, .arg = ch};
}

static void
channel_wait(struct amqp_channel *ch, uint8_t type, const struct slice *payload)
{
    struct amqp_connection *c = ch->c;
    struct amqp_waiting *w = ring_push_back(&ch->waiting);

    w->type = type;
    w->payload = payload->size <= AMQP_WAITING_COPY_MAX
                     ? slice_copy(payload->data, payload->size)
                     : slice_ref(payload);
    c->waiting_frames++;
    c->waiting_bytes += payload->size;
    if (c->waiting_frames >= AMQP_WAITING_FRAMES_MAX ||
        c->waiting_bytes >= AMQP_WAITING_BYTES_MAX) {
        amqp_connection_pause(c, AMQP_PAUSE_WAITING, true);
    }
}

/* Our channel.close is on its way. */
static void
channel_closing(struct amqp_channel *ch, const struct amqp_frame *frame)
{
    struct amqp_method ok = {.id = AMQP_channel_close_ok};
    uint32_t id = channel_method_id(frame->type, frame->payload, frame->size);

    if (id == AMQP_channel_close) {
        amqp_channel_send(ch, &ok);
    } else if (id == AMQP_channel_close_ok) {
        channel_remove(ch);
    }
}

void
amqp_channel_frame(struct amqp_connection *c, const struct amqp_frame *frame,
                   const struct slice *bytes)
{
    struct amqp_channel *ch = map_get(&c->channels, frame->channel);
    struct slice payload = {bytes->block, frame->payload, frame->size};
    uint32_t id = channel_method_id(frame->type, frame->payload, frame->size);

    if (ch == NULL) {
        if (id == AMQP_channel_open) {
            channel_open(c, frame->channel);
            return;
        }
        amqp_connection_fail(c, AMQP_CHANNEL_ERROR, id,
                             "expected 'channel.open'");
        return;
    }
    if (ch->is_closing) {
        channel_closing(ch, frame);
    } else if (ch->is_calling || ch->waiting.count > 0) {
        channel_wait(ch, frame->type, &payload);
    } else {
        channel_dispatch(ch, frame->type, &payload);
    }
}

static void
channel_tell_one(void *arg, uint64_t tag, bool multiple, bool is_ok)
{
    struct amqp_channel *ch = arg;
    struct amqp_method m = {.id = is_ok ? AMQP_basic_ack : AMQP_basic_nack};

    if (is_ok) {
        m.basic_ack.delivery_tag = tag;
        m.basic_ack.multiple = multiple;
    } else {
        m.basic_nack.delivery_tag = tag;
        m.basic_nack.multiple = multiple;
    }
    amqp_channel_send(ch, &m);
}

void
amqp_channel_tell(struct amqp_channel *ch)
{
    OBJ_CHECK(ch, AMQP_CHANNEL_MAGIC);
    confirms_tell(&ch->confirms, channel_tell_one, ch);
    ch->listed.unconfirmed = ch->confirms.pending;
}
