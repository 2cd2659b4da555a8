/* The links between simulated nodes: they come up, fall silent, go down, are
 * refused, as those of peer/ do. See sim_env.h. */
#include <string.h>

#include "base/check.h"
#include "sim/sim_env_priv.h"

/* ---- what arrives twice ---- */

static struct frame *
copy(const struct frame *f)
{
    struct frame *c = frame_new((enum frame_class)f->klass, f->kind);

    c->from_shard = f->from_shard;
    c->to_shard = f->to_shard;
    c->group = f->group;
    c->arg = f->arg;
    c->head = slice_ref(&f->head);
    for (uint16_t i = 0; i < f->content_count; i++) {
        frame_add(c, slice_ref(&f->content[i]));
    }
    return c;
}

static void
forget_first(struct recent *r)
{
    frame_free(&r->frames[0]);
    r->count--;
    memmove(&r->frames[0], &r->frames[1], r->count * sizeof(r->frames[0]));
}

void
sim_remember(struct sim *sim, qr_node_id a, qr_node_id b,
             const struct frame *frame)
{
    struct recent *r = &sim->ways[a][b].recent[frame->klass];

    while (r->count >= sim->net.duplicates) {
        forget_first(r);
    }
    r->frames[r->count++] = copy(frame);
}

void
sim_send_again(struct sim *sim, qr_node_id a, qr_node_id b)
{
    for (size_t k = 0; k < FRAME_CLASS_COUNT; k++) {
        struct recent *r = &sim->ways[a][b].recent[k];

        for (size_t i = 0; i < r->count; i++) {
            sim->stats.frames_twice++;
            sim_send(sim, a, b, &r->frames[i]);
        }
        r->count = 0;
    }
}

static void
forget_way(struct way *way)
{
    for (size_t k = 0; k < FRAME_CLASS_COUNT; k++) {
        while (way->recent[k].count > 0) {
            forget_first(&way->recent[k]);
        }
    }
}

void
sim_forget(struct sim *sim, qr_node_id id)
{
    for (qr_node_id b = 1; b <= SIM_NODES_MAX; b++) {
        forget_way(&sim->ways[id][b]);
        forget_way(&sim->ways[b][id]);
    }
}

/* ---- names ---- */

qr_node_id
sim_seen_as(const struct sim *sim, qr_node_id at, qr_node_id of)
{
    const struct sim_self *other = &sim->nodes[of].self;

    if (sim->nodes[at].self.is_blank || other->id == 0) {
        return of;
    }
    return other->is_blank ? LINK_GUEST_FIRST + of : other->id;
}

qr_node_id
sim_machine_of(const struct sim *sim, qr_node_id at, qr_node_id id)
{
    for (qr_node_id i = 1; i <= SIM_NODES_MAX; i++) {
        if (i != at && sim->ends[at][i].as == id) {
            return i;
        }
    }
    return 0;
}

void
sim_set_welcome(struct sim *sim, sim_welcome_cb cb, void *arg)
{
    OBJ_CHECK(sim, SIM_MAGIC);
    sim->welcome = cb;
    sim->welcome_arg = arg;
}

void
sim_relink(struct sim *sim, qr_node_id machine)
{
    OBJ_CHECK(sim, SIM_MAGIC);
    for (qr_node_id b = 1; b <= SIM_NODES_MAX; b++) {
        if (b != machine && sim->nodes[b].is_up) {
            sim_look_later(sim, machine, b, sim->net.connect_us);
        }
    }
}

/* ---- links ---- */

static const char *
event_name(enum link_event event)
{
    static const char *const names[] = {[LINK_UP] = "up",
                                        [LINK_DOWN] = "down",
                                        [LINK_REFUSED] = "refused",
                                        [LINK_SILENT] = "silent"};

    ASSERT(event < ARRAY_COUNT(names));
    return names[event];
}

static void
tell(struct sim *sim, qr_node_id at, qr_node_id of, enum link_event event)
{
    struct sim_node *node = &sim->nodes[at];
    const struct sim_node *peer = &sim->nodes[of];
    struct link_peer info = {
        .node = event == LINK_UP || sim->ends[at][of].as == 0
                    ? sim_seen_as(sim, at, of)
                    : sim->ends[at][of].as,
        .boot = peer->self.starts.boot,
        .shards = peer->shards_count,
        .uuid = peer->self.uuid,
        .epoch = sim->epochs[at][of],
    };

    sim->ends[at][of].as = info.node;
    sim_trace(sim, at, "link to n%u (id %u) is %s", of, info.node,
              event_name(event));
    for (uint16_t i = 0; node->is_up && i < node->shards_count; i++) {
        env_link_event(&node->shards[i]->env, event, &info);
        sim_schedule_turn(node->shards[i], sim->now_us);
    }
}

/* Whether nothing hinders a link between A and B. */
static bool
is_possible(const struct sim *sim, qr_node_id a, qr_node_id b)
{
    return sim->nodes[a].is_up && sim->nodes[b].is_up &&
           !sim->ways[a][b].is_cut && !sim->ways[b][a].is_cut;
}

/* Whether neither refuses the other. */
static bool
is_welcome(const struct sim *sim, qr_node_id a, qr_node_id b)
{
    return sim->welcome == NULL || (sim->welcome(sim->welcome_arg, a, b) &&
                                    sim->welcome(sim->welcome_arg, b, a));
}

