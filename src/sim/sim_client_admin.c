/* Everything that is asked now and then: gets, queues of its own, deletions,
 * looks at the metadata through whatever node this is, and mistakes. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "sim/sim_client_priv.h"
#include "sim/sim_front.h"

enum {
    ASKS_PER_MILLION = 60000, /* each tick */
    NOT_FOUND = 404,
    PRECONDITION_FAILED = 406,
    INTERNAL_ERROR = 541
};

/* ---- requests and what they say ---- */

void
client_request_change(struct sim_client *c, unsigned channel,
                      struct sim_register *r, unsigned number, bool is_there)
{
    struct request *q = &c->requests[channel];

    *q = (struct request){.changes = r,
                          .number = number,
                          .start_us = client_now(c),
                          .change =
                              sim_register_change(r, is_there, client_now(c))};
}

static void
request_look(struct sim_client *c, struct sim_register *r, unsigned number)
{
    c->requests[CHANNEL_ADMIN] = (struct request){
        .looks = r, .number = number, .start_us = client_now(c)};
}

static void
looked(struct sim_client *c, const struct request *q, bool is_there)
{
    uint64_t interval[2] = {q->start_us, client_now(c)};

    sim_check_look(c->config.check, q->looks, is_there, interval, "object",
                   q->number);
}

void
client_request_done(struct sim_client *c, unsigned channel)
{
    struct request *q = &c->requests[channel];

    if (q->changes != NULL) {
        sim_register_done(q->changes, q->change, client_now(c));
    }
    if (q->looks != NULL) {
        looked(c, q, true);
    }
    if (q->expected != 0) {
        sim_check_violate(c->config.check,
                          "AMQP: client %u expected error %u and got none",
                          c->config.number, q->expected);
    }
    memset(q, 0, sizeof(*q));
}

void
client_request_failed(struct sim_client *c, unsigned channel, unsigned code)
{
    struct request *q = &c->requests[channel];

    /* Refused, or nobody knows: then it may still happen. */
    if (q->changes != NULL && code >= 400 && code < 500) {
        sim_register_refused(q->changes, q->change);
    }
    if (q->looks != NULL && code == NOT_FOUND) {
        looked(c, q, false);
    }
    if (q->expected != 0 && code >= 400 && code < 500 && code != q->expected) {
        sim_check_violate(c->config.check,
                          "AMQP: client %u expected error %u and got %u",
                          c->config.number, q->expected, code);
    }
    memset(q, 0, sizeof(*q));
}

/* ---- things to ask ---- */

static void
ask(struct sim_client *c, const struct amqp_method *m)
{
    sim_amqp_ask(c->amqp, CHANNEL_ADMIN, m);
}

static void
ask_get(struct sim_client *c)
{
    struct amqp_method m = {.id = AMQP_basic_get};
    struct sub *sub = &c->subs[SUB_GET];

    if (sub->state == SUB_NONE) {
        client_begin_get(c);
    }
    m.basic_get.queue = amqp_text(c->queue);
    ask(c, &m);
}

static void
ask_private(struct sim_client *c)
{
    struct amqp_method m = {.id = AMQP_queue_declare};
    bool is_named = rng_chance(client_rng(c), 500000);

    (void)snprintf(c->private, sizeof(c->private), "%s%u", is_named ? "x" : "",
                   c->config.number);
    m.queue_declare.queue = amqp_text(is_named ? c->private : "");
    m.queue_declare.exclusive = true;
    m.queue_declare.auto_delete = rng_chance(client_rng(c), 300000);
    c->has_private = false;
    ask(c, &m);
}

static void
ask_purge(struct sim_client *c)
{
    struct amqp_method m = {.id = AMQP_queue_purge};

    m.queue_purge.queue = amqp_text(c->queue);
    ask(c, &m);
}

static void
ask_delete(struct sim_client *c)
{
    struct amqp_method m = {.id = AMQP_queue_delete};
    unsigned own = client_own(c);

    m.queue_delete.queue = amqp_text(c->queue);
    m.queue_delete.if_unused = rng_chance(client_rng(c), 300000);
    m.queue_delete.if_empty = rng_chance(client_rng(c), 300000);
    client_request_change(c, CHANNEL_ADMIN, &c->config.check->queues[own], own,
                          false);
    ask(c, &m);
}

