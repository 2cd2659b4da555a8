/* A channel of a connection: one handler per method, content assembly, and
 * order.
 *
 * While a call to the broker is under way, what the client sends on the
 * channel waits, so that effects happen in the order of the wire; other
 * channels go on.
 *
 *   (none) --open--> OPEN --channel.close--> (none), after what came before it
 *                     |
 *                     +--error--> CLOSING --close-ok--> (none)
 *
 * CLOSING has left the broker already and discards. */
#ifndef AMQP_CHANNEL_H
#define AMQP_CHANNEL_H

#include "amqp/confirms.h"
#include "amqp/connection_priv.h"
#include "amqp/content.h"
#include "amqp/unacked.h"

enum {
    AMQP_CHANNEL_MAGIC = 0x2349c4a2,
    AMQP_CONSUMER_MAGIC = 0x2349c053
};

struct amqp_channel;

/* A consumer, or the holder of what basic.get got from one queue. */
struct amqp_consumer {
    unsigned magic;
    struct amqp_channel *channel;
    struct broker_consumer bc;
    struct list link; /* amqp_channel.consumers, .holders or .leaving */
    bool is_no_ack;
    bool is_leaving; /* cancelled; goes when nothing is unsettled */
    uint64_t unsettled;
    uint32_t limit;  /* unsettled deliveries that the client wants at most */
    uint32_t credit; /* what the broker was told of it */
    uint32_t size_average; /* of its deliveries; 0: none yet */
    struct list
        waiting_link; /* amqp_connection.hungry or .fresh, or self-linked */
    uint64_t drained; /* no_ack: settled up to here */
    size_t name_size;
    char name[]; /* consumer tag, or queue for a holder */
};

/* A message of the client's that is arriving. */
struct amqp_assembly {
    enum {
        AMQP_EXPECT_METHOD,
        AMQP_EXPECT_HEADER,
        AMQP_EXPECT_BODY
    } expect;
    bool is_mandatory;
    uint8_t exchange_size;
    uint8_t key_size;
    char exchange[AMQP_SHORTSTR_MAX];
    char key[AMQP_SHORTSTR_MAX];
    struct slice properties;
    struct slice *pieces; /* of the body so far */
    size_t pieces_count;
    size_t pieces_capacity;
    struct block *chunk; /* the last piece's, while it has room */
    uint64_t body_size;
    uint64_t received;
    size_t held;      /* bytes of memory; part of connection.incomplete_bytes */
    struct list link; /* amqp_connection.incomplete, or self-linked */
};

/* Input that waits for a call; the payload is a reference. */
struct amqp_waiting {
    uint8_t type;
    struct slice payload;
};

struct amqp_channel {
    unsigned magic;
    struct amqp_connection *c;
    uint16_t number;
    bool is_closing;    /* channel.close was sent */
    bool is_calling;    /* a call is under way */
    bool is_nowait;     /* its answer is not wanted */
    bool is_global;     /* the prefetch is shared by the channel's consumers */
    bool is_get_no_ack; /* of the basic.get under way */
    bool is_publishing;
    bool is_congested;
    enum amqp_method_id method; /* being handled, or being called for */
    struct broker_call call;
    /* What to do with its reply. */
    void (*resume)(struct amqp_channel *ch, const struct broker_reply *reply);
    struct amqp_consumer *subject; /* of the call */
    struct broker_channel listed;
    struct broker_publisher publisher;
    struct amqp_assembly in;
    struct ring waiting; /* struct amqp_waiting */
    struct confirms confirms;
    struct list telling_link;
    struct list yielding_link; /* amqp_connection.yielding, or self-linked */
    struct unacked unacked;
    uint64_t next_tag;
    struct strmap tags;          /* consumer tag -> struct amqp_consumer */
    struct amqp_consumer *reply; /* of direct reply-to, or NULL */
    uint8_t reply_queue_size;
    char reply_queue[AMQP_SHORTSTR_MAX];
    struct list consumers;
    struct list holders; /* of basic.get, most recently used first */
    struct list leaving;
    size_t holders_count;
    uint64_t generated; /* consumer tags made */
    uint8_t last_queue_size;
    char last_queue[AMQP_SHORTSTR_MAX];
};

typedef void (*amqp_channel_handler)(struct amqp_channel *ch,
                                     const struct amqp_method *m);

/* channel.c */

/* A frame on a channel that may or may not exist. BYTES is the input that
 * FRAME lies in, for references. */
void amqp_channel_frame(struct amqp_connection *c,
                        const struct amqp_frame *frame,
                        const struct slice *bytes);
/* Leave the broker: consumers are detached, the publisher is closed, what
 * waits is dropped. Idempotent. */
void amqp_channel_release(struct amqp_channel *ch);
/* Release and free the channel; nothing is sent. */
void amqp_channel_free(struct amqp_channel *ch);
/* Whether it waits for nothing. */
bool amqp_channel_is_idle(const struct amqp_channel *ch);
/* What waits goes on, up to the next call, or to the connection's share of this
 * turn. CH may be gone after it. */
void amqp_channel_continue(struct amqp_channel *ch);
/* Tell the client what was confirmed. */
void amqp_channel_tell(struct amqp_channel *ch);

/* Close the channel, or the connection, as CODE's scope says. */
void amqp_channel_fail(struct amqp_channel *ch, enum amqp_code code,
                       const char *fmt, ...) PRINTF(3, 4);
