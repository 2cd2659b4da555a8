/* What the simulated clients promised each other: every message with its id,
 * where it went, whether it was confirmed, delivered, acknowledged. The
 * contracts are checked as things happen and again at the end; the first one
 * broken is kept as text.
 *
 * I1 a confirmed message is delivered; I2 nothing is delivered that was not
 * published; I4 what is not flagged as redelivered was never delivered; I7
 * replicas are equal at equal index; I11 a cluster left alone recovers. The
 * numbers are those of docs/testing.md. */
#ifndef SIM_SIM_CHECK_H
#define SIM_SIM_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ring.h"

enum {
    SIM_QUEUES_MAX = 16,
    SIM_VIOLATION_SIZE = 256
};

struct sim_message {
    uint16_t queues;    /* bit i: published to queue i */
    uint16_t delivered; /* bit i: queue i has delivered it */
    uint16_t acked;     /* bit i: acknowledged to queue i */
    bool is_confirmed;
};

struct sim_check {
    struct ring messages; /* struct sim_message; id = place + 1 */
    uint64_t confirmed;
    uint64_t delivered;
    uint64_t redelivered;
    uint64_t trace; /* hash of all that happened, in order */
    char violation[SIM_VIOLATION_SIZE];
};

void sim_check_init(struct sim_check *c);
void sim_check_deinit(struct sim_check *c);
/* A message is about to be published to QUEUES: its id. */
uint64_t sim_check_publish(struct sim_check *c, uint16_t queues);
void sim_check_confirm(struct sim_check *c, uint64_t id);
void sim_check_deliver(struct sim_check *c, uint64_t id, unsigned queue,
                       bool is_redelivered);
void sim_check_ack(struct sim_check *c, uint64_t id, unsigned queue);
/* Confirmed messages that some queue has not seen acknowledged. */
uint64_t sim_check_outstanding(const struct sim_check *c, uint64_t *first);
/* Put VALUE into the trace. */
void sim_check_note(struct sim_check *c, uint64_t value);
void sim_check_violate(struct sim_check *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
