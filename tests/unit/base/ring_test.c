/* The ring against a large array with both ends in its middle. */
#include "base/ring.h"
#include "base/rng.h"
#include "lib/harness.h"

enum {
    MODEL_SIZE = 400000
};

struct model {
    uint32_t items[MODEL_SIZE];
    size_t first;
    size_t last; /* one past */
};

static void
put(void *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static uint32_t
get(const struct ring *r, size_t index)
{
    uint32_t value = 0;

    memcpy(&value, ring_at(r, index), sizeof(value));
    return value;
}

static void
check_ring(const struct ring *r, const struct model *m)
{
    cr_assert_eq(r->count, m->last - m->first);
    for (size_t i = 0; i < r->count; i++) {
        cr_assert_eq(get(r, i), m->items[m->first + i]);
    }
}

/* One random operation on both; PUSH in a million is the chance of a push. */
static void
step(struct ring *r, struct model *m, struct rng *rng, uint32_t push)
{
    uint32_t value = (uint32_t)rng_u64(rng);

    if (rng_chance(rng, push)) {
        if (rng_chance(rng, 500000)) {
            put(ring_push_back(r), value);
            m->items[m->last++] = value;
        } else {
            put(ring_push_front(r), value);
            m->items[--m->first] = value;
        }
    } else if (r->count > 0) {
        if (rng_chance(rng, 500000)) {
            ring_pop_front(r);
            m->first++;
        } else {
            ring_pop_back(r);
            m->last--;
        }
    }
}

Test(ring, matches_an_array)
{
    static struct model m;
    struct ring r;
    struct rng rng;

    m.first = MODEL_SIZE / 2;
    m.last = MODEL_SIZE / 2;
    rng_init(&rng, 15);
    ring_init(&r, sizeof(uint32_t));
    for (unsigned phase = 0; phase < 8; phase++) {
        for (unsigned i = 0; i < 20000; i++) {
            step(&r, &m, &rng, phase % 2 == 0 ? 950000 : 100000);
        }
        check_ring(&r, &m);
        if (phase == 5) {
            ring_trim(&r);
            check_ring(&r, &m);
        }
    }
    ring_deinit(&r);
}

Test(ring, holds_elements_of_odd_sizes)
{
    struct ring r;

    ring_init(&r, 3);
    for (unsigned i = 0; i < 100; i++) {
        memset(ring_push_back(&r), (int)i, 3);
    }
    for (size_t i = 0; i < 100; i++) {
        const uint8_t *at = ring_at(&r, i);

        cr_assert_eq(at[0], i);
        cr_assert_eq(at[2], i);
    }
    ring_deinit(&r);
}

Test(ring, gives_memory_back_after_a_backlog)
{
    struct ring r;
    size_t capacity = 0;

    ring_init(&r, sizeof(uint32_t));
    for (uint32_t i = 0; i < 100000; i++) {
        put(ring_push_back(&r), i);
    }
    capacity = r.capacity;
    while (r.count > 20) {
        ring_pop_front(&r);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        cr_assert_eq(get(&r, 0), i < 20 ? 99980 + i : i - 20);
        put(ring_push_back(&r), i);
        ring_pop_front(&r);
    }
    cr_assert_leq(r.capacity, capacity / 8);
    ring_deinit(&r);
}

Test(ring, keeps_the_bytes_of_a_popped_element_until_a_push)
{
    struct ring r;
    uint32_t value = 0;
    const void *at = NULL;

    ring_init(&r, sizeof(uint32_t));
    put(ring_push_back(&r), 7);
    at = ring_at(&r, 0);
    ring_pop_front(&r);
    memcpy(&value, at, sizeof(value));
    cr_assert_eq(value, 7);
    ring_deinit(&r);
}

Test(ring, trims_to_nothing_when_empty)
{
    struct ring r;

    ring_init(&r, sizeof(uint32_t));
    ring_trim(&r);
    put(ring_push_front(&r), 1);
    ring_pop_back(&r);
    ring_trim(&r);
    cr_assert_null(r.data);
    cr_assert_eq(r.capacity, 0);
    put(ring_push_back(&r), 2);
    cr_assert_eq(get(&r, 0), 2);
    ring_deinit(&r);
}

Test(ring, clears_and_keeps_its_memory)
{
    struct ring r;
    size_t capacity = 0;

    ring_init(&r, sizeof(uint32_t));
    for (uint32_t i = 0; i < 100; i++) {
        put(ring_push_back(&r), i);
    }
    capacity = r.capacity;
    ring_clear(&r);
    cr_assert_eq(r.count, 0);
    cr_assert_eq(r.capacity, capacity);
    ring_deinit(&r);
}

Test(ring, keeps_little_memory_while_it_is_empty)
{
    struct ring r;

    ring_init(&r, sizeof(uint32_t));
    put(ring_push_back(&r), 1);
    ring_pop_front(&r);
    ring_trim_idle(&r);
    cr_assert_not_null(r.data, "a small one stays, for the next");
    for (uint32_t i = 0; i <= RING_IDLE_SIZE / sizeof(uint32_t); i++) {
        put(ring_push_back(&r), i);
    }
    while (r.count > 1) {
        ring_pop_front(&r);
        ring_trim_idle(&r);
    }
    cr_assert_gt(r.capacity * r.element_size, RING_IDLE_SIZE);
    ring_pop_front(&r);
    ring_trim_idle(&r);
    cr_assert_eq(r.capacity, 0);
    cr_assert_null(r.data);
    put(ring_push_back(&r), 2);
    cr_assert_eq(get(&r, 0), 2);
    ring_deinit(&r);
}

Test(ring, refuses_an_index_past_its_end, .signal = SIGABRT)
{
    struct ring r;

    ring_init(&r, sizeof(uint32_t));
    put(ring_push_back(&r), 1);
    (void)ring_at(&r, 1);
}

Test(ring, refuses_to_pop_the_front_of_nothing, .signal = SIGABRT)
{
    struct ring r;

    ring_init(&r, sizeof(uint32_t));
    ring_pop_front(&r);
}

Test(ring, refuses_to_pop_the_back_of_nothing, .signal = SIGABRT)
{
    struct ring r;

    ring_init(&r, sizeof(uint32_t));
    ring_pop_back(&r);
}

Test(ring, refuses_elements_of_no_size, .signal = SIGABRT)
{
    struct ring r;

    ring_init(&r, 0);
}
