/* One simulated node with a real broker, for targets that need all of it.
 *
 * Making one hashes a password, which is slow by intent. So a world serves
 * many inputs: world_reset() deletes the queues, and forgets the rest when it
 * has served WORLD_INPUTS_MAX. */
#ifndef TESTS_FUZZ_WORLD_H
#define TESTS_FUZZ_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "sim/sim_env.h"
#include "sim/sim_node.h"

struct broker;

enum {
    WORLD_INPUTS_MAX = 500
};

struct world {
    struct sim *sim;
    struct logger log;
    qr_node_id id;
    struct sim_node *node;
    unsigned inputs;  /* served */
    bool is_given_up; /* the node means to start again */
};

/* W, zeroed before the first call, becomes a node of one shard that serves
 * "/" and guest, without queues. */
void world_reset(struct world *w);
/* Whether the next world_reset() makes a new node: free what lives on it. */
bool world_is_used_up(struct world *w);
/* The next world_reset() makes a new node: this one's metadata are no more what
 * a world's are. */
void world_spoil(struct world *w);
/* Let MS milliseconds pass. */
void world_pass(struct world *w, uint64_t ms);
struct broker *world_broker(struct world *w);

#endif
