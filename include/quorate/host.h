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
struct store_damage;

enum {
    QR_PROPOSAL_SIZE_MAX = 20 << 20, /* bytes in one qr_group_propose() */
    QR_ENTRY_SIZE_SOFT = 1 << 20,    /* a turn's proposals beyond this are
                                        split into several entries */
    QR_PENDING_SIZE_MAX = 64 << 20,  /* proposed and not yet applied, a group;
                                        beyond it -QR_EBUSY */
    QR_LOST_MS = 1000,       /* a replica without its memory says so each */
    QR_REPAIR_WAIT_MS = 3000 /* a reader waits for a damaged entry */
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
    /* Of one node, a later incarnation replaces an earlier one: what the store
     * has of the earlier is dropped when the later is opened. */
    qr_replica_id self;
    /* The first members, all voters, equal on every node, for a group that is
     * new; ignored when the store knows the group. A replica that joins an
     * existing group passes members_count 0: it waits to be added. So does one
     * that the store does not know and whose group has had a change of members:
     * only the first configuration may be made up, and it is no more. */
    const struct qr_member *members;
    size_t members_count;
    /* Stand for election at once, without waiting for a time-out. */
    bool stand;
    /* Keep the log in memory only (a queue that may die with its node). */
    bool is_volatile;
    /* This replica was placed here after this start: it cannot be among what a
     * host that is forgetful has forgotten. */
    bool is_fresh;
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
    /* Replica REPLICA, a member of GROUP, has lost its memory: it neither votes
     * nor acknowledges, now or ever. Told to the host that leads and serves
     * GROUP, about each QR_LOST_MS, until REPLICA is no member: remove it, then
     * add its node's next incarnation. May be NULL. Called while a frame is
     * being handled: qr_group_remove() and the like may be called within. */
    void (*lost)(void *arg, qr_group_id group, qr_replica_id replica);
    /* The commands of entry INDEX of GROUP are damaged here, and each other
     * member has said that it has them no more: they are lost. Called once for
     * each entry and start of the replica, on any member. May be NULL. */
    void (*missing)(void *arg, qr_group_id group, qr_index index);
    void *arg;
};

/* Where a member stands. */
struct qr_member_status {
    struct qr_member member;
    bool is_linked;
    bool is_lost;      /* it said so within the last 2 QR_LOST_MS */
    bool is_caught_up; /* a learner: qr_group_promote() would be accepted. The
                          next three as the leader sees it, else false or 0 */
    bool is_full;      /* it takes no more entries: its disk is full */
    qr_index match;
};

/* Where a replica stands. */
struct qr_group_status {
    qr_group_id id;
    qr_replica_id self;
    qr_node_id leader; /* 0 = unknown */
    bool is_leader;
    bool is_lost;      /* state "lost" */
    bool is_changing;  /* a change of members is not yet committed: another
                          would be refused with -QR_EBUSY */
    const char *state; /* "leader", "follower", "candidate", "learner";
                          "joining": waits to be added; "installing": waits
                          for a snapshot; "repairing": cannot start before
                          another member has sent what is damaged; "lost": its
                          memory is gone, it waits to be replaced; "failed":
                          see the log */
    qr_term term;
    qr_index last;
    qr_index stored;
    qr_index committed;
    qr_index applied;
    qr_index snapshot;
    uint64_t damaged; /* entries whose commands are damaged here; asked of the
                         others */
    uint64_t missing; /* of those, what no member has any more */
    qr_index missing_first; /* the first of these; 0: none. Others:
                               qr_group_missing_next() */
    qr_index blocked;       /* the entry that would be applied next, if it is
                         missing: without it this replica cannot go on, and in a
                         group of several it does not. 0: it can */
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

/* For the store's on_damage(), the same way. What the store found at its start
 * the host asks for itself. */
void qr_host_damaged(struct qr_host *host, const struct store_damage *damage);

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
 * known). One whose memory is gone (the store says so, or the machine answers
 * its snapshot with -QR_EFORMAT) opens as "lost": it takes no part, and says so
 * to the leader until it is removed or a later incarnation is opened.
 *
 * -QR_EEXIST: open already; but one that is lost, failed or being deleted gives
 * way to a later incarnation at once (its machine hears `gone` within the
 * call). -QR_EVERSION: the machine does not know its snapshot's version.
 * -QR_ESTALE: the log here is of another replica that does not give way. */
