/* The host: frames in, links, turns, durability.
 *
 * A frame is taken apart where it arrives and each message is stepped at once.
 * The turn hook then submits what was proposed, settles the groups that asked
 * for it, lets the messages of all groups go, and flushes the store once: the
 * turn is the batch. When the store says that a batch is durable, the groups
 * that waited for it report, apply and let go of what was held. */
#include <quorate/error.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "consensus/internal.h"

void
host_address(qr_replica_id replica, char text[ADDRESS_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char reversed[ADDRESS_SIZE];
    size_t n = 0;

    do {
        reversed[n++] = digits[replica & 15];
        replica >>= 4;
    } while (replica != 0);
    ASSERT(n < ADDRESS_SIZE);
    for (size_t i = 0; i < n; i++) {
        text[i] = reversed[n - 1 - i];
    }
    text[n] = '\0';
}

void
host_attend(struct qr_group *g)
{
    struct qr_host *host = g->host;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (list_is_linked(&g->attention)) {
        return;
    }
    if (list_is_empty(&host->attention)) {
        host->env->ops->wake(host->env);
    }
    list_push_back(&host->attention, &g->attention);
}

void
host_await(struct qr_group *g, uint64_t batch)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if (batch <= g->host->durable) {
        host_attend(g);
    } else if (!list_is_linked(&g->waiting)) {
        list_push_back(&g->host->waiting, &g->waiting);
    }
}

struct frame *
host_frame(enum frame_class klass, uint16_t kind, qr_group_id group,
           const ProtobufCMessage *head)
{
    struct frame *f = frame_new(klass, kind);
    struct block *block = block_new(protobuf_c_message_get_packed_size(head));

    protobuf_c_message_pack(head, block->data);
    f->head = slice_of_block(block);
    f->group = group;
    f->to_shard = FRAME_TO_GROUP;
    return f;
}

bool
host_post(struct qr_host *host, qr_node_id node, struct frame **frame)
{
    struct address to = {node, (*frame)->to_shard};

    OBJ_CHECK(host, HOST_MAGIC);
    return host->env->ops->post(host->env, to, frame);
}

void
host_notice(struct qr_host *host, qr_node_id node, const Raft__Notice *notice)
{
    struct frame *f =
        host_frame(FRAME_RAFT, WIRE_NOTICE, notice->group, &notice->base);

    OBJ_CHECK(host, HOST_MAGIC);
    (void)host_post(host, node, &f);
}

/* ---- messages for groups that are not here ---- */

static void
answer_deleted(struct qr_host *host, qr_node_id node, qr_group_id group,
               qr_replica_id replica)
{
    Raft__Notice n = RAFT__NOTICE__INIT;

    OBJ_CHECK(host, HOST_MAGIC);
    n.reason = RAFT__NOTICE__REASON__DELETED;
    n.group = group;
    n.replica = replica;
    host_notice(host, node, &n);
}

/* A new queue's first vote request often arrives before the metadata that
 * makes the group here. Keep it for a moment: the first election then needs
 * one round trip. */
static void
keep_early(struct qr_host *host, const Raft__Message *pb, qr_node_id from)
{
    struct early *e;

    OBJ_CHECK(host, HOST_MAGIC);
    if (pb->body_case != RAFT__MESSAGE__BODY_VOTE) {
        return;
    }
    if (host->early.count == EARLY_MAX) {
        ring_pop_front(&host->early);
    }
    e = ring_push_back(&host->early);
    memset(e, 0, sizeof *e);
    e->group = pb->group;
    e->at_ms = host->env->ops->now_ms(host->env);
    e->from = from;
    e->to = pb->to;
    wire_get(pb, &e->message);
}

bool
host_is_awaited(struct qr_host *host, qr_node_id node, qr_group_id group,
                qr_replica_id replica)
{
    enum qr_unknown what = QR_UNKNOWN_WAIT;

    OBJ_CHECK(host, HOST_MAGIC);
    if (host->config.unknown != NULL) {
        what = host->config.unknown(host->config.arg, group, node);
    }
    switch (what) {
    case QR_UNKNOWN_WAIT:
        return true;
    case QR_UNKNOWN_DELETED:
        answer_deleted(host, node, group, replica);
        return false;
    default:
        UNREACHABLE("unknown() answers with an enum qr_unknown");
    }
}

