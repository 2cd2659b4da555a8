/* A simulated client of the broker: AMQP bytes over a virtual socket. It
 * connects to a node, declares its queue, publishes with confirms, consumes
 * and settles in every way that AMQP has, gets, declares and deletes, makes
 * mistakes, stalls, vanishes, and connects to another node. Some queues are
 * lossy by the clients' own doing: they delete and purge them, and may consume
 * there exclusively or without acknowledging. */
#ifndef SIM_SIM_CLIENT_H
#define SIM_SIM_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/sim_check.h"
#include "sim/sim_env.h"

struct buf;
struct meta_owner;
struct sim_client;
struct sim_node;

enum {
    SIM_CLIENT_TICK_US_MAX = 200000 /* heartbeats need as much */
};

struct sim_client_config {
    struct sim *sim;
    struct sim_check *check;
    struct sim_node **nodes; /* borrowed */
    size_t nodes_count;
    uint16_t shards;
    unsigned number;
    unsigned queues;      /* of the world; it consumes from number % all */
    unsigned lossy;       /* so many more, deleted and purged now and then */
    unsigned auto_delete; /* which of those are */
    unsigned transient;   /* which of those are not durable */
    uint32_t tick_us;     /* between the things it does, on average */
    uint32_t rest_factor; /* it rests so many times longer than it works */
    uint32_t body_size_max;
};

/* A client that connects in a moment; CONFIG is copied, what it points to is
 * borrowed for the client's life. */
struct sim_client *sim_client_new(const struct sim_client_config *config);
/* The nodes are down: nothing runs any more. */
void sim_client_free(struct sim_client **c);
/* No more messages, returns, mistakes or goodbyes; only consume and
 * acknowledge. */
void sim_client_settle_down(struct sim_client *c);
/* After that: ask for nothing any more, not even for what was refused. Only
 * what is still delivered is acknowledged. */
void sim_client_rest(struct sim_client *c);
/* Messages that it published, which still await their confirm (I13). */
size_t sim_client_unconfirmed(const struct sim_client *c);
/* Whether OWNER, of an exclusive queue, is the connection that it has. */
bool sim_client_owns(const struct sim_client *c,
                     const struct meta_owner *owner);
/* A line for people. */
void sim_client_describe(const struct sim_client *c, struct buf *out);

#endif
