/* A snapshot on its way in. */
#ifndef CONSENSUS_INSTALL_H
#define CONSENSUS_INSTALL_H

#include <raft.h>

#include "quorate/types.h"

#include "base/ranges.h"
#include "base/slice.h"
#include "base/timer.h"

enum {
    INSTALL_RANGES_MAX = 512, /* asked for at a time */
    INSTALL_CREDIT = 4,       /* chunks under way at a time */
    INSTALL_STALL_MS = 1000,  /* nothing came: ask again */
    INSTALL_STALLS_MAX = 5    /* then give up, and keep what was staged */
};

/*  offered --(library accepts)--> fetching --(all staged)--> storing
 *     |                              |  ^ chunk, stall          | durable
 *     v (refused)                    v                          v
 *    gone                          failed --> (restart)        done: gone
 *                                    |  staged entries stay
 *                                    v
 *                                 offered again
 */
enum install_state {
    INSTALL_OFFERED,
    INSTALL_FETCHING,
    INSTALL_STORING,
    INSTALL_FAILED
};

struct install {
    enum install_state state;
    qr_replica_id from;
    qr_index index;
    qr_term term;
    qr_index configuration_index;
    struct slice configuration;
    struct slice manifest;
    struct ranges live;   /* what the machine needs */
    struct ranges needed; /* of that, what is neither here nor staged */
    struct ranges asked;  /* of that, what the stream is to bring */
    struct ranges staged; /* in the store, also from attempts before */
    uint64_t stream;
    uint64_t sequence;
    unsigned stalls;
    uint64_t batch; /* carries the store's install */
    bool has_metadata;
    struct raft_configuration metadata; /* ours until PERSISTED_SNAPSHOT */
    struct timer timer;
};

#endif
