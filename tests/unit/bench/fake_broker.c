/* Half of a broker: queues are rings of what bodies begin with. */
#include "fake_broker.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "amqp/content.h"
#include "amqp/frame.h"
#include "amqp/limits.h"
#include "amqp/method.h"
#include "amqp/table.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/ring.h"
#include "base/slice.h"
#include "lib/harness.h"
#include "net/listener.h"
#include "net/net.h"
#include "net/stream.h"

enum {
    QUEUES_MAX = 64,
    CONSUMERS_MAX = 64, /* of a queue */
    HEAD_SIZE = 16,
    NAME_SIZE = 64,
    TAG_SIZE = 16
};

struct message {
    uint8_t head[HEAD_SIZE];
    uint64_t size;
    bool redelivered;
};

struct consumer_of {
    struct peer *peer;
    char tag[TAG_SIZE];
};

struct queue {
    char name[NAME_SIZE];
    struct ring ready; /* struct message */
    struct consumer_of consumers[CONSUMERS_MAX];
    size_t consumers_count;
    size_t turn;
};

struct unacked {
    uint64_t tag;
    struct queue *queue;
    struct message message;
};

struct peer {
    struct list entry;
    struct fake_broker *broker;
    struct stream *stream;
    struct buf out;
    struct ring unacked;
    uint64_t delivery_tag;
    uint64_t publish_tag;
    uint64_t prefetch;
    bool has_header; /* the protocol header came */
    bool confirms;
    struct queue *target; /* of the publish under way; NULL: none */
    struct message message;
    uint64_t got; /* bytes of its body */
};

struct fake_broker {
    struct fake_faults faults;
    uv_thread_t thread;
    uv_loop_t loop;
    uv_async_t stop;
    uv_prepare_t flush;
    struct net *net;
    struct listener *listener;
    uint16_t port;
    struct list peers;
    struct queue queues[QUEUES_MAX];
    size_t queues_count;
    _Atomic uint64_t published;
    bool has_held;
    struct message held; /* of swap_every */
};

static void
put(struct peer *p, uint16_t channel, const struct amqp_method *m)
{
    size_t mark = 0;

    buf_clear(&p->out);
    mark = amqp_frame_begin(&p->out, AMQP_FRAME_METHOD, channel);
    amqp_method_encode(m, &p->out);
    amqp_frame_end(&p->out, mark);
    stream_write(p->stream, p->out.data, p->out.size);
}

static void
put_empty(struct peer *p, uint16_t channel, enum amqp_method_id id)
{
    struct amqp_method m = {.id = id};

    put(p, channel, &m);
}

/* A content header and the body, whose end is zeros. */
static void
put_content(struct peer *p, const struct message *message)
{
    static const uint8_t zeros[4096 - 8];
    uint64_t left = message->size;
    size_t first = MIN(left, HEAD_SIZE);
    size_t mark = 0;
    size_t size = 0;

    buf_clear(&p->out);
    mark = amqp_frame_begin(&p->out, AMQP_FRAME_HEADER, 1);
    amqp_content_head(&p->out, message->size);
    buf_put_u16be(&p->out, 0);
    amqp_frame_end(&p->out, mark);
    if (first > 0) {
        amqp_frame_head(&p->out, AMQP_FRAME_BODY, 1, first);
        buf_put(&p->out, message->head, first);
        buf_put_u8(&p->out, AMQP_FRAME_END);
    }
    for (left -= first; left > 0; left -= size) {
        size = MIN(left, sizeof(zeros));
        amqp_frame_head(&p->out, AMQP_FRAME_BODY, 1, size);
        buf_put(&p->out, zeros, size);
        buf_put_u8(&p->out, AMQP_FRAME_END);
    }
    stream_write(p->stream, p->out.data, p->out.size);
}

static struct queue *
find_queue(struct fake_broker *b, struct amqp_text name)
{
    struct queue *q = NULL;
    size_t i = 0;

    for (i = 0; i < b->queues_count; i++) {
        q = &b->queues[i];
        if (strlen(q->name) == name.size &&
            memcmp(q->name, name.data, name.size) == 0) {
            return q;
        }
    }
    ASSERT(b->queues_count < QUEUES_MAX);
    ASSERT(name.size < NAME_SIZE);
    q = &b->queues[b->queues_count];
    b->queues_count++;
    memcpy(q->name, name.data, name.size);
    ring_init(&q->ready, sizeof(struct message));
    return q;
}

