/* Events from a queue's leader to its clients, as bytes (docs/formats/
 * broker.md): what became of commands, and deliveries.
 *
 *   content := u32 size of events, events, messages
 *   event   := u8 kind, then
 *     APPLIED: varint seq
 *     GAP:     varint expected seq
 *     RESULT:  varint seq, u8 status, varint value
 *     DELIVER: varint consumer, varint delivery, varint count, varint size
 *              of its message; messages follow the events in their order
 *     ABSENT:  varint consumer, varint delivery: its message is lost */
#ifndef BROKER_QUEUE_EVENTS_H
#define BROKER_QUEUE_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "machine/queue/queue_machine.h"

/* Append EFFECT (any kind but UNUSED). */
void queue_event_put(struct buf *b, const struct queue_effect *effect);
/* Decode the next; `message` is not set. False when C is bad. */
bool queue_event_next(struct cursor *c, struct queue_effect *out);

/* A message in a queue's log:
 *   u8 version (1), u8 size + exchange, u8 size + key,
 *   varint size + properties, body to the end. */
struct stored_message {
    const uint8_t *exchange;
    size_t exchange_size;
    const uint8_t *key;
    size_t key_size;
    const uint8_t *properties;
    size_t properties_size;
    const uint8_t *body;
    size_t body_size;
};

struct broker_message;
/* Bytes that stored_message_put() will append. */
size_t stored_message_size(const struct broker_message *message);
void stored_message_put(struct buf *b, const struct broker_message *message);
bool stored_message_get(const uint8_t *data, size_t size,
                        struct stored_message *out);

#endif
