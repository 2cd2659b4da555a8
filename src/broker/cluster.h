/* What a node keeps of the cluster that it belongs to, beside the metadata:
 * enough to find the others at its next start. Text, for the identity file and
 * for FORM frames (docs/formats/identity.md):
 *
 *   cluster UUID
 *   founders                      (these nodes formed it, nobody joined yet)
 *   member ID UUID ADDRESS NAME   (one a node)
 */
#ifndef BROKER_CLUSTER_H
#define BROKER_CLUSTER_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"
#include "base/uuid.h"

struct buf;
struct error;
struct meta_machine;

enum {
    /* Every node is a member of the metadata's group. */
    CLUSTER_MEMBERS_MAX = QR_MEMBERS_MAX,
    CLUSTER_ADDRESS_SIZE = QR_NAME_SIZE_MAX + 1
};

struct cluster_member {
    qr_node_id id;
    char name[QR_NAME_SIZE_MAX + 1];
    char address[CLUSTER_ADDRESS_SIZE]; /* host:port of its links; "-": none */
    struct uuid uuid;
};

struct cluster {
    struct uuid id; /* nil: blank, of no cluster */
    /* The members are those that formed it: the first voters of the metadata's
     * group. False once the metadata has told of others, or for who joined. */
    bool has_founders;
    struct cluster_member members[CLUSTER_MEMBERS_MAX];
    size_t members_count;
};

/* One `member` line. */
void cluster_put_member(struct buf *out, const struct cluster_member *member);
/* All lines. */
void cluster_put(struct buf *out, const struct cluster *c);
/* Take note of one line (without its end) that cluster_put() wrote: 1; 0: it
 * is none of those; -QR_EFORMAT. */
MUST_USE int cluster_get_line(struct cluster *c, const char *line);
/* Read what cluster_put() wrote. -QR_EFORMAT; then OUT is as it was. */
MUST_USE int cluster_get(struct cluster *out, const char *text, size_t size,
                         struct error *err);
/* The member that has UUID, or is called NAME; NULL if there is none. */
const struct cluster_member *cluster_by_uuid(const struct cluster *c,
                                             const struct uuid *uuid);
const struct cluster_member *cluster_by_name(const struct cluster *c,
                                             const char *name);
/* Make the members those that the metadata M has. True if that changed C. */
bool cluster_follow(struct cluster *c, const struct meta_machine *m);

#endif
