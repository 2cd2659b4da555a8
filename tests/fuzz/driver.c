/* Runs a fuzz target as an ordinary, bounded test where libFuzzer is not.
 *
 * First every file of the corpus folder that the first argument names: inputs
 * that reach far, or that once failed. Then mutations of valid inputs, as many
 * as the second argument says, the same on every run. A failure is a crash,
 * and the number of the input that caused it is printed by rerunning with
 * FUZZ_VERBOSE=1. */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/text.h"
#include "fuzz/fuzz.h"

enum {
    INPUT_SIZE_MAX = 64 << 10,
    INPUTS_MAX = 1000000,
    MUTATIONS_MAX = 6
};

static bool
run_file(const char *folder, const char *name)
{
    static uint8_t data[INPUT_SIZE_MAX];
    char path[4096];
    FILE *file = NULL;
    size_t size = 0;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return false;
    }
    size = fread(data, 1, sizeof(data), file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    return true;
}

/* True unless a file of the corpus cannot be read. No folder, no corpus. */
static bool
run_corpus(const char *folder)
{
    const struct dirent *entry = NULL;
    DIR *dir = opendir(folder);
    bool ok = true;

    if (dir == NULL) {
        return true;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            ok = run_file(folder, entry->d_name) && ok;
        }
    }
    closedir(dir);
    return ok;
}

/* One change to SIZE bytes; returns the new size. */
static size_t
mutate(struct rng *r, uint8_t *data, size_t size)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff};
    size_t at = size == 0 ? 0 : (size_t)rng_below(r, size);

    if (size == 0) {
        return 0;
    }
    switch (rng_below(r, 16)) {
    case 0:
        return at;
    case 1:
        memmove(data + at, data + at + 1, size - at - 1);
        return size - 1;
    case 2:
        memset(data + at, data[at], size - at < 4 ? size - at : 4);
        return size;
    case 3:
    case 4:
    case 5:
        data[at] = edges[rng_below(r, sizeof(edges))];
        return size;
    default:
        data[at] ^= (uint8_t)(1U << rng_below(r, 8));
        return size;
    }
}

int
main(int argc, char **argv)
{
    static uint8_t data[INPUT_SIZE_MAX];
    bool verbose = getenv("FUZZ_VERBOSE") != NULL;
    uint64_t inputs = 0;

    if (argc != 3 ||
        parse_u64(argv[2], strlen(argv[2]), 1, INPUTS_MAX, &inputs) != 0) {
        fprintf(stderr, "usage: %s CORPUS-FOLDER INPUTS\n", argv[0]);
        return 2;
    }
    if (!run_corpus(argv[1])) {
        return 1;
    }
    for (uint64_t i = 0; i < inputs; i++) {
        struct rng r;
        size_t size = 0;

        if (verbose) {
            printf("input %llu\n", (unsigned long long)i);
            fflush(stdout);
        }
        rng_init(&r, i);
        size = fuzz_seed(&r, data, sizeof(data));
        for (uint64_t n = rng_below(&r, MUTATIONS_MAX + 1); n > 0; n--) {
            size = mutate(&r, data, size);
        }
        LLVMFuzzerTestOneInput(data, size);
    }
    return 0;
}
