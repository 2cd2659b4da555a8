/* Several nodes' peers on one loop, for tests of links. */
#ifndef TESTS_UNIT_PEER_PEERS_HELPER_H
#define TESTS_UNIT_PEER_PEERS_HELPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/log.h"
#include "peer/peers.h"

enum {
    HELPER_NODES_MAX = 3,
    HELPER_LOG_SIZE = 64 << 10,
    HELPER_EVENTS_MAX = 256,
    HELPER_DEADLINE_MS = 20000
};

struct helper_world;

/* A node: its peers and what they told. */
struct helper_node {
    struct helper_world *world;
    struct net *net;
    struct peers *peers;
    struct peers_identity identity;
    struct secret secret;
    struct tls_store *tls; /* instead of it, if set before the start */
    const char *tls_name;
    struct peers_limits limits;
    struct logger logger;
    char log[HELPER_LOG_SIZE];
    size_t log_size;
    uint16_t port;
    enum link_event events[HELPER_EVENTS_MAX];
    qr_node_id event_nodes[HELPER_EVENTS_MAX];
    size_t events_count;
    struct link_gauge *gauge[HELPER_NODES_MAX + 1]; /* by peer's id */
    uint64_t epoch[HELPER_NODES_MAX + 1];
    uint64_t frames[FRAME_CLASS_COUNT];   /* received */
    uint64_t last_arg[FRAME_CLASS_COUNT]; /* of the last one received */
    uint64_t bytes;
    qr_node_id guest; /* the last one's link id */
    unsigned guests_up;
    unsigned rolled_back; /* how often it was told so */
    unsigned removed;
    char unwelcome[400];
    struct starts_book met; /* what it was told to remember */
    bool is_forgetful;      /* it cannot */
    bool disorder;          /* an arg did not grow within its class and epoch */
    uint8_t order[HELPER_EVENTS_MAX]; /* classes as they came */
    size_t order_count;
};

struct helper_world {
    uv_loop_t loop;
    uv_timer_t deadline;
    bool late;
    struct helper_node nodes[HELPER_NODES_MAX + 1]; /* 1 is the first */
};

/* A loop with a deadline; nodes 1.. have ids, names "n1".., UUIDs, one secret
 * and short times, which a test may change before it starts them. */
void helper_init(struct helper_world *w);
void helper_deinit(struct helper_world *w);

/* Start node ID, listening on a port of its own. */
void helper_start(struct helper_world *w, qr_node_id id);
/* Close its peers, as if the process had ended. */
void helper_stop(struct helper_world *w, qr_node_id id);
/* Make FROM know TO. */
void helper_add(struct helper_world *w, qr_node_id from, qr_node_id to);

/* One turn of the loop; fails the test after the deadline. */
void helper_turn(struct helper_world *w);

/* Send a frame with ARG and SIZE bytes of content; false if over the window. */
bool helper_send(struct helper_world *w, qr_node_id from, qr_node_id to,
                 enum frame_class klass, uint64_t arg, size_t size);

bool helper_is_up(const struct helper_world *w, qr_node_id from, qr_node_id to);
/* How often FROM was told EVENT of TO. */
size_t helper_count(const struct helper_world *w, qr_node_id from,
                    qr_node_id to, enum link_event event);
bool helper_logged(const struct helper_world *w, qr_node_id id,
                   const char *part);

#define HELPER_UNTIL(w, cond) \
    do {                      \
        while (!(cond)) {     \
            helper_turn(w);   \
        }                     \
    } while (0)

#endif
