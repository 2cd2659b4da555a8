/* Attempts to connect to a peer, one at a time, with pauses that grow.
 *
 * A lost link is dialled again at once, and quickly some times more: if the
 * process at the other end has died, its host answers that nobody listens, and
 * with the second such answer the peer is known to be dead. The first attempt
 * may still get through to a socket that is about to close, so it takes some
 * 20 ms from its death. */
#include "base/check.h"
#include "net/net.h"
#include "net/stream.h"
#include "peer/peers_internal.h"

enum {
    DIAL_REFUSALS = 2, /* in a row, that mean a dead process */
    DIAL_QUICK = 4,    /* attempts after a loss that do not wait long */
    DIAL_QUICK_MS = 10 /* before each but the first */
};

/* A failed attempt in words, and what it means. */
static void
peers_dial_failed(struct peer *peer, int error)
{
    struct peers *peers = peer->peers;

    peers_log(peers, LOG_INFO,
              "cannot reach node %s at %s port %u: %s; trying again",
              peer->name, peer->host, peer->port, uv_strerror(error));
    if (error != UV_ECONNREFUSED) {
        peer->refusals = 0;
        peer->refused_told = false;
    } else if (++peer->refusals >= DIAL_REFUSALS && !peer->refused_told) {
        peer->refused_told = true;
        peers->events.on_link(peers->events.arg, LINK_REFUSED, &peer->last,
                              &peer->gauge);
    }
}

static void
peers_dial_on_connect(void *arg, struct stream *stream, int error)
{
    struct peer *peer = arg;

    OBJ_CHECK(peer, PEER_MAGIC);
    peer->connect = NULL;
    if (stream == NULL) {
        peers_dial_failed(peer, error);
        peers_dial(peer, false);
        return;
    }
    peer->refusals = 0;
    peer->refused_told = false;
    if (peer->live != NULL) {
        stream_close(stream); /* it was quicker the other way */
        return;
    }
    peer->handshakes++;
    link_new(peer->peers, peer, stream);
}

static void
peers_dial_on_timer(uv_timer_t *timer)
{
    struct peer *peer = timer->data;
    struct peers *peers = peer->peers;

    OBJ_CHECK(peer, PEER_MAGIC);
    if (peer->live == NULL && peer->connect == NULL && peer->handshakes == 0) {
        peer->connect = stream_connect(peers->net, peer->host, peer->port,
                                       peers->limits.connect_ms,
                                       peers_dial_on_connect, peer);
    }
}

void
peers_dial_init(struct peer *peer)
{
    int rv = uv_timer_init(net_loop(peer->peers->net), &peer->timer);

    ASSERT(rv == 0);
    peer->timer.data = peer;
    peer->peers->handles++;
    peer->pause_ms = peer->peers->limits.dial_min_ms;
}

void
peers_dial(struct peer *peer, bool at_once)
{
    struct peers *peers = peer->peers;
    uint64_t pause = 0;

    OBJ_CHECK(peer, PEER_MAGIC);
    if (peers->closing || peer->removed || peer->port == 0 ||
        peer->live != NULL || peer->connect != NULL || peer->handshakes > 0) {
        return;
    }
    if (at_once) {
        peer->pause_ms = peers->limits.dial_min_ms;
        peer->quick = DIAL_QUICK - 1;
    } else if (peer->quick > 0) {
        pause = MIN((uint32_t)DIAL_QUICK_MS, peers->limits.dial_min_ms);
        peer->quick--;
    } else {
        /* Nodes that lost each other together do not come back together. */
        pause = rng_between(&peers->rng, peer->pause_ms / 2, peer->pause_ms);
        peer->pause_ms = MIN(peer->pause_ms * 2, peers->limits.dial_max_ms);
    }
    (void)uv_timer_start(&peer->timer, peers_dial_on_timer, pause, 0);
}

void
peers_dial_stop(struct peer *peer)
{
    OBJ_CHECK(peer, PEER_MAGIC);
    (void)uv_timer_stop(&peer->timer);
    peer->pause_ms = peer->peers->limits.dial_min_ms;
    if (peer->connect != NULL) {
        stream_connect_cancel(peer->connect);
        peer->connect = NULL;
    }
}
