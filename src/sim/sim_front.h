/* The AMQP front end of one shard of a simulated node: real connections of
 * room amqp on virtual sockets. What daemon/amqp_listener.c is to real ones,
 * and daemon/watch.c to alarms.
 *
 * Besides carrying bytes it answers, for the checker, what the node itself
 * knows of a connection: a client hears of its end later than others may see
 * the consequences. */
#ifndef SIM_SIM_FRONT_H
#define SIM_SIM_FRONT_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct broker;
struct env;
struct logger;
struct rng;
struct sim_front;
struct sim_wire;
struct store;

enum {
    SIM_FRONT_CONNECTIONS_MAX = 256, /* more are refused */
    SIM_FRONT_WATCH_MS = 500,        /* it looks for shortages */
    /* Looks that find the memory short, or, after that, still short. */
    SIM_FRONT_SHORT_PER_MILLION = 2000,
    SIM_FRONT_STILL_PER_MILLION = 600000
};

struct sim_front_config {
    struct env *env;
    struct broker *broker;
    const struct logger *log; /* may be NULL */
    struct store *store;      /* says when the disk is short of space */
    struct rng *rng;          /* says when the memory is; NULL: never */
    uint16_t heartbeat_s;     /* proposed */
};

/* A front end, registered with the env after its broker. */
struct sim_front *sim_front_new(const struct sim_front_config *config);
/* The node dies: connections leave the broker, clients are told or, with
 * IS_SILENT, not. Before the broker goes. */
void sim_front_free(struct sim_front **f, bool is_silent);
/* Whether clients are served. */
bool sim_front_is_ready(const struct sim_front *f);
/* A client connects by W, whose server's end this takes; it is accepted in a
 * moment. */
void sim_front_connect(struct sim_front *f, struct sim_wire *w);
/* The node stops: nobody is let in any more, and everybody is told to go. */
void sim_front_stop(struct sim_front *f);
size_t sim_front_connections(const struct sim_front *f);

/* What the node knows of the server's end of W. */

/* The connection's number with the broker; 0: none, or it is over. */
uint64_t sim_front_connection_id(const struct sim_wire *w);
/* Whether consumer TAG of CHANNEL (or what basic.get got from queue TAG there,
 * IS_GET) may still hold deliveries. */
bool sim_front_holds(const struct sim_wire *w, uint16_t channel,
                     const char *tag, bool is_get);
/* The group of the queue that consumer TAG of CHANNEL is attached to; 0 for
 * none. */
qr_group_id sim_front_group(const struct sim_wire *w, uint16_t channel,
                            const char *tag);
/* The queues named "q0", "q1" ... that the node of W would give a message for
 * EXCHANGE and KEY to: bit i for "qi". */
uint16_t sim_front_reach(const struct sim_wire *w, const char *exchange,
                         const char *key);

#endif
