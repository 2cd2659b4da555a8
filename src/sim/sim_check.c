/* See sim_check.h. */
#include "sim/sim_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

static void
registers_init(struct sim_register *r, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sim_register_init(&r[i]);
    }
}

static void
registers_deinit(struct sim_register *r, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sim_register_deinit(&r[i]);
    }
}

void
sim_check_init(struct sim_check *c)
{
    memset(c, 0, sizeof(*c));
    c->body = mem_alloc(SIM_BODY_MAX + SIM_BODY_STARTS);
    for (size_t i = 0; i < SIM_BODY_MAX + SIM_BODY_STARTS; i++) {
        c->body[i] = (uint8_t)i;
    }
    ring_init(&c->messages, sizeof(struct sim_message));
    map_init(&c->holders);
    registers_init(c->queues, SIM_QUEUES_MAX);
    registers_init(c->exchanges, SIM_EXCHANGES_MAX);
    registers_init(c->direct, SIM_QUEUES_MAX);
    registers_init(c->fanout, SIM_QUEUES_MAX);
    registers_init(c->topic, SIM_QUEUES_MAX);
    registers_init(c->through, SIM_QUEUES_MAX);
    c->trace = 14695981039346656037U; /* FNV-1a */
}

void
sim_check_deinit(struct sim_check *c)
{
    mem_free(c->body);
    ring_deinit(&c->messages);
    map_deinit(&c->holders);
    registers_deinit(c->queues, SIM_QUEUES_MAX);
    registers_deinit(c->exchanges, SIM_EXCHANGES_MAX);
    registers_deinit(c->direct, SIM_QUEUES_MAX);
    registers_deinit(c->fanout, SIM_QUEUES_MAX);
    registers_deinit(c->topic, SIM_QUEUES_MAX);
    registers_deinit(c->through, SIM_QUEUES_MAX);
}

void
sim_check_note(struct sim_check *c, uint64_t value)
{
    c->trace = (c->trace ^ value) * 1099511628211U;
}

