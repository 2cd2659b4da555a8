/* The direct table: equal keys alone match, in order of addition, and what is
 * taken out is gone. */
#include "base/rng.h"
#include "lib/harness.h"
#include "routing/direct.h"

enum {
    ENTRIES = 200
};

struct item {
    struct route_entry entry;
    uint8_t key[2];
    size_t key_size;
    bool is_in;
    unsigned seen;
    unsigned order;
};

/* Collects what matched. */
struct hits {
    struct item *items[ENTRIES];
    size_t count;
};

static void
hit(void *arg, struct route_entry *entry)
{
    struct hits *hits = arg;

    cr_assert_lt(hits->count, ENTRIES);
    hits->items[hits->count++] = CONTAINER_OF(entry, struct item, entry);
}

Test(direct, matches_equal_keys_in_order_of_addition)
{
    struct direct d;
    struct item a = {.key_size = 0};
    struct item b = {.key_size = 0};
    struct item c = {.key_size = 0};
    struct hits hits = {.count = 0};

    direct_init(&d);
    direct_add(&d, "red", 3, &a.entry);
    direct_add(&d, "red", 3, &b.entry);
    direct_add(&d, "re", 2, &c.entry);
    direct_match(&d, "red", 3, hit, &hits);
    cr_assert_eq(hits.count, 2U);
    cr_assert_eq(hits.items[0], &a);
    cr_assert_eq(hits.items[1], &b);
    hits.count = 0;
    direct_match(&d, "redd", 4, hit, &hits);
    cr_assert_eq(hits.count, 0U);
    direct_remove(&d, &a.entry);
    direct_match(&d, "red", 3, hit, &hits);
    cr_assert_eq(hits.count, 1U);
    cr_assert_eq(hits.items[0], &b);
    direct_remove(&d, &b.entry);
    direct_remove(&d, &c.entry);
    direct_deinit(&d);
}

Test(direct, keys_may_be_empty_or_of_255_bytes_with_zeroes)
{
    struct direct d;
    uint8_t key[DIRECT_KEY_SIZE_MAX];
    struct item empty = {.key_size = 0};
    struct item whole = {.key_size = 0};
    struct hits hits = {.count = 0};

    memset(key, 0, sizeof(key));
    direct_init(&d);
    direct_add(&d, NULL, 0, &empty.entry);
    direct_add(&d, key, sizeof(key), &whole.entry);
    direct_match(&d, NULL, 0, hit, &hits);
    cr_assert_eq(hits.count, 1U);
    cr_assert_eq(hits.items[0], &empty);
    hits.count = 0;
    direct_match(&d, key, sizeof(key), hit, &hits);
    cr_assert_eq(hits.count, 1U);
    cr_assert_eq(hits.items[0], &whole);
    hits.count = 0;
    direct_match(&d, key, sizeof(key) - 1, hit, &hits);
    cr_assert_eq(hits.count, 0U);
    direct_remove(&d, &empty.entry);
    direct_remove(&d, &whole.entry);
    direct_deinit(&d);
}

Test(direct, refuses_a_key_of_256_bytes, .signal = SIGABRT)
{
    struct direct d;
    uint8_t key[DIRECT_KEY_SIZE_MAX + 1] = {0};
    struct item item = {.key_size = 0};

    direct_init(&d);
    direct_add(&d, key, sizeof(key), &item.entry);
}

Test(direct, agrees_with_a_walk_over_all_entries)
{
    static struct item items[ENTRIES];
    struct direct d;
    struct rng rng;

    rng_init(&rng, 17);
    direct_init(&d);
    for (unsigned step = 0; step < 20000; step++) {
        struct item *item = &items[rng_below(&rng, ENTRIES)];
        struct hits hits = {.count = 0};
        uint8_t key[2] = {(uint8_t)rng_below(&rng, 3),
                          (uint8_t)rng_below(&rng, 3)};
        size_t size = (size_t)rng_below(&rng, 3);
        size_t expected = 0;

        if (item->is_in) {
            direct_remove(&d, &item->entry);
        } else {
            memcpy(item->key, key, sizeof(key));
            item->key_size = size;
            item->order = step;
            direct_add(&d, key, size, &item->entry);
        }
        item->is_in = !item->is_in;
        direct_match(&d, key, size, hit, &hits);
        for (size_t i = 0; i < ENTRIES; i++) {
            expected += items[i].is_in && items[i].key_size == size &&
                                memcmp(items[i].key, key, size) == 0
                            ? 1U
                            : 0U;
        }
        cr_assert_eq(hits.count, expected, "step %u", step);
        for (size_t i = 1; i < hits.count; i++) {
            cr_assert_lt(hits.items[i - 1]->order, hits.items[i]->order);
        }
    }
    for (size_t i = 0; i < ENTRIES; i++) {
        if (items[i].is_in) {
            direct_remove(&d, &items[i].entry);
        }
    }
    direct_deinit(&d);
}
