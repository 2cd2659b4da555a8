/* Frames: the one shape of message between shards, on this node or another.
 *
 *   on the wire (docs/formats/peer.md), little endian, 40 bytes:
 *    0 u32 size of what follows the header     4 u32 CRC-32C of the rest
 *    8 u8 version  9 u8 class  10 u16 kind    12 u16 from and 14 u16 to shard
 *   16 u64 group  24 u32 head size  28 u32 reserved (0)  32 u64 arg
 *   then `head` (a protobuf message or nothing), then raw content.
 *
 * Within a node a frame travels as it is: nothing is encoded or copied. */
#ifndef PEER_FRAME_H
#define PEER_FRAME_H

#include <quorate/types.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    FRAME_HEADER_SIZE = 40,
    FRAME_SIZE_MAX = 48 << 20, /* header, head and content */
    FRAME_HEAD_SIZE_MAX = 1 << 20,
    FRAME_CONTENT_MAX = 256 /* slices in one frame */
};

/* What a link sends first when it cannot send everything. FIFO within each;
 * each has a window of bytes that may wait. */
enum frame_class {
    FRAME_CONTROL, /* hello, link heartbeats, formation */
    FRAME_RAFT,    /* all Raft messages but snapshot streams */
    FRAME_CALL,    /* between queue clients and queue groups, metadata, CLI */
    FRAME_STREAM,  /* snapshot streams */
    FRAME_CLASS_COUNT
};

/* Who handles it. A range of kinds per room. */
enum frame_kind {
    FRAME_LINK_FIRST = 0,    /* peer */
    FRAME_RAFT_FIRST = 16,   /* consensus */
    FRAME_BROKER_FIRST = 64, /* broker */
    FRAME_MGMT_FIRST = 128,  /* operator commands */
    FRAME_NODE_FIRST = 224,  /* daemon: formation, opening, draining */
    FRAME_KIND_LIMIT = 256
};

struct frame {
    unsigned magic;
    uint8_t klass; /* enum frame_class */
    uint16_t kind;
    uint16_t from_shard;
    uint16_t to_shard; /* FRAME_TO_GROUP: the shard that hosts `group` */
    qr_group_id group; /* 0 = none */
    uint64_t arg;      /* meaning by kind */
    struct slice head;
    uint16_t content_count;
    uint16_t content_capacity;
    struct slice *content; /* content_count slices */
    struct frame *next;    /* for whoever queues it */
};

enum {
    FRAME_TO_GROUP = 0xffff
};

/* An address: a shard of a node. */
struct address {
    qr_node_id node;
    uint16_t shard;
};

/* A frame without head and content; the caller owns it. */
struct frame *frame_new(enum frame_class klass, uint16_t kind);
/* Drops its references; *F becomes NULL. NULL inside is fine. */
void frame_free(struct frame **f);
/* Append content; takes the reference. At most FRAME_CONTENT_MAX. */
void frame_add(struct frame *f, struct slice s);
/* Bytes on the wire. */
size_t frame_size(const struct frame *f);
/* Total content bytes; and the content as one slice (new reference; copies
 * only when there are several). */
size_t frame_content_size(const struct frame *f);
struct slice frame_content(const struct frame *f);
/* Encode the header into AT (FRAME_HEADER_SIZE bytes), with its CRC. */
void frame_encode_header(const struct frame *f, uint8_t *at);
/* Decode one frame from SIZE bytes within BLOCK at OFFSET. *USED = 0 when more
 * bytes are needed (then *NEED says how many in all). The frame's slices refer
 * to BLOCK. -QR_EFORMAT, -QR_ECORRUPT, -QR_ETOOBIG. */
int frame_decode(struct block *block, size_t offset, size_t size,
                 struct frame **out, size_t *used, size_t *need);

#endif
