/* Who this node is, kept in DATA_DIR/identity: its UUID from its first start,
 * how often it has started, and the cluster it belongs to with the nodes that
 * formed it. A directory that was lost, replaced or copied back shows in it:
 * docs/formats/identity.md. */
#ifndef DAEMON_IDENTITY_H
#define DAEMON_IDENTITY_H

#include <quorate/types.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/uuid.h"

struct buf;
struct error;

enum {
    IDENTITY_MEMBERS_MAX = QR_MEMBERS_MAX, /* nodes that form a cluster */
    IDENTITY_FILE_SIZE_MAX = 16384
};

struct identity_member {
    qr_node_id id;
    char name[QR_NAME_SIZE_MAX + 1];
    struct uuid uuid;
};

struct identity {
    struct uuid uuid;
    uint32_t boot;       /* of this start; 1 at the first */
    uint16_t shards;     /* that the data are spread over; 0: not said yet */
    struct uuid cluster; /* nil: not formed yet */
    struct identity_member members[IDENTITY_MEMBERS_MAX];
    size_t members_count;
};

/* Read DIR's identity, or make one, and count this start in it, durably. DIR
 * is made when it is not there, and locked for the life of the process: a
 * second daemon on it is refused (-QR_EBUSY). -QR_EIO, -QR_EFORMAT. */
MUST_USE int identity_open(const char *dir, struct identity *out, int *lock,
                           struct error *err);
/* The data in DIR are spread over SHARDS: note it the first time, durably, and
 * refuse another number from then on (-QR_EINVAL): a group's log is in its
 * shard's directory, and nobody would look for it in another. -QR_EIO. */
MUST_USE int identity_shards(const char *dir, struct identity *id,
                             uint16_t shards, struct error *err);
/* Write it, atomically and durably. */
MUST_USE int identity_save(const char *dir, const struct identity *id,
                           struct error *err);
/* The cluster and its members as text, for the file and for FORM frames. */
void identity_put_cluster(struct buf *out, const struct identity *id);
/* Set cluster and members from such text. -QR_EFORMAT. */
MUST_USE int identity_get_cluster(struct identity *id, const char *text,
                                  size_t size, struct error *err);

#endif
