/* Nodes for the counter to live on: a simulated network, clock and disk. A
 * program of its own has shard/runtime.h and store/disk_real.h here. */
#ifndef EXAMPLE_WORLD_H
#define EXAMPLE_WORLD_H

#include <quorate/types.h>
#include <stdbool.h>

struct qr_host;
struct world;

enum {
    WORLD_NODES = 3
};

/* Three nodes, none of them started. */
struct world *world_new(void);
/* Kills what runs. */
void world_free(struct world **wp);
/* Start node ID on its disk as it was left. */
void world_start(struct world *w, qr_node_id id);
/* As SIGKILL: the node says nothing to anybody. Its groups are gone. */
void world_kill(struct world *w, qr_node_id id);
/* The host of groups on node ID (borrowed), or NULL if it does not run. */
struct qr_host *world_host(const struct world *w, qr_node_id id);
/* Let ten milliseconds pass for all. Not after ten minutes of them: then the
 * program ends, as what it waits for will not come. */
void world_run(struct world *w);
/* Seconds that have passed. */
double world_seconds(const struct world *w);
/* Unless OK, print WHAT and end the program. */
void must(bool ok, const char *what);

#endif
