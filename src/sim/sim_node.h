/* A whole node in the simulated world: for each shard a simulated disk, the
 * real store, the real host and the real broker. It can lose its power or its
 * process at any moment, and start again from what its disks kept. */
#ifndef SIM_SIM_NODE_H
#define SIM_SIM_NODE_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/sim_env.h"

struct broker;
struct buf;
struct disk_sim;
struct logger;
struct qr_host;
struct sim_front;
struct sim_node;
struct store;

enum {
    SIM_NODE_REPLICAS = 3, /* of a queue, where there are so many nodes */
    SIM_NODE_SEGMENT_SIZE = 256 << 10,
    SIM_NODE_DISK_SIZE = 1 << 30 /* of each shard */
};

/* What a shard is made of, for looking into; borrowed until the node dies. */
struct sim_parts {
    struct broker *broker;
    struct qr_host *host;
    struct store *store;
    struct disk_sim *disk;
};

/* Who clients are. The password's hash is made with the least work that
 * scrypt can be asked for: a real one costs more than a second of virtual
 * time takes. */
#define SIM_NODE_USER     "guest"
#define SIM_NODE_PASSWORD "guest"

struct sim_node_config {
    struct sim *sim;
    const struct logger *log;
    qr_node_id id;
    uint16_t shards;
    const qr_node_id *nodes; /* all that form the cluster; borrowed */
    size_t nodes_count;
    uint32_t disk_delay_us; /* most that a write takes */
    uint64_t snapshot_log_bytes;
    uint64_t snapshot_log_entries;
    uint64_t scrub_rate; /* bytes a second */
    bool has_shortages;  /* of memory, by chance */
    /* The cluster gave this start up, or its store failed, or its disk has
     * stopped the machine: crash and start the node, later. */
    void (*on_given_up)(void *arg, qr_node_id id);
    void *arg;
};

/* A node that has never started. */
struct sim_node *sim_node_new(const struct sim_node_config *config);
/* Down first. */
void sim_node_free(struct sim_node **n);
/* False: a disk stopped the machine meanwhile (disk_sim_stop_after()), and it
 * is down again, as after a power cut. */
bool sim_node_start(struct sim_node *n);
/* Its process dies; with IS_POWER also what its disks had not synced. */
void sim_node_crash(struct sim_node *n, bool is_power);
/* Of the machine; what the cluster calls it is sim_self(). */
qr_node_id sim_node_id(const struct sim_node *n);
uint16_t sim_node_shards(const struct sim_node *n);
bool sim_node_is_up(const struct sim_node *n);
/* Whether it is of a cluster, and serves. */
bool sim_node_is_formed(const struct sim_node *n);
/* Whether it means to start again by itself: as another node, or without what
 * it had set aside. */
bool sim_node_is_leaving(const struct sim_node *n);
/* Whether node OF may link with node N; one that may not is told why. */
bool sim_node_welcomes(struct sim_node *n, struct sim_node *of);
/* Whether node N knows the newest start of node OF. */
bool sim_node_knows(struct sim_node *n, const struct sim_node *of);
/* All that its disks hold is lost. It is down. */
void sim_node_lose(struct sim_node *n);
/* Keep a copy of what a power cut would leave on its disks, one at a time. */
void sim_node_copy(struct sim_node *n);
/* The disks are as at sim_node_copy(). It is down. */
void sim_node_roll_back(struct sim_node *n);
/* Replicas that were here before its memory was lost or went back: whether
 * REPLICA of GROUP is one of them. */
bool sim_node_forgot_any(const struct sim_node *n);
bool sim_node_has_forgotten(const struct sim_node *n, qr_group_id group,
                            qr_replica_id replica);
/* From now on a write takes at most DELAY_US. */
void sim_node_set_disk_delay(struct sim_node *n, uint32_t delay_us);
/* If a group here leads, and PICK falls on it, have it hand over to node TO. */
void sim_node_transfer(struct sim_node *n, uint64_t pick, qr_node_id to);
/* Messages in GROUP here, ready or unsettled; 0 when it is not here. */
uint64_t sim_node_messages(const struct sim_node *n, qr_group_id group);
/* Bytes that its disks hold. */
uint64_t sim_node_disk_bytes(const struct sim_node *n);
/* Bytes of this process that stand for its disks, and for old copies. */
uint64_t sim_node_disk_memory(const struct sim_node *n);
/* The broker of SHARD, or NULL while the node is down. */
struct broker *sim_node_broker(const struct sim_node *n, uint16_t shard);
/* The disk of SHARD, also while the node is down. */
struct disk_sim *sim_node_disk(const struct sim_node *n, uint16_t shard);
/* The parts of SHARD; false while the node is down. */
bool sim_node_parts(const struct sim_node *n, uint16_t shard,
                    struct sim_parts *out);
/* The AMQP front end of SHARD, or NULL while the node is down. */
struct sim_front *sim_node_front(const struct sim_node *n, uint16_t shard);
/* Which of the first 64 queue groups have a replica here, a bit for each. */
uint64_t sim_node_queue_groups(const struct sim_node *n);
/* The state of GROUP's queue machine here (unless STATE is NULL) and the index
 * it is at; false when the node is down or has no replica of it. */
bool sim_node_queue_state(const struct sim_node *n, qr_group_id group,
                          qr_index *applied, struct buf *state);
/* The same for the metadata, on SHARD. */
bool sim_node_meta_state(const struct sim_node *n, uint16_t shard,
                         qr_index *applied, struct buf *state);
/* Lines for people: each queue group here, its counts and consumers. */
void sim_node_describe(const struct sim_node *n, struct buf *out);

#endif
