/* The machine against a naive model: small arrays, walked whole for every
 * question. Random commands; the outcomes, the bindings, the routes and the
 * queues must agree after each, and replicas fed otherwise (in other batches,
 * or by way of a snapshot) must be equal byte for byte. */
#include "base/rng.h"
#include "lib/harness.h"
#include "world.h"

enum {
    VHOSTS = 2,
    EXCHANGES = 6, /* number 0 is amq.topic */
    QUEUES = 6,
    KEYS = 4,
    NODES = 3,
    CONNECTIONS = 2,
    STEPS = 6000,
    COMPARE_EVERY = 50
};

static const char *const VHOST_NAMES[VHOSTS] = {"v0", "v1"};
static const char *const EXCHANGE_NAMES[EXCHANGES] = {"amq.topic", "e1", "e2",
                                                      "e3",        "e4", "e5"};
static const char *const QUEUE_NAMES[QUEUES] = {"q0", "q1", "q2",
                                                "q3", "q4", "q5"};
static const char *const KEY_NAMES[KEYS] = {"a", "a.*", "#", "b"};
static const char *const MESSAGE_KEYS[KEYS] = {"a", "a.b", "b", ""};

/* Whether pattern P matches message key K. */
static const bool TOPIC_MATCHES[KEYS][KEYS] = {{true, false, false, false},
                                               {false, true, false, false},
                                               {true, true, true, true},
                                               {false, false, true, false}};

struct model_exchange {
    bool is_in;
    enum meta_exchange_type type;
    bool is_auto_delete;
    bool has_lost; /* a binding, by this command */
};

struct model_queue {
    bool is_in;
    bool is_durable;
    struct meta_owner owner;
    size_t members_count; /* the first nodes */
    uint32_t boots[NODES];
};

struct model_vhost {
    bool is_in;
    struct model_exchange exchanges[EXCHANGES];
    struct model_queue queues[QUEUES];
    bool to_queue[EXCHANGES][QUEUES][KEYS];
    bool to_exchange[EXCHANGES][EXCHANGES][KEYS];
};

struct model {
    struct model_vhost vhosts[VHOSTS];
    uint32_t boots[NODES];
};

/* One step: what is chosen, before a command is made of it. */
struct step {
    size_t kind;
    size_t v;
    size_t e;
    size_t f; /* another exchange */
    size_t q;
    size_t k;
    size_t n;
    uint64_t connection;
    bool flag;
    bool other_flag;
    enum meta_exchange_type type;
    size_t members_count;
};

static size_t
bindings_of(const struct model_vhost *v, size_t e)
{
    size_t count = 0;

    for (size_t k = 0; k < KEYS; k++) {
        for (size_t q = 0; q < QUEUES; q++) {
            count += v->to_queue[e][q][k] ? 1U : 0U;
        }
        for (size_t f = 0; f < EXCHANGES; f++) {
            count += v->to_exchange[e][f][k] ? 1U : 0U;
        }
    }
    return count;
}

static void
unset(struct model_vhost *v, size_t source, bool *binding)
{
    v->exchanges[source].has_lost |= *binding;
    *binding = false;
}

static void
model_delete_queue(struct model_vhost *v, size_t q)
{
    v->queues[q].is_in = false;
    for (size_t e = 0; e < EXCHANGES; e++) {
        for (size_t k = 0; k < KEYS; k++) {
            unset(v, e, &v->to_queue[e][q][k]);
        }
    }
}

static void
model_delete_exchange(struct model_vhost *v, size_t e)
{
    v->exchanges[e].is_in = false;
    for (size_t k = 0; k < KEYS; k++) {
        for (size_t q = 0; q < QUEUES; q++) {
            v->to_queue[e][q][k] = false;
        }
        for (size_t f = 0; f < EXCHANGES; f++) {
            v->to_exchange[e][f][k] = false;
            unset(v, f, &v->to_exchange[f][e][k]);
        }
    }
}

/* Delete what auto-deletes, until nothing more does. */
static void
model_settle(struct model_vhost *v)
{
    bool is_changed = true;

    while (is_changed) {
        is_changed = false;
        for (size_t e = 0; e < EXCHANGES; e++) {
            struct model_exchange *x = &v->exchanges[e];

            if (x->is_in && x->is_auto_delete && x->has_lost &&
                bindings_of(v, e) == 0) {
                model_delete_exchange(v, e);
                is_changed = true;
            }
        }
    }
    for (size_t e = 0; e < EXCHANGES; e++) {
        v->exchanges[e].has_lost = false;
    }
}

