/* One simulated node and what a front end has of it: connections, a publisher,
 * consumers, and calls with their answers. */
#ifndef TESTS_UNIT_BROKER_RIG_H
#define TESTS_UNIT_BROKER_RIG_H

#include "broker/broker.h"
#include "broker/broker_priv.h"
#include "lib/harness.h"
#include "sim/sim_node.h"

enum {
    WAIT_US = 5000000,
    HELD_MAX = 64
};

struct rig {
    struct sim *sim;
    struct sim_node *node;
    struct broker *broker;
    struct broker_connection connection;
    struct broker_connection other;
    struct broker_publisher publisher;
    struct broker_consumer consumer;
    struct broker_consumer getter;
    uint64_t deliveries[HELD_MAX];
    char bodies[HELD_MAX][32];
    bool redelivered[HELD_MAX];
    size_t held;
    bool is_cancelled;
    uint64_t confirmed; /* highest tag, all below too */
};

struct answer {
    struct broker_call call;
    bool is_done;
    struct broker_reply reply;
    char queue[256];
    char body[32];
    uint64_t delivery;
};

/* S as the broker takes texts. */
struct meta_text text(const char *s);
/* Connect C to the broker, as guest. */
void open_connection(struct rig *r, struct broker_connection *c);
/* One node, ready, with two connections, a publisher and two consumers that are
 * not attached. */
void rig_init(struct rig *r);
/* End all that rig_init() began; nothing is under way. */
void rig_deinit(struct rig *r);
/* A is used for the next call. */
void answer_init(struct answer *a);
/* Let time pass until A is there; its fault's kind. */
enum broker_fault_kind await(struct rig *r, struct answer *a);
/* Let 100 ms pass. */
void pass(struct rig *r);
/* Declare SPEC through C and wait: the kind of the fault, the rest in A. */
enum broker_fault_kind declare(struct rig *r, struct broker_connection *c,
                               const struct broker_queue_spec *spec,
                               struct answer *a);
/* Declare the durable queue NAME, which must succeed. */
void declare_plain(struct rig *r, const char *name);
/* Publish BODY with TAG (0: no confirm is wanted): how many queues took it. */
size_t publish(struct rig *r, const char *exchange, const char *key,
               const char *body, uint64_t tag);
/* Attach the consumer to QUEUE and wait: the fault's kind, the rest in A. */
enum broker_fault_kind consume(struct rig *r, const char *queue,
                               uint32_t prefetch, bool exclusive,
                               struct answer *a);

#endif
