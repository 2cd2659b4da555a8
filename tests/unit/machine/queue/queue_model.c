/* The naive queue. Nothing here is shared with the machine but the types. */
#include "unit/machine/queue/queue_model.h"

#include "base/mem.h"
#include "lib/harness.h"

struct model *
model_new(void)
{
    struct model *m = mem_zalloc(1, sizeof(*m));

    queue_effects_init(&m->effects);
    return m;
}

void
model_free(struct model **m)
{
    queue_effects_deinit(&(*m)->effects);
    mem_free(*m);
    *m = NULL;
}

static void
model_add_effect(struct model *m, const struct queue_effect *e)
{
    struct queue_effects *effects = &m->effects;

    if (effects->count == effects->capacity) {
        effects->capacity = effects->capacity * 2 + 16;
        effects->items = mem_realloc(
            effects->items, effects->capacity * sizeof(*effects->items));
    }
    effects->items[effects->count] = *e;
    effects->count++;
}

static struct model_session *
model_session(struct model *m, uint64_t id)
{
    for (size_t i = 0; i < m->session_count; i++) {
        if (m->sessions[i].id == id && !m->sessions[i].is_gone) {
            return &m->sessions[i];
        }
    }
    return NULL;
}

static struct model_consumer *
model_consumer(struct model *m, uint64_t session, uint64_t id)
{
    for (size_t i = 0; i < m->consumer_count; i++) {
        struct model_consumer *c = &m->consumers[i];

        if (c->session == session && c->id == id && !c->is_gone) {
            return c;
        }
    }
    return NULL;
}

static size_t
model_held(const struct model *m, const struct model_consumer *c)
{
    size_t count = 0;

    for (size_t i = 0; i < m->message_count; i++) {
        const struct model_message *g = &m->messages[i];

        count += g->state == MODEL_HELD && g->session == c->session &&
                 g->consumer == c->id;
    }
    return count;
}

static size_t
model_attached(const struct model *m)
{
    size_t count = 0;

    for (size_t i = 0; i < m->consumer_count; i++) {
        count += m->consumers[i].is_attached;
    }
    return count;
}

/* Who has credit is in the line. */
static void
model_line_up(struct model *m, struct model_consumer *c)
{
    uint32_t limit = c->credit == 0 ? QUEUE_CREDIT_MAX : c->credit;
    bool is_hungry = c->is_attached && model_held(m, c) < limit;

    if (!is_hungry) {
        c->turn = 0;
    } else if (c->turn == 0) {
        m->turn_last++;
        c->turn = m->turn_last;
    }
}

/* The next message: returned ones first, then the others, each by age. */
static struct model_message *
model_next(struct model *m)
{
    struct model_message *fresh = NULL;

    for (size_t i = 0; i < m->message_count; i++) {
        struct model_message *g = &m->messages[i];

        if (g->state == MODEL_READY && g->count > 0) {
            return g;
        }
        if (g->state == MODEL_READY && fresh == NULL) {
            fresh = g;
        }
    }
    return fresh;
}

static size_t
model_ready(const struct model *m)
{
    size_t count = 0;

    for (size_t i = 0; i < m->message_count; i++) {
        count += m->messages[i].state == MODEL_READY;
    }
    return count;
}

static void
model_deliver(struct model *m, struct model_consumer *c)
{
    struct model_message *g = model_next(m);
    struct queue_effect e = {
        .kind = QUEUE_EFFECT_DELIVER,
        .session = c->session,
        .consumer = c->id,
        .delivery = c->next,
        .count = g->count,
        .message = g->message,
    };

    g->state = MODEL_HELD;
    g->session = c->session;
    g->consumer = c->id;
    g->delivery = c->next;
    c->next++;
    if (c->turn != 0) {
        c->turn = 0; /* to the end of the line */
        model_line_up(m, c);
    }
    model_add_effect(m, &e);
}

static void
model_detach(struct model *m, struct model_consumer *c)
{
    if (c->is_attached) {
        c->is_attached = false;
        m->is_unused = model_attached(m) == 0;
    }
    c->is_cancelled = true;
    c->turn = 0;
}

/* Settle or return the held messages of C in [FIRST, LAST]. */
static void
model_release(struct model *m, const struct model_consumer *c,
              const struct range *r, bool is_back)
{
    for (size_t i = 0; i < m->message_count; i++) {
        struct model_message *g = &m->messages[i];

        if (g->state == MODEL_HELD && g->session == c->session &&
            g->consumer == c->id && g->delivery >= r->first &&
            g->delivery <= r->last) {
            g->state = is_back ? MODEL_READY : MODEL_GONE;
            g->count += is_back ? 1 : 0;
        }
    }
}

static void
model_remove_consumer(struct model *m, struct model_consumer *c)
{
    const struct range all = {0, UINT64_MAX};

    model_detach(m, c);
    model_release(m, c, &all, true);
    c->is_gone = true;
}

