/* The topic trie against the definition, and against its own worst cases. */
#include <quorate/error.h>

#include "base/mem.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "routing/topic.h"

enum {
    ENTRIES = 100,
    PATTERN_SIZE = 64
};

struct item {
    struct route_entry entry;
    char pattern[PATTERN_SIZE];
    bool is_in;
    unsigned seen;
};

static void
hit(void *arg, struct route_entry *entry)
{
    struct item *item = CONTAINER_OF(entry, struct item, entry);
    size_t *hits = arg;

    item->seen++;
    *hits += 1;
}

static void
match(struct topic *t, const void *key, size_t size, size_t *hits)
{
    size_t budget = SIZE_MAX;

    cr_assert_eq(topic_match(t, key, size, &budget, hit, hits), 0);
}

/* Does PATTERN, added alone, match KEY? */
static bool
matches(const char *pattern, const char *key)
{
    struct topic t;
    struct item item = {.is_in = true};
    size_t hits = 0;

    topic_init(&t);
    cr_assert_eq(topic_add(&t, pattern, strlen(pattern), &item.entry), 0);
    match(&t, key, strlen(key), &hits);
    cr_assert_leq(hits, 1U);
    topic_remove(&t, &item.entry);
    cr_assert_eq(t.nodes_count, 0U);
    topic_deinit(&t);
    return hits == 1;
}

Test(topic, a_star_is_exactly_one_word)
{
    cr_assert(matches("*", "a"));
    cr_assert(matches("*.b", "a.b"));
    cr_assert(matches("a.*.c", "a.b.c"));
    cr_assert(matches("*", "*"));
    cr_assert(!matches("*", ""));
    cr_assert(!matches("*", "a.b"));
    cr_assert(!matches("a.*", "a"));
    cr_assert(matches("a.*", "a."), "an empty word is a word");
}

Test(topic, a_hash_is_any_number_of_words)
{
    cr_assert(matches("#", ""));
    cr_assert(matches("#", "a"));
    cr_assert(matches("#", "a.b.c"));
    cr_assert(matches("a.#", "a"));
    cr_assert(matches("a.#", "a.b.c"));
    cr_assert(matches("#.c", "c"));
    cr_assert(matches("#.c", "a.b.c"));
    cr_assert(matches("a.#.c", "a.c"));
    cr_assert(matches("a.#.c", "a.b.c.c"));
    cr_assert(matches("#.#", ""));
    cr_assert(matches("#.*", "a.b"));
    cr_assert(!matches("#.*", ""));
    cr_assert(!matches("a.#", "b"));
    cr_assert(!matches("a.#.c", "a.c.b"));
}

Test(topic, a_wildcard_within_a_word_is_no_wildcard)
{
    cr_assert(matches("a*", "a*"));
    cr_assert(!matches("a*", "ab"));
    cr_assert(!matches("#a", "ba"));
    cr_assert(!matches("**", "a"));
}

Test(topic, words_may_be_empty)
{
    cr_assert(matches("", ""));
    cr_assert(matches(".", "."));
    cr_assert(matches("a..b", "a..b"));
    cr_assert(matches("*.*", "."));
    cr_assert(!matches("", "a"));
    cr_assert(!matches(".", ""));
    cr_assert(!matches("a.b", "a..b"));
}

Test(topic, a_word_may_fill_the_key)
{
    char key[TOPIC_KEY_SIZE_MAX];
    struct topic t;
    struct item item = {.is_in = true};
    size_t hits = 0;

    memset(key, 'x', sizeof(key));
    topic_init(&t);
    cr_assert_eq(topic_add(&t, key, sizeof(key), &item.entry), 0);
    match(&t, key, sizeof(key), &hits);
    cr_assert_eq(hits, 1U);
    match(&t, key, sizeof(key) - 1, &hits);
    cr_assert_eq(hits, 1U);
    topic_remove(&t, &item.entry);
    topic_deinit(&t);
}

Test(topic, a_pattern_of_256_bytes_is_a_bug, .signal = SIGABRT)
{
    char key[TOPIC_KEY_SIZE_MAX + 1];
    struct topic t;
    struct item item = {.is_in = true};

    memset(key, 'x', sizeof(key));
    topic_init(&t);
    cr_assert_neq(topic_add(&t, key, sizeof(key), &item.entry), 0);
}

