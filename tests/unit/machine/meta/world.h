/* A metadata machine with its surroundings: commands to apply, the outcomes
 * and the events that came of them. */
#ifndef TESTS_UNIT_MACHINE_META_WORLD_H
#define TESTS_UNIT_MACHINE_META_WORLD_H

#include <string.h>

#include "base/buf.h"
#include "machine/meta/meta_command.h"
#include "machine/meta/meta_machine.h"

struct world {
    struct meta_machine *m;
    struct buf commands; /* of the entry to come */
    qr_index index;
    uint64_t time_ms;
    size_t outcomes;
    struct meta_outcome outcome; /* the last */
    struct buf events;           /* words; see world_events() */
};

/* A text of a literal. */
static inline struct meta_text
text(const char *s)
{
    return meta_text(s, strlen(s));
}

/* An empty machine. */
void world_init(struct world *w);
/* Three nodes, n1 to n3, with boot 1; the vhost "/"; the user "guest". */
void world_init_cluster(struct world *w);
void world_deinit(struct world *w);
/* Apply what is in `commands` as one entry; the last outcome's status. */
enum meta_status world_apply(struct world *w);
/* The events since the last call, as one NUL-terminated text: +NAME a queue
 * created, -NAME gone, =NAME members, nodeID, vhost:NAME gone, user:NAME. It
 * is valid until the next apply. */
const char *world_events(struct world *w);

/* One command each, applied at once. */
enum meta_status world_node_up(struct world *w, qr_node_id id, uint32_t boot);
enum meta_status world_vhost(struct world *w, const char *name);
enum meta_status world_user(struct world *w, const char *name);
enum meta_status world_exchange(struct world *w, const char *name,
                                enum meta_exchange_type type,
                                bool is_auto_delete);
/* A durable queue on nodes 1, 2 and 3. */
enum meta_status world_queue(struct world *w, const char *name);
/* An exclusive queue of CONNECTION of boot BOOT of node 1. */
enum meta_status world_exclusive(struct world *w, const char *name,
                                 uint32_t boot, uint64_t connection);
/* A non-durable, shared queue on the first COUNT nodes. */
enum meta_status world_transient(struct world *w, const char *name,
                                 size_t count);
enum meta_status world_bind(struct world *w, const char *source,
                            const char *queue, const char *key);
enum meta_status world_bind_exchange(struct world *w, const char *source,
                                     const char *destination, const char *key);
enum meta_status world_unbind(struct world *w, const char *source,
                              const char *queue, const char *key);
enum meta_status world_delete_queue(struct world *w, const char *name);

/* What is there in the vhost "/"; NULL if nothing. */
const struct meta_vhost *world_root(const struct world *w);
struct meta_queue *world_find_queue(const struct world *w, const char *name);
const struct meta_exchange *world_find_exchange(const struct world *w,
                                                const char *name);
/* The names of the queues to which KEY goes through EXCHANGE, sorted and
 * parted by spaces. Valid until the next call. */
const char *world_route(struct world *w, const char *exchange, const char *key);
/* Check that the state survives a snapshot byte for byte, and is equal to
 * that of another machine that restored it. */
void world_check_snapshot(struct world *w);

#endif