void
sim_check_violate(struct sim_check *c, const char *fmt, ...)
{
    va_list ap;

    if (c->violation[0] != '\0') {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(c->violation, sizeof(c->violation), fmt, ap);
    va_end(ap);
}

/* ---- publishing ---- */

static struct sim_message *
message(struct sim_check *c, uint64_t id)
{
    if (id == 0 || id > c->messages.count) {
        return NULL;
    }
    return ring_at(&c->messages, (size_t)(id - 1));
}

const uint8_t *
sim_check_body(const struct sim_check *c, uint64_t id)
{
    return c->body + id % SIM_BODY_STARTS;
}

uint64_t
sim_check_publish(struct sim_check *c, uint16_t queues, uint16_t sure,
                  uint32_t publisher, size_t size)
{
    struct sim_message *m = ring_push_back(&c->messages);

    ASSERT((sure & ~queues) == 0);
    memset(m, 0, sizeof(*m));
    m->queues = queues;
    m->sure = sure;
    m->publisher = publisher;
    m->size = (uint32_t)size;
    sim_check_note(c, c->messages.count);
    return c->messages.count;
}

void
sim_check_confirm(struct sim_check *c, uint64_t id)
{
    struct sim_message *m = message(c, id);

    ASSERT(m != NULL);
    sim_check_note(c, id ^ 0xc0f1);
    if (m->is_confirmed) {
        sim_check_violate(c, "message %llu was confirmed twice",
                          (unsigned long long)id);
    }
    m->is_confirmed = true;
    c->confirmed++;
}

void
sim_check_return(struct sim_check *c, uint64_t id)
{
    struct sim_message *m = message(c, id);

    sim_check_note(c, id ^ 0x7e7);
    if (m == NULL || m->is_returned || m->is_confirmed) {
        sim_check_violate(c,
                          "I2: message %llu came back, but was not under way",
                          (unsigned long long)id);
        return;
    }
    if (m->delivered != 0) {
        sim_check_violate(c,
                          "I2: message %llu came back as unroutable and was "
                          "delivered",
                          (unsigned long long)id);
    }
    if (m->sure != 0) {
        sim_check_violate(c,
                          "I6: message %llu came back as unroutable; clients "
                          "were told of its queues (%x) before",
                          (unsigned long long)id, m->sure);
    }
    m->is_returned = true;
    c->returned++;
}

/* ---- consumers ---- */

void
sim_consumer_init(struct sim_consumer *consumer)
{
    ring_init(&consumer->last, sizeof(struct sim_last));
    ring_init(&consumer->settled, sizeof(uint64_t));
}

void
sim_consumer_deinit(struct sim_consumer *consumer)
{
    ASSERT(!consumer->is_attached);
    ring_deinit(&consumer->last);
    ring_deinit(&consumer->settled);
}

static bool
is_over(const struct sim_consumer *consumer)
{
    return consumer->is_over != NULL && consumer->is_over(consumer);
}

void
sim_check_attach(struct sim_check *c, struct sim_consumer *consumer)
{
    ASSERT(!consumer->is_attached);
    ASSERT(c->attached_count < SIM_CONSUMERS_MAX);
    for (size_t i = 0; i < c->attached_count && !is_over(consumer); i++) {
        const struct sim_consumer *o = c->attached[i];

        if (o->queue == consumer->queue && o->group == consumer->group &&
            (o->is_exclusive || consumer->is_exclusive) && !is_over(o)) {
            sim_check_violate(c,
                              "I5: queue %u has consumers of clients %u and "
                              "%u, one of them exclusive",
                              o->queue, o->client, consumer->client);
        }
    }
    consumer->is_attached = true;
    c->attached[c->attached_count++] = consumer;
}

void
sim_check_detach(struct sim_check *c, struct sim_consumer *consumer)
{
    size_t i = 0;

    if (!consumer->is_attached) {
        return;
    }
    while (c->attached[i] != consumer) {
        i++;
        ASSERT(i < c->attached_count);
    }
    c->attached[i] = c->attached[--c->attached_count];
    consumer->is_attached = false;
}

/* ---- deliveries ---- */

static uint64_t
holder_key(uint64_t id, unsigned queue)
{
    return id * SIM_QUEUES_MAX + queue;
}

/* I3: TO sees message ID for the first time that anybody does. */
static void
check_order(struct sim_check *c, struct sim_consumer *to, uint64_t id,
            const struct sim_message *m)
{
    struct sim_last *last = NULL;
    uint64_t before;

    for (size_t i = to->last.count; i > 0 && last == NULL; i--) {
        last = ring_at(&to->last, i - 1);
        last = last->publisher == m->publisher ? last : NULL;
    }
    if (last == NULL) {
        if (to->last.count == SIM_PUBLISHERS_MAX) {
            ring_pop_front(&to->last);
        }
        last = ring_push_back(&to->last);
        last->publisher = m->publisher;
        last->id = 0;
    }
    before = last->id;
    last->id = id;
    if (before > id) {
        sim_check_violate(c,
                          "I3: queue %u delivered message %llu after %llu of "
                          "the same publisher",
                          to->queue, (unsigned long long)id,
                          (unsigned long long)before);
    }
}

/* What TO settled long enough ago has been committed; see sim_check.h. */
static void
commit_settlements(struct sim_check *c, struct sim_consumer *to)
{
    while (to->prefetch > 0 && to->settled.count > 0 &&
           to->committed + to->prefetch < to->deliveries) {
        struct sim_message *m =
            message(c, *(uint64_t *)ring_at(&to->settled, 0));

        ring_pop_front(&to->settled);
        to->committed++;
        if (m != NULL) {
            m->committed |= (uint16_t)(1U << to->queue);
        }
    }
}

/* I2: it is what was published. */
static void
check_content(struct sim_check *c, const struct sim_consumer *to,
              const struct sim_message *m, const struct sim_delivery *d)
{
    bool is_good = d->size == m->size &&
                   (d->size == 0 ||
                    memcmp(d->body, sim_check_body(c, d->id), d->size) == 0);

    if (!is_good) {
        sim_check_violate(c,
                          "I2: queue %u delivered message %llu with %zu bytes "
                          "instead of %u, or others than were published",
                          to->queue, (unsigned long long)d->id, d->size,
                          m->size);
    }
    if (m->is_returned) {
        sim_check_violate(c,
                          "I2: queue %u delivered message %llu, which had "
                          "come back as unroutable",
                          to->queue, (unsigned long long)d->id);
    }
}

/* I2: it was not acknowledged before. */
static void
check_committed(struct sim_check *c, const struct sim_consumer *to,
                const struct sim_message *m, uint64_t id)
{
    if ((m->committed & (1U << to->queue)) != 0) {
        sim_check_violate(c,
                          "I2: queue %u delivered message %llu after its "
                          "acknowledgement was committed",
                          to->queue, (unsigned long long)id);
    }
}

/* I4: the flag and the count. */
static void
check_flags(struct sim_check *c, const struct sim_consumer *to,
            struct sim_message *m, const struct sim_delivery *d)
{
    bool is_single = (m->queues & (m->queues - 1U)) == 0;

    if (!d->is_redelivered && (m->delivered & (1U << to->queue)) != 0) {
        sim_check_violate(c,
                          "I4: queue %u delivered message %llu again "
                          "without saying so",
                          to->queue, (unsigned long long)d->id);
    }
    if (d->is_redelivered != (d->count > 0)) {
        sim_check_violate(c,
                          "I4: queue %u delivered message %llu with "
                          "redelivered %d and a count of %llu",
                          to->queue, (unsigned long long)d->id,
                          d->is_redelivered, (unsigned long long)d->count);
    }
    if (is_single && d->count < m->seen) {
        sim_check_violate(c,
                          "I4: queue %u counts %llu earlier deliveries of "
                          "message %llu, clients saw %u",
                          to->queue, (unsigned long long)d->count,
                          (unsigned long long)d->id, m->seen);
    }
    m->seen = (uint8_t)(m->seen + (m->seen < UINT8_MAX ? 1 : 0));
}

/* I4: nobody else has it. */
static void
check_holder(struct sim_check *c, struct sim_consumer *to, uint64_t id)
{
    struct sim_consumer *holder =
        map_put(&c->holders, holder_key(id, to->queue), to);

    to->held++;
    if (holder == NULL) {
        return;
    }
    holder->held--;
    if (holder == to || !is_over(holder)) {
        sim_check_violate(c,
                          "I4: queue %u delivered message %llu to client %u "
                          "while client %u held it",
                          to->queue, (unsigned long long)id, to->client,
                          holder->client);
    }
}

void
sim_check_deliver(struct sim_check *c, struct sim_consumer *to,
                  const struct sim_delivery *d)
{
    struct sim_message *m = message(c, d->id);
    uint16_t bit = (uint16_t)(1U << to->queue);

    sim_check_note(c,
                   (d->id << 5) ^ to->queue ^ (d->is_redelivered ? 16U : 0U));
    if (m == NULL || (m->queues & bit) == 0) {
        sim_check_violate(c,
                          "I2: queue %u delivered message %llu, which was "
                          "never published to it",
                          to->queue, (unsigned long long)d->id);
        return;
    }
    to->deliveries++;
    commit_settlements(c, to);
    check_content(c, to, m, d);
    check_committed(c, to, m, d->id);
    check_flags(c, to, m, d);
    check_holder(c, to, d->id);
    if (to->prefetch > 0 && to->held > to->prefetch) {
        sim_check_violate(c,
                          "I5: client %u may hold %u messages of queue %u and "
                          "got one more",
                          to->client, to->prefetch, to->queue);
    }
    if (!d->is_redelivered && to->is_attached) {
        check_order(c, to, d->id, m);
    }
    m->delivered |= bit;
    c->delivered++;
    c->redelivered += d->is_redelivered ? 1 : 0;
}

void
sim_check_late(struct sim_check *c, struct sim_consumer *to,
               const struct sim_delivery *d)
{
    struct sim_message *m = message(c, d->id);

    to->deliveries++;
    commit_settlements(c, to);
    if (to->prefetch > 0) {
        *(uint64_t *)ring_push_back(&to->settled) = 0;
    }
    if (m == NULL || (m->queues & (1U << to->queue)) == 0) {
        sim_check_violate(c,
                          "I2: queue %u delivered message %llu, which was "
                          "never published to it",
                          to->queue, (unsigned long long)d->id);
        return;
    }
    check_content(c, to, m, d);
    m->delivered |= (uint16_t)(1U << to->queue);
}

void
sim_check_release(struct sim_check *c, struct sim_consumer *by, uint64_t id)
{
    uint64_t key = holder_key(id, by->queue);

    if (map_get(&c->holders, key) == by) {
        (void)map_remove(&c->holders, key);
        by->held--;
    }
}

static void
settle(struct sim_check *c, struct sim_consumer *by, uint64_t id,
       uint64_t settled)
{
    sim_check_release(c, by, id);
    if (by->prefetch > 0) {
        *(uint64_t *)ring_push_back(&by->settled) = settled;
    }
}

void
sim_check_requeue(struct sim_check *c, struct sim_consumer *by, uint64_t id)
{
    settle(c, by, id, 0);
}

void
sim_check_ack(struct sim_check *c, struct sim_consumer *by, uint64_t id)
{
    struct sim_message *m = message(c, id);

    ASSERT(m != NULL);
    sim_check_note(c, id ^ 0xacc);
    settle(c, by, id, id);
    m->acked |= (uint16_t)(1U << by->queue);
}

/* ---- metadata ---- */

void
sim_check_look(struct sim_check *c, struct sim_register *r, bool is_there,
               const uint64_t interval_us[2], const char *what, unsigned number)
{
    uint64_t before = r->looks;

    if (!sim_register_look(r, is_there, interval_us[0], interval_us[1])) {
        sim_check_violate(c,
                          "I6: %s %u was seen to be %s between %llu and %llu "
                          "us, which cannot have been so",
                          what, number, is_there ? "there" : "absent",
                          (unsigned long long)interval_us[0],
                          (unsigned long long)interval_us[1]);
    }
    c->looks += r->looks - before;
}

/* ---- at rest ---- */

uint64_t
sim_check_outstanding(const struct sim_check *c, uint64_t *first)
{
    uint64_t count = 0;

    for (size_t i = 0; i < c->messages.count; i++) {
        const struct sim_message *m = ring_at(&c->messages, i);

        if (m->is_confirmed && (m->sure & ~m->acked & ~c->lossy) != 0) {
            *first = count == 0 ? i + 1 : *first;
            count++;
        }
    }
    return count;
}
