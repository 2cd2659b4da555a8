/* The table of peers, and which connection is the link to each.
 *
 * Both ends of a pair may have connections under way at once. Only one of them
 * decides, the senior, and it says so on the connection that it takes; so the
 * two can never keep different ones, or close each other's. */
#include "peer/peers.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/mem.h"
#include "net/listener.h"
#include "net/net.h"
#include "net/stream.h"
#include "peer/peers_internal.h"

void
peers_limits_fill(struct peers_limits *limits)
{
    static const struct peers_limits defaults = {
        .heartbeat_ms = 250,
        .silent_ms = 2000,
        .dead_ms = 5000,
        .connect_ms = 3000,
        .handshake_ms = 5000,
        .dial_min_ms = 50,
        .dial_max_ms = 2000,
        .window = {1 << 20, 64 << 20, 64 << 20, 8 << 20},
    };
    uint32_t *at[] = {&limits->heartbeat_ms, &limits->silent_ms,
                      &limits->dead_ms,      &limits->connect_ms,
                      &limits->handshake_ms, &limits->dial_min_ms,
                      &limits->dial_max_ms};
    const uint32_t from[] = {defaults.heartbeat_ms, defaults.silent_ms,
                             defaults.dead_ms,      defaults.connect_ms,
                             defaults.handshake_ms, defaults.dial_min_ms,
                             defaults.dial_max_ms};

    for (size_t i = 0; i < ARRAY_COUNT(from); i++) {
        *at[i] = *at[i] != 0 ? *at[i] : from[i];
    }
    for (size_t i = 0; i < FRAME_CLASS_COUNT; i++) {
        limits->window[i] =
            limits->window[i] != 0 ? limits->window[i] : defaults.window[i];
    }
}

uint64_t
peers_now(const struct peers *peers)
{
    return uv_now(net_loop(peers->net));
}

/* Whether TEXT may be said: not if it was said a short while ago, nor if so
 * much was said that whoever connects may be making it up. */
static bool
peers_log_is_new(struct peers *peers, const char *text)
{
    uint32_t hash = crc32c(0, text, strlen(text));
    uint64_t now = peers_now(peers);
    struct peers_log_line *oldest = &peers->said[0];

    for (size_t i = 0; i < PEERS_LOG_GATE; i++) {
        struct peers_log_line *line = &peers->said[i];

        if (line->at_ms > 0 && line->hash == hash &&
            now - line->at_ms < PEERS_LOG_AGAIN_MS) {
            return false;
        }
        oldest = line->at_ms < oldest->at_ms ? line : oldest;
    }
    if (oldest->at_ms > 0 && now - oldest->at_ms < PEERS_LOG_AGAIN_MS) {
        return false;
    }
    oldest->hash = hash;
    oldest->at_ms = now;
    return true;
}

void
peers_log(struct peers *peers, enum log_level level, const char *fmt, ...)
{
    char text[LOG_LINE_SIZE];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (peers_log_is_new(peers, text)) {
        log_at(peers->log, level, "peer", "%s", text);
    }
}

/* Attempts repeat, and so would their lines. A link that came up makes what
 * was said before it news again. */
static void
peers_log_forget(struct peers *peers)
{
    memset(peers->said, 0, sizeof(peers->said));
}

struct peer *
peers_find(const struct peers *peers, qr_node_id node)
{
    for (size_t i = 0; i < peers->nodes_count; i++) {
        struct peer *peer = peers->nodes[i];

        if (peer->node == node) {
            return peer;
        }
    }
    return NULL;
}

struct peers *
peers_new(struct net *net, const struct logger *log,
          const struct peers_identity *identity,
          const struct peers_proof *proof, const struct peers_limits *limits,
          const struct peers_events *events)
{
    struct peers *peers = mem_zalloc(1, sizeof(*peers));
    uint64_t seed = 0;
    int rv = uv_random(NULL, NULL, &seed, sizeof(seed), 0, NULL);

    ASSERT(rv == 0);
    peers->magic = PEERS_MAGIC;
    peers->net = net;
    peers->log = log;
    peers->self = *identity;
    if (limits != NULL) {
        peers->limits = *limits;
    }
    peers_limits_fill(&peers->limits);
    peers->events = *events;
    if (proof->secret != NULL) {
        peers->psk = psk_new(proof->secret, identity->node_name);
    } else {
        ASSERT(proof->tls != NULL);
        peers->tls = proof->tls;
        (void)snprintf(peers->tls_name, sizeof(peers->tls_name), "%s",
                       proof->tls_name);
    }
    list_init(&peers->links);
    ranges_init(&peers->removed);
    rng_init(&peers->rng, seed);
    return peers;
}

