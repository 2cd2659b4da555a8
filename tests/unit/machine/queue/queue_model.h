/* A queue as one would write it down without a thought for cost: arrays, and
 * a search for everything. The machine must have the same effects. */
#ifndef TESTS_UNIT_MACHINE_QUEUE_QUEUE_MODEL_H
#define TESTS_UNIT_MACHINE_QUEUE_QUEUE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ranges.h"
#include "machine/queue/queue_command.h"
#include "machine/queue/queue_machine.h"

enum {
    MODEL_RANGES_MAX = 4,
    MODEL_MESSAGES_MAX = 20000,
    MODEL_CONSUMERS_MAX = 4000,
    MODEL_SESSIONS_MAX = 1024
};

/* A command as the test made it. */
struct model_command {
    struct queue_command cmd; /* without pointers */
    uint32_t offset;          /* of an ENQUEUE's message in its entry */
    struct range ranges[MODEL_RANGES_MAX];
    size_t range_count;
};

enum model_state {
    MODEL_READY,
    MODEL_HELD,
    MODEL_GONE
};

struct model_message {
    struct queue_message message;
    enum model_state state;
    uint32_t count;
    uint64_t session; /* HELD */
    uint64_t consumer;
    uint64_t delivery;
};

struct model_consumer {
    uint64_t session;
    uint64_t id;
    uint64_t next; /* delivery */
    uint64_t turn; /* when it joined the line; 0: not in it */
    uint32_t credit;
    uint32_t flags;
    bool is_attached;
    bool is_cancelled;
    bool is_gone;
};

struct model_session {
    uint64_t id;
    uint64_t applied;
    struct queue_effect result;
    bool is_gone;
    unsigned heard;   /* this entry: when, from 1 */
    unsigned touched; /* this entry: when, from 1 */
    unsigned refused;
};

struct model {
    struct model_message messages[MODEL_MESSAGES_MAX];
    size_t message_count;
    struct model_consumer consumers[MODEL_CONSUMERS_MAX];
    size_t consumer_count;
    struct model_session sessions[MODEL_SESSIONS_MAX];
    size_t session_count;
    uint64_t dead[8]; /* by node: boot + 1 */
    uint64_t turn_last;
    uint64_t stranger; /* this entry: refused last */
    bool is_unused;
    struct queue_effects effects; /* of the last entry */
};

struct model *model_new(void);
void model_free(struct model **m);
/* The effects of COMMANDS as entry INDEX. */
void model_apply(struct model *m, qr_index index,
                 const struct model_command *commands, size_t count);
/* What queue_machine_counts() must say, but for malformed and dead_bytes. */
void model_counts(const struct model *m, struct queue_counts *out);
/* The indexes of all messages that are not gone. */
void model_live(const struct model *m, struct ranges *out);
/* The number of the last command of SESSION, or 0. */
uint64_t model_applied(const struct model *m, uint64_t session);
/* The highest delivery of a consumer, or 0. */
uint64_t model_delivered(const struct model *m, uint64_t session,
                         uint64_t consumer);

#endif
