/* How a cluster takes nodes in and lets them go, and what becomes of its
 * groups: three simulated nodes, and one that is blank. */
#include "base/error.h"
#include "broker/broker_admin.h"
#include "broker/broker_priv.h"
#include "broker/joining.h"
#include "broker/meta_client.h"
#include "broker/meta_group.h"
#include "broker/queue_group.h"
#include "broker/reconcile.h"
#include "lib/harness.h"
#include "machine/meta/meta_command.h"
#include "sim/sim_env.h"
#include "sim/sim_node.h"

enum {
    NODES = 3,
    WAIT_MS = 30000
};

static const qr_node_id ids[NODES] = {1, 2, 3};

struct rig {
    struct sim *sim;
    struct sim_node *nodes[NODES + 1]; /* by id */
    struct cluster_member blank;
    char text[JOIN_TEXT_SIZE];
};

static void
given_up(void *arg, qr_node_id id)
{
    (void)arg;
    (void)id;
}

static struct broker *
broker(struct rig *r, qr_node_id id)
{
    return sim_node_broker(r->nodes[id], 0);
}

static void
pass(struct rig *r, uint64_t ms)
{
    sim_run(r->sim, sim_now_us(r->sim) + ms * 1000);
}

static qr_node_id
leader(struct rig *r)
{
    for (qr_node_id id = 1; id <= NODES; id++) {
        if (broker(r, id) != NULL && broker(r, id)->meta_leader == id) {
            return id;
        }
    }
    return 0;
}

static void
rig_init(struct rig *r)
{
    memset(r, 0, sizeof(*r));
    r->sim = sim_new(7);
    for (qr_node_id id = 1; id <= NODES; id++) {
        struct sim_node_config config = {.sim = r->sim,
                                         .id = id,
                                         .shards = 1,
                                         .nodes = ids,
                                         .nodes_count = NODES,
                                         .disk_delay_us = 200,
                                         .on_given_up = given_up};

        r->nodes[id] = sim_node_new(&config);
        sim_node_start(r->nodes[id]);
    }
    for (unsigned ms = 0; ms < WAIT_MS; ms += 10) {
        if (broker_is_ready(broker(r, 1)) && broker_is_ready(broker(r, 2)) &&
            broker_is_ready(broker(r, 3)) && leader(r) != 0) {
            break;
        }
        pass(r, 10);
    }
    cr_assert_neq(leader(r), 0);
    memset(&r->blank.uuid, 0xee, sizeof(r->blank.uuid));
    strcpy(r->blank.name, "n2");
    strcpy(r->blank.address, "h:1");
}

static void
rig_deinit(struct rig *r)
{
    for (qr_node_id id = 1; id <= NODES; id++) {
        if (sim_node_is_up(r->nodes[id])) {
            sim_node_crash(r->nodes[id], false);
        }
        sim_node_free(&r->nodes[id]);
    }
    sim_free(&r->sim);
}

static enum join_answer
ask(struct rig *r, qr_node_id id)
{
    return joining_ask(broker(r, id), &r->blank, r->text, sizeof(r->text));
}

/* Ask node ID until it answers WHAT; how long that took. */
static uint64_t
ask_until(struct rig *r, qr_node_id id, enum join_answer what)
{
    for (uint64_t ms = 0; ms < WAIT_MS; ms += 100) {
        if (ask(r, id) == what) {
            return ms;
        }
        pass(r, 100);
    }
    cr_assert(false, "the last answer was: %s", r->text);
    return 0;
}

static void
send(struct broker *b, struct meta_request *q)
{
    (void)b;
    meta_request_send(q);
}

/* Durable queue "q" on nodes 1, 2 and 3. */
static qr_group_id
declare(struct rig *r)
{
    struct meta_queue_declare d = {.vhost = meta_text("/", 1),
                                   .name = meta_text("q", 1),
                                   .is_durable = true,
                                   .arguments = meta_text("", 0),
                                   .nodes = {1, 2, 3},
                                   .nodes_count = 3};
    struct broker *b = broker(r, 1);
    struct meta_request *q = meta_request_new(b, NULL, NULL);
    struct meta_queue *queue;

    meta_put_queue_declare(&q->command, b->session, q->number, &d);
    send(b, q);
    pass(r, 2000);
    queue = meta_queue(b->meta, meta_vhost(b->meta, "/", 1), "q", 1);
    cr_assert_not_null(queue);
    return queue->group;
}

