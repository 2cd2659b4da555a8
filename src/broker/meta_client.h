/* Changes to the metadata, as this shard asks for them.
 *
 * A request is a command with this shard's session and its own number. It goes
 * to the metadata group's leader, again and again until this shard's own copy
 * applies it; the outcome is found there, so no answer travels. Then, before
 * the caller hears of it, the request waits until every node that is linked
 * has applied the change too: what a declare-ok promises is seen through every
 * node (a node that is cut off has no majority and promises nothing).
 *
 *   new --send--> proposed --outcome--> visible? --all linked nodes--> ended
 *                  ^   |  RETRY_MS                 or VISIBLE_MS
 *                  +---+
 */
#ifndef BROKER_META_CLIENT_H
#define BROKER_META_CLIENT_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "broker/broker.h"
#include "machine/meta/meta_machine.h"

struct broker;
struct call_ref;
struct meta_client;

enum {
    META_REQUESTS_MAX = 16384, /* under way; more are refused */
    META_RETRY_MS = 500,
    META_GIVE_UP_MS = 30000, /* no outcome: forget it */
    META_VISIBLE_MS = 2000   /* a linked node that lags longer is not waited
                                for */
};

struct meta_request;
/* The command was applied here just now. Fill REPLY (zeroed). */
typedef void (*meta_applied_cb)(struct meta_request *r,
                                const struct meta_outcome *outcome,
                                struct broker_reply *reply);

struct meta_request {
    struct list link;
    struct broker *broker;
    uint64_t number;
    struct buf command;      /* build it with broker->session and `number` */
    meta_applied_cb applied; /* NULL: nothing to look at */
    /* Instead of telling the caller, when it would be told; NULL: tell. */
    void (*ended)(struct meta_request *r);
    struct call_ref *call;
    uint64_t started_ms;
    uint64_t proposed_ms;
    qr_index index; /* where it was applied; 0 = not yet */
    struct broker_reply reply;
    /* For the use of `applied`. */
    struct broker_connection *connection;
    struct buf spec; /* any bytes; freed with the request */
    char vhost[256]; /* copies, NUL-terminated */
    char name[256];
    uint16_t vhost_size;
    uint16_t name_size;
    uint32_t flags;
    /* Proposed until it is applied, however long that takes: nobody would ask
     * again. Few: one a start, one a connection or queue that goes. */
    bool is_kept;
};

/* B's way to the metadata group; freed with *M nulled. */
struct meta_client *meta_client_new(struct broker *b);
void meta_client_free(struct meta_client **m);

/* A request on behalf of CALL (may be NULL). */
struct meta_request *meta_request_new(struct broker *b,
                                      struct broker_call *call,
                                      meta_applied_cb applied);
/* Send R, whose command is complete; taken. */
void meta_request_send(struct meta_request *r);
/* Several requests may be proposed as one: just send them in one turn. */

/* CONNECTION is gone: no request may refer to it any more. */
void meta_client_forget(struct meta_client *m,
                        const struct broker_connection *connection);
/* From the copy of this shard. */
void meta_client_outcome(struct meta_client *m,
                         const struct meta_outcome *outcome);
/* NODE has applied up to INDEX on all its shards. */
void meta_client_node_applied(struct meta_client *m, qr_node_id node,
                              qr_index index);
/* The leader changed: propose again what is under way. */
void meta_client_leader_changed(struct meta_client *m);
/* Links changed: somebody may not have to be waited for. */
void meta_client_check(struct meta_client *m);
/* Send what this turn brought. */
void meta_client_flush(struct meta_client *m);

#endif
