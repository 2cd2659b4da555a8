/* Commands of a queue's log, as bytes: what a queue client sends to the
 * leader is what the log holds and what every replica applies; nobody decodes
 * in between. Layouts: docs/formats/queue.md.
 *
 *   command := u8 kind, then
 *     session commands: varint session, varint seq, kind's fields
 *     control commands: kind's fields
 *
 * A session is one shard of one start of one node; see session_id(). The
 * commands of a session to a queue are numbered 1, 2, 3 ...: a command whose
 * number was seen is recognised and skipped, one beyond the next is refused
 * (the client sends from the gap again). So each takes effect exactly once, in
 * order, whatever leaders and links do in between. */
#ifndef MACHINE_QUEUE_QUEUE_COMMAND_H
#define MACHINE_QUEUE_QUEUE_COMMAND_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"

struct ranges;

enum queue_command_kind {
    /* Session commands. */
    QUEUE_ENQUEUE = 1, /* varint size, bytes: one message, opaque here */
    QUEUE_ATTACH = 2,  /* consumer, credit, flags, tag: a consumer */
    QUEUE_CREDIT = 3,  /* consumer, credit: its new limit of unsettled */
    QUEUE_SETTLE = 4,  /* consumer, ranges of delivery ids: acknowledged */
    QUEUE_RETURN = 5,  /* consumer, ranges: back to the front, redelivered */
    QUEUE_DISCARD = 6, /* consumer, ranges: rejected without requeue */
    QUEUE_CANCEL = 7,  /* consumer: no more deliveries; keeps its unsettled */
    QUEUE_DETACH = 8,  /* consumer: gone; its unsettled return */
    QUEUE_GET = 9,     /* consumer: one message to it now, or none. The
                          consumer needs no ATTACH and has no credit */
    QUEUE_PURGE = 10,  /* drop what is ready */
    /* Control commands. */
    QUEUE_SESSION_DOWN = 32, /* node, boot: all sessions of that node whose boot
                                is <= boot are dead; what they held returns */
    QUEUE_SET_ASIDE = 33     /* ranges of entries: their bytes have rotted on
                                every replica; their messages are not delivered,
                                and count as lost */
};

enum {
    QUEUE_MESSAGE_SIZE_MAX = 17 << 20, /* bytes of one ENQUEUE's message */
    QUEUE_TAG_SIZE_MAX = 255,
    QUEUE_RANGES_MAX = 4096, /* ranges in one command */
    QUEUE_SESSIONS_MAX = 65536,
    QUEUE_CONSUMERS_MAX = 65536,  /* attached, cancelled and of GET */
    QUEUE_MESSAGES_MAX = 1 << 30, /* ready and unsettled */
    QUEUE_CREDIT_MAX = 65535      /* unsettled deliveries of one consumer */
};

enum {
    QUEUE_ATTACH_EXCLUSIVE = 1,
    QUEUE_ATTACH_NO_ACK = 2 /* for listings; its client settles by itself */
};

/* The session of SHARD of start number BOOT of NODE (NODE < 65536). */
static inline uint64_t
session_id(qr_node_id node, uint32_t boot, uint16_t shard)
{
    return ((uint64_t)node << 48) | ((uint64_t)boot << 16) | shard;
}

static inline qr_node_id
session_node(uint64_t session)
{
    return (qr_node_id)(session >> 48);
}

static inline uint32_t
session_boot(uint64_t session)
{
    return (uint32_t)(session >> 16);
}

static inline uint16_t
session_shard(uint64_t session)
{
    return (uint16_t)session;
}

/* A decoded command; pointers are borrowed from the input. */
struct queue_command {
    enum queue_command_kind kind;
    uint64_t session;
    uint64_t seq;
    uint64_t consumer;    /* unique within its session, never used again */
    uint32_t credit;      /* 0 = unlimited, meaning QUEUE_CREDIT_MAX */
    uint32_t flags;       /* QUEUE_ATTACH_* */
    const uint8_t *bytes; /* message, or tag */
    size_t size;
    const uint8_t *ranges; /* encoded; see queue_ranges_next() */
    size_t ranges_size;
    qr_node_id node; /* SESSION_DOWN */
    uint32_t boot;
};

/* The bytes before a message's own in an ENQUEUE: append the message after
 * it (so that bodies need no staging). */
void queue_put_enqueue(struct buf *b, uint64_t session, uint64_t seq,
                       size_t message_size);
/* ATTACH's consumer, credit, flags and tag (bytes, size). */
void queue_put_attach(struct buf *b, uint64_t session, uint64_t seq,
                      const struct queue_command *attach);
/* CREDIT. */
void queue_put_credit(struct buf *b, uint64_t session, uint64_t seq,
                      uint64_t consumer, uint32_t credit);
/* SETTLE, RETURN or DISCARD of IDS (count <= QUEUE_RANGES_MAX, no id 0) by
 * HEAD's session, seq and consumer. */
void queue_put_ids(struct buf *b, enum queue_command_kind kind,
                   const struct queue_command *head, const struct ranges *ids);
/* CANCEL, DETACH or GET. */
void queue_put_consumer(struct buf *b, enum queue_command_kind kind,
                        uint64_t session, uint64_t seq, uint64_t consumer);
void queue_put_purge(struct buf *b, uint64_t session, uint64_t seq);
void queue_put_session_down(struct buf *b, qr_node_id node, uint32_t boot);
/* SET_ASIDE of ENTRIES (their count of ranges <= QUEUE_RANGES_MAX, no index 0),
 * all before the entry that the command becomes part of. */
void queue_put_set_aside(struct buf *b, const struct ranges *entries);

/* Decode the command at C. 0, or -QR_EFORMAT (C is then bad). */
MUST_USE int queue_command_next(struct cursor *c, struct queue_command *out);
/* Walk encoded ranges, ascending: false at the end. C was set on ranges and
 * ranges_size; *LAST is 0 before the first call and left alone between calls,
 * as each range is coded by its distance from the one before. */
bool queue_ranges_next(struct cursor *c, uint64_t *first, uint64_t *last);

#endif
