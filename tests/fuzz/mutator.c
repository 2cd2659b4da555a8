/* How libFuzzer changes inputs: as it always does, but now and then it begins
 * anew with a valid one. A handshake or a snapshot is beyond what it would
 * find by itself, and a corpus on disk would go stale with the formats. */
#include <string.h>

#include "base/rng.h"
#include "fuzz/fuzz.h"

enum {
    SEED_SIZE_MAX = 64 << 10,
    FRESH_ONE_IN = 16
};

/* libFuzzer's. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max,
                               unsigned seed);

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max,
                        unsigned seed)
{
    static uint8_t fresh[SEED_SIZE_MAX];
    struct rng r;

    rng_init(&r, seed);
    if (size <= 1 || rng_below(&r, FRESH_ONE_IN) == 0) {
        size_t made = fuzz_seed(&r, fresh, sizeof(fresh));

        size = made < size_max ? made : size_max;
        memcpy(data, fresh, size);
    }
    return LLVMFuzzerMutate(data, size, size_max);
}
