/* The machine against the model: random commands, resent, lost, from dead
 * sessions and from unknown ones, with exclusive consumers and snapshots in
 * between. Effects must be equal one by one, replicas byte for byte. */
#include "base/buf.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "unit/machine/queue/queue_model.h"

enum {
    RUN_SESSIONS = 6,
    RUN_ENTRIES = 600,
    RUN_COMMANDS_MAX = 12 /* in one entry */
};

/* What a run does much of. */
struct mix {
    uint64_t seed;
    uint32_t enqueue; /* weights */
    uint32_t settle;
    uint32_t giving_back;
    uint32_t attach;
    uint32_t detach;
    uint32_t get;
    uint32_t death;      /* per million commands */
    uint32_t exclusive;  /* per million attaches */
    uint32_t misnumber;  /* per million commands */
    uint32_t credit_max; /* of a consumer; 0: mostly unlimited */
    uint32_t size_max;   /* of a message */
};

struct run {
    const struct mix *mix;
    struct model *model;
    struct queue_machine *a; /* applies all entries */
    struct queue_machine *b; /* is restored from snapshots now and then */
    struct queue_effects effects;
    struct rng rng;
    struct buf body;
    struct model_command commands[RUN_COMMANDS_MAX];
    size_t count;
    qr_index index;
    uint64_t sent[RUN_SESSIONS]; /* number of the last command */
    uint32_t boots[RUN_SESSIONS];
    uint64_t consumer_last;
};

static uint64_t
run_session(const struct run *r, size_t which)
{
    /* Two sessions a node: shards of one start. */
    return session_id((qr_node_id)(1 + which / 2), r->boots[which],
                      (uint16_t)(which % 2));
}

static enum queue_command_kind
run_kind(struct run *r)
{
    const struct mix *x = r->mix;
    const struct {
        enum queue_command_kind kind;
        uint32_t weight;
    } kinds[] = {
        {QUEUE_ENQUEUE, x->enqueue},
        {QUEUE_SETTLE, x->settle},
        {QUEUE_DISCARD, x->settle / 4},
        {QUEUE_RETURN, x->giving_back},
        {QUEUE_ATTACH, x->attach},
        {QUEUE_CREDIT, x->attach},
        {QUEUE_CANCEL, x->detach},
        {QUEUE_DETACH, x->detach},
        {QUEUE_GET, x->get},
        {QUEUE_PURGE, 1},
    };
    uint64_t at = 0;

    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        at += kinds[i].weight;
    }
    at = rng_below(&r->rng, at);
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        if (at < kinds[i].weight) {
            return kinds[i].kind;
        }
        at -= kinds[i].weight;
    }
    return QUEUE_PURGE;
}

/* A consumer of SESSION: mostly one that is there. */
static uint64_t
run_consumer(struct run *r, uint64_t session)
{
    uint64_t ids[64];
    size_t count = 0;

    for (size_t i = r->model->consumer_count; i > 0; i--) {
        const struct model_consumer *c = &r->model->consumers[i - 1];

        if (c->session == session && !c->is_gone && count < ARRAY_COUNT(ids)) {
            ids[count] = c->id;
            count++;
        }
    }
    if (count == 0 || rng_chance(&r->rng, 20000)) {
        return rng_between(&r->rng, 1, r->consumer_last + 1);
    }
    return ids[rng_below(&r->rng, count)];
}

/* A few ranges of what COMMAND's consumer may hold. */
static void
run_ranges(struct run *r, struct model_command *command)
{
    uint64_t top =
        model_delivered(r->model, command->cmd.session, command->cmd.consumer) +
        2;
    uint64_t at = top > 12 && !rng_chance(&r->rng, 100000) ? top - 12 : 0;

    if (rng_chance(&r->rng, 50000)) {
        command->ranges[0] = (struct range){1, UINT64_MAX};
        command->range_count = 1;
        return;
    }
    for (size_t i = 0; i < MODEL_RANGES_MAX && at < top; i++) {
        uint64_t first = at + rng_between(&r->rng, 1, 4);
        uint64_t last = first + rng_below(&r->rng, 4);

        command->ranges[i] = (struct range){first, last};
        command->range_count = i + 1;
        at = last + 1; /* a gap of one at least */
    }
}

