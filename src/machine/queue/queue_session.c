/* Sessions: each command takes effect once, in order.
 *
 * A session's commands are numbered; the machine keeps the number of the last
 * one that it applied. A resend is recognised by its number and answered
 * again, an early one is refused and the missing number named. Sessions end
 * with their node's boot alone: SESSION_DOWN removes them, returns what their
 * consumers held, and leaves a mark, so that a command of theirs that was
 * still under way finds no way in. */
#include <string.h>

#include "base/mem.h"
#include "machine/queue/queue_state.h"

struct queue_session *
queue_session_find(struct queue_machine *m, uint64_t id)
{
    if (m->recent == NULL || m->recent->id != id) {
        m->recent = map_get(&m->sessions, id);
    }
    return m->recent;
}

struct queue_session *
queue_session_open(struct queue_machine *m, uint64_t id)
{
    struct queue_session *s = mem_zalloc(1, sizeof(*s));
    void *before = NULL;

    ASSERT(m->sessions.count < QUEUE_SESSIONS_MAX);
    s->magic = QUEUE_SESSION_MAGIC;
    s->id = id;
    ranges_init(&s->skipped);
    map_init(&s->consumers);
    list_init(&s->consumer_list);
    list_init(&s->touched);
    list_push_back(&m->session_list, &s->sibling);
    before = map_put(&m->sessions, id, s);
    ASSERT(before == NULL);
    m->recent = s;
    return s;
}

void
queue_session_close(struct queue_machine *m, struct queue_session *s)
{
    struct list *it = NULL;
    struct list *tmp = NULL;
    void *removed = NULL;

    OBJ_CHECK(s, QUEUE_SESSION_MAGIC);
    list_foreach_safe (it, tmp, &s->consumer_list) {
        queue_consumer_free(m, list_entry(it, struct queue_consumer, sibling));
    }
    ASSERT(s->consumers.count == 0);
    removed = map_remove(&m->sessions, s->id);
    ASSERT(removed == s);
    list_remove(&s->sibling);
    list_remove(&s->touched);
    if (m->recent == s) {
        m->recent = NULL;
    }
    map_deinit(&s->consumers);
    ranges_deinit(&s->skipped);
    s->magic = 0;
    mem_free(s);
}

