/* AMQPLAIN: a table's fields, of which two count. */
#include <quorate/error.h>

#include "auth/amqplain.h"
#include "base/buf.h"
#include "lib/harness.h"

static void
put_name(struct buf *b, const char *name)
{
    buf_put_u8(b, (uint8_t)strlen(name));
    buf_put_text(b, name);
}

static void
put_string(struct buf *b, const char *name, const char *value)
{
    put_name(b, name);
    buf_put_u8(b, 'S');
    buf_put_u32be(b, (uint32_t)strlen(value));
    buf_put_text(b, value);
}

static int
parse(const struct buf *b, struct credential *out)
{
    return amqplain_parse(b->data, b->size, out);
}

static void
check(const struct credential *c, const char *user, const char *password)
{
    cr_assert_eq(c->user_size, strlen(user));
    cr_assert_arr_eq(c->user, user, strlen(user));
    cr_assert_eq(c->password_size, strlen(password));
    cr_assert_arr_eq(c->password, password, strlen(password));
}

Test(amqplain, takes_login_and_password_in_any_order)
{
    struct buf b;
    struct credential c;

    buf_init(&b);
    put_string(&b, "LOGIN", "guest");
    put_string(&b, "PASSWORD", "secret");
    cr_assert_eq(parse(&b, &c), 0);
    check(&c, "guest", "secret");
    buf_clear(&b);
    put_string(&b, "PASSWORD", "");
    put_string(&b, "LOGIN", "u");
    put_string(&b, "LOGIN", "second");
    cr_assert_eq(parse(&b, &c), 0);
    check(&c, "u", "");
    buf_deinit(&b);
}

Test(amqplain, skips_fields_of_every_type)
{
    static const struct {
        char type;
        size_t size;
    } types[] = {{'V', 0}, {'t', 1}, {'b', 1}, {'B', 1}, {'s', 2}, {'u', 2},
                 {'I', 4}, {'i', 4}, {'f', 4}, {'D', 5}, {'l', 8}, {'L', 8},
                 {'d', 8}, {'T', 8}, {'S', 4}, {'x', 4}, {'A', 4}, {'F', 4}};
    struct buf b;
    struct credential c;

    buf_init(&b);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        put_name(&b, "other");
        buf_put_u8(&b, (uint8_t)types[i].type);
        memset(buf_extend(&b, types[i].size), 0, types[i].size);
    }
    put_string(&b, "LOGIN", "guest");
    put_string(&b, "PASSWORD", "secret");
    cr_assert_eq(parse(&b, &c), 0);
    check(&c, "guest", "secret");
    buf_deinit(&b);
}

Test(amqplain, refuses_what_lacks_either)
{
    struct buf b;
    struct credential c;

    buf_init(&b);
    cr_assert_eq(amqplain_parse(NULL, 0, &c), -QR_EFORMAT);
    put_string(&b, "LOGIN", "guest");
    cr_assert_eq(parse(&b, &c), -QR_EFORMAT);
    put_string(&b, "password", "names have a case");
    cr_assert_eq(parse(&b, &c), -QR_EFORMAT);
    buf_clear(&b);
    put_string(&b, "LOGIN", "");
    put_string(&b, "PASSWORD", "p");
    cr_assert_eq(parse(&b, &c), -QR_EFORMAT);
    buf_clear(&b);
    put_name(&b, "LOGIN");
    buf_put_u8(&b, 'V');
    put_string(&b, "PASSWORD", "p");
    cr_assert_eq(parse(&b, &c), -QR_EFORMAT, "a login of another type");
    buf_deinit(&b);
}

Test(amqplain, refuses_every_truncation)
{
    struct buf b;
    struct credential c;

    buf_init(&b);
    put_string(&b, "LOGIN", "guest");
    put_name(&b, "x");
    buf_put_u8(&b, 'F');
    buf_put_u32be(&b, 3);
    buf_put(&b, "abc", 3);
    put_string(&b, "PASSWORD", "secret");
    for (size_t size = 0; size < b.size; size++) {
        cr_assert_eq(amqplain_parse(b.data, size, &c), -QR_EFORMAT);
    }
    cr_assert_eq(parse(&b, &c), 0);
    put_name(&b, "x");
    buf_put_u8(&b, '?');
    cr_assert_eq(parse(&b, &c), -QR_EFORMAT, "a type that is none");
    buf_deinit(&b);
}

Test(amqplain, has_at_most_64_fields)
{
    struct buf b;
    struct credential c;

    buf_init(&b);
    put_string(&b, "LOGIN", "guest");
    put_string(&b, "PASSWORD", "secret");
    for (unsigned i = 2; i < AMQPLAIN_FIELDS_MAX; i++) {
        put_string(&b, "x", "");
    }
    cr_assert_eq(parse(&b, &c), 0);
    put_string(&b, "x", "");
    cr_assert_eq(parse(&b, &c), -QR_EFORMAT);
    buf_deinit(&b);
}
