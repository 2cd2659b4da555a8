/* The trie of a topic exchange.
 *
 * A node is a prefix of patterns. Its `*` and `#` children hang on it; its
 * literal children are found in one hash table of the whole trie by (parent,
 * word), so that a node with one child costs no table of its own.
 *
 * Matching runs the trie as a nondeterministic automaton. The set of nodes
 * that the words so far may have led to starts with the root; each word moves
 * every node of the set to its child of that word and to its `*` child, and
 * leaves a `#` node where it is. Whenever a node enters the set its `#` child
 * enters with it, for `#` may stand for nothing. A stamp in the node keeps a
 * set free of duplicates: this is what bounds the work on patterns such as
 * "#.#.#.#", and what lets each entry be reported once. */
#include "routing/topic.h"

#include <quorate/error.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

enum {
    TOPIC_NODE_MAGIC = 0x701c0de5,
    TOPIC_BUCKETS_MIN = 8,
    TOPIC_SET_MIN = 16
};

enum topic_kind {
    TOPIC_ROOT,
    TOPIC_WORD,
    TOPIC_STAR,
    TOPIC_HASH
};

struct topic_node {
    unsigned magic;
    uint8_t kind; /* enum topic_kind */
    uint8_t size;
    struct topic_node *parent;
    struct topic_node *star;
    struct topic_node *hash;
    struct topic_node *chain; /* in its bucket */
    struct list entries;
    uint64_t id;    /* of this node, for its children's edges */
    uint64_t edge;  /* hash of (parent, word) */
    uint64_t stamp; /* of the set that it entered last */
    uint32_t children;
    uint32_t words; /* literal ones among them */
    uint8_t word[];
};

/* One word of a key or of a pattern, and the way to the next. */
struct topic_word {
    const uint8_t *at;
    size_t size;
    const uint8_t *rest; /* where the next one starts; NULL: no more */
    const uint8_t *end;
};

static void
topic_words_start(struct topic_word *w, const void *key, size_t size)
{
    ASSERT(size <= TOPIC_KEY_SIZE_MAX);
    w->at = NULL;
    w->size = 0;
    w->rest = size > 0 ? key : NULL;
    w->end = size > 0 ? w->rest + size : NULL;
}

static bool
topic_words_next(struct topic_word *w)
{
    const uint8_t *dot = NULL;

    if (w->rest == NULL) {
        return false;
    }
    w->at = w->rest;
    if (w->at < w->end) {
        dot = memchr(w->at, '.', (size_t)(w->end - w->at));
    }
    w->size = (size_t)((dot != NULL ? dot : w->end) - w->at);
    w->rest = dot != NULL ? dot + 1 : NULL;
    return true;
}

static enum topic_kind
topic_word_kind(const struct topic_word *w)
{
    if (w->size == 1 && w->at[0] == '*') {
        return TOPIC_STAR;
    }
    if (w->size == 1 && w->at[0] == '#') {
        return TOPIC_HASH;
    }
    return TOPIC_WORD;
}

/* FNV-1a; the edge's hash mixes it well with the parent's id. */
static uint64_t
topic_word_hash(const struct topic_word *w)
{
    uint64_t h = 0xcbf29ce484222325U;

    for (size_t i = 0; i < w->size; i++) {
        h = (h ^ w->at[i]) * 0x100000001b3U;
    }
    return h;
}

static uint64_t
topic_edge_hash(uint64_t parent_id, uint64_t word_hash)
{
    uint64_t h = word_hash ^ (parent_id * 0x9e3779b97f4a7c15U);

    h = (h ^ (h >> 32)) * 0xd6e8feb86659fd93U;
    return h ^ (h >> 32);
}

static struct topic_node *
topic_node_new(struct topic *t, struct topic_node *parent,
               const struct topic_word *w)
{
    size_t size = w != NULL ? w->size : 0;
    struct topic_node *n = mem_zalloc(1, sizeof(*n) + size);

    n->magic = TOPIC_NODE_MAGIC;
    n->kind = (uint8_t)(w != NULL ? topic_word_kind(w) : TOPIC_ROOT);
    n->size = (uint8_t)size;
    n->parent = parent;
    n->id = t->id_next++;
    list_init(&n->entries);
    if (size > 0) {
        memcpy(n->word, w->at, size);
    }
    t->nodes_count++;
    return n;
}

