/* Unsettled deliveries, against a model that keeps every tag. */
#include "amqp/unacked.h"
#include "base/rng.h"
#include "lib/harness.h"

enum {
    TAGS = 4000,
    HOLDERS = 3
};

struct model {
    char holders[HOLDERS];
    uint64_t next_id[HOLDERS];
    int holder_of[TAGS + 1]; /* -1: settled or not there */
    uint64_t id_of[TAGS + 1];
    bool expected[TAGS + 1]; /* to be settled by this call */
    uint64_t last;
    size_t live;
    size_t runs;
};

static void
model_settle(void *arg, void *holder, uint64_t first, uint64_t last)
{
    struct model *m = arg;
    int h = (int)((char *)holder - m->holders);

    m->runs++;
    cr_assert_leq(first, last);
    for (uint64_t id = first; id <= last; id++) {
        uint64_t tag = 1;

        while (tag <= m->last &&
               (m->holder_of[tag] != h || m->id_of[tag] != id)) {
            tag++;
        }
        cr_assert_leq(tag, m->last, "settled what was not there");
        cr_assert(m->expected[tag], "settled tag %d", (int)tag);
        m->expected[tag] = false;
        m->holder_of[tag] = -1;
        m->live--;
    }
}

static void
model_add(struct model *m, struct unacked *u, int h)
{
    uint64_t tag = ++m->last;

    m->holder_of[tag] = h;
    m->id_of[tag] = ++m->next_id[h];
    m->live++;
    unacked_add(u, tag, &m->holders[h], m->id_of[tag]);
}

static void
model_expect(struct model *m, struct unacked *u, uint64_t tag, bool multiple)
{
    bool is_known = (tag == 0 && multiple) ||
                    (tag >= 1 && tag <= m->last && m->holder_of[tag] >= 0);
    uint64_t limit = tag == 0 ? m->last : tag;

    for (uint64_t t = multiple ? 1 : tag; is_known && t <= limit; t++) {
        m->expected[t] = m->holder_of[t] >= 0;
    }
    cr_assert_eq(unacked_settle(u, tag, multiple, model_settle, m), is_known);
    for (uint64_t t = 1; t <= m->last; t++) {
        cr_assert_not(m->expected[t], "did not settle tag %d", (int)t);
    }
    cr_assert_eq(u->live, m->live);
}

Test(unacked, does_what_the_model_does)
{
    static struct model m;
    struct unacked u;
    struct rng rng;

    rng_init(&rng, 66);
    unacked_init(&u);
    memset(m.holder_of, -1, sizeof(m.holder_of));
    for (int i = 0; i < 9000 && m.last < TAGS; i++) {
        uint64_t back = rng_below(&rng, 200);
        uint64_t tag = m.last > back ? m.last - back : m.last;

        if (rng_below(&rng, 2) == 0) {
            model_add(&m, &u, (int)rng_below(&rng, HOLDERS));
        } else {
            model_expect(&m, &u, rng_below(&rng, 300) == 0 ? 0 : tag,
                         rng_below(&rng, 40) == 0);
        }
        cr_assert_leq(u.entries.count, 64 + 2 * u.live);
    }
    model_expect(&m, &u, 0, true);
    cr_assert_eq(u.live, 0);
    cr_assert_eq(u.entries.count, 0);
    unacked_deinit(&u);
}

Test(unacked, neighbours_go_as_one_run)
{
    static struct model m;
    struct unacked u;

    unacked_init(&u);
    memset(m.holder_of, -1, sizeof(m.holder_of));
    for (int i = 0; i < 1000; i++) {
        model_add(&m, &u, 0);
    }
    model_expect(&m, &u, 500, false);
    m.runs = 0;
    model_expect(&m, &u, 999, true);
    cr_assert_eq(m.runs, 2);
    cr_assert_eq(u.live, 1);
    unacked_deinit(&u);
}

Test(unacked, memory_follows_what_is_unsettled)
{
    static struct model m;
    struct unacked u;

    unacked_init(&u);
    memset(m.holder_of, -1, sizeof(m.holder_of));
    model_add(&m, &u, 1); /* held on to */
    for (uint64_t tag = 2; tag < 3000; tag++) {
        model_add(&m, &u, 0);
        model_expect(&m, &u, tag, false);
        cr_assert_leq(u.entries.count, 64);
    }
    model_expect(&m, &u, 1, false);
    cr_assert_eq(u.entries.count, 0);
    unacked_deinit(&u);
}

Test(unacked, an_empty_one_knows_no_tag)
{
    static struct model m;
    struct unacked u;

    unacked_init(&u);
    model_expect(&m, &u, 1, false);
    model_expect(&m, &u, 7, true);
    model_expect(&m, &u, 0, false);
    model_expect(&m, &u, 0, true);
    unacked_deinit(&u);
}
