/* The time that this program measures with. */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdint.h>

enum {
    BENCH_US_PER_MS = 1000,
    BENCH_US_PER_S = 1000000
};

/* Microseconds of the machine's monotonic clock, which all its processes
 * share; never 0. */
uint64_t bench_now_us(void);

#endif
