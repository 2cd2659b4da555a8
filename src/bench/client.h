/* One connection to a broker, with one channel.
 *
 *     client_open
 *         |
 *    connecting --> starting --> tuning --> opening --> channel --> open
 *         |             |           |          |           |          |
 *         |             +-----------+----------+-----------+----------+
 *         |                 refused, lost, deadline        |          |
 *         |                     |                          |    client_close
 *         v                     v                          v          v
 *        down <-- on_down --- ending <------------------------- closing
 *
 * Consumer tags are numbers. Deliveries and confirms have callbacks of their
 * own, decoded by hand; everything else comes as a method. */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "bench/options.h"

struct amqp_method;
struct net;
struct slice;
struct stream;
struct stream_connect;

enum {
    CLIENT_CHANNEL = 1,
    CLIENT_HANDSHAKE_MS = 10000, /* from connecting to open */
    CLIENT_CLOSE_MS = 5000,      /* for close-ok */
    CLIENT_BACKLOG_HIGH = 256 << 10,
    CLIENT_BACKLOG_LOW = 64 << 10,
    CLIENT_WHY_SIZE = 320,
    CLIENT_TEXT_SIZE = CLIENT_WHY_SIZE + BENCH_HOST_SIZE + 8
};

enum client_state {
    CLIENT_DOWN,
    CLIENT_CONNECTING,
    CLIENT_STARTING,
    CLIENT_TUNING,
    CLIENT_OPENING,
    CLIENT_CHANNELING,
    CLIENT_OPEN,
    CLIENT_CLOSING, /* waits for close-ok */
    CLIENT_ENDING   /* the socket is being closed */
};

/* What came with basic.deliver or basic.get-ok. */
struct client_message {
    uint64_t tag;
    uint64_t body_size;
    uint32_t consumer; /* its tag; 0 for get-ok */
    bool is_redelivered;
    size_t head_size;
    uint8_t head[BENCH_BODY_HEAD_SIZE]; /* what the body begins with */
};

/* The owner's callbacks. It may call any function of its client in them. */
struct client_events {
    void *arg;
    /* The channel is open. */
    void (*on_open)(void *arg);
    /* Any other method on the channel: answers to what the owner sent. */
    void (*on_method)(void *arg, const struct amqp_method *m);
    /* basic.ack and basic.nack of the broker. May be NULL. */
    void (*on_confirm)(void *arg, uint64_t tag, bool multiple, bool is_ack);
    /* A whole message, borrowed. May be NULL. */
    void (*on_message)(void *arg, const struct client_message *message);
    /* What one read brought has been handled, the socket takes more again, or
     * the broker has lifted a block: time to send. May be NULL. */
    void (*on_turn)(void *arg);
    /* The connection is gone; the client may be opened again at once. TEXT
     * (borrowed) says why; NULL after client_close(). */
    void (*on_down)(void *arg, const char *text);
};

/* What clients have in common; borrowed by them. */
struct ssl_ctx_st;

struct client_setup {
    struct net *net;
    const char *user;
    const char *password;
    const char *vhost;
    uint16_t heartbeat_s;   /* wanted; 0: none */
    struct ssl_ctx_st *tls; /* NULL: plain */
};

/* Embed in its owner; pinned while it is not down. */
struct client {
    unsigned magic;
    enum client_state state;
    const struct client_setup *setup;
    struct client_events events;
    struct stream *stream;
    struct stream_connect *connect;
    size_t frame_max;
    uint64_t now_us; /* of the read under way */
    uint64_t state_us;
    uint64_t in_us;
    uint64_t out_us;
    uint16_t heartbeat_s; /* agreed */
    bool is_blocked;      /* by connection.blocked or channel.flow */
    bool is_silent;       /* dropped: the owner is not called */
    enum {
        CONTENT_NONE,
        CONTENT_HEADER,
        CONTENT_BODY
    } content;
    bool is_return; /* the content is not for the owner */
    uint64_t body_left;
    struct client_message message;
    struct buf out;         /* scratch */
    struct bench_host host; /* the last one */
    const char *down_text;  /* why the socket is being closed */
    char why[CLIENT_WHY_SIZE];
    char text[CLIENT_TEXT_SIZE]; /* the same with the host, for the owner */
};

/* A client that is down. SETUP is borrowed, EVENTS copied. */
void client_init(struct client *c, const struct client_setup *setup,
                 const struct client_events *events);
/* C is down. */
void client_deinit(struct client *c);

/* Connect a client that is down to HOST (borrowed for the call). on_open or
 * on_down follows. */
void client_open(struct client *c, const struct bench_host *host);
/* Say goodbye; on_down(NULL) follows within CLIENT_CLOSE_MS. Of a client that
 * is not open: client_drop(). Harmless when down or closing. */
void client_close(struct client *c);
/* End without a word; no callback follows, client_is_down() tells. */
void client_drop(struct client *c);
bool client_is_down(const struct client *c);
bool client_is_open(const struct client *c);
/* Whether there is no reason to hold back: open, not blocked, and less than
 * CLIENT_BACKLOG_HIGH bytes wait for the socket. */
bool client_may_send(const struct client *c);

/* Send M on the channel; an open client. */
void client_send(struct client *c, const struct amqp_method *m);
/* Send SIZE bytes of whole frames (copied); an open client. */
void client_send_bytes(struct client *c, const void *data, size_t size);

/* Deadlines and heartbeats; call it every 100 ms or more often. */
void client_tick(struct client *c, uint64_t now_us);

#endif
