/* What is known to be damaged, group by group, and who waits to read it.
 *
 * The store tells what it found at its start, of groups that are not open yet,
 * and later what a read or its scrub found. A group takes its own over when it
 * opens. What has been released, cut off or overwritten since is no damage any
 * more; that is noticed when it is its turn to be asked for (repair.c). */
#include <quorate/error.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "consensus/internal.h"

enum {
    DAMAGE_TICK_MS = 20,  /* how soon it is looked after */
    DAMAGE_LOG_MS = 1000, /* one line each, of many alike */
};

static uint64_t
now_ms(const struct qr_host *host)
{
    OBJ_CHECK(host, HOST_MAGIC);
    return host->env->ops->now_ms(host->env);
}

/* ---- what is known to be damaged ---- */

static struct damage *
damage_new(struct qr_host *host, qr_group_id group)
{
    struct damage *d = mem_zalloc(1, sizeof *d);

    OBJ_CHECK(host, HOST_MAGIC);
    ranges_init(&d->damaged);
    ranges_init(&d->missing);
    ranges_init(&d->opaque);
    ranges_init(&d->asking);
    ranges_init(&d->released);
    list_init(&d->link);
    list_init(&d->readers);
    (void)map_put(&host->damages, group, d);
    return d;
}

static void
damage_free(struct damage *d)
{
    ASSERT(list_is_empty(&d->readers));
    list_remove(&d->link);
    ranges_deinit(&d->damaged);
    ranges_deinit(&d->missing);
    ranges_deinit(&d->opaque);
    ranges_deinit(&d->asking);
    ranges_deinit(&d->released);
    mem_free(d);
}

void
damage_arm(struct qr_host *host)
{
    OBJ_CHECK(host, HOST_MAGIC);
    if (!timer_is_running(&host->repair_timer)) {
        host->env->ops->wake(host->env); /* readers come at any time */
        timers_start(&host->env->timers, &host->repair_timer,
                     now_ms(host) + DAMAGE_TICK_MS);
    }
}

/* Have D's group looked at from the next tick on. */
void
damage_enlist(struct qr_host *host, struct damage *d)
{
    OBJ_CHECK(host, HOST_MAGIC);
    if (d->group != NULL && !list_is_linked(&d->link)) {
        list_push_back(&host->damaged, &d->link);
    }
    damage_arm(host);
}

static bool
may_be_change(uint8_t type)
{
    return type == RAFT_CHANGE || type == STORE_TYPE_UNKNOWN;
}

static void
note(struct qr_host *host, const struct store_damage *what)
{
    struct damage *d = map_get(&host->damages, what->group);
    struct qr_group *g = map_get(&host->groups, what->group);

    OBJ_CHECK(host, HOST_MAGIC);
    if (what->kind == STORE_DAMAGE_MEMORY) {
        host->has_amnesia = host->has_amnesia || what->group == 0;
        return; /* of one group: store_group_info() says so, too */
    }
    if (d == NULL) {
        d = damage_new(host, what->group);
    }
    if (!ranges_has(&d->damaged, what->index)) {
        host->stats.entries_damaged++;
    }
    ranges_add(&d->damaged, what->index, what->index);
    ranges_remove(&d->missing, what->index, what->index);
    if (may_be_change(what->type)) {
        ranges_add(&d->opaque, what->index, what->index);
    }
    d->due_ms = 0;
    d->pause_ms = 0;
    if (g != NULL) {
        repair_attach(g);
    }
    damage_enlist(host, d);
}

static void
on_stored_damage(void *arg, const struct store_damage *what)
{
    note(arg, what);
}

/* Whether a line about damage may be logged now: a segment that rots would
 * bring a hundred thousand. */
bool
damage_may_log(struct qr_host *host)
{
    uint64_t now = now_ms(host);

    OBJ_CHECK(host, HOST_MAGIC);
    if (host->damage_logged_ms != 0 &&
        now - host->damage_logged_ms < DAMAGE_LOG_MS) {
        return false;
    }
    host->damage_logged_ms = now;
    return true;
}

void
qr_host_damaged(struct qr_host *host, const struct store_damage *damage)
{
    OBJ_CHECK(host, HOST_MAGIC);
    ASSERT(damage->kind == STORE_DAMAGE_ENTRY);
    if (damage_may_log(host)) {
        log_warning(host->env->log, "raft",
                    "group %llu: entry %llu is damaged here, the %llu. since "
                    "the start; asking the others",
                    (unsigned long long)damage->group,
                    (unsigned long long)damage->index,
                    (unsigned long long)host->stats.entries_damaged + 1);
    }
    note(host, damage);
}

void
repair_note(struct qr_group *g, qr_index index)
{
    struct store_damage what = {.kind = STORE_DAMAGE_ENTRY,
                                .group = g->id,
                                .index = index,
                                .type = STORE_TYPE_UNKNOWN};

    OBJ_CHECK(g, GROUP_MAGIC);
    repair_attach(g); /* the store has spoken of it while it was opened */
    if (!repair_is_damaged(g, index)) {
        note(g->host, &what);
        repair_attach(g);
    }
}

void
repair_attach(struct qr_group *g)
{
    struct damage *d = map_get(&g->host->damages, g->id);

    OBJ_CHECK(g, GROUP_MAGIC);
    if (d != NULL && d->group == NULL) {
        d->group = g;
        g->damage = d;
        damage_enlist(g->host, d);
    }
}

