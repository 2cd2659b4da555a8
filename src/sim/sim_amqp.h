/* A simulated client's AMQP session: bytes to and from a node over a virtual
 * socket, as a client library would speak them.
 *
 *   AWAY --open--> HEADER -> STARTING -> TUNING -> OPENING --> OPEN --+
 *     ^                                                               |
 *     +------ on_down: lost, closed by either side, silence ----------+
 *
 * It knows frames, methods and channels, and nothing of what they are used
 * for. Whatever it asks must be answered, or its connection closed, within
 * SIM_AMQP_ANSWER_US (I13). */
#ifndef SIM_SIM_AMQP_H
#define SIM_SIM_AMQP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "amqp/method.h"
#include "base/buf.h"
#include "base/list.h"
#include "broker/broker.h"

struct sim;
struct sim_amqp;
struct sim_front;
struct sim_wire;

enum {
    SIM_AMQP_CHANNELS = 4,
    /* What a call of the broker may take, what a node may be paused for, and
     * what its answer may take to come: after that I13 is broken. */
    SIM_AMQP_ANSWER_US = (BROKER_CALL_TIMEOUT_MS + 7000) * 1000,
    SIM_AMQP_TAG_SIZE = 64
};

/* What one session is like. */
struct sim_amqp_config {
    struct sim *sim;
    const char *user;
    const char *password;
    uint32_t frame_max;
    uint16_t heartbeat_s;   /* never 0: silence must be noticed */
    uint16_t first_channel; /* the number of channel 0 */
    uint32_t delay_min_us;
    uint32_t delay_max_us;
    uint32_t chop_per_million;
    size_t window;
};

/* A message that came. Borrowed. */
struct sim_amqp_message {
    enum amqp_method_id id; /* deliver, get-ok or return */
    unsigned channel;
    uint64_t tag;      /* of the delivery */
    const char *owner; /* deliver: consumer tag */
    bool is_redelivered;
    uint64_t number; /* from its message-id; 0: malformed */
    bool has_count;  /* x-delivery-count */
    uint64_t count;
    const uint8_t *body;
    size_t size;
};

/* The owner's callbacks; it may call any function of its session in them.
 * Channels are 0 to SIM_AMQP_CHANNELS - 1, whatever their numbers. */
struct sim_amqp_events {
    void *arg;
    void (*on_open)(void *arg);
    /* The answer to the channel's request, whatever it is. */
    void (*on_answer)(void *arg, unsigned channel, const struct amqp_method *m);
    void (*on_message)(void *arg, const struct sim_amqp_message *message);
    /* basic.ack and basic.nack of the broker. */
    void (*on_confirm)(void *arg, unsigned channel, uint64_t tag, bool multiple,
                       bool is_ok);
    /* The broker cancelled consumer TAG. */
    void (*on_cancel)(void *arg, unsigned channel, const char *tag);
    /* The broker closed the channel; a request of it, if any, was REFUSED. */
    void (*on_channel_closed)(void *arg, unsigned channel, unsigned code,
                              enum amqp_method_id refused);
    /* The connection is gone, with the CODE of connection.close or 0. */
    void (*on_down)(void *arg, unsigned code);
    /* A contract is broken. */
    void (*on_violation)(void *arg, const char *text);
};

/* A session that is away; EVENTS is copied. */
struct sim_amqp *sim_amqp_new(const struct sim_amqp_events *events);
/* Frees its sockets, too: the nodes are gone. */
void sim_amqp_free(struct sim_amqp **s);
/* Connect to FRONT, whose shard is ENV's. CONFIG is copied. */
void sim_amqp_open(struct sim_amqp *s, const struct sim_amqp_config *config,
                   struct sim_front *front, struct env *env);
bool sim_amqp_is_away(const struct sim_amqp *s);
bool sim_amqp_is_open(const struct sim_amqp *s);
bool sim_amqp_is_blocked(const struct sim_amqp *s); /* connection.blocked */
/* connection.close, and away when it is answered. */
void sim_amqp_close(struct sim_amqp *s);
/* Go at once; IS_SILENT: as if the cable had been cut. on_down runs. */
void sim_amqp_vanish(struct sim_amqp *s, bool is_silent);
/* Stop or resume reading. */
void sim_amqp_read(struct sim_amqp *s, bool on);
/* Time passes: heartbeats, silence, deadlines. Every second or so. */
void sim_amqp_tick(struct sim_amqp *s);
/* Bytes that the node has not taken. */
size_t sim_amqp_backlog(const struct sim_amqp *s);
/* Its socket, NULL while it is away; and a channel's number. */
const struct sim_wire *sim_amqp_wire(const struct sim_amqp *s);
uint16_t sim_amqp_number(const struct sim_amqp *s, unsigned channel);

/* Whether CHANNEL is open; and whether its request awaits an answer. */
bool sim_amqp_channel_is_open(const struct sim_amqp *s, unsigned channel);
bool sim_amqp_is_asking(const struct sim_amqp *s, unsigned channel);
/* Send M, which wants an answer; CHANNEL asks nothing else meanwhile. */
void sim_amqp_ask(struct sim_amqp *s, unsigned channel,
                  const struct amqp_method *m);
/* Send M, which wants none. */
void sim_amqp_tell(struct sim_amqp *s, unsigned channel,
                   const struct amqp_method *m);
/* Send M, a basic.publish, with message-id NUMBER and SIZE bytes of body. */
void sim_amqp_publish(struct sim_amqp *s, unsigned channel,
                      const struct amqp_method *m, uint64_t number,
                      const uint8_t *body, size_t size);
/* A line for people. */
void sim_amqp_describe(const struct sim_amqp *s, struct buf *out);

#endif