static void
take_down(struct sim *sim, qr_node_id at, qr_node_id of, enum link_event event)
{
    struct end *end = &sim->ends[at][of];

    if (end->is_up) {
        end->is_up = false;
        sim->epochs[at][of]++;
        tell(sim, at, of, event);
    }
}

/* AT hears nothing of OF; says whether that is news there. */
static bool
fall_silent(struct sim *sim, qr_node_id at, qr_node_id of)
{
    struct end *end = &sim->ends[at][of];

    if (!end->is_up || end->is_silent) {
        return false;
    }
    end->is_silent = true;
    tell(sim, at, of, LINK_SILENT);
    return true;
}

/* See what the link between A and B should be. */
static void
run_check(struct sim *sim, struct event *e)
{
    qr_node_id a = e->a;
    qr_node_id b = e->b;
    bool is_silent;

    if (sim->checks[a][b] != e->epoch) {
        return; /* something changed since; another look follows */
    }
    if (is_possible(sim, a, b) && !is_welcome(sim, a, b)) {
        take_down(sim, a, b, LINK_DOWN);
        take_down(sim, b, a, LINK_DOWN);
        return;
    }
    if (is_possible(sim, a, b)) {
        sim->ends[a][b].is_silent = sim->ends[b][a].is_silent = false;
        if (!sim->ends[a][b].is_up || !sim->ends[b][a].is_up) {
            take_down(sim, a, b, LINK_DOWN);
            take_down(sim, b, a, LINK_DOWN);
            sim->epochs[a][b]++;
            sim->epochs[b][a]++;
            sim->ends[a][b].is_up = sim->ends[b][a].is_up = true;
            sim->ends[a][b].is_refused = sim->ends[b][a].is_refused = false;
            tell(sim, a, b, LINK_UP);
            tell(sim, b, a, LINK_UP);
            sim_send_again(sim, a, b);
            sim_send_again(sim, b, a);
        }
        return;
    }
    is_silent = fall_silent(sim, a, b);
    if (fall_silent(sim, b, a) || is_silent) {
        sim_look_later(sim, a, b, sim->net.dead_us);
        return;
    }
    take_down(sim, a, b, LINK_DOWN);
    take_down(sim, b, a, LINK_DOWN);
}

void
sim_look_later(struct sim *sim, qr_node_id a, qr_node_id b, uint64_t delay_us)
{
    struct event *e;

    if (a > b) {
        qr_node_id t = a;

        a = b;
        b = t;
    }
    e = sim_event_new(sim, sim->now_us + delay_us, run_check);
    e->a = a;
    e->b = b;
    e->epoch = ++sim->checks[a][b];
}

/* B has died; A hears of it: first that the link is lost, then that nobody
 * answers. */
static void
run_refused(struct sim *sim, struct event *e)
{
    struct end *end = &sim->ends[e->a][e->b];

    if (sim->nodes[e->b].life != e->epoch || sim->ways[e->a][e->b].is_cut ||
        sim->ways[e->b][e->a].is_cut || end->is_refused) {
        return;
    }
    take_down(sim, e->a, e->b, LINK_DOWN);
    end->is_refused = true;
    tell(sim, e->a, e->b, LINK_REFUSED);
}

void
sim_cut(struct sim *sim, qr_node_id a, qr_node_id b, bool is_cut)
{
    OBJ_CHECK(sim, SIM_MAGIC);
    ASSERT(a >= 1 && a <= SIM_NODES_MAX);
    ASSERT(b >= 1 && b <= SIM_NODES_MAX);
    if (a == b || sim->ways[a][b].is_cut == is_cut) {
        return;
    }
    sim->ways[a][b].is_cut = is_cut;
    sim->cuts = is_cut ? sim->cuts + 1 : sim->cuts - 1;
    sim->disturbed_us = MAX(sim->disturbed_us, sim->now_us);
    sim_look_later(sim, a, b,
                   is_cut ? sim->net.silent_us : sim->net.connect_us);
}

void
sim_heal(struct sim *sim)
{
    for (qr_node_id a = 1; a <= SIM_NODES_MAX; a++) {
        for (qr_node_id b = 1; b <= SIM_NODES_MAX; b++) {
            sim_cut(sim, a, b, false);
        }
    }
}

bool
sim_is_calm(const struct sim *sim)
{
    OBJ_CHECK(sim, SIM_MAGIC);
    return sim->cuts == 0 && sim->now_us >= sim->disturbed_us + SIM_CALM_US;
}

void
sim_links_died(struct sim *sim, qr_node_id id)
{
    ASSERT(!sim->nodes[id].is_up);
    sim_forget(sim, id);
    for (qr_node_id b = 1; b <= SIM_NODES_MAX; b++) {
        struct event *e;

        sim->ends[id][b].is_up = false;
        sim->epochs[id][b]++;
        if (b == id || !sim->nodes[b].is_up) {
            continue;
        }
        sim_look_later(sim, id, b, sim->net.silent_us);
        e = sim_event_new(sim, sim->now_us + sim->net.detect_us, run_refused);
        e->a = b;
        e->b = id;
        e->epoch = sim->nodes[id].life;
    }
}
