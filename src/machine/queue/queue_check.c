/* Whether a state is sound.
 *
 * Counters that the hot path keeps are counted again here, and the orders that
 * it relies on are walked. A test that calls this after each command finds the
 * command that broke something, not the one that fell over it. */
#include <stdlib.h>

#include "base/mem.h"
#include "machine/queue/queue_state.h"

/* What a walk over the sessions counted. */
struct queue_census {
    uint64_t consumers;
    uint64_t attached;
    uint64_t exclusive;
    uint64_t hungry;
    uint64_t held;
    uint64_t held_bytes;
};

static void
queue_check_fresh(const struct queue_ready *r)
{
    struct queue_walk walk = {r->head, 0};
    struct queue_message last = {0, 0, 0};
    struct queue_message message;
    uint64_t bytes = 0;
    uint64_t count = 0;

    while (queue_ready_walk(&walk, &message)) {
        ASSERT(queue_message_is_before(&last, &message));
        last = message;
        bytes += message.size;
        count++;
    }
    for (size_t i = 0; i < r->returned_count; i++) {
        bytes += r->returned[i].message.size;
    }
    ASSERT(count == r->fresh_count);
    ASSERT(bytes == r->bytes);
    ASSERT((count == 0) == (r->head == NULL));
    ASSERT((count == 0) == (r->tail == NULL));
}

static void
queue_check_returned(const struct queue_ready *r)
{
    ASSERT(r->returned_count <= r->returned_capacity);
    for (size_t i = 0; i < r->returned_count; i++) {
        const struct queue_item *parent = &r->returned[(MAX(i, 1) - 1) / 2];

        ASSERT(r->returned[i].count > 0);
        ASSERT(i == 0 || queue_message_is_before(&parent->message,
                                                 &r->returned[i].message));
    }
}

/* What C holds, counted into N. */
static void
queue_check_held(const struct queue_consumer *c, struct queue_census *n)
{
    uint64_t last = 0;
    uint64_t count = 0;

    for (size_t slot = 0; slot < c->held.count; slot++) {
        const struct queue_held *h = ring_at(&c->held, slot);
        bool is_hole = queue_consumer_held(c, slot) == NULL;

        ASSERT(h->delivery > last);
        ASSERT(h->delivery < c->delivery_next);
        ASSERT_IMPLIES(is_hole, slot > 0); /* those in front are eaten */
        last = h->delivery;
        count += is_hole ? 0 : 1;
        n->held_bytes += is_hole ? 0 : h->item.message.size;
    }
    ASSERT(count == c->held_count);
    ASSERT(count <= QUEUE_CREDIT_MAX);
    n->held += count;
}

static void
queue_check_consumer(const struct queue_machine *m,
                     const struct queue_consumer *c, struct queue_census *n)
{
    bool is_attached = c->state == QUEUE_CONSUMER_ATTACHED;
    bool is_exclusive = is_attached && (c->flags & QUEUE_ATTACH_EXCLUSIVE) != 0;

    OBJ_CHECK(c, QUEUE_CONSUMER_MAGIC);
    queue_check_held(c, n);
    ASSERT(queue_consumer_is_hungry(c) == list_is_linked(&c->turn));
    ASSERT_IMPLIES(c->state == QUEUE_CONSUMER_CANCELLED, c->held_count > 0);
    ASSERT_IMPLIES(is_exclusive, m->exclusive == c);
    n->consumers++;
    n->hungry += queue_consumer_is_hungry(c) ? 1 : 0;
    n->attached += is_attached ? 1 : 0;
    n->exclusive += is_exclusive ? 1 : 0;
}

