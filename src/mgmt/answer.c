/* See answer.h. Queues and consumers are walked by the ids of their groups,
 * taken when the question came: what is gone meanwhile is skipped. The rest is
 * small and written at once. */
#include "mgmt/answer.h"

#include <quorate/error.h>
#include <quorate/version.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "broker/broker_admin.h"
#include "machine/queue/queue_command.h"
#include "mgmt/gather.h"
#include "mgmt/mgmt_priv.h"
#include "mgmt/record.h"
#include "shard/env.h"

enum {
    ANSWER_MAGIC = 0x616e7377
};

struct answer {
    unsigned magic;
    struct list link; /* mgmt.answers */
    struct mgmt *mgmt;
    struct address to;
    uint64_t id; /* of their gather */
    enum ask_kind kind;
    uint64_t piece_next;
    struct buf ready; /* not yet sent */
    size_t ready_sent;
    bool is_waiting;  /* for a command to end */
    bool is_complete; /* nothing comes after `ready` */
    /* REPLICAS, CONSUMERS. */
    struct buf vhost;
    uint64_t *groups; /* NULL: not walking */
    size_t groups_count;
    size_t groups_next;
    /* COMMAND. */
    struct mgmt_call call;
};

static void
answer_free(struct answer *a)
{
    OBJ_CHECK(a, ANSWER_MAGIC);
    mgmt_call_abandon(&a->call);
    list_remove(&a->link);
    a->mgmt->answers_count--;
    buf_deinit(&a->ready);
    buf_deinit(&a->vhost);
    mem_free(a->groups);
    a->magic = 0;
    mem_free(a);
}

/* ---- what there is to say ---- */

static struct meta_text
text_of(const char *s)
{
    return meta_text(s, strlen(s));
}

static bool
is_voter(const struct qr_group_status *s)
{
    for (size_t i = 0; i < s->members_count; i++) {
        if (s->members[i].member.id == s->self) {
            return s->members[i].member.role == QR_ROLE_VOTER;
        }
    }
    return false;
}

/* What REPLICA's queue lost, as bytes. */
static void
put_losses(struct buf *b, const struct broker_replica *replica)
{
    for (size_t i = 0; i < replica->losses_count; i++) {
        const struct queue_loss *loss = &replica->losses[i];
        struct loss_record record = {.first = loss->first,
                                     .last = loss->last,
                                     .messages = loss->messages,
                                     .bytes = loss->bytes,
                                     .time_ms = loss->time_ms,
                                     .is_unknown = loss->is_unknown};

        record_put_loss(b, &record);
    }
}

static void
put_replica(struct answer *a, qr_group_id group)
{
    struct broker_replica replica;
    const struct qr_group_status *s = &replica.status;
    struct replica_record record;
    struct buf losses;

    if (!broker_replica(a->mgmt->broker, group, &replica)) {
        return;
    }
    buf_init(&losses);
    put_losses(&losses, &replica);
    record = (struct replica_record){.group = group,
                                     .leader = s->leader,
                                     .is_leader = s->is_leader,
                                     .is_voter = is_voter(s),
                                     .state = text_of(s->state),
                                     .term = s->term,
                                     .last = s->last,
                                     .stored = s->stored,
                                     .committed = s->committed,
                                     .applied = s->applied,
                                     .snapshot = s->snapshot,
                                     .ready = replica.counts.ready,
                                     .unsettled = replica.counts.unsettled,
                                     .ready_bytes = replica.counts.ready_bytes,
                                     .unsettled_bytes =
                                         replica.counts.unsettled_bytes,
                                     .consumers = replica.counts.consumers,
                                     .damaged = s->damaged,
                                     .blocked = s->blocked,
                                     .lost = replica.counts.lost};
    record.losses = meta_text((const char *)losses.data, losses.size);
    record_put_replica(&a->ready, &record);
    buf_deinit(&losses);
}

struct put_consumers {
    struct answer *answer;
    qr_group_id group;
};

