/* Hash maps with linear probing.
 *
 * A slot without a value is free. Removal closes the gap by moving later
 * members of the run back, so there are no tombstones and a map that is much
 * changed stays as fast as a fresh one. Tables double at three quarters and
 * halve, while large, at one eighth; the distance between the two keeps a count
 * that hovers at a boundary from resizing each time. The hash has no seed:
 * where a member lies follows from the operations alone. */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"

enum {
    MAP_CAPACITY_MIN = 8,
    MAP_SHRINK_CAPACITY_MIN = 2048 /* smaller maps only grow */
};

struct map_slot {
    uint64_t key;
    void *value; /* NULL: free */
};

struct strmap_slot {
    uint8_t *key;
    void *value; /* NULL: free */
    uint32_t size;
    uint32_t hash;
};

/* Spread the bits of V: multiply, fold, multiply, fold. */
static uint64_t
map_mix(uint64_t v)
{
    v ^= v >> 32;
    v *= UINT64_C(0xd6e8feb86659fd93);
    v ^= v >> 32;
    v *= UINT64_C(0xd6e8feb86659fd93);
    return v ^ v >> 32;
}

/* Whether a member at slot AT, whose home is HOME, may fill the gap at GAP:
 * not when that would put it before its home. All modulo MASK + 1. */
static bool
map_may_fill(size_t gap, size_t at, size_t home, size_t mask)
{
    return ((at - home) & mask) >= ((at - gap) & mask);
}

/* The capacity for COUNT members, given the capacity now. */
static size_t
map_capacity_for(size_t count, size_t capacity)
{
    ASSERT(count <= MAP_COUNT_MAX);
    if (count > capacity / 4 * 3) {
        return MAX(capacity * 2, (size_t)MAP_CAPACITY_MIN);
    }
    if (count < capacity / 8 && capacity >= MAP_SHRINK_CAPACITY_MIN) {
        return capacity / 2;
    }
    return capacity;
}

void
map_init(struct map *m)
{
    ASSERT(m != NULL);
    memset(m, 0, sizeof(*m));
}

void
map_deinit(struct map *m)
{
    ASSERT(m != NULL);
    ASSERT(m->count <= m->capacity);
    mem_free(m->slots);
    map_init(m);
}

/* The slot of KEY, or the free slot where it belongs. */
static struct map_slot *
map_find(const struct map *m, uint64_t key)
{
    size_t mask = m->capacity - 1;
    size_t at = (size_t)map_mix(key) & mask;

    /* Ends: a quarter of the slots is free. */
    while (m->slots[at].value != NULL && m->slots[at].key != key) {
        at = (at + 1) & mask;
    }
    return &m->slots[at];
}

static void
map_resize(struct map *m, size_t capacity)
{
    struct map_slot *old = m->slots;
    size_t old_capacity = m->capacity;

    ASSERT(capacity > m->count);
    ASSERT((capacity & (capacity - 1)) == 0);
    m->slots = mem_zalloc(capacity, sizeof(*m->slots));
    m->capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].value != NULL) {
            *map_find(m, old[i].key) = old[i];
        }
    }
    mem_free(old);
}

void *
map_get(const struct map *m, uint64_t key)
{
    if (m->count == 0) {
        return NULL;
    }
    return map_find(m, key)->value;
}

void *
map_put(struct map *m, uint64_t key, void *value)
{
    struct map_slot *slot = NULL;
    void *previous = NULL;

    ASSERT(value != NULL);
    if (map_capacity_for(m->count + 1, m->capacity) > m->capacity) {
        map_resize(m, map_capacity_for(m->count + 1, m->capacity));
    }
    slot = map_find(m, key);
    previous = slot->value;
    slot->key = key;
    slot->value = value;
    if (previous == NULL) {
        m->count++;
    }
    ASSERT(m->count < m->capacity);
    return previous;
}