/* A running node that is not NODE. */
static qr_node_id
other_than(qr_node_id node)
{
    return node == 1 ? 3 : 1;
}

Test(joining, a_new_name_is_taken_in_by_way_of_any_node)
{
    struct rig r;

    rig_init(&r);
    strcpy(r.blank.name, "n4");
    (void)ask_until(&r, other_than(leader(&r)), JOIN_IS_MEMBER);
    cr_expect_eq(meta_node_named(broker(&r, 1)->meta, "n4", 2)->id, 4);
    /* Answered and lost: asking again changes nothing. */
    cr_expect_eq(ask(&r, 1), JOIN_IS_MEMBER);
    pass(&r, 500);
    cr_expect_null(meta_node(broker(&r, 1)->meta, 5));
    rig_deinit(&r);
}

Test(joining, a_name_of_a_running_node_is_refused_by_every_node)
{
    struct rig r;

    rig_init(&r);
    for (qr_node_id id = 1; id <= NODES; id++) {
        (void)ask_until(&r, id, JOIN_REFUSED);
        cr_expect_not_null(strstr(r.text, "a running node of the cluster, n2"),
                           "%s", r.text);
    }
    rig_deinit(&r);
}

Test(joining, a_lost_node_is_replaced_when_it_was_away_for_long_enough)
{
    const struct meta_node *node;
    struct rig r;
    uint64_t ms;

    rig_init(&r);
    sim_node_crash(r.nodes[2], false);
    ms = ask_until(&r, 3, JOIN_IS_MEMBER);
    cr_expect_geq(ms, JOIN_LOST_MS - 1000);
    node = meta_node_named(broker(&r, 3)->meta, "n2", 2);
    cr_expect_eq(node->id, 4);
    cr_expect(meta_node(broker(&r, 3)->meta, 2)->is_removed);
    rig_deinit(&r);
}

/* The UUID of a node that was removed: n2's, whose name id 4 has now. */
static void
remove_n2(struct rig *r)
{
    sim_node_crash(r->nodes[2], false);
    (void)ask_until(r, 3, JOIN_IS_MEMBER);
    r->blank.uuid = meta_node(broker(r, 3)->meta, 2)->uuid;
}

Test(joining, the_uuid_of_a_removed_node_is_taken_in_no_more)
{
    struct rig r;

    rig_init(&r);
    remove_n2(&r);
    cr_expect_eq(ask(&r, 3), JOIN_REMOVED);
    cr_expect_not_null(strstr(r.text, "which was removed"), "%s", r.text);
    rig_deinit(&r);
}

/* The frame KIND of shard 0 of node FROM, with CONTENT, arrives at TO. */
static void
arrives(struct rig *r, qr_node_id to, qr_node_id from, uint16_t kind,
        const struct buf *content)
{
    struct frame *f = frame_new(FRAME_CALL, kind);

    frame_add(f, slice_copy(content->data, content->size));
    joining_frame(broker(r, to), (struct address){.node = from, .shard = 0}, f);
    frame_free(&f);
}

Test(joining, the_leader_says_whether_the_uuid_is_the_reason)
{
    const struct join_news *news;
    struct buf content;
    struct rig r;
    qr_node_id by;

    rig_init(&r);
    remove_n2(&r);
    while (leader(&r) == 0) {
        pass(&r, 10);
    }
    by = other_than(leader(&r));
    news = &broker(&r, by)->join_news;
    for (unsigned i = 0; i < 2; i++) {
        /* One that was removed; one whose name a running node has. */
        bool is_removed = i == 0;

        if (!is_removed) {
            memset(&r.blank.uuid, 0xab, sizeof(r.blank.uuid));
            (void)snprintf(r.blank.name, sizeof(r.blank.name), "n%u", by);
        }
        buf_init(&content);
        cluster_put_member(&content, &r.blank);
        arrives(&r, leader(&r), by, BROKER_META_JOIN, &content);
        buf_deinit(&content);
        pass(&r, 200);
        cr_assert(uuid_is_equal(&news->uuid, &r.blank.uuid));
        cr_expect_eq(news->is_removed, is_removed, "%s", news->text);
        cr_expect_neq(news->text[0], '\0');
    }
    rig_deinit(&r);
}

