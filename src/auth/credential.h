/* Passwords that were right a moment ago, so that a storm of reconnecting
 * clients does not cost a slow hash each.
 *
 * The cache holds, per user, a digest of the password under a random key of
 * this process, for a limited time. It holds neither passwords nor anything
 * that another process could test guesses with. One cache a shard; the users'
 * changes must be told to it. */
#ifndef AUTH_CREDENTIAL_H
#define AUTH_CREDENTIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct credential_cache;

enum {
    CREDENTIAL_KEY_SIZE = 32,
    CREDENTIAL_CACHE_MAX = 10000, /* users; least recently added out first */
    CREDENTIAL_LIFE_MS = 300000
};

/* What a client presented; borrowed. */
struct credential {
    const char *user;
    size_t user_size;
    const char *password;
    size_t password_size;
};

/* KEY is random. CAPACITY 0: CREDENTIAL_CACHE_MAX; LIFE_MS 0:
 * CREDENTIAL_LIFE_MS. */
struct credential_cache *
credential_cache_new(const uint8_t key[CREDENTIAL_KEY_SIZE], size_t capacity,
                     uint64_t life_ms);
/* Wipes what it held. */
void credential_cache_free(struct credential_cache **cache);
/* Whether CREDENTIAL was remembered less than the cache's life before NOW_MS
 * (monotonic) and its user has not changed since. */
bool credential_is_known(struct credential_cache *cache, uint64_t now_ms,
                         const struct credential *credential);
/* The cache's epoch, which each credential_forget() advances: take it when a
 * verification starts and give it to credential_remember(). */
uint64_t credential_epoch(const struct credential_cache *cache);
/* CREDENTIAL was verified. Ignored if any user has changed since EPOCH: then
 * the verification may have been of what no longer holds. */
void credential_remember(struct credential_cache *cache, uint64_t epoch,
                         uint64_t now_ms, const struct credential *credential);
/* USER has changed or is gone. */
void credential_forget(struct credential_cache *cache, const char *user,
                       size_t size);
/* Users in the cache, those whose time has passed included. */
size_t credential_cache_count(const struct credential_cache *cache);

#endif
