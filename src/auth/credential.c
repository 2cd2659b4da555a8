/* A map from user to the HMAC-SHA-256 of user and password, and a list of its
 * entries in the order of their ends, which is that of their additions. */
#include "auth/credential.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

enum {
    CREDENTIAL_CACHE_MAGIC = 0x43ed0001,
    CREDENTIAL_DIGEST_SIZE = 32
};

struct credential_entry {
    struct list by_end; /* the first to end first */
    uint64_t end_ms;
    uint8_t digest[CREDENTIAL_DIGEST_SIZE];
    size_t user_size;
    char user[];
};

struct credential_cache {
    unsigned magic;
    size_t capacity;
    uint64_t life_ms;
    uint64_t epoch;
    struct strmap users;
    struct list by_end;
    uint8_t key[CREDENTIAL_KEY_SIZE];
};

struct credential_cache *
credential_cache_new(const uint8_t key[CREDENTIAL_KEY_SIZE], size_t capacity,
                     uint64_t life_ms)
{
    struct credential_cache *cache = mem_zalloc(1, sizeof(*cache));

    cache->magic = CREDENTIAL_CACHE_MAGIC;
    cache->capacity = capacity != 0 ? capacity : CREDENTIAL_CACHE_MAX;
    cache->life_ms = life_ms != 0 ? life_ms : CREDENTIAL_LIFE_MS;
    strmap_init(&cache->users);
    list_init(&cache->by_end);
    memcpy(cache->key, key, sizeof(cache->key));
    return cache;
}

static void
credential_drop(struct credential_cache *cache, struct credential_entry *e)
{
    void *was = strmap_remove(&cache->users, e->user, e->user_size);

    ASSERT(was == e);
    list_remove(&e->by_end);
    mem_wipe(e->digest, sizeof(e->digest));
    mem_free(e);
}

void
credential_cache_free(struct credential_cache **cache)
{
    struct credential_cache *c = *cache;

    if (c == NULL) {
        return;
    }
    *cache = NULL;
    OBJ_CHECK(c, CREDENTIAL_CACHE_MAGIC);
    while (!list_is_empty(&c->by_end)) {
        credential_drop(
            c, list_entry(c->by_end.next, struct credential_entry, by_end));
    }
    strmap_deinit(&c->users);
    mem_wipe(c->key, sizeof(c->key));
    c->magic = 0;
    mem_free(c);
}

/* Of: varint size of the user, user, password. */
static void
credential_digest(const struct credential_cache *cache,
                  const struct credential *credential,
                  uint8_t digest[CREDENTIAL_DIGEST_SIZE])
{
    struct buf b;
    unsigned size = 0;
    const uint8_t *done = NULL;

    buf_init(&b);
    buf_reserve(&b, VARINT_SIZE_MAX + credential->user_size +
                        credential->password_size);
    buf_put_blob(&b, credential->user, credential->user_size);
    buf_put(&b, credential->password, credential->password_size);
    done = HMAC(EVP_sha256(), cache->key, sizeof(cache->key), b.data, b.size,
                digest, &size);
    ASSERT(done != NULL);
    ASSERT(size == CREDENTIAL_DIGEST_SIZE);
    mem_wipe(b.data, b.size);
    buf_deinit(&b);
}

bool
credential_is_known(struct credential_cache *cache, uint64_t now_ms,
                    const struct credential *credential)
{
    uint8_t digest[CREDENTIAL_DIGEST_SIZE];
    struct credential_entry *e = NULL;

    OBJ_CHECK(cache, CREDENTIAL_CACHE_MAGIC);
    e = strmap_get(&cache->users, credential->user, credential->user_size);
    if (e == NULL) {
        return false;
    }
    if (now_ms >= e->end_ms) {
        credential_drop(cache, e);
        return false;
    }
    credential_digest(cache, credential, digest);
    return CRYPTO_memcmp(digest, e->digest, sizeof(digest)) == 0;
}

uint64_t
credential_epoch(const struct credential_cache *cache)
{
    OBJ_CHECK(cache, CREDENTIAL_CACHE_MAGIC);
    return cache->epoch;
}

void
credential_remember(struct credential_cache *cache, uint64_t epoch,
                    uint64_t now_ms, const struct credential *credential)
{
    struct credential_entry *e = NULL;

    OBJ_CHECK(cache, CREDENTIAL_CACHE_MAGIC);
    ASSERT(epoch <= cache->epoch);
    if (epoch != cache->epoch) {
        return;
    }
    e = strmap_get(&cache->users, credential->user, credential->user_size);
    if (e != NULL) {
        credential_drop(cache, e);
    }
    if (cache->users.count >= cache->capacity) {
        credential_drop(cache, list_entry(cache->by_end.next,
                                          struct credential_entry, by_end));
    }
    e = mem_zalloc(1, sizeof(*e) + credential->user_size);
    e->end_ms = now_ms + cache->life_ms;
    e->user_size = credential->user_size;
    memcpy(e->user, credential->user, credential->user_size);
    credential_digest(cache, credential, e->digest);
    list_push_back(&cache->by_end, &e->by_end);
    (void)strmap_put(&cache->users, e->user, e->user_size, e);
}

void
credential_forget(struct credential_cache *cache, const char *user, size_t size)
{
    struct credential_entry *e = NULL;

    OBJ_CHECK(cache, CREDENTIAL_CACHE_MAGIC);
    cache->epoch++;
    e = strmap_get(&cache->users, user, size);
    if (e != NULL) {
        credential_drop(cache, e);
    }
}

size_t
credential_cache_count(const struct credential_cache *cache)
{
    OBJ_CHECK(cache, CREDENTIAL_CACHE_MAGIC);
    return cache->users.count;
}
