/* The links of one node: one TLS 1.3 connection to each other node, proven by
 * the cluster secret, dialled again when it is lost. Runs on shard 0's loop.
 *
 * Both nodes dial until one link is up, so that a firewall that is open one
 * way is enough. The node with the lower id (before there are ids: the lower
 * UUID) decides which of several connections becomes the link: the first to
 * finish the handshake, unless that one has fallen silent since.
 *
 *   idle --dial/accept--> connecting --TLS--> hello --welcome--> up
 *    ^                        |                 |                 |
 *    +--- backoff 50 ms..2 s -+---- refused ----+------ lost -----+
 *
 * Who may link with whom. Blank nodes (of no cluster) know each other by name.
 * A node of a cluster takes a blank one for the member whose UUID it has, or
 * else for a guest, with a link id of its own (LINK_GUEST_FIRST): it may join.
 * Nodes of one cluster know each other by id; one whose id is new is let in,
 * since it may have joined while this node was away. Refused are removed nodes
 * and processes that run on an old copy of a node's data (starts.h).
 *
 * Each link has a queue per frame class, sent by priority, first in first out
 * within each. A frame that has begun is finished first: senders of bulk
 * should make frames of about a MiB. What waits when a link goes down is
 * dropped; frames never cross from one epoch to the next. */
#ifndef PEER_PEERS_H
#define PEER_PEERS_H

#include <quorate/types.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/uuid.h"
#include "peer/frame.h"
#include "peer/link_event.h"
#include "peer/secret.h"
#include "peer/starts.h"

struct error;
struct logger;
struct net;
struct peers;
struct tls_store;

enum {
    PEERS_HOST_SIZE = 256, /* of a host name, with the NUL */
    /* Connections not yet known to be a peer. One more closes the oldest that
     * has not proven that it knows the secret, so that strangers keep no peer
     * out. */
    PEERS_ACCEPTED_MAX = 128,
    /* Nodes told of in the life of a process, removed ones and guests, too. */
    PEERS_KNOWN_MAX = 256,
    PEERS_HELLO_SIZE_MAX = 4096
};

/* Times in milliseconds, windows in bytes that may wait; 0 means default. */
struct peers_limits {
    uint32_t heartbeat_ms; /* 250: sent when nothing else was for this long */
    uint32_t silent_ms;    /* 2000: LINK_SILENT when nothing came */
    uint32_t dead_ms;      /* 5000: link closed when nothing came */
    uint32_t connect_ms;   /* 3000: for one attempt to connect */
    uint32_t handshake_ms; /* 5000: from connected to welcome */
    uint32_t dial_min_ms;  /* 50: first pause between attempts, doubled */
    uint32_t dial_max_ms;  /* 2000: longest, with up to half taken off */
    size_t window[FRAME_CLASS_COUNT]; /* 1, 64, 64, 8 MiB */
};

/* Put the default where LIMITS has 0. */
void peers_limits_fill(struct peers_limits *limits);

/* Who this node is. */
struct peers_identity {
    struct uuid cluster; /* nil: blank, not yet of any cluster */
    struct uuid uuid;    /* this node's, from its first start */
    qr_node_id node;     /* 0: blank */
    struct starts starts;
    uint16_t shards;
    uint32_t protocol_min; /* 0: QR_PEER_PROTOCOL_MIN */
    uint32_t protocol_max; /* 0: QR_PEER_PROTOCOL_MAX */
    char cluster_name[QR_NAME_SIZE_MAX + 1];
    char node_name[QR_NAME_SIZE_MAX + 1];
};

/* Bytes that wait towards one peer, by class. Charged by senders on any
 * thread, discharged by shard 0; lives as long as the peers. */
struct link_gauge {
    _Atomic size_t waiting[FRAME_CLASS_COUNT];
    size_t window[FRAME_CLASS_COUNT];
};

/* Nothing waits; WINDOW has FRAME_CLASS_COUNT sizes. */
void link_gauge_init(struct link_gauge *gauge, const size_t *window);
/* Add SIZE to class KLASS, or false if that passes the window. A frame larger
 * than the window passes while nothing waits. Any thread. */
bool link_gauge_charge_mt(struct link_gauge *gauge, unsigned klass,
                          size_t size);
/* Add SIZE whatever the window is: it is there already. Any thread. */
void link_gauge_add_mt(struct link_gauge *gauge, unsigned klass, size_t size);
/* Take back what was charged or added. Any thread. */
void link_gauge_discharge_mt(struct link_gauge *gauge, unsigned klass,
                             size_t size);

