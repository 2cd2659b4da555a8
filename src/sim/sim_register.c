/* See sim_register.h. */
#include "sim/sim_register.h"

#include "base/check.h"

#define NEVER UINT64_MAX

/* One change to a register. */
struct change {
    uint64_t start_us;
    uint64_t end_us; /* NEVER: nobody knows */
    bool is_there;
    bool is_refused;
};

void
sim_register_init(struct sim_register *r)
{
    struct change *c;

    *r = (struct sim_register){.first = 0};
    ring_init(&r->changes, sizeof(struct change));
    c = ring_push_back(&r->changes);
    *c = (struct change){.is_there = false};
}

bool
sim_register_is_sure(const struct sim_register *r)
{
    return r->is_told && !r->is_ended;
}

void
sim_register_deinit(struct sim_register *r)
{
    ring_deinit(&r->changes);
}

uint64_t
sim_register_change(struct sim_register *r, bool is_there, uint64_t now_us)
{
    struct change *c;

    if (r->changes.count == SIM_REGISTER_CHANGES_MAX) {
        ring_pop_front(&r->changes);
        r->first++;
        r->dropped_us = now_us;
    }
    r->is_ended = r->is_ended || !is_there;
    c = ring_push_back(&r->changes);
    *c = (struct change){
        .start_us = now_us, .end_us = NEVER, .is_there = is_there};
    return r->first + r->changes.count - 1;
}

static struct change *
change_at(struct sim_register *r, uint64_t number)
{
    ASSERT(number < r->first + r->changes.count);
    return number < r->first
               ? NULL
               : ring_at(&r->changes, (size_t)(number - r->first));
}

void
sim_register_done(struct sim_register *r, uint64_t number, uint64_t now_us)
{
    struct change *c = change_at(r, number);

    if (c != NULL) {
        ASSERT(c->end_us == NEVER);
        c->end_us = now_us;
        r->is_told = r->is_told || c->is_there;
    }
}

void
sim_register_refused(struct sim_register *r, uint64_t number)
{
    struct change *c = change_at(r, number);

    if (c != NULL) {
        c->is_refused = true;
    }
}

/* Whether some other value was surely put after C and before START_US. */
static bool
is_surely_over(const struct sim_register *r, const struct change *c,
               uint64_t start_us)
{
    for (size_t i = 0; i < r->changes.count; i++) {
        const struct change *o = ring_at(&r->changes, i);

        if (!o->is_refused && o->is_there != c->is_there &&
            o->start_us > c->end_us && o->end_us < start_us) {
            return true;
        }
    }
    return false;
}

bool
sim_register_look(struct sim_register *r, bool is_there, uint64_t start_us,
                  uint64_t end_us)
{
    ASSERT(start_us <= end_us);
    if (start_us < r->dropped_us) {
        return true;
    }
    r->looks++;
    for (size_t i = 0; i < r->changes.count; i++) {
        const struct change *c = ring_at(&r->changes, i);

        if (!c->is_refused && c->is_there == is_there &&
            c->start_us <= end_us && !is_surely_over(r, c, start_us)) {
            return true;
        }
    }
    return false;
}
