/* Damaged entries, and where their commands are fetched from.
 *
 * The store says which entries it cannot read back: at its start, at a read, by
 * its scrub. All else about them is known, so the replica goes on; it only does
 * not apply past such an entry, nor send it. Its commands are asked of the
 * other members, one after another, some entries at a time (Fetch):
 *
 *    idle --(due)--> asking member 1 --(answer, or silence)--> member 2 ...
 *     ^                                                           |
 *     +---- all asked: what nobody has is missing; pause ---------+
 *
 * What comes is what the entry was: index and term name one content for ever,
 * and the CRC says that it arrived so. The store checks once more.
 *
 * An entry is missing when every other member has answered that it does not
 * have it: then no other copy can turn up, unless a disk is put back. It is
 * asked for again from time to time all the same. The owner is told, once. A
 * member that could not be asked leaves it open.
 *
 * An entry that may be a change of members has to be known before the library
 * can start. Such a replica ("repairing") asks before it starts; those it knows
 * of from its snapshot, the rest of its log, and its owner, or whoever it is
 * linked to. When nobody has it, or some have answered REPAIR_VAIN_MAX times in
 * vain, it is lost (lost.c), unless it is alone in its group. */
#include <quorate/error.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "consensus/internal.h"

enum {
    REPAIR_GROUPS_MAX = 256,   /* looked at in a tick, in turn */
    REPAIR_ANSWER_MS = 500,    /* silence: ask the next */
    REPAIR_PAUSE_MS = 1000,    /* between rounds that brought nothing */
    REPAIR_MISSING_MS = 60000, /* between rounds for what is missing, at most */
    REPAIR_VAIN_MAX = 30,      /* rounds in which somebody answered, but nobody
                                  had what a start needs: then it is lost */
    REPAIR_LEAD_MS = 1500      /* a leader that cannot go on: then another */
};

static uint64_t
now_ms(const struct qr_host *host)
{
    OBJ_CHECK(host, HOST_MAGIC);
    return host->env->ops->now_ms(host->env);
}

/* ---- asking ---- */

/* Whoever is on a node that we are linked to, for a replica that knows of no
 * other member. */
static size_t
anybody(const struct qr_group *g, qr_replica_id out[REPAIR_KNOWN_MAX])
{
    size_t count = 0;
    size_t pos;
    uint64_t node;
    struct peer *peer;

    OBJ_CHECK(g, GROUP_MAGIC);
    map_foreach (&g->host->peers, pos, node, peer) {
        if (peer->is_linked && count < REPAIR_KNOWN_MAX) {
            out[count++] = qr_replica(peer->node, 0);
        }
    }
    return count;
}

/* The other members: of the library's configuration, or as far as known. Who
 * knows of none and is not alone never hears all of them. */
static size_t
others(const struct qr_group *g, qr_replica_id out[REPAIR_KNOWN_MAX])
{
    const struct raft_configuration *c = &g->raft.configuration;
    struct damage *d = g->damage;
    size_t count = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (!g->is_running && (d->known_count > 0 || d->is_alone)) {
        memcpy(out, d->known, d->known_count * sizeof d->known[0]);
        return d->known_count;
    }
    if (!g->is_running || c->n == 0) {
        d->is_unsure = true;
        return anybody(g, out);
    }
    for (unsigned i = 0; i < c->n && count < REPAIR_KNOWN_MAX; i++) {
        if (c->servers[i].id != g->self) {
            out[count++] = c->servers[i].id;
        }
    }
    return count;
}

void
repair_know(struct qr_group *g, qr_replica_id replica)
{
    struct damage *d = g->damage;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(d != NULL);
    if (replica == g->self) {
        d->is_alone = d->known_count == 0;
        return;
    }
    d->is_alone = false;
    if (d->known_count == REPAIR_KNOWN_MAX) {
        return;
    }
    for (size_t i = 0; i < d->known_count; i++) {
        if (d->known[i] == replica) {
            return;
        }
    }
    d->known[d->known_count++] = replica;
}

