/* What nodes tell each other about their shards, as bytes: one record after
 * the other, each of varints and blobs in the order of the members below. Both
 * ends are nodes of one cluster; decoding still trusts nothing. A member is
 * only ever added at the end of a record, which its size makes skippable. */
#ifndef MGMT_RECORD_H
#define MGMT_RECORD_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "machine/meta/meta_machine.h"

/* What a MGMT_ASK asks for. */
enum ask_kind {
    ASK_COMMAND = 1,     /* bytes: a request; answer: u8 exit code, JSON */
    ASK_REPLICAS = 2,    /* blob vhost ("": all): replica_record ... */
    ASK_REPLICA = 3,     /* varint group: replica_record, or nothing */
    ASK_CONSUMERS = 4,   /* blob vhost: consumer_record ... */
    ASK_CONNECTIONS = 5, /* connection_record ... */
    ASK_CHANNELS = 6,    /* channel_record ... */
    ASK_NODE = 7,        /* node_record */
    ASK_TRANSFER = 8     /* varint group, varint node: varint error (enum
                            qr_error) or 0 */
};

/* One replica of one group. */
struct replica_record {
    qr_group_id group;
    qr_node_id leader; /* that it believes in, 0 = none */
    uint64_t is_leader;
    uint64_t is_voter;
    struct meta_text state;
    qr_term term;
    qr_index last;
    qr_index stored;
    qr_index committed;
    qr_index applied;
    qr_index snapshot;
    uint64_t ready;
    uint64_t unsettled;
    uint64_t ready_bytes;
    uint64_t unsettled_bytes;
    uint64_t consumers;
    uint64_t damaged; /* entries that cannot be read here */
    qr_index blocked; /* the entry that no replica has and this one would apply
                         next; 0: none */
    uint64_t lost;    /* messages that rotted on every replica */
    struct meta_text losses; /* which: see record_put_loss() */
};

/* One of the losses of a replica_record. */
struct loss_record {
    uint64_t first; /* entries of the queue's log */
    uint64_t last;
    uint64_t messages;
    uint64_t bytes;
    uint64_t time_ms;
    uint64_t is_unknown; /* with commands that nobody knows */
};

struct consumer_record {
    qr_group_id group;
    uint64_t session;
    uint64_t consumer;
    struct meta_text tag;
    uint64_t credit;
    uint64_t is_no_ack;
    uint64_t is_exclusive;
    uint64_t is_cancelled;
    uint64_t unsettled;
};

struct connection_record {
    uint64_t id;
    struct meta_text name;
    struct meta_text peer_host;
    uint64_t peer_port;
    uint64_t port;
    struct meta_text user;
    struct meta_text vhost;
    struct meta_text protocol;
    struct meta_text state;
    struct meta_text client;
    uint64_t channels;
    uint64_t connected_ms;
    uint64_t bytes_received;
    uint64_t bytes_sent;
    struct meta_text mechanism;
    uint64_t is_tls;
    struct meta_text tls_protocol;
    struct meta_text tls_key_exchange;
    struct meta_text tls_cipher;
    struct meta_text tls_hash;
    struct meta_text tls_subject;
    struct meta_text tls_issuer;
    struct meta_text tls_validity;
};

struct channel_record {
    uint64_t connection;
    struct meta_text connection_name;
    struct meta_text user;
    struct meta_text vhost;
    uint64_t number;
    uint64_t is_confirming;
    uint64_t prefetch;
    uint64_t consumers;
    uint64_t unconfirmed;
    uint64_t unacknowledged;
};

/* What a node is, from its shard 0. */
struct node_record {
    struct meta_text version;
    uint64_t boot;
    uint64_t shards;
    uint64_t uptime_ms;
    uint64_t is_ready;
    uint64_t meta_term;
    uint64_t meta_leader;
    uint64_t meta_last;
    uint64_t meta_stored;
    uint64_t meta_committed;
    uint64_t meta_applied;
    uint64_t meta_snapshot;
    struct meta_text meta_state;
    uint64_t meta_blocked; /* as a replica's `blocked` */
};

/* Append RECORD to B. */
void record_put_replica(struct buf *b, const struct replica_record *record);
void record_put_loss(struct buf *b, const struct loss_record *record);
void record_put_consumer(struct buf *b, const struct consumer_record *record);
void record_put_connection(struct buf *b,
                           const struct connection_record *record);
void record_put_channel(struct buf *b, const struct channel_record *record);
void record_put_node(struct buf *b, const struct node_record *record);
/* Read the next record, whose texts are borrowed from the input; false at the
 * end, or (C is bad) when it is none. */
bool record_get_replica(struct cursor *c, struct replica_record *out);
bool record_get_loss(struct cursor *c, struct loss_record *out);
bool record_get_consumer(struct cursor *c, struct consumer_record *out);
bool record_get_connection(struct cursor *c, struct connection_record *out);
bool record_get_channel(struct cursor *c, struct channel_record *out);
bool record_get_node(struct cursor *c, struct node_record *out);

#endif