/* Give GROUP, now open, what came too early. */
static void
replay_early(struct qr_group *g)
{
    struct qr_host *host = g->host;
    uint64_t now = host->env->ops->now_ms(host->env);

    OBJ_CHECK(g, GROUP_MAGIC);
    for (size_t i = 0; i < host->early.count; i++) {
        struct early *e = ring_at(&host->early, i);

        if (e->group == g->id && e->to == g->self &&
            now - e->at_ms <= EARLY_MS) {
            struct raft_message m = e->message;

            e->group = 0;
            replica_receive(g, &m, false);
        }
    }
}

static void
expire_early(struct qr_host *host)
{
    uint64_t now;

    OBJ_CHECK(host, HOST_MAGIC);
    if (host->early.count == 0) {
        return;
    }
    now = host->env->ops->now_ms(host->env);
    while (host->early.count > 0) {
        const struct early *e = ring_at(&host->early, 0);

        if (e->group != 0 && now - e->at_ms <= EARLY_MS) {
            return;
        }
        ring_pop_front(&host->early);
    }
}

/* ---- frames ---- */

static void
answer_stale(struct qr_host *host, const Raft__Message *pb, qr_node_id from)
{
    Raft__Notice n = RAFT__NOTICE__INIT;

    OBJ_CHECK(host, HOST_MAGIC);
    n.reason = RAFT__NOTICE__REASON__STALE;
    n.group = pb->group;
    n.replica = pb->to;
    host_notice(host, from, &n);
}

/* The group that PB is for, if it is here, meant, and able. Answers the sender
 * otherwise. */
static struct qr_group *
addressee(struct qr_host *host, const Raft__Message *pb, qr_node_id from)
{
    struct qr_group *g;

    OBJ_CHECK(host, HOST_MAGIC);
    if (qr_replica_node(pb->from) != from) {
        return NULL; /* no node speaks for another */
    }
    g = map_get(&host->groups, pb->group);
    if (g == NULL) {
        if (host_is_awaited(host, from, pb->group, pb->from)) {
            keep_early(host, pb, from);
        }
        return NULL;
    }
    if (g->self != pb->to) {
        answer_stale(host, pb, from);
        return NULL;
    }
    if (g->is_failed || g->is_lost || g->is_leaving) {
        return NULL;
    }
    membership_disown(g, pb->from);
    return g;
}

/* Bytes of content that belong to PB. */
static size_t
content_size(const Raft__Message *pb)
{
    size_t size = 0;

    if (pb->body_case == RAFT__MESSAGE__BODY_APPEND) {
        for (size_t i = 0; i < pb->append->n_sizes; i++) {
            size += pb->append->sizes[i] / 4;
        }
    }
    return size;
}

/* One message of a batch whose content starts at *AT. False when the rest of
 * the frame cannot be understood. */
static bool
on_message(struct qr_host *host, const Raft__Message *pb, qr_node_id from,
           const struct slice *content, size_t *at)
{
    size_t size;
    struct raft_message m;
    struct qr_group *g;

    OBJ_CHECK(host, HOST_MAGIC);
    if (!wire_is_sane(pb)) {
        return false;
    }
    size = content_size(pb);
    if (size > content->size - *at) {
        return false;
    }
    g = addressee(host, pb, from);
    if (g == NULL) {
        *at += size;
        return true;
    }
    wire_get(pb, &m);
    if (m.type == RAFT_APPEND_ENTRIES && !room_admits(g, pb->append, size)) {
        m.append_entries.n_entries = 0; /* the leader sends them again */
        *at += size;
    } else if (m.type == RAFT_APPEND_ENTRIES &&
               wire_get_entries(pb->append, content, at, host->entries,
                                host->bodies) != 0) {
        return false;
    }
    if (m.type == RAFT_APPEND_ENTRIES_RESULT) {
        room_note(g, pb->from, pb->append_result->space);
    }
    replica_receive(g, &m, wire_is_quiet(pb));
    return true;
}

