/* What another node sends, once its link is proven: frames of queue clients and
 * queue groups, of the metadata, of operators' commands that it forwards, of
 * blank nodes, of replicas. A whole node gets them.
 *
 * The input is frames one after the other:
 *
 *   0      1      2       3      4        6
 *   +------+------+-------+------+--------+-----------------+
 *   | kind | from | group | arg  | size   | content ...     |
 *   +------+------+-------+------+--------+-----------------+
 *
 * kind: an index of KINDS; from: bits 0-1 the node, bits 4-5 the shard, bit 6
 * the bytes are the frame's head, bit 7 time passes first; group and arg: see
 * pick_group() and pick_arg(). */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "broker/broker_admin.h"
#include "broker/broker_priv.h"
#include "broker/queue_events.h"
#include "consensus/wire.h"
#include "fuzz/fuzz.h"
#include "fuzz/world.h"
#include "machine/meta/meta_command.h"
#include "machine/queue/queue_command.h"
#include "mgmt/mgmt.h"
#include "mgmt/mgmt_priv.h"
#include "mgmt/protocol.h"
#include "mgmt/record.h"

enum {
    SPEC_SIZE = 6,
    SIZE_MAX_OF_CONTENT = 2048,
    FRAMES_MAX = 32,
    SHARD_SHIFT = 4,
    AS_HEAD = 64,
    TIME_PASSES = 128,
    PASS_MS = 5,
    READY_MS = 5000,
    REST_MS = 700, /* more than what is asked again for takes */
    MESSAGES = 3
};

static const uint16_t KINDS[] = {
    BROKER_COMMANDS,
    BROKER_RESUME,
    BROKER_QUERY,
    BROKER_EVENTS,
    BROKER_RESUMED,
    BROKER_LEADER,
    BROKER_BUSY,
    BROKER_COUNTS,
    BROKER_DEAD,
    BROKER_ALARM,
    BROKER_META_PROPOSE,
    BROKER_META_ENTRY,
    BROKER_META_SNAPSHOT,
    BROKER_META_APPLIED,
    BROKER_META_LEADER,
    BROKER_META_JOIN,
    BROKER_META_JOIN_NO,
    MGMT_ASK,
    MGMT_ANSWER,
    MGMT_FORGET,
    FRAME_NODE_FIRST, /* HAIL, FORM, WAIT, NO, RENEW */
    FRAME_NODE_FIRST + 1,
    FRAME_NODE_FIRST + 2,
    FRAME_NODE_FIRST + 3,
    FRAME_NODE_FIRST + 4,
    WIRE_BATCH,
    WIRE_INSTALL,
    WIRE_PULL,
    WIRE_CHUNK,
    WIRE_NOTICE,
    WIRE_LOST,
    WIRE_FETCH,
    WIRE_FETCHED,
    WIRE_STATE,
};

/* Nodes that say something: a stranger's number, two more, and a guest. */
static const qr_node_id NODES[] = {7, 2, 3, LINK_GUEST_FIRST};

/* A client of the node: a queue, a consumer, a publisher. */
struct user {
    struct broker_connection connection;
    struct broker_consumer consumer;
    struct broker_publisher publisher;
    struct broker_call call;
    bool is_done;
    uint64_t delivered;
    qr_group_id group; /* of the queue */
};

static void
on_done(struct broker_call *call, const struct broker_reply *reply)
{
    (void)reply;
    ((struct user *)call->arg)->is_done = true;
}

static void
on_deliver(struct broker_consumer *c, const struct broker_delivery *d)
{
    struct user *u = c->arg;

    ASSERT(d->id == u->delivered + 1);
    u->delivered = d->id;
    if (d->id % 2 == 0) {
        broker_settle(c, d->id, d->id, BROKER_ACK);
    }
}

static void
on_cancelled(struct broker_consumer *c)
{
    ASSERT(c->arg != NULL);
}

static void
on_confirm(struct broker_publisher *p, uint64_t tag, bool multiple, bool is_ok)
{
    (void)p;
    (void)multiple;
    (void)is_ok;
    ASSERT(tag > 0 && tag <= MESSAGES);
}

static void
on_congestion(struct broker_publisher *p, bool is_congested)
{
    (void)p;
    (void)is_congested;
}

static void
on_force_close(struct broker_connection *c, const char *text)
{
    ASSERT(c != NULL);
    ASSERT(text != NULL);
}

static void
await(struct world *w, struct user *u)
{
    for (unsigned ms = 0; ms < READY_MS && !u->is_done; ms++) {
        world_pass(w, 1);
    }
    ASSERT(u->is_done);
    u->is_done = false;
}

static void
user_publish(struct user *u)
{
    struct slice body = slice_borrow("body", 4);
    struct broker_message m = {.exchange = meta_text("", 0),
                               .key = meta_text("q", 1),
                               .properties = slice_borrow("\0\0", 2),
                               .body = &body,
                               .body_count = 1,
                               .body_size = 4};

    for (uint64_t tag = 1; tag <= MESSAGES; tag++) {
        struct broker_fault fault = {.kind = BROKER_OK};
        size_t routed = 0;

        broker_publish(&u->publisher, &m, tag, &routed, &fault);
        ASSERT(fault.kind == BROKER_OK);
    }
}

