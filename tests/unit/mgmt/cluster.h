/* Simulated nodes with a mgmt on each shard, for tests of commands. */
#ifndef TESTS_UNIT_MGMT_CLUSTER_H
#define TESTS_UNIT_MGMT_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/log.h"
#include "broker/broker.h"
#include "mgmt/mgmt.h"
#include "sim/sim_env.h"
#include "sim/sim_node.h"

enum {
    CLUSTER_NODES_MAX = 3,
    CLUSTER_SHARDS_MAX = 2,
    CLUSTER_WORDS_MAX = 150
};

struct cluster {
    struct sim *sim;
    struct logger log;
    qr_node_id ids[CLUSTER_NODES_MAX];
    struct sim_node *nodes[CLUSTER_NODES_MAX];
    struct mgmt *mgmts[CLUSTER_NODES_MAX][CLUSTER_SHARDS_MAX];
    size_t count;
    uint16_t shards;
    unsigned stops; /* how often a node was asked to stop */
};

/* A response that came, or did not. */
struct response {
    struct mgmt_call call;
    bool is_done;
    uint8_t code;
    struct buf json; /* with a NUL */
};

/* COUNT nodes of SHARDS shards that serve; the metadata has a leader. */
void cluster_init(struct cluster *c, size_t count, uint16_t shards);
void cluster_deinit(struct cluster *c);
/* Node I's process dies; starts again. */
void cluster_kill(struct cluster *c, size_t i);
void cluster_start(struct cluster *c, size_t i);
/* Let MS milliseconds pass. */
void cluster_pass(struct cluster *c, uint64_t ms);

/* Run LINE on node I: words separated by single spaces, options in front of
 * "--" as requests have them ("list_queues --vhost=/ -- name"). Lets the time
 * pass until the response is there. */
void cluster_run(struct cluster *c, size_t i, const char *line,
                 struct response *out);
/* The same, without waiting. */
void cluster_send(struct cluster *c, size_t i, const char *line,
                  struct response *out);
void response_deinit(struct response *r);
/* Whether LINE ends with CODE and a JSON that has TEXT in it. */
bool cluster_says(struct cluster *c, size_t i, const char *line, uint8_t code,
                  const char *text);

/* A client of node I's shard SHARD: declare queue NAME; publish COUNT messages
 * to it and wait for the confirms. */
void cluster_declare(struct cluster *c, size_t i, uint16_t shard,
                     const char *name);
void cluster_publish(struct cluster *c, size_t i, uint16_t shard,
                     const char *name, unsigned count);
/* A connection of user guest to "/", registered with that broker. */
void cluster_connect(struct cluster *c, size_t i, uint16_t shard,
                     struct broker_connection *out);

#endif
