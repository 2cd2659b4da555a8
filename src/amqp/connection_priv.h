/* What the files of a connection share: its state, output, and how it fails.
 * For this room and its tests. */
#ifndef AMQP_CONNECTION_PRIV_H
#define AMQP_CONNECTION_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "amqp/connection.h"
#include "amqp/content.h"
#include "amqp/errors.h"
#include "amqp/frame.h"
#include "amqp/limits.h"
#include "amqp/method.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/ring.h"
#include "base/slice.h"
#include "broker/broker.h"

enum {
    AMQP_CONNECTION_MAGIC = 0x23490c01
};

enum amqp_state {
    AMQP_HEADER,
    AMQP_START,
    AMQP_AUTHENTICATING,
    AMQP_TUNE,
    AMQP_OPEN,
    AMQP_RUNNING,
    AMQP_DRAINING,
    AMQP_CLOSING,
    AMQP_CLOSED
};

/* Why the client is not read; bits. */
enum amqp_pause {
    AMQP_PAUSE_AUTHENTICATING = 1, /* until it is known who it is */
    AMQP_PAUSE_CONGESTED = 2,      /* a publisher has too much under way */
    AMQP_PAUSE_WAITING = 4,        /* too much waits on channels */
    AMQP_PAUSE_ANSWERS = 8,        /* it does not take its answers */
    AMQP_PAUSE_BLOCKED = 16,       /* an alarm, and it publishes */
    AMQP_PAUSE_TURN = 32           /* it has had its share of this turn */
};

/* Client capabilities that change what is sent. */
struct amqp_capabilities {
    bool consumer_cancel_notify;
    bool connection_blocked;
    bool authentication_failure_close;
};

/* A stretch of output: when the socket has taken everything before POSITION,
 * deliveries up to ID of CONSUMER are settled. */
struct amqp_mark {
    struct amqp_consumer *consumer;
    uint64_t id;
    uint64_t position;
    uint64_t begun; /* position when it was made; it may have moved since */
};

struct amqp_output {
    struct buf frames; /* under construction; empty between calls */
    uint64_t written;  /* bytes, ever */
    uint64_t taken;    /* of them, by the socket, as far as is known */
    uint64_t answers;  /* bytes but deliveries' that may not be taken yet */
    struct ring marks; /* struct amqp_mark */
};

struct amqp_beat {
    uint64_t seen_in;  /* bytes_received at the last tick */
    uint64_t seen_out; /* bytes_sent then */
    uint64_t heard_ms; /* the last tick that found something received */
    uint64_t next_ms;
};

struct amqp_connection {
    unsigned magic;
    enum amqp_state state;
    const struct amqp_config *config;
    struct broker *broker;
    struct amqp_transport transport;
    struct broker_connection bc;
    struct broker_call call; /* authentication */
    bool is_registered;      /* with the broker */
    bool is_loopback;
    bool is_lost;
    bool is_turn_wanted;
    bool has_published;
    bool is_garbled; /* what follows cannot be understood */
    struct amqp_capabilities capabilities;
    unsigned pauses;      /* enum amqp_pause */
    char alarm_text[128]; /* why publishers are held up; "": they are not */
    char mechanism[32];
    char *certified_user; /* who may log in with EXTERNAL; NULL: nobody */
    uint32_t frame_max;
    uint16_t channel_max;
    uint16_t heartbeat_s;
    size_t need;
    size_t unread;       /* bytes shown and not consumed */
    uint64_t share_ms;   /* when the share below was begun */
    size_t share_frames; /* taken of it */
    size_t share_bytes;
    uint64_t deadline_ms; /* of the handshake, DRAINING, CLOSING; else never */
    uint64_t told_ms;     /* the deadline that the transport knows */
    struct amqp_beat beat;
    struct amqp_output out;
    struct map channels;  /* number -> struct amqp_channel */
    struct list telling;  /* channels that have confirms to tell */
    struct list yielding; /* channels whose input waits for the next turn */
    struct list hungry;   /* consumers with less credit than they want */
    struct list fresh;    /* those of them that have got nothing yet */
    uint64_t fresh_ms;    /* when to look at them again; or never */
    size_t congested;     /* channels whose publisher is */
    size_t waiting_frames;
    size_t waiting_bytes;
    struct list incomplete;  /* channels whose message's properties still
                                refer to the input */
    size_t incomplete_bytes; /* of messages, on all channels */
    size_t consumers;        /* of all channels */
};