static struct topic_node *
topic_edge_find(const struct topic *t, const struct topic_node *parent,
                const struct topic_word *w, uint64_t word_hash)
{
    uint64_t edge = 0;
    struct topic_node *n = NULL;

    if (parent->words == 0) {
        return NULL;
    }
    edge = topic_edge_hash(parent->id, word_hash);
    n = t->buckets[edge & (t->buckets_count - 1)];
    for (; n != NULL; n = n->chain) {
        if (n->edge == edge && n->parent == parent && n->size == w->size &&
            memcmp(n->word, w->at, w->size) == 0) {
            return n;
        }
    }
    return NULL;
}

static void
topic_edges_resize(struct topic *t, size_t buckets_count)
{
    struct topic_node **old = t->buckets;
    struct topic_node *n = NULL;
    struct topic_node *next = NULL;
    size_t at = 0;

    ASSERT((buckets_count & (buckets_count - 1)) == 0);
    t->buckets = mem_zalloc(buckets_count, sizeof(struct topic_node *));
    for (size_t i = 0; i < t->buckets_count; i++) {
        for (n = old[i]; n != NULL; n = next) {
            next = n->chain;
            at = n->edge & (buckets_count - 1);
            n->chain = t->buckets[at];
            t->buckets[at] = n;
        }
    }
    t->buckets_count = buckets_count;
    mem_free(old);
}

static void
topic_edge_put(struct topic *t, struct topic_node *n, uint64_t word_hash)
{
    size_t at = 0;

    ASSERT(n->kind == TOPIC_WORD);
    if (t->edges_count >= t->buckets_count) {
        topic_edges_resize(
            t, MAX((size_t)TOPIC_BUCKETS_MIN, t->buckets_count * 2));
    }
    n->edge = topic_edge_hash(n->parent->id, word_hash);
    at = n->edge & (t->buckets_count - 1);
    n->chain = t->buckets[at];
    t->buckets[at] = n;
    n->parent->words++;
    t->edges_count++;
}

static void
topic_edge_remove(struct topic *t, struct topic_node *n)
{
    struct topic_node **at = &t->buckets[n->edge & (t->buckets_count - 1)];

    while (*at != n) {
        ASSERT(*at != NULL);
        at = &(*at)->chain;
    }
    *at = n->chain;
    n->parent->words--;
    t->edges_count--;
}

/* The child of PARENT that W leads to, or NULL. */
static struct topic_node *
topic_child(const struct topic *t, const struct topic_node *parent,
            const struct topic_word *w)
{
    switch (topic_word_kind(w)) {
    case TOPIC_STAR:
        return parent->star;
    case TOPIC_HASH:
        return parent->hash;
    case TOPIC_WORD:
    case TOPIC_ROOT:
        break;
    }
    return topic_edge_find(t, parent, w, topic_word_hash(w));
}

static struct topic_node *
topic_child_new(struct topic *t, struct topic_node *parent,
                const struct topic_word *w)
{
    struct topic_node *n = topic_node_new(t, parent, w);

    parent->children++;
    if (n->kind == TOPIC_STAR) {
        parent->star = n;
    } else if (n->kind == TOPIC_HASH) {
        parent->hash = n;
    } else {
        topic_edge_put(t, n, topic_word_hash(w));
    }
    return n;
}

/* Free N, which has neither entries nor children. */
static void
topic_node_drop(struct topic *t, struct topic_node *n)
{
    struct topic_node *parent = n->parent;

    ASSERT(list_is_empty(&n->entries));
    ASSERT(n->children == 0);
    if (parent == NULL) {
        t->root = NULL;
    } else {
        parent->children--;
        if (n->kind == TOPIC_STAR) {
            parent->star = NULL;
        } else if (n->kind == TOPIC_HASH) {
            parent->hash = NULL;
        } else {
            topic_edge_remove(t, n);
        }
    }
    t->nodes_count--;
    n->magic = 0;
    mem_free(n);
}