Test(joining, the_leaders_reason_is_passed_on)
{
    struct buf content;
    struct rig r;
    qr_node_id by;

    rig_init(&r);
    by = other_than(leader(&r));
    for (uint8_t why = 0; why < 2; why++) {
        buf_init(&content);
        buf_put(&content, r.blank.uuid.bytes, sizeof(r.blank.uuid.bytes));
        buf_put_u8(&content, why);
        arrives(&r, by, leader(&r), BROKER_META_JOIN_NO, &content);
        cr_expect_eq(broker(&r, by)->join_news.text[0], why == 0 ? '\0' : 'x',
                     "without a text it is no refusal");
        buf_put_text(&content, "x");
        arrives(&r, by, leader(&r), BROKER_META_JOIN_NO, &content);
        buf_deinit(&content);
        cr_expect_eq(ask(&r, by), why == 0 ? JOIN_REFUSED : JOIN_REMOVED);
        cr_expect_str_eq(r.text, "x");
    }
    rig_deinit(&r);
}

Test(joining, a_cluster_has_a_largest_size)
{
    struct rig r;

    rig_init(&r);
    for (unsigned i = NODES + 1; i <= CLUSTER_MEMBERS_MAX; i++) {
        r.blank.uuid.bytes[0] = (uint8_t)i;
        (void)snprintf(r.blank.name, sizeof(r.blank.name), "m%u", i);
        (void)ask_until(&r, 1, JOIN_IS_MEMBER);
        r.blank.name[0] = 'x'; /* the next one */
    }
    r.blank.uuid.bytes[0] = 0xdd;
    (void)ask_until(&r, 1, JOIN_REFUSED);
    cr_expect_not_null(strstr(r.text, "at most 7 nodes"), "%s", r.text);
    rig_deinit(&r);
}

Test(joining, without_a_majority_it_waits)
{
    struct rig r;

    rig_init(&r);
    sim_node_crash(r.nodes[2], false);
    sim_node_crash(r.nodes[3], false);
    pass(&r, 15000);
    cr_expect_eq(ask(&r, 1), JOIN_WAIT);
    pass(&r, 5000);
    cr_expect_eq(ask(&r, 1), JOIN_WAIT);
    rig_deinit(&r);
}

/* ---- groups ---- */

/* The replicas of GROUP as its leader has them, or false. */
static bool
status(struct rig *r, qr_group_id group, struct qr_group_status *out)
{
    for (qr_node_id id = 1; id <= NODES; id++) {
        struct broker_replica replica;

        if (broker(r, id) != NULL &&
            broker_replica(broker(r, id), group, &replica) &&
            replica.status.is_leader) {
            *out = replica.status;
            return true;
        }
    }
    return false;
}

static bool
has(const struct qr_group_status *s, qr_node_id node)
{
    for (size_t i = 0; i < s->members_count; i++) {
        if (qr_replica_node(s->members[i].member.id) == node) {
            return true;
        }
    }
    return false;
}

Test(joining, replicas_on_a_removed_node_leave_their_groups)
{
    struct qr_group_status s;
    struct meta_queue *queue;
    qr_group_id group;
    struct rig r;

    rig_init(&r);
    group = declare(&r);
    sim_node_crash(r.nodes[2], false);
    (void)ask_until(&r, 3, JOIN_IS_MEMBER);
    pass(&r, 3000);
    cr_assert(status(&r, group, &s));
    cr_expect_not(has(&s, 2));
    cr_expect_eq(s.members_count, 2, "n4 has not started: nobody to add");
    cr_assert(status(&r, QR_GROUP_META, &s));
    cr_expect_not(has(&s, 2));
    cr_expect_not(has(&s, 4), "it is not linked yet");
    queue = meta_queue_by_group(broker(&r, 3)->meta, group);
    cr_expect_eq(queue->members_count, 2);
    cr_expect_not(meta_queue_is_original(queue));
    rig_deinit(&r);
}