static void
model_down(struct model *m, qr_node_id node, uint32_t boot)
{
    m->dead[node] = MAX(m->dead[node], (uint64_t)boot + 1);
    for (size_t i = 0; i < m->session_count; i++) {
        struct model_session *s = &m->sessions[i];

        if (s->is_gone || session_node(s->id) != node ||
            session_boot(s->id) > boot) {
            continue;
        }
        for (size_t j = 0; j < m->consumer_count; j++) {
            if (m->consumers[j].session == s->id && !m->consumers[j].is_gone) {
                model_remove_consumer(m, &m->consumers[j]);
            }
        }
        s->is_gone = true;
    }
}

static struct model_consumer *
model_new_consumer(struct model *m, const struct queue_command *cmd,
                   bool is_attached)
{
    struct model_consumer *c = &m->consumers[m->consumer_count];

    cr_assert_lt(m->consumer_count, MODEL_CONSUMERS_MAX);
    m->consumer_count++;
    memset(c, 0, sizeof(*c));
    c->session = cmd->session;
    c->id = cmd->consumer;
    c->next = 1;
    c->credit = cmd->credit;
    c->flags = cmd->flags;
    c->is_attached = is_attached;
    return c;
}

static enum queue_status
model_attach(struct model *m, const struct queue_command *cmd)
{
    if (model_consumer(m, cmd->session, cmd->consumer) != NULL) {
        return QUEUE_LIMIT;
    }
    for (size_t i = 0; i < m->consumer_count; i++) {
        const struct model_consumer *c = &m->consumers[i];

        if (c->is_attached &&
            ((c->flags | cmd->flags) & QUEUE_ATTACH_EXCLUSIVE) != 0) {
            return QUEUE_EXCLUSIVE;
        }
    }
    model_line_up(m, model_new_consumer(m, cmd, true));
    m->is_unused = false;
    return QUEUE_OK;
}

static void
model_get(struct model *m, const struct queue_command *cmd,
          struct model_consumer *c, struct queue_effect *result)
{
    size_t ready = model_ready(m);

    if (c != NULL && c->is_cancelled) {
        result->status = QUEUE_NO_CONSUMER;
    } else if (ready == 0) {
        result->status = QUEUE_EMPTY;
    } else {
        if (c == NULL) {
            c = model_new_consumer(m, cmd, false);
        }
        result->delivery = c->next;
        result->value = ready - 1;
    }
}

/* Commands with a result. */
static void
model_answer(struct model *m, struct model_session *s,
             const struct queue_command *cmd, struct model_consumer *c)
{
    struct queue_effect e = {
        .kind = QUEUE_EFFECT_RESULT,
        .session = cmd->session,
        .seq = cmd->seq,
        .consumer = cmd->consumer,
    };

    if (cmd->kind == QUEUE_ATTACH) {
        e.status = model_attach(m, cmd);
    } else if (cmd->kind == QUEUE_GET) {
        model_get(m, cmd, c, &e);
    } else if (cmd->kind == QUEUE_PURGE) {
        e.value = model_ready(m);
        for (size_t i = 0; i < m->message_count; i++) {
            if (m->messages[i].state == MODEL_READY) {
                m->messages[i].state = MODEL_GONE;
            }
        }
    } else if (c == NULL || (c->is_cancelled && cmd->kind == QUEUE_CANCEL)) {
        e.status = QUEUE_NO_CONSUMER;
    } else if (cmd->kind == QUEUE_CANCEL) {
        model_detach(m, c);
        c->is_gone = model_held(m, c) == 0;
    } else {
        model_remove_consumer(m, c);
    }
    s->result = e;
    model_add_effect(m, &e);
    if (cmd->kind == QUEUE_GET && e.status == QUEUE_OK) {
        model_deliver(m, model_consumer(m, cmd->session, cmd->consumer));
    }
}

static void
model_ids(struct model *m, const struct model_command *command,
          struct model_consumer *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < command->range_count; i++) {
        model_release(m, c, &command->ranges[i],
                      command->cmd.kind == QUEUE_RETURN);
    }
    if (c->is_cancelled && model_held(m, c) == 0) {
        c->is_gone = true;
    }
    model_line_up(m, c);
}

static void
model_enqueue(struct model *m, qr_index index,
              const struct model_command *command)
{
    struct model_message *g = &m->messages[m->message_count];

    cr_assert_lt(m->message_count, MODEL_MESSAGES_MAX);
    m->message_count++;
    memset(g, 0, sizeof(*g));
    g->message.index = index;
    g->message.offset = command->offset;
    g->message.size = (uint32_t)command->cmd.size;
}

static void
model_carry_out(struct model *m, qr_index index, struct model_session *s,
                const struct model_command *command)
{
    const struct queue_command *cmd = &command->cmd;
    struct model_consumer *c = model_consumer(m, cmd->session, cmd->consumer);

    if (cmd->kind == QUEUE_ENQUEUE) {
        model_enqueue(m, index, command);
    } else if (cmd->kind == QUEUE_CREDIT) {
        if (c != NULL) {
            c->credit = cmd->credit;
            model_line_up(m, c);
        }
    } else if (cmd->kind == QUEUE_SETTLE || cmd->kind == QUEUE_RETURN ||
               cmd->kind == QUEUE_DISCARD) {
        model_ids(m, command, c);
    } else {
        model_answer(m, s, cmd, c);
    }
}

