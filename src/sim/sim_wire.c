/* See sim_wire.h. Each end has at most one event of a kind under way, embedded
 * in the wire; what a dead node had under way never runs, so it is forgotten
 * when the node dies. */
#include "sim/sim_wire.h"

#include "base/buf.h"
#include "base/mem.h"
#include "sim/sim_env.h"

enum {
    WIRE_MAGIC = 0x73697772,
    POKE_US = 1
};

/* One direction, from the side it is named for to the other. */
struct pipe {
    struct buf out;    /* written, not taken by the kernels */
    struct buf kernel; /* from `head`: taken and not consumed */
    size_t head;
    uint64_t consumed; /* bytes ever: by the reader, */
    uint64_t arrived;  /* at the reader, */
    uint64_t moving;   /* there when the arrival under way has happened */
    size_t limit;      /* bytes that the kernels hold */
    bool is_ending;    /* the writer has closed; tell when all has arrived */
};

enum wire_what {
    WIRE_ARRIVE,  /* bytes, or a poke, for the reader */
    WIRE_RELIEVE, /* room, for the writer */
    WIRE_CLOSED,  /* the other side closed */
    WIRE_WHATS
};

struct wire_event {
    struct sim_wire *wire;
    enum sim_wire_side side; /* to whom it happens */
    enum wire_what what;
    bool is_pending;
};

struct wire_end {
    struct sim_wire_events events;
    struct pipe pipe; /* what this side writes */
    struct wire_event under_way[WIRE_WHATS];
    bool is_closed;
};

struct sim_wire {
    unsigned magic;
    struct sim_wire_config config;
    struct list link;
    struct wire_end ends[2];
};

static enum sim_wire_side
other(enum sim_wire_side side)
{
    return side == SIM_WIRE_CLIENT ? SIM_WIRE_SERVER : SIM_WIRE_CLIENT;
}

static void
wire_free(struct sim_wire *w)
{
    list_remove(&w->link);
    for (size_t i = 0; i < 2; i++) {
        buf_deinit(&w->ends[i].pipe.out);
        buf_deinit(&w->ends[i].pipe.kernel);
    }
    w->magic = 0;
    mem_free(w);
}

static void
wire_reap(struct sim_wire *w)
{
    for (size_t i = 0; i < 2; i++) {
        if (!w->ends[i].is_closed) {
            return;
        }
        for (size_t k = 0; k < WIRE_WHATS; k++) {
            if (w->ends[i].under_way[k].is_pending) {
                return;
            }
        }
    }
    wire_free(w);
}

static uint64_t
wire_delay(struct sim_wire *w)
{
    return rng_between(sim_rng(w->config.sim), w->config.delay_min_us,
                       w->config.delay_max_us);
}

static void wire_run(void *arg);

static void
wire_post(struct sim_wire *w, enum sim_wire_side side, enum wire_what what,
          uint64_t delay_us)
{
    struct wire_event *e = &w->ends[side].under_way[what];

    if (!e->is_pending && !w->ends[side].is_closed) {
        e->is_pending = true;
        sim_call(w->config.sim, side == SIM_WIRE_SERVER ? w->config.env : NULL,
                 delay_us, wire_run, e);
    }
}

/* ---- bytes ---- */

static size_t
pipe_held(const struct pipe *p)
{
    return p->kernel.size - p->head;
}

/* Have what FROM's kernels hold arrive, or FROM's end be heard of. */
static void
pipe_move(struct sim_wire *w, enum sim_wire_side from)
{
    struct pipe *p = &w->ends[from].pipe;
    struct rng *rng = sim_rng(w->config.sim);
    uint64_t all = p->consumed + pipe_held(p);

    if (w->ends[other(from)].under_way[WIRE_ARRIVE].is_pending) {
        return;
    }
    if (p->arrived < all) {
        p->moving = all;
        if (w->config.chop_per_million > 0 &&
            rng_chance(rng, w->config.chop_per_million)) {
            p->moving = rng_between(rng, p->arrived + 1, all);
        }
        wire_post(w, other(from), WIRE_ARRIVE, wire_delay(w));
    } else if (p->is_ending) {
        wire_post(w, other(from), WIRE_CLOSED, wire_delay(w));
    }
}

/* The kernels take what they have room for. */
static void
pipe_take(struct sim_wire *w, enum sim_wire_side from)
{
    struct pipe *p = &w->ends[from].pipe;
    size_t held = pipe_held(p);
    size_t room = p->limit > held ? p->limit - held : 0;
    size_t count = p->is_ending ? p->out.size : MIN(room, p->out.size);

    if (count > 0) {
        buf_put(&p->kernel, p->out.data, count);
        buf_consume(&p->out, count);
    }
    pipe_move(w, from);
}

void
sim_wire_write(struct sim_wire *w, enum sim_wire_side side, const void *data,
               size_t size)
{
    OBJ_CHECK(w, WIRE_MAGIC);
    ASSERT(!w->ends[side].is_closed);
    buf_put(&w->ends[side].pipe.out, data, size);
}

bool
sim_wire_flush(struct sim_wire *w, enum sim_wire_side side)
{
    OBJ_CHECK(w, WIRE_MAGIC);
    pipe_take(w, side);
    return w->ends[side].pipe.out.size == 0;
}

size_t
sim_wire_backlog(const struct sim_wire *w, enum sim_wire_side side)
{
    OBJ_CHECK(w, WIRE_MAGIC);
    return w->ends[side].pipe.out.size;
}

const uint8_t *
sim_wire_peek(const struct sim_wire *w, enum sim_wire_side side, size_t *size)
{
    const struct pipe *p = &w->ends[other(side)].pipe;

    OBJ_CHECK(w, WIRE_MAGIC);
    *size = (size_t)(p->arrived - p->consumed);
    return p->kernel.data + p->head;
}

