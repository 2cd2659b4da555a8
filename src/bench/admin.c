/* Requests go out up to the depth wanted; answers come in their order. */
#include "bench/admin.h"

#include "amqp/method.h"
#include "amqp/table.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/histogram.h"
#include "bench/traffic.h"

enum {
    ADMIN_MAGIC = 0x61646d69
};

static void
send_declare(struct admin *a, const char *name)
{
    struct amqp_method m = {.id = AMQP_queue_declare};
    struct buf arguments;

    buf_init(&arguments);
    if (a->options->quorum) {
        amqp_table_put_text(&arguments, "x-queue-type", amqp_text("quorum"));
    }
    m.queue_declare.queue = amqp_text(name);
    m.queue_declare.durable = a->options->durable;
    m.queue_declare.arguments = (struct amqp_text){
        .data = (const char *)arguments.data, .size = arguments.size};
    client_send(&a->client, &m);
    buf_deinit(&arguments);
}

static void
send_delete(struct admin *a, const char *name)
{
    struct amqp_method m = {.id = AMQP_queue_delete};

    m.queue_delete.queue = amqp_text(name);
    client_send(&a->client, &m);
}

/* Send what may be sent, or finish. */
static void
pump(struct admin *a)
{
    char name[TRAFFIC_NAME_SIZE];

    while (a->sent.count < a->work.depth && a->next < a->work.end) {
        traffic_queue_name(a->options, a->next, name);
        *(uint64_t *)ring_push_back(&a->sent) = a->client.now_us;
        if (a->work.task == ADMIN_DECLARE) {
            send_declare(a, name);
        } else {
            send_delete(a, name);
        }
        a->next += a->work.step;
    }
    if (a->sent.count == 0) {
        a->is_finished = true;
        client_close(&a->client);
    }
}

static void
on_open(void *arg)
{
    struct admin *a = arg;

    OBJ_CHECK(a, ADMIN_MAGIC);
    pump(a);
}

static void
on_method(void *arg, const struct amqp_method *m)
{
    struct admin *a = arg;
    uint64_t sent_us = 0;
    uint64_t now_us = a->client.now_us;

    OBJ_CHECK(a, ADMIN_MAGIC);
    if ((m->id == AMQP_queue_declare_ok || m->id == AMQP_queue_delete_ok) &&
        a->sent.count > 0) {
        sent_us = *(uint64_t *)ring_at(&a->sent, 0);
        ring_pop_front(&a->sent);
        a->done++;
        a->attempts = 0;
        if (a->work.latency != NULL) {
            histogram_record(a->work.latency,
                             now_us > sent_us ? now_us - sent_us : 0);
        }
    }
}

static void
on_turn(void *arg)
{
    struct admin *a = arg;

    OBJ_CHECK(a, ADMIN_MAGIC);
    if (!a->is_finished) {
        pump(a);
    }
}

static void
on_down(void *arg, const char *text)
{
    struct admin *a = arg;

    OBJ_CHECK(a, ADMIN_MAGIC);
    if (a->is_finished) {
        return;
    }
    /* What was not answered is asked again. */
    a->next -= (uint32_t)a->sent.count * a->work.step;
    ring_clear(&a->sent);
    a->attempts++;
    if (a->attempts >= a->options->hosts.count) {
        a->error = text != NULL ? text : "the broker ended the connection";
        return;
    }
    admin_open(a, (a->host + 1) % a->options->hosts.count);
}

void
admin_init(struct admin *a, const struct bench_options *options,
           const struct client_setup *setup, const struct admin_work *work)
{
    struct client_events events = {
        .arg = a,
        .on_open = on_open,
        .on_method = on_method,
        .on_turn = on_turn,
        .on_down = on_down,
    };

    ASSERT(work->step > 0);
    ASSERT(work->depth > 0);
    *a = (struct admin){.magic = ADMIN_MAGIC, .options = options};
    a->work = *work;
    a->next = work->first;
    ring_init(&a->sent, sizeof(uint64_t));
    client_init(&a->client, setup, &events);
}

void
admin_deinit(struct admin *a)
{
    OBJ_CHECK(a, ADMIN_MAGIC);
    client_deinit(&a->client);
    ring_deinit(&a->sent);
    a->magic = 0;
}

void
admin_open(struct admin *a, unsigned host)
{
    OBJ_CHECK(a, ADMIN_MAGIC);
    ASSERT(host < a->options->hosts.count);
    a->host = host;
    client_open(&a->client, &a->options->hosts.list[host]);
}

bool
admin_is_over(const struct admin *a)
{
    OBJ_CHECK(a, ADMIN_MAGIC);
    return client_is_down(&a->client) && (a->is_finished || a->error != NULL);
}
