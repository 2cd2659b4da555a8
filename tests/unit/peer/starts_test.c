/* What starts tell of a data directory. */
#include "lib/harness.h"
#include "peer/starts.h"

/* Starts 1 to BOOT, whose numbers are their own plus BASE. */
static struct starts
history(uint32_t boot, uint64_t base)
{
    struct starts s = {.boot = 0};

    for (uint32_t i = 1; i <= boot; i++) {
        starts_push(&s, base + i);
    }
    return s;
}

static bool
is_old(const struct starts *s, uint32_t boot, uint64_t process)
{
    return starts_is_rolled_back(s, &(struct start_seen){boot, process});
}

Test(starts, that_were_all_seen_are_good)
{
    struct starts s = history(3, 0);

    cr_expect(!is_old(&s, 0, 0));
    cr_expect(!is_old(&s, 1, 1));
    cr_expect(!is_old(&s, 2, 2));
    cr_expect(!is_old(&s, 3, 3));
}

Test(starts, before_the_one_seen_are_of_an_old_copy)
{
    struct starts s = history(3, 0);

    cr_expect(is_old(&s, 4, 4));
    cr_expect(is_old(&s, 4, 0));
}

Test(starts, of_an_old_copy_do_not_catch_up_by_starting_often)
{
    struct starts s = history(3, 0); /* and start 4 was seen elsewhere */

    for (unsigned i = 0; i < 5; i++) {
        starts_push(&s, 100 + i);
        cr_expect(is_old(&s, 4, 4), "start %u", s.boot);
    }
}

Test(starts, of_two_processes_with_one_number_differ)
{
    struct starts s = history(3, 0);

    cr_expect(is_old(&s, 3, 77));
    cr_expect(!is_old(&s, 3, 0), "nothing is known of it");
}

Test(starts, further_back_than_is_kept_are_believed)
{
    struct starts s = history(STARTS_MAX + 1, 0);

    cr_expect_eq(s.count, STARTS_MAX);
    cr_expect_eq(s.boot, STARTS_MAX + 1);
    cr_expect(is_old(&s, 2, 77), "the last that is kept");
    cr_expect(!is_old(&s, 1, 77));
}

Test(starts, seen_are_the_newest)
{
    struct start_seen seen = {0, 0};

    starts_see(&seen, 4, 44);
    starts_see(&seen, 3, 33);
    cr_expect_eq(seen.boot, 4);
    cr_expect_eq(seen.process, 44);
    starts_see(&seen, 4, 45);
    cr_expect_eq(seen.process, 44, "the first of two stays");
    starts_see(&seen, 5, 0);
    starts_see(&seen, 5, 55);
    cr_expect_eq(seen.process, 55);
}

static bool
see(struct starts_book *b, uint32_t node, uint32_t boot, uint64_t process)
{
    return starts_book_see(b, node, &(struct start_seen){boot, process});
}

Test(starts, of_others_are_kept_and_only_news_is_news)
{
    struct starts_book b = {.count = 0};

    cr_expect_eq(starts_book_find(&b, 1).boot, 0);
    cr_expect(see(&b, 1, 4, 44));
    cr_expect(see(&b, 2, 7, 77));
    cr_expect(!see(&b, 1, 4, 44));
    cr_expect(!see(&b, 1, 4, 45), "the first of two stays");
    cr_expect(!see(&b, 1, 3, 33));
    cr_expect(!see(&b, 3, 0, 0), "it was never met");
    cr_expect(see(&b, 1, 5, 55));
    cr_expect_eq(b.count, 2);
    cr_expect_eq(starts_book_find(&b, 1).process, 55);
    cr_expect_eq(starts_book_find(&b, 2).boot, 7);
}

Test(starts, of_who_was_met_longest_ago_make_room)
{
    struct starts_book b = {.count = 0};

    for (uint32_t node = 1; node <= STARTS_BOOK_MAX; node++) {
        cr_expect(see(&b, node, 1, node));
    }
    cr_expect(see(&b, 1, 2, 100)); /* now it is the latest */
    cr_expect(see(&b, STARTS_BOOK_MAX + 1, 1, 5));
    cr_expect_eq(b.count, STARTS_BOOK_MAX);
    cr_expect_eq(starts_book_find(&b, 2).boot, 0);
    cr_expect_eq(starts_book_find(&b, 1).boot, 2);
    cr_expect_eq(starts_book_find(&b, 3).boot, 1);
    cr_expect_eq(starts_book_find(&b, STARTS_BOOK_MAX + 1).process, 5);
}
