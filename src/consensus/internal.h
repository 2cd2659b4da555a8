/* What the files of this room share: the host, its groups, its peers.
 *
 *   host.c        public host: frames in, links, the turn, durability
 *   frames.c      frames about what is damaged
 *   outbox.c      messages out, many groups' to a frame, held while they must
 *   group.c       public group: open, propose, status, read, delete
 *   replica.c     one replica's steps and updates
 *   apply.c       what is committed, and the standing
 *   start.c       its start and stop
 *   room.c        what a disk that fills up means
 *   snapshot.c    taking snapshots; the manifest's envelope
 *   install.c     receiving a snapshot and its live entries
 *   stream.c      sending them
 *   membership.c  changes of members, leadership transfer
 *   lost.c        replicas without their memory
 *   damage.c      entries that are damaged here, and who waits for them
 *   repair.c      they are fetched from others
 *   donate.c      and given to them
 *   state.c       another's snapshot, where applying cannot go on
 *   status.c      where a replica stands
 *   failover.c    what links say about leaders
 *   volunteer.c   who stands when nobody is known to lead
 *   hibernate.c   idle groups sleep
 *   step.c wire.c the library's door; the wire
 */
#ifndef CONSENSUS_INTERNAL_H
#define CONSENSUS_INTERNAL_H

#include <quorate/host.h>
#include <raft.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/ranges.h"
#include "base/ring.h"
#include "base/slice.h"
#include "base/timer.h"
#include "consensus/step.h"
#include "consensus/wire.h"
#include "shard/env.h"
#include "store/store.h"

enum {
    HOST_MAGIC = 0x484f5354,
    GROUP_MAGIC = 0x47525550,

    HEARTBEAT_MS_DEFAULT = 500,
    ELECTION_TIMEOUT_MS_DEFAULT = 2000,
    INSTALL_TIMEOUT_MS = 3000, /* the leader offers its snapshot again */
    /* The library's clock starts here, so that a replica can be started "in
     * the past" and no time is 0. */
    TIME_ORIGIN_MS = 1 << 24,

    SNAPSHOT_LOG_BYTES_DEFAULT = 16 << 20,
    SNAPSHOT_LOG_ENTRIES_DEFAULT = 65536,

    /* Entries sent and not acknowledged: 4096 is right (32, the default, makes
     * 50 k/s of 297 k/s; 65536 is slower), fewer where they are large. */
    INFLIGHT_ENTRIES_MAX = 4096,
    INFLIGHT_ENTRIES_MIN = 16,
    INFLIGHT_BYTES = 8 << 20,

    /* A frame of messages is sealed beyond these. */
    PARCEL_HEAD_SIZE = 48 << 10,
    PARCEL_CONTENT_SIZE = 1 << 20,
    /* Bytes that wait for one peer, here and in its link; a message beyond is
     * dropped, and Raft repeats it. */
    PEER_WAITING_SIZE_MAX = 48 << 20,

    /* A turn's proposals of one group make at most this many entries. */
    GATHER_CUTS_MAX = 160,
    /* Unused ones of a kind that a host keeps, and all gathers' memory. */
    FREE_KEPT_MAX = 64,
    GATHERS_KEPT_SIZE = 2 << 20,
    ENTRY_HEADER_SIZE = 8, /* u64le wall time before the commands */
    APPLY_BATCH = 1024,    /* entries applied for one group in one go */

    /* Who has damage that is not applied waits longer before it stands. */
    HINDERED_FACTOR = 3,
    REPAIR_KNOWN_MAX = 2 * QR_MEMBERS_MAX,

    REPORTS_MAX = 4,  /* batches that carry a group's entries, told apart */
    EARLY_MAX = 4096, /* votes kept for groups that are not open yet */
    EARLY_MS = 2000,

    ADDRESS_SIZE = 20 /* a replica id in hex, and NUL */
};

struct install;
struct stream;

/* A frame of messages for one shard of a peer that is being filled. */
struct parcel {
    struct list link;
    uint16_t shard;    /* or FRAME_TO_GROUP */
    qr_group_id group; /* of the first message */
    uint64_t need;     /* held until this batch is durable; 0: not held */
    struct buf head;
    struct frame *frame;
    size_t content_size;
};

