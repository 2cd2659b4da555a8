/* The inside of peers, for link.c, peers.c and peers_dial.c. */
#ifndef PEER_PEERS_INTERNAL_H
#define PEER_PEERS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/check.h"
#include "base/list.h"
#include "base/log.h"
#include "base/ranges.h"
#include "base/rng.h"
#include "peer/certificate.h"
#include "peer/link.h"
#include "peer/peers.h"

struct listener;
struct stream_connect;

enum {
    PEERS_MAGIC = 0x70656572,
    PEER_MAGIC = 0x70656531,
    PEERS_LOG_GATE = 64,       /* lines remembered, to say each but once */
    PEERS_LOG_AGAIN_MS = 60000 /* in this time */
};

#define PEERS_REMOVED_TEXT                                                    \
    "node %.64s (id %u) was removed from the cluster: it serves nothing and " \
    "votes no more; to use the machine again, start it with an empty data "   \
    "directory"

/* A node that this one is told to keep a link to. */
struct peer {
    unsigned magic;
    struct peers *peers;
    qr_node_id node;
    char name[QR_NAME_SIZE_MAX + 1];
    char host[PEERS_HOST_SIZE];
    uint16_t port;
    bool removed;
    struct uuid uuid;       /* nil: not known yet */
    struct start_seen seen; /* its newest start that was heard of */
    struct link_gauge gauge;
    struct link *live;              /* the link, or NULL */
    struct link_peer last;          /* for events; of the last link */
    struct stream_connect *connect; /* attempt under way, or NULL */
    unsigned handshakes;            /* dialled links that are not live yet */
    uv_timer_t timer;               /* until the next attempt */
    unsigned quick;                 /* attempts left that wait but little */
    uint32_t pause_ms;              /* before the one after that */
    unsigned refusals;              /* ECONNREFUSED in a row */
    bool refused_told;
};

struct peers_log_line {
    uint32_t hash;
    uint64_t at_ms;
};

struct peers {
    unsigned magic;
    struct net *net;
    const struct logger *log;
    struct peers_identity self;
    struct peers_limits limits;
    struct peers_events events;
    struct psk *psk;       /* NULL: links are proven by certificates */
    struct tls_store *tls; /* these */
    char tls_name[CERTIFICATE_PATTERN_SIZE];
    struct listener *listener;
    struct peer *nodes[PEERS_KNOWN_MAX]; /* removed ones and guests, too */
    size_t nodes_count;
    struct ranges removed; /* ids of nodes that were removed */
    struct list links;     /* all connections, of any state */
    size_t accepted;       /* of them, accepted and of no known peer */
    uint64_t epoch;        /* of the last link that came up */
    struct rng rng;        /* jitter */
    bool paused;
    bool closing;
    size_t handles; /* links, timers, the listener: still open */
    void (*closed)(void *arg);
    void *closed_arg;
    struct peers_log_line said[PEERS_LOG_GATE];
};

/* The loop's time in milliseconds, fixed within an iteration. */
uint64_t peers_now(const struct peers *peers);

/* Log a line, unless the same was logged in the last minute, or
 * PEERS_LOG_GATE others were. */
void peers_log(struct peers *peers, enum log_level level, const char *fmt, ...)
    PRINTF(3, 4);

/* The peer with id NODE, or NULL. */
struct peer *peers_find(const struct peers *peers, qr_node_id node);

/* A peer with id NODE, which there is none of; there must be room. */
struct peer *peers_new_peer(struct peers *peers, qr_node_id node);

/* The peer that says L->other of itself, which may be a new one. NULL, and why
 * not in *REASON and ERR. */
struct peer *peers_match(struct peers *peers, const struct link *l,
                         enum refusal *reason, struct error *err);

/* A handle of the room has closed. */
void peers_handle_closed(struct peers *peers);

/* The other end's hello is in l->other: check it and decide. */
void peers_hello(struct link *l);
/* L is about to be live: have the start of its other end remembered. False: it
 * could not be, and L must not be. */
bool peers_remember(struct link *l);
/* L is live. */
void peers_link_up(struct link *l);
/* L is lost; it may or may not have been live. */
void peers_link_lost(struct link *l);
/* The other end will not have this node: it was removed, or is an old copy. */
void peers_unwelcome(struct link *l, enum refusal reason, const char *text);
/* L has been silent for limits.silent_ms. */
void peers_link_silent(struct link *l);
/* L brought *FRAME for the rooms above. */
void peers_link_frame(struct link *l, struct frame **frame);

/* Try to connect to PEER after a pause, or as soon as may be if AT_ONCE,
 * unless there is a link or an attempt already. */
void peers_dial(struct peer *peer, bool at_once);
/* No more attempts. */
void peers_dial_stop(struct peer *peer);
void peers_dial_init(struct peer *peer);

#endif
