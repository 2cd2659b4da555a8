/* Shared between sim_env.c and sim_link.c: events, nodes and the links between
 * them. */
#ifndef SIM_SIM_ENV_PRIV_H
#define SIM_SIM_ENV_PRIV_H

#include "base/heap.h"
#include "sim/sim_env.h"

enum {
    SIM_MAGIC = 0x53494d21
};

struct shard {
    struct env env;
    struct sim *sim;
    struct sim_node *node;
    uint64_t turn_at_us; /* UINT64_MAX: none is due */
    struct event *turn;  /* the one that is due then, or NULL */
};

struct sim_node {
    qr_node_id id; /* of the machine */
    struct sim_self self;
    bool is_up;
    uint64_t life; /* changes with every start and stop */
    uint16_t shards_count;
    struct shard *shards[SIM_SHARDS_MAX];
    uint64_t paused_us; /* nothing happens there before */
    struct event *held; /* what was to happen meanwhile, by `next` */
    struct event **held_end;
    int64_t wall_ms; /* its wall clock is off by */
    struct rng rng;
};

/* The last frames that arrived, oldest first. */
struct recent {
    struct frame *frames[SIM_DUPLICATES_MAX];
    size_t count;
};

/* One direction of a pair. */
struct way {
    bool is_cut;
    uint64_t last_us[FRAME_CLASS_COUNT];
    uint64_t in_flight[FRAME_CLASS_COUNT];
    struct recent recent[FRAME_CLASS_COUNT];
};

/* What one end knows of its link. */
struct end {
    bool is_up;
    bool is_silent;  /* said so already */
    bool is_refused; /* the same */
    qr_node_id as;   /* by which id it knows the other; 0: never linked */
};

struct sim {
    unsigned magic;
    struct heap events;
    struct event *spare; /* events to be used again, by `next` */
    uint64_t now_us;
    struct rng rng;
    struct sim_net net;
    struct sim_node nodes[SIM_NODES_MAX + 1];
    struct way ways[SIM_NODES_MAX + 1][SIM_NODES_MAX + 1];
    struct end ends[SIM_NODES_MAX + 1][SIM_NODES_MAX + 1];
    uint64_t epochs[SIM_NODES_MAX + 1][SIM_NODES_MAX + 1];
    uint64_t checks[SIM_NODES_MAX + 1][SIM_NODES_MAX + 1];
    unsigned cuts;         /* ways that are cut */
    uint64_t disturbed_us; /* when something last kept nodes apart */
    struct sim_stats stats;
    sim_welcome_cb welcome;
    void *welcome_arg;
    sim_tap_cb tap;
    void *tap_arg;
    sim_trace_cb trace;
    void *trace_arg;
};

struct event {
    struct heap_node node;
    void (*run)(struct sim *sim, struct event *e);
    qr_node_id on; /* the node whose life it belongs to; 0: the world */
    uint64_t life;
    struct shard *shard;
    qr_node_id a;
    qr_node_id b;
    uint64_t epoch;
    struct frame *frame;
    size_t size;
    void (*cb)(void *arg);
    void *arg;
    struct event *next; /* of those to be used again, or held */
};

/* A new event at AT_US, in the world's own life. */
struct event *sim_event_new(struct sim *sim, uint64_t at_us,
                            void (*run)(struct sim *sim, struct event *e));
/* A turn of SHARD at AT_US or before. */
void sim_schedule_turn(struct shard *shard, uint64_t at_us);
/* Send *FRAME (taken), which came from A, to B, so that it arrives in order;
 * whether it may is the caller's business. */
void sim_send(struct sim *sim, qr_node_id a, qr_node_id b,
              struct frame **frame);
/* FRAME has arrived at B; keep it for sim_send_again(). */
void sim_remember(struct sim *sim, qr_node_id a, qr_node_id b,
                  const struct frame *frame);
/* Let what arrived last from A at B arrive again; and forget it. */
void sim_send_again(struct sim *sim, qr_node_id a, qr_node_id b);
/* Forget what is kept of node ID's frames. */
void sim_forget(struct sim *sim, qr_node_id id);
/* The id by which machine AT knows machine OF. */
qr_node_id sim_seen_as(const struct sim *sim, qr_node_id at, qr_node_id of);
/* The machine that machine AT knows as ID; 0: none. */
qr_node_id sim_machine_of(const struct sim *sim, qr_node_id at, qr_node_id id);
/* After DELAY_US see what the link between A and B should be. */
void sim_look_later(struct sim *sim, qr_node_id a, qr_node_id b,
                    uint64_t delay_us);
/* The other nodes hear that node ID, which has stopped, is dead. */
void sim_links_died(struct sim *sim, qr_node_id id);

#endif
