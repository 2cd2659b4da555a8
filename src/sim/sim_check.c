/* See sim_check.h. */
#include "sim/sim_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

void
sim_check_init(struct sim_check *c)
{
    memset(c, 0, sizeof(*c));
    ring_init(&c->messages, sizeof(struct sim_message));
    map_init(&c->holders);
    c->trace = 14695981039346656037U; /* FNV-1a */
}

void
sim_check_deinit(struct sim_check *c)
{
    ring_deinit(&c->messages);
    map_deinit(&c->holders);
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

static struct sim_message *
message(struct sim_check *c, uint64_t id)
{
    if (id == 0 || id > c->messages.count) {
        return NULL;
    }
    return ring_at(&c->messages, (size_t)(id - 1));
}

uint64_t
sim_check_publish(struct sim_check *c, uint16_t queues, uint32_t publisher)
{
    struct sim_message *m = ring_push_back(&c->messages);

    memset(m, 0, sizeof(*m));
    m->queues = queues;
    m->publisher = publisher;
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
sim_check_unsure(struct sim_check *c, uint64_t id)
{
    struct sim_message *m = message(c, id);

    ASSERT(m != NULL);
    m->is_unsure = true;
}

void
sim_check_attach(struct sim_check *c, struct sim_consumer *consumer)
{
    ASSERT(consumer->queue < SIM_QUEUES_MAX);
    ASSERT(!consumer->is_attached);
    ASSERT(c->attached_count < SIM_CONSUMERS_MAX);
    for (size_t i = 0; i < c->attached_count; i++) {
        const struct sim_consumer *other = c->attached[i];

        if (other->group == consumer->group &&
            (other->is_exclusive || consumer->is_exclusive)) {
            sim_check_violate(c,
                              "I5: clients %u and %u consume from queue %u, "
                              "one of them exclusively",
                              other->client, consumer->client, consumer->queue);
        }
    }
    ring_init(&consumer->last, sizeof(struct sim_last));
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
    ring_deinit(&consumer->last);
}

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

void
sim_check_deliver(struct sim_check *c, struct sim_consumer *to, uint64_t id,
                  bool is_redelivered)
{
    struct sim_message *m = message(c, id);
    uint16_t bit = (uint16_t)(1U << to->queue);
    struct sim_consumer *holder;

    sim_check_note(c, (id << 5) ^ to->queue ^ (is_redelivered ? 16U : 0U));
    if (m == NULL || (m->queues & bit) == 0) {
        sim_check_violate(c,
                          "I2: queue %u delivered message %llu, which was "
                          "never published to it",
                          to->queue, (unsigned long long)id);
        return;
    }
    if (!is_redelivered && (m->delivered & bit) != 0) {
        sim_check_violate(c,
                          "I4: queue %u delivered message %llu again "
                          "without saying so",
                          to->queue, (unsigned long long)id);
    }
    holder = map_put(&c->holders, holder_key(id, to->queue), to);
    if (holder != NULL) {
        sim_check_violate(c,
                          "I4: queue %u delivered message %llu to client %u "
                          "while client %u held it",
                          to->queue, (unsigned long long)id, to->client,
                          holder->client);
    }
    if (!is_redelivered && to->is_attached) {
        check_order(c, to, id, m);
    }
    m->delivered |= bit;
    c->delivered++;
    c->redelivered += is_redelivered ? 1 : 0;
}

void
sim_check_release(struct sim_check *c, uint64_t id, unsigned queue)
{
    (void)map_remove(&c->holders, holder_key(id, queue));
}

void
sim_check_ack(struct sim_check *c, uint64_t id, unsigned queue)
{
    struct sim_message *m = message(c, id);

    ASSERT(m != NULL);
    sim_check_note(c, id ^ 0xacc);
    sim_check_release(c, id, queue);
    m->acked |= (uint16_t)(1U << queue);
}

uint64_t
sim_check_outstanding(const struct sim_check *c, uint64_t *first)
{
    uint64_t count = 0;

    for (size_t i = 0; i < c->messages.count; i++) {
        const struct sim_message *m = ring_at(&c->messages, i);

        if (m->is_confirmed && !m->is_unsure &&
            (m->queues & ~m->acked & ~c->lossy) != 0) {
            *first = count == 0 ? i + 1 : *first;
            count++;
        }
    }
    return count;
}