static void
ask_look(struct sim_client *c)
{
    struct sim_check *check = c->config.check;
    struct amqp_method m = {.id = AMQP_queue_declare};
    unsigned all = c->config.queues + c->config.lossy;
    unsigned q = (unsigned)rng_below(client_rng(c), all);
    char name[SIM_CLIENT_NAME_SIZE];

    (void)snprintf(name, sizeof(name), "q%u", q);
    m.queue_declare.queue = amqp_text(name);
    m.queue_declare.passive = true;
    if (((check->vague >> q) & 1) == 0) {
        request_look(c, &check->queues[q], q);
    }
    ask(c, &m);
}

static void
ask_exchange(struct sim_client *c)
{
    struct sim_check *check = c->config.check;
    struct amqp_method m = {.id = AMQP_exchange_declare};
    unsigned x = (unsigned)rng_below(client_rng(c), SIM_EXCHANGES_MAX);
    uint64_t what = rng_below(client_rng(c), 4);
    char name[SIM_CLIENT_NAME_SIZE];

    (void)snprintf(name, sizeof(name), "e%u", x);
    if (what == 0) {
        m.id = AMQP_exchange_delete;
        m.exchange_delete.exchange = amqp_text(name);
        client_request_change(c, CHANNEL_ADMIN, &check->exchanges[x], x, false);
        ask(c, &m);
        return;
    }
    m.exchange_declare.exchange = amqp_text(name);
    m.exchange_declare.type = amqp_text("topic");
    m.exchange_declare.durable = true;
    m.exchange_declare.passive = what > 1;
    if (what > 1) {
        request_look(c, &check->exchanges[x], x);
    } else {
        client_request_change(c, CHANNEL_ADMIN, &check->exchanges[x], x, true);
    }
    ask(c, &m);
}

/* Bind its queue to amq.topic, or unbind it. */
static void
ask_topic(struct sim_client *c)
{
    unsigned own = client_own(c);
    bool is_bind = rng_chance(client_rng(c), 500000);
    struct amqp_method m = {.id =
                                is_bind ? AMQP_queue_bind : AMQP_queue_unbind};
    char key[SIM_CLIENT_NAME_SIZE + 2];

    (void)snprintf(key, sizeof(key), "k.%s", c->queue);
    if (is_bind) {
        m.queue_bind.queue = amqp_text(c->queue);
        m.queue_bind.exchange = amqp_text("amq.topic");
        m.queue_bind.routing_key = amqp_text(key);
    } else {
        m.queue_unbind.queue = amqp_text(c->queue);
        m.queue_unbind.exchange = amqp_text("amq.topic");
        m.queue_unbind.routing_key = amqp_text(key);
    }
    client_request_change(c, CHANNEL_ADMIN, &c->config.check->topic[own], own,
                          is_bind);
    ask(c, &m);
}

void
client_ask_through(struct sim_client *c, unsigned channel, bool is_bind)
{
    unsigned own = client_own(c);
    struct amqp_method m = {.id = is_bind ? AMQP_exchange_bind
                                          : AMQP_exchange_unbind};

    if (is_bind) {
        m.exchange_bind.source = amqp_text("amq.topic");
        m.exchange_bind.destination = amqp_text("amq.direct");
        m.exchange_bind.routing_key = amqp_text(c->queue);
    } else {
        m.exchange_unbind.source = amqp_text("amq.topic");
        m.exchange_unbind.destination = amqp_text("amq.direct");
        m.exchange_unbind.routing_key = amqp_text(c->queue);
    }
    client_request_change(c, channel, &c->config.check->through[own], own,
                          is_bind);
    sim_amqp_ask(c->amqp, channel, &m);
}

/* Of every other queue that way comes and goes; the others keep theirs. */
bool
client_through_may_end(unsigned queue)
{
    return queue % 2 != 0;
}

static void
ask_binding(struct sim_client *c)
{
    if (!client_through_may_end(client_own(c)) ||
        rng_chance(client_rng(c), 500000)) {
        ask_topic(c);
    } else {
        client_ask_through(c, CHANNEL_ADMIN, rng_chance(client_rng(c), 500000));
    }
}