/* Add up to WIRE_FETCH_MAX of OF to what is asked, from FROM on. */
static void
choose_from(struct damage *d, const struct ranges *of, qr_index from)
{
    qr_index at = from;

    while (ranges_total(&d->asking) < WIRE_FETCH_MAX) {
        size_t i = ranges_find(of, at);

        if (i == of->count) {
            return;
        }
        at = MAX(at, of->items[i].first);
        if (!ranges_has(&d->missing, at) || d->asks_missing) {
            ranges_add(&d->asking, at, at);
        }
        at++;
    }
}

/* What to ask for in this round: what readers wait for, what keeps the replica
 * from starting, what it would apply next, and then in the order of the log,
 * going on where the last round stopped. */
static void
choose(struct damage *d)
{
    qr_index next = d->group->applied + 1;
    struct list *it;

    ranges_clear(&d->asking);
    list_foreach (it, &d->readers) {
        qr_index at = list_entry(it, struct host_fetch, link)->fetch.index;

        if (ranges_total(&d->asking) < WIRE_FETCH_MAX / 2 &&
            ranges_has(&d->damaged, at)) {
            ranges_add(&d->asking, at, at);
        }
    }
    if (!d->group->is_running) {
        choose_from(d, &d->opaque, 1);
    } else if (ranges_has(&d->damaged, next) &&
               !ranges_has(&d->missing, next)) {
        ranges_add(&d->asking, next, next);
    }
    choose_from(d, &d->damaged, d->cursor + 1);
    if (d->asking.count == 0) {
        choose_from(d, &d->damaged, 1);
    }
    if (d->asking.count > 0) {
        d->cursor = d->asking.items[d->asking.count - 1].last;
    }
}

/* Ask REPLICA for what is asked. False when its link does not take it. */
static bool
ask(struct damage *d, qr_replica_id replica)
{
    struct qr_group *g = d->group;
    Raft__Fetch pb = RAFT__FETCH__INIT;
    uint64_t indexes[WIRE_FETCH_MAX];
    uint64_t terms[WIRE_FETCH_MAX];
    struct frame *f;
    qr_index before = 0;
    size_t n = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    for (size_t i = 0; i < d->asking.count; i++) {
        const struct range *r = &d->asking.items[i];

        for (qr_index at = r->first; at <= r->last; at++) {
            ASSERT(n < WIRE_FETCH_MAX);
            indexes[n] = at - before;
            terms[n] = store_term(g->host->store, g->id, at);
            if (terms[n] == 0) {
                return false; /* released meanwhile: the next round knows */
            }
            before = at;
            n++;
        }
    }
    pb.group = g->id;
    pb.from = g->self;
    pb.to = replica;
    pb.nonce = d->nonce = ++g->host->stream_next;
    pb.indexes = indexes;
    pb.terms = terms;
    pb.n_indexes = pb.n_terms = n;
    d->asked = replica;
    d->is_asking = true;
    d->due_ms = now_ms(g->host) + REPAIR_ANSWER_MS;
    f = host_frame(FRAME_RAFT, WIRE_FETCH, g->id, &pb.base);
    return host_post(g->host, qr_replica_node(replica), &f);
}

/* Nobody has entry INDEX any more. */
static void
miss(struct damage *d, qr_index index)
{
    struct qr_group *g = d->group;
    struct qr_host *host = g->host;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (!store_is_damaged(host->store, g->id, index)) {
        damage_forget(d, index, index);
        return;
    }
    if (ranges_has(&d->missing, index)) {
        return;
    }
    ranges_add(&d->missing, index, index);
    host->stats.entries_missing++;
    if (damage_may_log(host)) {
        log_error(host->env->log, "raft",
                  "group %llu: entry %llu is damaged here, and no member of "
                  "the group has it any more; the %llu. since the start",
                  (unsigned long long)g->id, (unsigned long long)index,
                  (unsigned long long)host->stats.entries_missing);
    }
    if (index <= g->applied) {
        /* What came of it must not be lost with us: nobody could apply it
         * again. */
        qr_group_snapshot(g);
    }
    if (host->config.missing != NULL) {
        host->config.missing(host->config.arg, g->id, index);
    }
}