static bool
is_over(const struct model *m, const struct model_queue *q)
{
    if (q->is_durable || q->owner.node != 0) {
        return false;
    }
    for (size_t n = 0; n < q->members_count; n++) {
        if (m->boots[n] <= q->boots[n]) {
            return false;
        }
    }
    return true;
}

static enum meta_status
model_node_up(struct model *m, const struct step *s)
{
    m->boots[s->n]++;
    for (size_t v = 0; v < VHOSTS; v++) {
        for (size_t i = 0; i < QUEUES; i++) {
            struct model_queue *q = &m->vhosts[v].queues[i];

            if (q->is_in && ((q->owner.node == s->n + 1 &&
                              q->owner.boot < m->boots[s->n]) ||
                             is_over(m, q))) {
                model_delete_queue(&m->vhosts[v], i);
            }
        }
        model_settle(&m->vhosts[v]);
    }
    return META_OK;
}

static enum meta_status
model_connection_gone(struct model *m, const struct step *s)
{
    struct meta_owner owner = {(qr_node_id)(s->n + 1), m->boots[s->n],
                               s->connection};

    for (size_t v = 0; v < VHOSTS; v++) {
        for (size_t i = 0; i < QUEUES; i++) {
            const struct meta_owner *o = &m->vhosts[v].queues[i].owner;

            if (m->vhosts[v].queues[i].is_in && o->node == owner.node &&
                o->boot == owner.boot && o->connection == owner.connection) {
                model_delete_queue(&m->vhosts[v], i);
            }
        }
        model_settle(&m->vhosts[v]);
    }
    return META_OK;
}

static enum meta_status
model_vhost(struct model *m, const struct step *s)
{
    struct model_vhost *v = &m->vhosts[s->v];

    if (s->flag) {
        if (v->is_in) {
            return META_EXISTS;
        }
        memset(v, 0, sizeof(*v));
        v->is_in = true;
        v->exchanges[0].is_in = true;
        v->exchanges[0].type = META_TOPIC;
        return META_OK;
    }
    if (!v->is_in) {
        return META_NO_VHOST;
    }
    if (!m->vhosts[1 - s->v].is_in) {
        return META_REFUSED;
    }
    memset(v, 0, sizeof(*v));
    return META_OK;
}

static enum meta_status
model_exchange(struct model_vhost *v, const struct step *s)
{
    struct model_exchange *x = &v->exchanges[s->e];

    if (s->flag) {
        if (x->is_in) {
            return META_EXISTS;
        }
        *x = (struct model_exchange){true, s->type, s->other_flag, false};
        return META_OK;
    }
    if (!x->is_in) {
        return META_NO_EXCHANGE;
    }
    if (s->e == 0) {
        return META_REFUSED;
    }
    if (s->other_flag && bindings_of(v, s->e) > 0) {
        return META_IN_USE;
    }
    model_delete_exchange(v, s->e);
    return META_OK;
}

static enum meta_status
model_queue_declare(struct model *m, const struct step *s)
{
    struct model_queue *q = &m->vhosts[s->v].queues[s->q];

    if (q->is_in) {
        return META_EXISTS;
    }
    memset(q, 0, sizeof(*q));
    q->is_in = true;
    q->is_durable = s->flag;
    q->members_count = s->members_count;
    memcpy(q->boots, m->boots, sizeof(q->boots));
    if (s->other_flag) {
        q->owner.node = (qr_node_id)(s->n + 1);
        q->owner.boot = m->boots[s->n];
        q->owner.connection = s->connection;
    }
    return META_OK;
}

static enum meta_status
model_bind(struct model_vhost *v, const struct step *s)
{
    bool *binding = s->other_flag ? &v->to_exchange[s->e][s->f][s->k]
                                  : &v->to_queue[s->e][s->q][s->k];

    if (!v->exchanges[s->e].is_in ||
        (s->other_flag && !v->exchanges[s->f].is_in)) {
        return META_NO_EXCHANGE;
    }
    if (!s->other_flag && !v->queues[s->q].is_in) {
        return META_NO_QUEUE;
    }
    if (s->flag) {
        if (*binding) {
            return META_EXISTS;
        }
        *binding = true;
        return META_OK;
    }
    if (!*binding) {
        return META_NOT_FOUND;
    }
    unset(v, s->e, binding);
    return META_OK;
}

