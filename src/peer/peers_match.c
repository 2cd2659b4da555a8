/* Which peer the other end of a link is, by what it says of itself. */
#include <quorate/error.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "peer/peers_internal.h"

/* The peer that is called NAME and was not removed, or NULL. */
static struct peer *
peers_named(const struct peers *peers, const char *name)
{
    for (size_t i = 0; i < peers->nodes_count; i++) {
        struct peer *peer = peers->nodes[i];

        if (!peer->removed && peer->node < LINK_GUEST_FIRST &&
            strcmp(peer->name, name) == 0) {
            return peer;
        }
    }
    return NULL;
}

/* A place for a guest called NAME: one whose link is gone, or a new one; NULL
 * if there are too many. */
static struct peer *
peers_guest(struct peers *peers, const struct peers_identity *other)
{
    struct peer *guest = NULL;
    size_t count = 0;

    for (size_t i = 0; i < peers->nodes_count; i++) {
        struct peer *peer = peers->nodes[i];

        if (peer->node < LINK_GUEST_FIRST) {
            continue;
        }
        count++;
        if (uuid_is_equal(&peer->uuid, &other->uuid)) {
            guest = peer;
            break;
        }
        guest = peer->live == NULL && peer->handshakes == 0 ? peer : guest;
    }
    if (guest == NULL && count < LINK_GUESTS_MAX &&
        peers->nodes_count < PEERS_KNOWN_MAX) {
        guest = peers_new_peer(peers, (qr_node_id)(LINK_GUEST_FIRST + count));
    }
    if (guest != NULL) {
        guest->uuid = other->uuid;
        (void)snprintf(guest->name, sizeof(guest->name), "%s",
                       other->node_name);
    }
    return guest;
}

/* Who a blank node is to one of a cluster: a member that has not been told yet
 * that the cluster was formed, or a guest. */
static struct peer *
peers_match_blank(struct peers *peers, const struct peers_identity *other,
                  enum refusal *reason, struct error *err)
{
    struct peer *peer = peers_named(peers, other->node_name);

    if (peer == NULL || !uuid_is_equal(&peer->uuid, &other->uuid)) {
        peer = peers_guest(peers, other);
    }
    if (peer == NULL) {
        *reason = REFUSAL_STRANGER;
        (void)error_set(err, QR_EBUSY,
                        "%d blank nodes are linked with node %s already; they "
                        "join first",
                        (int)LINK_GUESTS_MAX, peers->self.node_name);
    }
    return peer;
}

/* Whether one more member may be let in. */
static bool
peers_has_room(const struct peers *peers)
{
    size_t count = 0;

    for (size_t i = 0; i < peers->nodes_count; i++) {
        count += !peers->nodes[i]->removed &&
                         peers->nodes[i]->node < LINK_GUEST_FIRST
                     ? 1
                     : 0;
    }
    return count + LINK_GUESTS_MAX < QR_NODES_MAX &&
           peers->nodes_count < PEERS_KNOWN_MAX;
}

/* OTHER is of this node's cluster, or this node is blank: the peer of its id;
 * one that is new joined while this node was away. */
static struct peer *
peers_match_member(struct peers *peers, const struct peers_identity *other,
                   enum refusal *reason, struct error *err)
{
    struct peer *peer = peers_find(peers, other->node);
    const struct peer *named = peers_named(peers, other->node_name);

    if (ranges_has(&peers->removed, other->node)) {
        *reason = REFUSAL_REMOVED;
        (void)error_set(err, QR_ESTALE, PEERS_REMOVED_TEXT, other->node_name,
                        other->node);
        return NULL;
    }
    if (peer == NULL && other->node > 0 && other->node < LINK_GUEST_FIRST &&
        peers_has_room(peers) && (named == NULL || named->node < other->node)) {
        peer = peers_new_peer(peers, other->node);
        (void)snprintf(peer->name, sizeof(peer->name), "%s", other->node_name);
        if (named != NULL) {
            memcpy(peer->host, named->host, sizeof(peer->host));
            peer->port = named->port;
        }
    }
    if (peer == NULL || strcmp(peer->name, other->node_name) != 0 ||
        (!uuid_is_nil(&peer->uuid) &&
         !uuid_is_equal(&peer->uuid, &other->uuid))) {
        *reason = REFUSAL_NODE;
        (void)error_set(err, QR_ECONFLICT,
                        "node %s knows node %s with another id or UUID than "
                        "%u of this one; if its disk was replaced, start it "
                        "with an empty data directory",
                        peers->self.node_name, other->node_name, other->node);
        return NULL;
    }
    return peer;
}

struct peer *
peers_match(struct peers *peers, const struct link *l, enum refusal *reason,
            struct error *err)
{
    const struct peers_identity *other = &l->other;
    struct peer *found;

    if (!uuid_is_nil(&l->self.cluster)) {
        return uuid_is_nil(&other->cluster)
                   ? peers_match_blank(peers, other, reason, err)
                   : peers_match_member(peers, other, reason, err);
    }
    found = peers_named(peers, other->node_name);
    if (found == NULL) {
        *reason = REFUSAL_STRANGER;
        (void)error_set(err, QR_ENOENT,
                        "node %s is blank and does not know a node %s; name "
                        "it in its configuration",
                        peers->self.node_name, other->node_name);
    }
    return found;
}