/* Of those who have not proven that they know the secret, close who has been
 * here for the longest; false when there is none. */
static bool
peers_make_room(struct peers *peers)
{
    struct list *it = NULL;

    list_foreach (it, &peers->links) {
        struct link *l = list_entry(it, struct link, entry);

        if (!l->dialled && l->state == LINK_TLS) {
            peers_log(peers, LOG_WARNING,
                      "%d connections to the port of links are in their "
                      "handshake: the oldest is closed",
                      PEERS_ACCEPTED_MAX);
            link_close(l);
            return true;
        }
    }
    return false;
}

static void
peers_on_accept(void *arg, struct stream *stream)
{
    struct peers *peers = arg;

    OBJ_CHECK(peers, PEERS_MAGIC);
    if (peers->closing ||
        (peers->accepted >= PEERS_ACCEPTED_MAX && !peers_make_room(peers))) {
        stream_close(stream);
        return;
    }
    peers->accepted++;
    link_new(peers, NULL, stream);
}

int
peers_listen(struct peers *peers, int fd, struct error *err)
{
    int rv = 0;

    OBJ_CHECK(peers, PEERS_MAGIC);
    ASSERT(peers->listener == NULL);
    rv = listener_start(peers->net, fd, peers_on_accept, peers,
                        &peers->listener, err);
    if (rv == 0) {
        peers->handles++;
    }
    return error_wrap(err, rv, "accept links");
}

struct peer *
peers_new_peer(struct peers *peers, qr_node_id node)
{
    struct peer *peer = mem_zalloc(1, sizeof(*peer));

    ASSERT(peers->nodes_count < PEERS_KNOWN_MAX);
    peer->magic = PEER_MAGIC;
    peer->peers = peers;
    peer->node = node;
    peer->last.node = node;
    link_gauge_init(&peer->gauge, peers->limits.window);
    peers_dial_init(peer);
    peers->nodes[peers->nodes_count++] = peer;
    return peer;
}

int
peers_add(struct peers *peers, qr_node_id node, const char *name,
          const char *host, uint16_t port, struct error *err)
{
    struct peer *peer = NULL;

    OBJ_CHECK(peers, PEERS_MAGIC);
    ASSERT(!peers->closing);
    if (ranges_has(&peers->removed, node)) {
        return 0;
    }
    if (node == 0 || strlen(name) > QR_NAME_SIZE_MAX ||
        strlen(host) >= PEERS_HOST_SIZE) {
        return error_set(err, QR_EINVAL,
                         "node %u (%s at %s): ids begin at 1, names have at "
                         "most %d bytes and hosts %d",
                         node, name, host, QR_NAME_SIZE_MAX,
                         PEERS_HOST_SIZE - 1);
    }
    peer = peers_find(peers, node);
    if (peer == NULL && peers->nodes_count >= PEERS_KNOWN_MAX) {
        return error_set(err, QR_EBUSY,
                         "this process has been told of %d nodes already; "
                         "start it again",
                         (int)PEERS_KNOWN_MAX);
    }
    if (peer == NULL) {
        peer = peers_new_peer(peers, node);
    }
    peer->port = port;
    (void)snprintf(peer->name, sizeof(peer->name), "%s", name);
    (void)snprintf(peer->host, sizeof(peer->host), "%s", host);
    peers_dial(peer, true);
    return 0;
}

/* L is refused, by us. */
static void
peers_refuse(struct link *l, enum refusal reason, const char *text)
{
    char who[HELLO_TEXT_SIZE];

    link_describe(l, who, sizeof(who));
    peers_log(l->peers, reason == REFUSAL_DUPLICATE ? LOG_DEBUG : LOG_ERROR,
              "refused a link with %s: %s", who, text);
    link_refuse(l, reason, text);
}

static void
peers_refuse_removed(struct link *l)
{
    char text[HELLO_TEXT_SIZE];

    (void)snprintf(text, sizeof(text), PEERS_REMOVED_TEXT, l->other.node_name,
                   l->peer->node);
    peers_refuse(l, REFUSAL_REMOVED, text);
}

static void
peers_refuse_rolled_back(struct link *l, const struct start_seen *seen)
{
    char text[HELLO_TEXT_SIZE];

    (void)snprintf(text, sizeof(text),
                   "node %.64s runs on an old copy of its data: this is its "
                   "start %u, and node %.64s has seen start %u, which this "
                   "data directory does not know",
                   l->other.node_name, l->other.starts.boot, l->self.node_name,
                   seen->boot);
    peers_refuse(l, REFUSAL_ROLLED_BACK, text);
}