enum {
    STEP_NODE_UP,
    STEP_GONE,
    STEP_VHOST,
    STEP_EXCHANGE,
    STEP_DECLARE,
    STEP_DELETE,
    STEP_BIND,
    STEP_KINDS
};

static enum meta_status
model_step(struct model *m, const struct step *s)
{
    struct model_vhost *v = &m->vhosts[s->v];
    enum meta_status status = META_OK;

    switch (s->kind) {
    case STEP_NODE_UP:
        return model_node_up(m, s);
    case STEP_GONE:
        return model_connection_gone(m, s);
    case STEP_VHOST:
        return model_vhost(m, s);
    default:
        break;
    }
    if (!v->is_in) {
        return META_NO_VHOST;
    }
    switch (s->kind) {
    case STEP_EXCHANGE:
        status = model_exchange(v, s);
        break;
    case STEP_DECLARE:
        status = model_queue_declare(m, s);
        break;
    case STEP_DELETE:
        status = v->queues[s->q].is_in ? META_OK : META_NO_QUEUE;
        model_delete_queue(v, s->q);
        break;
    default:
        status = model_bind(v, s);
        break;
    }
    model_settle(v);
    return status;
}

static void
put_node_up(struct buf *b, size_t n, uint32_t boot)
{
    char name[8];
    struct meta_node node = {.id = (qr_node_id)(n + 1), .boot = boot};

    (void)snprintf(name, sizeof(name), "n%zu", n);
    node.name = text(name);
    memset(node.uuid.bytes, (int)n + 1, sizeof(node.uuid.bytes));
    meta_put_node_up(b, 1, 1, &node);
}

static void
put_declare(struct buf *b, const struct model *m, const struct step *s)
{
    struct meta_queue_declare d = {.vhost = text(VHOST_NAMES[s->v]),
                                   .name = text(QUEUE_NAMES[s->q]),
                                   .is_durable = s->flag,
                                   .nodes = {1, 2, 3},
                                   .nodes_count = s->members_count};

    if (s->other_flag) {
        d.owner.node = (qr_node_id)(s->n + 1);
        d.owner.boot = m->boots[s->n];
        d.owner.connection = s->connection;
    }
    meta_put_queue_declare(b, 1, 1, &d);
}

static void
put_exchange(struct buf *b, const struct step *s)
{
    if (s->flag) {
        struct meta_exchange x = {.vhost = text(VHOST_NAMES[s->v]),
                                  .name = text(EXCHANGE_NAMES[s->e]),
                                  .type = s->type,
                                  .is_auto_delete = s->other_flag};

        meta_put_exchange_declare(b, 1, 1, &x);
    } else {
        struct meta_exchange_delete x = {.vhost = text(VHOST_NAMES[s->v]),
                                         .name = text(EXCHANGE_NAMES[s->e]),
                                         .if_unused = s->other_flag};

        meta_put_exchange_delete(b, 1, 1, &x);
    }
}

static void
put_bind(struct buf *b, const struct step *s)
{
    struct meta_binding binding = {.vhost = text(VHOST_NAMES[s->v]),
                                   .source = text(EXCHANGE_NAMES[s->e]),
                                   .to_exchange = s->other_flag,
                                   .key = text(KEY_NAMES[s->k])};

    binding.destination =
        text(s->other_flag ? EXCHANGE_NAMES[s->f] : QUEUE_NAMES[s->q]);
    if (s->flag) {
        meta_put_bind(b, 1, 1, &binding);
    } else {
        meta_put_unbind(b, 1, 1, &binding);
    }
}

