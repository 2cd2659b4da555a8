/* Entries lie in a ring in order of tags. Settled ones stay as holes until
 * they reach the front, or until they outnumber the others and all move
 * together: so memory follows what is unsettled, however long one message is
 * held on to, and each settlement costs O(log n) at worst, amortized. */
#include "amqp/unacked.h"

enum {
    UNACKED_HOLES_MIN = 64 /* below it no moving together */
};

struct unacked_entry {
    uint64_t tag;
    void *holder; /* NULL: settled */
    uint64_t id;
};

/* Neighbours of one holder, not yet handed over. */
struct unacked_run {
    void *holder;
    uint64_t first;
    uint64_t last;
    unacked_cb cb;
    void *arg;
};

void
unacked_init(struct unacked *u)
{
    ring_init(&u->entries, sizeof(struct unacked_entry));
    u->live = 0;
}

void
unacked_deinit(struct unacked *u)
{
    ring_deinit(&u->entries);
    u->live = 0;
}

static struct unacked_entry *
unacked_at(const struct unacked *u, size_t index)
{
    return ring_at(&u->entries, index);
}

static void
unacked_trim(struct unacked *u)
{
    size_t kept = 0;

    while (u->entries.count > 0 && unacked_at(u, 0)->holder == NULL) {
        ring_pop_front(&u->entries);
    }
    if (u->entries.count < UNACKED_HOLES_MIN ||
        u->live * 2 >= u->entries.count) {
        return;
    }
    for (size_t i = 0; i < u->entries.count; i++) {
        struct unacked_entry *e = unacked_at(u, i);

        if (e->holder != NULL) {
            *unacked_at(u, kept++) = *e;
        }
    }
    ASSERT(kept == u->live);
    while (u->entries.count > kept) {
        ring_pop_back(&u->entries);
    }
}

void
unacked_add(struct unacked *u, uint64_t tag, void *holder, uint64_t id)
{
    ASSERT(holder != NULL);
    ASSERT(u->entries.count == 0 ||
           unacked_at(u, u->entries.count - 1)->tag < tag);
    *(struct unacked_entry *)ring_push_back(&u->entries) =
        (struct unacked_entry){tag, holder, id};
    u->live++;
}

/* The index of TAG, or the count when it is not there. */
static size_t
unacked_find(const struct unacked *u, uint64_t tag)
{
    size_t low = 0;
    size_t high = u->entries.count;
    uint64_t front = high > 0 ? unacked_at(u, 0)->tag : 0;

    /* Without holes moved together, the place is known. */
    if (tag >= front && tag - front < high &&
        unacked_at(u, (size_t)(tag - front))->tag == tag) {
        return (size_t)(tag - front);
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (unacked_at(u, middle)->tag < tag) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < u->entries.count && unacked_at(u, low)->tag == tag
               ? low
               : u->entries.count;
}

static void
unacked_run_end(struct unacked_run *run)
{
    if (run->holder != NULL) {
        run->cb(run->arg, run->holder, run->first, run->last);
        run->holder = NULL;
    }
}

static void
unacked_take(struct unacked *u, size_t index, struct unacked_run *run)
{
    struct unacked_entry *e = unacked_at(u, index);

    if (e->holder == NULL) {
        return;
    }
    if (run->holder == e->holder && run->last + 1 == e->id) {
        run->last = e->id;
    } else {
        unacked_run_end(run);
        run->holder = e->holder;
        run->first = e->id;
        run->last = e->id;
    }
    e->holder = NULL;
    u->live--;
}

bool
unacked_settle(struct unacked *u, uint64_t tag, bool multiple, unacked_cb cb,
               void *arg)
{
    struct unacked_run run = {.cb = cb, .arg = arg};
    size_t index = 0;
    size_t limit = 0;

    if (multiple && tag == 0) {
        limit = u->entries.count;
    } else {
        index = unacked_find(u, tag);
        if (index == u->entries.count || unacked_at(u, index)->holder == NULL) {
            return false;
        }
        limit = index + 1;
    }
    for (size_t i = multiple ? 0 : index; i < limit; i++) {
        unacked_take(u, i, &run);
    }
    unacked_run_end(&run);
    unacked_trim(u);
    return true;
}
