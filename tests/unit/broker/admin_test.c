/* What operators ask of a broker: limits of names and texts, passwords that
 * wait for their hash, and where replicas stand. What the commands come to is
 * tested with them (tests/unit/mgmt/commands_test.c). */
#include <quorate/error.h>

#include "base/check.h"
#include "base/mem.h"
#include "broker/broker_admin.h"
#include "lib/harness.h"
#include "unit/mgmt/cluster.h"

enum {
    WAIT_MS = 20000
};

struct wait {
    struct broker_call call;
    bool is_done;
    struct broker_fault fault;
    uint64_t messages;
};

static void
on_done(struct broker_call *call, const struct broker_reply *reply)
{
    struct wait *w = CONTAINER_OF(call, struct wait, call);

    cr_assert(!w->is_done);
    w->is_done = true;
    w->fault = reply->fault;
    w->messages = reply->messages;
}

static void
wait_init(struct wait *w)
{
    memset(w, 0, sizeof(*w));
    w->call.done = on_done;
}

/* Let the time pass until W is done: the kind of its fault. */
static enum broker_fault_kind
wait_for(struct cluster *c, struct wait *w)
{
    cr_assert(!w->is_done, "done within the call");
    for (unsigned ms = 0; ms < WAIT_MS && !w->is_done; ms++) {
        cluster_pass(c, 1);
    }
    cr_assert(w->is_done);
    return w->fault.kind;
}

static struct meta_text
text(const char *s)
{
    return meta_text(s, strlen(s));
}

/* SIZE bytes of "a". */
static struct meta_text
long_text(char *at, size_t size)
{
    memset(at, 'a', size);
    return meta_text(at, size);
}

Test(admin, names_have_a_largest_size)
{
    char bytes[QR_NAME_SIZE_MAX + 1];
    struct meta_vhost vhost = {.description = {"", 0}, .tags = {"", 0}};
    struct cluster c;
    struct broker *b;
    struct wait w;

    cluster_init(&c, 1, 1);
    b = sim_node_broker(c.nodes[0], 0);
    for (size_t size = QR_NAME_SIZE_MAX; size <= QR_NAME_SIZE_MAX + 1; size++) {
        enum broker_fault_kind expected =
            size == QR_NAME_SIZE_MAX ? BROKER_OK : BROKER_INVALID;

        vhost.name = long_text(bytes, size);
        wait_init(&w);
        broker_vhost_add(b, &vhost, &w.call);
        cr_assert_eq(wait_for(&c, &w), expected);
        wait_init(&w);
        broker_user_add(b, vhost.name, text("secret"), text(""), &w.call);
        cr_assert_eq(wait_for(&c, &w), expected);
        wait_init(&w);
        broker_user_tags(b, vhost.name, text("x"), &w.call);
        cr_assert_eq(wait_for(&c, &w), expected);
        wait_init(&w);
        broker_user_delete(b, vhost.name, &w.call);
        cr_assert_eq(wait_for(&c, &w), expected);
        wait_init(&w);
        broker_vhost_delete(b, vhost.name, &w.call);
        cr_assert_eq(wait_for(&c, &w), expected);
    }
    cluster_deinit(&c);
}

Test(admin, empty_names_are_refused)
{
    struct meta_permission permission = {.vhost = text("/"),
                                         .user = text(""),
                                         .configure = text(""),
                                         .write = text(""),
                                         .read = text("")};
    struct meta_policy policy = {.vhost = text("/"),
                                 .name = text(""),
                                 .pattern = text(".*"),
                                 .definition = text("{\"a\":1}")};
    struct cluster c;
    struct broker *b;
    struct wait w;

    cluster_init(&c, 1, 1);
    b = sim_node_broker(c.nodes[0], 0);
    wait_init(&w);
    broker_permission_set(b, &permission, &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_INVALID);
    wait_init(&w);
    broker_permission_clear(b, &permission, &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_INVALID);
    wait_init(&w);
    broker_policy_set(b, &policy, &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_INVALID);
    wait_init(&w);
    broker_policy_clear(b, &policy, &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_INVALID);
    wait_init(&w);
    broker_vhost_delete(b, text(""), &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_INVALID);
    wait_init(&w);
    broker_user_delete(b, text(""), &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_INVALID);
    cluster_deinit(&c);
}

Test(admin, other_texts_have_largest_sizes)
{
    static char bytes[ADMIN_DEFINITION_SIZE_MAX + 1];
    struct meta_vhost vhost = {.name = text("v"), .tags = {"", 0}};
    struct meta_policy policy = {
        .vhost = text("/"), .name = text("p"), .pattern = text(".*")};
    struct cluster c;
    struct broker *b;
    struct wait w;

    cluster_init(&c, 1, 1);
    b = sim_node_broker(c.nodes[0], 0);
    vhost.description = long_text(bytes, ADMIN_DESCRIPTION_SIZE_MAX + 1);
    wait_init(&w);
    broker_vhost_add(b, &vhost, &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_INVALID);
    vhost.description.size--;
    wait_init(&w);
    broker_vhost_add(b, &vhost, &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_OK);
    wait_init(&w);
    broker_user_tags(b, text("guest"),
                     long_text(bytes, ADMIN_TAGS_SIZE_MAX + 1), &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_INVALID);
    policy.definition = long_text(bytes, ADMIN_DEFINITION_SIZE_MAX + 1);
    wait_init(&w);
    broker_policy_set(b, &policy, &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_INVALID);
    policy.definition.size--;
    wait_init(&w);
    broker_policy_set(b, &policy, &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_OK);
    cluster_deinit(&c);
}

