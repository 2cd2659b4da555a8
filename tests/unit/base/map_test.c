/* Both maps against arrays indexed by the key. */
#include "base/check.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "lib/harness.h"

enum {
    KEYS = 6000
};

/* The members as the model has them; index is the key's number. */
struct model {
    char *values[KEYS]; /* NULL: not there */
    size_t count;
};

/* Key number N: multiples of large powers of two, where poor hashes meet. */
static uint64_t
key_of(size_t n)
{
    return n % 2 == 0 ? (uint64_t)n << 40 : (uint64_t)n;
}

/* Check all that M holds, in every way of asking. */
static void
check_map(const struct map *m, const struct model *model)
{
    size_t pos = 0;
    size_t count = 0;
    uint64_t key = 0;
    char *value = NULL;
    uint64_t *keys = map_keys_sorted(m);

    cr_assert_eq(m->count, model->count);
    map_foreach (m, pos, key, value) {
        size_t n = (size_t)(key < KEYS ? key : key >> 40);

        cr_assert_eq(model->values[n], value);
        count++;
    }
    cr_assert_eq(count, model->count);
    for (size_t n = 0; n < KEYS; n++) {
        cr_assert_eq(map_get(m, key_of(n)), (void *)model->values[n]);
    }
    for (size_t i = 1; i < count; i++) {
        cr_assert_lt(keys[i - 1], keys[i]);
    }
    mem_free(keys);
}

Test(map, is_empty_at_first)
{
    struct map m;
    size_t pos = 0;
    uint64_t key = 0;
    void *value = NULL;
    uint64_t *keys = NULL;

    map_init(&m);
    cr_assert_null(map_get(&m, 0));
    cr_assert_null(map_remove(&m, 0));
    cr_assert(!map_next(&m, &pos, &key, &value));
    keys = map_keys_sorted(&m);
    cr_assert_not_null(keys);
    mem_free(keys);
    map_deinit(&m);
}

Test(map, matches_an_array)
{
    static char values[KEYS * 2];
    static struct model model;
    struct map m;
    struct rng r;

    rng_init(&r, 8);
    map_init(&m);
    for (unsigned phase = 0; phase < 10; phase++) {
        /* Mostly in, then mostly out: the table grows and shrinks. */
        uint32_t in = phase % 2 == 0 ? 900000 : 50000;

        for (unsigned step = 0; step < 15000; step++) {
            size_t n = (size_t)rng_below(&r, KEYS);
            char *value = &values[n * 2 + rng_below(&r, 2)];
            char *before = model.values[n];

            if (rng_chance(&r, in)) {
                cr_assert_eq(map_put(&m, key_of(n), value), (void *)before);
                model.values[n] = value;
                model.count += before == NULL;
            } else {
                cr_assert_eq(map_remove(&m, key_of(n)), (void *)before);
                model.values[n] = NULL;
                model.count -= before != NULL;
            }
        }
        check_map(&m, &model);
    }
    map_deinit(&m);
}

Test(map, holds_any_key)
{
    struct map m;
    int a = 0;
    int b = 0;

    map_init(&m);
    cr_assert_null(map_put(&m, 0, &a));
    cr_assert_null(map_put(&m, UINT64_MAX, &b));
    cr_assert_eq(map_get(&m, 0), &a);
    cr_assert_eq(map_get(&m, UINT64_MAX), &b);
    map_deinit(&m);
}

Test(map, grows_at_three_quarters_and_shrinks_when_large)
{
    struct map m;
    int a = 0;
    size_t capacity = 0;

    map_init(&m);
    for (uint64_t key = 0; key < 100000; key++) {
        (void)map_put(&m, key, &a);
        cr_assert_leq(m.count, m.capacity / 4 * 3);
    }
    capacity = m.capacity;
    for (uint64_t key = 10; key < 100000; key++) {
        cr_assert_eq(map_remove(&m, key), &a);
    }
    cr_assert_lt(m.capacity, capacity / 32);
    for (uint64_t key = 0; key < 10; key++) {
        cr_assert_eq(map_get(&m, key), &a);
    }
    map_deinit(&m);
}

Test(map, iterates_alike_after_the_same_operations)
{
    struct map maps[2];
    int values[300] = {0};
    size_t pos[2] = {0, 0};
    uint64_t key[2] = {0, 0};
    void *value[2] = {NULL, NULL};

    for (size_t i = 0; i < 2; i++) {
        map_init(&maps[i]);
        for (uint64_t k = 0; k < ARRAY_COUNT(values); k++) {
            (void)map_put(&maps[i], k * k, &values[k]);
            (void)map_remove(&maps[i], k);
        }
    }
    while (map_next(&maps[0], &pos[0], &key[0], &value[0])) {
        cr_assert(map_next(&maps[1], &pos[1], &key[1], &value[1]));
        cr_assert_eq(key[0], key[1]);
    }
    cr_assert(!map_next(&maps[1], &pos[1], &key[1], &value[1]));
    map_deinit(&maps[0]);
    map_deinit(&maps[1]);
}

Test(map, refuses_null, .signal = SIGABRT)
{
    struct map m;

    map_init(&m);
    (void)map_put(&m, 1, NULL);
}