static void
pause(struct damage *d, uint64_t ms)
{
    struct env *env = d->group->host->env;
    uint32_t jitter = 0;

    env->ops->random(env, &jitter, sizeof jitter);
    d->is_asking = false;
    d->turn = 0;
    ranges_clear(&d->asking);
    d->due_ms = now_ms(d->group->host) + ms + jitter % (ms / 4 + 1);
}

/* Whether all that D knows of is missing: there is no hurry. */
static bool
is_hopeless(const struct damage *d)
{
    return ranges_total(&d->missing) == ranges_total(&d->damaged) &&
           list_is_empty(&d->readers);
}

/* All have been asked. What is left is missing, if all have answered. */
static void
end_round(struct damage *d)
{
    struct qr_group *g = d->group;
    qr_index at = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (d->is_unsure) {
        d->vain_rounds += d->has_answer ? 1 : 0;
        pause(d, REPAIR_PAUSE_MS);
        return;
    }
    while (d->asking.count > 0) {
        at = d->asking.items[0].first;
        ranges_remove(&d->asking, at, at);
        /* What a snapshot elsewhere does without is not missing: ours will do
         * so, too, when we have applied as much. */
        if (!ranges_has(&d->released, at)) {
            miss(d, at);
        }
    }
    host_attend(g);
    if (d->released.count > 0) {
        /* A snapshot without anything that it need not have rids us of them. */
        g->is_pressed = true;
        qr_group_snapshot(g);
        d->vain_rounds += REPAIR_VAIN_MAX / 6; /* for a start, see state.c */
        pause(d, REPAIR_PAUSE_MS);
        return;
    }
    d->is_asking = false;
    d->turn = 0;
    d->due_ms = 0; /* the next ones */
    if (is_hopeless(d)) {
        /* Seldomer and seldomer: it may be released elsewhere, soon or late. */
        d->pause_ms = MAX(d->pause_ms * 2, (uint64_t)REPAIR_PAUSE_MS);
        d->pause_ms = MIN(d->pause_ms, (uint64_t)REPAIR_MISSING_MS);
        pause(d, d->pause_ms);
    }
}

/* Ask the next member, or end the round. */
static void
next_member(struct damage *d)
{
    struct qr_group *g = d->group;
    qr_replica_id ids[REPAIR_KNOWN_MAX];
    size_t count = others(g, ids);

    OBJ_CHECK(g, GROUP_MAGIC);
    if (d->asking.count == 0) {
        d->is_asking = false;
        d->turn = 0;
        d->due_ms = 0;
        return;
    }
    while (d->turn < count) {
        /* Start anywhere: all damaged groups would ask the same node. */
        qr_replica_id id = ids[(d->turn + g->id) % count];

        d->turn++;
        if (ask(d, id)) {
            return;
        }
        d->is_unsure = true;
    }
    end_round(d);
}

static void
begin_round(struct damage *d)
{
    OBJ_CHECK(d->group, GROUP_MAGIC);
    damage_prune(d);
    d->turn = 0;
    d->is_unsure = false;
    d->has_answer = false;
    ranges_clear(&d->released);
    choose(d);
    if (d->asking.count == 0 && d->damaged.count > 0) {
        d->asks_missing = true; /* perhaps it has turned up */
        choose(d);
        d->asks_missing = false;
    }
    if (d->damaged.count > 0 && d->asking.count == 0) {
        pause(d, REPAIR_PAUSE_MS);
        return;
    }
    next_member(d);
}

/* Whether the leader of D's group lacks what it would apply, or what a member
 * that is behind would be sent. */
