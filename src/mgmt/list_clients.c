/* Listings of what clients have: connections and channels of every shard of
 * every node, consumers as the queues' leaders know them. */
#include <string.h>

#include "machine/queue/queue_command.h"
#include "mgmt/gather.h"
#include "mgmt/listing.h"
#include "mgmt/mgmt_priv.h"
#include "mgmt/record.h"
#include "shard/env.h"

enum {
    GATHER_MARGIN_MS = 500 /* a gather ends before its job does */
};

/* One row: a record and the node that it came from. */
struct view {
    const struct mgmt *m;
    qr_node_id node;
    const struct connection_record *connection;
    const struct channel_record *channel;
    const struct consumer_record *consumer;
    const struct meta_queue *queue;
};

#define TEXT_OF(name, record, member)                            \
    static void put_##name(struct json *j, const void *row)      \
    {                                                            \
        put_text(j, ((const struct view *)row)->record->member); \
    }
#define NUMBER_OF(name, record, member)                          \
    static void put_##name(struct json *j, const void *row)      \
    {                                                            \
        json_u64(j, ((const struct view *)row)->record->member); \
    }
#define BOOL_OF(name, expression)                           \
    static void put_##name(struct json *j, const void *row) \
    {                                                       \
        const struct view *v = row;                         \
                                                            \
        (void)v;                                            \
        json_bool(j, (expression));                         \
    }

static void
put_node(struct json *j, const void *row)
{
    const struct view *v = row;
    char scratch[NODE_SCRATCH_SIZE];

    put_text(j, mgmt_node_name(v->m, v->node, scratch));
}

static void
put_id(struct json *j, const struct view *v, qr_node_id node, uint64_t a,
       uint64_t b)
{
    char scratch[NODE_SCRATCH_SIZE];
    struct meta_text name = mgmt_node_name(v->m, node, scratch);
    struct buf id;

    buf_init(&id);
    buf_putf(&id, "<%.*s.%llu.%llu>", (int)name.size, name.data,
             (unsigned long long)a, (unsigned long long)b);
    json_string(j, id.data, id.size);
    buf_deinit(&id);
}

/* What this version does not keep. */
static void
put_nothing(struct json *j, const void *row)
{
    (void)row;
    json_text(j, "");
}

static void
put_zero(struct json *j, const void *row)
{
    (void)row;
    json_u64(j, 0);
}

BOOL_OF(false, false)

/* ---- connections ---- */

TEXT_OF(connection_name, connection, name)
TEXT_OF(connection_user, connection, user)
TEXT_OF(connection_vhost, connection, vhost)
TEXT_OF(connection_protocol, connection, protocol)
TEXT_OF(connection_state, connection, state)
TEXT_OF(connection_client, connection, client)
TEXT_OF(connection_peer_host, connection, peer_host)
NUMBER_OF(connection_peer_port, connection, peer_port)
NUMBER_OF(connection_port, connection, port)
NUMBER_OF(connection_channels, connection, channels)
NUMBER_OF(connection_connected, connection, connected_ms)
NUMBER_OF(connection_received, connection, bytes_received)
NUMBER_OF(connection_sent, connection, bytes_sent)
TEXT_OF(connection_mechanism, connection, mechanism)
BOOL_OF(connection_ssl, v->connection->is_tls != 0)
TEXT_OF(connection_ssl_protocol, connection, tls_protocol)
TEXT_OF(connection_ssl_key_exchange, connection, tls_key_exchange)
TEXT_OF(connection_ssl_cipher, connection, tls_cipher)
TEXT_OF(connection_ssl_hash, connection, tls_hash)
TEXT_OF(connection_cert_subject, connection, tls_subject)
TEXT_OF(connection_cert_issuer, connection, tls_issuer)
TEXT_OF(connection_cert_validity, connection, tls_validity)

static void
put_connection_pid(struct json *j, const void *row)
{
    const struct view *v = row;

    put_id(j, v, v->node, v->connection->id, 0);
}