static void
remember(struct peer *p, struct queue *q, const struct message *m)
{
    struct unacked *u = ring_push_back(&p->unacked);

    p->delivery_tag++;
    *u = (struct unacked){.tag = p->delivery_tag, .queue = q, .message = *m};
}

/* Deliver what consumers will take. */
static void
pump(struct queue *q)
{
    struct amqp_method m = {.id = AMQP_basic_deliver};
    struct consumer_of *c = NULL;
    struct message message;
    size_t idle = 0;

    while (q->ready.count > 0 && idle < q->consumers_count) {
        c = &q->consumers[q->turn % q->consumers_count];
        q->turn++;
        if (c->peer->prefetch > 0 &&
            c->peer->unacked.count >= c->peer->prefetch) {
            idle++;
            continue;
        }
        idle = 0;
        message = *(struct message *)ring_at(&q->ready, 0);
        ring_pop_front(&q->ready);
        remember(c->peer, q, &message);
        m.basic_deliver.consumer_tag = amqp_text(c->tag);
        m.basic_deliver.delivery_tag = c->peer->delivery_tag;
        m.basic_deliver.redelivered = message.redelivered;
        m.basic_deliver.exchange = amqp_text("");
        m.basic_deliver.routing_key = amqp_text(q->name);
        put(c->peer, 1, &m);
        put_content(c->peer, &message);
    }
}

static bool
is_turn(uint64_t every, uint64_t number)
{
    return every > 0 && number % every == 0;
}

static void
store(struct queue *q, const struct message *m)
{
    *(struct message *)ring_push_back(&q->ready) = *m;
}

static void
confirm(struct peer *p, bool is_ack)
{
    struct amqp_method m = {.id = is_ack ? AMQP_basic_ack : AMQP_basic_nack};

    if (!p->confirms || p->broker->faults.never_confirms) {
        return;
    }
    if (is_ack) {
        m.basic_ack.delivery_tag = p->publish_tag;
    } else {
        m.basic_nack.delivery_tag = p->publish_tag;
    }
    put(p, 1, &m);
    if (p->broker->faults.confirms_strangely) {
        m.id = AMQP_basic_ack;
        m.basic_ack.delivery_tag = p->publish_tag + 1000000;
        put(p, 1, &m);
    }
}

static void
hang_up(struct fake_broker *b)
{
    struct list *at = NULL;

    for (at = b->peers.next; at != &b->peers; at = at->next) {
        stream_close(CONTAINER_OF(at, struct peer, entry)->stream);
    }
}

static void
cancel(struct queue *q)
{
    struct amqp_method m = {.id = AMQP_basic_cancel};
    size_t i = 0;

    for (i = 0; i < q->consumers_count; i++) {
        m.basic_cancel.consumer_tag = amqp_text(q->consumers[i].tag);
        m.basic_cancel.nowait = true;
        put(q->consumers[i].peer, 1, &m);
    }
    q->consumers_count = 0;
}

static void
give_back(struct peer *p, const struct message *message)
{
    struct amqp_method m = {.id = AMQP_basic_return};

    m.basic_return.reply_code = 312;
    m.basic_return.reply_text = amqp_text("NO_ROUTE");
    m.basic_return.exchange = amqp_text("");
    m.basic_return.routing_key = amqp_text("nowhere");
    put(p, 1, &m);
    put_content(p, message);
}

