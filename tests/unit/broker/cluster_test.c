/* The text about a cluster. */
#include "base/buf.h"
#include "base/error.h"
#include "broker/cluster.h"
#include "lib/harness.h"
#include "machine/meta/meta_command.h"

static struct cluster
two(void)
{
    struct cluster c = {.has_founders = true, .members_count = 2};

    memset(&c.id, 7, sizeof(c.id));
    for (uint8_t i = 0; i < 2; i++) {
        c.members[i].id = i + 1U;
        memset(&c.members[i].uuid, i + 1, sizeof(struct uuid));
        (void)snprintf(c.members[i].name, QR_NAME_SIZE_MAX, "a node %u", i);
        (void)snprintf(c.members[i].address, CLUSTER_ADDRESS_SIZE, "h:%u", i);
    }
    return c;
}

Test(cluster, is_read_as_it_was_written)
{
    struct cluster c = two();
    struct cluster back;
    struct error err = {{0}};
    struct buf b;

    buf_init(&b);
    cluster_put(&b, &c);
    cr_assert_eq(cluster_get(&back, (const char *)b.data, b.size, &err), 0,
                 "%s", err.text);
    cr_expect(uuid_is_equal(&back.id, &c.id));
    cr_expect(back.has_founders);
    cr_expect_eq(back.members_count, 2);
    cr_expect_str_eq(back.members[1].name, "a node 1");
    cr_expect_str_eq(back.members[1].address, "h:1");
    cr_expect_not_null(cluster_by_name(&back, "a node 0"));
    cr_expect_null(cluster_by_name(&back, "a node 2"));
    cr_expect_eq(cluster_by_uuid(&back, &c.members[1].uuid)->id, 2);
    cr_expect_null(cluster_by_uuid(&back, &c.id));
    buf_deinit(&b);
}

Test(cluster, that_is_malformed_changes_nothing)
{
    static const char *const bad[] = {
        "",
        "founders\n",
        "nonsense\n",
        "cluster x\n",
        "cluster 16fd2706-8baf-433b-82eb-8c7fada847da\n",
        "member 1 16fd2706-8baf-433b-82eb-8c7fada847da h:1\n",
        "member 65536 16fd2706-8baf-433b-82eb-8c7fada847da h:1 n\n"};
    struct cluster c = two();
    struct error err;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_expect_eq(cluster_get(&c, bad[i], strlen(bad[i]), &err), -QR_EFORMAT,
                     "%s", bad[i]);
        cr_expect_eq(c.members_count, 2);
    }
}

Test(cluster, has_a_bound_of_members)
{
    struct cluster c = {.members_count = 0};
    const char *line = "member 1 16fd2706-8baf-433b-82eb-8c7fada847da h:1 n";

    for (size_t i = 0; i < CLUSTER_MEMBERS_MAX; i++) {
        cr_assert_eq(cluster_get_line(&c, line), 1);
    }
    cr_expect_eq(cluster_get_line(&c, line), -QR_EFORMAT);
    cr_expect_eq(cluster_get_line(&c, "uuid x"), 0);
}

Test(cluster, follows_the_metadata)
{
    struct meta_machine *m = meta_machine_new(NULL);
    struct cluster c = two();
    struct meta_node node = {.id = 1, .boot = 1};
    struct buf b;

    buf_init(&b);
    node.name = meta_text("a node 0", 8);
    node.address = meta_text("h:0", 3);
    node.uuid = c.members[0].uuid;
    meta_put_node_up(&b, 0, 0, &node);
    node.id = 2;
    node.name = meta_text("a node 1", 8);
    node.address = meta_text("h:1", 3);
    node.uuid = c.members[1].uuid;
    meta_put_node_add(&b, 0, 0, &node);
    meta_machine_apply(m, 1, 1, b.data, b.size);
    cr_expect(!cluster_follow(&c, m));
    cr_expect(c.has_founders);
    b.size = 0;
    memset(&node.uuid, 9, sizeof(node.uuid));
    meta_put_node_replace(&b, 0, 0, 2, &node);
    meta_machine_apply(m, 2, 2, b.data, b.size);
    cr_expect(cluster_follow(&c, m));
    cr_expect(!c.has_founders);
    cr_expect_eq(c.members_count, 2);
    cr_expect_eq(cluster_by_name(&c, "a node 1")->id, 3);
    buf_deinit(&b);
    meta_machine_free(&m);
}