/* Another node. */
struct peer {
    qr_node_id node;
    uint16_t shards; /* 0: not yet known */
    bool is_linked;
    bool is_dead; /* refused, silent or long down, and not back since */
    uint32_t boot;
    uint64_t epoch;
    struct timer down; /* LINK_DOWN becomes death */
    struct qr_host *host;
    struct list parcels; /* open and sealed, oldest first */
    struct list dirty;   /* on host->peers_dirty while parcels wait */
    size_t waiting_size;
};

/* A turn's proposals of one group: entries one behind the other, each with
 * room for its header. */
struct gather {
    struct list link;
    struct buf bytes;
    uint32_t starts[GATHER_CUTS_MAX];
    uint32_t count;
};

/* "Entries up to `index` are in `batch`." */
struct report {
    uint64_t batch;
    qr_index index;
};

/* What the owner asked for and the turn hook will do. */
enum intent {
    INTENT_NONE,
    INTENT_TRANSFER,
    INTENT_ADD,
    INTENT_PROMOTE,
    INTENT_CATCH_UP,
    INTENT_REMOVE
};

/* A member that said, or showed, that it has lost its memory. */
struct lost_member {
    qr_replica_id id;
    uint64_t at_ms;    /* when that was last certain; 0: it is not */
    uint64_t since_ms; /* it contradicts itself since; 0: it does not */
    uint64_t doubt_ms; /* and did so last */
};

/* Entries whose bodies are damaged here; see repair.c. */
struct damage {
    struct list link;       /* on host->damaged */
    struct qr_group *group; /* NULL: not open yet */
    struct ranges damaged;  /* to be asked of the others, or missing */
    struct ranges missing;  /* of those, what no member has any more */
    struct ranges opaque;   /* of those, what may be a change of members */
    struct ranges asking;   /* of those, what is asked for in this round */
    struct ranges released; /* of those, what a snapshot elsewhere does without
                             */
    qr_index offered;       /* the newest snapshot that another has... */
    qr_replica_id offered_by;
    uint64_t state_due_ms; /* ...which is not asked for before then */
    bool is_asking;        /* an answer is awaited */
    bool is_unsure;        /* someone did not answer in this round */
    bool asks_missing;     /* once more for what is missing */
    bool has_answer;       /* someone did answer in this round */
    bool is_alone;         /* before the start: known to be the only member */
    unsigned vain_rounds;
    qr_replica_id asked;
    uint64_t nonce;      /* of the question */
    unsigned turn;       /* how many were asked in this round */
    qr_index cursor;     /* the last one asked for */
    uint64_t due_ms;     /* silence, or the next round */
    uint64_t pause_ms;   /* the last one between rounds for what is missing */
    uint64_t stuck_ms;   /* since when the leader cannot go on; 0: it can */
    struct list readers; /* struct host_fetch */
    /* Other members, as far as known before the library has started. */
    qr_replica_id known[REPAIR_KNOWN_MAX];
    size_t known_count;
};

/* A read under way for its asker. */
struct host_fetch {
    struct store_fetch fetch;
    struct qr_fetch *asker;
    struct qr_group *group; /* NULL: gone meanwhile */
    struct list reads;      /* on group->reads */
    struct list link;       /* on damage->readers */
    uint64_t due_ms;        /* then it waits no longer; 0: it has not waited */
};

struct qr_group {
    unsigned magic;
    struct qr_host *host;
    qr_group_id id;
    qr_replica_id self;
    const struct qr_machine_ops *ops;
    void *machine;
    struct list attention; /* on host->attention: settle me this turn */
    struct list waiting;   /* on host->waiting: something is not durable */
    struct list lost;      /* on host->lost while is_lost */
    struct timer timer;
    raft_time timer_at; /* in the library's time */
    struct raft raft;
    struct step_guard guard;
    raft_time time;    /* of the last step */
    uint64_t slept_ms; /* by which the library's time is behind */
    uint8_t sleepers;  /* members that said so, by place */
    uint8_t low;       /* members whose disks are low or full, by place */
    uint8_t full;      /* of those, whose are full */
    char address[ADDRESS_SIZE];

