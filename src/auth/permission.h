/* Permissions: may a pattern's holder touch a resource of this name?
 *
 * Patterns are Perl-compatible regular expressions over bytes and match
 * anywhere in the name, as RabbitMQ's do; the empty one grants nothing. The
 * default exchange, whose name is empty, is called "amq.default" here.
 *
 * Compiled patterns are kept in a cache of bounded size, least recently used
 * out first. One cache a shard. */
#ifndef AUTH_PERMISSION_H
#define AUTH_PERMISSION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"

struct error;
struct permission_cache;

enum {
    PERMISSION_PATTERN_SIZE_MAX = 1024, /* bytes */
    PERMISSION_CACHE_MAX = 1024,        /* patterns */
    PERMISSION_MATCH_LIMIT = 20000,     /* steps of backtracking in a match */
    PERMISSION_DEPTH_LIMIT = 1000,      /* nested ones */
    PERMISSION_HEAP_LIMIT_KIB = 256     /* memory of a match */
};

/* An empty cache of at most CAPACITY patterns; 0: PERMISSION_CACHE_MAX. */
struct permission_cache *permission_cache_new(size_t capacity);
void permission_cache_free(struct permission_cache **cache);
/* Whether PATTERN grants access to NAME. False, too, for a pattern that is
 * invalid or needs more work than the limits allow. */
bool permission_allows(struct permission_cache *cache, const char *pattern,
                       size_t pattern_size, const char *name, size_t name_size);
/* Whether PATTERN is one, for commands that set it. -QR_EFORMAT: it is not,
 * ERR says where and why; -QR_ETOOBIG. */
MUST_USE int permission_pattern_check(const char *pattern, size_t size,
                                      struct error *err);
/* Patterns in the cache. */
size_t permission_cache_count(const struct permission_cache *cache);

#endif