Test(topic, a_match_has_a_budget)
{
    static const char *const patterns[] = {"#.a", "*.a", "b.#"};
    struct topic t;
    struct item items[3] = {{.is_in = true}};
    size_t hits = 0;
    size_t budget = 0;
    size_t needed = 0;

    topic_init(&t);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(topic_add(&t, patterns[i], 3, &items[i].entry), 0);
    }
    budget = 100;
    cr_assert_eq(topic_match(&t, "b.a", 3, &budget, hit, &hits), 0);
    cr_assert_eq(hits, 3U);
    needed = 100 - budget;
    /* The root and `#`; then `#`, `*`, `b` and its `#`. */
    cr_assert_eq(needed, 6U);
    budget = needed;
    cr_assert_eq(topic_match(&t, "b.a", 3, &budget, hit, &hits), 0);
    cr_assert_eq(hits, 6U);
    cr_assert_eq(budget, 0U);
    budget = needed - 1;
    cr_assert_eq(topic_match(&t, "b.a", 3, &budget, hit, &hits), -QR_EBUSY);
    cr_assert_eq(hits, 6U, "nothing of it was reported");
    cr_assert_eq(budget, 0U);
    for (size_t i = 0; i < 3; i++) {
        topic_remove(&t, &items[i].entry);
    }
    topic_deinit(&t);
}

Test(topic, the_same_pattern_twice_is_two_entries)
{
    struct topic t;
    struct item a = {.is_in = true};
    struct item b = {.is_in = true};
    size_t hits = 0;

    topic_init(&t);
    cr_assert_eq(topic_add(&t, "a.#", 3, &a.entry), 0);
    cr_assert_eq(topic_add(&t, "a.#", 3, &b.entry), 0);
    match(&t, "a.b", 3, &hits);
    cr_assert_eq(hits, 2U);
    cr_assert_eq(a.seen, 1U);
    topic_remove(&t, &a.entry);
    match(&t, "a", 1, &hits);
    cr_assert_eq(b.seen, 2U);
    cr_assert_eq(a.seen, 1U);
    topic_remove(&t, &b.entry);
    topic_deinit(&t);
}

Test(topic, is_full_at_its_nodes)
{
    struct topic t;
    struct item item = {.is_in = true};

    topic_init(&t);
    t.nodes_count = TOPIC_NODES_MAX - TOPIC_WORDS_MAX;
    cr_assert_eq(topic_add(&t, "a", 1, &item.entry), -QR_EBUSY);
    cr_assert_null(t.root);
    t.nodes_count = TOPIC_NODES_MAX - TOPIC_WORDS_MAX - 1;
    cr_assert_eq(topic_add(&t, "a", 1, &item.entry), 0);
    topic_remove(&t, &item.entry);
    t.nodes_count = 0;
    topic_deinit(&t);
}

/* The definition, word by word; DEPTH bounds the recursion. */
static bool
naive(char *const *pattern, char *const *key, int depth)
{
    cr_assert_gt(depth, 0);
    if (*pattern == NULL) {
        return *key == NULL;
    }
    if (strcmp(*pattern, "#") == 0) {
        return naive(pattern + 1, key, depth - 1) ||
               (*key != NULL && naive(pattern, key + 1, depth - 1));
    }
    if (*key == NULL) {
        return false;
    }
    return (strcmp(*pattern, "*") == 0 || strcmp(*pattern, *key) == 0) &&
           naive(pattern + 1, key + 1, depth - 1);
}

/* Split TEXT, which is changed, at its dots. */
static void
split(char *text, char **words, size_t words_max)
{
    size_t count = 0;

    if (*text == '\0') {
        words[0] = NULL;
        return;
    }
    words[count++] = text;
    for (; *text != '\0'; text++) {
        if (*text == '.') {
            *text = '\0';
            cr_assert_lt(count + 1, words_max);
            words[count++] = text + 1;
        }
    }
    words[count] = NULL;
}

static bool
naive_matches(const char *pattern, const char *key)
{
    char p[PATTERN_SIZE];
    char k[PATTERN_SIZE];
    char *pattern_words[PATTERN_SIZE];
    char *key_words[PATTERN_SIZE];

    (void)snprintf(p, sizeof(p), "%s", pattern);
    (void)snprintf(k, sizeof(k), "%s", key);
    split(p, pattern_words, PATTERN_SIZE);
    split(k, key_words, PATTERN_SIZE);
    return naive(pattern_words, key_words, 2 * PATTERN_SIZE);
}

