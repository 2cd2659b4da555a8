/* A bench measures real time; everything else in the room is given it. */
#include "bench/clock.h"

#include <uv.h>

#include "base/check.h"

enum {
    NS_PER_US = 1000
};

uint64_t
bench_now_us(void)
{
    uint64_t now = uv_hrtime() / NS_PER_US;

    ASSERT(now > 0);
    return now;
}