    bool is_volatile;
    bool is_running;    /* the library's replica is started */
    bool is_installing; /* the library waits for a snapshot */
    bool is_serving;    /* leads, and has applied an entry of its term */
    bool is_leaving;    /* to be destroyed in the turn */
    bool is_failed;     /* cannot go on; ignores the world */
    bool is_lost;       /* without its memory: waits to be replaced */
    bool is_repairing;  /* not started: it asks for changes of members */
    bool is_member;     /* some configuration applied here had us */
    bool is_settling;   /* guards against re-entry */
    bool was_elected;   /* this step made it leader: a barrier is due */
    bool has_barrier;   /* the library added one itself */
    bool must_restart;  /* start again once all is durable */
    bool must_stand;    /* stand for election in the turn */
    bool wants_snapshot;
    bool is_pressed;   /* the next snapshot keeps nothing it need not */
    bool has_told;     /* `told` was told */
    bool is_new;       /* not yet looked at by a turn */
    bool is_recovered; /* the store knew it when it was opened */
    bool is_asleep;    /* hibernates: its time stands still */
    bool is_hushed;    /* the step under way does not wake it */

    struct damage *damage;            /* NULL: none is known */
    struct lost_member *lost_members; /* QR_MEMBERS_MAX, or NULL: none is */

    /* The leader that died, as its link says, and when to follow it. */
    qr_replica_id lost_leader;
    raft_time lost_at;
    raft_time takeover_at;

    /* Nobody is known to lead: when to stand, and how often still. */
    raft_time volunteer_at;
    unsigned volunteer_tries;

    qr_index applied;
    qr_index commit;         /* running maximum */
    qr_index last;           /* of the library's log */
    qr_index snapshot_index; /* of the library's snapshot */
    uint64_t clock_ms;       /* wall time of the newest entry */

    uint64_t hard_batch;   /* carries the newest term and vote */
    uint64_t change_batch; /* carries the newest CHANGE proposed here... */
    qr_index change_index; /* ...which is this entry */
    uint64_t last_batch;   /* carries the newest record of all */
    struct report reports[REPORTS_MAX];
    unsigned reports_count;

    struct slice configuration; /* as applied, encoded */
    qr_index configuration_index;

    uint64_t log_bytes; /* appended since the last snapshot */
    uint64_t log_entries;
    uint32_t inflight; /* as the library was told */

    size_t pending_size; /* proposed and not yet applied */
    struct gather *gather;

    enum intent intent;
    qr_replica_id intent_replica;

    uint64_t taking_batch; /* carries our own snapshot; with is_taking */
    bool is_taking;
    qr_index taking_index;
    qr_term taking_term;
    unsigned taking_trailing;
    struct slice taking_configuration;
    qr_index taking_configuration_index;

    struct install *install; /* a snapshot that arrives */
    struct list streams;     /* snapshots that leave */
    struct list donations;   /* entries that leave, for repair elsewhere */
    struct list reads;       /* struct host_fetch */
    struct qr_standing told;
};

/* A message for a group that is not open yet. */
struct early {
    qr_group_id group;
    uint64_t at_ms;
    qr_node_id from;
    struct raft_message message;
    qr_replica_id to;
};

struct qr_host {
    unsigned magic;
    struct env *env;
    struct store *store;
    struct qr_host_config config;
    struct map groups;
    struct map peers;
    struct list attention;
    struct list waiting;
    struct list peers_dirty;
    struct list parcels_free;
    struct list gathers_free;
    unsigned parcels_free_count;
    unsigned gathers_free_count;
    size_t gathers_free_size; /* of their memory, in bytes */
    struct ring early;
    uint8_t space;          /* enum store_space, as of this turn */
    uint64_t space_at_ms;   /* when leaderships are next handed on */
    uint64_t crammed_bytes; /* taken since the disk is full */
    struct list lost;       /* replicas here without their memory */
    size_t lost_count;
    struct timer lost_timer;
    struct map damages;  /* group -> struct damage, also of those not open */
    struct list damaged; /* of those, what is being looked after */
    struct timer repair_timer;
    uint64_t damage_logged_ms;
    size_t donations;
    bool has_amnesia; /* the store may have forgotten whole groups */
    uint64_t durable;
    struct step_messages messages;
    struct wire_arena arena;
    struct buf scratch;
    /* Of the AppendEntries or proposal being stepped. */
    struct raft_entry entries[WIRE_ENTRIES_MAX];
    struct slice bodies[WIRE_ENTRIES_MAX];
    struct store_entry records[WIRE_ENTRIES_MAX];
    struct wire_entries wire_entries;
    uint64_t stream_next;   /* ids for snapshot streams asked for here */
    uint64_t relieve_at_ms; /* when to look at the log's pressure again */
    struct qr_host_stats stats;
};

/* host.c */

