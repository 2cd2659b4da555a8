/* Direct exchanges: a routing key reaches the bindings whose key is equal to
 * it, byte for byte (AMQP 0-9-1, 3.1.3.1). */
#ifndef ROUTING_DIRECT_H
#define ROUTING_DIRECT_H

#include <stddef.h>

#include "base/map.h"
#include "routing/entry.h"

enum {
    DIRECT_KEY_SIZE_MAX = 255 /* bytes, an AMQP short string */
};

/* From keys to lists of entries. */
struct direct {
    struct strmap keys;
    size_t count; /* entries */
};

/* An empty table; allocates nothing. */
void direct_init(struct direct *d);
/* Release the table, which must be empty. */
void direct_deinit(struct direct *d);
/* Add ENTRY, which is in no table, under KEY of SIZE bytes, at most
 * DIRECT_KEY_SIZE_MAX. Constant time. */
void direct_add(struct direct *d, const void *key, size_t size,
                struct route_entry *entry);
/* Take ENTRY out. Constant time. */
void direct_remove(struct direct *d, struct route_entry *entry);
/* Call CB for each entry under KEY, in the order of their additions. */
void direct_match(const struct direct *d, const void *key, size_t size,
                  route_cb *cb, void *arg);

#endif