static void
on_batch(struct qr_host *host, const struct frame *f, qr_node_id from)
{
    Raft__Batch *batch =
        raft__batch__unpack(wire_arena_reset(&host->arena, f->head.size),
                            f->head.size, f->head.data);
    struct slice content;
    size_t at = 0;

    OBJ_CHECK(host, HOST_MAGIC);
    if (batch == NULL) {
        log_warning(host->env->log, "raft",
                    "node %u sent a batch that cannot be read", from);
        return;
    }
    content = frame_content(f);
    for (size_t i = 0; i < batch->n_messages; i++) {
        if (!on_message(host, batch->messages[i], from, &content, &at)) {
            log_warning(host->env->log, "raft",
                        "node %u sent a malformed message", from);
            break;
        }
    }
    slice_unref(&content);
}

/* The running group GROUP whose replica is TO, if the sender is who it says. */
static struct qr_group *
find(struct qr_host *host, qr_group_id group, qr_replica_id to,
     qr_replica_id sender, qr_node_id from)
{
    struct qr_group *g = map_get(&host->groups, group);

    OBJ_CHECK(host, HOST_MAGIC);
    if (g == NULL || g->self != to || g->is_failed || g->is_leaving ||
        !g->is_running || qr_replica_node(sender) != from) {
        return NULL;
    }
    return g;
}

static void
on_install(struct qr_host *host, const struct frame *f, qr_node_id from)
{
    Raft__Install *pb =
        raft__install__unpack(wire_arena_reset(&host->arena, f->head.size),
                              f->head.size, f->head.data);
    struct qr_group *g;
    struct slice content;

    OBJ_CHECK(host, HOST_MAGIC);
    if (pb == NULL) {
        return;
    }
    g = find(host, pb->group, pb->to, pb->from, from);
    if (g != NULL) {
        content = frame_content(f);
        install_receive(g, pb, &content);
        slice_unref(&content);
    }
}

static void
on_pull(struct qr_host *host, const struct frame *f, qr_node_id from)
{
    Raft__Pull *pb =
        raft__pull__unpack(wire_arena_reset(&host->arena, f->head.size),
                           f->head.size, f->head.data);
    struct qr_group *g;

    OBJ_CHECK(host, HOST_MAGIC);
    if (pb == NULL || pb->n_ranges / 2 > WIRE_RANGES_MAX ||
        pb->n_ranges % 2 != 0) {
        return;
    }
    g = find(host, pb->group, pb->to, pb->from, from);
    if (g != NULL) {
        stream_pull(g, pb);
    }
}

static void
on_chunk(struct qr_host *host, const struct frame *f, qr_node_id from)
{
    Raft__Chunk *pb =
        raft__chunk__unpack(wire_arena_reset(&host->arena, f->head.size),
                            f->head.size, f->head.data);
    struct qr_group *g;
    struct slice content;

    OBJ_CHECK(host, HOST_MAGIC);
    if (pb == NULL) {
        return;
    }
    g = find(host, pb->group, pb->to, pb->from, from);
    if (g != NULL) {
        content = frame_content(f);
        install_chunk(g, pb, &content);
        slice_unref(&content);
    }
}

/* The leader of TERM says that we are no member. It knows when its term is not
 * below ours: no later leader can have added us. Without our memory we are no
 * member whatever else is: nobody adds a replica that has said so. */
static void
on_removed(struct qr_group *g, const Raft__Notice *n)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->is_lost ||
        (g->is_running && n->term >= raft_current_term(&g->raft))) {
        log_info(g->host->env->log, "raft",
                 "group %llu: this replica was removed",
                 (unsigned long long)g->id);
        g->is_leaving = true;
        host_attend(g);
    }
}