/* Key number N as text of 0 to 30 bytes, one of them a NUL. */
static size_t
text_of(size_t n, char text[64])
{
    int size = 0;

    if (n == 0) {
        return 0;
    }
    size = snprintf(text, 64, "%zu%.*s", n, (int)(n % 24),
                    "/a-longer-tail-of-a-key");
    if (n % 3 == 0) {
        text[size / 2 + 1] = '\0';
    }
    return (size_t)size;
}

static void
check_strmap(const struct strmap *m, const struct model *model)
{
    size_t pos = 0;
    size_t count = 0;
    size_t size = 0;
    const uint8_t *key = NULL;
    void *value = NULL;
    char text[64];

    cr_assert_eq(m->count, model->count);
    while (strmap_next(m, &pos, &key, &size, &value)) {
        cr_assert_eq(strmap_get(m, key, size), value);
        count++;
    }
    cr_assert_eq(count, model->count);
    for (size_t n = 0; n < KEYS; n++) {
        size = text_of(n, text);
        cr_assert_eq(strmap_get(m, text, size), (void *)model->values[n]);
    }
}

Test(strmap, matches_an_array)
{
    static char values[KEYS * 2];
    static struct model model;
    struct strmap m;
    struct rng r;
    char text[64];

    rng_init(&r, 9);
    strmap_init(&m);
    for (unsigned phase = 0; phase < 6; phase++) {
        uint32_t in = phase % 2 == 0 ? 900000 : 50000;

        for (unsigned step = 0; step < 15000; step++) {
            size_t n = (size_t)rng_below(&r, KEYS);
            size_t size = text_of(n, text);
            char *value = &values[n * 2 + rng_below(&r, 2)];
            char *before = model.values[n];

            if (rng_chance(&r, in)) {
                cr_assert_eq(strmap_put(&m, text, size, value), (void *)before);
                model.values[n] = value;
                model.count += before == NULL;
            } else {
                cr_assert_eq(strmap_remove(&m, text, size), (void *)before);
                model.values[n] = NULL;
                model.count -= before != NULL;
            }
        }
        check_strmap(&m, &model);
    }
    strmap_deinit(&m);
}

Test(strmap, copies_its_keys)
{
    struct strmap m;
    char key[] = "key";
    int a = 0;

    strmap_init(&m);
    cr_assert_null(strmap_put(&m, key, 3, &a));
    key[0] = 'x';
    cr_assert_null(strmap_get(&m, key, 3));
    cr_assert_eq(strmap_get(&m, "key", 3), &a);
    strmap_deinit(&m);
}

Test(strmap, tells_keys_apart_by_size)
{
    struct strmap m;
    int a = 0;
    int b = 0;
    int c = 0;

    strmap_init(&m);
    (void)strmap_put(&m, "k", 1, &a);
    (void)strmap_put(&m, "k\0", 2, &b);
    (void)strmap_put(&m, NULL, 0, &c);
    cr_assert_eq(strmap_get(&m, "k", 1), &a);
    cr_assert_eq(strmap_get(&m, "k\0", 2), &b);
    cr_assert_eq(strmap_get(&m, "", 0), &c);
    cr_assert_eq(strmap_remove(&m, "", 0), &c);
    cr_assert_null(strmap_remove(&m, "", 0));
    strmap_deinit(&m);
}

Test(strmap, sorts_values_by_the_bytes_of_their_keys)
{
    static const char *const keys[] = {"", "a", "a\x01", "ab", "b", "\xff"};
    struct strmap m;
    void **values = NULL;

    strmap_init(&m);
    for (size_t i = ARRAY_COUNT(keys); i > 0; i--) {
        char *value = mem_strdup(keys[i - 1]);

        (void)strmap_put(&m, value, strlen(value), value);
    }
    values = strmap_values_sorted(&m);
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        cr_assert_str_eq(values[i], keys[i]);
        mem_free(values[i]);
    }
    mem_free(values);
    strmap_deinit(&m);
}

Test(strmap, sorts_nothing_into_an_array_to_free)
{
    struct strmap m;
    void **values = NULL;

    strmap_init(&m);
    values = strmap_values_sorted(&m);
    cr_assert_not_null(values);
    mem_free(values);
    strmap_deinit(&m);
}

Test(strmap, holds_keys_up_to_their_limit)
{
    struct strmap m;
    char *key = mem_zalloc(STRMAP_KEY_SIZE_MAX + 1, 1);
    int a = 0;

    strmap_init(&m);
    cr_assert_null(strmap_put(&m, key, STRMAP_KEY_SIZE_MAX, &a));
    cr_assert_eq(strmap_get(&m, key, STRMAP_KEY_SIZE_MAX), &a);
    cr_assert_null(strmap_get(&m, key, STRMAP_KEY_SIZE_MAX + 1));
    cr_assert_null(strmap_remove(&m, key, STRMAP_KEY_SIZE_MAX + 1));
    strmap_deinit(&m);
    mem_free(key);
}

Test(strmap, refuses_a_key_past_its_limit, .signal = SIGABRT)
{
    struct strmap m;
    char *key = mem_zalloc(STRMAP_KEY_SIZE_MAX + 1, 1);
    int a = 0;

    strmap_init(&m);
    (void)strmap_put(&m, key, STRMAP_KEY_SIZE_MAX + 1, &a);
}

Test(strmap, refuses_null, .signal = SIGABRT)
{
    struct strmap m;

    strmap_init(&m);
    (void)strmap_put(&m, "k", 1, NULL);
}