/* The same for a fault of the broker. */
void amqp_channel_fault(struct amqp_channel *ch,
                        const struct broker_fault *fault);
/* Send M on the channel. */
void amqp_channel_send(struct amqp_channel *ch, const struct amqp_method *m);
/* Send a method without arguments, unless the client does not want it. */
void amqp_channel_answer(struct amqp_channel *ch, enum amqp_method_id id);
/* Begin a call: ch->call is to be given to the broker, RESUME gets its reply
 * when it is no fault. Faults close the channel. */
void amqp_channel_begin(struct amqp_channel *ch, bool nowait,
                        void (*resume)(struct amqp_channel *ch,
                                       const struct broker_reply *reply));
/* TEXT, or the last queue declared on the channel when it is empty. False, and
 * the channel has failed, when there is none. */
bool amqp_channel_queue_name(struct amqp_channel *ch, struct amqp_text text,
                             struct meta_text *out);

/* Whether a table of arguments is small enough; if not the channel failed. */
bool amqp_channel_check_arguments(struct amqp_channel *ch,
                                  struct amqp_text table);

/* channel_publish.c: basic.publish and its content, confirm.select */

/* The frames of a message. PAYLOAD is borrowed; parts are referenced. */
void amqp_publish_method(struct amqp_channel *ch, const struct amqp_method *m);
void amqp_publish_header(struct amqp_channel *ch, const struct slice *payload);
void amqp_publish_body(struct amqp_channel *ch, const struct slice *payload);
/* Drop what has arrived of a message; close the publisher. */
void amqp_publish_release(struct amqp_channel *ch);
/* The input has been looked through: what is incomplete lets go of it. */
void amqp_publish_keep(struct amqp_connection *c);
/* A handler. */
void amqp_confirm_select(struct amqp_channel *ch, const struct amqp_method *m);

/* channel_consume.c: basic.consume, .cancel, .get and what comes of them */
/* Handlers of methods. */
void amqp_consume(struct amqp_channel *ch, const struct amqp_method *m);
void amqp_cancel(struct amqp_channel *ch, const struct amqp_method *m);
void amqp_get(struct amqp_channel *ch, const struct amqp_method *m);
/* A consumer as M asks for it, with its tag, not attached yet. */
struct amqp_consumer *amqp_consumer_add(struct amqp_channel *ch,
                                        const struct amqp_basic_consume *m);
/* The broker has attached ch->subject. */
void amqp_consume_done(struct amqp_channel *ch,
                       const struct broker_reply *reply);
/* Detach and free all consumers. */
void amqp_consume_release(struct amqp_channel *ch);
/* Settle deliveries FIRST to LAST, which the consumer may not survive. */
void amqp_consumer_settle(struct amqp_consumer *consumer, uint64_t first,
                          uint64_t last, enum broker_outcome outcome);

/* The socket has taken what CONSUMER was sent, or it has got nothing for a
 * while: it may have more. */
void amqp_consumer_feed(struct amqp_consumer *consumer);
/* The socket has taken the deliveries up to ID of a consumer that does not
 * acknowledge, which it may not survive. */
void amqp_consumer_drained(struct amqp_consumer *consumer, uint64_t id);

/* channel_reply.c: direct reply-to */

/* Whether NAME is the queue that stands for the channel's own. */
bool amqp_reply_is_queue(struct amqp_text name);
/* basic.consume from it. */
void amqp_reply_consume(struct amqp_channel *ch,
                        const struct amqp_method *method);
/* A message of properties P names it as reply-to: *PROPERTIES, which P borrows
 * from, becomes what consumers get. False, and the channel has failed, when no
 * consumer awaits replies. */
bool amqp_reply_rewrite(struct amqp_channel *ch, struct amqp_properties *p,
                        struct slice *properties);

/* channel_basic.c: basic.qos, .ack, .nack, .reject, .recover;
 * handlers of methods */
void amqp_qos(struct amqp_channel *ch, const struct amqp_method *m);
void amqp_ack(struct amqp_channel *ch, const struct amqp_method *m);
void amqp_nack(struct amqp_channel *ch, const struct amqp_method *m);
void amqp_reject(struct amqp_channel *ch, const struct amqp_method *m);
void amqp_recover(struct amqp_channel *ch, const struct amqp_method *m);
void amqp_recover_async(struct amqp_channel *ch, const struct amqp_method *m);

/* channel_exchange.c: handlers of class exchange */
void amqp_exchange_declare(struct amqp_channel *ch,
                           const struct amqp_method *m);
void amqp_exchange_delete(struct amqp_channel *ch, const struct amqp_method *m);
void amqp_exchange_bind(struct amqp_channel *ch, const struct amqp_method *m);
void amqp_exchange_unbind(struct amqp_channel *ch, const struct amqp_method *m);

/* channel_queue.c: handlers of class queue */
void amqp_queue_declare(struct amqp_channel *ch, const struct amqp_method *m);
void amqp_queue_bind(struct amqp_channel *ch, const struct amqp_method *m);
void amqp_queue_unbind(struct amqp_channel *ch, const struct amqp_method *m);
void amqp_queue_purge(struct amqp_channel *ch, const struct amqp_method *m);
void amqp_queue_delete(struct amqp_channel *ch, const struct amqp_method *m);

#endif
