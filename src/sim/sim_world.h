/* One simulated run: a cluster, its clients, its faults, from one seed. */
#ifndef SIM_SIM_WORLD_H
#define SIM_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/sim_check.h"

struct sim_world_config {
    uint64_t seed;
    uint32_t nodes;   /* 0: the seed picks 1 to 5 */
    uint32_t shards;  /* 0: the seed picks 1 or 2 */
    uint32_t clients; /* 0: the seed picks */
    uint32_t seconds; /* of virtual time under faults */
    bool is_verbose;  /* the nodes' log on standard error */
};

/* What a run came to. */
struct sim_world_result {
    char violation[SIM_VIOLATION_SIZE]; /* empty: none */
    uint64_t trace;                     /* the same seed gives the same */
    uint64_t virtual_us;
    uint64_t recovered_us; /* from the last fault until all was delivered */
    uint64_t published;
    uint64_t confirmed;
    uint64_t delivered;
    uint64_t redelivered;
    uint64_t crashes;
    uint64_t power_cuts;
    uint64_t partitions;
    uint64_t pauses;
    uint64_t transfers;
    uint64_t given_up; /* nodes that the others took for dead */
    uint64_t frames;
    uint64_t frames_lost;
    uint64_t comparisons; /* of replicas' states */
};

/* Run the world that CONFIG describes to its end, or to the first violation. */
void sim_world_run(const struct sim_world_config *config,
                   struct sim_world_result *out);

#endif