void
sim_wire_consume(struct sim_wire *w, enum sim_wire_side side, size_t size)
{
    struct pipe *p = &w->ends[other(side)].pipe;

    OBJ_CHECK(w, WIRE_MAGIC);
    ASSERT(size <= p->arrived - p->consumed);
    p->consumed += size;
    p->head += size;
    if (p->head == p->kernel.size) {
        buf_clear(&p->kernel);
        p->head = 0;
    } else if (p->head > p->kernel.size / 2) {
        buf_consume(&p->kernel, p->head);
        p->head = 0;
    }
    if (p->out.size > 0) {
        wire_post(w, other(side), WIRE_RELIEVE, wire_delay(w));
    }
}

void
sim_wire_need(struct sim_wire *w, enum sim_wire_side side, size_t need)
{
    struct pipe *p = &w->ends[other(side)].pipe;

    OBJ_CHECK(w, WIRE_MAGIC);
    p->limit = MAX(w->config.window, need);
    if (p->out.size > 0) {
        wire_post(w, other(side), WIRE_RELIEVE, wire_delay(w));
    }
}

void
sim_wire_poke(struct sim_wire *w, enum sim_wire_side side)
{
    OBJ_CHECK(w, WIRE_MAGIC);
    wire_post(w, side, WIRE_ARRIVE, POKE_US);
}

/* ---- events ---- */

static void
wire_arrive(struct sim_wire *w, enum sim_wire_side side)
{
    struct pipe *p = &w->ends[other(side)].pipe;

    p->arrived = MAX(p->arrived, p->moving);
    pipe_move(w, other(side));
    w->ends[side].events.on_data(w->ends[side].events.arg);
}

static void
wire_relieve(struct sim_wire *w, enum sim_wire_side side)
{
    struct wire_end *end = &w->ends[side];
    bool is_news = end->pipe.out.size > 0;

    pipe_take(w, side);
    if (is_news && end->pipe.out.size == 0 && end->events.on_drained != NULL) {
        end->events.on_drained(end->events.arg);
    }
}

static void
wire_run(void *arg)
{
    struct wire_event *e = arg;
    struct sim_wire *w = e->wire;
    struct wire_end *end = &w->ends[e->side];

    OBJ_CHECK(w, WIRE_MAGIC);
    e->is_pending = false;
    if (end->is_closed) {
        wire_reap(w);
        return;
    }
    switch (e->what) {
    case WIRE_ARRIVE:
        wire_arrive(w, e->side);
        break;
    case WIRE_RELIEVE:
        wire_relieve(w, e->side);
        break;
    case WIRE_CLOSED:
        end->events.on_closed(end->events.arg);
        break;
    case WIRE_WHATS:
        UNREACHABLE("no event");
    }
}

/* ---- coming and going ---- */

struct sim_wire *
sim_wire_new(const struct sim_wire_config *config, struct list *wires)
{
    struct sim_wire *w = mem_zalloc(1, sizeof(*w));

    ASSERT(config->delay_min_us <= config->delay_max_us);
    ASSERT(config->window > 0);
    w->magic = WIRE_MAGIC;
    w->config = *config;
    for (unsigned i = 0; i < 2; i++) {
        w->ends[i].pipe.limit = config->window;
        for (unsigned k = 0; k < WIRE_WHATS; k++) {
            w->ends[i].under_way[k].wire = w;
            w->ends[i].under_way[k].side = (enum sim_wire_side)i;
            w->ends[i].under_way[k].what = (enum wire_what)k;
        }
    }
    list_push_back(wires, &w->link);
    return w;
}

void
sim_wires_free(struct list *wires)
{
    while (!list_is_empty(wires)) {
        wire_free(list_entry(wires->next, struct sim_wire, link));
    }
}

void
sim_wire_attach(struct sim_wire *w, enum sim_wire_side side,
                const struct sim_wire_events *events)
{
    OBJ_CHECK(w, WIRE_MAGIC);
    w->ends[side].events = *events;
}

void
sim_wire_close(struct sim_wire *w, enum sim_wire_side side,
               enum sim_wire_end how)
{
    struct wire_end *end = &w->ends[side];

    OBJ_CHECK(w, WIRE_MAGIC);
    ASSERT(!end->is_closed);
    end->is_closed = true;
    switch (how) {
    case SIM_WIRE_FLUSH:
        end->pipe.is_ending = true;
        pipe_take(w, side);
        break;
    case SIM_WIRE_RESET:
        wire_post(w, other(side), WIRE_CLOSED, wire_delay(w));
        break;
    case SIM_WIRE_SILENT:
        break;
    }
    wire_reap(w);
}

void
sim_wire_node_died(struct sim_wire *w, bool is_silent)
{
    struct wire_end *end = &w->ends[SIM_WIRE_SERVER];

    OBJ_CHECK(w, WIRE_MAGIC);
    for (size_t k = 0; k < WIRE_WHATS; k++) {
        end->under_way[k].is_pending = false;
    }
    if (!end->is_closed) {
        sim_wire_close(w, SIM_WIRE_SERVER,
                       is_silent ? SIM_WIRE_SILENT : SIM_WIRE_RESET);
    } else {
        wire_reap(w);
    }
}

bool
sim_wire_is_closed(const struct sim_wire *w, enum sim_wire_side side)
{
    OBJ_CHECK(w, WIRE_MAGIC);
    return w->ends[side].is_closed;
}

void *
sim_wire_arg(const struct sim_wire *w, enum sim_wire_side side)
{
    OBJ_CHECK(w, WIRE_MAGIC);
    return w->ends[side].events.arg;
}
