/* Reply codes and their scopes. */
#include "amqp/errors.h"
#include "lib/harness.h"

Test(errors, have_the_codes_and_scopes_of_the_specification)
{
    static const struct {
        unsigned code;
        const char *name;
        enum amqp_scope scope;
    } rows[] = {
        {311, "CONTENT_TOO_LARGE", AMQP_SCOPE_CHANNEL},
        {312, "NO_ROUTE", AMQP_SCOPE_NOTHING},
        {320, "CONNECTION_FORCED", AMQP_SCOPE_CONNECTION},
        {402, "INVALID_PATH", AMQP_SCOPE_CONNECTION},
        {403, "ACCESS_REFUSED", AMQP_SCOPE_CHANNEL},
        {404, "NOT_FOUND", AMQP_SCOPE_CHANNEL},
        {405, "RESOURCE_LOCKED", AMQP_SCOPE_CHANNEL},
        {406, "PRECONDITION_FAILED", AMQP_SCOPE_CHANNEL},
        {501, "FRAME_ERROR", AMQP_SCOPE_CONNECTION},
        {502, "SYNTAX_ERROR", AMQP_SCOPE_CONNECTION},
        {503, "COMMAND_INVALID", AMQP_SCOPE_CONNECTION},
        {504, "CHANNEL_ERROR", AMQP_SCOPE_CONNECTION},
        {505, "UNEXPECTED_FRAME", AMQP_SCOPE_CONNECTION},
        {506, "RESOURCE_ERROR", AMQP_SCOPE_CONNECTION},
        {530, "NOT_ALLOWED", AMQP_SCOPE_CONNECTION},
        {540, "NOT_IMPLEMENTED", AMQP_SCOPE_CONNECTION},
        {541, "INTERNAL_ERROR", AMQP_SCOPE_CONNECTION},
    };

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        const struct amqp_error *e = amqp_error(rows[i].code);

        cr_assert_eq(e->code, rows[i].code);
        cr_assert_str_eq(e->name, rows[i].name);
        cr_assert_eq(e->scope, rows[i].scope);
        cr_assert_neq(e->source[0], '\0');
    }
    cr_assert_eq(amqp_error(999)->code, 541);
}

Test(errors, every_fault_has_its_code)
{
    static const unsigned codes[] = {
        [BROKER_NOT_FOUND] = 404,   [BROKER_ACCESS_REFUSED] = 403,
        [BROKER_LOCKED] = 405,      [BROKER_PRECONDITION] = 406,
        [BROKER_NOT_ALLOWED] = 530, [BROKER_NOT_IMPLEMENTED] = 540,
        [BROKER_RESOURCE] = 506,    [BROKER_INVALID] = 503,
        [BROKER_INTERNAL] = 541,
    };

    for (unsigned kind = BROKER_NOT_FOUND; kind <= BROKER_INTERNAL; kind++) {
        cr_assert_eq(amqp_error_of_fault((enum broker_fault_kind)kind)->code,
                     codes[kind]);
    }
}

Test(errors, success_is_no_fault, .signal = SIGABRT)
{
    (void)amqp_error_of_fault(BROKER_OK);
}
