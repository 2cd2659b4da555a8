/* See world.h. */
#include "fuzz/world.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "broker/broker_admin.h"

enum {
    SEED = 7,
    DISK_DELAY_US = 200,
    READY_MS = 30000
};

static void
drop_line(void *arg, enum log_level level, const char *category,
          const char *text)
{
    (void)arg;
    (void)level;
    (void)category;
    ASSERT(text != NULL);
}

static bool
is_ready(struct world *w)
{
    struct broker *b = world_broker(w);

    return broker_is_ready(b) && meta_user(broker_meta(b), "guest", 5) != NULL;
}

static void
on_given_up(void *arg, qr_node_id id)
{
    struct world *w = arg;

    ASSERT(id == w->id);
    w->is_given_up = true;
}

static void
world_init(struct world *w)
{
    struct sim_node_config config = {.log = &w->log,
                                     .id = 1,
                                     .shards = 1,
                                     .nodes = &w->id,
                                     .nodes_count = 1,
                                     .disk_delay_us = DISK_DELAY_US,
                                     .on_given_up = on_given_up,
                                     .arg = w};

    memset(w, 0, sizeof(*w));
    w->id = 1;
    /* Lines are made, so that making them is tried, too. */
    w->log.sink = drop_line;
    w->log.level = LOG_DEBUG;
    w->sim = sim_new(SEED);
    config.sim = w->sim;
    w->node = sim_node_new(&config);
    sim_node_start(w->node);
    for (unsigned ms = 0; ms < READY_MS && !is_ready(w); ms++) {
        world_pass(w, 1);
    }
    ASSERT(is_ready(w));
}

static void
world_deinit(struct world *w)
{
    sim_node_crash(w->node, false);
    sim_node_free(&w->node);
    sim_free(&w->sim);
}

struct step {
    struct broker_call call;
    bool is_done;
};

static void
on_step(struct broker_call *call, const struct broker_reply *reply)
{
    (void)reply; /* what is not there need not be deleted */
    ((struct step *)call->arg)->is_done = true;
}

static void
step_begin(struct step *s)
{
    *s = (struct step){.call = {.done = on_step, .arg = s}};
}

static void
step_end(struct world *w, const struct step *s)
{
    for (unsigned ms = 0; ms < READY_MS && !s->is_done; ms++) {
        world_pass(w, 1);
    }
    ASSERT(s->is_done);
}

/* Users and permissions stay: a change of theirs costs a hash again. */
static void
empty(struct world *w)
{
    struct broker *b = world_broker(w);
    struct step s;
    size_t count = 0;
    uint64_t *groups = broker_replica_ids(b, &count);

    for (size_t i = 0; i < count; i++) {
        step_begin(&s);
        broker_admin_queue_delete(b, groups[i], &s.call);
        step_end(w, &s);
    }
    mem_free(groups);
}

bool
world_is_used_up(struct world *w)
{
    return w->sim != NULL &&
           (w->inputs >= WORLD_INPUTS_MAX || w->is_given_up || !is_ready(w));
}

void
world_spoil(struct world *w)
{
    w->inputs = WORLD_INPUTS_MAX;
}

void
world_reset(struct world *w)
{
    if (world_is_used_up(w)) {
        world_deinit(w);
        w->sim = NULL;
    }
    if (w->sim == NULL) {
        world_init(w);
    } else {
        empty(w);
    }
    w->inputs++;
}

void
world_pass(struct world *w, uint64_t ms)
{
    sim_run(w->sim, sim_now_us(w->sim) + ms * 1000);
}

struct broker *
world_broker(struct world *w)
{
    return sim_node_broker(w->node, 0);
}
