/* Memory: what is given, and what stops the process. */
#include "base/mem.h"
#include "lib/harness.h"

Test(mem, gives_distinct_pointers_for_nothing)
{
    void *a = mem_alloc(0);
    void *b = mem_alloc(0);
    void *c = mem_zalloc(0, 8);
    void *d = mem_zalloc(8, 0);

    cr_assert_not_null(a);
    cr_assert_not_null(b);
    cr_assert_not_null(c);
    cr_assert_not_null(d);
    cr_assert_neq(a, b);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
    mem_free(NULL);
}

Test(mem, zeroes_on_request)
{
    unsigned char *p = mem_zalloc(100, 3);

    for (size_t i = 0; i < 300; i++) {
        cr_assert_eq(p[i], 0);
    }
    mem_free(p);
}

Test(mem, keeps_content_when_it_resizes)
{
    char *p = mem_realloc(NULL, 4);

    memcpy(p, "abc", 4);
    p = mem_realloc(p, 100000);
    cr_assert_str_eq(p, "abc");
    p = mem_realloc(p, 4);
    cr_assert_str_eq(p, "abc");
    p = mem_realloc(p, 0);
    cr_assert_not_null(p);
    mem_free(p);
}

Test(mem, copies)
{
    char *dup = mem_dup("abc", 3);
    char *text = mem_strdup("abc");
    char *part = mem_strndup("abcdef", 3);
    void *nothing = mem_dup(NULL, 0);
    char *empty = mem_strndup(NULL, 0);

    cr_assert_arr_eq(dup, "abc", 3);
    cr_assert_str_eq(text, "abc");
    cr_assert_str_eq(part, "abc");
    cr_assert_not_null(nothing);
    cr_assert_str_eq(empty, "");
    mem_free(dup);
    mem_free(text);
    mem_free(part);
    mem_free(nothing);
    mem_free(empty);
}

Test(mem, wipes)
{
    char secret[] = "secret";

    mem_wipe(secret, 3);
    cr_assert_arr_eq(secret, "\0\0\0ret", 7);
    mem_wipe(NULL, 0);
}

Test(mem, stops_when_a_size_overflows, .signal = SIGABRT)
{
    (void)mem_zalloc(MEM_SIZE_MAX / 8 + 1, 8);
}

Test(mem, stops_past_its_limit, .signal = SIGABRT)
{
    (void)mem_alloc(MEM_SIZE_MAX + 1);
}

Test(mem, stops_resizing_past_its_limit, .signal = SIGABRT)
{
    (void)mem_realloc(NULL, MEM_SIZE_MAX + 1);
}

/* Sanitizers answer a hopeless request in their own way. */
#if defined(__has_feature)
#    if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#        define SANITIZED 1
#    endif
#endif
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(SANITIZED)
Test(mem, stops_when_memory_runs_out, .signal = SIGABRT)
{
    volatile size_t size = MEM_SIZE_MAX - 4096;

    (void)mem_alloc(size);
}
#endif