static uint32_t
run_credit(struct run *r)
{
    uint32_t max = r->mix->credit_max;

    return max == 0 || rng_chance(&r->rng, 50000)
               ? 0
               : (uint32_t)rng_between(&r->rng, 1, max);
}

static uint32_t
run_flags(struct run *r)
{
    uint32_t flags = 0;

    if (rng_chance(&r->rng, r->mix->exclusive)) {
        flags |= QUEUE_ATTACH_EXCLUSIVE;
    }
    if (rng_chance(&r->rng, 300000)) {
        flags |= QUEUE_ATTACH_NO_ACK;
    }
    return flags;
}

static void
run_fill(struct run *r, struct model_command *command)
{
    struct queue_command *cmd = &command->cmd;
    bool is_new = cmd->kind == QUEUE_ATTACH ||
                  (cmd->kind == QUEUE_GET && rng_chance(&r->rng, 100000));

    if (is_new && !rng_chance(&r->rng, 50000)) {
        r->consumer_last++;
        cmd->consumer = r->consumer_last;
    } else if (cmd->kind != QUEUE_ENQUEUE && cmd->kind != QUEUE_PURGE) {
        cmd->consumer = run_consumer(r, cmd->session);
    }
    if (cmd->kind == QUEUE_ENQUEUE) {
        cmd->size = (size_t)rng_below(&r->rng, r->mix->size_max + 1);
    } else if (cmd->kind == QUEUE_ATTACH) {
        cmd->credit = run_credit(r);
        cmd->flags = run_flags(r);
    } else if (cmd->kind == QUEUE_CREDIT) {
        cmd->credit = run_credit(r);
    } else if (cmd->kind == QUEUE_SETTLE || cmd->kind == QUEUE_RETURN ||
               cmd->kind == QUEUE_DISCARD) {
        run_ranges(r, command);
    }
}

/* Append COMMAND's bytes to the entry. */
static void
run_encode(struct run *r, struct model_command *command)
{
    const struct queue_command *cmd = &command->cmd;
    struct buf *b = &r->body;
    struct ranges ids;

    if (cmd->kind == QUEUE_SESSION_DOWN) {
        queue_put_session_down(b, cmd->node, cmd->boot);
    } else if (cmd->kind == QUEUE_ENQUEUE) {
        queue_put_enqueue(b, cmd->session, cmd->seq, cmd->size);
        command->offset = (uint32_t)b->size;
        memset(buf_extend(b, cmd->size), 'm', cmd->size);
    } else if (cmd->kind == QUEUE_ATTACH) {
        queue_put_attach(b, cmd->session, cmd->seq, cmd);
    } else if (cmd->kind == QUEUE_CREDIT) {
        queue_put_credit(b, cmd->session, cmd->seq, cmd->consumer, cmd->credit);
    } else if (cmd->kind == QUEUE_PURGE) {
        queue_put_purge(b, cmd->session, cmd->seq);
    } else if (cmd->kind == QUEUE_CANCEL || cmd->kind == QUEUE_DETACH ||
               cmd->kind == QUEUE_GET) {
        queue_put_consumer(b, cmd->kind, cmd->session, cmd->seq, cmd->consumer);
    } else {
        ranges_init(&ids);
        for (size_t i = 0; i < command->range_count; i++) {
            ranges_add(&ids, command->ranges[i].first, command->ranges[i].last);
        }
        queue_put_ids(b, cmd->kind, cmd, &ids);
        ranges_deinit(&ids);
    }
}

/* A node dies; its sessions begin anew with the next boot, most times. */
static void
run_death(struct run *r, struct model_command *command)
{
    size_t which = (size_t)rng_below(&r->rng, RUN_SESSIONS / 2) * 2;
    uint32_t boot = r->boots[which];

    command->cmd.kind = QUEUE_SESSION_DOWN;
    command->cmd.node = session_node(run_session(r, which));
    command->cmd.boot = boot;
    if (rng_chance(&r->rng, 200000)) {
        command->cmd.boot = boot - 1; /* an old one, again */
        return;
    }
    if (rng_chance(&r->rng, 500000)) {
        for (size_t i = 0; i < 2; i++) {
            r->boots[which + i]++;
            r->sent[which + i] = 0;
        }
    } /* else: it goes on sending, to no effect, until it dies again */
}

