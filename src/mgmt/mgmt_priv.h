/* What the files of mgmt share. Nothing outside includes this.
 *
 *   mgmt.c      life, frames, turns         gather.c  asking others
 *   job.c       one request                 answer.c  answering others
 *   record.c    what travels                listing.c columns and rows
 *   list_*.c, status.c, change.c            the commands
 *
 * A request:
 *                              +--> gather --> answers --+
 *   mgmt_request -> job -> run +--> broker call ---------+-> finished -> done
 *                              +--> (at once) -----------+   (next turn)
 */
#ifndef MGMT_MGMT_PRIV_H
#define MGMT_MGMT_PRIV_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/list.h"
#include "base/map.h"
#include "base/timer.h"
#include "broker/broker.h"
#include "mgmt/mgmt.h"
#include "mgmt/protocol.h"
#include "peer/frame.h"

struct column;
struct gather;

enum {
    MGMT_MAGIC = 0x6d676d74,
    JOB_MAGIC = 0x6d6a6f62,
    MGMT_RETRY_MS = 5, /* a link's window was full */
    JOB_PICKED_MAX = COMMAND_ARGS_MAX
};

enum mgmt_frame_kind {
    MGMT_ASK = FRAME_MGMT_FIRST, /* arg: gather; content: u8 enum ask_kind,
                                    varint milliseconds left, parameters */
    MGMT_ANSWER, /* arg: gather; content: varint number of this piece (0, 1
                    ...), u8 flags, bytes */
    MGMT_FORGET  /* arg: gather; nobody waits for the answer any more */
};

struct mgmt {
    unsigned magic;
    struct mgmt_config config;
    struct env *env;
    struct broker *broker;
    struct list jobs;     /* job.link, of those not finished */
    struct list finished; /* job.link: to be told this turn */
    size_t jobs_count;
    struct map gathers; /* by id */
    uint64_t gather_next;
    struct list answers; /* answer.link, being sent */
    size_t answers_count;
    struct timer retry;
    uint16_t shards[QR_NODES_MAX]; /* of the nodes in `linked` */
    qr_node_id linked[QR_NODES_MAX];
    size_t linked_count;
    uint64_t started_ms; /* wall clock */
};

/* One request under way. */
struct job {
    unsigned magic;
    struct list link;
    struct mgmt *mgmt;
    struct mgmt_call *call; /* NULL: abandoned */
    struct buf bytes;       /* the request, which may hold a password */
    struct request request;
    uint64_t deadline_ms;
    struct timer timer; /* of the deadline */
    struct timer poll;  /* commands that wait for something */
    struct gather *gather;
    struct broker_call broker_call;
    void (*broker_done)(struct job *job, const struct broker_reply *reply);
    bool is_finished;
    enum exit_code code;
    struct buf out; /* JSON */
    struct json json;
    const struct column *picked[JOB_PICKED_MAX];
    size_t picked_count;
    /* For the commands' own use. */
    qr_group_id group;
    qr_node_id node;
    uint64_t number;
    struct map replicas; /* queue_row by group, freed with the job */
};

typedef void (*command_run)(struct job *job);

/* ---- job.c ---- */

/* Free JOB, abandoning what it waits for. */
void job_free(struct job *job);
/* Tell JOB's caller; frees it. */
void job_tell(struct job *job);
/* JOB has come to its end: told in this turn. job->out has the response. */
void job_finish(struct job *job, enum exit_code code);
/* End with {"text": ...}. */
void job_text(struct job *job, const char *fmt, ...) PRINTF(2, 3);
/* End with {"error": ...}. */
void job_fail(struct job *job, enum exit_code code, const char *fmt, ...)
    PRINTF(3, 4);
/* End with the fault of a broker's call. */
void job_fault(struct job *job, const struct broker_fault *fault);
/* Start a broker call for JOB, DONE to be called with its reply. */
struct broker_call *job_broker_call(struct job *job,
                                    void (*done)(struct job *job,
                                                 const struct broker_reply *));
/* The same with an end like job_text(job, "%s", ""). */
struct broker_call *job_simple_call(struct job *job);
/* Its argument I, or "". */
const char *job_arg(const struct job *job, size_t i);
struct meta_text job_arg_text(const struct job *job, size_t i);
bool job_has(const struct job *job, enum command_option option);
/* Its --vhost, "/" if there is none. */
struct meta_text job_vhost_name(const struct job *job);
/* The vhost; NULL when it does not exist: JOB has ended. */
const struct meta_vhost *job_vhost(struct job *job);
/* The queue that argument 0 names; NULL: JOB has ended. */
struct meta_queue *job_queue(struct job *job);
/* The node called NAME; NULL: JOB has ended. */
const struct meta_node *job_node(struct job *job, const char *name);
/* Milliseconds to the deadline. */
uint64_t job_left(const struct job *job);
/* Run POLL_CB with JOB in MS milliseconds. */
void job_poll(struct job *job, timer_cb cb, uint64_t ms);

/* ---- mgmt.c ---- */

enum {
    NODE_SCRATCH_SIZE = 32
};
/* The name of NODE, or "node N" in SCRATCH if the metadata does not know it. */
struct meta_text mgmt_node_name(const struct mgmt *m, qr_node_id node,
                                char scratch[NODE_SCRATCH_SIZE]);
/* How many shards NODE has; 0 when it is not linked. */
uint16_t mgmt_shards_of(const struct mgmt *m, qr_node_id node);
uint64_t mgmt_now_ms(const struct mgmt *m);
/* Start a job for CALL; LIMIT_MS caps its deadline (0: no cap). */
void mgmt_start(struct mgmt *m, const void *data, size_t size,
                uint64_t limit_ms, struct mgmt_call *call);

/* ---- the commands, as command.def names them ---- */

#define COMMAND(name, handler, section, least, most, options, arguments, \
                banner, summary, more)                                   \
    /* Run the command; ends JOB now or later. */                        \
    void handler(struct job *job);
#define OPT(id) 0
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wredundant-decls"
#include "mgmt/command.def"
#pragma GCC diagnostic pop
#undef OPT
#undef COMMAND

#endif