/* A session that is not there: a new one, or NULL. */
static struct model_session *
model_greet(struct model *m, const struct queue_command *cmd)
{
    struct queue_effect e = {
        .kind = QUEUE_EFFECT_GAP, .session = cmd->session, .seq = 1};
    struct model_session *s = NULL;

    if (m->dead[session_node(cmd->session)] > session_boot(cmd->session)) {
        return NULL;
    }
    if (cmd->seq == 1) {
        cr_assert_lt(m->session_count, MODEL_SESSIONS_MAX);
        s = &m->sessions[m->session_count];
        m->session_count++;
        memset(s, 0, sizeof(*s));
        s->id = cmd->session;
        return s;
    }
    if (m->stranger != cmd->session) {
        m->stranger = cmd->session;
        model_add_effect(m, &e);
    }
    return NULL;
}

static void
model_command(struct model *m, qr_index index, unsigned when,
              const struct model_command *command)
{
    const struct queue_command *cmd = &command->cmd;
    struct model_session *s = model_session(m, cmd->session);

    if (cmd->kind == QUEUE_SESSION_DOWN) {
        model_down(m, cmd->node, cmd->boot);
        return;
    }
    if (s == NULL) {
        s = model_greet(m, cmd);
    }
    if (s == NULL) {
        return;
    }
    s->touched = s->touched == 0 ? when : s->touched;
    if (cmd->seq > s->applied + 1) {
        s->refused = when;
        return;
    }
    s->heard = when;
    if (cmd->seq == s->applied + 1) {
        s->applied++;
        model_carry_out(m, index, s, command);
    } else if (cmd->seq == s->result.seq) {
        model_add_effect(m, &s->result);
    }
}

/* Give what is ready to the consumers in line. */
static void
model_assign(struct model *m)
{
    while (model_next(m) != NULL) {
        struct model_consumer *first = NULL;

        for (size_t i = 0; i < m->consumer_count; i++) {
            struct model_consumer *c = &m->consumers[i];

            if (c->turn != 0 && (first == NULL || c->turn < first->turn)) {
                first = c;
            }
        }
        if (first == NULL) {
            return;
        }
        model_deliver(m, first);
    }
}

/* APPLIED and GAP of the session touched at WHEN. */
static void
model_report(struct model *m, unsigned when)
{
    for (size_t i = 0; i < m->session_count; i++) {
        struct model_session *s = &m->sessions[i];
        struct queue_effect e = {.session = s->id, .seq = s->applied};

        if (s->is_gone || s->touched != when) {
            continue;
        }
        if (s->heard != 0) {
            e.kind = QUEUE_EFFECT_APPLIED;
            model_add_effect(m, &e);
        }
        if (s->refused != 0) {
            e.kind = QUEUE_EFFECT_GAP;
            e.seq++;
            model_add_effect(m, &e);
        }
    }
}

void
model_apply(struct model *m, qr_index index,
            const struct model_command *commands, size_t count)
{
    struct queue_effect unused = {.kind = QUEUE_EFFECT_UNUSED};

    m->effects.count = 0;
    m->stranger = 0;
    m->is_unused = false;
    for (size_t i = 0; i < m->session_count; i++) {
        m->sessions[i].touched = 0;
        m->sessions[i].heard = 0;
        m->sessions[i].refused = 0;
    }
    for (unsigned i = 0; i < count; i++) {
        model_command(m, index, i + 1, &commands[i]);
    }
    model_assign(m);
    for (unsigned i = 0; i < count; i++) {
        model_report(m, i + 1);
    }
    if (m->is_unused) {
        model_add_effect(m, &unused);
    }
}

void
model_counts(const struct model *m, struct queue_counts *out)
{
    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < m->message_count; i++) {
        const struct model_message *g = &m->messages[i];

        if (g->state == MODEL_READY) {
            out->ready++;
            out->ready_bytes += g->message.size;
        } else if (g->state == MODEL_HELD) {
            out->unsettled++;
            out->unsettled_bytes += g->message.size;
        }
    }
    for (size_t i = 0; i < m->session_count; i++) {
        out->sessions += m->sessions[i].is_gone ? 0 : 1;
    }
    out->consumers = model_attached(m);
}

void
model_live(const struct model *m, struct ranges *out)
{
    for (size_t i = 0; i < m->message_count; i++) {
        if (m->messages[i].state != MODEL_GONE) {
            ranges_add(out, m->messages[i].message.index,
                       m->messages[i].message.index);
        }
    }
}

uint64_t
model_applied(const struct model *m, uint64_t session)
{
    for (size_t i = 0; i < m->session_count; i++) {
        if (m->sessions[i].id == session && !m->sessions[i].is_gone) {
            return m->sessions[i].applied;
        }
    }
    return 0;
}

uint64_t
model_delivered(const struct model *m, uint64_t session, uint64_t consumer)
{
    for (size_t i = 0; i < m->consumer_count; i++) {
        const struct model_consumer *c = &m->consumers[i];

        if (c->session == session && c->id == consumer && !c->is_gone) {
            return c->next - 1;
        }
    }
    return 0;
}
