/* Frames about what is damaged and who is lost: checked, and handed on to
 * donate.c, repair.c, state.c and lost.c. */
#include "base/check.h"
#include "consensus/internal.h"

/* The replica of GROUP here, running or not, if the sender is who it says. To
 * entries that are named by index and term incarnations do not matter. */
static struct qr_group *
find_any(struct qr_host *host, qr_group_id group, qr_replica_id sender,
         qr_node_id from)
{
    struct qr_group *g = map_get(&host->groups, group);

    OBJ_CHECK(host, HOST_MAGIC);
    if (g == NULL || g->is_leaving || qr_replica_node(sender) != from) {
        return NULL;
    }
    return g;
}

static void
on_fetch(struct qr_host *host, const struct frame *f, qr_node_id from)
{
    Raft__Fetch *pb =
        raft__fetch__unpack(wire_arena_reset(&host->arena, f->head.size),
                            f->head.size, f->head.data);
    struct qr_group *g;

    OBJ_CHECK(host, HOST_MAGIC);
    if (pb == NULL || pb->n_indexes != pb->n_terms ||
        pb->n_indexes > WIRE_FETCH_MAX) {
        return;
    }
    g = find_any(host, pb->group, pb->from, from);
    if (g != NULL) {
        donate_receive(g, pb);
    }
}

static void
on_state(struct qr_host *host, const struct frame *f, qr_node_id from)
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
    g = find_any(host, pb->group, pb->from, from);
    if (g != NULL && g->self == pb->to) {
        content = frame_content(f);
        state_receive(g, pb, &content);
        slice_unref(&content);
    }
}

static void
on_fetched(struct qr_host *host, const struct frame *f, qr_node_id from)
{
    Raft__Fetched *pb =
        raft__fetched__unpack(wire_arena_reset(&host->arena, f->head.size),
                              f->head.size, f->head.data);
    struct qr_group *g;
    struct slice content;

    OBJ_CHECK(host, HOST_MAGIC);
    if (pb == NULL) {
        return;
    }
    g = find_any(host, pb->group, pb->from, from);
    if (g != NULL) {
        content = frame_content(f);
        repair_receive(g, pb, &content);
        slice_unref(&content);
    }
}

static void
on_lost(struct qr_host *host, const struct frame *f, qr_node_id from)
{
    Raft__Lost *pb =
        raft__lost__unpack(wire_arena_reset(&host->arena, f->head.size),
                           f->head.size, f->head.data);

    OBJ_CHECK(host, HOST_MAGIC);
    if (pb != NULL && pb->n_groups == pb->n_replicas &&
        pb->n_groups <= WIRE_LOST_MAX) {
        lost_receive(host, pb, from);
    }
}

void
frames_receive(struct qr_host *host, const struct frame *f, qr_node_id from)
{
    OBJ_CHECK(host, HOST_MAGIC);
    ASSERT(from != 0);
    switch (f->kind) {
    case WIRE_FETCH:
        on_fetch(host, f, from);
        break;
    case WIRE_FETCHED:
        on_fetched(host, f, from);
        break;
    case WIRE_STATE:
        on_state(host, f, from);
        break;
    case WIRE_LOST:
        on_lost(host, f, from);
        break;
    default:
        UNREACHABLE("host.c hands on these four");
    }
}
