/* What the simulated clients promised each other: every message with its id,
 * where it went, whether it was confirmed, delivered, acknowledged. The
 * contracts are checked as things happen and again at the end; the first one
 * broken is kept as text.
 *
 * I1 a confirmed message is delivered; I2 nothing is delivered that was not
 * published; I3 a consumer sees the messages of one publisher in order, those
 * that were returned apart; I4 a message is with one consumer at most, and one
 * that is not flagged as redelivered was never delivered; I5 an exclusive
 * consumer is alone, and prefetch holds; I7 replicas are equal at equal index;
 * I11 a cluster left alone recovers; I12 then queues are empty; I13 no call
 * takes longer than promised. The numbers are those of docs/testing.md. */
#ifndef SIM_SIM_CHECK_H
#define SIM_SIM_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "base/ring.h"

enum {
    SIM_QUEUES_MAX = 16,
    SIM_CONSUMERS_MAX = 32,
    SIM_VIOLATION_SIZE = 256
};

struct sim_message {
    uint16_t queues;    /* bit i: published to queue i */
    uint16_t delivered; /* bit i: queue i has delivered it */
    uint16_t acked;     /* bit i: acknowledged to queue i */
    bool is_confirmed;
    bool is_unsure;     /* nobody knows to which queues it went */
    uint32_t publisher; /* whose order it is part of */
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
    struct ring last; /* struct sim_last, one for each publisher seen */
};

struct sim_check {
    struct ring messages; /* struct sim_message; id = place + 1 */
    struct map holders;   /* by (id, queue): struct sim_consumer */
    struct sim_consumer *attached[SIM_CONSUMERS_MAX];
    size_t attached_count;
    uint16_t lossy; /* queues that may be deleted and purged */
    uint32_t publishers;
    uint64_t confirmed;
    uint64_t delivered;
    uint64_t redelivered;
    uint64_t trace; /* hash of all that happened, in order */
    char violation[SIM_VIOLATION_SIZE];
};

/* Nothing published, nothing broken. */
void sim_check_init(struct sim_check *c);
/* Release the memory. */
void sim_check_deinit(struct sim_check *c);
/* PUBLISHER is about to publish a message to QUEUES: its id. */
uint64_t sim_check_publish(struct sim_check *c, uint16_t queues,
                           uint32_t publisher);
/* It may have gone to some of them only. */
void sim_check_unsure(struct sim_check *c, uint64_t id);
void sim_check_confirm(struct sim_check *c, uint64_t id);
/* A consumer was attached; CONSUMER is zeroed but for its first members. */
void sim_check_attach(struct sim_check *c, struct sim_consumer *consumer);
/* It is gone; what it held was released one by one. Harmless otherwise. */
void sim_check_detach(struct sim_check *c, struct sim_consumer *consumer);
void sim_check_deliver(struct sim_check *c, struct sim_consumer *to,
                       uint64_t id, bool is_redelivered);
/* The consumer no longer holds it. */
void sim_check_release(struct sim_check *c, uint64_t id, unsigned queue);
void sim_check_ack(struct sim_check *c, uint64_t id, unsigned queue);
/* Confirmed messages that some queue has not seen acknowledged. */
uint64_t sim_check_outstanding(const struct sim_check *c, uint64_t *first);
/* Put VALUE into the trace. */
void sim_check_note(struct sim_check *c, uint64_t value);
void sim_check_violate(struct sim_check *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
