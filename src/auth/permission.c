/* A cache of compiled patterns. What cannot be compiled is kept too, so that
 * it is not tried again at each publish; it matches nothing.
 *
 * Time is bounded by PCRE2's own limits on backtracking, depth and heap: a
 * pattern such as "(a+)+$" fails to match, which denies, instead of taking
 * the shard's turn. Just-in-time compilation is left out: it would take as
 * long as many thousand matches, and its limits count otherwise. */
#include "auth/permission.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <quorate/error.h>
#include <string.h>

#include "base/error.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

enum {
    PERMISSION_CACHE_MAGIC = 0x1e3a1551,
    PERMISSION_ERROR_SIZE = 128
};

struct permission_pattern {
    struct list by_use; /* most recent first */
    pcre2_code *code;   /* NULL: no valid pattern */
    size_t size;
    char text[];
};

struct permission_cache {
    unsigned magic;
    size_t capacity;
    struct strmap patterns;
    struct list by_use;
    pcre2_match_context *limits;
    pcre2_match_data *scratch;
};

/* The compiled PATTERN, or NULL: then *CODE and *OFFSET say why not. */
static pcre2_code *
permission_compile(const char *pattern, size_t size, int *code, size_t *offset)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    pcre2_code *compiled = NULL;

    ASSERT(context != NULL);
    /* As Erlang's: bytes, and lines that end in LF. */
    (void)pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    compiled = pcre2_compile((PCRE2_SPTR)pattern, size,
                             PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C, code,
                             offset, context);
    pcre2_compile_context_free(context);
    return compiled;
}

struct permission_cache *
permission_cache_new(size_t capacity)
{
    struct permission_cache *cache = mem_zalloc(1, sizeof(*cache));

    cache->magic = PERMISSION_CACHE_MAGIC;
    cache->capacity = capacity != 0 ? capacity : PERMISSION_CACHE_MAX;
    strmap_init(&cache->patterns);
    list_init(&cache->by_use);
    cache->limits = pcre2_match_context_create(NULL);
    ASSERT(cache->limits != NULL);
    (void)pcre2_set_match_limit(cache->limits, PERMISSION_MATCH_LIMIT);
    (void)pcre2_set_depth_limit(cache->limits, PERMISSION_DEPTH_LIMIT);
    (void)pcre2_set_heap_limit(cache->limits, PERMISSION_HEAP_LIMIT_KIB);
    cache->scratch = pcre2_match_data_create(1, NULL);
    ASSERT(cache->scratch != NULL);
    return cache;
}

static void
permission_drop(struct permission_cache *cache, struct permission_pattern *p)
{
    void *was = strmap_remove(&cache->patterns, p->text, p->size);

    ASSERT(was == p);
    list_remove(&p->by_use);
    pcre2_code_free(p->code);
    mem_free(p);
}

void
permission_cache_free(struct permission_cache **cache)
{
    struct permission_cache *c = *cache;

    if (c == NULL) {
        return;
    }
    *cache = NULL;
    OBJ_CHECK(c, PERMISSION_CACHE_MAGIC);
    while (!list_is_empty(&c->by_use)) {
        permission_drop(
            c, list_entry(c->by_use.next, struct permission_pattern, by_use));
    }
    strmap_deinit(&c->patterns);
    pcre2_match_context_free(c->limits);
    pcre2_match_data_free(c->scratch);
    c->magic = 0;
    mem_free(c);
}

/* PATTERN out of the cache, or compiled into it. */
static struct permission_pattern *
permission_get(struct permission_cache *cache, const char *pattern, size_t size)
{
    struct permission_pattern *p = strmap_get(&cache->patterns, pattern, size);
    int code = 0;
    size_t offset = 0;

    if (p != NULL) {
        list_remove(&p->by_use);
        list_push_front(&cache->by_use, &p->by_use);
        return p;
    }
    if (cache->patterns.count >= cache->capacity) {
        permission_drop(cache, list_entry(cache->by_use.prev,
                                          struct permission_pattern, by_use));
    }
    p = mem_zalloc(1, sizeof(*p) + size);
    p->size = size;
    memcpy(p->text, pattern, size);
    p->code = permission_compile(pattern, size, &code, &offset);
    list_push_front(&cache->by_use, &p->by_use);
    (void)strmap_put(&cache->patterns, pattern, size, p);
    return p;
}

bool
permission_allows(struct permission_cache *cache, const char *pattern,
                  size_t pattern_size, const char *name, size_t name_size)
{
    static const char default_name[] = "amq.default";
    const struct permission_pattern *p = NULL;

    OBJ_CHECK(cache, PERMISSION_CACHE_MAGIC);
    if (pattern_size == 0 || pattern_size > PERMISSION_PATTERN_SIZE_MAX) {
        return false;
    }
    if (name_size == 0) {
        name = default_name;
        name_size = sizeof(default_name) - 1;
    }
    p = permission_get(cache, pattern, pattern_size);
    /* Negative: no match, or a limit. 0: a match, and no room to say where. */
    return p->code != NULL &&
           pcre2_match(p->code, (PCRE2_SPTR)name, name_size, 0, 0,
                       cache->scratch, cache->limits) >= 0;
}

int
permission_pattern_check(const char *pattern, size_t size, struct error *err)
{
    uint8_t text[PERMISSION_ERROR_SIZE];
    pcre2_code *compiled = NULL;
    int code = 0;
    size_t offset = 0;

    if (size > PERMISSION_PATTERN_SIZE_MAX) {
        return error_set(err, QR_ETOOBIG,
                         "the pattern has %zu bytes, %d are allowed", size,
                         PERMISSION_PATTERN_SIZE_MAX);
    }
    compiled = permission_compile(pattern, size, &code, &offset);
    if (compiled != NULL) {
        pcre2_code_free(compiled);
        return 0;
    }
    (void)pcre2_get_error_message(code, text, sizeof(text));
    return error_set(err, QR_EFORMAT,
                     "'%.*s' is not a regular expression: %s, at byte %zu",
                     (int)MIN(size, (size_t)PERMISSION_ERROR_SIZE), pattern,
                     (const char *)text, offset);
}

size_t
permission_cache_count(const struct permission_cache *cache)
{
    OBJ_CHECK(cache, PERMISSION_CACHE_MAGIC);
    return cache->patterns.count;
}
