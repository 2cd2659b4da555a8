/* What happens to a link, as its users see it. In a header of its own because
 * both the links (peer) and the table of a shard (shard/env.h) speak of it. */
#ifndef PEER_LINK_EVENT_H
#define PEER_LINK_EVENT_H

#include <quorate/types.h>
#include <stdint.h>

#include "base/uuid.h"

enum link_event {
    LINK_UP,      /* handshake done; a new epoch of this link */
    LINK_DOWN,    /* lost; the peer may live */
    LINK_REFUSED, /* its host answers that nothing listens: the peer is dead */
    LINK_SILENT   /* nothing heard for the detector's time: suspected */
};

enum {
    /* Blank nodes, which are not of the cluster yet, have link ids from here
     * on. Only rooms that ask for it hear of them (env_handler.hears_guests),
     * and of their frames only those of FRAME_NODE_FIRST and above come. */
    LINK_GUEST_FIRST = 0x10000,
    LINK_GUESTS_MAX = 8 /* at a time; others are refused and try again */
};

/* What a link knows of its peer. */
struct link_peer {
    qr_node_id node;
    uint32_t boot;   /* of the peer's process: counts its starts */
    uint16_t shards; /* of the peer */
    struct uuid uuid;
    uint64_t epoch; /* of the link; grows with each LINK_UP */
};

#endif