/* A whole message was published. */
static void
on_published(struct peer *p)
{
    struct fake_broker *b = p->broker;
    const struct fake_faults *f = &b->faults;
    struct queue *q = p->target;
    uint64_t number = atomic_fetch_add(&b->published, 1) + 1;

    p->target = NULL;
    p->publish_tag++;
    if (is_turn(f->return_every, number)) {
        give_back(p, &p->message);
    }
    if (is_turn(f->refuse_every, number)) {
        confirm(p, false);
        return;
    }
    if (is_turn(f->swap_every, number)) {
        b->has_held = true;
        b->held = p->message;
    } else if (!is_turn(f->lose_every, number)) {
        store(q, &p->message);
        if (is_turn(f->twice_every, number)) {
            store(q, &p->message);
        }
        if (b->has_held) {
            store(q, &b->held);
            b->has_held = false;
        }
    }
    if (is_turn(f->cancel_every, number)) {
        cancel(q);
    }
    pump(q);
    if (is_turn(f->hang_up_every, number)) {
        hang_up(b);
        return;
    }
    confirm(p, true);
}

static void
on_declare(struct peer *p, const struct amqp_method *m)
{
    struct amqp_method ok = {.id = AMQP_queue_declare_ok};

    if (p->broker->faults.refuse_declare) {
        ok.id = AMQP_channel_close;
        ok.channel_close.reply_code = 406;
        ok.channel_close.reply_text = amqp_text("PRECONDITION_FAILED");
    } else {
        (void)find_queue(p->broker, m->queue_declare.queue);
        ok.queue_declare_ok.queue = m->queue_declare.queue;
    }
    put(p, 1, &ok);
}

static void
on_consume(struct peer *p, const struct amqp_method *m)
{
    struct amqp_method ok = {.id = AMQP_basic_consume_ok};
    struct queue *q = find_queue(p->broker, m->basic_consume.queue);
    struct consumer_of *c = &q->consumers[q->consumers_count];

    ASSERT(q->consumers_count < CONSUMERS_MAX);
    ASSERT(m->basic_consume.consumer_tag.size < TAG_SIZE);
    memset(c, 0, sizeof(*c));
    c->peer = p;
    memcpy(c->tag, m->basic_consume.consumer_tag.data,
           m->basic_consume.consumer_tag.size);
    q->consumers_count++;
    ok.basic_consume_ok.consumer_tag = m->basic_consume.consumer_tag;
    put(p, 1, &ok);
    pump(q);
}

static void
on_get(struct peer *p, const struct amqp_method *m)
{
    struct amqp_method ok = {.id = AMQP_basic_get_ok};
    struct queue *q = find_queue(p->broker, m->basic_get.queue);
    struct message message;

    if (q->ready.count == 0) {
        ok.id = AMQP_basic_get_empty;
        ok.basic_get_empty.reserved_1 = amqp_text("");
        put(p, 1, &ok);
        return;
    }
    message = *(struct message *)ring_at(&q->ready, 0);
    ring_pop_front(&q->ready);
    remember(p, q, &message);
    ok.basic_get_ok.delivery_tag = p->delivery_tag;
    ok.basic_get_ok.redelivered = message.redelivered;
    ok.basic_get_ok.exchange = amqp_text("");
    ok.basic_get_ok.routing_key = amqp_text(q->name);
    put(p, 1, &ok);
    put_content(p, &message);
}

/* All up to the tag: the bench acknowledges no other way. */
static void
on_ack(struct peer *p, const struct amqp_method *m)
{
    struct unacked *u = NULL;
    struct queue *q = NULL;

    ASSERT(m->basic_ack.multiple);
    while (p->unacked.count > 0) {
        u = ring_at(&p->unacked, 0);
        if (u->tag > m->basic_ack.delivery_tag) {
            break;
        }
        q = u->queue;
        ring_pop_front(&p->unacked);
        pump(q);
    }
}

static void
on_start_ok(struct peer *p)
{
    struct amqp_method m = {.id = AMQP_connection_tune};

    if (p->broker->faults.refuse_login) {
        m.id = AMQP_connection_close;
        m.connection_close.reply_code = 403;
        m.connection_close.reply_text = amqp_text("ACCESS_REFUSED");
    } else {
        m.connection_tune.channel_max = 100;
        m.connection_tune.frame_max = AMQP_FRAME_SIZE_MIN;
    }
    put(p, 0, &m);
}

