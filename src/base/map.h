/* Hash maps from 64-bit integers, and from byte strings, to pointers.
 *
 * Open addressing, grown at 3/4, shrunk, while large, at 1/8. Iteration order
 * depends only on the sequence of operations, never on addresses or on a
 * random seed, but machines that snapshot must sort: use map_keys_sorted().
 * Pointers stored are never NULL. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Members of one map, and bytes of one key; more stops the process. What
 * clients may create is limited, far lower, by their users. */
#define MAP_COUNT_MAX       ((size_t)1 << 32)
#define STRMAP_KEY_SIZE_MAX ((size_t)1 << 20)

struct map_slot;

/* Keys are uint64_t. */
struct map {
    struct map_slot *slots;
    size_t capacity; /* power of two, or 0 */
    size_t count;
};

/* An empty map; allocates nothing. */
void map_init(struct map *m);
void map_deinit(struct map *m); /* does not free the values */
/* The value at KEY or NULL. */
void *map_get(const struct map *m, uint64_t key);
/* Set KEY to VALUE; returns the previous value or NULL. */
void *map_put(struct map *m, uint64_t key, void *value);
/* Remove KEY; returns its value or NULL. */
void *map_remove(struct map *m, uint64_t key);
/* Iterate: start with *POS = 0; false at the end. Do not modify meanwhile. */
bool map_next(const struct map *m, size_t *pos, uint64_t *key, void **value);
/* All keys in ascending order; the caller frees the array (mem_free). */
uint64_t *map_keys_sorted(const struct map *m);

/* VALUE is a pointer to any object type. */
#define map_foreach(m, pos, key, value) \
    for ((pos) = 0; map_next((m), &(pos), &(key), (void **)&(value));)

struct strmap_slot;

/* Keys are byte strings, copied. */
struct strmap {
    struct strmap_slot *slots;
    size_t capacity;
    size_t count;
};

/* As for the functions above. KEY may be NULL when SIZE is 0. */
void strmap_init(struct strmap *m);
void strmap_deinit(struct strmap *m);
void *strmap_get(const struct strmap *m, const void *key, size_t size);
/* The key is copied; SIZE is at most STRMAP_KEY_SIZE_MAX. */
void *strmap_put(struct strmap *m, const void *key, size_t size, void *value);
void *strmap_remove(struct strmap *m, const void *key, size_t size);
/* As map_next(); *KEY is borrowed until the next change. */
bool strmap_next(const struct strmap *m, size_t *pos, const uint8_t **key,
                 size_t *size, void **value);
/* All values in ascending byte order of their keys; the caller frees. */
void **strmap_values_sorted(const struct strmap *m);

#endif