Test(joining, a_node_that_is_down_keeps_its_replicas)
{
    struct qr_group_status s;
    qr_group_id group;
    struct rig r;

    rig_init(&r);
    group = declare(&r);
    sim_node_crash(r.nodes[2], false);
    pass(&r, 120000);
    cr_assert(status(&r, group, &s));
    cr_expect(has(&s, 2));
    sim_node_start(r.nodes[2]);
    pass(&r, 10000);
    cr_expect(broker_is_ready(broker(&r, 2)));
    rig_deinit(&r);
}

Test(joining, a_lost_replica_is_made_anew_on_its_node)
{
    struct qr_group_status s;
    qr_node_id lost = 0;
    qr_group_id group;
    struct rig r;

    rig_init(&r);
    group = declare(&r);
    cr_assert(status(&r, group, &s));
    lost = s.leader == 2 ? 3 : 2;
    reconcile_lost(broker(&r, s.leader), group, qr_replica(lost, 1));
    pass(&r, 5000);
    cr_assert(status(&r, group, &s));
    cr_expect_eq(s.members_count, 3);
    for (size_t i = 0; i < s.members_count; i++) {
        const struct qr_member *m = &s.members[i].member;

        cr_expect_eq(m->role, QR_ROLE_VOTER);
        if (qr_replica_node(m->id) == lost) {
            cr_expect_gt((uint32_t)m->id, 1U);
        }
    }
    cr_expect_eq(
        queue_group_self(map_get(&broker(&r, lost)->groups, group)),
        broker_replica_of(broker(&r, lost),
                          meta_queue_by_group(broker(&r, lost)->meta, group)));
    cr_expect_eq(reconcile_active(broker(&r, s.leader)), 0);
    rig_deinit(&r);
}

/* A node, not the leader of the metadata. */
static qr_node_id
follower(struct rig *r)
{
    return leader(r) == 2 ? 3 : 2;
}

/* The leader finds that node ID has lost what it acknowledged. */
static void
lose_metadata(struct rig *r, qr_node_id id)
{
    reconcile_lost(broker(r, leader(r)), QR_GROUP_META, qr_replica(id, 1));
}

Test(joining, a_node_that_lost_acknowledged_metadata_joins_anew)
{
    struct qr_group_status s;
    qr_node_id lost;
    struct rig r;

    rig_init(&r);
    (void)declare(&r);
    lost = follower(&r);
    lose_metadata(&r, lost);
    pass(&r, 1000);
    cr_assert(sim_node_is_leaving(r.nodes[lost]));
    sim_node_crash(r.nodes[lost], false);
    sim_node_start(r.nodes[lost]); /* its data have been set aside */
    cr_assert_not(sim_node_is_formed(r.nodes[lost]));
    for (unsigned ms = 0; ms < WAIT_MS && !sim_node_is_leaving(r.nodes[lost]);
         ms += 10) {
        pass(&r, 10);
    }
    sim_node_crash(r.nodes[lost], false);
    sim_node_start(r.nodes[lost]); /* as a member */
    pass(&r, 10000);
    cr_assert(status(&r, QR_GROUP_META, &s));
    cr_expect_eq(s.members_count, 3);
    cr_expect_not(has(&s, lost));
    cr_expect(has(&s, 4));
    rig_deinit(&r);
}

