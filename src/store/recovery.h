/* Finding the store's state in its files, at start. */
#ifndef STORE_RECOVERY_H
#define STORE_RECOVERY_H

#include "base/check.h"

struct error;
struct group;
struct segment;
struct record;
struct store;

/* Fill the fresh store S from its disk. -QR_ECORRUPT, -QR_EVERSION,
 * -QR_ECONFLICT (files of another node or shard), -QR_EIO. */
MUST_USE int recovery_run(struct store *s, struct error *err);

#endif