/* Let N enter SET, and with it what `#` standing for nothing leads to. */
static void
topic_set_enter(struct topic *t, struct topic_set *set, struct topic_node *n)
{
    for (; n != NULL && n->stamp != t->stamp; n = n->hash) {
        ASSERT(n->magic == TOPIC_NODE_MAGIC);
        n->stamp = t->stamp;
        if (UNLIKELY(set->count == set->capacity)) {
            set->capacity = MAX((size_t)TOPIC_SET_MIN, set->capacity * 2);
            set->nodes =
                mem_realloc(set->nodes, set->capacity * sizeof(set->nodes[0]));
        }
        set->nodes[set->count++] = n;
    }
}

/* Replace TO by where word W takes the nodes of FROM. */
static void
topic_set_advance(struct topic *t, const struct topic_set *from,
                  struct topic_set *to, const struct topic_word *w)
{
    uint64_t word_hash = topic_word_hash(w);
    struct topic_node *n = NULL;

    t->stamp++;
    to->count = 0;
    for (size_t i = 0; i < from->count; i++) {
        n = from->nodes[i];
        if (n->kind == TOPIC_HASH) {
            topic_set_enter(t, to, n);
        }
        topic_set_enter(t, to, n->star);
        topic_set_enter(t, to, topic_edge_find(t, n, w, word_hash));
    }
}

void
topic_init(struct topic *t)
{
    ASSERT(t != NULL);
    memset(t, 0, sizeof(*t));
}

void
topic_deinit(struct topic *t)
{
    ASSERT(t->count == 0);
    ASSERT(t->nodes_count == 0);
    mem_free(t->buckets);
    mem_free(t->sets[0].nodes);
    mem_free(t->sets[1].nodes);
    memset(t, 0, sizeof(*t));
}

int
topic_add(struct topic *t, const void *pattern, size_t size,
          struct route_entry *entry)
{
    struct topic_word w;
    struct topic_node *n = NULL;
    struct topic_node *child = NULL;

    ASSERT(entry != NULL);
    ASSERT(size <= TOPIC_KEY_SIZE_MAX);
    /* Counted with the most that it can need, so that there is no way back
     * from the middle. */
    if (t->nodes_count + TOPIC_WORDS_MAX + 1 > TOPIC_NODES_MAX) {
        return -QR_EBUSY;
    }
    if (t->root == NULL) {
        t->root = topic_node_new(t, NULL, NULL);
    }
    n = t->root;
    topic_words_start(&w, pattern, size);
    while (topic_words_next(&w)) {
        child = topic_child(t, n, &w);
        n = child != NULL ? child : topic_child_new(t, n, &w);
    }
    entry->home = n;
    list_push_back(&n->entries, &entry->link);
    t->count++;
    return 0;
}

void
topic_remove(struct topic *t, struct route_entry *entry)
{
    struct topic_node *n = entry->home;
    struct topic_node *parent = NULL;

    OBJ_CHECK(n, TOPIC_NODE_MAGIC);
    ASSERT(t->count > 0);
    list_remove(&entry->link);
    entry->home = NULL;
    t->count--;
    while (n != NULL && list_is_empty(&n->entries) && n->children == 0) {
        parent = n->parent;
        topic_node_drop(t, n);
        n = parent;
    }
}

int
topic_match(struct topic *t, const void *key, size_t size, size_t *budget,
            route_cb *cb, void *arg)
{
    struct topic_word w;
    struct topic_set *set = &t->sets[0];
    struct topic_set *other = &t->sets[1];
    struct topic_set *swap = NULL;
    struct list *it = NULL;

    ASSERT(cb != NULL);
    if (t->root == NULL) {
        return 0;
    }
    t->stamp++;
    set->count = 0;
    topic_set_enter(t, set, t->root);
    topic_words_start(&w, key, size);
    while (set->count > 0 && topic_words_next(&w)) {
        if (set->count > *budget) {
            *budget = 0;
            return -QR_EBUSY;
        }
        *budget -= set->count;
        topic_set_advance(t, set, other, &w);
        swap = set;
        set = other;
        other = swap;
    }
    for (size_t i = 0; i < set->count; i++) {
        list_foreach (it, &set->nodes[i]->entries) {
            cb(arg, list_entry(it, struct route_entry, link));
        }
    }
    return 0;
}
