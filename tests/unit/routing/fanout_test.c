/* The fanout table: all of them, whatever the key. */
#include "lib/harness.h"
#include "routing/fanout.h"

static void
hit(void *arg, struct route_entry *entry)
{
    struct route_entry ***next = arg;

    **next = entry;
    *next += 1;
}

Test(fanout, matches_every_entry_in_order_of_addition)
{
    struct fanout f;
    struct route_entry entries[3];
    struct route_entry *hits[3] = {NULL, NULL, NULL};
    struct route_entry **next = hits;

    fanout_init(&f);
    for (size_t i = 0; i < 3; i++) {
        fanout_add(&f, &entries[i]);
    }
    cr_assert_eq(f.count, 3U);
    fanout_match(&f, hit, &next);
    cr_assert_eq(next, hits + 3);
    cr_assert_eq(hits[0], &entries[0]);
    cr_assert_eq(hits[2], &entries[2]);
    fanout_remove(&f, &entries[1]);
    next = hits;
    fanout_match(&f, hit, &next);
    cr_assert_eq(next, hits + 2);
    cr_assert_eq(hits[1], &entries[2]);
    fanout_remove(&f, &entries[0]);
    fanout_remove(&f, &entries[2]);
    fanout_deinit(&f);
}

Test(fanout, is_not_released_with_an_entry_in_it, .signal = SIGABRT)
{
    struct fanout f;
    struct route_entry entry;

    fanout_init(&f);
    fanout_add(&f, &entry);
    fanout_deinit(&f);
}