static void
queue_check_session(const struct queue_machine *m,
                    const struct queue_session *s, struct queue_census *n)
{
    struct list *it = NULL;
    uint64_t count = 0;

    OBJ_CHECK(s, QUEUE_SESSION_MAGIC);
    ASSERT(map_get(&m->sessions, s->id) == s);
    ASSERT(s->result.seq <= s->applied);
    ASSERT(!queue_session_is_dead(m, s->id));
    ASSERT(!s->is_heard);
    ASSERT(!s->is_refused);
    list_foreach (it, &s->consumer_list) {
        const struct queue_consumer *c =
            list_entry(it, struct queue_consumer, sibling);

        ASSERT(c->session == s);
        ASSERT(queue_consumer_find(s, c->id) == c);
        queue_check_consumer(m, c, n);
        count++;
    }
    ASSERT(count == s->consumers.count);
}

static int
queue_message_compare(const void *a, const void *b)
{
    return queue_message_is_before(a, b) ? -1 : queue_message_is_before(b, a);
}

/* Copy what C holds to OUT; returns where it ends. */
static struct queue_message *
queue_check_collect_held(const struct queue_consumer *c,
                         struct queue_message *out)
{
    for (size_t slot = 0; slot < c->held.count; slot++) {
        const struct queue_held *h = queue_consumer_held(c, slot);

        if (h != NULL) {
            *out++ = h->item.message;
        }
    }
    return out;
}

/* Copy all messages that were delivered once to OUT, which has room. */
static void
queue_check_collect(const struct queue_machine *m, struct queue_message *out)
{
    struct list *it = NULL;
    struct list *jt = NULL;

    for (size_t i = 0; i < m->ready.returned_count; i++) {
        *out++ = m->ready.returned[i].message;
    }
    list_foreach (it, &m->session_list) {
        const struct queue_session *s =
            list_entry(it, struct queue_session, sibling);

        list_foreach (jt, &s->consumer_list) {
            out = queue_check_collect_held(
                list_entry(jt, struct queue_consumer, sibling), out);
        }
    }
}

bool
queue_check_is_distinct(const struct queue_machine *m)
{
    size_t count = (size_t)m->held_count + m->ready.returned_count;
    struct queue_message *messages = mem_zalloc(count, sizeof(*messages));
    struct queue_walk walk = {m->ready.head, 0};
    struct queue_message fresh;
    bool is_distinct = true;

    queue_check_collect(m, messages);
    qsort(messages, count, sizeof(*messages), queue_message_compare);
    for (size_t i = 1; i < count; i++) {
        is_distinct = is_distinct &&
                      queue_message_is_before(&messages[i - 1], &messages[i]);
    }
    /* Messages leave in order, so those that left once lie before the rest. */
    if (count > 0 && queue_ready_walk(&walk, &fresh)) {
        is_distinct = is_distinct &&
                      queue_message_is_before(&messages[count - 1], &fresh);
    }
    mem_free(messages);
    return is_distinct;
}

void
queue_machine_check(const struct queue_machine *m)
{
    struct queue_census n = {0};
    struct list *it = NULL;
    uint64_t count = 0;

    OBJ_CHECK(m, QUEUE_MACHINE_MAGIC);
    queue_check_fresh(&m->ready);
    queue_check_returned(&m->ready);
    list_foreach (it, &m->session_list) {
        queue_check_session(m, list_entry(it, struct queue_session, sibling),
                            &n);
        count++;
    }
    ASSERT(count == m->sessions.count);
    ASSERT(n.consumers == m->consumer_count);
    ASSERT(n.attached == m->attached_count);
    ASSERT(n.held == m->held_count);
    ASSERT(n.held_bytes == m->held_bytes);
    ASSERT(n.exclusive == (m->exclusive != NULL ? 1U : 0U));
    ASSERT_IMPLIES(n.exclusive == 1, n.attached == 1);
    ASSERT_IMPLIES(n.attached > 0, m->was_used);
    ASSERT(queue_check_is_distinct(m));
    ASSERT(list_is_empty(&m->touched));
    ASSERT_IMPLIES(!list_is_empty(&m->turns),
                   queue_ready_count(&m->ready) == 0);
    count = 0;
    list_foreach (it, &m->turns) {
        count++;
    }
    ASSERT(count == n.hungry);
    for (size_t i = 1; i < m->dead_count; i++) {
        ASSERT(m->dead[i - 1].node < m->dead[i].node);
    }
}