static void
put_consumer(void *arg, const struct queue_consumer_info *info)
{
    struct put_consumers *p = arg;
    struct consumer_record record = {
        .group = p->group,
        .session = info->session,
        .consumer = info->consumer,
        .tag = meta_text((const char *)info->tag, info->tag_size),
        .credit = info->credit,
        .is_no_ack = (info->flags & QUEUE_ATTACH_NO_ACK) != 0,
        .is_exclusive = (info->flags & QUEUE_ATTACH_EXCLUSIVE) != 0,
        .is_cancelled = info->is_cancelled,
        .unsettled = info->unsettled};

    if (!info->is_get) {
        record_put_consumer(&p->answer->ready, &record);
    }
}

/* Only the leader's replica is asked: the others may be behind. */
static void
put_consumers(struct answer *a, qr_group_id group)
{
    struct put_consumers p = {.answer = a, .group = group};
    struct broker_replica replica;

    if (broker_replica(a->mgmt->broker, group, &replica) &&
        replica.status.is_leader) {
        broker_replica_consumers(a->mgmt->broker, group, put_consumer, &p);
    }
}

static void
put_channels(struct answer *a, struct broker_connection *c)
{
    struct list *it;

    list_foreach (it, &c->channels) {
        const struct broker_channel *channel =
            list_entry(it, struct broker_channel, link);
        struct channel_record record = {.connection = c->id,
                                        .connection_name = text_of(c->name),
                                        .user = text_of(c->user),
                                        .vhost = text_of(c->vhost),
                                        .number = channel->number,
                                        .is_confirming = channel->is_confirming,
                                        .prefetch = channel->prefetch,
                                        .consumers = channel->consumers_count,
                                        .unconfirmed = channel->unconfirmed,
                                        .unacknowledged =
                                            channel->unacknowledged};

        record_put_channel(&a->ready, &record);
    }
}

static void
describe_tls(const struct broker_tls *tls, struct connection_record *record)
{
    record->is_tls = true;
    record->tls_protocol = text_of(tls->protocol);
    record->tls_key_exchange = text_of(tls->key_exchange);
    record->tls_cipher = text_of(tls->cipher);
    record->tls_hash = text_of(tls->hash);
    record->tls_subject = text_of(tls->subject);
    record->tls_issuer = text_of(tls->issuer);
    record->tls_validity = text_of(tls->validity);
}

static void
put_connection(struct answer *a, const struct broker_connection *c)
{
    struct connection_record record = {
        .id = c->id,
        .name = text_of(c->name),
        .peer_host = text_of(c->peer_host),
        .peer_port = c->peer_port,
        .port = c->port,
        .user = text_of(c->user),
        .vhost = text_of(c->vhost),
        .protocol = text_of(c->protocol == NULL ? "" : c->protocol),
        .state = text_of(c->state == NULL ? "" : c->state),
        .client = text_of(c->client),
        .channels = c->channels_count,
        .connected_ms = c->connected_ms,
        .bytes_received = c->bytes_received,
        .bytes_sent = c->bytes_sent,
        .mechanism = text_of(c->mechanism == NULL ? "" : c->mechanism)};

    if (c->tls != NULL) {
        describe_tls(c->tls, &record);
    }
    record_put_connection(&a->ready, &record);
}

static void
put_clients(struct answer *a)
{
    struct list *connections = broker_connections(a->mgmt->broker);
    struct list *it;

    list_foreach (it, connections) {
        struct broker_connection *c =
            list_entry(it, struct broker_connection, link);

        if (a->kind == ASK_CHANNELS) {
            put_channels(a, c);
        } else {
            put_connection(a, c);
        }
    }
}

static void
put_node(struct answer *a)
{
    struct mgmt *m = a->mgmt;
    struct broker_replica meta;
    struct node_record record = {.version = text_of(QR_VERSION_STRING),
                                 .boot = m->env->boot,
                                 .shards = m->env->shards,
                                 .uptime_ms = m->env->ops->wall_ms(m->env) -
                                              m->started_ms,
                                 .is_ready = broker_is_ready(m->broker),
                                 .meta_state = text_of("")};

    if (broker_replica(m->broker, QR_GROUP_META, &meta)) {
        record.meta_term = meta.status.term;
        record.meta_leader = meta.status.leader;
        record.meta_last = meta.status.last;
        record.meta_stored = meta.status.stored;
        record.meta_committed = meta.status.committed;
        record.meta_applied = meta.status.applied;
        record.meta_snapshot = meta.status.snapshot;
        record.meta_state = text_of(meta.status.state);
        record.meta_blocked = meta.status.blocked;
    }
    record_put_node(&a->ready, &record);
}