static bool
is_stuck(const struct damage *d)
{
    const struct qr_group *g = d->group;
    const struct raft_configuration *c = &g->raft.configuration;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->applied < g->commit && ranges_has(&d->damaged, g->applied + 1)) {
        return true;
    }
    for (unsigned i = 0; i < c->n; i++) {
        raft_index match = 0;
        size_t at;

        if (raft_match_index(&g->raft, c->servers[i].id, &match) != 0) {
            continue;
        }
        at = ranges_find(&d->damaged, MAX(match, g->snapshot_index) + 1);
        if (at < d->damaged.count && match < g->last) {
            return true;
        }
    }
    return false;
}

/* Whatever it is that the leader lacks, another may have it. */
static void
yield(struct damage *d, uint64_t now)
{
    struct qr_group *g = d->group;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (!replica_is_leader(g) || !is_stuck(d)) {
        d->stuck_ms = 0;
    } else if (d->stuck_ms == 0) {
        d->stuck_ms = now;
    } else if (now - d->stuck_ms >= REPAIR_LEAD_MS) {
        d->stuck_ms = now;
        membership_yield(g);
    }
}

/* Look after G; whether there is something left to look after. */
static bool
tick(struct qr_group *g, uint64_t now)
{
    struct damage *d = g->damage;

    OBJ_CHECK(g, GROUP_MAGIC);
    damage_serve(d);
    if (d->damaged.count == 0) {
        return !list_is_empty(&d->readers);
    }
    if (g->is_leaving || g->is_lost) {
        return true;
    }
    if (now >= d->due_ms && d->is_asking) {
        d->is_unsure = true; /* silence */
        next_member(d);
    } else if (now >= d->due_ms) {
        begin_round(d);
    }
    damage_serve(d);
    yield(d, now);
    state_ask(g);
    repair_start(g);
    return g->damage != NULL; /* it may be lost by now */
}

void
repair_on_timer(void *arg)
{
    struct qr_host *host = arg;
    uint64_t now = now_ms(host);
    size_t budget = REPAIR_GROUPS_MAX;
    struct list later;
    struct list *link;

    OBJ_CHECK(host, HOST_MAGIC);
    list_init(&later);
    while (budget-- > 0 && (link = list_pop_front(&host->damaged)) != NULL) {
        struct damage *d = list_entry(link, struct damage, link);

        if (tick(d->group, now) && !list_is_linked(&d->link)) {
            list_push_back(&later, &d->link);
        }
    }
    while ((link = list_pop_front(&later)) != NULL) {
        list_push_back(&host->damaged, link);
    }
    if (!list_is_empty(&host->damaged)) {
        damage_arm(host);
    }
}

/* ---- answers ---- */

/* Put entry INDEX back, which came as BODY. */
static void
put_back(struct damage *d, qr_index index, uint8_t type,
         const struct slice *body)
{
    struct qr_group *g = d->group;
    struct store_entry e = {.type = type, .data = *body};
    uint64_t batch = 0;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    e.term = store_term(g->host->store, g->id, index);
    if (e.term == 0) {
        damage_forget(d, index, index);
        return;
    }
    rv = store_repair(g->host->store, g->id, index, &e, &batch);
    if (rv == -QR_ENOENT) {
        damage_forget(d, index, index); /* released meanwhile */
        return;
    }
    if (rv != 0) {
        log_warning(g->host->env->log, "raft",
                    "group %llu: what came for entry %llu is refused: %s",
                    (unsigned long long)g->id, (unsigned long long)index,
                    qr_error_name(rv));
        return;
    }
    replica_note_batch(g, batch);
    damage_forget(d, index, index);
    d->pause_ms = 0;
    g->host->stats.entries_repaired++;
}