Test(joining, a_node_that_a_queue_needs_does_not_join_anew)
{
    struct meta_queue_declare d = {.vhost = meta_text("/", 1),
                                   .name = meta_text("alone", 5),
                                   .is_durable = true,
                                   .arguments = meta_text("", 0),
                                   .nodes_count = 1};
    char text[JOIN_TEXT_SIZE];
    struct meta_request *q;
    struct broker *b;
    struct rig r;

    rig_init(&r);
    for (qr_node_id id = 1; id <= NODES; id++) {
        broker(&r, id)->config.queue_replicas = 1;
    }
    d.nodes[0] = follower(&r);
    b = broker(&r, leader(&r));
    cr_expect(joining_is_spared(b, d.nodes[0], text, sizeof(text)));
    q = meta_request_new(b, NULL, NULL);
    meta_put_queue_declare(&q->command, b->session, q->number, &d);
    send(b, q);
    pass(&r, 2000);
    lose_metadata(&r, d.nodes[0]);
    pass(&r, 5000);
    cr_expect_not(joining_is_spared(b, d.nodes[0], text, sizeof(text)));
    cr_expect_not_null(strstr(text, "such as 'alone'"), "%s", text);
    cr_expect_not(sim_node_is_leaving(r.nodes[d.nodes[0]]));
    rig_deinit(&r);
}

Test(joining, only_the_leader_has_a_node_join_anew)
{
    qr_node_id third;
    qr_node_id node;
    struct rig r;

    rig_init(&r);
    node = follower(&r);
    third = (qr_node_id)(1 + 2 + 3 - leader(&r) - node);
    meta_group_renew(broker(&r, third)->meta_group, qr_replica(node, 1));
    meta_group_renew(broker(&r, leader(&r))->meta_group, qr_replica(node, 2));
    pass(&r, 1000);
    cr_expect_not(sim_node_is_leaving(r.nodes[node]));
    meta_group_renew(broker(&r, leader(&r))->meta_group, qr_replica(node, 1));
    pass(&r, 1000);
    cr_expect(sim_node_is_leaving(r.nodes[node]));
    rig_deinit(&r);
}

Test(joining, an_exclusive_queue_declared_as_its_node_died_is_buried)
{
    struct meta_queue_declare d = {.vhost = meta_text("/", 1),
                                   .name = meta_text("late", 4),
                                   .arguments = meta_text("", 0),
                                   .nodes = {2},
                                   .nodes_count = 1};
    const struct meta_vhost *vhost;
    struct meta_request *q;
    struct broker *b;
    struct rig r;

    rig_init(&r);
    d.owner.node = 2;
    d.owner.boot = broker(&r, 2)->env->boot;
    d.owner.connection = 9;
    sim_node_crash(r.nodes[2], false);
    pass(&r, NODES_LOST_MS + 5000);
    /* Its declaration was under way all that time. */
    b = broker(&r, 1);
    q = meta_request_new(b, NULL, NULL);
    meta_put_queue_declare(&q->command, b->session, q->number, &d);
    send(b, q);
    pass(&r, 2000);
    vhost = meta_vhost(b->meta, "/", 1);
    cr_expect_null(meta_queue(b->meta, vhost, "late", 4));
    rig_deinit(&r);
}

/* ---- leaving ---- */

struct wait {
    struct broker_call call;
    bool is_done;
    struct broker_fault fault;
};

static void
on_done(struct broker_call *call, const struct broker_reply *reply)
{
    struct wait *w = call->arg;

    w->is_done = true;
    w->fault = reply->fault;
}

static struct broker_fault
forget(struct rig *r, qr_node_id at, const char *name)
{
    struct wait w = {.call = {.done = on_done, .arg = &w}};

    joining_forget(broker(r, at), meta_text(name, strlen(name)), &w.call);
    for (unsigned ms = 0; ms < WAIT_MS && !w.is_done; ms += 10) {
        pass(r, 10);
    }
    cr_assert(w.is_done);
    return w.fault;
}

Test(joining, who_runs_or_is_not_there_is_not_forgotten)
{
    struct broker_fault f;
    struct rig r;

    rig_init(&r);
    f = forget(&r, 1, "n2");
    cr_expect_eq(f.kind, BROKER_PRECONDITION);
    cr_expect_not_null(strstr(f.text, "is running"));
    f = forget(&r, 1, "n1");
    cr_expect_eq(f.kind, BROKER_PRECONDITION);
    f = forget(&r, 1, "n9");
    cr_expect_eq(f.kind, BROKER_NOT_FOUND);
    rig_deinit(&r);
}

