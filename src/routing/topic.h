/* Topic exchanges: binding keys are patterns of words parted by dots, in which
 * `*` stands for exactly one word and `#` for any number, none included (AMQP
 * 0-9-1, 3.1.3.3). An empty key has no words; "a." has two, the second empty.
 *
 * Matching costs at most (words of the key) x (nodes that match a prefix of
 * it), however many `#` the patterns have: a set of trie nodes advances word by
 * word, each node at most once a word. Without `#` that is each node once; with
 * them, some thousand patterns can be made so that it is a second, so a match
 * has a budget. */
#ifndef ROUTING_TOPIC_H
#define ROUTING_TOPIC_H

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "routing/entry.h"

enum {
    TOPIC_KEY_SIZE_MAX = 255, /* bytes, an AMQP short string */
    TOPIC_WORDS_MAX = 256,    /* so many fit: 255 dots */
    TOPIC_NODES_MAX = 1 << 22 /* of one trie, about 100 bytes each */
};

struct topic_node;

/* A growing array of nodes. */
struct topic_set {
    struct topic_node **nodes;
    size_t count;
    size_t capacity;
};

/* A trie of words. Matching uses scratch space in it: one at a time. */
struct topic {
    struct topic_node *root;     /* NULL while empty */
    struct topic_node **buckets; /* edges to literal words, by hash */
    size_t buckets_count;        /* power of two, or 0 */
    size_t edges_count;
    size_t nodes_count;
    size_t count; /* entries */
    uint64_t id_next;
    uint64_t stamp;
    struct topic_set sets[2];
};

/* An empty trie; allocates nothing. */
void topic_init(struct topic *t);
/* Release the trie, which must be empty. */
void topic_deinit(struct topic *t);
/* Add ENTRY, which is in no table, under PATTERN of SIZE bytes, at most
 * TOPIC_KEY_SIZE_MAX. -QR_EBUSY: at TOPIC_NODES_MAX, nothing was changed. */
MUST_USE int topic_add(struct topic *t, const void *pattern, size_t size,
                       struct route_entry *entry);
/* Take ENTRY out and free the nodes that only it needed. */
void topic_remove(struct topic *t, struct route_entry *entry);
/* Call CB once for each entry whose pattern matches KEY. *BUDGET is how many
 * steps (a node, a word) that may take, and becomes what is left of it.
 * -QR_EBUSY: it was too little; CB was not called. */
MUST_USE int topic_match(struct topic *t, const void *key, size_t size,
                         size_t *budget, route_cb *cb, void *arg);

#endif
