/* What the store does by itself, on the shard's timers. */
#ifndef STORE_CHORES_H
#define STORE_CHORES_H

struct store;

/* The store is open: begin, if the configuration has timers. */
void chores_start(struct store *s);
/* It closes. Nothing of its reads may be in flight any more. */
void chores_stop(struct store *s);
/* Something was written or became free: there may be something to do. */
void chores_wake(struct store *s);

#endif
