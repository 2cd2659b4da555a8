/* Permissions: RabbitMQ's meaning, the cache, and patterns that would hang. */
#include <quorate/error.h>

#include "auth/permission.h"
#include "base/error.h"
#include "base/rng.h"
#include "lib/harness.h"

static bool
allows(struct permission_cache *cache, const char *pattern, const char *name)
{
    return permission_allows(cache, pattern, strlen(pattern), name,
                             strlen(name));
}

Test(permission, patterns_match_anywhere)
{
    struct permission_cache *cache = permission_cache_new(0);

    cr_assert(allows(cache, ".*", "anything"));
    cr_assert(allows(cache, "b", "abc"));
    cr_assert(allows(cache, "^a", "abc"));
    cr_assert(!allows(cache, "^b", "abc"));
    cr_assert(!allows(cache, "^abc$", "abcd"));
    cr_assert(allows(cache, "^(a|b)-[0-9]+$", "b-17"));
    cr_assert(!allows(cache, "A", "abc"), "case counts");
    permission_cache_free(&cache);
    cr_assert_null(cache);
    permission_cache_free(&cache);
}

Test(permission, the_empty_pattern_grants_nothing)
{
    struct permission_cache *cache = permission_cache_new(0);

    cr_assert(!allows(cache, "", "x"));
    cr_assert(!allows(cache, "", ""));
    cr_assert(!allows(cache, "^$", "x"));
    cr_assert_eq(permission_cache_count(cache), 1U);
    permission_cache_free(&cache);
}

Test(permission, the_default_exchange_is_amq_default)
{
    struct permission_cache *cache = permission_cache_new(0);

    cr_assert(allows(cache, "^amq\\.default$", ""));
    cr_assert(allows(cache, ".*", ""));
    cr_assert(!allows(cache, "^$", ""), "it is not the empty name");
    permission_cache_free(&cache);
}

Test(permission, names_are_bytes)
{
    struct permission_cache *cache = permission_cache_new(0);

    cr_assert(allows(cache, "^\xff\xfe$", "\xff\xfe"));
    cr_assert(permission_allows(cache, "b$", 2, "a\0b", 3));
    cr_assert(permission_allows(cache, "^a.b$", 5, "a\0b", 3));
    permission_cache_free(&cache);
}

Test(permission, an_invalid_pattern_grants_nothing_and_says_why)
{
    struct permission_cache *cache = permission_cache_new(0);
    struct error err;
    static char big[PERMISSION_PATTERN_SIZE_MAX + 1];

    cr_assert(!allows(cache, "(a", "a"));
    cr_assert(!allows(cache, "(a", "(a"));
    cr_assert_eq(permission_cache_count(cache), 1U);
    error_clear(&err);
    cr_assert_eq(permission_pattern_check("(a", 2, &err), -QR_EFORMAT);
    cr_assert_str_eq(err.text, "'(a' is not a regular expression: missing "
                               "closing parenthesis, at byte 2");
    cr_assert_eq(permission_pattern_check("^a.*", 4, NULL), 0);
    cr_assert_eq(permission_pattern_check("", 0, NULL), 0);
    memset(big, 'a', sizeof(big));
    error_clear(&err);
    cr_assert_eq(permission_pattern_check(big, sizeof(big), &err), -QR_ETOOBIG);
    cr_assert_str_eq(err.text, "the pattern has 1025 bytes, 1024 are allowed");
    cr_assert_eq(permission_pattern_check(big, sizeof(big) - 1, NULL), 0);
    cr_assert(permission_allows(cache, big, 100, big, 255));
    cr_assert(!permission_allows(cache, big, sizeof(big), big, 255));
    permission_cache_free(&cache);
}

/* Without limits each of these would take longer than the universe has. */
Test(permission, a_hostile_pattern_is_cut_short_and_denies)
{
    static const char *const hostile[] = {"(a+)+$", "(a|aa)+$", "(a|a?)+$",
                                          "^(([a-z])+.)+[A-Z]([a-z])+$",
                                          "(.*)*(.*)*(.*)*(.*)*(.*)*b$"};
    struct permission_cache *cache = permission_cache_new(0);
    char name[255];

    memset(name, 'a', sizeof(name));
    name[sizeof(name) - 1] = '!';
    for (unsigned round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
            cr_assert(!permission_allows(cache, hostile[i], strlen(hostile[i]),
                                         name, sizeof(name)),
                      "%s", hostile[i]);
        }
    }
    permission_cache_free(&cache);
}

Test(permission, the_cache_keeps_what_was_used_last)
{
    struct permission_cache *cache = permission_cache_new(2);

    cr_assert(allows(cache, "a", "a"));
    cr_assert(allows(cache, "b", "b"));
    cr_assert(allows(cache, "a", "a"));
    cr_assert_eq(permission_cache_count(cache), 2U);
    cr_assert(allows(cache, "c", "c"));
    cr_assert_eq(permission_cache_count(cache), 2U);
    cr_assert(allows(cache, "a", "a"));
    cr_assert(allows(cache, "b", "b"));
    cr_assert_eq(permission_cache_count(cache), 2U);
    permission_cache_free(&cache);
}

Test(permission, a_small_cache_answers_as_a_large_one)
{
    struct permission_cache *small = permission_cache_new(3);
    struct permission_cache *large = permission_cache_new(0);
    struct rng rng;

    rng_init(&rng, 4);
    for (unsigned round = 0; round < 2000; round++) {
        char pattern[4] = {"^ab("[rng_below(&rng, 4)],
                           "ab.*"[rng_below(&rng, 4)],
                           "ab$)"[rng_below(&rng, 4)], '\0'};
        char name[3] = {"ab"[rng_below(&rng, 2)], "ab"[rng_below(&rng, 2)],
                        '\0'};

        cr_assert_eq(allows(small, pattern, name),
                     allows(large, pattern, name));
        cr_assert_leq(permission_cache_count(small), 3U);
    }
    permission_cache_free(&small);
    permission_cache_free(&large);
}