static void
on_connection_method(struct peer *p, const struct amqp_method *m)
{
    struct amqp_method ok = {.id = AMQP_NO_METHOD};

    if (m->id == AMQP_connection_start_ok) {
        on_start_ok(p);
    } else if (m->id == AMQP_connection_open) {
        ok.id = AMQP_connection_open_ok;
        ok.connection_open_ok.reserved_1 = amqp_text("");
        put(p, 0, &ok);
    } else if (m->id == AMQP_connection_close) {
        put_empty(p, 0, AMQP_connection_close_ok);
    }
}

static void
on_method(struct peer *p, const struct amqp_method *m)
{
    struct amqp_method ok = {.id = AMQP_NO_METHOD};

    if (m->id == AMQP_channel_open) {
        ok.id = AMQP_channel_open_ok;
        ok.channel_open_ok.reserved_1 = amqp_text("");
        put(p, 1, &ok);
    } else if (m->id == AMQP_queue_declare) {
        on_declare(p, m);
    } else if (m->id == AMQP_queue_delete) {
        put_empty(p, 1, AMQP_queue_delete_ok);
    } else if (m->id == AMQP_confirm_select) {
        p->confirms = true;
        put_empty(p, 1, AMQP_confirm_select_ok);
    } else if (m->id == AMQP_basic_qos) {
        p->prefetch = m->basic_qos.prefetch_count;
        put_empty(p, 1, AMQP_basic_qos_ok);
    } else if (m->id == AMQP_basic_consume) {
        on_consume(p, m);
    } else if (m->id == AMQP_basic_get) {
        on_get(p, m);
    } else if (m->id == AMQP_basic_ack) {
        on_ack(p, m);
    } else if (m->id == AMQP_basic_publish) {
        p->target = find_queue(p->broker, m->basic_publish.routing_key);
        p->message = (struct message){0};
        p->got = 0;
    }
}

static void
on_frame(struct peer *p, const struct amqp_frame *frame)
{
    struct amqp_content_header header;
    struct amqp_method m;

    if (frame->type == AMQP_FRAME_METHOD) {
        ASSERT(amqp_method_decode(frame->payload, frame->size, &m, NULL) == 0);
        if (frame->channel == 0) {
            on_connection_method(p, &m);
        } else {
            on_method(p, &m);
        }
    } else if (frame->type == AMQP_FRAME_HEADER) {
        ASSERT(amqp_content_decode(frame->payload, frame->size, &header) == 0);
        p->message.size = header.body_size;
        if (header.body_size == 0) {
            on_published(p);
        }
    } else if (frame->type == AMQP_FRAME_BODY) {
        if (p->got < HEAD_SIZE) {
            memcpy(p->message.head + p->got, frame->payload,
                   MIN(frame->size, HEAD_SIZE - p->got));
        }
        p->got += frame->size;
        if (p->got == p->message.size) {
            on_published(p);
        }
    }
}

/* What the protocol header is answered with. */
static void
greet(struct peer *p)
{
    struct amqp_method m = {.id = AMQP_connection_start};

    p->has_header = true;
    if (p->broker->faults.is_garbled) {
        stream_write(p->stream, "AMQP\1\1\0\x9", 8);
        return;
    }
    m.connection_start.version_minor = 9;
    m.connection_start.mechanisms = amqp_text("PLAIN AMQPLAIN");
    m.connection_start.locales = amqp_text("en_US");
    put(p, 0, &m);
}

static size_t
on_data(void *arg, const struct slice *bytes)
{
    struct peer *p = arg;
    struct amqp_frame frame;
    size_t used = 0;
    size_t need = 0;
    int64_t took = 0;

    if (p->broker->faults.is_silent) {
        return bytes->size;
    }
    if (!p->has_header) {
        if (bytes->size < 8) {
            return 0;
        }
        greet(p);
        used = 8;
    }
    while (!stream_is_closing(p->stream)) {
        took = amqp_frame_decode(bytes->data + used, bytes->size - used,
                                 AMQP_FRAME_SIZE_MAX, &frame, &need);
        ASSERT(took >= 0);
        if (took == 0) {
            stream_need(p->stream, need);
            break;
        }
        used += (size_t)took;
        on_frame(p, &frame);
    }
    return used;
}

