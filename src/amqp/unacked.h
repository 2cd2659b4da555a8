/* What a channel has delivered and not settled: delivery tag -> holder (a
 * consumer) and the delivery's number there. Tags ascend. */
#ifndef AMQP_UNACKED_H
#define AMQP_UNACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ring.h"

struct unacked {
    struct ring entries; /* struct unacked_entry, by tag; some are settled */
    size_t live;         /* entries that are not settled */
};

/* Settle deliveries FIRST to LAST of HOLDER. */
typedef void (*unacked_cb)(void *arg, void *holder, uint64_t first,
                           uint64_t last);

/* Nothing is unsettled; allocates nothing. */
void unacked_init(struct unacked *u);
/* Release the memory. */
void unacked_deinit(struct unacked *u);
/* TAG, larger than all before it, is delivery ID of HOLDER (borrowed until it
 * is settled; not NULL). */
void unacked_add(struct unacked *u, uint64_t tag, void *holder, uint64_t id);
/* Settle TAG, with MULTIPLE all before it too; TAG 0 with MULTIPLE: all. CB
 * gets them as runs. False, and nothing is settled, when TAG is unknown. */
bool unacked_settle(struct unacked *u, uint64_t tag, bool multiple,
                    unacked_cb cb, void *arg);

#endif
