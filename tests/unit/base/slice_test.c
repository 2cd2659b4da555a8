/* Reference counts, windows, and blocks shared between threads. */
#include <pthread.h>

#include "base/slice.h"
#include "lib/harness.h"

static uint32_t
refs(const struct block *block)
{
    return atomic_load(&block->refs);
}

Test(slice, of_nothing_is_empty_and_readable)
{
    struct slice s = slice_empty();
    struct slice copy = slice_copy(NULL, 0);

    cr_assert_null(s.block);
    cr_assert_not_null(s.data);
    cr_assert_eq(s.size, 0);
    cr_assert_null(copy.block);
    slice_unref(&s);
    slice_unref(&s);
    slice_unref(&copy);
}

Test(slice, owns_a_copy)
{
    char text[] = "hello";
    struct slice s = slice_copy(text, 5);

    text[0] = 'x';
    cr_assert_eq(s.size, 5);
    cr_assert_arr_eq(s.data, "hello", 5);
    cr_assert_eq(refs(s.block), 1);
    slice_unref(&s);
    cr_assert_null(s.block);
    cr_assert_eq(s.size, 0);
}

Test(slice, counts_its_references)
{
    struct slice a = slice_copy("hello", 5);
    struct slice b = slice_ref(&a);
    struct slice c = slice_sub(&a, 1, 3);

    cr_assert_eq(refs(a.block), 3);
    cr_assert_eq(b.data, a.data);
    cr_assert_arr_eq(c.data, "ell", 3);
    slice_unref(&a);
    cr_assert_eq(refs(b.block), 2);
    slice_unref(&b);
    cr_assert_arr_eq(c.data, "ell", 3);
    slice_unref(&c);
}

Test(slice, moves_without_counting)
{
    struct slice a = slice_copy("hello", 5);
    struct slice b = slice_take(&a);

    cr_assert_null(a.block);
    cr_assert_eq(a.size, 0);
    cr_assert_eq(refs(b.block), 1);
    cr_assert_arr_eq(b.data, "hello", 5);
    slice_unref(&b);
}

Test(slice, takes_or_shares_a_block)
{
    struct block *block = block_new(10);
    struct slice part;
    struct slice all;

    memcpy(block->data, "0123456789", 10);
    part = slice_in_block(block, 4, 6);
    cr_assert_eq(refs(block), 2);
    cr_assert_arr_eq(part.data, "456789", 6);
    all = slice_of_block(block);
    cr_assert_eq(refs(block), 2);
    cr_assert_eq(all.size, 10);
    slice_unref(&all);
    slice_unref(&part);
}

Test(slice, of_no_bytes_holds_no_block)
{
    struct slice a = slice_copy("hello", 5);
    struct slice b = slice_sub(&a, 5, 0);

    cr_assert_null(b.block);
    cr_assert_eq(refs(a.block), 1);
    slice_unref(&a);
    slice_unref(&b);
}

Test(slice, borrows_static_bytes)
{
    struct slice a = slice_borrow("hello", 5);
    struct slice b = slice_sub(&a, 1, 2);
    struct slice c = slice_borrow(NULL, 0);
    struct slice zero = {NULL, NULL, 0};
    struct slice d = slice_sub(&zero, 0, 0);

    cr_assert_null(a.block);
    cr_assert_arr_eq(b.data, "el", 2);
    cr_assert_not_null(c.data);
    cr_assert_not_null(d.data);
    slice_unref(&a);
    slice_unref(&b);
    slice_unref(&zero);
}

Test(slice, may_be_nothing_when_unreferenced)
{
    block_unref(NULL);
}

enum {
    THREADS = 4,
    ROUNDS = 20000
};

/* Takes and drops references to the slice at ARG, then the one it was given. */
static void *
share(void *arg)
{
    struct slice *s = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct slice more = slice_ref(s);
        struct slice part = slice_sub(&more, i % 3, 2);

        slice_unref(&more);
        slice_unref(&part);
    }
    slice_unref(s);
    return NULL;
}

Test(slice, is_shared_between_threads)
{
    pthread_t threads[THREADS];
    struct slice slices[THREADS];
    struct slice s = slice_copy("hello", 5);

    for (size_t i = 0; i < THREADS; i++) {
        slices[i] = slice_ref(&s);
    }
    for (size_t i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, share, &slices[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    cr_assert_eq(refs(s.block), 1);
    slice_unref(&s);
}

/* Whichever thread is last frees; sanitizers watch. */
Test(slice, is_freed_by_whichever_thread_is_last)
{
    for (unsigned round = 0; round < 50; round++) {
        pthread_t threads[2];
        struct slice slices[2];

        slices[0] = slice_copy("hello", 5);
        slices[1] = slice_ref(&slices[0]);
        for (size_t i = 0; i < 2; i++) {
            cr_assert_eq(pthread_create(&threads[i], NULL, share, &slices[i]),
                         0);
        }
        for (size_t i = 0; i < 2; i++) {
            cr_assert_eq(pthread_join(threads[i], NULL), 0);
        }
    }
}

Test(slice, stays_within_its_block, .signal = SIGABRT)
{
    struct block *block = block_new(10);

    (void)slice_in_block(block, 5, 6);
}

Test(slice, stays_within_its_slice, .signal = SIGABRT)
{
    struct slice a = slice_copy("hello", 5);

    (void)slice_sub(&a, 6, 0);
}

Test(slice, stops_at_more_references_than_the_limit, .signal = SIGABRT)
{
    struct block *block = block_new(1);

    atomic_store(&block->refs, BLOCK_REFS_MAX);
    (void)block_ref(block);
}

Test(slice, stops_at_a_block_past_its_limit, .signal = SIGABRT)
{
    (void)block_new(BLOCK_SIZE_MAX + 1);
}

Test(slice, knows_a_block_by_its_magic, .signal = SIGABRT)
{
    struct block *block = block_new(1);

    block->magic = 0;
    block_unref(block);
}
