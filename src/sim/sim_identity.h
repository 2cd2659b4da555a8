/* What daemon/identity.c is to a real node: who it is, in a file on a simulated
 * disk of its own, so that it is lost, and goes back in time, with the rest;
 * and what the node knows of others, which decides whom it links with, as
 * peer/peers_match.c does. */
#ifndef SIM_SIM_IDENTITY_H
#define SIM_SIM_IDENTITY_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/uuid.h"
#include "broker/cluster.h"
#include "peer/starts.h"

struct disk_sim;
struct meta_machine;

enum {
    SIM_KNOWN_MAX = 64 /* nodes, removed ones included; older are forgotten */
};

struct sim_identity {
    struct uuid uuid;
    struct starts starts;
    struct starts_book met; /* others' newest starts */
    qr_node_id node;        /* 0: blank */
    struct cluster cluster;
};

/* Read it from DISK; false: there is none. */
bool sim_identity_read(struct disk_sim *disk, struct sim_identity *out);
/* Write it, durably. */
void sim_identity_write(struct disk_sim *disk, const struct sim_identity *id);

struct sim_known {
    qr_node_id id;
    struct uuid uuid;
    struct start_seen seen;
    bool is_removed;
};

struct sim_acquaintance {
    struct sim_known items[SIM_KNOWN_MAX];
    size_t count;
};

enum sim_verdict {
    SIM_WELCOME,
    SIM_REMOVED,    /* of the cluster no more, or another goes by its id */
    SIM_ROLLED_BACK /* its directory is an old copy */
};

/* Know whom ID has met, the members of its cluster by their UUIDs, and nobody
 * else. */
void sim_know_of(struct sim_acquaintance *a, const struct sim_identity *id);
/* Know what the metadata M know. */
void sim_know_meta(struct sim_acquaintance *a, const struct meta_machine *m);
/* Note in ID which starts A knows. Whether that is news. */
bool sim_know_for_good(const struct sim_acquaintance *a,
                       struct sim_identity *id);
/* Whether start BOOT of node OTHER is known to ID for good. */
bool sim_is_known(const struct sim_identity *id, qr_node_id other,
                  uint32_t boot);
/* What to think of OTHER, which is of a cluster; its start is known then. */
enum sim_verdict sim_judge(struct sim_acquaintance *a,
                           const struct sim_identity *other);

#endif