static bool
is_sane(const Raft__Fetched *pb, const struct slice *content)
{
    uint64_t left = content->size;

    if (pb->n_indexes != pb->n_sizes || pb->n_indexes != pb->n_crcs ||
        pb->n_indexes > WIRE_FETCH_MAX) {
        return false;
    }
    for (size_t i = 0; i < pb->n_sizes; i++) {
        uint64_t size = pb->sizes[i] / 4;

        if (pb->sizes[i] == WIRE_ABSENT || pb->sizes[i] == WIRE_RELEASED) {
            continue;
        }
        if (size > left || !wire_entry_is_sane(pb->sizes[i] % 4, size)) {
            return false;
        }
        left -= size;
    }
    return true;
}

/* Take what came. Returns how many of those asked for were spoken of. */
static size_t
take(struct damage *d, const Raft__Fetched *pb, const struct slice *content)
{
    qr_index index = 0;
    size_t at = 0;
    size_t count = 0;
    for (size_t i = 0; i < pb->n_indexes; i++) {
        uint64_t what = pb->sizes[i];
        bool is_asked;
        struct slice body;

        index += pb->indexes[i];
        is_asked = ranges_has(&d->asking, index);
        count += is_asked ? 1 : 0;
        if (is_asked && what == WIRE_RELEASED) {
            ranges_add(&d->released, index, index);
        }
        if (what == WIRE_ABSENT || what == WIRE_RELEASED) {
            continue;
        }
        body = wire_body(content, at, what / 4);
        at += body.size;
        if (is_asked && crc32c(0, body.data, body.size) == pb->crcs[i]) {
            put_back(d, index, (uint8_t)(what % 4), &body);
        }
        slice_unref(&body);
    }
    return count;
}

void
repair_receive(struct qr_group *g, const Raft__Fetched *pb,
               const struct slice *content)
{
    struct damage *d = g->damage;
    uint64_t asked;
    size_t spoken;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (d == NULL || !d->is_asking || pb->nonce != d->nonce ||
        qr_replica_node(pb->from) != qr_replica_node(d->asked) ||
        !is_sane(pb, content)) {
        return;
    }
    d->has_answer = true;
    if (pb->snapshot > d->offered) {
        d->offered = pb->snapshot;
        d->offered_by = pb->from;
    }
    asked = ranges_total(&d->asking);
    spoken = take(d, pb, content);
    if (spoken < asked && ranges_total(&d->asking) < asked) {
        d->turn--; /* it has more of them, perhaps */
    } else if (spoken < asked) {
        d->is_unsure = true;
    }
    next_member(d);
    damage_serve(d);
    repair_start(g);
    host_attend(g);
}

/* ---- starting ---- */

bool
repair_must_wait(const struct qr_group *g, qr_index first)
{
    const struct damage *d = g->damage;

    OBJ_CHECK(g, GROUP_MAGIC);
    /* Alone, it has nobody to ask, and no change of members to miss. */
    return d != NULL && !d->is_alone &&
           ranges_find(&d->opaque, first) < d->opaque.count;
}

/* Whether a change of members may be among what nobody has. */
static bool
misses_change(const struct damage *d, qr_index first)
{
    for (size_t i = 0; i < d->missing.count; i++) {
        const struct range *r = &d->missing.items[i];
        size_t at = ranges_find(&d->opaque, MAX(r->first, first));

        if (at < d->opaque.count && d->opaque.items[at].first <= r->last &&
            MAX(r->first, first) <= r->last) {
            return true;
        }
    }
    return false;
}

void
repair_start(struct qr_group *g)
{
    struct store_group_info info;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (!g->is_repairing || g->is_leaving) {
        return;
    }
    rv = store_group_info(g->host->store, g->id, &info);
    ASSERT(rv == 0);
    if (misses_change(g->damage, info.first_index) ||
        g->damage->vain_rounds >= REPAIR_VAIN_MAX) {
        group_lose(g);
    } else if (!repair_must_wait(g, info.first_index)) {
        g->is_repairing = false;
        g->must_restart = true;
        host_await(g, g->last_batch);
    }
}
