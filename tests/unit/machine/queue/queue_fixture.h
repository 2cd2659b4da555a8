/* A queue machine with a log: commands are collected into an entry, then
 * applied, then the state is checked and the effects are looked at. */
#ifndef TESTS_UNIT_MACHINE_QUEUE_QUEUE_FIXTURE_H
#define TESTS_UNIT_MACHINE_QUEUE_QUEUE_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/ranges.h"
#include "machine/queue/queue_command.h"
#include "machine/queue/queue_machine.h"

enum {
    FIXTURE_SESSIONS = 16
};

struct fixture {
    struct queue_machine *m;
    struct queue_effects effects; /* of the last entry */
    struct buf body;              /* the entry being collected */
    qr_index index;               /* of the last entry */
    size_t seen;                  /* effects that fixture_next() returned */
    uint64_t sessions[FIXTURE_SESSIONS];
    uint64_t seqs[FIXTURE_SESSIONS]; /* of each session's last command */
};

/* Sessions that tests speak of: different nodes, boots and shards. */
uint64_t fixture_session(unsigned which);

void fixture_init(struct fixture *f);
void fixture_deinit(struct fixture *f);
/* The next number of session S, counted as sent. */
uint64_t fixture_seq(struct fixture *f, uint64_t s);

/* Collect commands with the session's next number. */
void fixture_enqueue(struct fixture *f, uint64_t s, const char *text);
void fixture_attach(struct fixture *f, uint64_t s, uint64_t consumer,
                    uint32_t credit);
void fixture_attach_flags(struct fixture *f, uint64_t s, uint64_t consumer,
                          uint32_t credit, uint32_t flags);
void fixture_credit(struct fixture *f, uint64_t s, uint64_t consumer,
                    uint32_t credit);
/* SETTLE, RETURN or DISCARD of FIRST to LAST. */
void fixture_ids(struct fixture *f, enum queue_command_kind kind, uint64_t s,
                 uint64_t consumer, const uint64_t range[2]);
void fixture_settle(struct fixture *f, uint64_t s, uint64_t consumer,
                    uint64_t first, uint64_t last);
void fixture_return(struct fixture *f, uint64_t s, uint64_t consumer,
                    uint64_t first, uint64_t last);
void fixture_consumer(struct fixture *f, enum queue_command_kind kind,
                      uint64_t s, uint64_t consumer);
void fixture_purge(struct fixture *f, uint64_t s);
/* SET_ASIDE of entries FIRST to LAST. */
void fixture_set_aside(struct fixture *f, qr_index first, qr_index last);

/* Apply what was collected as the next entry, check the state. */
void fixture_apply(struct fixture *f);
/* Forget all effects, then as above. */
void fixture_apply_quietly(struct fixture *f);
/* The next effect of the last entry; fails at the end. */
const struct queue_effect *fixture_next(struct fixture *f);
/* Fail unless the next effect is this. */
void fixture_expect_deliver(struct fixture *f, uint64_t s, uint64_t consumer,
                            uint64_t delivery, uint32_t count);
void fixture_expect_result(struct fixture *f, uint64_t s,
                           enum queue_status status, uint64_t value);
void fixture_expect_applied(struct fixture *f, uint64_t s, uint64_t seq);
void fixture_expect_gap(struct fixture *f, uint64_t s, uint64_t seq,
                        enum queue_status status);
void fixture_expect_unused(struct fixture *f);
/* Fail if there are more effects. */
void fixture_expect_end(struct fixture *f);

/* The snapshot of M: appended to an initialised buffer. */
void fixture_snapshot(struct queue_machine *m, struct buf *out);
struct queue_counts fixture_counts(const struct fixture *f);

#endif
