/* What the routing tables hold: an entry embedded in whatever a binding is to
 * their user. One entry is in at most one table at a time. */
#ifndef ROUTING_ENTRY_H
#define ROUTING_ENTRY_H

#include "base/list.h"

/* Owned by the table while it is in one. `link` and `home` are the table's. */
struct route_entry {
    struct list link;
    void *home;
};

/* Called for each entry that matches. It must not change the table. */
typedef void route_cb(void *arg, struct route_entry *entry);

#endif
