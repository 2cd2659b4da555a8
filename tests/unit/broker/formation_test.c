/* Formation of clusters in the simulated world. */
#include "base/mem.h"
#include "broker/formation.h"
#include "lib/harness.h"
#include "sim/sim_env.h"

enum {
    NODES = 3,
    SECOND_US = 1000000
};

struct member {
    struct uuid uuid;
    struct cluster cluster;
    qr_node_id id;
    struct formation *formation;
    unsigned formed;
};

struct rig {
    struct sim *sim;
    struct cluster_member plan[NODES];
    struct member members[NODES];
};

static int
on_formed(void *arg, qr_node_id id)
{
    struct member *m = arg;

    m->id = id;
    m->formed++;
    return 0;
}

static void
start(struct rig *r, size_t i)
{
    struct formation_config config = {.nodes = r->plan,
                                      .nodes_count = NODES,
                                      .self = i,
                                      .uuid = r->members[i].uuid,
                                      .data_dir = "data",
                                      .cluster = &r->members[i].cluster,
                                      .on_formed = on_formed,
                                      .arg = &r->members[i]};

    sim_start(r->sim, (qr_node_id)(i + 1), 1, NULL);
    config.env = sim_env(r->sim, (qr_node_id)(i + 1), 0);
    r->members[i].formation = formation_new(&config);
    formation_start(r->members[i].formation);
}

static void
stop(struct rig *r, size_t i)
{
    sim_stop(r->sim, (qr_node_id)(i + 1));
    formation_free(&r->members[i].formation);
}

static void
rig_init(struct rig *r)
{
    memset(r, 0, sizeof(*r));
    r->sim = sim_new(3);
    for (size_t i = 0; i < NODES; i++) {
        r->plan[i].id = (qr_node_id)(i + 1);
        r->plan[i].name[0] = (char)('a' + i);
        memset(&r->members[i].uuid, (int)i + 1, 16);
    }
}

static void
rig_deinit(struct rig *r)
{
    for (size_t i = 0; i < NODES; i++) {
        if (r->members[i].formation != NULL) {
            stop(r, i);
        }
    }
    sim_free(&r->sim);
}

static void
run(struct rig *r, uint64_t us)
{
    sim_run(r->sim, sim_now_us(r->sim) + us);
}

Test(formation, waits_for_all_and_gives_all_the_same_cluster)
{
    struct rig r;

    rig_init(&r);
    start(&r, 0);
    start(&r, 1);
    run(&r, 5 * SECOND_US);
    cr_assert_eq(r.members[0].formed + r.members[1].formed, 0);
    start(&r, 2);
    run(&r, 5 * SECOND_US);
    for (size_t i = 0; i < NODES; i++) {
        cr_assert_eq(r.members[i].formed, 1);
        cr_assert(formation_is_formed(r.members[i].formation));
        cr_assert(
            uuid_is_equal(&r.members[i].cluster.id, &r.members[0].cluster.id));
        cr_assert_eq(r.members[i].cluster.members_count, NODES);
        cr_assert(r.members[i].cluster.has_founders);
        cr_assert_eq(r.members[i].id, i + 1);
        cr_assert_str_eq(formation_waits_for(r.members[i].formation), "");
    }
    rig_deinit(&r);
}

Test(formation, tells_a_node_that_missed_it)
{
    struct rig r;

    rig_init(&r);
    for (size_t i = 0; i < NODES; i++) {
        start(&r, i);
    }
    run(&r, 5 * SECOND_US);
    /* The third forgets, as if it had died before it wrote it down. */
    stop(&r, 2);
    memset(&r.members[2].cluster, 0, sizeof(struct cluster));
    r.members[2].formed = 0;
    start(&r, 2);
    run(&r, 5 * SECOND_US);
    cr_assert_eq(r.members[2].formed, 1);
    cr_assert(
        uuid_is_equal(&r.members[2].cluster.id, &r.members[0].cluster.id));
    rig_deinit(&r);
}

Test(formation, keeps_out_a_node_with_another_disk)
{
    struct rig r;

    rig_init(&r);
    for (size_t i = 0; i < NODES; i++) {
        start(&r, i);
    }
    run(&r, 5 * SECOND_US);
    stop(&r, 1);
    memset(&r.members[1].cluster, 0, sizeof(struct cluster));
    memset(&r.members[1].uuid, 99, 16);
    r.members[1].formed = 0;
    start(&r, 1);
    run(&r, 5 * SECOND_US);
    cr_assert_eq(r.members[1].formed, 0);
    cr_assert_not(formation_is_formed(r.members[1].formation));
    cr_assert_not_null(
        strstr(formation_waits_for(r.members[1].formation), "is starting"));
    rig_deinit(&r);
}
