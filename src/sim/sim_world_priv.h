/* Shared between sim_world.c and sim_fault.c: the world of one run. */
#ifndef SIM_SIM_WORLD_PRIV_H
#define SIM_SIM_WORLD_PRIV_H

#include "base/log.h"
#include "broker/broker.h"
#include "sim/sim_client.h"
#include "sim/sim_node.h"
#include "sim/sim_world.h"

enum {
    WORLD_GROUPS_MAX = 64 /* queue groups whose replicas are compared */
};

/* One fault of the plan, while it lasts. */
struct running {
    struct world *world;
    const struct sim_fault *fault;
    bool is_on;
    uint32_t step;     /* of those that have several */
    uint32_t boot;     /* the start that is to end */
    uint64_t until_us; /* it waits no longer */
    struct broker_call call;
};

/* Where a node's log goes: into the trace. */
struct node_log {
    struct logger log;
    struct world *world;
    qr_node_id id;
};

struct world {
    const struct sim_world_config *config;
    const struct sim_plan *plan;
    struct sim_world_result *result;
    struct sim *sim;
    struct rng rng; /* of the clients' set-up: apart from the simulator's */
    struct sim_check check;
    struct node_log logs[SIM_PLAN_NODES_MAX];
    struct sim_node *nodes[SIM_PLAN_NODES_MAX];
    qr_node_id ids[SIM_PLAN_NODES_MAX];
    uint32_t nodes_count;
    uint16_t shards;
    struct sim_client *clients[SIM_PLAN_CLIENTS_MAX];
    uint32_t clients_count;
    uint32_t queues;        /* that lose nothing */
    uint64_t memory_before; /* in use when the run began */
    uint32_t lossy;         /* so many more, which clients delete and purge */
    /* Faults. */
    uint64_t compared[WORLD_GROUPS_MAX + 1]; /* what replicas were at, then */
    struct running *running;                 /* plan->faults_count */
    struct sim_net calm;
    const struct running *weather; /* whose weather it is; NULL: calm */
    const struct running *echo;    /* the same for duplicates */
    uint8_t cuts[SIM_PLAN_NODES_MAX][SIM_PLAN_NODES_MAX]; /* faults that cut */
    bool is_healing;
    bool has_copy;       /* of its disks, which will be put back */
    bool is_rolled_back; /* the frail node, which has not started since */
};

/* Have the plan's faults begin when their time comes. */
void world_schedule_faults(struct world *w);
/* All faults end now, and what is down starts. */
void world_heal(struct world *w);
/* Node I (from 0) dies, with IS_POWER as by a power cut; nothing happens when
 * it is down. */
void world_crash(struct world *w, uint32_t i, bool is_power);
/* Whether a disk of node I has stopped the machine. */
bool world_has_stopped(const struct world *w, uint32_t i);
/* Node I starts, if it is down. */
void world_start(struct world *w, uint32_t i);

#endif
