/* A cluster of hosts in one process and in virtual time, each on its own store
 * on a simulated disk, and an oracle that knows what may never happen:
 * machines that differ at the same index, two leaders of one term, a committed
 * entry that changes, a live body that cannot be read.
 *
 * The machine of every group counts and hashes what it applies; entries stay
 * live until a later command settles the oldest. */
#ifndef TESTS_CONSENSUS_CLUSTER_H
#define TESTS_CONSENSUS_CLUSTER_H

#include <quorate/host.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/ranges.h"
#include "base/rng.h"
#include "sim/sim_env.h"
#include "store/disk_sim.h"
#include "store/store.h"

enum {
    CLUSTER_NODES_MAX = 7
};

struct cluster;

/* What is known of a group for certain. */
struct oracle {
    qr_group_id id;
    uint64_t *hashes; /* of the machine after each index */
    uint64_t *bodies; /* hash of the commands at each index */
    size_t count;     /* indexes known: 1..count */
    size_t capacity;
    struct map leaders;    /* term -> node */
    uint64_t acknowledged; /* commands applied while leading */
    uint64_t proposed;     /* accepted by a leader */
};

/* One replica's machine. */
struct machine {
    struct cluster *cluster;
    struct oracle *oracle;
    qr_node_id node;
    qr_group_id group;
    qr_replica_id self;
    uint64_t index;
    uint64_t hash;
    uint64_t time_ms;
    struct ranges live;
    struct qr_standing standing;
    unsigned standings;
    unsigned members_changes;
    unsigned missing; /* entries passed over */
    uint64_t restores;
    size_t ballast;       /* bytes of nothing in its snapshots */
    bool refuses_restore; /* as a machine of an older version would */
};

/* What a node's metadata would say that it hosts. */
struct placement {
    qr_replica_id self;
    unsigned voters; /* 0: it joined */
    bool is_volatile;
};

struct node {
    struct cluster *cluster;
    qr_node_id id;
    struct disk_sim *disk;
    struct store *store;
    struct qr_host *host;
    struct map machines;   /* group -> struct machine */
    struct map placements; /* group -> struct placement */
    uint64_t deleted;      /* config->deleted was called */
    uint64_t gone;         /* machines that went */
    uint64_t lost;         /* config->lost was called */
    qr_replica_id lost_replica;
    uint64_t missing; /* config->missing was called */
    qr_index missing_index;
    bool refuses_restore; /* machines opened here refuse their snapshots */
    uint64_t disk_delay_us;
};

struct cluster {
    struct sim *sim;
    struct node nodes[CLUSTER_NODES_MAX + 1];
    unsigned nodes_count;
    struct map oracles;
    struct map deleted; /* group -> any */
    uint64_t next_id;
    uint32_t heartbeat_ms;
    uint32_t election_timeout_ms;
    uint64_t snapshot_log_bytes;
    uint64_t snapshot_log_entries;
    uint64_t segment_size;
    bool is_forgiving; /* states may differ: something is missing */
};

/* oracle.c: what every machine of the tests does, and one for GROUP on N. */
extern const struct qr_machine_ops oracle_machine_ops;
struct machine *oracle_machine_new(struct node *n, qr_group_id group);
void oracle_machine_free(struct machine *m);

/* NODES nodes that are up, with hosts and without groups. */
struct cluster *cluster_new(uint64_t seed, unsigned nodes);
void cluster_free(struct cluster **c);
struct node *cluster_node(struct cluster *c, qr_node_id id);

/* Start a node that is down; its stored groups are opened. */
void cluster_start(struct cluster *c, qr_node_id id);
/* A power cut, or (not IS_POWER) a killed process. */
void cluster_crash(struct cluster *c, qr_node_id id, bool is_power);
/* NODE, which is down, gets an empty disk: of each group it will open another
 * incarnation, numbered from *INCARNATION on, that waits to be added. */
void cluster_lose_disk(struct cluster *c, qr_node_id id, uint32_t *incarnation);
bool cluster_is_up(const struct cluster *c, qr_node_id id);

/* The replica id of NODE's first incarnation. */
qr_replica_id cluster_replica(qr_node_id node);
/* Open GROUP on nodes 1 to VOTERS, which are its first members. */
void cluster_open(struct cluster *c, qr_group_id group, unsigned voters,
                  bool is_volatile);
/* Open GROUP on NODE as a replica that waits to be added. */
void cluster_join(struct cluster *c, qr_group_id group, qr_node_id node,
                  qr_replica_id self);
/* Open NODE's next incarnation SELF in the place of a lost one, which goes. */
void cluster_replace(struct cluster *c, qr_group_id group, qr_node_id node,
                     qr_replica_id self);
/* The same for one node only, with the first VOTERS nodes as members. */
void cluster_open_on(struct cluster *c, qr_group_id group, qr_node_id node,
                     unsigned voters, bool stand, bool is_volatile);
struct qr_group *cluster_group(struct cluster *c, qr_node_id node,
                               qr_group_id group);
struct machine *cluster_machine(struct cluster *c, qr_node_id node,
                                qr_group_id group);
struct oracle *cluster_oracle(struct cluster *c, qr_group_id group);

/* Damage entry INDEX of GROUP wherever NODE's disk has it; NODE is up, and may
 * still have it in memory: start it again. */
void cluster_rot(struct cluster *c, qr_node_id node, qr_group_id group,
                 qr_index index);
/* The same; false when there is no such entry on the disk now. */
bool cluster_try_rot(struct cluster *c, qr_node_id node, qr_group_id group,
                     qr_index index);

/* Let MS milliseconds pass. */
void cluster_run(struct cluster *c, uint64_t ms);
/* The node whose replica serves GROUP (the newest term's), or 0. */
qr_node_id cluster_leader(struct cluster *c, qr_group_id group);
/* Run until GROUP has a serving leader, at most MS. Returns it, or 0. */
qr_node_id cluster_wait_leader(struct cluster *c, qr_group_id group,
                               uint64_t ms);
/* Propose a command of SIZE bytes to the leader; SETTLE: it settles the
 * oldest live entry. False when there is no leader, or it is busy. */
bool cluster_propose(struct cluster *c, qr_group_id group, size_t size,
                     bool settle);
/* Run until every open replica of GROUP that is up has applied what the
 * leader has, at most MS; false if they have not. */
bool cluster_converges(struct cluster *c, qr_group_id group, uint64_t ms);
/* Look into every replica of GROUP: what the library believes of members and
 * of its followers must be what their logs say. */
void cluster_check_engines(struct cluster *c, qr_group_id group);
/* Write where every replica of GROUP stands to standard error. */
void cluster_dump(struct cluster *c, qr_group_id group);
/* Read every live entry of GROUP on NODE and compare it with the oracle. */
void cluster_check_bodies(struct cluster *c, qr_node_id node,
                          qr_group_id group);

#endif
