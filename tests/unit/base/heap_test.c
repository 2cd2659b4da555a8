/* The heap against an array that is searched. */
#include "base/check.h"
#include "base/heap.h"
#include "base/rng.h"
#include "lib/harness.h"

enum {
    NODES = 500
};

/* A node and what the model knows about it. */
struct element {
    struct heap_node node;
    bool is_in;
    uint64_t key;
    uint64_t order;
};

/* The one of COUNT elements that should be the least, or NULL. */
static struct element *
model_min(struct element *all, size_t count)
{
    struct element *least = NULL;

    for (size_t i = 0; i < count; i++) {
        struct element *e = &all[i];

        if (e->is_in && (least == NULL || e->key < least->key ||
                         (e->key == least->key && e->order < least->order))) {
            least = e;
        }
    }
    return least;
}

Test(heap, is_empty_at_first)
{
    struct heap h;
    struct heap_node node = {0};

    heap_init(&h);
    cr_assert_null(heap_min(&h));
    cr_assert(!heap_has(&node));
    heap_remove(&h, &node);
    heap_deinit(&h);
}

Test(heap, gives_equal_keys_in_the_order_of_insertion)
{
    struct heap_node nodes[20] = {{0}};
    struct heap h;

    heap_init(&h);
    for (size_t i = 0; i < ARRAY_COUNT(nodes); i++) {
        heap_insert(&h, &nodes[i], 7);
    }
    for (size_t i = 0; i < ARRAY_COUNT(nodes); i++) {
        cr_assert_eq(heap_min(&h), &nodes[i]);
        heap_remove(&h, &nodes[i]);
    }
    heap_deinit(&h);
}

/* Random insertions and removals of COUNT elements, each checked. */
static void
run_model(size_t count, uint64_t seed)
{
    static struct element all[NODES];
    struct heap h;
    struct rng r;
    uint64_t order = 0;

    memset(all, 0, sizeof(all));
    rng_init(&r, seed);
    heap_init(&h);
    for (unsigned step = 0; step < 20000; step++) {
        struct element *e = &all[rng_below(&r, count)];

        if (e->is_in) {
            heap_remove(&h, &e->node);
            e->is_in = false;
        } else {
            /* Few keys, so that ties are common. */
            e->key = rng_below(&r, 50);
            e->order = order++;
            e->is_in = true;
            heap_insert(&h, &e->node, e->key);
        }
        cr_assert_eq(heap_has(&e->node), e->is_in);
        e = model_min(all, count);
        cr_assert_eq(heap_min(&h), e == NULL ? NULL : &e->node, "step %u",
                     step);
    }
    heap_deinit(&h);
}

Test(heap, matches_a_searched_array)
{
    run_model(NODES, 6);
}

Test(heap, matches_a_searched_array_of_a_few)
{
    run_model(7, 21);
}

Test(heap, sorts_and_gives_memory_back)
{
    enum {
        MANY = 20000
    };
    static struct heap_node nodes[MANY];
    struct heap h;
    struct rng r;
    uint64_t last = 0;
    size_t capacity = 0;

    rng_init(&r, 7);
    heap_init(&h);
    for (size_t i = 0; i < MANY; i++) {
        heap_insert(&h, &nodes[i], rng_u64(&r));
    }
    capacity = h.capacity;
    cr_assert_eq(h.count, MANY);
    for (size_t i = 0; i < MANY; i++) {
        struct heap_node *min = heap_min(&h);

        cr_assert_geq(min->key, last);
        last = min->key;
        heap_remove(&h, min);
    }
    cr_assert_eq(h.count, 0);
    cr_assert_lt(h.capacity, capacity / 8);
    heap_deinit(&h);
}

Test(heap, orders_keys_at_the_ends_of_their_range)
{
    struct heap_node a = {0};
    struct heap_node b = {0};
    struct heap h;

    heap_init(&h);
    heap_insert(&h, &a, UINT64_MAX);
    heap_insert(&h, &b, 0);
    cr_assert_eq(heap_min(&h), &b);
    heap_deinit(&h);
    cr_assert(!heap_has(&a));
    cr_assert(!heap_has(&b));
}

Test(heap, refuses_a_node_twice, .signal = SIGABRT)
{
    struct heap_node node = {0};
    struct heap h;

    heap_init(&h);
    heap_insert(&h, &node, 1);
    heap_insert(&h, &node, 2);
}

Test(heap, refuses_to_remove_from_another_heap, .signal = SIGABRT)
{
    struct heap_node node = {0};
    struct heap h;
    struct heap other;

    heap_init(&h);
    heap_init(&other);
    heap_insert(&h, &node, 1);
    heap_remove(&other, &node);
}
