/* Making the plan of a run that failed smaller while it fails in the same way:
 * delta debugging (Zeller and Hildebrandt, 2002), on the faults first, then on
 * the time and the clients. */
#ifndef SIM_SIM_SHRINK_H
#define SIM_SIM_SHRINK_H

#include <stddef.h>
#include <stdint.h>

#include "sim/sim_world.h"

enum {
    SIM_SHRINK_RUNS_MAX = 300,
    SIM_SHRINK_SECONDS_MAX = 90, /* of real time, the last run apart */
    SIM_CONTRACT_SIZE = 64
};

struct sim_shrink {
    uint32_t runs_max;
    uint32_t seconds_max;
    /* Out. */
    uint32_t runs;
    struct sim_world_result result; /* of the smallest plan that failed */
};

/* What a violation has in common with others of its kind: the contract's
 * number, or the place of the assertion. */
void sim_contract(const char *violation, char out[SIM_CONTRACT_SIZE]);

/* PLAN failed with RESULT: replace it by the smallest found within the bounds
 * of SHRINK. */
void sim_shrink(struct sim_plan *plan, const struct sim_world_result *result,
                struct sim_shrink *shrink);

#endif