/* Where NODE's mark is, or belongs. */
static size_t
queue_session_seek_dead(const struct queue_machine *m, qr_node_id node)
{
    size_t low = 0;
    size_t high = m->dead_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (m->dead[middle].node < node) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool
queue_session_is_dead(const struct queue_machine *m, uint64_t id)
{
    size_t at = queue_session_seek_dead(m, session_node(id));

    return at < m->dead_count && m->dead[at].node == session_node(id) &&
           session_boot(id) <= m->dead[at].boot;
}

void
queue_session_mark_dead(struct queue_machine *m, qr_node_id node, uint32_t boot)
{
    size_t at = queue_session_seek_dead(m, node);

    ASSERT(at <= m->dead_count);
    if (at < m->dead_count && m->dead[at].node == node) {
        m->dead[at].boot = MAX(m->dead[at].boot, boot);
        return;
    }
    ASSERT(m->dead_count < QUEUE_DEAD_MAX);
    m->dead = mem_realloc(m->dead, (m->dead_count + 1) * sizeof(*m->dead));
    memmove(&m->dead[at + 1], &m->dead[at],
            (m->dead_count - at) * sizeof(*m->dead));
    m->dead[at].node = node;
    m->dead[at].boot = boot;
    m->dead_count++;
}

/* Give back all that S's consumers hold. */
static void
queue_session_return(struct queue_machine *m, struct queue_session *s)
{
    struct list *it = NULL;

    list_foreach (it, &s->consumer_list) {
        queue_consumer_return(m, list_entry(it, struct queue_consumer, sibling),
                              0, UINT64_MAX);
    }
}

void
queue_session_down(struct queue_machine *m, qr_node_id node, uint32_t boot)
{
    struct list *it = NULL;
    struct list *tmp = NULL;

    queue_session_mark_dead(m, node, boot);
    list_foreach_safe (it, tmp, &m->session_list) {
        struct queue_session *s = list_entry(it, struct queue_session, sibling);

        if (session_node(s->id) == node && session_boot(s->id) <= boot) {
            queue_session_return(m, s);
            queue_session_close(m, s);
        }
    }
}

/* S has an APPLIED or GAP effect coming. */
static void
queue_session_touch(struct queue_machine *m, struct queue_session *s)
{
    if (!list_is_linked(&s->touched)) {
        list_push_back(&m->touched, &s->touched);
    }
}

static void
queue_session_refuse(struct queue_machine *m, struct queue_session *s,
                     enum queue_status status)
{
    ASSERT(s != NULL);
    queue_session_touch(m, s);
    /* The first refusal says why; those behind it follow from it. */
    if (!s->is_refused) {
        s->is_refused = true;
        s->refusal = status;
    }
}

/* A session that is not known can begin with its command 1 alone, and only
 * while there is room. One refusal is enough for a row of its commands. */
static struct queue_session *
queue_session_admit_new(struct queue_machine *m,
                        const struct queue_command *cmd,
                        struct queue_effects *effects)
{
    struct queue_effect *e = NULL;
    bool is_room = m->sessions.count < QUEUE_SESSIONS_MAX;

    if (queue_session_is_dead(m, cmd->session)) {
        return NULL;
    }
    if (is_room &&
        (cmd->seq == 1 || queue_losses_may_jump(m, NULL, cmd->seq))) {
        return queue_session_open(m, cmd->session);
    }
    if (m->is_strange && m->stranger == cmd->session) {
        return NULL;
    }
    m->is_strange = true;
    m->stranger = cmd->session;
    e = queue_effects_add(effects, QUEUE_EFFECT_GAP);
    e->session = cmd->session;
    e->seq = 1;
    e->status = is_room ? QUEUE_OK : QUEUE_LIMIT;
    return NULL;
}

struct queue_session *
queue_session_admit(struct queue_machine *m, const struct queue_command *cmd,
                    bool full, struct queue_effects *effects)
{
    struct queue_session *s = queue_session_find(m, cmd->session);

    if (s == NULL) {
        s = queue_session_admit_new(m, cmd, effects);
        if (s == NULL) {
            return NULL;
        }
    }
    if (cmd->seq != s->applied + 1 && !full &&
        queue_losses_may_jump(m, s, cmd->seq)) {
        return s;
    }
    if (cmd->seq > s->applied + 1) {
        queue_session_refuse(m, s, QUEUE_OK);
        return NULL;
    }
    if (cmd->seq <= s->applied) {
        queue_session_touch(m, s);
        s->is_heard = true;
        if (cmd->seq == s->result.seq) {
            queue_session_add_result(s, effects);
        }
        return NULL;
    }
    if (full) {
        queue_session_refuse(m, s, QUEUE_LIMIT);
        return NULL;
    }
    queue_session_touch(m, s);
    s->is_heard = true;
    s->applied = cmd->seq;
    return s;
}

void
queue_session_add_result(const struct queue_session *s,
                         struct queue_effects *effects)
{
    struct queue_effect *e = queue_effects_add(effects, QUEUE_EFFECT_RESULT);

    ASSERT(s->result.seq > 0);
    ASSERT(s->result.seq <= s->applied);
    e->session = s->id;
    e->seq = s->result.seq;
    e->status = s->result.status;
    e->consumer = s->result.consumer;
    e->delivery = s->result.delivery;
    e->value = s->result.value;
}

/* S's APPLIED and GAP effects, if they are due. */
static void
queue_session_report_one(struct queue_session *s, struct queue_effects *effects)
{
    struct queue_effect *e = NULL;

    OBJ_CHECK(s, QUEUE_SESSION_MAGIC);
    ASSERT(s->is_heard || s->is_refused);
    if (s->is_heard) {
        e = queue_effects_add(effects, QUEUE_EFFECT_APPLIED);
        e->session = s->id;
        e->seq = s->applied;
    }
    if (s->is_refused) {
        e = queue_effects_add(effects, QUEUE_EFFECT_GAP);
        e->session = s->id;
        e->seq = s->applied + 1;
        e->status = s->refusal;
    }
    s->is_heard = false;
    s->is_refused = false;
    s->refusal = QUEUE_OK;
}

void
queue_session_report(struct queue_machine *m, struct queue_effects *effects)
{
    struct list *it = NULL;

    while ((it = list_pop_front(&m->touched)) != NULL) {
        queue_session_report_one(list_entry(it, struct queue_session, touched),
                                 effects);
    }
    m->is_strange = false;
}
