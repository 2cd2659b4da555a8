/* The builders write what the machine reads: the messages, field by field. */
#include "base/mem.h"
#include "lib/harness.h"
#include "meta.pb-c.h"
#include "world.h"

/* Unpack the one command in B, freed by meta__command__free_unpacked(). */
static Meta__Command *
unpack(const struct buf *b)
{
    struct cursor c;
    size_t size = 0;
    const uint8_t *at = NULL;
    Meta__Command *command = NULL;

    cursor_init(&c, b->data, b->size);
    at = cursor_blob(&c, &size);
    cr_assert_not_null(at);
    cr_assert_eq(cursor_left(&c), 0U);
    command = meta__command__unpack(NULL, size, at);
    cr_assert_not_null(command);
    cr_assert_eq(command->session, UINT64_MAX);
    cr_assert_eq(command->request, 1234U);
    return command;
}

static void
check_bytes(const ProtobufCBinaryData *bytes, const char *expected)
{
    cr_assert_eq(bytes->len, strlen(expected));
    cr_assert_arr_eq(bytes->data, expected, strlen(expected));
}

Test(meta_command, queue_declare_is_whole)
{
    struct buf b;
    Meta__Command *c = NULL;
    struct meta_queue_declare d = {.vhost = text("v"),
                                   .name = text("q"),
                                   .is_durable = true,
                                   .is_auto_delete = true,
                                   .owner = {3, 4, UINT64_MAX},
                                   .arguments = text("args"),
                                   .nodes = {1, 70000, 3},
                                   .nodes_count = 3,
                                   .stand = 3};

    buf_init(&b);
    meta_put_queue_declare(&b, UINT64_MAX, 1234, &d);
    c = unpack(&b);
    cr_assert_eq(c->of_case, META__COMMAND__OF_QUEUE_DECLARE);
    check_bytes(&c->queue_declare->vhost, "v");
    check_bytes(&c->queue_declare->name, "q");
    check_bytes(&c->queue_declare->arguments, "args");
    cr_assert(c->queue_declare->durable);
    cr_assert(c->queue_declare->auto_delete);
    cr_assert_eq(c->queue_declare->owner->node, 3U);
    cr_assert_eq(c->queue_declare->owner->boot, 4U);
    cr_assert_eq(c->queue_declare->owner->connection, UINT64_MAX);
    cr_assert_eq(c->queue_declare->n_nodes, 3U);
    cr_assert_eq(c->queue_declare->nodes[1], 70000U);
    cr_assert_eq(c->queue_declare->stand, 3U);
    meta__command__free_unpacked(c, NULL);
    buf_deinit(&b);
}

Test(meta_command, no_owner_is_no_message)
{
    struct buf b;
    Meta__Command *c = NULL;
    struct meta_queue_declare d = {.vhost = text("v"), .name = text("q")};
    struct meta_queue_delete del = {.vhost = text("v"), .name = text("q")};

    buf_init(&b);
    meta_put_queue_declare(&b, UINT64_MAX, 1234, &d);
    c = unpack(&b);
    cr_assert_null(c->queue_declare->owner);
    meta__command__free_unpacked(c, NULL);
    buf_clear(&b);
    meta_put_queue_delete(&b, UINT64_MAX, 1234, &del);
    c = unpack(&b);
    cr_assert_null(c->queue_delete->owner);
    cr_assert_eq(c->queue_delete->group, 0U);
    meta__command__free_unpacked(c, NULL);
    buf_deinit(&b);
}

Test(meta_command, each_kind_has_its_number)
{
    struct buf b;
    Meta__Command *c = NULL;
    struct meta_node node = {.id = 1};
    struct meta_binding binding = {.to_exchange = true};
    struct meta_policy policy = {.priority = -1, .is_operator = true};

    buf_init(&b);
    meta_put_node_up(&b, UINT64_MAX, 1234, &node);
    c = unpack(&b);
    cr_assert_eq(c->of_case, META__COMMAND__OF_NODE_UP);
    cr_assert_eq(c->node_up->uuid.len, 16U);
    meta__command__free_unpacked(c, NULL);
    buf_clear(&b);
    meta_put_unbind(&b, UINT64_MAX, 1234, &binding);
    c = unpack(&b);
    cr_assert_eq(c->of_case, META__COMMAND__OF_UNBIND);
    cr_assert(c->unbind->to_exchange);
    meta__command__free_unpacked(c, NULL);
    buf_clear(&b);
    meta_put_policy_set(&b, UINT64_MAX, 1234, &policy);
    c = unpack(&b);
    cr_assert_eq(c->of_case, META__COMMAND__OF_POLICY_SET);
    cr_assert_eq(c->policy_set->priority, -1);
    cr_assert(c->policy_set->is_operator);
    meta__command__free_unpacked(c, NULL);
    buf_clear(&b);
    meta_put_barrier(&b, UINT64_MAX, 1234);
    c = unpack(&b);
    cr_assert_eq(c->of_case, META__COMMAND__OF_BARRIER);
    meta__command__free_unpacked(c, NULL);
    buf_deinit(&b);
}

Test(meta_command, more_members_than_a_group_has_is_a_bug, .signal = SIGABRT)
{
    struct buf b;
    struct meta_member members[QR_MEMBERS_MAX + 1] = {{.replica = 1}};

    buf_init(&b);
    meta_put_queue_members(&b, 1, 1, 16, members, QR_MEMBERS_MAX + 1);
}
