/* A node is a disk, the log store on it, and a host of Raft groups that gets
 * clock and network from a struct env. Here the simulator's world is behind
 * all of them, in one thread, so that every run is the same. */
#include "world.h"

#include <quorate/host.h>

#include "base/check.h"
#include "base/error.h"
#include "base/mem.h"
#include "sim/sim_env.h"
#include "store/disk_sim.h"
#include "store/store.h"

enum {
    SEED = 1,
    STEP_US = 10 * 1000,
    END_US = 600 * 1000 * 1000,
    DISK_SIZE = 16 << 20,
    DISK_DELAY_US = 100
};

struct node {
    struct sim *sim;
    qr_node_id id;
    struct disk_sim *disk;
    struct store *store;
    struct qr_host *host; /* NULL: it does not run */
};

struct world {
    struct sim *sim;
    struct node nodes[WORLD_NODES];
};

void
must(bool ok, const char *what)
{
    if (!ok) {
        check_failed(__FILE__, __LINE__, what);
    }
}

static void
disk_completes(void *arg)
{
    struct node *n = arg;

    (void)disk_sim_complete_one(n->disk);
}

static void
disk_is_asked(void *arg)
{
    struct node *n = arg;

    if (sim_is_up(n->sim, n->id)) {
        sim_call(n->sim, sim_env(n->sim, n->id, 0), DISK_DELAY_US,
                 disk_completes, n);
    }
}

/* The store opens before the host exists, so its owner passes this on. */
static void
store_is_durable(void *arg, uint64_t batch)
{
    struct node *n = arg;

    if (n->host != NULL) {
        qr_host_durable(n->host, batch);
    }
}

static void
store_failed(void *arg, const char *text)
{
    (void)arg;
    must(false, text);
}

/* A frame for a group that is not open here yet: its sender tries again. */
static enum qr_unknown
group_is_unknown(void *arg, qr_group_id group, qr_node_id from)
{
    (void)arg;
    (void)group;
    (void)from;
    return QR_UNKNOWN_WAIT;
}

/* Nobody deletes the counter. */
static void
group_was_deleted(void *arg, qr_group_id group)
{
    (void)arg;
    (void)group;
}

struct world *
world_new(void)
{
    struct world *w = mem_zalloc(1, sizeof *w);

    w->sim = sim_new(SEED);
    for (qr_node_id id = 1; id <= WORLD_NODES; id++) {
        struct node *n = &w->nodes[id - 1];

        n->sim = w->sim;
        n->id = id;
        n->disk = disk_sim_new(sim_rng(w->sim), DISK_SIZE);
        disk_sim_set_notify(n->disk, disk_is_asked, n);
    }
    return w;
}

void
world_free(struct world **wp)
{
    struct world *w = *wp;

    for (qr_node_id id = 1; id <= WORLD_NODES; id++) {
        if (world_host(w, id) != NULL) {
            world_kill(w, id);
        }
        disk_sim_free(&w->nodes[id - 1].disk);
    }
    sim_free(&w->sim);
    mem_free(w);
    *wp = NULL;
}

void
world_start(struct world *w, qr_node_id id)
{
    struct node *n = &w->nodes[id - 1];
    struct store_config stored = {
        .disk = disk_sim_disk(n->disk),
        .segment_size = 1 << 20,
        .cache_size = 1 << 20,
        .node_uuid = {(uint8_t)id},
        .on_durable = store_is_durable,
        .on_failure = store_failed,
        .arg = n,
    };
    struct qr_host_config hosted = {
        .unknown = group_is_unknown,
        .deleted = group_was_deleted,
        .arg = n,
    };
    struct error err;

    error_clear(&err);
    sim_start(w->sim, id, 1, NULL);
    must(store_open(&stored, &n->store, &err) == 0, err.text);
    hosted.env = sim_env(w->sim, id, 0);
    hosted.store = n->store;
    n->host = qr_host_new(&hosted);
}

void
world_kill(struct world *w, qr_node_id id)
{
    struct node *n = &w->nodes[id - 1];

    sim_stop(w->sim, id);
    disk_sim_kill(n->disk);
    qr_host_free(&n->host);
    store_close(&n->store);
}

struct qr_host *
world_host(const struct world *w, qr_node_id id)
{
    return w->nodes[id - 1].host;
}

void
world_run(struct world *w)
{
    must(sim_now_us(w->sim) < END_US, "what is waited for does not come");
    sim_run(w->sim, sim_now_us(w->sim) + STEP_US);
}

double
world_seconds(const struct world *w)
{
    return (double)sim_now_us(w->sim) / 1e6;
}