/* A consumer that is gone: what it had goes back to the front. */
static void
forget(struct peer *p)
{
    struct fake_broker *b = p->broker;
    struct unacked *u = NULL;
    struct queue *q = NULL;
    size_t kept = 0;
    size_t i = 0;
    size_t j = 0;

    for (; p->unacked.count > 0; ring_pop_back(&p->unacked)) {
        u = ring_at(&p->unacked, p->unacked.count - 1);
        u->message.redelivered = true;
        *(struct message *)ring_push_front(&u->queue->ready) = u->message;
    }
    for (i = 0; i < b->queues_count; i++) {
        q = &b->queues[i];
        for (j = 0, kept = 0; j < q->consumers_count; j++) {
            if (q->consumers[j].peer != p) {
                q->consumers[kept] = q->consumers[j];
                kept++;
            }
        }
        q->consumers_count = kept;
        pump(q);
    }
}

static void
on_close(void *arg, int reason, const char *text)
{
    struct peer *p = arg;

    (void)reason;
    (void)text;
    list_remove(&p->entry);
    forget(p);
    buf_deinit(&p->out);
    ring_deinit(&p->unacked);
    mem_free(p);
}

static void
on_accept(void *arg, struct stream *s)
{
    struct fake_broker *b = arg;
    struct peer *p = mem_zalloc(1, sizeof(*p));
    struct stream_events events = {
        .arg = p, .on_data = on_data, .on_close = on_close};

    p->broker = b;
    p->stream = s;
    buf_init(&p->out);
    ring_init(&p->unacked, sizeof(struct unacked));
    list_push_back(&b->peers, &p->entry);
    stream_start(s, &events);
}

static void
on_flush(uv_prepare_t *prepare)
{
    struct fake_broker *b = prepare->data;

    net_flush(b->net);
}

static void
on_stop(uv_async_t *async)
{
    struct fake_broker *b = async->data;

    net_close_all(b->net);
    uv_close((uv_handle_t *)&b->stop, NULL);
    uv_close((uv_handle_t *)&b->flush, NULL);
}

static void
run(void *arg)
{
    struct fake_broker *b = arg;

    (void)uv_run(&b->loop, UV_RUN_DEFAULT);
}

struct fake_broker *
fake_broker_start(const struct fake_faults *faults)
{
    struct fake_broker *b = mem_zalloc(1, sizeof(*b));
    struct error err;
    int fd = -1;

    error_clear(&err);
    if (faults != NULL) {
        b->faults = *faults;
    }
    list_init(&b->peers);
    cr_assert_eq(uv_loop_init(&b->loop), 0);
    b->net = net_new(&b->loop, NULL, NULL);
    cr_assert_eq(uv_async_init(&b->loop, &b->stop, on_stop), 0);
    b->stop.data = b;
    cr_assert_eq(uv_prepare_init(&b->loop, &b->flush), 0);
    b->flush.data = b;
    cr_assert_eq(uv_prepare_start(&b->flush, on_flush), 0);
    cr_assert_eq(listener_bind_tcp("127.0.0.1", 0, &fd, &err), 0, "%s",
                 err.text);
    b->port = listener_fd_port(fd);
    cr_assert_eq(listener_start(b->net, fd, on_accept, b, &b->listener, &err),
                 0, "%s", err.text);
    cr_assert_eq(uv_thread_create(&b->thread, run, b), 0);
    return b;
}

uint16_t
fake_broker_port(const struct fake_broker *b)
{
    return b->port;
}

uint64_t
fake_broker_published(struct fake_broker *b)
{
    return atomic_load(&b->published);
}

void
fake_broker_stop(struct fake_broker **b)
{
    size_t i = 0;

    (void)uv_async_send(&(*b)->stop);
    (void)uv_thread_join(&(*b)->thread);
    net_free(&(*b)->net);
    cr_assert_eq(uv_loop_close(&(*b)->loop), 0);
    for (i = 0; i < (*b)->queues_count; i++) {
        ring_deinit(&(*b)->queues[i].ready);
    }
    mem_free(*b);
    *b = NULL;
}