static const struct column connection_columns[] = {
    {"pid", put_connection_pid, true},
    {"name", put_connection_name, true},
    {"user", put_connection_user, true},
    {"vhost", put_connection_vhost, true},
    {"peer_host", put_connection_peer_host, true},
    {"peer_port", put_connection_peer_port, true},
    {"port", put_connection_port, true},
    {"host", put_nothing, true},
    {"node", put_node, true},
    {"protocol", put_connection_protocol, true},
    {"state", put_connection_state, true},
    {"channels", put_connection_channels, true},
    {"client_properties", put_connection_client, true},
    {"user_provided_name", put_connection_client, true},
    {"connected_at", put_connection_connected, true},
    {"recv_oct", put_connection_received, true},
    {"send_oct", put_connection_sent, true},
    {"auth_mechanism", put_connection_mechanism, true},
    {"ssl", put_connection_ssl, true},
    {"ssl_protocol", put_connection_ssl_protocol, true},
    {"ssl_key_exchange", put_connection_ssl_key_exchange, true},
    {"ssl_cipher", put_connection_ssl_cipher, true},
    {"ssl_hash", put_connection_ssl_hash, true},
    {"peer_cert_subject", put_connection_cert_subject, true},
    {"peer_cert_issuer", put_connection_cert_issuer, true},
    {"peer_cert_validity", put_connection_cert_validity, true},
};

static void
connections_gathered(struct gather *g, void *arg)
{
    struct job *job = arg;
    struct connection_record record;
    struct view v = {.m = job->mgmt, .connection = &record};

    listing_begin(job);
    for (size_t i = 0; i < g->targets_count; i++) {
        struct cursor c = gather_bytes(g, i);

        v.node = g->targets[i].node;
        while (record_get_connection(&c, &record)) {
            listing_row(job, &v);
        }
    }
    listing_end(job, g);
}

/* Ask every shard, of this node alone with --local. */
static void
ask(struct job *job, enum ask_kind kind, gather_done_cb done)
{
    job->gather = gather_new(job->mgmt, kind, done, job);
    if (kind == ASK_CONSUMERS) {
        struct meta_text vhost = job_vhost_name(job);

        buf_put_blob(&job->gather->question, vhost.data, vhost.size);
    }
    if (job_has(job, OPTION_LOCAL)) {
        gather_add_node(job->gather, job->mgmt->env->node);
    } else {
        gather_add_all(job->gather, false);
    }
    gather_send(job->gather,
                job->deadline_ms - MIN(job_left(job) / 4, GATHER_MARGIN_MS));
}

void
run_list_connections(struct job *job)
{
    if (listing_pick(job, connection_columns, ARRAY_COUNT(connection_columns),
                     "user peer_host peer_port state", 0)) {
        ask(job, ASK_CONNECTIONS, connections_gathered);
    }
}

/* ---- channels ---- */

TEXT_OF(channel_user, channel, user)
TEXT_OF(channel_vhost, channel, vhost)
NUMBER_OF(channel_number, channel, number)
NUMBER_OF(channel_prefetch, channel, prefetch)
NUMBER_OF(channel_consumers, channel, consumers)
NUMBER_OF(channel_unconfirmed, channel, unconfirmed)
NUMBER_OF(channel_unacknowledged, channel, unacknowledged)
BOOL_OF(channel_confirm, v->channel->is_confirming != 0)

static void
put_channel_pid(struct json *j, const void *row)
{
    const struct view *v = row;

    put_id(j, v, v->node, v->channel->connection, v->channel->number);
}

static void
put_channel_connection(struct json *j, const void *row)
{
    const struct view *v = row;

    put_id(j, v, v->node, v->channel->connection, 0);
}

static void
put_channel_name(struct json *j, const void *row)
{
    const struct channel_record *r = ((const struct view *)row)->channel;
    struct buf name;

    buf_init(&name);
    buf_putf(&name, "%.*s (%llu)", (int)r->connection_name.size,
             r->connection_name.data, (unsigned long long)r->number);
    json_string(j, name.data, name.size);
    buf_deinit(&name);
}

static const struct column channel_columns[] = {
    {"pid", put_channel_pid, true},
    {"connection", put_channel_connection, true},
    {"name", put_channel_name, true},
    {"number", put_channel_number, true},
    {"node", put_node, true},
    {"user", put_channel_user, true},
    {"vhost", put_channel_vhost, true},
    {"transactional", put_false, true},
    {"confirm", put_channel_confirm, true},
    {"consumer_count", put_channel_consumers, true},
    {"messages_unacknowledged", put_channel_unacknowledged, true},
    {"messages_unconfirmed", put_channel_unconfirmed, true},
    {"messages_uncommitted", put_zero, true},
    {"acks_uncommitted", put_zero, true},
    {"prefetch_count", put_channel_prefetch, true},
    {"global_prefetch_count", put_zero, true},
};

