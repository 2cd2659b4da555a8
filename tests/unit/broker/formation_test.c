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
    unsigned renewed;
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
on_renew(void *arg)
{
    struct member *m = arg;

    m->renewed++;
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
                                      .on_renew = on_renew,
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

enum {
    RENEW = FORMATION_KIND_FIRST + 4
};

/* Node 2, of a cluster, says to node 1 that UUID is of one that was removed. */
static void
say_renew(struct rig *r, const struct uuid *uuid, size_t size)
{
    struct env *env = sim_env(r->sim, 2, 0);
    struct frame *f = frame_new(FRAME_CONTROL, RENEW);
    struct address to = {.node = 1, .shard = 0};
    uint8_t content[sizeof(uuid->bytes) + 1] = {0};

    memcpy(content, uuid->bytes, sizeof(uuid->bytes));
    content[sizeof(uuid->bytes)] = 'x';
    frame_add(f, slice_copy(content, size));
    cr_assert(env->ops->post(env, to, &f));
    run(r, SECOND_US / 10);
}

Test(formation, gives_up_a_uuid_that_was_removed_but_not_at_once)
{
    const struct member *m;
    struct rig r;

    rig_init(&r);
    m = &r.members[0];
    start(&r, 0);
    sim_start(r.sim, 2, 1, NULL);
    run(&r, SECOND_US);
    say_renew(&r, &m->uuid, 17);
    cr_expect_str_eq(formation_waits_for(m->formation), "x");
    run(&r, FORMATION_RENEW_MS * 1000 - SECOND_US / 2);
    say_renew(&r, &m->uuid, 17);
    cr_assert_eq(m->renewed, 0);
    run(&r, SECOND_US / 2);
    say_renew(&r, &m->uuid, 17);
    cr_assert_eq(m->renewed, 1);
    run(&r, 5 * SECOND_US);
    say_renew(&r, &m->uuid, 17);
    cr_assert_eq(m->renewed, 1, "it is told once");
    cr_assert_eq(m->formed, 0);
    sim_stop(r.sim, 2);
    rig_deinit(&r);
}

Test(formation, keeps_its_uuid_when_another_was_removed)
{
    struct rig r;

    rig_init(&r);
    start(&r, 0);
    sim_start(r.sim, 2, 1, NULL);
    run(&r, SECOND_US);
    for (unsigned i = 0; i < 5; i++) {
        say_renew(&r, &r.members[1].uuid, 17);
        say_renew(&r, &r.members[0].uuid, 16); /* and no text */
        run(&r, SECOND_US);
    }
    cr_assert_eq(r.members[0].renewed, 0);
    cr_assert_null(strstr(formation_waits_for(r.members[0].formation), "x"));
    sim_stop(r.sim, 2);
    rig_deinit(&r);
}
