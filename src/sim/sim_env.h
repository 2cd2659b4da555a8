/* The impure world in virtual time: clocks, randomness, frames between nodes,
 * for whole clusters in one thread, from one seed. The same seed and the same
 * calls give the same run.
 *
 * A node has one `struct env` for each shard, with the ops of this world
 * behind it. Frames within a node arrive at once. Between nodes they take a
 * random time, in order for each direction and class; they may be lost, by
 * chance or because the way is cut. Links notice, as real ones do: a node that
 * dies is refused, a way that is cut goes silent and then down, and when it is
 * whole again after that a new epoch of the link begins. */
#ifndef SIM_SIM_ENV_H
#define SIM_SIM_ENV_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/rng.h"
#include "peer/starts.h"
#include "shard/env.h"

struct logger;
struct sim;

enum {
    SIM_NODES_MAX = 16,
    SIM_SHARDS_MAX = 4,
    SIM_DUPLICATES_MAX = 16,
    SIM_CALM_US = 10000000,
    SIM_TRACE_LINE_SIZE = 512 /* a longer line is cut */
};

/* Gets one line of the readable trace, without its end: what happened at
 * NOW_US on NODE (0: in the world). */
typedef void (*sim_trace_cb)(void *arg, uint64_t now_us, qr_node_id node,
                             const char *text);

/* How the network behaves. Times in microseconds. */
struct sim_net {
    uint32_t delay_min_us;
    uint32_t delay_max_us;
    uint32_t loss_per_million;
    uint32_t connect_us;   /* until a link that can be up is up */
    uint32_t detect_us;    /* a dead node is refused after */
    uint32_t silent_us;    /* a cut way is noticed after */
    uint32_t dead_us;      /* and the link closed, so long after that */
    uint64_t window_bytes; /* in flight for each direction and class */
    /* So many of the last frames of each direction and class arrive again when
     * a link is back, as if their sender had not known that they arrived. */
    uint32_t duplicates;
};

struct sim_stats {
    uint64_t events;
    uint64_t turns;
    uint64_t frames_sent;
    uint64_t frames_lost;
    uint64_t frames_twice;
};

/* A world at time 0 with a quick network. */
struct sim *sim_new(uint64_t seed);
/* Frees the envs; what lives on them is freed before. */
void sim_free(struct sim **sim);
/* Change at any time; NULL members do not exist, so copy, change, set. */
struct sim_net sim_net(const struct sim *sim);
void sim_set_net(struct sim *sim, const struct sim_net *net);
struct rng *sim_rng(struct sim *sim);
uint64_t sim_now_us(const struct sim *sim);
void sim_stats(const struct sim *sim, struct sim_stats *out);

/* Whoever does something worth reading about says so with sim_trace(); SINK
 * NULL, as at first: nobody reads it, and nothing is formatted. */
void sim_set_trace(struct sim *sim, sim_trace_cb sink, void *arg);
void sim_trace(struct sim *sim, qr_node_id node, const char *fmt, ...)
    PRINTF(3, 4);

/* Start node ID (1 to SIM_NODES_MAX) with SHARDS shards: new envs, one boot
 * more. Its links come up a little later, so its handlers can be registered
 * first. LOG is borrowed, may be NULL. */
void sim_start(struct sim *sim, qr_node_id id, uint16_t shards,
               const struct logger *log);
/* Whom a process takes itself for. Nodes are numbered here by the machines that
 * they run on, as in a configuration; to each other they are known by ids. */
struct sim_self {
    qr_node_id id; /* blank: not of a cluster yet, the machine's number */
    bool is_blank; /* to others it is a guest (LINK_GUEST_FIRST) */
    struct uuid uuid;
    struct starts starts;
};
/* The same for a process that is SELF, which need not be called as its machine
 * is numbered. */
void sim_start_as(struct sim *sim, qr_node_id machine, uint16_t shards,
                  const struct logger *log, const struct sim_self *self);
/* Who runs, or ran last, on MACHINE; borrowed. */
const struct sim_self *sim_self(const struct sim *sim, qr_node_id machine);
/* Asked before the process on machine AT takes a link with that on machine OF:
 * false refuses it. NULL, as at first: none is refused. */
typedef bool (*sim_welcome_cb)(void *arg, qr_node_id at, qr_node_id of);
/* Set it. */
void sim_set_welcome(struct sim *sim, sim_welcome_cb cb, void *arg);
/* What MACHINE knows has changed: ask again about all its links. */
void sim_relink(struct sim *sim, qr_node_id machine);
/* Sees each frame that leaves MACHINE for another, before it may be lost. */
typedef void (*sim_tap_cb)(void *arg, qr_node_id machine,
                           const struct frame *frame);
/* Set it; NULL: none. */
void sim_set_tap(struct sim *sim, sim_tap_cb cb, void *arg);
/* The node dies: nothing arrives there any more, and what it had sent but not
 * delivered is lost too. Its envs stay until the next sim_start(), for being
 * unregistered from. */
void sim_stop(struct sim *sim, qr_node_id id);
bool sim_is_up(const struct sim *sim, qr_node_id id);
struct env *sim_env(struct sim *sim, qr_node_id id, uint16_t shard);

/* Until UNTIL_US node ID does nothing at all, as if a signal had stopped it;
 * what arrives waits. */
void sim_pause(struct sim *sim, qr_node_id id, uint64_t until_us);
bool sim_is_paused(const struct sim *sim, qr_node_id id);

/* The wall clock of node ID is off by BY_MS from now on; its monotonic clock is
 * never. It stays so when the node starts again. */
void sim_set_wall(struct sim *sim, qr_node_id id, int64_t by_ms);

/* Cut the way from A to B (one direction), or make it whole. */
void sim_cut(struct sim *sim, qr_node_id a, qr_node_id b, bool is_cut);
/* Make all ways whole. */
void sim_heal(struct sim *sim);
/* Whether for SIM_CALM_US no way was cut, no node paused, stopped or started:
 * time enough for every node to know what every other knows. */
bool sim_is_calm(const struct sim *sim);

/* Call CB with ARG after DELAY_US, on ENV's node (NULL: the world), if that has
 * not stopped or started meanwhile; a turn of ENV follows. */
void sim_call(struct sim *sim, struct env *env, uint64_t delay_us,
              void (*cb)(void *arg), void *arg);

/* Do the next thing; false when nothing is left to happen. */
bool sim_step(struct sim *sim);
/* Let the time pass until UNTIL_US. */
void sim_run(struct sim *sim, uint64_t until_us);

#endif