int qr_group_open(struct qr_host *host, const struct qr_group_config *config,
                  struct qr_group **out, struct error *err);
/* Whether the store may have forgotten whole groups. Then a replica that it
 * does not know is lost when it is opened, unless it is fresh, or alone. */
bool qr_host_is_forgetful(const struct qr_host *host);
/* Every replica that was placed here before this start has been opened, or is
 * not wanted any more: if none of them is lost now, and what replaced them is
 * durable, the store stops reporting that it is forgetful, and so does HOST;
 * true. Otherwise, or if it is not forgetful, nothing happens; false. */
bool qr_host_accept_loss(struct qr_host *host);
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
 * (refused with -QR_EBUSY until it has caught up; asking starts the counting),
 * remove a member (not the leader itself: transfer first). A member may be dead
 * or lost: while a majority of what remains is there, the change commits.
 * 0: submitted, and it may still be lost with the leadership; -QR_ENOTLEADER;
 * -QR_EBUSY: another change is not yet committed; -QR_ENOENT; -QR_EEXIST;
 * -QR_EINVAL: the leader itself, QR_MEMBERS_MAX, or an id without a node;
 * -QR_ENOQUORUM: of the voters that remained no majority is linked and well, so
 * remove those that are not first. */
int qr_group_add(struct qr_group *group, qr_replica_id replica);
int qr_group_promote(struct qr_group *group, qr_replica_id replica);
int qr_group_remove(struct qr_group *group, qr_replica_id replica);

/* Whether this replica leads and serves; O(1), for loops over all groups. */
bool qr_group_is_leader(const struct qr_group *group);
/* Whether there is nothing to do so that the members of GROUP become the COUNT
 * of WANTED, in any order: they are, and that is committed; or this replica
 * does not lead, so that it is another's to do. O(members^2), touches no other
 * memory: 10,000 groups can be asked each second. */
bool qr_group_agrees(const struct qr_group *group,
                     const struct qr_member *wanted, size_t count);
/* What this replica knows of itself and of its group; O(members). */
void qr_group_status(const struct qr_group *group, struct qr_group_status *out);
/* The first entry at INDEX or after whose commands no member has any more; 0:
 * there is none. */
qr_index qr_group_missing_next(const struct qr_group *group, qr_index index);
/* Whether commands that bring new content (messages) may be proposed. False
 * while the disk of this node, or those of so many voters that no majority is
 * left, have no room but the reserve for settling; commands that settle are
 * taken all the same. Ask before qr_group_propose(); the answer to a client is
 * what -QR_ENOSPC would say. A leader whose disk is low hands its groups to
 * voters that have room, by itself. */
bool qr_group_has_room(const struct qr_group *group);
/* Snapshot soon, whatever the thresholds say. */
void qr_group_snapshot(struct qr_group *group);

/* The commands of applied or live entry INDEX (as qr_entry.body), new
 * reference; may block on a read: use qr_group_is_cached() first.
 * -QR_ENOENT, -QR_ECORRUPT (then qr_group_fetch() asks the others). */
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
 * `result` 0, -QR_ENOENT or -QR_ECORRUPT. Commands that are damaged here are
 * asked of the other members first: -QR_ECORRUPT says that nobody has them, or
 * that nobody answered within QR_REPAIR_WAIT_MS (qr_group_missing_next() tells
 * which). */
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
    uint64_t groups_lost;      /* replicas without their memory, here */
    uint64_t entries_damaged;  /* found so since the start */
    uint64_t entries_repaired; /* of those, brought by another member */
    uint64_t entries_missing;  /* of those, what no member had */
};

/* The counters of HOST now. */
void qr_host_stats(const struct qr_host *host, struct qr_host_stats *out);

#endif
