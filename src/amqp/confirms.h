/* Publisher confirms of one channel: which tags are settled and not yet told.
 * What a turn settled is told at its end, with `multiple` where it can be. */
#ifndef AMQP_CONFIRMS_H
#define AMQP_CONFIRMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ring.h"

struct confirms {
    uint64_t next;      /* tag of the next message; from 1 */
    uint64_t base;      /* tag of states[0] */
    uint64_t covered;   /* no tag up to it is unsettled */
    uint64_t pending;   /* tags not settled */
    struct ring states; /* a byte for each tag from base to next - 1 */
    struct ring fresh;  /* uint64_t: settled since the last telling */
};

/* A confirm to send. */
typedef void (*confirms_cb)(void *arg, uint64_t tag, bool multiple, bool is_ok);

/* No tags yet; allocates nothing. */
void confirms_init(struct confirms *c);
/* Release the memory. */
void confirms_deinit(struct confirms *c);
/* The tag for one more message. */
uint64_t confirms_add(struct confirms *c);
/* TAG is settled, with MULTIPLE all before it too. Tags that are settled
 * already, or were never given out, are skipped. */
void confirms_settle(struct confirms *c, uint64_t tag, bool multiple,
                     bool is_ok);
/* Tell what was settled: refusals before the confirm that covers them. */
void confirms_tell(struct confirms *c, confirms_cb cb, void *arg);

#endif
