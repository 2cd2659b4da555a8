/* The index of a group's entries, also against a plain array. */
#include <string.h>

#include "base/ranges.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "store/group_log.h"

enum {
    TOP = 500
};

static struct entry_loc
loc(uint32_t offset)
{
    struct entry_loc l = {.what = entry_loc_what(2, offset)};

    l.offset = offset;
    return l;
}

static void
count_drop(void *arg, qr_index index, const struct entry_loc *l)
{
    uint64_t *sum = arg;

    cr_assert_eq(l->offset, index);
    *sum += index;
}

static void
put(struct group_log *log, qr_index index, qr_term term)
{
    struct entry_loc l = loc((uint32_t)index);

    group_log_put(log, index, term, &l);
}

Test(group_log, packs_type_and_size)
{
    struct entry_loc l = {.what = entry_loc_what(31, 32 << 20)};

    cr_assert_eq(entry_loc_type(&l), 31);
    cr_assert_eq(entry_loc_size(&l), 32 << 20);
}

Test(group_log, is_empty_at_first)
{
    struct group_log log;
    struct entry_loc *l;

    group_log_init(&log);
    cr_assert_null(group_log_get(&log, 1));
    cr_assert_eq(group_log_next(&log, 1, &l), 0);
    group_log_cut(&log, 1, NULL, NULL);
    group_log_deinit(&log, NULL, NULL);
}

Test(group_log, finds_entries_and_terms)
{
    struct group_log log;
    struct entry_loc *l;

    group_log_init(&log);
    put(&log, 5, 1);
    put(&log, 6, 1);
    put(&log, 90, 3);
    cr_assert_eq(group_log_get(&log, 5)->offset, 5);
    cr_assert_null(group_log_get(&log, 4));
    cr_assert_null(group_log_get(&log, 7));
    cr_assert_null(group_log_get(&log, 40));
    cr_assert_null(group_log_get(&log, 91));
    cr_assert_null(group_log_get(&log, 1000));
    cr_assert_eq(group_log_term(&log, 6), 1);
    cr_assert_eq(group_log_term(&log, 90), 3);
    cr_assert_eq(group_log_run_last(&log, 5), 89);
    cr_assert_eq(group_log_run_last(&log, 90), UINT64_MAX);
    cr_assert_eq(group_log_next(&log, 7, &l), 90);
    cr_assert_eq(l->offset, 90);
    cr_assert_eq(group_log_next(&log, 91, &l), 0);
    group_log_deinit(&log, NULL, NULL);
}

Test(group_log, deinit_tells_of_every_entry)
{
    struct group_log log;
    uint64_t sum = 0;

    group_log_init(&log);
    put(&log, 1, 1);
    put(&log, 100, 1);
    group_log_deinit(&log, count_drop, &sum);
    cr_assert_eq(sum, 101);
}

/* As far as the log is concerned: who is there, with which term. */
static void
compare(const struct group_log *log, const uint64_t terms[TOP + 1])
{
    struct entry_loc *l;
    qr_index next = group_log_next(log, 1, &l);

    for (qr_index i = 1; i <= TOP; i++) {
        l = group_log_get(log, i);
        cr_assert_eq(l != NULL, terms[i] != 0, "entry %llu",
                     (unsigned long long)i);
        if (l != NULL) {
            cr_assert_eq(l->offset, i);
            cr_assert_eq(group_log_term(log, i), terms[i]);
            cr_assert_eq(next, i);
            next = group_log_next(log, i + 1, &l);
        }
    }
    cr_assert_eq(next, 0);
}

static void
random_keep(struct group_log *log, struct rng *rng, uint64_t terms[TOP + 1])
{
    struct ranges live;
    qr_index last = rng_below(rng, TOP);
    uint64_t dropped = 0;
    uint64_t expected = 0;
    uint64_t kept = 0;

    ranges_init(&live);
    for (qr_index i = 1; i <= last; i++) {
        if (rng_below(rng, 40) != 0) {
            continue;
        }
        ranges_add(&live, i, MIN(i + rng_below(rng, 60), last));
    }
    for (qr_index i = 1; i <= last; i++) {
        if (terms[i] != 0 && ranges_has(&live, i)) {
            kept++;
        } else if (terms[i] != 0) {
            expected += i;
            terms[i] = 0;
        }
    }
    cr_assert_eq(group_log_keep(log, last, &live, count_drop, &dropped), kept);
    cr_assert_eq(dropped, expected);
    ranges_deinit(&live);
}

Test(group_log, agrees_with_an_array)
{
    struct rng rng;

    rng_init(&rng, 3);
    for (int run = 0; run < 60; run++) {
        struct group_log log;
        uint64_t terms[TOP + 1] = {0};
        qr_index last = 0;
        qr_term term = 1;

        group_log_init(&log);
        for (int i = 0; i < 400; i++) {
            uint64_t dice = rng_below(&rng, 100);

            term += rng_below(&rng, 10) == 0;
            if (dice < 3) {
                random_keep(&log, &rng, terms);
            } else if (dice < 6) {
                last = rng_below(&rng, last + 2);
                group_log_cut(&log, last + 1, NULL, NULL);
                memset(terms + last + 1, 0, (TOP - last) * sizeof(*terms));
            } else if (last + 20 < TOP) {
                last += 1 + (dice < 20 ? rng_below(&rng, 5) : 0);
                put(&log, last, term);
                terms[last] = term;
            }
        }
        compare(&log, terms);
        group_log_deinit(&log, NULL, NULL);
    }
}

Test(group_log, stays_small_when_the_front_goes)
{
    struct group_log log;
    uint64_t sum = 0;

    group_log_init(&log);
    for (qr_index i = 1; i <= 100000; i++) {
        put(&log, i, i / 1000 + 1);
        if (i % 100 == 0) {
            group_log_keep(&log, i - 50, NULL, count_drop, &sum);
        }
    }
    cr_assert_leq(log.capacity, 64);
    cr_assert_leq(log.runs_capacity, 8);
    group_log_deinit(&log, NULL, NULL);
}

Test(group_log, refuses_to_go_backwards, .signal = SIGABRT)
{
    struct group_log log;

    group_log_init(&log);
    put(&log, 5, 1);
    put(&log, 5, 1);
}