void *
map_remove(struct map *m, uint64_t key)
{
    struct map_slot *slot = NULL;
    void *value = NULL;
    size_t mask = m->capacity - 1;
    size_t gap = 0;

    if (m->count == 0) {
        return NULL;
    }
    slot = map_find(m, key);
    value = slot->value;
    if (value == NULL) {
        return NULL;
    }
    gap = (size_t)(slot - m->slots);
    for (size_t at = (gap + 1) & mask; m->slots[at].value != NULL;
         at = (at + 1) & mask) {
        size_t home = (size_t)map_mix(m->slots[at].key) & mask;

        if (map_may_fill(gap, at, home, mask)) {
            m->slots[gap] = m->slots[at];
            gap = at;
        }
    }
    m->slots[gap].value = NULL;
    m->count--;
    if (map_capacity_for(m->count, m->capacity) < m->capacity) {
        map_resize(m, map_capacity_for(m->count, m->capacity));
    }
    return value;
}

bool
map_next(const struct map *m, size_t *pos, uint64_t *key, void **value)
{
    ASSERT(pos != NULL);
    while (*pos < m->capacity) {
        const struct map_slot *slot = &m->slots[(*pos)++];

        if (slot->value != NULL) {
            *key = slot->key;
            /* The caller's pointer may be of any object type. */
            memcpy(value, &slot->value, sizeof(slot->value));
            return true;
        }
    }
    return false;
}

static int
map_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

uint64_t *
map_keys_sorted(const struct map *m)
{
    uint64_t *keys = mem_zalloc(m->count, sizeof(*keys));
    size_t count = 0;

    for (size_t i = 0; i < m->capacity; i++) {
        if (m->slots[i].value != NULL) {
            keys[count++] = m->slots[i].key;
        }
    }
    ASSERT(count == m->count);
    qsort(keys, count, sizeof(*keys), map_compare);
    return keys;
}

/* The hash of SIZE bytes at KEY, eight at a time. */
static uint32_t
strmap_hash(const uint8_t *key, size_t size)
{
    uint64_t hash = (uint64_t)size * UINT64_C(0x9e3779b97f4a7c15);
    uint8_t last[8] = {0};

    for (; size >= sizeof(last); size -= sizeof(last)) {
        hash = map_mix(hash ^ get_u64le(key));
        key += sizeof(last);
    }
    if (size > 0) {
        memcpy(last, key, size);
        hash = map_mix(hash ^ get_u64le(last));
    }
    return (uint32_t)(hash >> 32);
}

void
strmap_init(struct strmap *m)
{
    ASSERT(m != NULL);
    memset(m, 0, sizeof(*m));
}

void
strmap_deinit(struct strmap *m)
{
    ASSERT(m != NULL);
    ASSERT(m->count <= m->capacity);
    for (size_t i = 0; i < m->capacity; i++) {
        mem_free(m->slots[i].key);
    }
    mem_free(m->slots);
    strmap_init(m);
}

/* The slot of the SIZE bytes at KEY whose hash is HASH, or the free slot where
 * they belong. */
static struct strmap_slot *
strmap_find(const struct strmap *m, const void *key, size_t size, uint32_t hash)
{
    size_t mask = m->capacity - 1;
    size_t at = hash & mask;

    while (m->slots[at].value != NULL) {
        const struct strmap_slot *slot = &m->slots[at];

        if (slot->hash == hash && slot->size == size &&
            (size == 0 || memcmp(slot->key, key, size) == 0)) {
            break;
        }
        at = (at + 1) & mask;
    }
    return &m->slots[at];
}

static void
strmap_resize(struct strmap *m, size_t capacity)
{
    struct strmap_slot *old = m->slots;
    size_t old_capacity = m->capacity;

    ASSERT(capacity > m->count);
    ASSERT((capacity & (capacity - 1)) == 0);
    m->slots = mem_zalloc(capacity, sizeof(*m->slots));
    m->capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].value != NULL) {
            *strmap_find(m, old[i].key, old[i].size, old[i].hash) = old[i];
        }
    }
    mem_free(old);
}

