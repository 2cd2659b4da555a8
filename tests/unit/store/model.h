/* A naive model of a store: what every group should hold, in plain arrays. */
#ifndef TESTS_STORE_MODEL_H
#define TESTS_STORE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rig.h"

enum {
    MODEL_GROUPS = 6,
    MODEL_FIRST_ID = 16,
    MODEL_INDEX_MAX = 700,
    MODEL_OPS_MAX = 4096,
    MODEL_RANGES_MAX = 3
};

struct model_group {
    bool exists;
    bool is_volatile;
    uint64_t term;
    uint64_t vote;
    uint64_t snapshot;
    uint64_t snapshot_term;
    uint64_t last;
    uint64_t terms[MODEL_INDEX_MAX + 1]; /* 0: not there */
    uint64_t staged[MODEL_INDEX_MAX + 1];
};

struct model {
    struct model_group groups[MODEL_GROUPS];
};

enum op_kind {
    OP_CREATE,
    OP_DELETE,
    OP_HARD,
    OP_APPEND,
    OP_CUT,
    OP_SNAPSHOT,
    OP_STAGE,
    OP_STAGE_DROP,
    OP_INSTALL,
    OP_KINDS
};

struct op {
    enum op_kind kind;
    unsigned group;
    bool is_volatile;
    uint64_t index;
    uint64_t term;
    uint64_t live[MODEL_RANGES_MAX][2]; /* ascending, disjoint */
    size_t live_count;
    uint64_t batch; /* that carries it */
};

/* The size of the one entry that may exist with these. */
size_t model_size(unsigned group, uint64_t index, uint64_t term);
/* Choose an operation that makes sense in M; false if the choice did not. */
bool model_choose(const struct model *m, struct rng *rng, uint64_t *term_next,
                  struct op *out);
void model_apply(struct model *m, const struct op *op);
/* What a restart forgets. */
void model_restart(struct model *m);
/* Do OP to the store; sets op->batch. */
void model_perform(struct rig *r, struct op *op);
/* Fail the test unless R's store is exactly M. */
void model_check(struct rig *r, const struct model *m);
/* The same of a store that says what it has lost: what is not lost is as in M.
 * IS_UNSURE: it says that groups may be missing. Returns how many entries are
 * damaged; those are repaired with REPAIR. */
unsigned model_check_damaged(struct rig *r, const struct model *m,
                             bool is_unsure, bool repair);
bool model_has_staged(const struct model *m);

#endif