static void
user_start(struct world *w, struct user *u)
{
    struct broker *b = world_broker(w);
    struct broker_queue_spec queue = {.name = meta_text("q", 1),
                                      .arguments = meta_text("", 0),
                                      .is_durable = true};
    struct broker_consume_spec consume = {.queue = queue.name,
                                          .tag = meta_text("t", 1),
                                          .arguments = meta_text("", 0)};
    struct broker_fault fault = {.kind = BROKER_OK};
    size_t count = 0;
    uint64_t *groups = NULL;

    memset(u, 0, sizeof(*u));
    list_init(&u->connection.link);
    list_init(&u->connection.channels);
    u->connection.force_close = on_force_close;
    u->connection.protocol = "AMQP 0-9-1";
    u->connection.state = "running";
    u->connection.mechanism = "PLAIN";
    (void)snprintf(u->connection.user, sizeof(u->connection.user), "guest");
    (void)snprintf(u->connection.vhost, sizeof(u->connection.vhost), "/");
    u->call = (struct broker_call){.done = on_done, .arg = u};
    u->consumer = (struct broker_consumer){
        .on_deliver = on_deliver, .on_cancelled = on_cancelled, .arg = u};
    u->publisher = (struct broker_publisher){.connection = &u->connection,
                                             .on_confirm = on_confirm,
                                             .on_congestion = on_congestion,
                                             .arg = u};
    broker_connection_open(b, &u->connection, &fault);
    ASSERT(fault.kind == BROKER_OK);
    broker_queue_declare(b, &u->connection, &queue, &u->call);
    await(w, u);
    u->call = (struct broker_call){.done = on_done, .arg = u};
    broker_consume(b, &u->connection, &consume, &u->consumer, &u->call);
    await(w, u);
    broker_publisher_open(b, &u->publisher);
    user_publish(u);
    groups = broker_replica_ids(b, &count);
    ASSERT(count == 1);
    u->group = groups[0];
    mem_free(groups);
}

static void
user_stop(struct world *w, struct user *u)
{
    broker_publisher_close(&u->publisher);
    if (broker_consumer_is_attached(&u->consumer)) {
        broker_consumer_detach(&u->consumer);
    }
    broker_connection_closed(world_broker(w), &u->connection);
}

static void
set_links(struct world *w, enum link_event event)
{
    for (size_t i = 0; i < ARRAY_COUNT(NODES); i++) {
        struct link_peer peer = {
            .node = NODES[i], .boot = 1, .shards = 2, .epoch = 1};

        memset(peer.uuid.bytes, (int)(0x10 + i), sizeof(peer.uuid.bytes));
        env_link_event(sim_env(w->sim, w->id, 0), event, &peer);
    }
}

static qr_group_id
pick_group(const struct user *u, uint8_t pick)
{
    switch (pick) {
    case 1:
        return QR_GROUP_META;
    case 2:
        return u->group;
    default:
        return pick;
    }
}

static uint64_t
pick_arg(struct world *w, uint8_t pick)
{
    switch (pick) {
    case 0xff:
        return UINT64_MAX;
    case 0xfe:
        return world_broker(w)->session;
    default:
        return pick;
    }
}

/* Whether a frame of KIND may change the metadata, or who is in a group. */
static bool
is_change(uint16_t kind)
{
    return kind < FRAME_BROKER_FIRST || kind == BROKER_META_PROPOSE ||
           kind == BROKER_META_JOIN || kind == FRAME_NODE_FIRST ||
           kind == MGMT_ASK;
}

/* The frame at SPEC, with CONTENT behind it, arrives. */
static void
receive(struct world *w, const struct user *u, const uint8_t *spec,
        const uint8_t *content, size_t size)
{
    uint16_t kind = KINDS[spec[0] % ARRAY_COUNT(KINDS)];
    struct frame *f = frame_new(FRAME_CALL, kind);
    struct env *env = sim_env(w->sim, w->id, 0);
    const struct env_handler *h = env_handler(env, kind);
    struct address from = {.node = NODES[spec[1] % ARRAY_COUNT(NODES)],
                           .shard = (spec[1] >> SHARD_SHIFT) & 3};

    if ((spec[1] & TIME_PASSES) != 0) {
        world_pass(w, PASS_MS);
    }
    f->from_shard = from.shard;
    f->group = pick_group(u, spec[2]);
    f->arg = pick_arg(w, spec[3]);
    if ((spec[1] & AS_HEAD) != 0) {
        f->head = slice_copy(content, size);
    } else if (size > 0) {
        frame_add(f, slice_copy(content, size));
    }
    /* Guests are heard by few; the runtime sees to it. */
    if (h != NULL && (from.node < LINK_GUEST_FIRST || h->hears_guests)) {
        h->on_frame(h->arg, from, &f);
    }
    frame_free(&f);
    if (is_change(kind)) {
        world_spoil(w);
    }
}

static void
on_stop(void *arg)
{
    (void)arg;
}