Test(admin, passwords_have_sizes_and_a_queue_with_a_limit)
{
    static char bytes[2048];
    struct wait *waits = mem_zalloc(ADMIN_HASHES_MAX + 1, sizeof(*waits));
    struct cluster c;
    struct broker *b;
    struct wait w;
    unsigned refused = 0;

    cluster_init(&c, 1, 1);
    b = sim_node_broker(c.nodes[0], 0);
    wait_init(&w);
    broker_user_password(b, text("guest"), text(""), &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_INVALID);
    wait_init(&w);
    broker_user_password(b, text("guest"), long_text(bytes, sizeof(bytes)),
                         &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_INVALID);
    for (size_t i = 0; i <= ADMIN_HASHES_MAX; i++) {
        wait_init(&waits[i]);
        broker_user_password(b, text("guest"), text("secret"), &waits[i].call);
        if (i + 1 < ADMIN_HASHES_MAX) {
            broker_call_abandon(&waits[i].call); /* still counts */
            waits[i].is_done = true;
        }
    }
    cluster_pass(&c, WAIT_MS);
    for (size_t i = 0; i <= ADMIN_HASHES_MAX; i++) {
        cr_assert(waits[i].is_done);
        refused += waits[i].fault.kind == BROKER_RESOURCE ? 1 : 0;
    }
    cr_assert_eq(refused, 1);
    cluster_deinit(&c);
    mem_free(waits);
}

static void
count_consumer(void *arg, const struct queue_consumer_info *info)
{
    (void)info;
    ++*(unsigned *)arg;
}

Test(admin, replicas_say_where_they_stand)
{
    struct broker_replica replica;
    struct qr_host_stats stats;
    struct cluster c;
    struct broker *b;
    unsigned consumers = 0;
    uint64_t *ids;
    size_t count = 0;

    cluster_init(&c, 1, 1);
    cluster_declare(&c, 0, 0, "q");
    cluster_publish(&c, 0, 0, "q", 3);
    b = sim_node_broker(c.nodes[0], 0);
    ids = broker_replica_ids(b, &count);
    cr_assert_eq(count, 1);
    cr_assert(broker_replica(b, ids[0], &replica));
    cr_assert(replica.status.is_leader);
    cr_assert_eq(replica.counts.ready, 3);
    cr_assert_eq(replica.status.applied, replica.status.last);
    cr_assert(broker_replica(b, QR_GROUP_META, &replica));
    cr_assert(replica.status.is_leader);
    cr_assert(!broker_replica(b, ids[0] + 1, &replica));
    broker_replica_consumers(b, ids[0], count_consumer, &consumers);
    broker_replica_consumers(b, ids[0] + 1, count_consumer, &consumers);
    cr_assert_eq(consumers, 0);
    broker_host_stats(b, &stats);
    cr_assert_eq(stats.groups, 2);
    cr_assert_eq(broker_replica_transfer(b, ids[0] + 1, 1), -QR_ENOTLEADER);
    cr_assert_eq(broker_replica_transfer(b, ids[0], 9), -QR_ENOENT);
    mem_free(ids);
    cluster_deinit(&c);
}

Test(admin, a_queue_goes_by_its_group_and_not_by_its_name)
{
    struct cluster c;
    struct broker *b;
    struct wait w;
    uint64_t *ids;
    size_t count = 0;

    cluster_init(&c, 1, 1);
    cluster_declare(&c, 0, 0, "q");
    cluster_publish(&c, 0, 0, "q", 3);
    b = sim_node_broker(c.nodes[0], 0);
    ids = broker_replica_ids(b, &count);
    wait_init(&w);
    broker_admin_queue_purge(b, ids[0], &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_OK);
    cr_assert_eq(w.messages, 3);
    wait_init(&w);
    broker_admin_queue_delete(b, ids[0], &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_OK);
    cluster_declare(&c, 0, 0, "q"); /* another of the same name */
    wait_init(&w);
    broker_admin_queue_delete(b, ids[0], &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_NOT_FOUND);
    wait_init(&w);
    broker_admin_queue_purge(b, ids[0], &w.call);
    cr_assert_eq(wait_for(&c, &w), BROKER_NOT_FOUND);
    cr_assert(meta_queue_by_group(broker_meta(b), ids[0] + 1) != NULL);
    mem_free(ids);
    cluster_deinit(&c);
}
