/* Deterministic random numbers (xoshiro256**) for tests, jitter and the
 * simulator. Not for secrets. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

/* The same SEED gives the same numbers on every machine. */
void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_u64(struct rng *r);
/* Uniform in [0, LIMIT); LIMIT > 0. */
uint64_t rng_below(struct rng *r, uint64_t limit);
/* Uniform in [LOW, HIGH]. */
uint64_t rng_between(struct rng *r, uint64_t low, uint64_t high);
/* True PER_MILLION times in a million. */
bool rng_chance(struct rng *r, uint32_t per_million);
void rng_fill(struct rng *r, void *dst, size_t size);

#endif
