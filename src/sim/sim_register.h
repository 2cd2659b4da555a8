/* The history of one thing that is there or not (a queue, an exchange, a
 * binding), as clients saw it, and whether what they read could have been so
 * at any moment while they asked (linearizability of a single register).
 *
 * Each change and each look takes an interval: from when it was asked until it
 * was answered. A look that found V is right if some change to V may have been
 * the last before it: one that began before the look ended, and that no change
 * to the other value surely followed and surely preceded the look. What was
 * never answered may have happened at any time after it was asked, or never.
 *
 * Bounded: of the changes the last SIM_REGISTER_CHANGES_MAX are kept; looks
 * that began before what was dropped are not judged. */
#ifndef SIM_SIM_REGISTER_H
#define SIM_SIM_REGISTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ring.h"

enum {
    SIM_REGISTER_CHANGES_MAX = 64
};

struct sim_register {
    struct ring changes;
    uint64_t first;      /* number of changes[0] */
    uint64_t dropped_us; /* what began before this is not judged */
    uint64_t looks;      /* judged */
    bool is_told;        /* somebody was told that it is there, */
    bool is_ended;       /* or asked for its end */
};

/* Not there. */
void sim_register_init(struct sim_register *r);
void sim_register_deinit(struct sim_register *r);
/* Somebody asks at NOW_US for it to be there, or not: the change's number. */
uint64_t sim_register_change(struct sim_register *r, bool is_there,
                             uint64_t now_us);
/* The change was answered: it has happened. */
void sim_register_done(struct sim_register *r, uint64_t number,
                       uint64_t now_us);
/* It was refused: it has not and will not. */
void sim_register_refused(struct sim_register *r, uint64_t number);
/* Whether it is certainly there: somebody was told so, and nobody ever asked
 * for it to go. */
bool sim_register_is_sure(const struct sim_register *r);
/* Somebody asked at START_US and knows at END_US. False: it cannot have been
 * so. */
bool sim_register_look(struct sim_register *r, bool is_there, uint64_t start_us,
                       uint64_t end_us);

#endif