static void
run_add_command(struct run *r)
{
    struct model_command *command = &r->commands[r->count];
    size_t which = (size_t)rng_below(&r->rng, RUN_SESSIONS);

    memset(command, 0, sizeof(*command));
    r->count++;
    if (rng_chance(&r->rng, r->mix->death)) {
        run_death(r, command);
        run_encode(r, command);
        return;
    }
    command->cmd.session = run_session(r, which);
    command->cmd.kind = run_kind(r);
    if (rng_chance(&r->rng, r->mix->misnumber)) {
        /* Seen before or beyond the next. */
        command->cmd.seq =
            rng_between(&r->rng, r->sent[which] > 3 ? r->sent[which] - 3 : 1,
                        r->sent[which] + 3);
        r->sent[which] = model_applied(r->model, command->cmd.session);
    } else {
        r->sent[which]++;
        command->cmd.seq = r->sent[which];
    }
    run_fill(r, command);
    run_encode(r, command);
}

static void
assert_same_effect(const struct queue_effect *a, const struct queue_effect *b)
{
    cr_assert_eq((int)a->kind, (int)b->kind);
    cr_assert_eq((int)a->status, (int)b->status);
    cr_assert_eq(a->session, b->session);
    cr_assert_eq(a->seq, b->seq);
    cr_assert_eq(a->consumer, b->consumer);
    cr_assert_eq(a->delivery, b->delivery);
    cr_assert_eq(a->value, b->value);
    cr_assert_eq(a->count, b->count);
    cr_assert_eq(a->message.index, b->message.index);
    cr_assert_eq(a->message.offset, b->message.offset);
    cr_assert_eq(a->message.size, b->message.size);
}

/* Apply the entry to M and compare with the model. */
static void
run_apply(struct run *r, struct queue_machine *m)
{
    const struct queue_effects *want = &r->model->effects;
    struct queue_counts counts;
    struct queue_counts expected;

    queue_effects_clear(&r->effects);
    queue_machine_apply(m, r->index, 0, r->body.data, r->body.size,
                        &r->effects);
    queue_machine_check(m);
    for (size_t i = 0; i < MIN(want->count, r->effects.count); i++) {
        assert_same_effect(&r->effects.items[i], &want->items[i]);
    }
    cr_assert_eq(r->effects.count, want->count);
    queue_machine_counts(m, &counts);
    model_counts(r->model, &expected);
    cr_assert_eq(counts.ready, expected.ready);
    cr_assert_eq(counts.unsettled, expected.unsettled);
    cr_assert_eq(counts.ready_bytes, expected.ready_bytes);
    cr_assert_eq(counts.unsettled_bytes, expected.unsettled_bytes);
    cr_assert_eq(counts.consumers, expected.consumers);
    cr_assert_eq(counts.sessions, expected.sessions);
    cr_assert_eq(counts.malformed, 0);
}

static void
assert_same_ranges(const struct ranges *a, const struct ranges *b)
{
    cr_assert_eq(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        cr_assert_eq(a->items[i].first, b->items[i].first);
        cr_assert_eq(a->items[i].last, b->items[i].last);
    }
}

/* Both machines' snapshots are equal, and name what the model has. Then the
 * second machine goes on from the bytes alone. */
static void
run_snapshot(struct run *r)
{
    struct ranges live[3];
    struct buf bytes[3];

    for (size_t i = 0; i < 3; i++) {
        ranges_init(&live[i]);
        buf_init(&bytes[i]);
    }
    queue_machine_snapshot(r->a, &bytes[0], &live[0]);
    queue_machine_snapshot(r->b, &bytes[1], &live[1]);
    cr_assert_eq(bytes[0].size, bytes[1].size);
    cr_assert_arr_eq(bytes[0].data, bytes[1].data, bytes[0].size);
    model_live(r->model, &live[2]);
    assert_same_ranges(&live[0], &live[2]);
    assert_same_ranges(&live[1], &live[2]);
    cr_assert_eq(queue_machine_restore(r->b, bytes[1].data, bytes[1].size), 0);
    queue_machine_check(r->b);
    queue_machine_snapshot(r->b, &bytes[2], &live[2]);
    cr_assert_eq(bytes[2].size, bytes[1].size);
    cr_assert_arr_eq(bytes[2].data, bytes[1].data, bytes[1].size);
    for (size_t i = 0; i < 3; i++) {
        ranges_deinit(&live[i]);
        buf_deinit(&bytes[i]);
    }
}