void
peers_remove(struct peers *peers, qr_node_id node)
{
    struct peer *peer = NULL;
    struct list *it = NULL;
    struct list *tmp = NULL;

    OBJ_CHECK(peers, PEERS_MAGIC);
    ranges_add(&peers->removed, node, node);
    peer = peers_find(peers, node);
    if (peer == NULL || peer->removed) {
        return;
    }
    peer->removed = true;
    peers_dial_stop(peer);
    list_foreach_safe (it, tmp, &peers->links) {
        struct link *l = list_entry(it, struct link, entry);

        if (l->peer == peer && l->state == LINK_LIVE) {
            peers_refuse_removed(l);
        } else if (l->peer == peer) {
            link_close(l);
        }
    }
}

void
peers_known(struct peers *peers, qr_node_id node, const struct uuid *uuid,
            const struct start_seen *seen)
{
    struct peer *peer = peers_find(peers, node);

    OBJ_CHECK(peers, PEERS_MAGIC);
    if (peer == NULL || peer->removed) {
        return;
    }
    peer->uuid = *uuid;
    starts_see(&peer->seen, seen->boot, seen->process);
    if (peer->live != NULL &&
        starts_is_rolled_back(&peer->live->other.starts, seen)) {
        peers_refuse_rolled_back(peer->live, seen);
    }
}

struct start_seen
peers_seen(const struct peers *peers, qr_node_id node)
{
    const struct peer *peer = peers_find(peers, node);
    struct start_seen none = {.boot = 0};

    OBJ_CHECK(peers, PEERS_MAGIC);
    return peer == NULL ? none : peer->seen;
}

void
peers_set_identity(struct peers *peers, const struct peers_identity *identity)
{
    OBJ_CHECK(peers, PEERS_MAGIC);
    peers->self = *identity;
}

const struct peers_identity *
peers_identity(const struct peers *peers)
{
    OBJ_CHECK(peers, PEERS_MAGIC);
    return &peers->self;
}

/* Whether OLD is surely no longer what the other end uses. */
static bool
peers_is_stale(const struct peers *peers, const struct link *old,
               const struct link *l)
{
    (void)l;
    /* Not by its being another process: two may run on copies of one data
     * directory, and the first is to stay. */
    return peers_now(peers) - old->heard_ms >
           (uint64_t)peers->limits.heartbeat_ms * 2;
}

static bool
is_same_process(const struct peers_identity *a, const struct peers_identity *b)
{
    return uuid_is_equal(&a->uuid, &b->uuid) &&
           a->starts.boot == b->starts.boot &&
           a->starts.process[0] == b->starts.process[0];
}

/* Whether L comes from another process of PEER than the one that is linked and
 * alive. Both ends look: a second process may be the senior of the two. */
static bool
peers_is_second(const struct peer *peer, const struct link *l)
{
    const struct link *old = peer->live;

    return old != NULL && old != l && !peers_is_stale(peer->peers, old, l) &&
           uuid_is_equal(&old->other.uuid, &l->other.uuid) &&
           !is_same_process(&old->other, &l->other);
}

/* The senior decides on L, whose hello is good. */
static void
peers_decide(struct peer *peer, struct link *l)
{
    struct link *old = peer->live;
    struct error err;

    if (old != NULL && !peers_is_stale(peer->peers, old, l)) {
        if (is_same_process(&old->other, &l->other)) {
            peers_refuse(l, REFUSAL_DUPLICATE, "there is a link already");
            return;
        }
        (void)error_set(&err, QR_ECONFLICT,
                        "another node with id %u is linked as node %s; give "
                        "each node its own id",
                        peer->node, old->other.node_name);
        peers_refuse(l, REFUSAL_NODE, err.text);
        return;
    }
    if (old != NULL) {
        link_close(old);
    }
    link_welcome(l);
}

/* L is PEER's from now on. One that was dialled may have reached another node
 * than the one that its address was of. */
static void
peers_adopt(struct link *l, struct peer *peer)
{
    struct peer *was = l->peer;

    if (was == peer) {
        return;
    }
    l->peer = peer;
    if (was == NULL) {
        l->peers->accepted--;
    } else if (l->dialled) {
        was->handshakes--;
        peer->handshakes++;
        peers_dial(was, false);
    }
}

