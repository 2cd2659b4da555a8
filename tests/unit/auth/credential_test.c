/* The cache of verified credentials: what it knows, for how long, how much. */
#include "auth/credential.h"
#include "lib/harness.h"

static const uint8_t KEY[CREDENTIAL_KEY_SIZE] =
    "a random key of 32 bytes, so so";

static struct credential
of(const char *user, const char *password)
{
    return (struct credential){user, strlen(user), password, strlen(password)};
}

static bool
knows(struct credential_cache *cache, uint64_t now_ms, const char *user,
      const char *password)
{
    struct credential c = of(user, password);

    return credential_is_known(cache, now_ms, &c);
}

static void
remember(struct credential_cache *cache, uint64_t now_ms, const char *user,
         const char *password)
{
    struct credential c = of(user, password);

    credential_remember(cache, credential_epoch(cache), now_ms, &c);
}

Test(credential, knows_what_it_was_told_and_nothing_else)
{
    struct credential_cache *cache = credential_cache_new(KEY, 0, 0);

    cr_assert(!knows(cache, 0, "u", "p"));
    remember(cache, 0, "u", "p");
    cr_assert(knows(cache, 0, "u", "p"));
    cr_assert(!knows(cache, 0, "u", "q"));
    cr_assert(!knows(cache, 0, "u", ""));
    cr_assert(!knows(cache, 0, "v", "p"));
    cr_assert(!knows(cache, 0, "", "up"), "bytes do not move over");
    cr_assert(!knows(cache, 0, "up", ""));
    remember(cache, 0, "u", "q");
    cr_assert(knows(cache, 0, "u", "q"));
    cr_assert(!knows(cache, 0, "u", "p"), "the latest counts");
    cr_assert_eq(credential_cache_count(cache), 1U);
    credential_cache_free(&cache);
    cr_assert_null(cache);
    credential_cache_free(&cache);
}

Test(credential, forgets_after_its_time)
{
    struct credential_cache *cache = credential_cache_new(KEY, 0, 100);

    remember(cache, 1000, "u", "p");
    cr_assert(knows(cache, 1099, "u", "p"));
    cr_assert(!knows(cache, 1100, "u", "p"));
    cr_assert_eq(credential_cache_count(cache), 0U);
    remember(cache, 1100, "u", "p");
    cr_assert(knows(cache, 1150, "u", "p"));
    credential_cache_free(&cache);
}

Test(credential, forgets_a_user_that_has_changed)
{
    struct credential_cache *cache = credential_cache_new(KEY, 0, 0);

    remember(cache, 0, "u", "p");
    remember(cache, 0, "v", "p");
    credential_forget(cache, "u", 1);
    cr_assert(!knows(cache, 0, "u", "p"));
    cr_assert(knows(cache, 0, "v", "p"));
    credential_forget(cache, "nobody", 6);
    cr_assert_eq(credential_cache_count(cache), 1U);
    credential_cache_free(&cache);
}

Test(credential, ignores_a_verification_that_a_change_overtook)
{
    struct credential_cache *cache = credential_cache_new(KEY, 0, 0);
    uint64_t epoch = credential_epoch(cache);
    struct credential c = of("u", "old");

    credential_forget(cache, "u", 1); /* while the hash was computed */
    credential_remember(cache, epoch, 0, &c);
    cr_assert(!knows(cache, 0, "u", "old"));
    credential_remember(cache, credential_epoch(cache), 0, &c);
    cr_assert(knows(cache, 0, "u", "old"));
    credential_cache_free(&cache);
}

Test(credential, holds_no_more_than_its_capacity)
{
    struct credential_cache *cache = credential_cache_new(KEY, 2, 0);

    remember(cache, 0, "a", "p");
    remember(cache, 1, "b", "p");
    remember(cache, 2, "a", "p");
    remember(cache, 3, "c", "p");
    cr_assert_eq(credential_cache_count(cache), 2U);
    cr_assert(!knows(cache, 3, "b", "p"), "it was remembered first");
    cr_assert(knows(cache, 3, "a", "p"));
    cr_assert(knows(cache, 3, "c", "p"));
    credential_cache_free(&cache);
}
