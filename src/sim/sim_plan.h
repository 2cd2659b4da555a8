/* What a run will do: the size of the world and a list of faults, each with
 * its time, its length and its parameters. The seed makes the plan; the world
 * executes it. So a plan can be printed, read again, and made smaller.
 *
 * As text, a plan is one `key=value` line and one line for each fault:
 *
 *     seed=7 nodes=3 shards=2 clients=5 end=20.000000 ...
 *     4 crash at=3.120000 for=0.800000 node=2
 *
 * Times are in virtual seconds. The number in front is the fault's place in
 * the plan that the seed made; it stays when others are taken away. */
#ifndef SIM_SIM_PLAN_H
#define SIM_SIM_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct buf;
struct error;

enum {
    SIM_PLAN_NODES_MAX = 7,
    SIM_PLAN_SHARDS_MAX = 2,
    SIM_PLAN_CLIENTS_MAX = 12,
    SIM_PLAN_FAULTS_MAX = 1024,
    SIM_PLAN_TEXT_SIZE_MAX = 256 << 10
};

/* docs/testing.md says what each does. */
enum sim_fault_kind {
    SIM_WEATHER,
    SIM_DUPLICATES,
    SIM_CRASH,
    SIM_POWER,
    SIM_POWER_ALL,
    SIM_RECOVERY,
    SIM_HALVES,
    SIM_ONE_WAY,
    SIM_RING,
    SIM_FLAP,
    SIM_PAUSE,
    SIM_SLOW_DISK,
    SIM_CLOCK,
    SIM_TRANSFER,
    SIM_FULL_DISK,
    SIM_ROT,
    SIM_SPOIL,
    SIM_DISK_LOST,
    SIM_ROLL_BACK,
    SIM_FORGET,
    SIM_STOP,
    SIM_FAULT_KINDS
};

struct sim_fault {
    uint32_t number;
    enum sim_fault_kind kind;
    uint32_t node; /* 1 to the plan's nodes, or 0: no single one */
    uint64_t at_us;
    uint64_t for_us;
    uint64_t a; /* by kind */
    uint64_t b;
};

struct sim_plan {
    uint64_t seed; /* of all that happens by chance */
    uint64_t nodes;
    uint64_t shards;
    uint64_t clients;
    uint64_t busy;    /* 1: clients never rest; 0: the seed says how they do */
    uint64_t end_us;  /* of the faults */
    uint64_t disk_us; /* most that a write takes */
    uint64_t snapshot_bytes;
    uint64_t snapshot_entries;
    /* The only node whose memory may suffer: a minority of any three. */
    uint64_t frail;
    size_t faults_count;
    struct sim_fault faults[SIM_PLAN_FAULTS_MAX];
};

/* What the seed does not pick; 0: it does. */
struct sim_wishes {
    uint64_t seed;
    uint64_t nodes;
    uint64_t shards;
    uint64_t clients;
    uint64_t seconds; /* not 0 */
    bool is_busy;     /* clients never rest */
    /* Busy clients, slow disks, and one short fault after the other of those
     * that cut power and make elections. */
    bool is_stress;
};

/* The plan of WISHES->seed. */
void sim_plan_make(struct sim_plan *p, const struct sim_wishes *wishes);
/* Append the plan as text. */
void sim_plan_print(const struct sim_plan *p, struct buf *out);
/* Append the line of one fault, without its end. */
void sim_fault_print(const struct sim_fault *f, struct buf *out);
/* The plan that SIZE bytes of TEXT are. -QR_EFORMAT, and ERR names the line;
 * then *OUT is not touched. */
MUST_USE int sim_plan_parse(const char *text, size_t size, struct sim_plan *out,
                            struct error *err);
/* Take away (with IS_ONLY: all but) the faults of LIST: numbers and ranges of
 * them, as in "3,7-9". -QR_EFORMAT. */
MUST_USE int sim_plan_select(struct sim_plan *p, const char *list,
                             bool is_only);
/* Append the list that leaves only the faults of P. */
void sim_plan_list(const struct sim_plan *p, struct buf *out);
/* Take away all faults of the kind called NAME. -QR_ENOENT. */
MUST_USE int sim_plan_switch_off(struct sim_plan *p, const char *name);
/* "crash". Static. */
const char *sim_fault_name(enum sim_fault_kind kind);

#endif