static bool
is_of_vhost(const struct answer *a, qr_group_id group)
{
    const struct meta_queue *queue =
        meta_queue_by_group(broker_meta(a->mgmt->broker), group);

    return queue != NULL &&
           (a->vhost.size == 0 ||
            (queue->vhost.size == a->vhost.size &&
             memcmp(queue->vhost.data, a->vhost.data, a->vhost.size) == 0));
}

static void
walk(struct answer *a)
{
    for (size_t i = 0;
         i < ANSWER_REPLICAS_A_TURN && a->groups_next < a->groups_count &&
         a->ready.size < GATHER_PIECE_SIZE;
         i++) {
        qr_group_id group = a->groups[a->groups_next++];

        if (!is_of_vhost(a, group)) {
            continue;
        }
        if (a->kind == ASK_REPLICAS) {
            put_replica(a, group);
        } else {
            put_consumers(a, group);
        }
    }
    a->is_complete = a->groups_next == a->groups_count;
}

/* ---- starting ---- */

static void
command_done(struct mgmt_call *call, uint8_t code, struct buf *json)
{
    struct answer *a = call->arg;

    OBJ_CHECK(a, ANSWER_MAGIC);
    buf_put_u8(&a->ready, code);
    buf_put(&a->ready, json->data, json->size);
    a->is_waiting = false;
    a->is_complete = true;
    a->mgmt->env->ops->wake(a->mgmt->env);
}

static void
start_walk(struct answer *a, struct cursor *c)
{
    size_t size;
    const uint8_t *vhost = cursor_blob(c, &size);

    if (vhost != NULL) {
        buf_put(&a->vhost, vhost, size);
    }
    a->groups = broker_replica_ids(a->mgmt->broker, &a->groups_count);
}

static void
transfer(struct answer *a, struct cursor *c)
{
    qr_group_id group = cursor_varint(c);
    uint64_t node = cursor_varint(c);
    int rv = -QR_EINVAL;

    if (!c->bad && node > 0 && node <= META_NODE_ID_MAX) {
        rv = broker_replica_transfer(a->mgmt->broker, group, (qr_node_id)node);
    }
    buf_put_varint(&a->ready, (uint64_t)-rv);
}

static void
begin(struct answer *a, struct cursor *c, uint64_t left_ms)
{
    a->is_complete = true;
    switch (a->kind) {
    case ASK_COMMAND:
        a->is_complete = false;
        a->is_waiting = true;
        a->call.done = command_done;
        a->call.arg = a;
        mgmt_start(a->mgmt, c->at, cursor_left(c), MAX(left_ms, 1), &a->call);
        return;
    case ASK_REPLICAS:
    case ASK_CONSUMERS:
        a->is_complete = false;
        start_walk(a, c);
        return;
    case ASK_REPLICA:
        put_replica(a, cursor_varint(c));
        return;
    case ASK_CONNECTIONS:
    case ASK_CHANNELS:
        put_clients(a);
        return;
    case ASK_NODE:
        put_node(a);
        return;
    case ASK_TRANSFER:
        transfer(a, c);
        return;
    }
}

static void
refuse(struct mgmt *m, struct address to, uint64_t id)
{
    static const uint8_t busy[] = {0, ANSWER_LAST | ANSWER_BUSY};
    struct frame *f = frame_new(FRAME_CALL, MGMT_ANSWER);

    f->arg = id;
    frame_add(f, slice_copy(busy, sizeof(busy)));
    (void)m->env->ops->post(m->env, to, &f);
}

