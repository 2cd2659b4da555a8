/* Events and stored messages as bytes; see queue_events.h. */
#include "broker/queue_events.h"

#include <string.h>

#include "broker/broker.h"

enum {
    STORED_VERSION = 1
};

void
queue_event_put(struct buf *b, const struct queue_effect *effect)
{
    buf_put_u8(b, (uint8_t)effect->kind);
    switch (effect->kind) {
    case QUEUE_EFFECT_APPLIED:
    case QUEUE_EFFECT_GAP:
        buf_put_varint(b, effect->seq);
        break;
    case QUEUE_EFFECT_RESULT:
        buf_put_varint(b, effect->seq);
        buf_put_u8(b, (uint8_t)effect->status);
        buf_put_varint(b, effect->value);
        break;
    case QUEUE_EFFECT_DELIVER:
        buf_put_varint(b, effect->consumer);
        buf_put_varint(b, effect->delivery);
        buf_put_varint(b, effect->count);
        buf_put_varint(b, effect->message.size);
        break;
    case QUEUE_EFFECT_ABSENT:
        buf_put_varint(b, effect->consumer);
        buf_put_varint(b, effect->delivery);
        break;
    case QUEUE_EFFECT_UNUSED:
        UNREACHABLE("UNUSED stays on the leader");
    }
}

bool
queue_event_next(struct cursor *c, struct queue_effect *out)
{
    memset(out, 0, sizeof(*out));
    switch (cursor_u8(c)) {
    case QUEUE_EFFECT_APPLIED:
        out->kind = QUEUE_EFFECT_APPLIED;
        out->seq = cursor_varint(c);
        break;
    case QUEUE_EFFECT_GAP:
        out->kind = QUEUE_EFFECT_GAP;
        out->seq = cursor_varint(c);
        break;
    case QUEUE_EFFECT_RESULT:
        out->kind = QUEUE_EFFECT_RESULT;
        out->seq = cursor_varint(c);
        out->status = (enum queue_status)cursor_u8(c);
        out->value = cursor_varint(c);
        break;
    case QUEUE_EFFECT_DELIVER:
        out->kind = QUEUE_EFFECT_DELIVER;
        out->consumer = cursor_varint(c);
        out->delivery = cursor_varint(c);
        out->count = (uint32_t)cursor_varint(c);
        out->message.size = (uint32_t)cursor_varint(c);
        break;
    case QUEUE_EFFECT_ABSENT:
        out->kind = QUEUE_EFFECT_ABSENT;
        out->consumer = cursor_varint(c);
        out->delivery = cursor_varint(c);
        break;
    default:
        c->bad = true;
        break;
    }
    return !c->bad;
}

static size_t
varint_size(uint64_t v)
{
    size_t n = 1;

    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

size_t
stored_message_size(const struct broker_message *m)
{
    return 3 + m->exchange.size + m->key.size +
           varint_size(m->properties.size) + m->properties.size + m->body_size;
}

void
stored_message_put(struct buf *b, const struct broker_message *m)
{
    size_t before = b->size;

    ASSERT(m->exchange.size <= QR_NAME_SIZE_MAX);
    ASSERT(m->key.size <= QR_NAME_SIZE_MAX);
    buf_put_u8(b, STORED_VERSION);
    buf_put_u8(b, (uint8_t)m->exchange.size);
    buf_put(b, m->exchange.data, m->exchange.size);
    buf_put_u8(b, (uint8_t)m->key.size);
    buf_put(b, m->key.data, m->key.size);
    buf_put_blob(b, m->properties.data, m->properties.size);
    for (size_t i = 0; i < m->body_count; i++) {
        buf_put(b, m->body[i].data, m->body[i].size);
    }
    ASSERT(b->size - before == stored_message_size(m));
}

bool
stored_message_get(const uint8_t *data, size_t size, struct stored_message *out)
{
    struct cursor c;

    cursor_init(&c, data, size);
    if (cursor_u8(&c) != STORED_VERSION) {
        return false;
    }
    out->exchange_size = cursor_u8(&c);
    out->exchange = cursor_bytes(&c, out->exchange_size);
    out->key_size = cursor_u8(&c);
    out->key = cursor_bytes(&c, out->key_size);
    out->properties = cursor_blob(&c, &out->properties_size);
    if (c.bad) {
        return false;
    }
    out->body = c.at;
    out->body_size = cursor_left(&c);
    return true;
}