void
client_admin(struct sim_client *c)
{
    bool is_lossy = client_is_lossy(c, client_own(c));
    uint64_t what;

    if (!sim_amqp_channel_is_open(c->amqp, CHANNEL_ADMIN) ||
        sim_amqp_is_asking(c->amqp, CHANNEL_ADMIN) ||
        !rng_chance(client_rng(c), ASKS_PER_MILLION)) {
        return;
    }
    what = rng_below(client_rng(c), 20);
    if (what < 6) {
        ask_get(c);
    } else if (what < 8) {
        ask_private(c);
    } else if (what < 12) {
        ask_look(c);
    } else if (what < 15) {
        ask_exchange(c);
    } else if (!is_lossy) {
        ask_binding(c);
    } else if (what < 17) {
        ask_delete(c);
    } else {
        ask_purge(c);
    }
}

void
client_admin_answer(struct sim_client *c, const struct amqp_method *m)
{
    client_request_done(c, CHANNEL_ADMIN);
    if (m->id == AMQP_queue_declare_ok && c->private[0] != '\0' &&
        !c->has_private) {
        struct amqp_text name = m->queue_declare_ok.queue;

        c->has_private = name.size > 0 && name.data[0] != 'q';
        (void)snprintf(c->private, sizeof(c->private), "%.*s", (int)name.size,
                       name.data);
    }
}

/* ---- mistakes ---- */

static void
err_not_found(struct sim_client *c)
{
    struct amqp_method m = {.id = AMQP_queue_declare};

    m.queue_declare.queue = amqp_text("nobody declares this");
    m.queue_declare.passive = true;
    c->requests[CHANNEL_ADMIN].expected = NOT_FOUND;
    ask(c, &m);
}

static void
err_inequivalent(struct sim_client *c)
{
    struct amqp_method m = {.id = AMQP_queue_declare};

    if (!sim_register_is_sure(&c->config.check->queues[0])) {
        return;
    }
    m.queue_declare.queue = amqp_text("q0");
    m.queue_declare.durable = false;
    c->requests[CHANNEL_ADMIN].expected = PRECONDITION_FAILED;
    ask(c, &m);
}

static void
err_unknown_tag(struct sim_client *c)
{
    struct amqp_method m = {.id = AMQP_basic_ack};

    m.basic_ack.delivery_tag = UINT64_MAX;
    sim_amqp_tell(c->amqp, CHANNEL_CONSUME, &m);
}

static void
err_no_exchange(struct sim_client *c)
{
    struct amqp_method m = {.id = AMQP_basic_publish};
    uint64_t id = sim_check_publish(c->config.check, 0, 0,
                                    ++c->config.check->publishers, 1);

    m.basic_publish.exchange = amqp_text("nobody declares this");
    m.basic_publish.routing_key = amqp_text("");
    if (!sim_amqp_is_asking(c->amqp, CHANNEL_FLOOD)) {
        sim_amqp_publish(c->amqp, CHANNEL_FLOOD, &m, id,
                         sim_check_body(c->config.check, id), 1);
    }
}

/* The whole connection goes: 503. */
static void
err_invalid(struct sim_client *c)
{
    struct amqp_method m = {.id = AMQP_queue_declare_ok};

    m.queue_declare_ok.queue = amqp_text("?");
    sim_amqp_tell(c->amqp, CHANNEL_ADMIN, &m);
}

void
client_err(struct sim_client *c)
{
    uint64_t what = rng_below(client_rng(c), 9);

    for (unsigned i = 0; i < SIM_AMQP_CHANNELS; i++) {
        if (!sim_amqp_channel_is_open(c->amqp, i)) {
            return;
        }
    }
    if (what < 4 && sim_amqp_is_asking(c->amqp, CHANNEL_ADMIN)) {
        return;
    }
    if (what < 2) {
        err_not_found(c);
    } else if (what < 4) {
        err_inequivalent(c);
    } else if (what < 6) {
        err_unknown_tag(c);
    } else if (what < 8) {
        err_no_exchange(c);
    } else {
        err_invalid(c);
    }
}
