/* A hash map from key to the list of entries that have it. The list's head
 * carries the key, so that removing an entry needs no copy of it, and lives
 * only as long as there are entries. */
#include "routing/direct.h"

#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum {
    DIRECT_KEY_MAGIC = 0x3d17ec70
};

struct direct_key {
    unsigned magic;
    uint32_t size;
    struct list entries;
    uint8_t bytes[];
};

static struct direct_key *
direct_key_new(const void *key, size_t size)
{
    struct direct_key *k = mem_alloc(sizeof(*k) + size);

    k->magic = DIRECT_KEY_MAGIC;
    k->size = (uint32_t)size;
    list_init(&k->entries);
    if (size > 0) {
        memcpy(k->bytes, key, size);
    }
    return k;
}

void
direct_init(struct direct *d)
{
    ASSERT(d != NULL);
    strmap_init(&d->keys);
    d->count = 0;
}

void
direct_deinit(struct direct *d)
{
    ASSERT(d->count == 0);
    ASSERT(d->keys.count == 0);
    strmap_deinit(&d->keys);
}

void
direct_add(struct direct *d, const void *key, size_t size,
           struct route_entry *entry)
{
    struct direct_key *k = NULL;

    ASSERT(size <= DIRECT_KEY_SIZE_MAX);
    ASSERT(entry != NULL);
    k = strmap_get(&d->keys, key, size);
    if (k == NULL) {
        k = direct_key_new(key, size);
        (void)strmap_put(&d->keys, key, size, k);
    }
    entry->home = k;
    list_push_back(&k->entries, &entry->link);
    d->count++;
}

void
direct_remove(struct direct *d, struct route_entry *entry)
{
    struct direct_key *k = entry->home;
    void *was = NULL;

    OBJ_CHECK(k, DIRECT_KEY_MAGIC);
    ASSERT(d->count > 0);
    list_remove(&entry->link);
    entry->home = NULL;
    d->count--;
    if (!list_is_empty(&k->entries)) {
        return;
    }
    was = strmap_remove(&d->keys, k->bytes, k->size);
    ASSERT(was == k);
    k->magic = 0;
    mem_free(k);
}

void
direct_match(const struct direct *d, const void *key, size_t size, route_cb *cb,
             void *arg)
{
    struct direct_key *k = NULL;
    struct list *it = NULL;

    ASSERT(cb != NULL);
    k = strmap_get(&d->keys, key, size);
    if (k == NULL) {
        return;
    }
    ASSERT(k->magic == DIRECT_KEY_MAGIC);
    list_foreach (it, &k->entries) {
        cb(arg, list_entry(it, struct route_entry, link));
    }
}
