/* Exchanges as a front end uses them: declared, refused, routed through. */
#include "rig.h"

Test(exchanges, routes_through_a_fanout_exchange)
{
    struct broker_exchange_spec spec = {.name = text("fan"),
                                        .type = text("fanout")};
    struct broker_binding_spec binding = {.source = text("fan")};
    struct answer a;
    struct rig r;

    rig_init(&r);
    declare_plain(&r, "a");
    declare_plain(&r, "b");
    answer_init(&a);
    broker_exchange_declare(r.broker, &r.connection, &spec, &a.call);
    cr_assert_eq(await(&r, &a), BROKER_OK);
    for (const char *q = "a"; q != NULL; q = *q == 'a' ? "b" : NULL) {
        binding.destination = text(q);
        answer_init(&a);
        broker_bind(r.broker, &r.connection, &binding, &a.call);
        cr_assert_eq(await(&r, &a), BROKER_OK);
    }
    cr_assert_eq(publish(&r, "fan", "", "x", 1), 2);
    pass(&r);
    cr_assert_eq(r.confirmed, 1);
    rig_deinit(&r);
}

/* Pattern NUMBER of some that are dear to match with KEY together. */
static void
put_dear(unsigned number, char pattern[QR_NAME_SIZE_MAX + 1])
{
    size_t size = 0;

    for (unsigned word = 0; size + 4 <= QR_NAME_SIZE_MAX; word++) {
        memcpy(pattern + size, word == number ? "#.*." : "#.a.", 4);
        size += 4;
    }
    pattern[size - 1] = '\0';
}

static void
put_dear_key(char key[QR_NAME_SIZE_MAX + 1])
{
    for (size_t i = 0; i < QR_NAME_SIZE_MAX; i++) {
        key[i] = i % 2 == 0 ? 'a' : '.';
    }
    key[QR_NAME_SIZE_MAX] = '\0';
}

Test(exchanges, refuses_a_route_that_takes_too_long)
{
    struct broker_binding_spec binding = {.source = text("amq.topic"),
                                          .destination = text("q")};
    struct slice body = {.data = (const uint8_t *)"x", .size = 1};
    char key[QR_NAME_SIZE_MAX + 1];
    struct broker_message m = {.exchange = text("amq.topic"),
                               .body = &body,
                               .body_count = 1,
                               .body_size = 1};
    struct broker_fault fault;
    struct answer a;
    struct rig r;
    size_t routed = 0;

    rig_init(&r);
    declare_plain(&r, "q");
    for (unsigned i = 0; i < 40; i++) {
        put_dear(i, key);
        binding.key = text(key);
        answer_init(&a);
        broker_bind(r.broker, &r.connection, &binding, &a.call);
        cr_assert_eq(await(&r, &a), BROKER_OK, "%s", a.reply.fault.text);
    }
    put_dear_key(key);
    m.key = text(key);
    broker_publish(&r.publisher, &m, 1, &routed, &fault);
    cr_assert_eq(fault.kind, BROKER_PRECONDITION);
    cr_assert_not_null(strstr(fault.text, "would take more than 131072 steps"));
    cr_assert_eq(r.publisher.route_steps, (size_t)META_ROUTE_STEPS_MAX);
    cr_assert_eq(publish(&r, "", "q", "x", 1), 1);
    cr_assert_eq(r.publisher.route_steps, 0U, "the default exchange");
    pass(&r);
    cr_assert_eq(r.confirmed, 1);
    rig_deinit(&r);
}

Test(exchanges, refuses_bad_exchanges)
{
    struct broker_exchange_spec spec = {.name = text("x"),
                                        .type = text("direct")};
    struct answer a;
    struct rig r;

    rig_init(&r);
    answer_init(&a);
    broker_exchange_declare(r.broker, &r.connection, &spec, &a.call);
    cr_assert_eq(await(&r, &a), BROKER_OK);
    spec.type = text("fanout");
    answer_init(&a);
    broker_exchange_declare(r.broker, &r.connection, &spec, &a.call);
    cr_assert_eq(await(&r, &a), BROKER_PRECONDITION);
    cr_assert_str_eq(a.reply.fault.text,
                     "inequivalent arg 'type' for exchange 'x' in vhost '/': "
                     "received 'fanout' but current is 'direct'");
    spec.type = text("strange");
    answer_init(&a);
    broker_exchange_declare(r.broker, &r.connection, &spec, &a.call);
    cr_assert_eq(await(&r, &a), BROKER_INVALID);
    cr_assert_str_eq(a.reply.fault.text, "unknown exchange type 'strange'");
    answer_init(&a);
    broker_exchange_delete(r.broker, &r.connection, text("amq.direct"), false,
                           &a.call);
    cr_assert_eq(await(&r, &a), BROKER_ACCESS_REFUSED);
    rig_deinit(&r);
}

Test(exchanges, says_that_headers_exchanges_are_to_come)
{
    static const char alternate[] = "\x12"
                                    "alternate-exchangeS\0\0\0\1x";
    struct broker_exchange_spec spec = {
        .name = text("x"),
        .type = text("direct"),
        .arguments = {.data = alternate, .size = sizeof(alternate) - 1}};
    struct broker_binding_spec binding = {.source = text("amq.headers"),
                                          .destination = text("q")};
    struct broker_message m = {.exchange = text("amq.match")};
    struct broker_fault fault;
    size_t routed = 0;
    struct answer a;
    struct rig r;

    rig_init(&r);
    declare_plain(&r, "q");
    broker_publish(&r.publisher, &m, 1, &routed, &fault);
    cr_assert_eq(fault.kind, BROKER_NOT_IMPLEMENTED);
    answer_init(&a);
    broker_bind(r.broker, &r.connection, &binding, &a.call);
    cr_assert_eq(await(&r, &a), BROKER_NOT_IMPLEMENTED);
    answer_init(&a);
    broker_exchange_declare(r.broker, &r.connection, &spec, &a.call);
    cr_assert_eq(await(&r, &a), BROKER_NOT_IMPLEMENTED);
    cr_assert_str_eq(a.reply.fault.text,
                     "exchange argument 'alternate-exchange'");
    rig_deinit(&r);
}
