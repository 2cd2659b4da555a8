/* What many runs came to. */
#ifndef SIM_SIM_TOTAL_H
#define SIM_SIM_TOTAL_H

#include <stdint.h>

#include "sim/sim_world.h"

struct buf;

struct sim_total {
    uint64_t seeds;
    uint64_t failed;
    struct sim_world_result sum; /* of the counters; the rest is 0 */
};

/* Count RESULT. */
void sim_total_add(struct sim_total *t, const struct sim_world_result *result);
/* Append it for people, with how long it took in real time; several lines. */
void sim_total_print(const struct sim_total *t, double seconds,
                     struct buf *out);
/* Append it as one line of KEY=VALUE. */
void sim_total_print_keys(const struct sim_total *t, double seconds,
                          struct buf *out);
/* Append one run's line. */
void sim_result_print(const struct sim_plan *plan,
                      const struct sim_world_result *r, struct buf *out);

#endif
