/* Which replicas a machine had, and which of them have lost their memory since:
 * those must never vote or acknowledge again (I8). */
#ifndef SIM_SIM_MEMORY_H
#define SIM_SIM_MEMORY_H

#include <quorate/types.h>
#include <stdbool.h>

#include "base/ring.h"

struct sim_memory {
    struct ring had;       /* struct sim_replica, since memory was lost last */
    struct ring forgotten; /* before that */
};

/* Nothing was here. */
void sim_memory_init(struct sim_memory *m);
/* Free it. */
void sim_memory_deinit(struct sim_memory *m);
/* REPLICA of GROUP is here. */
void sim_memory_note(struct sim_memory *m, qr_group_id group,
                     qr_replica_id replica);
/* All is lost, or not what it was. */
void sim_memory_lose(struct sim_memory *m);
/* Whether REPLICA of GROUP has lost its memory. */
bool sim_memory_is_lost(const struct sim_memory *m, qr_group_id group,
                        qr_replica_id replica);

#endif