/* The peer NODE, made known if it was not. */
struct peer *host_peer(struct qr_host *host, qr_node_id node);
/* Have GROUP settled before the turn ends. */
void host_attend(struct qr_group *g);
/* Have GROUP looked at when a batch becomes durable. */
void host_await(struct qr_group *g, uint64_t batch);
/* A replica id as the library's "address". */
void host_address(qr_replica_id replica, char text[ADDRESS_SIZE]);
/* Replica REPLICA on NODE speaks of GROUP, which is not here; it is told if
 * the group was deleted. Whether it was not: it may be on its way. */
bool host_is_awaited(struct qr_host *host, qr_node_id node, qr_group_id group,
                     qr_replica_id replica);
/* Tell NODE something instead of a reply. */
void host_notice(struct qr_host *host, qr_node_id node,
                 const Raft__Notice *notice);
/* Post a frame whose head is MESSAGE for GROUP's shard at NODE. */
bool host_post(struct qr_host *host, qr_node_id node, struct frame **frame);
struct frame *host_frame(enum frame_class klass, uint16_t kind,
                         qr_group_id group, const ProtobufCMessage *head);

/* frames.c */

/* A frame F of kind WIRE_FETCH, FETCHED, STATE or LOST came from node FROM. */
void frames_receive(struct qr_host *host, const struct frame *f,
                    qr_node_id from);

/* outbox.c */

/* Send M (not InstallSnapshot) of GROUP, filling in entries from the store. */
void outbox_send(struct qr_group *g, const struct raft_message *m);
/* Post what is not held (any more). */
void outbox_flush(struct qr_host *host);
/* Free a peer's parcels, unsent. */
void outbox_drop(struct peer *peer);

/* replica.c */

/* Start the library's replica from what the store has. -QR_ECORRUPT. */
MUST_USE int replica_start(struct qr_group *g, struct error *err);
/* Close it; harmless when it is not running. */
void replica_stop(struct qr_group *g);
/* Start it again, when the store has all that was queued before. */
void replica_restart(struct qr_group *g);
/* Tell the library that the CHANGE it holds for uncommitted is committed. */
void replica_confirm(struct qr_group *g);
/* Prepare what is needed before replica_start(). */
void replica_init(struct qr_group *g);
/* Now, in the library's time, never before the last step's. */
raft_time replica_now(struct qr_group *g);
/* Let the library's time leap to its time-out, if that is yet to come; the
 * caller settles. Forward leaps are the library's to bear. */
void replica_leap(struct qr_group *g);
/* A record of GROUP is in BATCH. */
void replica_note_batch(struct qr_group *g, uint64_t batch);
/* Whether SELF is the only voter of C. */
bool replica_is_only_voter(const struct raft_configuration *c,
                           qr_replica_id self);
/* Step EVENT and carry out its update, all but applying. *OUTCOME may be NULL.
 * The library's code. The caller settles afterwards. */
MUST_USE int replica_step(struct qr_group *g, struct raft_event *event,
                          enum step_outcome *outcome);
/* Do all that is due after steps: barrier, reports, apply, standing, timer. */
void replica_settle(struct qr_group *g);
/* Entries COUNT of host->entries and host->bodies go to the leader's log. The
 * library's code; the bodies are consumed. */
MUST_USE int replica_submit(struct qr_group *g, unsigned count);
/* Receive M, whose entries are in host->entries and bodies (consumed). */
void replica_receive(struct qr_group *g, struct raft_message *m, bool is_quiet);
/* Submit what was gathered in this turn. */
void replica_propose(struct qr_group *g);
/* The leader as this replica knows it; 0: unknown. */
qr_replica_id replica_leader(const struct qr_group *g);
bool replica_is_leader(const struct qr_group *g);
/* Batches up to host->durable are durable. */
void replica_durable(struct qr_group *g);
/* Drop what was gathered. */
void replica_drop_gathered(struct qr_group *g);
/* Take the applied configuration from BODY at INDEX. */
void replica_configure(struct qr_group *g, const struct slice *body,
                       qr_index index);
/* Decode BODY. Stops the process when that fails: our own log is at stake. */
void replica_decode(const struct slice *body, struct raft_configuration *out);
/* Step a synthetic election at once. */
void replica_stand(struct qr_group *g);

/* apply.c */

/* Apply the next entry, if it is committed and stored; whether it was. */
bool apply_next(struct qr_group *g);
/* Tell the machine where it stands, if that has changed. */
void apply_standing(struct qr_group *g);

/* group.c */