void
peers_hello(struct link *l)
{
    struct peers *peers = l->peers;
    struct error err;
    enum refusal reason = REFUSAL_NONE;
    struct peer *peer = NULL;

    error_clear(&err);
    reason = hello_check(&l->self, &l->other, &err);
    if (reason == REFUSAL_NONE) {
        peer = peers_match(peers, l, &reason, &err);
    }
    if (peer == NULL) {
        peers_refuse(l, reason, err.text);
        return;
    }
    if (starts_is_rolled_back(&l->other.starts, &peer->seen)) {
        struct start_seen seen = peer->seen;

        peers_adopt(l, peer);
        peers_refuse_rolled_back(l, &seen);
        return;
    }
    peers_adopt(l, peer);
    if (peers_is_second(peer, l)) {
        (void)error_set(&err, QR_ECONFLICT,
                        "another process of node %s is linked, start %u; if it "
                        "does not end, two run on copies of one data "
                        "directory: stop one of them",
                        peer->live->other.node_name,
                        peer->live->other.starts.boot);
        peers_refuse(l, REFUSAL_NODE, err.text);
        return;
    }
    if (hello_is_senior(&l->self, &l->other)) {
        peers_decide(peer, l);
    }
}

bool
peers_remember(struct link *l)
{
    const struct peers_events *events = &l->peers->events;
    struct peer *peer = l->peer;
    struct start_seen seen = peer->seen;

    if (peer->node >= LINK_GUEST_FIRST || uuid_is_nil(&l->other.cluster)) {
        return true;
    }
    starts_see(&seen, l->other.starts.boot, l->other.starts.process[0]);
    if (seen.boot == peer->seen.boot && seen.process == peer->seen.process) {
        return true;
    }
    if (events->on_start != NULL &&
        !events->on_start(events->arg, peer->node, &seen)) {
        return false;
    }
    peer->seen = seen;
    return true;
}

static void
peers_tell(struct peer *peer, enum link_event event)
{
    const struct peers_events *events = &peer->peers->events;

    if (!peer->peers->closing) {
        events->on_link(events->arg, event, &peer->last, &peer->gauge);
    }
}

void
peers_link_up(struct link *l)
{
    struct peer *peer = l->peer;
    struct peers *peers = l->peers;
    char who[HELLO_TEXT_SIZE];

    if (peer->live != NULL) {
        link_close(peer->live); /* the senior has given it up */
    }
    l->epoch = ++peers->epoch;
    peer->live = l;
    peer->handshakes -= l->dialled ? 1 : 0;
    peer->refusals = 0;
    peer->refused_told = false;
    peers_dial_stop(peer);
    peer->last.node = peer->node;
    peer->last.boot = l->other.starts.boot;
    peer->last.shards = l->other.shards;
    peer->last.uuid = l->other.uuid;
    if (peer->node < LINK_GUEST_FIRST && !uuid_is_nil(&l->other.cluster)) {
        peer->uuid = l->other.uuid;
    }
    peer->last.epoch = l->epoch;
    peers_log_forget(peers);
    link_describe(l, who, sizeof(who));
    log_info(peers->log, "peer", "link to %s is up", who);
    if (peers->paused) {
        stream_read_stop(l->stream);
    }
    peers_tell(peer, LINK_UP);
}

void
peers_link_lost(struct link *l)
{
    struct peers *peers = l->peers;
    struct peer *peer = l->peer;
    bool was_live = peer != NULL && peer->live == l;

    if (peer == NULL) {
        peers->accepted--;
        return;
    }
    if (was_live) {
        peer->live = NULL;
        peers_tell(peer, LINK_DOWN);
    } else if (l->dialled) {
        peer->handshakes--;
    }
    peers_dial(peer, was_live);
}

void
peers_unwelcome(struct link *l, enum refusal reason, const char *text)
{
    const struct peers_events *events = &l->peers->events;

    /* A word of this node's own cluster only. */
    if (!l->peers->closing && events->on_unwelcome != NULL &&
        !uuid_is_nil(&l->self.cluster) &&
        uuid_is_equal(&l->self.cluster, &l->other.cluster)) {
        events->on_unwelcome(events->arg, reason == REFUSAL_ROLLED_BACK, text);
    }
}

void
peers_link_silent(struct link *l)
{
    char who[HELLO_TEXT_SIZE];

    link_describe(l, who, sizeof(who));
    peers_log(l->peers, LOG_WARNING, "link to %s: nothing heard for %u ms", who,
              l->peers->limits.silent_ms);
    peers_tell(l->peer, LINK_SILENT);
}