static void
on_notice(struct qr_host *host, const struct frame *f, qr_node_id from)
{
    Raft__Notice *n =
        raft__notice__unpack(wire_arena_reset(&host->arena, f->head.size),
                             f->head.size, f->head.data);
    struct qr_group *g;

    OBJ_CHECK(host, HOST_MAGIC);
    if (n == NULL) {
        return;
    }
    g = map_get(&host->groups, n->group);
    if (g == NULL || g->self != n->replica) {
        g = NULL;
    }
    switch (n->reason) {
    case RAFT__NOTICE__REASON__DELETED:
        if (g != NULL && host->config.deleted != NULL) {
            host->config.deleted(host->config.arg, n->group);
        }
        break;
    case RAFT__NOTICE__REASON__REMOVED:
        if (g != NULL) {
            on_removed(g, n);
        }
        break;
    case RAFT__NOTICE__REASON__GONE:
        if (g != NULL) {
            install_gone(g, n->stream);
        }
        break;
    case RAFT__NOTICE__REASON__STALE:
        log_debug(host->env->log, "raft",
                  "node %u: replica %llx of group %llu was replaced", from,
                  (unsigned long long)n->replica, (unsigned long long)n->group);
        break;
    case RAFT__NOTICE__REASON__UNKNOWN:
    case _RAFT__NOTICE__REASON_IS_INT_SIZE:
    default:
        break;
    }
}

static void
on_frame(void *arg, struct address from, struct frame **frame)
{
    struct qr_host *host = arg;
    const struct frame *f = *frame;
    struct peer *peer;

    OBJ_CHECK(host, HOST_MAGIC);
    if (from.node == 0 || from.node == host->env->node) {
        return;
    }
    peer = host_peer(host, from.node);
    peer->is_linked = true;
    peer->is_dead = false;
    switch (f->kind) {
    case WIRE_BATCH:
        on_batch(host, f, from.node);
        break;
    case WIRE_INSTALL:
        on_install(host, f, from.node);
        break;
    case WIRE_PULL:
        on_pull(host, f, from.node);
        break;
    case WIRE_CHUNK:
        on_chunk(host, f, from.node);
        break;
    case WIRE_NOTICE:
        on_notice(host, f, from.node);
        break;
    case WIRE_FETCH:
    case WIRE_FETCHED:
    case WIRE_STATE:
    case WIRE_LOST:
        frames_receive(host, f, from.node);
        break;
    default:
        break; /* of a later version */
    }
}

/* ---- turns and durability ---- */

static void
attend(struct qr_group *g)
{
    bool was_new;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->is_leaving) {
        host_group_destroy(g);
        return;
    }
    if (g->is_failed || g->is_lost) {
        apply_standing(g);
        return;
    }
    was_new = g->is_new && g->is_recovered;
    if (g->is_new) {
        g->is_new = false;
        replay_early(g);
    }
    if (g->must_stand) {
        replica_stand(g);
    } else if (was_new) {
        volunteer_start(g);
    }
    replica_propose(g);
    membership_act(g);
    replica_durable(g);
}

static void
on_turn(void *arg)
{
    struct qr_host *host = arg;
    struct list now;
    struct list *link;

    OBJ_CHECK(host, HOST_MAGIC);
    /* What asks for attention meanwhile gets it in the next turn. */
    list_init(&now);
    while ((link = list_pop_front(&host->attention)) != NULL) {
        list_push_back(&now, link);
    }
    while ((link = list_pop_front(&now)) != NULL) {
        attend(list_entry(link, struct qr_group, attention));
    }
    expire_early(host);
    snapshot_relieve(host);
    room_turn(host);
    outbox_flush(host);
    store_flush(host->store);
}

void
qr_host_durable(struct qr_host *host, uint64_t batch)
{
    struct list now;
    struct list *link;

    OBJ_CHECK(host, HOST_MAGIC);
    ASSERT(batch >= host->durable);
    host->durable = batch;
    list_init(&now);
    while ((link = list_pop_front(&host->waiting)) != NULL) {
        list_push_back(&now, link);
    }
    while ((link = list_pop_front(&now)) != NULL) {
        replica_durable(list_entry(link, struct qr_group, waiting));
    }
}

/* ---- the host ---- */

static void
on_link(void *arg, enum link_event event, const struct link_peer *peer)
{
    struct qr_host *host = arg;

    OBJ_CHECK(host, HOST_MAGIC);
    failover_link(host, event, peer);
}

