/* What a disk that fills up means.
 *
 * The store says how much room there is (store_space()); it never fails for
 * lack of it. A node that is LOW hands the groups it leads to voters with
 * room. One that is FULL takes no more content: as a leader it tells its owner
 * so (qr_group_has_room()), as a follower it leaves out the entries of what the
 * leader sends, and so falls behind until there is room. What it leaves out is
 * as if it had been lost on the way; that the leader lives is heard all the
 * same.
 *
 * Settling must go on even where most disks are full, since it is what makes
 * room. So a full follower still takes small entries, up to a limit in all
 * (the store keeps those in memory that its reserve does not hold); and
 * followers say in each answer how much room they have, so that a leader stops
 * taking content before a majority has to refuse it. */
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "consensus/internal.h"

enum {
    ROOM_MS = 1000,                  /* between looks for an heir */
    ROOM_AGAIN_MS = 20,              /* when one was not ready */
    ROOM_GROUPS_MAX = 64,            /* handed on in one look */
    ROOM_ENTRY_SIZE_MAX = 64 << 10,  /* a larger entry brings content */
    ROOM_CRAMMED_BYTES_MAX = 4 << 20 /* taken of a host's groups while full */
};

uint8_t
room_of(const struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    return g->is_volatile ? STORE_SPACE_OK : g->host->space;
}

static int
place_of(const struct qr_group *g, qr_replica_id replica)
{
    const struct raft_configuration *c = &g->raft.configuration;

    OBJ_CHECK(g, GROUP_MAGIC);
    for (unsigned i = 0; i < c->n && i < QR_MEMBERS_MAX; i++) {
        if (c->servers[i].id == replica) {
            return (int)i;
        }
    }
    return -1;
}

void
room_note(struct qr_group *g, qr_replica_id replica, uint32_t space)
{
    uint8_t bit;
    int place;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (space == STORE_SPACE_OK && g->low == 0) {
        return; /* as nearly always */
    }
    place = place_of(g, replica);
    if (place < 0) {
        return;
    }
    bit = (uint8_t)(1U << place);
    g->low &= (uint8_t)~bit;
    g->full &= (uint8_t)~bit;
    if (space != STORE_SPACE_OK) {
        g->low |= bit;
    }
    if (space == STORE_SPACE_FULL) {
        g->full |= bit;
    }
}

bool
room_is_full(const struct qr_group *g, unsigned place)
{
    const struct raft_configuration *c = &g->raft.configuration;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(place < c->n);
    if (c->servers[place].id == g->self) {
        return room_of(g) == STORE_SPACE_FULL;
    }
    return (g->full & (1U << place)) != 0;
}

bool
qr_group_has_room(const struct qr_group *g)
{
    const struct raft_configuration *c = &g->raft.configuration;
    unsigned voters = 0;
    unsigned able = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (room_of(g) == STORE_SPACE_FULL) {
        return false;
    }
    if (g->full == 0) {
        return true;
    }
    for (unsigned i = 0; i < c->n && i < QR_MEMBERS_MAX; i++) {
        if (c->servers[i].role == RAFT_VOTER) {
            voters++;
            able += room_is_full(g, i) ? 0 : 1;
        }
    }
    return 2 * able > voters;
}

bool
room_admits(struct qr_group *g, const Raft__Append *a, size_t size)
{
    struct qr_host *host = g->host;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (size == 0 || room_of(g) != STORE_SPACE_FULL) {
        return true;
    }
    for (size_t i = 0; i < a->n_sizes; i++) {
        if (a->sizes[i] / 4 > ROOM_ENTRY_SIZE_MAX) {
            return false;
        }
    }
    if (host->crammed_bytes + size > ROOM_CRAMMED_BYTES_MAX) {
        return false;
    }
    host->crammed_bytes += size;
    return true;
}

/* A linked voter with room that may follow us; 0: there is none. */
static qr_replica_id
heir_of(const struct qr_group *g)
{
    const struct raft_configuration *c = &g->raft.configuration;
    struct env *env = g->host->env;

    OBJ_CHECK(g, GROUP_MAGIC);
    for (unsigned i = 0; i < c->n && i < QR_MEMBERS_MAX; i++) {
        const struct raft_server *s = &c->servers[(i + g->id) % c->n];
        int place = place_of(g, s->id);

        ASSERT(place >= 0);
        if (s->id != g->self && s->role == RAFT_VOTER &&
            (g->low & (1U << place)) == 0 &&
            env->ops->is_linked(env, qr_replica_node(s->id))) {
            return s->id;
        }
    }
    return 0;
}

/* Hand on what can be. Whether some could not, for now: an heir must have all
 * that we have, which is seldom so in the turn of a proposal. */
static bool
hand_on(struct qr_host *host)
{
    uint64_t *ids = map_keys_sorted(&host->groups);
    size_t count = host->groups.count;
    unsigned handed = 0;
    bool is_waiting = false;

    OBJ_CHECK(host, HOST_MAGIC);
    for (size_t i = 0; i < count && handed < ROOM_GROUPS_MAX; i++) {
        struct qr_group *g = map_get(&host->groups, ids[i]);
        qr_replica_id heir;

        if (!g->is_serving || g->is_volatile) {
            continue;
        }
        heir = heir_of(g);
        if (heir != 0 && membership_hand_on(g, heir)) {
            handed++;
        } else if (heir != 0) {
            is_waiting = true;
        }
    }
    mem_free(ids);
    return is_waiting;
}

void
room_turn(struct qr_host *host)
{
    static const char *const names[] = {
        "has room again",
        "is nearly full: groups led here are handed to other nodes",
        "is full: nothing but settling is taken until there is room",
    };
    enum store_space space = store_space(host->store);
    uint64_t now;

    OBJ_CHECK(host, HOST_MAGIC);
    if (space == STORE_SPACE_OK && host->space == STORE_SPACE_OK) {
        return;
    }
    now = host->env->ops->now_ms(host->env);
    if (space != host->space) {
        log_warning(host->env->log, "raft", "the disk of shard %u %s",
                    host->env->shard, names[space]);
        host->space = (uint8_t)space;
        host->crammed_bytes = 0;
    }
    if (space != STORE_SPACE_OK && now >= host->space_at_ms) {
        host->space_at_ms = now + (hand_on(host) ? ROOM_AGAIN_MS : ROOM_MS);
    }
}