static inline struct meta_text
meta_text_of(struct amqp_text t)
{
    return (struct meta_text){t.data, t.size};
}

static inline struct amqp_text
amqp_text_of(struct meta_text t)
{
    return (struct amqp_text){t.data, t.size};
}

/* connection.c */

/* Whether frames are taken; not while any pause lasts, or when it is over. */
bool amqp_connection_is_reading(const struct amqp_connection *c);
/* Go to STATE, in listings too. */
void amqp_connection_set_state(struct amqp_connection *c,
                               enum amqp_state state);
/* Heartbeats begin, at the negotiated interval. */
void amqp_connection_beat_start(struct amqp_connection *c);
/* Begin or end one reason for not reading. */
void amqp_connection_pause(struct amqp_connection *c, enum amqp_pause why,
                           bool on);
/* Tell the transport about a changed deadline; UINT64_MAX: none. */
void amqp_connection_arm(struct amqp_connection *c);
/* Set the state's deadline to MS from now; UINT64_MAX: none. */
void amqp_connection_expect(struct amqp_connection *c, uint64_t ms);
/* The alarm stops reading, and the client is told, once it publishes. */
void amqp_connection_blocked_check(struct amqp_connection *c);
/* LINK (amqp_consumer.waiting_link) is of a consumer that has just begun with
 * less credit than it wants. */
void amqp_connection_fresh(struct amqp_connection *c, struct list *link);
/* A frame of SIZE bytes was taken. Whoever has sent more than its share waits
 * until the others have had theirs: AMQP_PAUSE_TURN. */
void amqp_connection_share(struct amqp_connection *c, size_t size);
/* Ask for a turn. */
void amqp_connection_want_turn(struct amqp_connection *c);

/* closing.c */

/* End the connection with an error: connection.close, then CLOSING. The text
 * is put behind the code's name. METHOD is what caused it. */
void amqp_connection_fail(struct amqp_connection *c, enum amqp_code code,
                          uint32_t method, const char *fmt, ...) PRINTF(4, 5);
/* The transport is to close. FLUSH: after what is queued. */
void amqp_connection_end(struct amqp_connection *c, bool flush);
/* A channel became idle: DRAINING may be over. */
void amqp_connection_drained(struct amqp_connection *c);

/* handshake.c */

/* The protocol header, of which SIZE bytes are there; returns what it takes,
 * 0 for not enough yet. */
size_t amqp_handshake_header(struct amqp_connection *c, const uint8_t *data,
                             size_t size);
/* A method on channel 0. */
void amqp_handshake_method(struct amqp_connection *c,
                           const struct amqp_method *m);

/* output.c */

/* Send a method on CHANNEL. */
void amqp_output_method(struct amqp_connection *c, uint16_t channel,
                        const struct amqp_method *m);
/* A method with content; all is borrowed. */
struct amqp_outgoing {
    uint16_t channel;
    const struct amqp_method *method;
    const struct slice *properties; /* from the flags on */
    const struct slice *body;       /* pieces, borrowed */
    size_t body_count;
    size_t body_size;
    bool is_answer; /* counts towards AMQP_ANSWERS_BYTES_MAX */
};
/* Send it, the body in frames of the negotiated size. */
void amqp_output_content(struct amqp_connection *c,
                         const struct amqp_outgoing *o);
/* Raw bytes: the protocol header, a heartbeat. */
void amqp_output_bytes(struct amqp_connection *c, const void *data,
                       size_t size);
/* All deliveries of CONSUMER up to ID have been written. */
void amqp_output_mark(struct amqp_connection *c, struct amqp_consumer *consumer,
                      uint64_t id);
/* CONSUMER is going away: no mark refers to it any more. */
void amqp_output_forget(struct amqp_connection *c,
                        const struct amqp_consumer *consumer);
/* The socket has taken all but BACKLOG bytes. */
void amqp_output_taken(struct amqp_connection *c, size_t backlog);

#endif
