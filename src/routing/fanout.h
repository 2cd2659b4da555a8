/* Fanout exchanges: whatever the key, every binding (AMQP 0-9-1, 3.1.3.2). */
#ifndef ROUTING_FANOUT_H
#define ROUTING_FANOUT_H

#include <stddef.h>

#include "routing/entry.h"

/* A list of entries. */
struct fanout {
    struct list entries;
    size_t count;
};

/* An empty table; allocates nothing, ever. Not to be moved. */
void fanout_init(struct fanout *f);
/* Check that the table is empty. */
void fanout_deinit(struct fanout *f);
/* Add ENTRY, which is in no table. */
void fanout_add(struct fanout *f, struct route_entry *entry);
/* Take ENTRY out. */
void fanout_remove(struct fanout *f, struct route_entry *entry);
/* Call CB for each entry, in the order of their additions. */
void fanout_match(const struct fanout *f, route_cb *cb, void *arg);

#endif
