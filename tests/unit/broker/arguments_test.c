/* Arguments of declarations: when two tables are the same to RabbitMQ. */
#include "base/buf.h"
#include "broker/arguments.h"
#include "lib/harness.h"

static void
put_int(struct buf *b, const char *key, char type, uint64_t value, size_t size)
{
    buf_put_u8(b, (uint8_t)strlen(key));
    buf_put_text(b, key);
    buf_put_u8(b, (uint8_t)type);
    for (size_t i = size; i > 0; i--) {
        buf_put_u8(b, (uint8_t)(value >> (8 * (i - 1))));
    }
}

static void
put_text(struct buf *b, const char *key, const char *text)
{
    buf_put_u8(b, (uint8_t)strlen(key));
    buf_put_text(b, key);
    buf_put_u8(b, 'S');
    buf_put_u32be(b, (uint32_t)strlen(text));
    buf_put_text(b, text);
}

static struct meta_text
text_of(const struct buf *b)
{
    struct meta_text t = {.data = (const char *)b->data, .size = b->size};

    return t;
}

Test(arguments, finds_a_key_behind_others)
{
    struct buf b;

    buf_init(&b);
    put_text(&b, "x-queue-type", "quorum");
    put_int(&b, "x-max-length", 'I', 5, 4);
    cr_assert(arguments_has(text_of(&b), "x-max-length"));
    cr_assert_not(arguments_has(text_of(&b), "x-max"));
    cr_assert_not(arguments_has(text_of(&b), "x-message-ttl"));
    buf_deinit(&b);
}

Test(arguments, of_equal_integers_of_other_width_are_the_same)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct buf a;
    struct buf b;

    buf_init(&a);
    buf_init(&b);
    put_int(&a, "x-n", 'I', 60000, 4);
    put_int(&b, "x-n", 'l', 60000, 8);
    arguments_compare(text_of(&a), text_of(&b), "q", "/", &fault);
    cr_assert_eq(fault.kind, BROKER_OK);
    buf_clear(&b);
    put_int(&b, "x-n", 'l', (uint64_t)-60000, 8);
    arguments_compare(text_of(&a), text_of(&b), "q", "/", &fault);
    cr_assert_eq(fault.kind, BROKER_PRECONDITION);
    buf_deinit(&a);
    buf_deinit(&b);
}

Test(arguments, that_differ_are_named_as_rabbitmq_names_them)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct buf a;
    struct buf none;

    buf_init(&a);
    buf_init(&none);
    put_int(&a, "x-n", 'I', 1000, 4);
    arguments_compare(text_of(&none), text_of(&a), "q", "/", &fault);
    cr_assert_str_eq(fault.text,
                     "inequivalent arg 'x-n' for queue 'q' in vhost '/': "
                     "received none but current is the value '1000' of type "
                     "'signedint'");
    arguments_compare(text_of(&a), text_of(&none), "q", "/", &fault);
    cr_assert_str_eq(fault.text,
                     "inequivalent arg 'x-n' for queue 'q' in vhost '/': "
                     "received the value '1000' of type 'signedint' but "
                     "current is none");
    buf_deinit(&a);
    buf_deinit(&none);
}