/* One run of MIX; returns how many deliveries it saw. */
static size_t
run_mix(const struct mix *mix)
{
    struct run r = {.mix = mix};
    size_t deliveries = 0;

    r.model = model_new();
    r.a = queue_machine_new();
    r.b = queue_machine_new();
    queue_effects_init(&r.effects);
    buf_init(&r.body);
    rng_init(&r.rng, mix->seed);
    for (size_t i = 0; i < RUN_SESSIONS; i++) {
        r.boots[i] = 5;
    }
    for (size_t i = 0; i < RUN_ENTRIES; i++) {
        r.index += rng_between(&r.rng, 1, 3);
        r.count = 0;
        buf_clear(&r.body);
        do {
            run_add_command(&r);
        } while (r.count < RUN_COMMANDS_MAX && !rng_chance(&r.rng, 250000));
        model_apply(r.model, r.index, r.commands, r.count);
        run_apply(&r, r.a);
        run_apply(&r, r.b);
        for (size_t j = 0; j < r.effects.count; j++) {
            deliveries += r.effects.items[j].kind == QUEUE_EFFECT_DELIVER;
        }
        if (rng_chance(&r.rng, 100000)) {
            run_snapshot(&r);
        }
    }
    run_snapshot(&r);
    queue_machine_free(&r.a);
    queue_machine_free(&r.b);
    queue_effects_deinit(&r.effects);
    buf_deinit(&r.body);
    model_free(&r.model);
    return deliveries;
}

static void
run_seeds(struct mix mix, uint64_t seeds)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        mix.seed = seed;
        cr_assert_gt(run_mix(&mix), 100, "the mix delivers too little");
    }
}

Test(queue_model, agrees_on_steady_work)
{
    const struct mix mix = {
        .enqueue = 40,
        .settle = 30,
        .giving_back = 6,
        .attach = 3,
        .detach = 1,
        .get = 3,
        .credit_max = 8,
        .size_max = 300,
    };

    run_seeds(mix, 12);
}

Test(queue_model, agrees_when_commands_are_lost_and_sent_again)
{
    const struct mix mix = {
        .enqueue = 40,
        .settle = 30,
        .giving_back = 6,
        .attach = 5,
        .detach = 3,
        .get = 5,
        .misnumber = 150000,
        .credit_max = 4,
        .size_max = 3,
    };

    run_seeds(mix, 12);
}

Test(queue_model, agrees_when_nodes_die)
{
    const struct mix mix = {
        .enqueue = 40,
        .settle = 20,
        .giving_back = 3,
        .attach = 8,
        .detach = 1,
        .get = 5,
        .death = 30000,
        .misnumber = 30000,
        .credit_max = 10,
        .size_max = 100000,
    };

    run_seeds(mix, 12);
}

Test(queue_model, agrees_on_exclusive_consumers_that_come_and_go)
{
    const struct mix mix = {
        .enqueue = 30,
        .settle = 10,
        .giving_back = 5,
        .attach = 15,
        .detach = 15,
        .get = 5,
        .death = 5000,
        .exclusive = 400000,
        .misnumber = 20000,
        .credit_max = 5,
        .size_max = 0,
    };

    run_seeds(mix, 12);
}

Test(queue_model, agrees_on_messages_that_are_mostly_given_back)
{
    const struct mix mix = {
        .enqueue = 25,
        .settle = 8,
        .giving_back = 40,
        .attach = 5,
        .detach = 5,
        .get = 10,
        .death = 5000,
        .credit_max = 0,
        .size_max = 10,
    };

    run_seeds(mix, 8);
}
