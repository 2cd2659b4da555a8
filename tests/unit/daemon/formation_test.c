/* Formation of clusters in the simulated world. */
#include "base/mem.h"
#include "daemon/formation.h"
#include "lib/harness.h"
#include "sim/sim_env.h"

enum {
    NODES = 3,
    SECOND_US = 1000000
};

struct member {
    struct identity identity;
    struct formation *formation;
    unsigned formed;
};

struct rig {
    struct sim *sim;
    struct identity_member plan[NODES];
    struct member members[NODES];
};

static int
on_formed(void *arg)
{
    struct member *m = arg;

    m->formed++;
    return 0;
}

static void
start(struct rig *r, size_t i)
{
    struct formation_config config = {.self = (qr_node_id)(i + 1),
                                      .nodes = r->plan,
                                      .nodes_count = NODES,
                                      .identity = &r->members[i].identity,
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
        memset(&r->members[i].identity.uuid, (int)i + 1, 16);
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
        cr_assert(uuid_is_equal(&r.members[i].identity.cluster,
                                &r.members[0].identity.cluster));
        cr_assert_eq(r.members[i].identity.members_count, NODES);
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
    memset(&r.members[2].identity.cluster, 0, 16);
    r.members[2].identity.members_count = 0;
    r.members[2].formed = 0;
    start(&r, 2);
    run(&r, 5 * SECOND_US);
    cr_assert_eq(r.members[2].formed, 1);
    cr_assert(uuid_is_equal(&r.members[2].identity.cluster,
                            &r.members[0].identity.cluster));
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
    memset(&r.members[1].identity, 0, sizeof(struct identity));
    memset(&r.members[1].identity.uuid, 99, 16);
    r.members[1].formed = 0;
    start(&r, 1);
    run(&r, 5 * SECOND_US);
    cr_assert_eq(r.members[1].formed, 0);
    cr_assert_not(formation_is_formed(r.members[1].formation));
    rig_deinit(&r);
}
