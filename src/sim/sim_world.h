/* One simulated run: a cluster, its clients, its faults, by a plan. */
#ifndef SIM_SIM_WORLD_H
#define SIM_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/sim_check.h"
#include "sim/sim_plan.h"

struct sim_world_config {
    const struct sim_plan *plan;
    bool is_traced; /* the readable trace, on standard output */
    /* With is_traced: into this file instead, by sim_job_start(); or NULL. */
    const char *trace_path;
};

/* What a run came to. */
struct sim_world_result {
    char violation[SIM_VIOLATION_SIZE]; /* empty: none */
    uint64_t trace;                     /* the same seed gives the same */
    uint64_t virtual_us;
    uint64_t recovered_us; /* from the last fault until all was delivered */
    uint64_t rested_us;    /* and then until all was cleaned up */
    uint64_t published;
    uint64_t confirmed;
    uint64_t delivered;
    uint64_t redelivered;
    uint64_t faults[SIM_FAULT_KINDS]; /* that took place */
    uint64_t skipped;                 /* that could not, or must not */
    uint64_t given_up;                /* nodes that the others took for dead */
    uint64_t frames;
    uint64_t frames_lost;
    uint64_t frames_twice;
    uint64_t comparisons; /* of replicas' states */
    uint64_t memory;      /* that the nodes use at rest, in bytes */
    uint64_t leaked;      /* bytes that nobody freed when all was over */
};

/* Run the world that CONFIG describes to its end, or to the first violation. */
void sim_world_run(const struct sim_world_config *config,
                   struct sim_world_result *out);

#endif
