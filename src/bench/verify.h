/* Who got what: for every message of every lane whether it was confirmed,
 * arrived, or was published again.
 *
 * A lane is what one publisher sends to one queue; there AMQP promises an
 * order. Its messages have sequence numbers 0, 1, 2, ... */
#ifndef BENCH_VERIFY_H
#define BENCH_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

struct verify;

enum {
    VERIFY_LANES_MAX = 1 << 16
};

/* Messages of one lane; an arrival beyond is not ours. */
#define VERIFY_SEQUENCE_MAX (UINT64_C(1) << 36)

enum verify_arrival {
    VERIFY_FIRST,
    VERIFY_AGAIN,           /* and the broker is to blame, unless it flags it */
    VERIFY_AGAIN_AFTER_SEND /* the publisher had sent it again */
};

/* What is known of all lanes. */
struct verify_totals {
    uint64_t confirmed; /* different messages */
    uint64_t arrived;   /* different messages */
    uint64_t missing;   /* confirmed, did not arrive */
    uint64_t unconfirmed_arrived;
    uint64_t holes; /* did not arrive though a later one of the lane did */
};

/* For LANES of them, 1 to VERIFY_LANES_MAX. A lane takes three bits a message
 * for those that are not both confirmed and arrived yet, in chunks. */
struct verify *verify_new(uint32_t lanes);
void verify_free(struct verify **v);

/* SEQUENCE of LANE was confirmed. */
void verify_confirmed(struct verify *v, uint32_t lane, uint64_t sequence);
/* SEQUENCE of LANE is published again. */
void verify_sent_again(struct verify *v, uint32_t lane, uint64_t sequence);
/* Whether SEQUENCE of LANE had been published again. */
bool verify_was_sent_again(const struct verify *v, uint32_t lane,
                           uint64_t sequence);
/* SEQUENCE of LANE arrived. */
enum verify_arrival verify_arrived(struct verify *v, uint32_t lane,
                                   uint64_t sequence);

/* Confirmed and not arrived, so far. O(1). */
uint64_t verify_missing(const struct verify *v);
/* All figures. O(lanes). */
void verify_totals(const struct verify *v, struct verify_totals *out);

#endif
