/* What waits, by class. The counts are exact at every moment: a sender adds
 * before the frame is queued, whoever drops or sends it subtracts after. */
#include "base/check.h"
#include "peer/peers.h"

void
link_gauge_init(struct link_gauge *gauge, const size_t *window)
{
    for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++) {
        atomic_init(&gauge->waiting[i], 0);
        gauge->window[i] = window[i];
    }
}

bool
link_gauge_charge_mt(struct link_gauge *gauge, unsigned klass, size_t size)
{
    size_t before = 0;

    ASSERT(klass < FRAME_CLASS_COUNT);
    before = atomic_fetch_add_explicit(&gauge->waiting[klass], size,
                                       memory_order_relaxed);
    if (before > 0 && (before >= gauge->window[klass] ||
                       size > gauge->window[klass] - before)) {
        link_gauge_discharge_mt(gauge, klass, size);
        return false;
    }
    return true;
}

void
link_gauge_add_mt(struct link_gauge *gauge, unsigned klass, size_t size)
{
    ASSERT(klass < FRAME_CLASS_COUNT);
    (void)atomic_fetch_add_explicit(&gauge->waiting[klass], size,
                                    memory_order_relaxed);
}

void
link_gauge_discharge_mt(struct link_gauge *gauge, unsigned klass, size_t size)
{
    size_t before = 0;

    ASSERT(klass < FRAME_CLASS_COUNT);
    before = atomic_fetch_sub_explicit(&gauge->waiting[klass], size,
                                       memory_order_relaxed);
    ASSERT(before >= size);
}
