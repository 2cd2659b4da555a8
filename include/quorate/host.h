/* The host of Raft groups of one shard: thousands of groups over one log store
 * and one link per peer. The public face of libquorate.
 *
 * Everything is asynchronous and single-threaded: calls come from the shard's
 * thread. qr_group_propose() gathers; the turn hook submits one entry per
 * group, steps Raft, and flushes the store once. Raft: "the thesis" is Diego
 * Ongaro, "Consensus: Bridging Theory and Practice", 2014. The contract with
 * the raft library, and why each guard exists: src/consensus/step.h. */
#ifndef QUORATE_HOST_H
#define QUORATE_HOST_H

#include <quorate/machine.h>
#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct env;
struct error;
struct qr_group;
struct qr_host;
struct slice;
struct store;

enum {
    QR_PROPOSAL_SIZE_MAX = 20 << 20, /* bytes in one qr_group_propose() */
    QR_ENTRY_SIZE_SOFT = 1 << 20,    /* a turn's proposals beyond this are
                                        split into several entries */
    QR_PENDING_SIZE_MAX = 64 << 20   /* proposed and not yet applied, a group;
                                        beyond it -QR_EBUSY */
};

enum qr_role {
    QR_ROLE_VOTER,
    QR_ROLE_LEARNER
};

/* A member of a group. */
struct qr_member {
    qr_replica_id id;
    enum qr_role role;
};

/* How to start a replica. */
struct qr_group_config {
    qr_group_id id;
    qr_replica_id self;
    /* The first members, all voters, equal on every node, for a group that is
     * new; ignored when the store knows the group. A replica that joins an
     * existing group passes members_count 0: it waits to be added. */
    const struct qr_member *members;
    size_t members_count;
    /* Stand for election at once, without waiting for a time-out. */
    bool stand;
    /* Keep the log in memory only (a queue that may die with its node). */
    bool is_volatile;
    const struct qr_machine_ops *ops;
    void *machine;
};

enum qr_unknown {
    QR_UNKNOWN_WAIT,   /* not yet known here: drop, the sender tries again */
    QR_UNKNOWN_DELETED /* deleted: tell the sender to clean up */
};

struct qr_host_config {
    struct env *env;               /* borrowed for the host's life */
    struct store *store;           /* borrowed; its callbacks are the host's */
    uint32_t heartbeat_ms;         /* 0: 500 */
    uint32_t election_timeout_ms;  /* 0: 2000; randomised up to twice that */
    uint64_t snapshot_log_bytes;   /* 0: 16 MiB; log since the last snapshot */
    uint64_t snapshot_log_entries; /* 0: 65536 */
    /* A frame arrived for a group that is not on this shard. */
    enum qr_unknown (*unknown)(void *arg, qr_group_id group, qr_node_id from);
    /* A peer says that GROUP was deleted: the replica here is a leftover. */
    void (*deleted)(void *arg, qr_group_id group);
    void *arg;
};

/* Where a member stands, as the leader sees it (match, 0 elsewhere). */
struct qr_member_status {
    struct qr_member member;
    bool is_linked;
    qr_index match;
};

/* Where a replica stands. */
struct qr_group_status {
    qr_group_id id;
    qr_replica_id self;
    qr_node_id leader; /* 0 = unknown */
    bool is_leader;
    const char *state; /* "leader", "follower", "candidate", "learner",
                          "installing" */
    qr_term term;
    qr_index last;
    qr_index stored;
    qr_index committed;
    qr_index applied;
    qr_index snapshot;
    size_t members_count;
    struct qr_member_status members[QR_MEMBERS_MAX];
};

/* Make the host of config->env's shard and register it for Raft frames and
 * turns. The store must be open. */
struct qr_host *qr_host_new(const struct qr_host_config *config);
/* Stop everything; machines are not told. */
void qr_host_free(struct qr_host **host);

/* For the store: pass these, with the host as `arg`... the store is opened
 * before the host exists, so its owner forwards: */
void qr_host_durable(struct qr_host *host, uint64_t batch);

