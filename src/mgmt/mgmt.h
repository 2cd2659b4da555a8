/* Operators' commands: one mgmt a shard. Requests (mgmt/protocol.h) come to
 * shard 0, from the Unix socket or over a link; what they need of other shards
 * and nodes is asked for with frames and put together here. Nothing waits
 * longer than the request's deadline: a node that does not answer is named in
 * the response, and the rest is shown. */
#ifndef MGMT_MGMT_H
#define MGMT_MGMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"

struct broker;
struct env;
struct mgmt;

enum {
    MGMT_JOBS_MAX = 64,    /* requests under way; more are refused */
    MGMT_ANSWERS_MAX = 512 /* questions of others that are being answered */
};

/* A caller's row: NAME and VALUE, borrowed. */
typedef void (*mgmt_row_cb)(void *arg, const char *name, const char *value);

/* Texts are borrowed for the mgmt's life. */
struct mgmt_config {
    struct env *env;
    struct broker *broker;
    const char *node_name;
    /* The rest may be NULL, and is used on shard 0 only. */
    void *arg;
    /* Whether clients are accepted; NULL: when the broker is ready. */
    bool (*is_serving)(void *arg);
    /* Begin the orderly stop of this node; the response still leaves. */
    void (*stop)(void *arg);
    /* Rows about the process for `status`: pid, listeners, memory ... */
    void (*status)(void *arg, mgmt_row_cb row, void *row_arg);
    /* Begin to read the certificates' files again; the number of this reload,
     * 0: there are none. */
    uint64_t (*reload_tls)(void *arg);
    /* Whether reload NUMBER is over: 0 or -QR_E*, and what there is to say. */
    bool (*reloaded_tls)(void *arg, uint64_t number, int *result,
                         const char **text);
    /* Keys and values in effect for `environment`; no secrets. */
    void (*environment)(void *arg, mgmt_row_cb row, void *row_arg);
};

/* The mgmt of config->env's shard, registered with it. CONFIG is copied. */
struct mgmt *mgmt_new(const struct mgmt_config *config);
/* Before the broker is freed. Calls under way are abandoned. */
void mgmt_free(struct mgmt **m);

/* A request of the caller's, embedded and pinned until `done` has run. */
struct mgmt_call {
    /* CODE (enum exit_code) and JSON, which may be taken. Runs once, later,
     * never within mgmt_request(). */
    void (*done)(struct mgmt_call *call, uint8_t code, struct buf *json);
    void *arg;
    void *impl; /* NULL when none is under way */
};

/* Run the request of SIZE bytes at DATA (borrowed), without its length. Shard
 * 0 only. */
void mgmt_request(struct mgmt *m, const void *data, size_t size,
                  struct mgmt_call *call);
/* Forget CALL: `done` will not run. A change that was asked for may still
 * happen. Harmless when none is under way. */
void mgmt_call_abandon(struct mgmt_call *call);

#endif
