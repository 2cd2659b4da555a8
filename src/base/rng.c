/* xoshiro256** (Blackman and Vigna, 2018), seeded through SplitMix64 as its
 * authors advise, so that seeds that differ in one bit give unrelated
 * sequences. Everything is defined over unsigned 64-bit integers: a seed
 * printed by a failing simulation fails the same way on any machine. */
#include "base/rng.h"

#include <string.h>

#include "base/buf.h"
#include "base/check.h"

enum {
    RNG_MILLION = 1000000
};

static uint64_t
rng_rotl(uint64_t v, unsigned count)
{
    return v << count | v >> (64 - count);
}

/* The next number of SplitMix64, a permutation of the integers. */
static uint64_t
rng_split_mix(uint64_t *state)
{
    uint64_t z = 0;

    *state += UINT64_C(0x9e3779b97f4a7c15);
    z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void
rng_init(struct rng *r, uint64_t seed)
{
    ASSERT(r != NULL);
    for (size_t i = 0; i < ARRAY_COUNT(r->s); i++) {
        r->s[i] = rng_split_mix(&seed);
    }
    /* Four outputs of a permutation at four inputs are not all zero. */
    ASSERT((r->s[0] | r->s[1] | r->s[2] | r->s[3]) != 0);
}

uint64_t
rng_u64(struct rng *r)
{
    uint64_t result = rng_rotl(r->s[1] * 5, 7) * 9;
    uint64_t t = r->s[1] << 17;

    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = rng_rotl(r->s[3], 45);
    return result;
}

uint64_t
rng_below(struct rng *r, uint64_t limit)
{
    uint64_t mask = UINT64_MAX;
    uint64_t v = 0;

    ASSERT(limit > 0);
    if (limit == 1) {
        return 0;
    }
    /* Draw as many bits as the largest value has and try again when it is too
     * large: exact, and one draw in two is good at worst. */
    mask >>= (unsigned)__builtin_clzll(limit - 1);
    do {
        v = rng_u64(r) & mask;
    } while (v >= limit);
    return v;
}

uint64_t
rng_between(struct rng *r, uint64_t low, uint64_t high)
{
    ASSERT(low <= high);
    if (low == 0 && high == UINT64_MAX) {
        return rng_u64(r);
    }
    return low + rng_below(r, high - low + 1);
}

bool
rng_chance(struct rng *r, uint32_t per_million)
{
    ASSERT(per_million <= RNG_MILLION);
    return rng_below(r, RNG_MILLION) < per_million;
}

void
rng_fill(struct rng *r, void *dst, size_t size)
{
    uint8_t *at = dst;
    uint8_t last[8];

    ASSERT(dst != NULL || size == 0);
    for (; size >= sizeof(last); size -= sizeof(last)) {
        put_u64le(at, rng_u64(r));
        at += sizeof(last);
    }
    if (size > 0) {
        put_u64le(last, rng_u64(r));
        memcpy(at, last, size);
    }
}
