/* Timers are heap elements keyed by the time they are due.
 *
 * A run calls only timers that were started before it. It can tell because a
 * timer started during the run is never keyed before the run's own time, and
 * the heap breaks ties by insertion: once the least element is a new one,
 * every other timer due is new, too. */
#include "base/timer.h"

#include "base/check.h"

void
timers_init(struct timers *ts)
{
    ASSERT(ts != NULL);
    heap_init(&ts->heap);
    ts->now_ms = 0;
}

void
timers_deinit(struct timers *ts)
{
    ASSERT(ts != NULL);
    ASSERT(ts->now_ms == 0);
    heap_deinit(&ts->heap);
}

void
timer_init(struct timer *t, timer_cb cb, void *arg)
{
    ASSERT(t != NULL);
    ASSERT(cb != NULL);
    *t = (struct timer){{0, 0, 0}, cb, arg};
}

bool
timer_is_running(const struct timer *t)
{
    ASSERT(t != NULL);
    return heap_has(&t->node);
}

void
timers_start(struct timers *ts, struct timer *t, uint64_t due_ms)
{
    ASSERT(t != NULL);
    ASSERT(t->cb != NULL);
    heap_remove(&ts->heap, &t->node);
    heap_insert(&ts->heap, &t->node, MAX(due_ms, ts->now_ms));
    ASSERT(heap_has(&t->node));
}

void
timers_stop(struct timers *ts, struct timer *t)
{
    ASSERT(t != NULL);
    heap_remove(&ts->heap, &t->node);
    ASSERT(!heap_has(&t->node));
}

bool
timers_next(const struct timers *ts, uint64_t *due_ms)
{
    const struct heap_node *first = heap_min(&ts->heap);

    ASSERT(due_ms != NULL);
    if (first == NULL) {
        return false;
    }
    *due_ms = first->key;
    return true;
}

size_t
timers_run(struct timers *ts, uint64_t now_ms, size_t max)
{
    uint64_t order_end = ts->heap.order_next;
    size_t count = 0;

    ASSERT(max > 0);
    ASSERT(ts->now_ms == 0);
    ts->now_ms = now_ms;
    while (count < max) {
        struct heap_node *first = heap_min(&ts->heap);
        struct timer *t = NULL;

        if (first == NULL || first->key > now_ms || first->order >= order_end) {
            break;
        }
        t = CONTAINER_OF(first, struct timer, node);
        heap_remove(&ts->heap, first);
        count++;
        t->cb(t->arg); /* may free T */
    }
    ts->now_ms = 0;
    ASSERT(count <= max);
    return count;
}
