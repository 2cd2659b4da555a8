/* Going through segments in the background: to find rot, and to empty those
 * that are mostly dead or have rotted. */
#ifndef STORE_WALK_H
#define STORE_WALK_H

#include <stdbool.h>

struct store;

/* Begin, if the configuration has timers and a rate. */
void walk_start(struct store *s);
void walk_stop(struct store *s);
/* There may be a segment to empty. */
void walk_wake(struct store *s);
/* Whether a read of it is in flight. */
bool walk_is_reading(const struct store *s);

#endif