/* Free GROUP's memory; its log stays. */
void host_group_free(struct qr_group *g);
/* Destroy GROUP: forget its log, tell its machine. */
void host_group_destroy(struct qr_group *g);

/* snapshot.c */

/* Take a snapshot if one is due. */
void snapshot_consider(struct qr_group *g);
/* Our snapshot is durable: tell the library. */
void snapshot_taken(struct qr_group *g);
void snapshot_cancel(struct qr_group *g);
/* The envelope of a manifest: what the machine needs live, the clock, and then
 * the machine's own bytes. -QR_EFORMAT. */
MUST_USE int snapshot_open(const struct slice *manifest, struct ranges *live,
                           uint64_t *clock_ms, size_t *body_offset);
/* Look which groups hold the log back. */
void snapshot_relieve(struct qr_host *host);

/* install.c */

/* An Install frame came. */
void install_receive(struct qr_group *g, const Raft__Install *pb,
                     const struct slice *manifest);
/* The library accepted it: fetch what is missing. Called by replica_step(). */
void install_begin(struct qr_group *g, struct raft_update *update);
void install_chunk(struct qr_group *g, const Raft__Chunk *pb,
                   const struct slice *content);
/* The leader cannot stream (any more). */
void install_gone(struct qr_group *g, uint64_t stream);
/* store_install()'s batch is durable, or a restart's time has come. */
void install_durable(struct qr_group *g);
void install_free(struct qr_group *g);

/* stream.c */

/* The library wants its snapshot sent: the manifest goes now. */
void stream_offer(struct qr_group *g, const struct raft_message *m);
void stream_pull(struct qr_group *g, const Raft__Pull *pb);
/* Whether a follower is fetching our snapshot. */
bool stream_is_active(const struct qr_group *g);
void stream_free_all(struct qr_group *g);

/* membership.c */

/* Do what the owner asked for. */
void membership_act(struct qr_group *g);
/* We lead and cannot go on: let another lead, or nobody for now. */
void membership_yield(struct qr_group *g);
/* Let voter HEIR lead, if it has all that we have; whether it will. */
bool membership_hand_on(struct qr_group *g, qr_replica_id heir);
/* Tell REPLICA, which is no member, so: we lead and know. */
void membership_disown(struct qr_group *g, qr_replica_id replica);

/* Keep nothing of GROUP but that its replica is lost, and say so. */
void group_lose(struct qr_group *g);
/* F, whose memory is released, has RESULT: tell its asker. */
void host_fetch_done(struct host_fetch *f, int result);

/* damage.c */

/* Prepare HOST: what its store found at the start is known then. */
void repair_init(struct qr_host *host);
/* Forget all of it; no group is open any more. */
void repair_deinit(struct qr_host *host);
/* What is known to be damaged of GROUP, which opens, is its own from now on. */
void repair_attach(struct qr_group *g);
/* The log of GROUP, which is not open, is dropped. */
void repair_forget(struct qr_host *host, qr_group_id group);
/* Entry INDEX could not be read, if the store has not said so already. */
void repair_note(struct qr_group *g, qr_index index);
/* Whether entry INDEX is damaged; and missing everywhere. Cheap when nothing of
 * GROUP is. */
bool repair_is_damaged(const struct qr_group *g, qr_index index);
bool repair_is_missing(const struct qr_group *g, qr_index index);
/* Whether entries not yet applied are damaged: better that another leads. */
bool repair_hinders(const struct qr_group *g);
/* Entries from FIRST on are overwritten; some of GROUP is damaged. */
void repair_cut(struct qr_group *g, qr_index first);
/* F waits for its entry's repair; some of GROUP is damaged. */
void repair_await(struct qr_group *g, struct host_fetch *f);
/* Let all readers go: GROUP does. */
void repair_abandon(struct qr_group *g);
/* Forget what is damaged of GROUP; readers that are left are not told. */
void repair_free(struct qr_group *g);
/* Entries FIRST to LAST are whole again, or not needed any more. */
void damage_forget(struct damage *d, qr_index first, qr_index last);
/* Of what is first in D, that which the store has released or cut off since is
 * no damage any more. */
void damage_prune(struct damage *d);
/* Let readers go whose entry is whole, or missing, or late. */
void damage_serve(struct damage *d);
/* Have D's group looked after from the next tick on. */
void damage_enlist(struct qr_host *host, struct damage *d);
/* Have repair_on_timer() called in a moment. */
void damage_arm(struct qr_host *host);
/* Whether a line about damage may be logged now: a segment that rots would
 * bring a hundred thousand. */
