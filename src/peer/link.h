/* One connection to another node, from its first byte to its last. For the
 * other files of this room; users see peers.h.
 *
 *    TLS --proven--> HELLO --checked--> WAIT --welcome--> LIVE
 *     |                |  \______ senior: welcomes ______/ |
 *     +----------------+---------- CLOSED <----------------+
 */
#ifndef PEER_LINK_H
#define PEER_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "net/tls.h"
#include "peer/hello.h"
#include "peer/peers.h"
#include "peer/psk.h"

struct block;
struct peer;
struct stream;

enum {
    LINK_MAGIC = 0x6c696e6b,
    LINK_READ_SIZE = 64 << 10,    /* plain bytes read at once */
    LINK_READ_ROOM_MIN = 8 << 10, /* less left: a new block */
    LINK_BACKLOG_MAX = 256 << 10, /* encrypted bytes queued at a time */
    LINK_DRAIN_HIGH = 192 << 10,  /* below it, so that the drain is told */
    LINK_DRAIN_LOW = 64 << 10,
    LINK_SHUT_MS = 1000 /* to deliver a refusal */
};

enum link_state {
    LINK_TLS,   /* handshake of TLS */
    LINK_HELLO, /* hello sent, the other's awaited */
    LINK_WAIT,  /* junior: welcome awaited */
    LINK_LIVE,
    LINK_CLOSED /* lost; handles still close */
};

struct link {
    unsigned magic;
    enum link_state state;
    struct peers *peers;
    struct peer *peer; /* whose link this is; NULL until known */
    struct list entry; /* in peers->links */
    bool dialled;      /* from here */
    unsigned handles;  /* stream and timer, that still have to close */
    struct stream *stream;
    struct tls *tls;
    struct psk_peer psk;
    uv_timer_t timer;
    struct peers_identity self; /* as said in the hello */
    struct peers_identity other;
    uint64_t epoch;
    uint64_t since_ms; /* connected */
    uint64_t heard_ms; /* last byte in */
    uint64_t sent_ms;  /* last byte out */
    uint64_t tick_ms;  /* last look at the clock */
    bool silent_told;

    struct block *in; /* plain bytes: [in_start, in_end) unread */
    size_t in_start;
    size_t in_end;
    size_t in_need;

    struct frame *queue[FRAME_CLASS_COUNT]; /* first of each class */
    struct frame *queue_last[FRAME_CLASS_COUNT];
    struct frame *out; /* the one being sent */
    size_t out_part;   /* 0 header, 1 head, then content */
    size_t out_at;     /* bytes of that part that are done */
    uint8_t out_header[FRAME_HEADER_SIZE];
    size_t staged;
    uint8_t stage[TLS_RECORD_SIZE]; /* small parts, until a record is full */
};

/* Run a link over the connected STREAM (taken). PEER is NULL if accepted. */
void link_new(struct peers *peers, struct peer *peer, struct stream *stream);

/* Send the other end away: REASON and TEXT, then close. */
void link_refuse(struct link *l, enum refusal reason, const char *text);

/* Close at once. The owner is told by peers_link_lost() before it returns. */
void link_close(struct link *l);

/* The senior's yes: say welcome, be live. */
void link_welcome(struct link *l);

/* Where the other end is, for logs: "node n2 at 192.0.2.1 port 5". */
void link_describe(const struct link *l, char *text, size_t size);

/* Queue *FRAME (taken) behind others of its class. */
void link_queue(struct link *l, struct frame **frame);
/* Encrypt what is queued, as much as the stream should hold. */
void link_pump(struct link *l);
/* Drop and discharge all that is queued. */
void link_drop_queues(struct link *l);
/* Whether link_pump() has something to do. */
bool link_has_output(const struct link *l);

#endif