bool
repair_is_damaged(const struct qr_group *g, qr_index index)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    return g->damage != NULL && ranges_has(&g->damage->damaged, index) &&
           store_is_damaged(g->host->store, g->id, index);
}

bool
repair_is_missing(const struct qr_group *g, qr_index index)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    return repair_is_damaged(g, index) &&
           ranges_has(&g->damage->missing, index);
}

/* Entries FIRST to LAST are whole again, or not needed any more. */
void
damage_forget(struct damage *d, qr_index first, qr_index last)
{
    ranges_remove(&d->damaged, first, last);
    ranges_remove(&d->missing, first, last);
    ranges_remove(&d->opaque, first, last);
    ranges_remove(&d->asking, first, last);
}

void
repair_cut(struct qr_group *g, qr_index first)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(first > 0);
    damage_forget(g->damage, first, UINT64_MAX);
}

/* Of what is first in D, that which the store has released or cut off since is
 * no damage any more. */
void
damage_prune(struct damage *d)
{
    struct qr_group *g = d->group;
    qr_index at = 0;
    unsigned budget = WIRE_FETCH_MAX;

    OBJ_CHECK(g, GROUP_MAGIC);
    while (budget-- > 0) {
        size_t i = ranges_find(&d->damaged, at + 1);

        if (i == d->damaged.count) {
            return;
        }
        at = MAX(at + 1, d->damaged.items[i].first);
        if (!store_is_damaged(g->host->store, g->id, at)) {
            damage_forget(d, at, at);
        }
    }
}

bool
repair_hinders(const struct qr_group *g)
{
    const struct damage *d = g->damage;

    OBJ_CHECK(g, GROUP_MAGIC);
    return d != NULL &&
           ranges_find(&d->damaged, MAX(g->snapshot_index, g->applied) + 1) <
               d->damaged.count;
}

/* ---- readers ---- */

static void
reader_done(struct qr_host *host, struct host_fetch *f, int result)
{
    OBJ_CHECK(host, HOST_MAGIC);
    list_remove(&f->link);
    if (result == 0) {
        store_fetch(host->store, &f->fetch);
    } else {
        host_fetch_done(f, result);
    }
}

void
repair_await(struct qr_group *g, struct host_fetch *f)
{
    struct damage *d = g->damage;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(d != NULL);
    ASSERT(!list_is_linked(&f->link));
    if (f->due_ms == 0) {
        f->due_ms = now_ms(g->host) + QR_REPAIR_WAIT_MS;
    }
    list_push_back(&d->readers, &f->link);
    if (!d->is_asking) {
        d->due_ms = 0;
    }
    damage_enlist(g->host, d);
}

/* Let readers go whose entry is whole, or missing, or late. */
void
damage_serve(struct damage *d)
{
    struct qr_host *host = d->group->host;
    uint64_t now = now_ms(host);
    struct list served;
    struct list *it;
    struct list *tmp;

    OBJ_CHECK(host, HOST_MAGIC);
    list_init(&served);
    list_foreach_safe (it, tmp, &d->readers) {
        struct host_fetch *f = list_entry(it, struct host_fetch, link);

        if (!ranges_has(&d->damaged, f->fetch.index) ||
            ranges_has(&d->missing, f->fetch.index) || now >= f->due_ms) {
            list_remove(&f->link);
            list_push_back(&served, &f->link);
        }
    }
    while ((it = list_pop_front(&served)) != NULL) {
        struct host_fetch *f = list_entry(it, struct host_fetch, link);

        reader_done(host, f,
                    ranges_has(&d->damaged, f->fetch.index) ? -QR_ECORRUPT : 0);
    }
}

/* ---- life ---- */

void
repair_abandon(struct qr_group *g)
{
    struct damage *d = g->damage;
    struct list *link;

    OBJ_CHECK(g, GROUP_MAGIC);
    while (d != NULL && (link = list_pop_front(&d->readers)) != NULL) {
        host_fetch_done(list_entry(link, struct host_fetch, link), -QR_ENOENT);
    }
}

void
repair_free(struct qr_group *g)
{
    struct damage *d = g->damage;
    struct list *link;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (d == NULL) {
        return;
    }
    while ((link = list_pop_front(&d->readers)) != NULL) {
        mem_free(list_entry(link, struct host_fetch, link));
    }
    (void)map_remove(&g->host->damages, g->id);
    damage_free(d);
    g->damage = NULL;
}

void
repair_forget(struct qr_host *host, qr_group_id group)
{
    struct damage *d = map_remove(&host->damages, group);

    OBJ_CHECK(host, HOST_MAGIC);
    if (d != NULL) {
        ASSERT(d->group == NULL);
        damage_free(d);
    }
}

void
repair_init(struct qr_host *host)
{
    OBJ_CHECK(host, HOST_MAGIC);
    list_init(&host->damaged);
    map_init(&host->damages);
    timer_init(&host->repair_timer, repair_on_timer, host);
    store_foreach_damage(host->store, on_stored_damage, host);
}

void
repair_deinit(struct qr_host *host)
{
    size_t pos;
    uint64_t key;
    struct damage *d;

    OBJ_CHECK(host, HOST_MAGIC);
    map_foreach (&host->damages, pos, key, d) {
        damage_free(d);
    }
    map_deinit(&host->damages);
    timers_stop(&host->env->timers, &host->repair_timer);
}