/* The command of step S; M is as it was before. */
static void
put_step(struct buf *b, const struct model *m, const struct step *s)
{
    struct meta_owner owner = {(qr_node_id)(s->n + 1), m->boots[s->n],
                               s->connection};
    struct meta_vhost vhost = {.name = text(VHOST_NAMES[s->v])};
    struct meta_queue_delete del = {.vhost = vhost.name,
                                    .name = text(QUEUE_NAMES[s->q])};

    switch (s->kind) {
    case STEP_NODE_UP:
        put_node_up(b, s->n, m->boots[s->n] + 1);
        break;
    case STEP_GONE:
        meta_put_connection_gone(b, 1, 1, &owner);
        break;
    case STEP_VHOST:
        if (s->flag) {
            meta_put_vhost_add(b, 1, 1, &vhost);
        } else {
            meta_put_vhost_delete(b, 1, 1, vhost.name);
        }
        break;
    case STEP_EXCHANGE:
        put_exchange(b, s);
        break;
    case STEP_DECLARE:
        put_declare(b, m, s);
        break;
    case STEP_DELETE:
        meta_put_queue_delete(b, 1, 1, &del);
        break;
    default:
        put_bind(b, s);
        break;
    }
}

/* More binds and declarations than ends. */
static void
choose(struct rng *rng, struct step *s)
{
    static const size_t kinds[] = {
        STEP_NODE_UP, STEP_GONE, STEP_VHOST,   STEP_EXCHANGE, STEP_EXCHANGE,
        STEP_DECLARE, STEP_BIND, STEP_DECLARE, STEP_DECLARE,  STEP_DELETE,
        STEP_BIND,    STEP_BIND, STEP_BIND,    STEP_BIND,     STEP_BIND};

    s->kind = kinds[rng_below(rng, sizeof(kinds) / sizeof(kinds[0]))];
    s->v = (size_t)rng_below(rng, VHOSTS);
    s->e = (size_t)rng_below(rng, EXCHANGES);
    s->f = (size_t)rng_below(rng, EXCHANGES);
    s->q = (size_t)rng_below(rng, QUEUES);
    s->k = (size_t)rng_below(rng, KEYS);
    s->n = (size_t)rng_below(rng, NODES);
    s->connection = rng_below(rng, CONNECTIONS);
    s->flag = rng_chance(rng, 700000);
    s->other_flag = rng_chance(rng, 400000);
    s->type =
        (enum meta_exchange_type)rng_between(rng, META_DIRECT, META_TOPIC);
    s->members_count = (size_t)rng_between(rng, 1, NODES);
    if (s->kind == STEP_DECLARE) {
        s->flag = rng_chance(rng, 300000);
    }
    if (s->kind == STEP_VHOST) {
        s->flag = rng_chance(rng, 900000);
    }
}

static bool
binding_matches(const struct model_exchange *x, size_t k, size_t message_key)
{
    if (x->type == META_FANOUT) {
        return true;
    }
    if (x->type == META_DIRECT) {
        return strcmp(KEY_NAMES[k], MESSAGE_KEYS[message_key]) == 0;
    }
    return TOPIC_MATCHES[k][message_key];
}

/* Which queues MESSAGE_KEY reaches from exchange E: until nothing is added. */
static void
model_route(const struct model_vhost *v, size_t e, size_t message_key,
            bool reached[QUEUES])
{
    bool visited[EXCHANGES] = {false};
    bool is_changed = true;

    memset(reached, 0, QUEUES * sizeof(bool));
    visited[e] = true;
    while (is_changed) {
        is_changed = false;
        for (size_t i = 0; i < EXCHANGES * KEYS; i++) {
            size_t from = i / KEYS;
            size_t k = i % KEYS;

            if (!visited[from] ||
                !binding_matches(&v->exchanges[from], k, message_key)) {
                continue;
            }
            for (size_t q = 0; q < QUEUES; q++) {
                reached[q] |= v->to_queue[from][q][k];
            }
            for (size_t f = 0; f < EXCHANGES; f++) {
                is_changed |= v->to_exchange[from][f][k] && !visited[f];
                visited[f] |= v->to_exchange[from][f][k];
            }
        }
    }
}