void *
strmap_get(const struct strmap *m, const void *key, size_t size)
{
    ASSERT(key != NULL || size == 0);
    if (m->count == 0 || size > STRMAP_KEY_SIZE_MAX) {
        return NULL;
    }
    return strmap_find(m, key, size, strmap_hash(key, size))->value;
}

void *
strmap_put(struct strmap *m, const void *key, size_t size, void *value)
{
    uint32_t hash = 0;
    struct strmap_slot *slot = NULL;
    void *previous = NULL;

    ASSERT(value != NULL);
    ASSERT(key != NULL || size == 0);
    ASSERT(size <= STRMAP_KEY_SIZE_MAX);
    if (map_capacity_for(m->count + 1, m->capacity) > m->capacity) {
        strmap_resize(m, map_capacity_for(m->count + 1, m->capacity));
    }
    hash = strmap_hash(key, size);
    slot = strmap_find(m, key, size, hash);
    previous = slot->value;
    slot->value = value;
    if (previous == NULL) {
        slot->key = mem_dup(key, size);
        slot->size = (uint32_t)size;
        slot->hash = hash;
        m->count++;
    }
    ASSERT(m->count < m->capacity);
    return previous;
}

void *
strmap_remove(struct strmap *m, const void *key, size_t size)
{
    struct strmap_slot *slot = NULL;
    void *value = NULL;
    size_t mask = m->capacity - 1;
    size_t gap = 0;

    ASSERT(key != NULL || size == 0);
    if (m->count == 0 || size > STRMAP_KEY_SIZE_MAX) {
        return NULL;
    }
    slot = strmap_find(m, key, size, strmap_hash(key, size));
    value = slot->value;
    if (value == NULL) {
        return NULL;
    }
    mem_free(slot->key);
    gap = (size_t)(slot - m->slots);
    for (size_t at = (gap + 1) & mask; m->slots[at].value != NULL;
         at = (at + 1) & mask) {
        if (map_may_fill(gap, at, m->slots[at].hash & mask, mask)) {
            m->slots[gap] = m->slots[at];
            gap = at;
        }
    }
    memset(&m->slots[gap], 0, sizeof(m->slots[gap]));
    m->count--;
    if (map_capacity_for(m->count, m->capacity) < m->capacity) {
        strmap_resize(m, map_capacity_for(m->count, m->capacity));
    }
    return value;
}

bool
strmap_next(const struct strmap *m, size_t *pos, const uint8_t **key,
            size_t *size, void **value)
{
    ASSERT(pos != NULL);
    while (*pos < m->capacity) {
        const struct strmap_slot *slot = &m->slots[(*pos)++];

        if (slot->value != NULL) {
            *key = slot->key;
            *size = slot->size;
            memcpy(value, &slot->value, sizeof(slot->value));
            return true;
        }
    }
    return false;
}

static int
strmap_compare(const void *a, const void *b)
{
    const struct strmap_slot *x = a;
    const struct strmap_slot *y = b;
    size_t size = MIN(x->size, y->size);
    int order = size > 0 ? memcmp(x->key, y->key, size) : 0;

    return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

void **
strmap_values_sorted(const struct strmap *m)
{
    struct strmap_slot *slots = mem_zalloc(m->count, sizeof(*slots));
    void **values = mem_zalloc(m->count, sizeof(*values));
    size_t count = 0;

    for (size_t i = 0; i < m->capacity; i++) {
        if (m->slots[i].value != NULL) {
            slots[count++] = m->slots[i];
        }
    }
    ASSERT(count == m->count);
    qsort(slots, count, sizeof(*slots), strmap_compare);
    for (size_t i = 0; i < count; i++) {
        values[i] = slots[i].value;
    }
    mem_free(slots);
    return values;
}