/* Up to seven words, of few letters so that much matches. */
static void
random_key(struct rng *rng, char *text, const char *const *words,
           size_t words_count)
{
    size_t count = (size_t)rng_below(rng, 8);

    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(text);

        (void)snprintf(text + used, PATTERN_SIZE - used, "%s%s",
                       i > 0 ? "." : "",
                       words[(size_t)rng_below(rng, words_count)]);
    }
}

Test(topic, agrees_with_the_definition_on_random_patterns)
{
    static const char *const in_patterns[] = {"#", "#",  "*", "a",
                                              "b", "cc", ""};
    static const char *const in_keys[] = {"a", "b", "cc", "", "d", "*"};
    static struct item items[ENTRIES];
    struct topic t;
    struct rng rng;

    rng_init(&rng, 23);
    topic_init(&t);
    for (unsigned step = 0; step < 20000; step++) {
        struct item *item = &items[rng_below(&rng, ENTRIES)];
        char key[PATTERN_SIZE];
        size_t hits = 0;

        if (item->is_in) {
            topic_remove(&t, &item->entry);
        } else {
            random_key(&rng, item->pattern, in_patterns, 7);
            cr_assert_eq(topic_add(&t, item->pattern, strlen(item->pattern),
                                   &item->entry),
                         0);
        }
        item->is_in = !item->is_in;
        random_key(&rng, key, in_keys, 6);
        match(&t, key, strlen(key), &hits);
        for (size_t i = 0; i < ENTRIES; i++) {
            bool expected =
                items[i].is_in && naive_matches(items[i].pattern, key);

            cr_assert_eq(items[i].seen, expected ? 1U : 0U,
                         "step %u pattern '%s' key '%s'", step,
                         items[i].pattern, key);
            items[i].seen = 0;
        }
    }
    for (size_t i = 0; i < ENTRIES; i++) {
        if (items[i].is_in) {
            topic_remove(&t, &items[i].entry);
        }
    }
    cr_assert_eq(t.nodes_count, 0U);
    cr_assert_eq(t.edges_count, 0U);
    topic_deinit(&t);
}

/* A matcher that backtracks would not end within the life of the test. */
Test(topic, rows_of_hashes_cost_no_more_than_their_nodes)
{
    char pattern[TOPIC_KEY_SIZE_MAX + 1];
    char key[TOPIC_KEY_SIZE_MAX + 1] = "";
    static struct item items[128];
    struct topic t;
    size_t hits = 0;

    topic_init(&t);
    /* "#", "#.a", "#.a.#", ... */
    for (size_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] = "#.a."[i % 4];
    }
    for (size_t i = 0; i < 127; i++) {
        cr_assert_eq(topic_add(&t, pattern, 2 * i + 1, &items[i].entry), 0);
    }
    memset(key, '.', TOPIC_KEY_SIZE_MAX);
    for (size_t i = 0; i < TOPIC_KEY_SIZE_MAX; i += 2) {
        key[i] = 'a';
    }
    for (size_t round = 0; round < 1000; round++) {
        hits = 0;
        match(&t, key, strlen(key), &hits);
    }
    cr_assert_eq(hits, 127U);
    for (size_t i = 0; i < 127; i++) {
        topic_remove(&t, &items[i].entry);
    }
    topic_deinit(&t);
}

Test(topic, a_hundred_thousand_patterns_come_and_go)
{
    struct topic t;
    struct item *items = mem_zalloc(100000, sizeof(*items));
    size_t hits = 0;
    char pattern[PATTERN_SIZE];

    topic_init(&t);
    for (unsigned i = 0; i < 100000; i++) {
        (void)snprintf(pattern, sizeof(pattern), "device.%u.*.%u", i / 100,
                       i % 100);
        cr_assert_eq(topic_add(&t, pattern, strlen(pattern), &items[i].entry),
                     0);
    }
    match(&t, "device.77.x.13", 14, &hits);
    cr_assert_eq(hits, 1U);
    cr_assert_eq(items[7713].seen, 1U);
    for (unsigned i = 0; i < 100000; i++) {
        topic_remove(&t, &items[i].entry);
    }
    cr_assert_eq(t.nodes_count, 0U);
    topic_deinit(&t);
    mem_free(items);
}
