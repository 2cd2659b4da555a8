/* What the files of a simulated client share. For this room only. */
#ifndef SIM_SIM_CLIENT_PRIV_H
#define SIM_SIM_CLIENT_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/sim_amqp.h"
#include "sim/sim_client.h"

enum {
    SIM_CLIENT_MAGIC = 0x7369636c,
    SIM_CLIENT_US = 1000000,
    SIM_CLIENT_NAME_SIZE = 64
};

/* Channels, by what they are for. */
enum client_channel {
    CHANNEL_CONSUME,
    CHANNEL_PUBLISH,
    CHANNEL_FLOOD, /* publishes, too; with confirms or without */
    CHANNEL_ADMIN  /* gets, declares, deletes, looks */
};

/* Who gets messages. */
enum client_sub {
    SUB_OWN,   /* consumes its own queue */
    SUB_OTHER, /* consumes another one, on the same channel */
    SUB_GET,   /* basic.get of its own queue */
    SUBS
};

enum sub_state {
    SUB_NONE,
    SUB_ASKED,
    SUB_ON,
    SUB_CANCELLING,
    SUB_CANCELLED /* holds messages, gets none */
};

struct sub {
    struct sim_client *client;
    struct sim_consumer seen;
    enum sub_state state;
    unsigned channel;
    bool is_no_ack;
    char tag[SIM_CLIENT_NAME_SIZE]; /* SUB_GET: the queue's name */
};

/* A delivery that is not settled. */
struct held {
    uint64_t tag;
    uint64_t message; /* 0: settled */
    struct sub *sub;
};

/* A message published, by its tag. */
struct published {
    uint64_t id; /* 0: confirmed */
    uint64_t sent_us;
    struct sim_register *look; /* what being routed or not says, or NULL */
    unsigned look_number;
    bool is_mandatory;
    bool is_returned;
};

struct publishing {
    bool is_confirming;
    uint32_t publisher;
    uint64_t tag_first; /* of out[0] */
    struct ring out;    /* struct published */
};

/* What the admin channel, or a declaration, has asked for. */
struct request {
    struct sim_register *changes; /* or NULL */
    struct sim_register *looks;
    unsigned number;
    uint64_t change;
    uint64_t start_us;
    unsigned expected; /* the code that must be the answer, or 0 */
};

/* How it behaves, for the life of a connection. */
struct temper {
    bool never_settles;
    bool is_slow;
    bool floods;
    bool stalls;
    uint32_t leaves_per_million; /* each tick */
    uint32_t errs_per_million;
};

struct sim_client {
    unsigned magic;
    struct sim_client_config config;
    struct sim_amqp *amqp;
    struct temper temper;
    qr_node_id node; /* the machine that it is connected to; 0: none */
    qr_node_id id;   /* of the node that this machine was then, */
    uint32_t boot;   /* in this start */
    unsigned done;   /* steps of the setup that are */
    bool consumes_other;
    bool is_closing;    /* the consuming channel, and nothing of it counts */
    bool is_recovering; /* what comes now has been returned already */
    uint32_t prefetch;
    struct sub subs[SUBS];
    struct request requests[SIM_AMQP_CHANNELS];
    struct ring held[SIM_AMQP_CHANNELS]; /* struct held */
    struct publishing publishing[2];     /* CHANNEL_PUBLISH and _FLOOD */
    uint64_t stalled_until_us;           /* 0: it reads */
    bool is_resting;                     /* consumes only, until */
    uint64_t phase_end_us;
    uint64_t tags;    /* consumer tags made */
    bool has_private; /* an exclusive queue */
    bool is_settling_down;
    bool is_near;  /* its node answers at once, or nearly */
    bool is_hasty; /* this connection will do for settling down */
    bool is_idle;  /* asks for nothing any more */
    char queue[SIM_CLIENT_NAME_SIZE];
    char private[SIM_CLIENT_NAME_SIZE];
};

static inline struct rng *
client_rng(struct sim_client *c)
{
    return sim_rng(c->config.sim);
}

static inline uint64_t
client_now(const struct sim_client *c)
{
    return sim_now_us(c->config.sim);
}

/* sim_client.c */

/* The queue that it consumes; whether it is a lossy one; whether NUMBER is. */
unsigned client_own(const struct sim_client *c);
bool client_is_lossy(const struct sim_client *c, unsigned number);
/* Whether the bit of lossy queue NUMBER is set in MASK. */
bool client_is_among(const struct sim_client *c, unsigned number,
                     unsigned mask);

/* sim_client_consume.c: the consuming channel, and all that is delivered */

/* The next step of the setup, if nothing is under way. */
void client_setup(struct sim_client *c);
/* The answer to a step. */
void client_setup_answer(struct sim_client *c, const struct amqp_method *m);
void client_on_message(struct sim_client *c, const struct sim_amqp_message *m);
void client_on_cancel(struct sim_client *c, const char *tag);
/* Settle some of what is held, in any way. */
void client_settle(struct sim_client *c);
/* Stop consuming, to begin again later. */
void client_cancel(struct sim_client *c);
/* CHANNEL is gone, and with it what was held there. */
void client_drop_channel(struct sim_client *c, unsigned channel);
size_t client_held(const struct sim_client *c);
/* The admin channel is about to get messages of its queue. */
void client_begin_get(struct sim_client *c);

/* sim_client_publish.c */

/* Publish a few messages on one of the publishing channels. */
void client_publish(struct sim_client *c);
/* Open and prepare them. */
void client_publish_setup(struct sim_client *c, unsigned channel);
void client_publish_answer(struct sim_client *c, unsigned channel,
                           const struct amqp_method *m);
void client_on_confirm(struct sim_client *c, unsigned channel, uint64_t tag,
                       bool multiple, bool is_ok);
void client_on_return(struct sim_client *c, const struct sim_amqp_message *m);
/* What was not confirmed never will be. */
void client_publish_drop(struct sim_client *c, unsigned channel);

/* sim_client_admin.c */

/* Ask for something on the admin channel, now and then. */
void client_admin(struct sim_client *c);
void client_admin_answer(struct sim_client *c, const struct amqp_method *m);
/* CHANNEL asks for the way from amq.topic by amq.direct to the client's queue,
 * or, with IS_BIND false, for its end. */
void client_ask_through(struct sim_client *c, unsigned channel, bool is_bind);
/* Whether anybody asks for the end of that way to QUEUE, ever. */
bool client_through_may_end(unsigned queue);
/* Do what the broker must refuse. */
void client_err(struct sim_client *c);
/* The request of CHANNEL has an answer: it is so. */
void client_request_done(struct sim_client *c, unsigned channel);
/* The request of CHANNEL was refused with CODE (0: nobody knows). */
void client_request_failed(struct sim_client *c, unsigned channel,
                           unsigned code);
/* CHANNEL asks for a change of R (NUMBER) to IS_THERE. */
void client_request_change(struct sim_client *c, unsigned channel,
                           struct sim_register *r, unsigned number,
                           bool is_there);

#endif
