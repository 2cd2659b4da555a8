/* What the simulated clients promised each other: every message with its id,
 * where it went, whether it was confirmed, delivered, acknowledged. The
 * contracts are checked as things happen and again at the end; the first one
 * broken is kept as text.
 *
 * I1 a confirmed message is delivered; I2 nothing is delivered that was not
 * published, as it was published, nor after its acknowledgement was committed;
 * I3 a consumer sees the messages of one publishing channel in order, those
 * that were returned apart; I4 a message is with one consumer at most, what
 * was delivered before says so, and counts; I5 an exclusive consumer is alone,
 * and prefetch holds; I6 the metadata is linearizable; I7 replicas are equal at
 * equal index; I11 a cluster left alone recovers; I12 then queues are empty;
 * I13 nobody waits longer than promised. The numbers are those of
 * docs/testing.md.
 *
 * What is known of an acknowledgement: a queue has at most PREFETCH unsettled
 * deliveries at a consumer, and takes its settlements in their order. So when
 * delivery N comes, its first N - PREFETCH settlements have been committed. */
#ifndef SIM_SIM_CHECK_H
#define SIM_SIM_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "base/ring.h"
#include "sim/sim_register.h"

enum {
    SIM_QUEUES_MAX = 16,
    SIM_EXCHANGES_MAX = 2,
    SIM_CONSUMERS_MAX = 64,
    SIM_PUBLISHERS_MAX = 64, /* whose order is known at one consumer */
    SIM_BODY_MAX = 60000,
    SIM_BODY_STARTS = 256, /* that bodies may have */
    SIM_VIOLATION_SIZE = 256
};

struct sim_message {
    uint16_t queues;    /* bit i: may have gone to queue i */
    uint16_t sure;      /* bit i: must have gone to queue i if confirmed */
    uint16_t delivered; /* bit i: queue i has delivered it */
    uint16_t acked;     /* bit i: acknowledged to queue i */
    uint16_t committed; /* bit i: and queue i has taken note of that */
    bool is_confirmed;
    bool is_returned;
    uint8_t seen;       /* deliveries, if it went to one queue; at most 255 */
    uint32_t publisher; /* whose order it is part of */
    uint32_t size;      /* of its body */
};

/* The last message of a publisher that a consumer saw for the first time. */
struct sim_last {
    uint32_t publisher;
    uint64_t id;
};

/* A consumer, as the client sees it. */
struct sim_consumer {
    unsigned queue;
    unsigned client;
    uint64_t group; /* the queue itself: another may have its name later */
    bool is_exclusive;
    bool is_attached;
    uint32_t prefetch;   /* 0: no limit that is checked */
    uint64_t deliveries; /* that it got, ever */
    uint64_t held;
    struct ring settled; /* uint64_t: ids acknowledged, 0 for returned; those
                            that may not be committed yet */
    uint64_t committed;  /* settlements that are */
    struct ring last;    /* struct sim_last, one for each publisher seen */
    /* Whether its node has let go of it already, although its client has not
     * heard of that yet. NULL: never. */
    bool (*is_over)(const struct sim_consumer *consumer);
    void *arg;
};

struct sim_check {
    uint8_t *body;        /* what bodies are cut from */
    struct ring messages; /* struct sim_message; id = place + 1 */
    struct map holders;   /* by (id, queue): struct sim_consumer */
    struct sim_consumer *attached[SIM_CONSUMERS_MAX];
    size_t attached_count;
    uint16_t lossy; /* queues that may be deleted and purged */
    uint16_t vague; /* queues that may go by themselves: no I6 */
    struct sim_register queues[SIM_QUEUES_MAX];
    struct sim_register exchanges[SIM_EXCHANGES_MAX];
    struct sim_register direct[SIM_QUEUES_MAX]; /* bound to amq.direct, */
    struct sim_register fanout[SIM_QUEUES_MAX]; /* amq.fanout, */
    struct sim_register topic[SIM_QUEUES_MAX];  /* amq.topic */
    /* amq.direct bound to amq.topic, by the queue's name. */
    struct sim_register through[SIM_QUEUES_MAX];
    uint32_t publishers;
    uint64_t confirmed;
    uint64_t returned;
    uint64_t delivered;
    uint64_t redelivered;
    uint64_t looks; /* at metadata, judged */
    uint64_t trace; /* hash of all that happened, in order */
    char violation[SIM_VIOLATION_SIZE];
};

/* A delivery as a client got it. */
struct sim_delivery {
    uint64_t id;
    bool is_redelivered;
    uint64_t count; /* deliveries before it, as the broker says */
    const uint8_t *body;
    size_t size;
};

/* Nothing published, nothing broken. */
void sim_check_init(struct sim_check *c);
/* Release the memory. */
void sim_check_deinit(struct sim_check *c);
/* The body of message ID, of any size up to SIM_BODY_MAX; borrowed. */
const uint8_t *sim_check_body(const struct sim_check *c, uint64_t id);
/* PUBLISHER is about to publish a message of SIZE bytes that may go to QUEUES
 * and must go to SURE of them: its id. */
uint64_t sim_check_publish(struct sim_check *c, uint16_t queues, uint16_t sure,
                           uint32_t publisher, size_t size);
void sim_check_confirm(struct sim_check *c, uint64_t id);
/* It came back as unroutable. */
void sim_check_return(struct sim_check *c, uint64_t id);
/* CONSUMER, zeroed but for what describes it, is about to get deliveries. */
void sim_consumer_init(struct sim_consumer *consumer);
/* Release the memory; it holds nothing any more and is not attached. */
void sim_consumer_deinit(struct sim_consumer *consumer);
/* A consumer was attached. Its client detaches it before it goes. */
void sim_check_attach(struct sim_check *c, struct sim_consumer *consumer);
/* It is gone; what it held was released one by one. Harmless otherwise. */
void sim_check_detach(struct sim_check *c, struct sim_consumer *consumer);
void sim_check_deliver(struct sim_check *c, struct sim_consumer *to,
                       const struct sim_delivery *d);
/* D was on its way when TO lost it: the node took TO's basic.recover, or has
 * let go of TO. Others may have seen it before. */
void sim_check_late(struct sim_check *c, struct sim_consumer *to,
                    const struct sim_delivery *d);
/* BY's client is gone, or BY was cancelled: it no longer holds message ID. */
void sim_check_release(struct sim_check *c, struct sim_consumer *by,
                       uint64_t id);
/* BY's client returns it; these two in the order in which they are sent. */
void sim_check_requeue(struct sim_check *c, struct sim_consumer *by,
                       uint64_t id);
/* Acknowledged, or discarded. */
void sim_check_ack(struct sim_check *c, struct sim_consumer *by, uint64_t id);
/* Somebody looked whether WHAT (NUMBER) was there. */
void sim_check_look(struct sim_check *c, struct sim_register *r, bool is_there,
                    const uint64_t interval_us[2], const char *what,
                    unsigned number);
/* Confirmed messages that some queue has not seen acknowledged. */
uint64_t sim_check_outstanding(const struct sim_check *c, uint64_t *first);
/* Put VALUE into the trace. */
void sim_check_note(struct sim_check *c, uint64_t value);
void sim_check_violate(struct sim_check *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
