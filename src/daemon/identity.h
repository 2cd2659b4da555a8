/* Who this node is, kept in DATA_DIR/identity: its UUID from its first start,
 * its starts, those of others that it has met, and the cluster that it belongs
 * to with its nodes. A directory that was lost, replaced or copied back shows
 * in it: docs/formats/identity.md.
 */
#ifndef DAEMON_IDENTITY_H
#define DAEMON_IDENTITY_H

#include <quorate/types.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/uuid.h"
#include "broker/cluster.h"
#include "peer/starts.h"

struct error;

enum {
    IDENTITY_FILE_SIZE_MAX = 16384,
    IDENTITY_ASIDE_MAX = 3 /* old copies kept in DATA_DIR/set-aside-N */
};

struct identity {
    struct uuid uuid;
    struct starts starts;   /* this one's number first; 1 at the first */
    struct starts_book met; /* newest starts of other nodes */
    uint16_t shards;        /* that the data are spread over; 0: not said yet */
    qr_node_id node;        /* of this node in its cluster; 0: blank */
    struct cluster cluster; /* nil id: blank */
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
/* Make of ID, which is DIR's and blank, that of another node, with a UUID of
 * its own, durably: as if DIR had been emptied. For when the cluster has
 * removed the node that ID was (broker/formation.h). -QR_ESTALE: DIR has data,
 * on which somebody may count; nothing was changed. -QR_EIO. */
MUST_USE int identity_renew(const char *dir, struct identity *id,
                            struct error *err);
/* Move what DIR keeps (identity and logs, not the lock) into DIR/set-aside-N,
 * so that the next start is a blank node's; the oldest such copy is deleted
 * when there are IDENTITY_ASIDE_MAX. PATH is where it went. -QR_EIO. */
MUST_USE int identity_set_aside(const char *dir, char *path, size_t path_size,
                                struct error *err);

#endif
