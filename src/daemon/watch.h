/* Watches what a node may run short of, and raises the broker's alarms: memory
 * of the process and free space of the data directory's file system (shard 0),
 * and the state of each shard's log store. */
#ifndef DAEMON_WATCH_H
#define DAEMON_WATCH_H

#include <stdint.h>

#include "base/check.h"
#include "mgmt/mgmt.h"

struct broker;
struct config;
struct env;
struct error;
struct store;
struct watch;

enum {
    WATCH_MS = 500, /* between two looks */
    /* An alarm ends when there is so much more room than when it began: a
     * 16th of the limit. */
    WATCH_EASE_SHIFT = 4
};

/* What configuration and machine come to, in bytes. */
struct watch_limits {
    uint64_t memory;    /* above it: alarm; 0: none */
    uint64_t disk_free; /* below it: alarm; 0: none */
};

/* The limits that CONFIG asks for. Memory is that of the machine, or of the
 * control group if that is less. -QR_EINVAL, ERR names the key. */
MUST_USE int watch_limits_make(const struct config *config,
                               struct watch_limits *out, struct error *err);

/* Rooms and texts are borrowed until watch_free(). */
struct watch_config {
    struct env *env;
    struct broker *broker;
    struct store *store;
    const char *data_dir;
    const struct watch_limits *limits;
};

/* Look, and go on looking. */
struct watch *watch_new(const struct watch_config *config);
/* Before the store is closed. NULL inside is fine. */
void watch_free(struct watch **watch);
/* Rows for `status`: limits, and what there is. */
void watch_status(const struct watch *w, mgmt_row_cb row, void *arg);

#endif