struct peers_events {
    void *arg;
    /* *FRAME may be taken (nulled); otherwise it is freed. */
    void (*on_frame)(void *arg, const struct link_peer *peer,
                     struct frame **frame);
    /* UP comes before a link's first frame, DOWN after its last; SILENT at
     * most once between frames; REFUSED once, after two attempts in a row were
     * answered with ECONNREFUSED, until anything else happens; also of a peer
     * whose link was never up (then its boot is 0). GAUGE is the peer's. */
    void (*on_link)(void *arg, enum link_event event,
                    const struct link_peer *peer, struct link_gauge *gauge);
    /* A node of this cluster says that this node was removed from it, or runs
     * on an old copy of its data (IS_ROLLED_BACK): TEXT names which. May come
     * again. May be NULL. */
    void (*on_unwelcome)(void *arg, bool is_rolled_back, const char *text);
    /* NODE of this cluster is about to be linked in a start that this room has
     * not seen before: remember it durably, before anything it says counts.
     * False: that failed, and there will be no link. May be NULL. */
    bool (*on_start)(void *arg, qr_node_id node, const struct start_seen *seen);
};

/* How the nodes of a cluster prove themselves to each other, in one of two
 * ways. */
struct peers_proof {
    const struct secret *secret; /* all have it; NULL: by certificates */
    struct tls_store *tls;       /* these; borrowed until peers_free() */
    const char *tls_name; /* and how they name a node; see certificate.h */
};

/* Links on NET's loop. LIMITS may be NULL; IDENTITY, PROOF, EVENTS and LIMITS
 * are copied; LOG is borrowed until peers_free. */
struct peers *peers_new(struct net *net, const struct logger *log,
                        const struct peers_identity *identity,
                        const struct peers_proof *proof,
                        const struct peers_limits *limits,
                        const struct peers_events *events);

/* Accept links from FD (listener_bind_tcp; taken, also on failure). -QR_EIO. */
MUST_USE int peers_listen(struct peers *peers, int fd, struct error *err);

/* Keep a link to node NODE (not 0), called NAME, at PORT of HOST. Known peers
 * are told apart by NODE; a second call for a NODE changes its address.
 * PORT 0: it is never dialled. A NODE that was removed is not added again.
 * -QR_EINVAL for a name or host too long, -QR_EBUSY beyond PEERS_KNOWN_MAX. */
MUST_USE int peers_add(struct peers *peers, qr_node_id node, const char *name,
                       const char *host, uint16_t port, struct error *err);

/* NODE, which was added, has this UUID and was seen in this start (boot 0:
 * never). A link with a process that does not know that start ends. */
void peers_known(struct peers *peers, qr_node_id node, const struct uuid *uuid,
                 const struct start_seen *seen);

/* The newest start of NODE that is known; boot 0: none. */
struct start_seen peers_seen(const struct peers *peers, qr_node_id node);

/* Drop the link to NODE (LINK_DOWN, if it was up), which need not be known, and
 * refuse it from now on: it is told that it was removed. */
void peers_remove(struct peers *peers, qr_node_id node);

/* This node has been given an id, or its cluster one. Links stay; later
 * handshakes say the new. */
void peers_set_identity(struct peers *peers,
                        const struct peers_identity *identity);
const struct peers_identity *peers_identity(const struct peers *peers);

/* Send *FRAME (taken), whose frame_size() has been charged to the peer's
 * gauge, over the link to NODE if that still is of EPOCH. What cannot be sent
 * is dropped and discharged. It leaves at the next peers_flush(). */
void peers_send(struct peers *peers, qr_node_id node, uint64_t epoch,
                struct frame **frame);

/* Hand what waits to the streams; follow with net_flush(). Once a turn. */
void peers_flush(struct peers *peers);

/* The live link to NODE: *PEER (may be NULL) is filled in; false if none. */
bool peers_link(const struct peers *peers, qr_node_id node,
                struct link_peer *peer);

/* Read no link, or read them again: for a receiver that does not keep up.
 * Links that are not read are not taken for silent. */
void peers_pause(struct peers *peers, bool paused);

/* Close every link, the listener and all attempts. No event comes any more.
 * DONE (may be NULL) runs later, on the loop, when all have closed. */
void peers_close(struct peers *peers, void (*done)(void *arg), void *arg);

/* Free *PEERS (nulled), after peers_close() is done. */
void peers_free(struct peers **peers);

#endif
