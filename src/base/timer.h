/* Timers on an intrusive heap, over a clock that the caller holds: the shard
 * passes its loop's time, the simulator its own. */
#ifndef BASE_TIMER_H
#define BASE_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"

/* What runs when a timer is due. The timer is stopped by then; the callback
 * may start, stop or free any timer, this one included. */
typedef void (*timer_cb)(void *arg);

/* Embed in what the timer is for, which is pinned while the timer runs. */
struct timer {
    struct heap_node node;
    timer_cb cb;
    void *arg;
};

/* All timers of one clock; at most HEAP_COUNT_MAX run at a time. */
struct timers {
    struct heap heap;
    uint64_t now_ms; /* of the timers_run() under way, else 0 */
};

/* An empty set; allocates nothing. */
void timers_init(struct timers *ts);
/* Stop all timers and release the memory. Not from a callback. */
void timers_deinit(struct timers *ts);
/* Prepare T, which does not run, to call CB with ARG (borrowed until then). */
void timer_init(struct timer *t, timer_cb cb, void *arg);
/* Whether T has been started and neither run nor been stopped since. */
bool timer_is_running(const struct timer *t);
/* Run T at DUE_MS, in milliseconds of the caller's clock; instead of when it
 * was due before, if it runs already. A time that is past means: at once, in
 * the next timers_run(). */
void timers_start(struct timers *ts, struct timer *t, uint64_t due_ms);
/* T will not run; harmless when it does not anyway. */
void timers_stop(struct timers *ts, struct timer *t);
/* Whether any timer runs; if so, when the first is due. */
bool timers_next(const struct timers *ts, uint64_t *due_ms);
/* Call those due at NOW_MS, earliest first and in the order they were started
 * when due together, at most MAX (1 or more). Returns how many were called:
 * MAX means that more may be due. A timer started meanwhile waits for the next
 * call, so one that always restarts itself starves nobody. Not from a
 * callback. */
size_t timers_run(struct timers *ts, uint64_t now_ms, size_t max);

#endif