static void
compare_routes(struct meta_machine *m, const struct meta_vhost *vhost,
               const struct model_vhost *v, size_t e)
{
    const struct meta_exchange *x =
        meta_exchange(m, vhost, EXCHANGE_NAMES[e], strlen(EXCHANGE_NAMES[e]));
    struct meta_route route;

    cr_assert_eq(x != NULL, v->exchanges[e].is_in);
    if (x == NULL) {
        return;
    }
    cr_assert_eq(x->bindings_count, bindings_of(v, e));
    meta_route_init(&route);
    for (size_t k = 0; k < KEYS; k++) {
        bool reached[QUEUES];
        size_t count = 0;

        model_route(v, e, k, reached);
        cr_assert_eq(
            meta_route(m, x, MESSAGE_KEYS[k], strlen(MESSAGE_KEYS[k]), &route),
            0);
        for (size_t i = 0; i < route.count; i++) {
            size_t q = (size_t)(route.queues[i]->name.data[1] - '0');

            cr_assert(reached[q]);
        }
        for (size_t q = 0; q < QUEUES; q++) {
            count += reached[q] ? 1U : 0U;
        }
        cr_assert_eq(route.count, count);
    }
    meta_route_deinit(&route);
}

static void
compare(struct world *w, const struct model *model)
{
    size_t queues = 0;
    size_t bindings = 0;

    for (size_t i = 0; i < VHOSTS; i++) {
        const struct model_vhost *v = &model->vhosts[i];
        const struct meta_vhost *vhost =
            meta_vhost(w->m, VHOST_NAMES[i], strlen(VHOST_NAMES[i]));

        cr_assert_eq(vhost != NULL, v->is_in);
        if (vhost == NULL) {
            continue;
        }
        for (size_t q = 0; q < QUEUES; q++) {
            const struct meta_queue *queue =
                meta_queue(w->m, vhost, QUEUE_NAMES[q], strlen(QUEUE_NAMES[q]));

            cr_assert_eq(queue != NULL, v->queues[q].is_in);
            queues += queue != NULL ? 1U : 0U;
        }
        for (size_t e = 0; e < EXCHANGES; e++) {
            compare_routes(w->m, vhost, v, e);
            bindings += bindings_of(v, e);
        }
    }
    cr_assert_eq(meta_queues_count(w->m), queues);
    cr_assert_eq(meta_bindings_count(w->m), bindings);
}

/* A replica that gets the same commands in larger entries, and now and then
 * a snapshot of the first instead. */
static void
follow(struct world *w, struct meta_machine *follower, struct buf *backlog,
       struct rng *rng)
{
    struct buf a;
    struct buf b;

    buf_init(&a);
    buf_init(&b);
    meta_machine_snapshot(w->m, &a);
    if (rng_chance(rng, 200000)) {
        cr_assert_eq(meta_machine_restore(follower, w->index, a.data, a.size),
                     0);
    } else {
        meta_machine_apply(follower, w->index, w->time_ms, backlog->data,
                           backlog->size);
    }
    meta_machine_snapshot(follower, &b);
    cr_assert_eq(a.size, b.size);
    cr_assert_arr_eq(a.data, b.data, a.size);
    buf_clear(backlog);
    buf_deinit(&a);
    buf_deinit(&b);
}

static void
run(uint64_t seed)
{
    struct world w;
    struct model model;
    struct rng rng;
    struct buf backlog;
    struct meta_machine *follower = meta_machine_new(NULL);

    rng_init(&rng, seed);
    memset(&model, 0, sizeof(model));
    world_init(&w);
    buf_init(&backlog);
    for (size_t n = 0; n < NODES; n++) {
        model.boots[n] = 1;
        put_node_up(&w.commands, n, 1);
        put_node_up(&backlog, n, 1);
    }
    cr_assert_eq(world_apply(&w), META_OK);
    for (unsigned i = 0; i < STEPS; i++) {
        struct step s;

        choose(&rng, &s);
        put_step(&w.commands, &model, &s);
        put_step(&backlog, &model, &s);
        w.time_ms = 0; /* entries differ, so must not their time */
        cr_assert_eq(world_apply(&w), model_step(&model, &s),
                     "seed %lu step %u kind %zu", (unsigned long)seed, i,
                     s.kind);
        compare(&w, &model);
        if (i % COMPARE_EVERY == 0) {
            follow(&w, follower, &backlog, &rng);
            buf_clear(&w.events);
        }
    }
    meta_machine_free(&follower);
    buf_deinit(&backlog);
    world_deinit(&w);
}

Test(meta_model, agrees_and_replicas_are_equal_seed_1)
{
    run(1);
}

Test(meta_model, agrees_and_replicas_are_equal_seed_2)
{
    run(2);
}

Test(meta_model, agrees_and_replicas_are_equal_seed_3)
{
    run(3);
}