bool damage_may_log(struct qr_host *host);

/* repair.c */

/* Look after what is damaged; ARG is the host. */
void repair_on_timer(void *arg);
/* REPLICA may be a member: for one that has not started. Some is damaged. */
void repair_know(struct qr_group *g, qr_replica_id replica);
/* Whether GROUP, whose log starts at FIRST, has to ask others before it
 * starts. */
bool repair_must_wait(const struct qr_group *g, qr_index first);
/* Start GROUP if it waited for a repair and need not any more. */
void repair_start(struct qr_group *g);
/* A Fetched frame came. */
void repair_receive(struct qr_group *g, const Raft__Fetched *pb,
                    const struct slice *content);

/* room.c */

/* A turn ends: look how much room the disk has, and hand on leaderships. */
void room_turn(struct qr_host *host);
/* The room that GROUP has here: enum store_space. */
uint8_t room_of(const struct qr_group *g);
/* Member REPLICA has SPACE left, as its answer says. */
void room_note(struct qr_group *g, qr_replica_id replica, uint32_t space);
/* Whether the entries of A, SIZE bytes, may be taken. */
bool room_admits(struct qr_group *g, const Raft__Append *a, size_t size);
/* Whether the disk of the member at PLACE of the configuration is full. */
bool room_is_full(const struct qr_group *g, unsigned place);

/* state.c */

/* GROUP may not be able to apply its next entry: ask for a snapshot that goes
 * beyond. Some is damaged. */
void state_ask(struct qr_group *g);
/* The sender of PB asks for our snapshot. */
void state_send(struct qr_group *g, const Raft__Fetch *pb);
/* It came. */
void state_receive(struct qr_group *g, const Raft__Install *pb,
                   const struct slice *manifest);

/* donate.c */

/* A Fetch frame came. */
void donate_receive(struct qr_group *g, const Raft__Fetch *pb);
void donate_free_all(struct qr_group *g);

/* lost.c */

/* Prepare HOST, and stop what it does for lost replicas. */
void lost_init(struct qr_host *host);
void lost_deinit(struct qr_host *host);
/* GROUP has no memory: it says so until it is replaced. */
void lost_begin(struct qr_group *g);
/* GROUP goes away: it says so no more. */
void lost_end(struct qr_group *g);
/* Node FROM says which of its replicas are lost. */
void lost_receive(struct qr_host *host, const Raft__Lost *pb, qr_node_id from);
/* A member answers GROUP, its leader, with M: an AppendEntries result, not yet
 * given to the library. One that keeps saying that its log ends before what it
 * has acknowledged counts as lost. */
void lost_weigh(struct qr_group *g, const struct raft_message *m);
/* Whether REPLICA, a member of GROUP, has said or shown so of late. */
bool lost_is_known(const struct qr_group *g, qr_replica_id replica);

/* failover.c */
/* What a link says of its peer INFO. */
void failover_link(struct qr_host *host, enum link_event event,
                   const struct link_peer *info);
/* The leader's node died and it is ours to follow it: stand, if that is
 * possible now. Whether a step was made. */
bool failover_try(struct qr_group *g);

/* volunteer.c */
/* The group may have no leader, though a majority is linked: stand soon, if it
 * is so. Then replica_settle(). */
void volunteer_start(struct qr_group *g);
/* We led until this step, and no vote of ours is under way: the same, as the
 * first. */
void volunteer_again(struct qr_group *g);
/* The timer runs: have the library's time leap, if it is time to stand. */
void volunteer_try(struct qr_group *g);

/* hibernate.c */

/* Whether message M of GROUP is to be marked as quiet: a heartbeat that offers
 * to sleep, or the answer that agrees. */
bool hibernate_is_quiet(const struct qr_group *g, const struct raft_message *m);
/* Whether quiet message M, not yet stepped, agrees with what we see. */
bool hibernate_agrees(const struct qr_group *g, const struct raft_message *m);
/* M agreed and has been stepped: sleep, if that is all. */
void hibernate_after(struct qr_group *g, const struct raft_message *m);
/* A leader without followers has nobody to ask. */
void hibernate_alone(struct qr_group *g);
/* Time goes on. */
void hibernate_wake(struct qr_group *g);
/* Something happened to the link to NODE: wake what has members there. */
void hibernate_link(struct qr_host *host, qr_node_id node);

#endif