Test(joining, who_is_needed_is_not_forgotten)
{
    struct broker_fault f;
    struct rig r;

    rig_init(&r);
    (void)declare(&r);
    sim_node_crash(r.nodes[2], false);
    sim_node_crash(r.nodes[3], false);
    pass(&r, 1000);
    f = forget(&r, 1, "n2");
    cr_expect_eq(f.kind, BROKER_PRECONDITION);
    cr_expect_not_null(strstr(f.text, "has no majority"), "%s", f.text);
    rig_deinit(&r);
}

Test(joining, a_queue_that_has_no_other_replica_keeps_its_node)
{
    struct meta_queue_declare d = {.vhost = meta_text("/", 1),
                                   .name = meta_text("alone", 5),
                                   .is_durable = true,
                                   .arguments = meta_text("", 0),
                                   .nodes = {2},
                                   .nodes_count = 1};
    struct broker_fault f;
    struct meta_request *q;
    struct broker *b;
    struct rig r;

    rig_init(&r);
    sim_node_crash(r.nodes[2], false);
    pass(&r, 3000);
    b = broker(&r, 1);
    q = meta_request_new(b, NULL, NULL);
    meta_put_queue_declare(&q->command, b->session, q->number, &d);
    send(b, q);
    pass(&r, 2000);
    f = forget(&r, 1, "n2");
    cr_expect_eq(f.kind, BROKER_PRECONDITION);
    cr_expect_not_null(strstr(f.text, "'alone'"), "%s", f.text);
    rig_deinit(&r);
}

/* Node 2 is up; it means to start again, and does. */
static void
starts_again(struct rig *r)
{
    for (unsigned ms = 0; ms < WAIT_MS && !sim_node_is_leaving(r->nodes[2]);
         ms += 10) {
        pass(r, 10);
    }
    cr_assert(sim_node_is_leaving(r->nodes[2]));
    sim_node_crash(r->nodes[2], false);
    sim_node_start(r->nodes[2]);
}

Test(joining, a_blank_node_that_was_forgotten_joins_without_being_emptied)
{
    struct broker_fault f;
    struct rig r;

    rig_init(&r);
    sim_node_crash(r.nodes[2], false);
    sim_node_lose(r.nodes[2]);
    sim_node_start(r.nodes[2]);
    r.blank.uuid = sim_self(r.sim, 2)->uuid;
    sim_node_crash(r.nodes[2], false);
    (void)ask_until(&r, 3, JOIN_IS_MEMBER); /* it is not told */
    f = forget(&r, 1, "n2");
    cr_assert_eq(f.kind, BROKER_OK, "%s", f.text);
    sim_node_start(r.nodes[2]);
    cr_assert(uuid_is_equal(&sim_self(r.sim, 2)->uuid, &r.blank.uuid));
    starts_again(&r);
    cr_assert(sim_self(r.sim, 2)->is_blank);
    cr_assert_not(uuid_is_equal(&sim_self(r.sim, 2)->uuid, &r.blank.uuid));
    starts_again(&r); /* it has joined */
    cr_expect_eq(sim_self(r.sim, 2)->id, 5);
    cr_expect(sim_node_is_formed(r.nodes[2]));
    cr_expect(meta_node(broker(&r, 1)->meta, 4)->is_removed);
    rig_deinit(&r);
}

Test(joining, who_was_forgotten_is_not_current_when_it_comes_back)
{
    struct broker_fault f;
    struct rig r;

    rig_init(&r);
    (void)declare(&r);
    sim_node_crash(r.nodes[2], false);
    pass(&r, 3000);
    f = forget(&r, 1, "n2");
    cr_expect_eq(f.kind, BROKER_OK, "%s", f.text);
    pass(&r, 3000);
    sim_node_start(r.nodes[2]);
    pass(&r, 20000);
    cr_expect(!broker_is_ready(broker(&r, 2)));
    rig_deinit(&r);
}