static void
say_row(void *arg, mgmt_row_cb row, void *row_arg)
{
    (void)arg;
    row(row_arg, "a_key", "a value");
}

static struct mgmt *
make_mgmt(struct world *w)
{
    struct mgmt_config config = {.env = sim_env(w->sim, w->id, 0),
                                 .broker = world_broker(w),
                                 .node_name = "n1",
                                 .stop = on_stop,
                                 .status = say_row,
                                 .environment = say_row};

    return mgmt_new(&config);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    static struct mgmt *mgmt;
    struct user u;
    size_t at = 0;

    if (world_is_used_up(&w)) {
        mgmt_free(&mgmt);
    }
    world_reset(&w);
    if (mgmt == NULL) {
        mgmt = make_mgmt(&w);
    }
    user_start(&w, &u);
    set_links(&w, LINK_UP);
    for (unsigned i = 0; i < FRAMES_MAX && size - at >= SPEC_SIZE; i++) {
        const uint8_t *spec = data + at;
        size_t content = get_u16be(spec + 4) % SIZE_MAX_OF_CONTENT;

        at += SPEC_SIZE;
        content = MIN(content, size - at);
        receive(&w, &u, spec, data + at, content);
        at += content;
    }
    world_pass(&w, REST_MS);
    set_links(&w, LINK_DOWN);
    user_stop(&w, &u);
    world_pass(&w, PASS_MS);
    return 0;
}

/* ---- valid input ---- */

static void
put_commands(struct rng *r, struct buf *b)
{
    uint64_t session = session_id(2, 1, 0);

    queue_put_purge(b, session, 1);
    queue_put_session_down(b, (qr_node_id)rng_below(r, 4), 1);
}

static void
put_proposal(struct rng *r, struct buf *b)
{
    struct meta_node node = {
        .id = 2, .name = meta_text("n2", 2), .boot = (uint32_t)rng_below(r, 3)};

    memset(node.uuid.bytes, 0x11, sizeof(node.uuid.bytes));
    meta_put_node_up(b, 1, 1, &node);
    meta_put_barrier(b, 1, 2);
}

static void
put_events(struct rng *r, struct buf *b)
{
    struct queue_effect e;
    struct buf events;

    buf_init(&events);
    memset(&e, 0, sizeof(e));
    e.kind = rng_below(r, 2) == 0 ? QUEUE_EFFECT_APPLIED : QUEUE_EFFECT_DELIVER;
    e.seq = rng_below(r, 8);
    e.consumer = 1 + rng_below(r, 2);
    e.delivery = 1 + rng_below(r, 5);
    e.message.size = 8;
    queue_event_put(&events, &e);
    buf_put_u32le(b, (uint32_t)events.size);
    buf_put(b, events.data, events.size);
    buf_put(b, "\1\0\1q\2\0\0b", 8);
    buf_deinit(&events);
}

static void
put_question(struct rng *r, struct buf *b)
{
    uint64_t kind = 1 + rng_below(r, ASK_TRANSFER);

    buf_put_u8(b, (uint8_t)kind);
    buf_put_varint(b, 1000);
    if (kind == ASK_COMMAND) {
        request_put_command(b, (enum command_id)rng_below(r, COMMAND_COUNT));
        request_put_end(b);
        request_put_argument(b, "q");
    } else {
        buf_put_varint(b, rng_below(r, 4));
        buf_put_varint(b, rng_below(r, 4));
    }
}

static void
put_content(struct rng *r, uint16_t kind, struct buf *b)
{
    static const char member[] =
        "member 0 11111111-1111-1111-1111-111111111111 10.0.0.2:5 n2\n";

    switch (kind) {
    case BROKER_COMMANDS:
        put_commands(r, b);
        break;
    case BROKER_EVENTS:
        put_events(r, b);
        break;
    case BROKER_META_PROPOSE:
        put_proposal(r, b);
        break;
    case MGMT_ASK:
        put_question(r, b);
        break;
    case BROKER_META_JOIN:
    case FRAME_NODE_FIRST:
        buf_put(b, member, sizeof(member) - 1);
        break;
    default:
        for (uint64_t n = rng_below(r, 24); n > 0; n--) {
            buf_put_u8(b, (uint8_t)rng_below(r, 6));
        }
        break;
    }
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    struct buf b;
    struct buf content;
    size_t size = 0;

    buf_init(&b);
    buf_init(&content);
    for (uint64_t n = 1 + rng_below(r, 4); n > 0; n--) {
        uint64_t kind = rng_below(r, ARRAY_COUNT(KINDS));

        buf_clear(&content);
        put_content(r, KINDS[kind], &content);
        buf_put_u8(&b, (uint8_t)kind);
        buf_put_u8(&b, (uint8_t)rng_below(r, 256));
        buf_put_u8(&b, (uint8_t)rng_below(r, 4));
        buf_put_u8(&b, (uint8_t)(0xfd + rng_below(r, 6)));
        buf_put_u16be(&b, (uint16_t)content.size);
        buf_put(&b, content.data, content.size);
    }
    size = MIN(b.size, capacity);
    memcpy(at, b.data, size);
    buf_deinit(&content);
    buf_deinit(&b);
    return size;
}