static void
channels_gathered(struct gather *g, void *arg)
{
    struct job *job = arg;
    struct channel_record record;
    struct view v = {.m = job->mgmt, .channel = &record};

    listing_begin(job);
    for (size_t i = 0; i < g->targets_count; i++) {
        struct cursor c = gather_bytes(g, i);

        v.node = g->targets[i].node;
        while (record_get_channel(&c, &record)) {
            listing_row(job, &v);
        }
    }
    listing_end(job, g);
}

void
run_list_channels(struct job *job)
{
    if (listing_pick(job, channel_columns, ARRAY_COUNT(channel_columns),
                     "pid user consumer_count messages_unacknowledged", 0)) {
        ask(job, ASK_CHANNELS, channels_gathered);
    }
}

/* ---- consumers ---- */

TEXT_OF(consumer_queue, queue, name)
TEXT_OF(consumer_vhost, queue, vhost)
TEXT_OF(consumer_tag, consumer, tag)
NUMBER_OF(consumer_credit, consumer, credit)
NUMBER_OF(consumer_unsettled, consumer, unsettled)
BOOL_OF(consumer_ack, v->consumer->is_no_ack == 0)
BOOL_OF(consumer_exclusive, v->consumer->is_exclusive != 0)
BOOL_OF(consumer_active, v->consumer->is_cancelled == 0)

static void
put_consumer_node(struct json *j, const void *row)
{
    const struct view *v = row;
    char scratch[NODE_SCRATCH_SIZE];

    put_text(j,
             mgmt_node_name(v->m, session_node(v->consumer->session), scratch));
}

/* The queue knows its client, a shard of a start of a node, and the client's
 * number for the consumer; which channel has it is known there only. */
static void
put_consumer_pid(struct json *j, const void *row)
{
    const struct view *v = row;

    put_id(j, v, session_node(v->consumer->session),
           session_shard(v->consumer->session), v->consumer->consumer);
}

static void
put_consumer_arguments(struct json *j, const void *row)
{
    (void)row;
    json_object_begin(j);
    json_object_end(j);
}

static void
put_activity(struct json *j, const void *row)
{
    const struct view *v = row;

    json_text(j, v->consumer->is_cancelled != 0 ? "cancelled" : "up");
}

static const struct column consumer_columns[] = {
    {"queue_name", put_consumer_queue, true},
    {"vhost", put_consumer_vhost, true},
    {"channel_pid", put_consumer_pid, true},
    {"node", put_consumer_node, true},
    {"consumer_tag", put_consumer_tag, true},
    {"ack_required", put_consumer_ack, true},
    {"exclusive", put_consumer_exclusive, true},
    {"prefetch_count", put_consumer_credit, true},
    {"messages_unacknowledged", put_consumer_unsettled, true},
    {"active", put_consumer_active, true},
    {"activity_status", put_activity, true},
    {"arguments", put_consumer_arguments, true},
};

static void
consumers_gathered(struct gather *g, void *arg)
{
    struct job *job = arg;
    struct meta_machine *meta = broker_meta(job->mgmt->broker);
    struct consumer_record record;
    struct view v = {.m = job->mgmt, .consumer = &record};

    listing_begin(job);
    for (size_t i = 0; i < g->targets_count; i++) {
        struct cursor c = gather_bytes(g, i);

        v.node = g->targets[i].node;
        while (record_get_consumer(&c, &record)) {
            v.queue = meta_queue_by_group(meta, record.group);
            if (v.queue != NULL) {
                listing_row(job, &v);
            }
        }
    }
    listing_end(job, g);
}

void
run_list_consumers(struct job *job)
{
    if (listing_pick(job, consumer_columns, ARRAY_COUNT(consumer_columns),
                     "queue_name channel_pid consumer_tag ack_required "
                     "prefetch_count active arguments",
                     0) &&
        job_vhost(job) != NULL) {
        ask(job, ASK_CONSUMERS, consumers_gathered);
    }
}