static void
set_defaults(struct qr_host_config *c)
{
    if (c->heartbeat_ms == 0) {
        c->heartbeat_ms = HEARTBEAT_MS_DEFAULT;
    }
    if (c->election_timeout_ms == 0) {
        c->election_timeout_ms = ELECTION_TIMEOUT_MS_DEFAULT;
    }
    if (c->snapshot_log_bytes == 0) {
        c->snapshot_log_bytes = SNAPSHOT_LOG_BYTES_DEFAULT;
    }
    if (c->snapshot_log_entries == 0) {
        c->snapshot_log_entries = SNAPSHOT_LOG_ENTRIES_DEFAULT;
    }
    ASSERT(c->election_timeout_ms >= 2 * c->heartbeat_ms);
}

struct qr_host *
qr_host_new(const struct qr_host_config *config)
{
    struct qr_host *host = mem_zalloc(1, sizeof *host);
    struct env_handler handler = {
        .arg = host,
        .kind_first = FRAME_RAFT_FIRST,
        .kind_limit = WIRE_KIND_LIMIT,
        .on_frame = on_frame,
        .on_link = on_link,
        .on_turn = on_turn,
    };

    ASSERT(config->env != NULL);
    ASSERT(config->store != NULL);
    host->magic = HOST_MAGIC;
    host->env = config->env;
    host->store = config->store;
    host->config = *config;
    set_defaults(&host->config);
    map_init(&host->groups);
    map_init(&host->peers);
    list_init(&host->attention);
    list_init(&host->waiting);
    list_init(&host->peers_dirty);
    list_init(&host->parcels_free);
    list_init(&host->gathers_free);
    ring_init(&host->early, sizeof(struct early));
    lost_init(host);
    repair_init(host);
    step_messages_init(&host->messages);
    wire_arena_init(&host->arena);
    buf_init(&host->scratch);
    host->durable = store_durable(host->store);
    env_register(host->env, &handler);
    return host;
}

static void
free_peers(struct qr_host *host)
{
    size_t pos;
    uint64_t key;
    struct peer *peer;

    OBJ_CHECK(host, HOST_MAGIC);
    map_foreach (&host->peers, pos, key, peer) {
        outbox_drop(peer);
        timers_stop(&host->env->timers, &peer->down);
        mem_free(peer);
    }
    map_deinit(&host->peers);
}

static void
free_groups(struct qr_host *host)
{
    size_t pos;
    uint64_t key;
    struct qr_group *g;

    OBJ_CHECK(host, HOST_MAGIC);
    map_foreach (&host->groups, pos, key, g) {
        host_group_free(g);
    }
    map_deinit(&host->groups);
}

void
qr_host_free(struct qr_host **hostp)
{
    struct qr_host *host = *hostp;
    struct list *link;

    OBJ_CHECK(host, HOST_MAGIC);
    *hostp = NULL;
    free_groups(host);
    repair_deinit(host);
    lost_deinit(host);
    free_peers(host);
    while ((link = list_pop_front(&host->parcels_free)) != NULL) {
        struct parcel *p = list_entry(link, struct parcel, link);

        buf_deinit(&p->head);
        mem_free(p);
    }
    while ((link = list_pop_front(&host->gathers_free)) != NULL) {
        struct gather *gather = list_entry(link, struct gather, link);

        buf_deinit(&gather->bytes);
        mem_free(gather);
    }
    ring_deinit(&host->early);
    step_messages_deinit(&host->messages);
    wire_arena_deinit(&host->arena);
    buf_deinit(&host->scratch);
    host->magic = 0;
    mem_free(host);
}

struct qr_group *
qr_host_group(struct qr_host *host, qr_group_id id)
{
    OBJ_CHECK(host, HOST_MAGIC);
    return map_get(&host->groups, id);
}

void
qr_host_stats(const struct qr_host *host, struct qr_host_stats *out)
{
    size_t pos;
    uint64_t key;
    struct qr_group *g;

    OBJ_CHECK(host, HOST_MAGIC);
    *out = host->stats;
    out->groups = host->groups.count;
    out->groups_leading = 0;
    out->groups_hibernating = 0;
    out->groups_lost = host->lost_count;
    map_foreach (&host->groups, pos, key, g) {
        out->groups_leading += replica_is_leader(g) ? 1 : 0;
        out->groups_hibernating += g->is_asleep ? 1 : 0;
    }
}