/* Groups that the store recovered, in id order, to be opened again. */
void qr_host_foreach_stored(struct qr_host *host,
                            void (*cb)(void *arg, qr_group_id id,
                                       qr_replica_id self, bool is_volatile),
                            void *arg);

/* Drop the stored replica of group ID, which is not open: its group was deleted
 * while this node was away. Harmless when there is none. */
void qr_host_forget(struct qr_host *host, qr_group_id id);

/* Start a replica: new, or recovered when the store knows it (then the machine
 * is restored and the committed part of the log is replayed as commits become
 * known). -QR_EEXIST: already open. -QR_EFORMAT: the machine refused its
 * snapshot. */
int qr_group_open(struct qr_host *host, const struct qr_group_config *config,
                  struct qr_group **out, struct error *err);
/* The open group ID, or NULL. */
struct qr_group *qr_host_group(struct qr_host *host, qr_group_id id);
/* Stop the replica and forget its log. Safe from within its callbacks (takes
 * effect before the turn ends; `gone` is called then). */
void qr_group_delete(struct qr_group *group);

/* Propose COUNT pieces, concatenated, as one command (or several that must
 * stay together). Copied. 0; -QR_ENOTLEADER; -QR_EBUSY at QR_PENDING_SIZE_MAX;
 * -QR_ETOOBIG. A proposal that was accepted may still be lost with the
 * leadership: the proposer finds out by what is applied. */
int qr_group_propose(struct qr_group *group, const struct slice *pieces,
                     size_t count);
/* Ask for the leadership to move to NODE. 0: under way; -QR_ENOTLEADER;
 * -QR_ENOENT: not a voter; -QR_EBUSY: another transfer or change runs. */
int qr_group_transfer(struct qr_group *group, qr_node_id node);
/* Membership, one at a time (thesis 4.1): add a learner, make it a voter
 * (refused with -QR_EBUSY until it has caught up), remove a member (not the
 * leader itself). 0: submitted; -QR_ENOTLEADER; -QR_EBUSY: another change is
 * not yet committed; -QR_ENOENT, -QR_EEXIST, -QR_EINVAL. */
int qr_group_add(struct qr_group *group, qr_replica_id replica);
int qr_group_promote(struct qr_group *group, qr_replica_id replica);
int qr_group_remove(struct qr_group *group, qr_replica_id replica);

/* What this replica knows of itself and of its group; O(members). */
void qr_group_status(const struct qr_group *group, struct qr_group_status *out);
/* Snapshot soon, whatever the thresholds say. */
void qr_group_snapshot(struct qr_group *group);

/* The commands of applied or live entry INDEX (as qr_entry.body), new
 * reference; may block on a read: use qr_group_is_cached() first.
 * -QR_ENOENT, -QR_ECORRUPT. */
int qr_group_read(struct qr_group *group, qr_index index, struct slice *out);
bool qr_group_is_cached(const struct qr_group *group, qr_index index);
/* The same through the read pool: embedded in its owner, pinned until done;
 * `body` is the receiver's then. */
struct qr_fetch {
    void (*done)(struct qr_fetch *fetch);
    void *arg;
    qr_index index;
    int result;
    struct slice *body; /* where to put it; set by the caller */
    void *impl;
};

/* Start FETCH of entry `index`; its `done` runs later, exactly once, with
 * `result` 0, -QR_ENOENT or -QR_ECORRUPT. */
void qr_group_fetch(struct qr_group *group, struct qr_fetch *fetch);

/* Counters for operators and benchmarks. */
struct qr_host_stats {
    uint64_t groups;
    uint64_t groups_leading;
    uint64_t groups_hibernating;
    uint64_t steps;
    uint64_t entries_proposed;
    uint64_t entries_applied;
    uint64_t elections_won;
    uint64_t snapshots_taken;
    uint64_t snapshots_installed;
};

/* The counters of HOST now. */
void qr_host_stats(const struct qr_host *host, struct qr_host_stats *out);

#endif
