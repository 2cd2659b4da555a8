/* Identifiers that every part of libquorate shares. */
#ifndef QUORATE_TYPES_H
#define QUORATE_TYPES_H

#include <stdint.h>

/* A group's id, unique for the life of the cluster and never used again. The
 * metadata group is QR_GROUP_META; the metadata machine numbers the others. */
typedef uint64_t qr_group_id;

/* A position in a group's log, from 1. 0 means none. */
typedef uint64_t qr_index;

/* A Raft term, from 1. 0 means none. */
typedef uint64_t qr_term;

/* A node's small number within its cluster, from 1, given out by the metadata
 * machine and never used again. A node whose disk was lost gets a new one. */
typedef uint32_t qr_node_id;

/* A replica's Raft id: node and incarnation of that node's membership. Never
 * used again within its group (raft-step.md, rule 10). 0 means none. */
typedef uint64_t qr_replica_id;

enum {
    QR_GROUP_META = 1,
    QR_GROUP_FIRST_QUEUE = 16, /* ids below are reserved */
    QR_MEMBERS_MAX = 7,        /* replicas in one group */
    QR_NODES_MAX = 64,         /* nodes in one cluster */
    QR_SHARDS_MAX = 64,        /* shards in one node */
    QR_NAME_SIZE_MAX = 255     /* bytes, AMQP short string */
};

/* Replica id of incarnation INCARNATION on node NODE. */
static inline qr_replica_id
qr_replica(qr_node_id node, uint32_t incarnation)
{
    return ((uint64_t)node << 32) | incarnation;
}

/* The node that replica REPLICA lives on. */
static inline qr_node_id
qr_replica_node(qr_replica_id replica)
{
    return (qr_node_id)(replica >> 32);
}

#endif
