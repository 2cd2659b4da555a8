/* What a fuzz target defines; driver.c or libFuzzer calls it. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

struct rng;

/* Feed SIZE bytes at DATA to the decoder and assert what must hold of what it
 * returns. 0. The name is libFuzzer's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Write a valid input of at most CAPACITY bytes to AT, chosen by R; returns
 * its size. The driver mutates it: a decoder's depths are beyond the reach of
 * random bytes. */
size_t fuzz_seed(struct rng *r, uint8_t *at, size_t capacity);

#endif