void
answer_start(struct mgmt *m, struct address from, const struct frame *f)
{
    struct slice content = frame_content(f);
    struct answer *a;
    struct cursor c;
    uint64_t left_ms;
    unsigned kind;

    cursor_init(&c, content.data, content.size);
    kind = cursor_u8(&c);
    left_ms = cursor_varint(&c);
    if (c.bad || kind < ASK_COMMAND || kind > ASK_TRANSFER ||
        m->answers_count == MGMT_ANSWERS_MAX) {
        refuse(m, from, f->arg);
        slice_unref(&content);
        return;
    }
    a = mem_zalloc(1, sizeof(*a));
    a->magic = ANSWER_MAGIC;
    a->mgmt = m;
    a->to = from;
    a->id = f->arg;
    a->kind = (enum ask_kind)kind;
    buf_init(&a->ready);
    buf_init(&a->vhost);
    list_push_back(&m->answers, &a->link);
    m->answers_count++;
    begin(a, &c, left_ms);
    slice_unref(&content);
    m->env->ops->wake(m->env);
}

/* ---- sending ---- */

/* Send the next piece of `ready`. False when the link takes no more now. */
static bool
send_piece(struct answer *a)
{
    struct env *env = a->mgmt->env;
    size_t left = a->ready.size - a->ready_sent;
    size_t size = MIN(left, (size_t)GATHER_PIECE_SIZE);
    bool is_last = a->is_complete && size == left;
    struct frame *f = frame_new(FRAME_CALL, MGMT_ANSWER);
    struct buf head;

    buf_init(&head);
    buf_put_varint(&head, a->piece_next);
    buf_put_u8(&head, is_last ? ANSWER_LAST : 0);
    frame_add(f, slice_copy(head.data, head.size));
    buf_deinit(&head);
    if (size > 0) {
        frame_add(f, slice_copy(a->ready.data + a->ready_sent, size));
    }
    f->arg = a->id;
    if (!env->ops->post(env, a->to, &f)) {
        return false;
    }
    a->piece_next++;
    a->ready_sent += size;
    if (a->ready_sent == a->ready.size) {
        buf_clear(&a->ready);
        a->ready_sent = 0;
    }
    return true;
}

/* One turn of A. True when it is complete and sent. */
static bool
step(struct answer *a)
{
    struct mgmt *m = a->mgmt;

    if (a->groups != NULL && !a->is_complete && a->ready.size == 0) {
        walk(a);
    }
    if (a->is_waiting || (a->ready.size == 0 && !a->is_complete)) {
        if (!a->is_waiting) {
            m->env->ops->wake(m->env);
        }
        return false;
    }
    if (!send_piece(a)) {
        if (!timer_is_running(&m->retry)) {
            timers_start(&m->env->timers, &m->retry,
                         mgmt_now_ms(m) + MGMT_RETRY_MS);
        }
        return false;
    }
    if (a->is_complete && a->ready.size == 0) {
        return true;
    }
    m->env->ops->wake(m->env);
    return false;
}

void
answers_run(struct mgmt *m)
{
    struct list *it;
    struct list *tmp;

    list_foreach_safe (it, tmp, &m->answers) {
        struct answer *a = list_entry(it, struct answer, link);

        if (step(a)) {
            answer_free(a);
        }
    }
}

void
answer_forget(struct mgmt *m, struct address from, uint64_t id)
{
    struct list *it;
    struct list *tmp;

    list_foreach_safe (it, tmp, &m->answers) {
        struct answer *a = list_entry(it, struct answer, link);

        if (a->id == id && a->to.node == from.node &&
            a->to.shard == from.shard) {
            answer_free(a);
        }
    }
}

void
answers_link_down(struct mgmt *m, qr_node_id node)
{
    struct list *it;
    struct list *tmp;

    list_foreach_safe (it, tmp, &m->answers) {
        struct answer *a = list_entry(it, struct answer, link);

        if (a->to.node == node) {
            answer_free(a);
        }
    }
}

void
answers_free(struct mgmt *m)
{
    while (!list_is_empty(&m->answers)) {
        answer_free(list_entry(m->answers.next, struct answer, link));
    }
}
