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
    c->trace = 14695981039346656037U; /* FNV-1a */
}

void
sim_check_deinit(struct sim_check *c)
{
    ring_deinit(&c->messages);
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
sim_check_publish(struct sim_check *c, uint16_t queues)
{
    struct sim_message *m = ring_push_back(&c->messages);

    memset(m, 0, sizeof(*m));
    m->queues = queues;
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
sim_check_deliver(struct sim_check *c, uint64_t id, unsigned queue,
                  bool is_redelivered)
{
    struct sim_message *m = message(c, id);
    uint16_t bit = (uint16_t)(1U << queue);

    sim_check_note(c, (id << 5) ^ queue ^ (is_redelivered ? 16U : 0U));
    if (m == NULL || (m->queues & bit) == 0) {
        sim_check_violate(c,
                          "I2: queue %u delivered message %llu, which was "
                          "never published to it",
                          queue, (unsigned long long)id);
        return;
    }
    if (!is_redelivered && (m->delivered & bit) != 0) {
        sim_check_violate(c,
                          "I4: queue %u delivered message %llu again "
                          "without saying so",
                          queue, (unsigned long long)id);
    }
    m->delivered |= bit;
    c->delivered++;
    c->redelivered += is_redelivered ? 1 : 0;
}

void
sim_check_ack(struct sim_check *c, uint64_t id, unsigned queue)
{
    struct sim_message *m = message(c, id);

    ASSERT(m != NULL);
    sim_check_note(c, id ^ 0xacc);
    m->acked |= (uint16_t)(1U << queue);
}

uint64_t
sim_check_outstanding(const struct sim_check *c, uint64_t *first)
{
    uint64_t count = 0;

    for (size_t i = 0; i < c->messages.count; i++) {
        const struct sim_message *m = ring_at(&c->messages, i);

        if (m->is_confirmed && (m->queues & ~m->acked) != 0) {
            *first = count == 0 ? i + 1 : *first;
            count++;
        }
    }
    return count;
}
