/* A client at the other end of an amqp_connection: speaks by frames, keeps
 * what it is told, and decodes it one frame after the other. */
#ifndef TESTS_UNIT_AMQP_CLIENT_H
#define TESTS_UNIT_AMQP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "amqp/connection_priv.h"
#include "amqp/content.h"
#include "base/buf.h"
#include "fake_broker.h"

struct client {
    struct broker *broker;
    struct amqp_connection *connection;
    struct amqp_config config;
    struct buf log; /* lines of the log */
    struct logger logger;
    struct buf sent;  /* not yet consumed by the connection */
    struct buf heard; /* what the connection wrote */
    size_t read;      /* of it */
    size_t piece;     /* bytes per input; 0: all at once */
    uint64_t now_ms;
    uint64_t deadline_ms;
    bool is_reading;
    bool is_closed;
    bool is_flushed; /* on closing */
    bool wants_turn;
    size_t backlog;            /* pretended */
    size_t slices;             /* written by reference */
    bool has_no_backlog;       /* the socket takes everything at once */
    struct amqp_method method; /* latest expected; borrowed from `heard` */
    struct amqp_content_header header;
    struct buf body;
};

/* A connection that awaits the protocol header. */
void client_init(struct client *c);
/* The same of one whose certificate names USER, which may log in by any of
 * MECHANISMS. */
void client_init_certified(struct client *c, const char *user,
                           unsigned mechanisms);
void client_deinit(struct client *c);
/* Through the handshake: channel_max 0, frame_max 0: the server's. */
void client_connect(struct client *c);
/* As before, with these instead. */
void client_connect_with(struct client *c, uint16_t channel_max,
                         uint32_t frame_max, uint16_t heartbeat);
/* Open channel NUMBER. */
void client_open(struct client *c, uint16_t number);

/* Queue for the connection; client_pump() delivers. */
void client_put(struct client *c, const void *data, size_t size);
void client_put_method(struct client *c, uint16_t channel,
                       const struct amqp_method *m);
void client_put_header(struct client *c, uint16_t channel, uint64_t body_size);
void client_put_body(struct client *c, uint16_t channel, const void *data,
                     size_t size);
/* Method, header and body of a publish, in frames of FRAME bytes of body. */
void client_put_publish(struct client *c, uint16_t channel,
                        const char *exchange, const char *key, const void *body,
                        size_t size, size_t frame);
/* Give the connection what was put, run the broker, and end the turn. */
void client_pump(struct client *c);
/* Put and pump. */
void client_send(struct client *c, uint16_t channel,
                 const struct amqp_method *m);

/* The next frame is method ID on CHANNEL; it is in c->method. */
void client_expect(struct client *c, uint16_t channel, enum amqp_method_id id);
/* The next frames are method ID with content: c->header, c->body. */
void client_expect_content(struct client *c, uint16_t channel,
                           enum amqp_method_id id);
/* The next frame closes CHANNEL (0: the connection) with CODE and TEXT. */
void client_expect_error(struct client *c, uint16_t channel, unsigned code,
                         const char *text);
/* Nothing more was written. */
void client_expect_nothing(struct client *c);
/* A heartbeat was written, and nothing more. */
void client_expect_heartbeat(struct client *c);
/* A line of the log has TEXT. */
bool client_logged(struct client *c, const char *text);

/* Shorthands: the synchronous ones expect their answers. */
void client_declare(struct client *c, uint16_t channel, const char *queue);
void client_consume(struct client *c, uint16_t channel, const char *queue,
                    const char *tag, bool no_ack);
void client_qos(struct client *c, uint16_t channel, uint16_t count);
void client_ack(struct client *c, uint16_t channel, uint64_t tag,
                bool multiple);
void client_confirm_select(struct client *c, uint16_t channel);
/* A text as the codec wants it. */
struct amqp_text client_text(const char *s);
bool client_text_is(struct amqp_text t, const char *s);

#endif