void
peers_link_frame(struct link *l, struct frame **frame)
{
    const struct peers_events *events = &l->peers->events;

    /* A guest has no business with the rooms below. */
    if (!l->peers->closing && (l->peer->node < LINK_GUEST_FIRST ||
                               (*frame)->kind >= FRAME_NODE_FIRST)) {
        events->on_frame(events->arg, &l->peer->last, frame);
    }
}

void
peers_send(struct peers *peers, qr_node_id node, uint64_t epoch,
           struct frame **frame)
{
    struct peer *peer = NULL;

    OBJ_CHECK(peers, PEERS_MAGIC);
    ASSERT((*frame)->kind >= FRAME_RAFT_FIRST);
    peer = peers_find(peers, node);
    ASSERT(peer != NULL); /* it was charged to its gauge */
    if (peer->live == NULL || peer->live->epoch != epoch) {
        link_gauge_discharge_mt(&peer->gauge, (*frame)->klass,
                                frame_size(*frame));
        frame_free(frame);
        return;
    }
    link_queue(peer->live, frame);
}

void
peers_flush(struct peers *peers)
{
    OBJ_CHECK(peers, PEERS_MAGIC);
    for (size_t i = 0; i < peers->nodes_count; i++) {
        struct link *l = peers->nodes[i]->live;

        if (l != NULL && link_has_output(l)) {
            link_pump(l);
        }
    }
}

bool
peers_link(const struct peers *peers, qr_node_id node, struct link_peer *out)
{
    const struct peer *peer = peers_find(peers, node);

    OBJ_CHECK(peers, PEERS_MAGIC);
    if (peer == NULL || peer->live == NULL) {
        return false;
    }
    if (out != NULL) {
        *out = peer->last;
    }
    return true;
}

void
peers_pause(struct peers *peers, bool paused)
{
    OBJ_CHECK(peers, PEERS_MAGIC);
    peers->paused = paused;
    for (size_t i = 0; i < peers->nodes_count; i++) {
        struct link *l = peers->nodes[i]->live;

        if (l == NULL) {
            continue;
        }
        if (paused) {
            stream_read_stop(l->stream);
        } else {
            l->heard_ms = peers_now(peers);
            stream_read_start(l->stream);
        }
    }
}

static void
peers_check_closed(struct peers *peers)
{
    if (peers->closing && peers->handles == 0 && peers->closed != NULL) {
        void (*closed)(void *arg) = peers->closed;

        peers->closed = NULL;
        closed(peers->closed_arg);
    }
}

void
peers_handle_closed(struct peers *peers)
{
    OBJ_CHECK(peers, PEERS_MAGIC);
    ASSERT(peers->handles > 0);
    peers->handles--;
    peers_check_closed(peers);
}

static void
peers_on_listener_closed(void *arg)
{
    peers_handle_closed(arg);
}

static void
peers_on_timer_closed(uv_handle_t *handle)
{
    const struct peer *peer = handle->data;

    peers_handle_closed(peer->peers);
}

void
peers_close(struct peers *peers, void (*done)(void *arg), void *arg)
{
    struct list *it = NULL;
    struct list *tmp = NULL;

    OBJ_CHECK(peers, PEERS_MAGIC);
    ASSERT(!peers->closing);
    peers->closing = true;
    peers->closed = done;
    peers->closed_arg = arg;
    if (peers->listener != NULL) {
        listener_close(&peers->listener, peers_on_listener_closed, peers);
    }
    list_foreach_safe (it, tmp, &peers->links) {
        link_close(list_entry(it, struct link, entry));
    }
    for (size_t i = 0; i < peers->nodes_count; i++) {
        peers_dial_stop(peers->nodes[i]);
        uv_close((uv_handle_t *)&peers->nodes[i]->timer, peers_on_timer_closed);
    }
    if (peers->handles == 0 && done != NULL) {
        peers->closed = NULL;
        done(arg);
    }
}

void
peers_free(struct peers **peersp)
{
    struct peers *peers = *peersp;

    if (peers == NULL) {
        return;
    }
    OBJ_CHECK(peers, PEERS_MAGIC);
    ASSERT(peers->closing);
    ASSERT(peers->handles == 0);
    *peersp = NULL;
    for (size_t i = 0; i < peers->nodes_count; i++) {
        peers->nodes[i]->magic = 0;
        mem_free(peers->nodes[i]);
    }
    psk_free(&peers->psk);
    ranges_deinit(&peers->removed);
    peers->magic = 0;
    mem_free(peers);
}
