/* Every method of spec.def, there and back. */
#include <quorate/error.h>

#include "amqp/limits.h"
#include "amqp/method.h"
#include "base/error.h"
#include "base/rng.h"
#include "lib/harness.h"

enum {
    ROUNDS = 50,
    TEXTS = 8
};

/* Room for the texts of one method. */
struct texts {
    char bytes[TEXTS][600];
    size_t count;
};

static struct amqp_text
random_text(struct rng *rng, struct texts *texts, size_t size_max)
{
    char *bytes = texts->bytes[texts->count++];
    size_t size = (size_t)rng_below(rng, size_max + 1);

    for (size_t i = 0; i < size; i++) {
        bytes[i] = (char)rng_below(rng, 256);
    }
    return (struct amqp_text){bytes, size};
}

/* A table of one entry, "k": a long string. */
static struct amqp_text
random_table(struct rng *rng, struct texts *texts)
{
    char *bytes = texts->bytes[texts->count];
    struct amqp_text text = random_text(rng, texts, 200);

    if (rng_below(rng, 4) == 0) {
        return (struct amqp_text){"", 0};
    }
    memmove(bytes + 7, bytes, text.size);
    memcpy(bytes, "\1kS", 3);
    put_u32be((uint8_t *)bytes + 3, (uint32_t)text.size);
    return (struct amqp_text){bytes, text.size + 7};
}

static void
random_field(struct rng *rng, struct texts *texts, enum amqp_field_type type,
             void *at)
{
    switch (type) {
    case AMQP_TYPE_octet:
        *(uint8_t *)at = (uint8_t)rng_below(rng, 256);
        break;
    case AMQP_TYPE_short:
        *(uint16_t *)at = (uint16_t)rng_below(rng, 65536);
        break;
    case AMQP_TYPE_long:
        *(uint32_t *)at = (uint32_t)rng_u64(rng);
        break;
    case AMQP_TYPE_longlong:
        *(uint64_t *)at = rng_u64(rng);
        break;
    case AMQP_TYPE_bit:
        *(bool *)at = rng_below(rng, 2) == 1;
        break;
    case AMQP_TYPE_shortstr:
        *(struct amqp_text *)at = random_text(rng, texts, AMQP_SHORTSTR_MAX);
        break;
    case AMQP_TYPE_longstr:
        *(struct amqp_text *)at = random_text(rng, texts, 500);
        break;
    case AMQP_TYPE_table:
        *(struct amqp_text *)at = random_table(rng, texts);
        break;
    case AMQP_TYPE_END:
        cr_assert_fail("the end is not a field");
    }
}

static void
check_same(const struct amqp_field *f, const void *a, const void *b)
{
    const struct amqp_text *x = a;
    const struct amqp_text *y = b;

    switch (f->type) {
    case AMQP_TYPE_octet:
        cr_assert_eq(*(const uint8_t *)a, *(const uint8_t *)b);
        break;
    case AMQP_TYPE_short:
        cr_assert_eq(*(const uint16_t *)a, *(const uint16_t *)b);
        break;
    case AMQP_TYPE_long:
        cr_assert_eq(*(const uint32_t *)a, *(const uint32_t *)b);
        break;
    case AMQP_TYPE_longlong:
        cr_assert_eq(*(const uint64_t *)a, *(const uint64_t *)b);
        break;
    case AMQP_TYPE_bit:
        cr_assert_eq(*(const bool *)a, *(const bool *)b);
        break;
    case AMQP_TYPE_shortstr:
    case AMQP_TYPE_longstr:
    case AMQP_TYPE_table:
        cr_assert_eq(x->size, y->size);
        cr_assert(x->size == 0 || memcmp(x->data, y->data, x->size) == 0);
        break;
    case AMQP_TYPE_END:
        break;
    }
}

static void
randomize(struct rng *rng, struct texts *texts,
          const struct amqp_method_spec *spec, struct amqp_method *m)
{
    m->id = spec->id;
    texts->count = 0;
    for (const struct amqp_field *f = spec->fields; f->type != AMQP_TYPE_END;
         f++) {
        random_field(rng, texts, f->type, (uint8_t *)m + f->offset);
    }
}

Test(method, comes_back_as_it_was_for_every_row)
{
    struct rng rng;
    struct buf out;
    static struct texts texts;

    rng_init(&rng, 60);
    buf_init(&out);
    for (size_t i = 0; i < AMQP_ROWS * ROUNDS; i++) {
        const struct amqp_method_spec *spec =
            amqp_method_of_row((enum amqp_row)(i % AMQP_ROWS));
        struct amqp_method before = {0};
        struct amqp_method after = {0};
        struct error err = {""};

        randomize(&rng, &texts, spec, &before);
        buf_clear(&out);
        amqp_method_encode(&before, &out);
        cr_assert_eq(amqp_method_decode(out.data, out.size, &after, &err), 0,
                     "%s: %s", spec->name, err.text);
        cr_assert_eq(after.id, before.id);
        for (const struct amqp_field *f = spec->fields;
             f->type != AMQP_TYPE_END; f++) {
            check_same(f, (uint8_t *)&before + f->offset,
                       (uint8_t *)&after + f->offset);
        }
    }
    buf_deinit(&out);
}

Test(method, refuses_every_truncation_and_a_byte_more)
{
    struct rng rng;
    struct buf out;
    static struct texts texts;
    uint8_t copy[4096];

    rng_init(&rng, 61);
    buf_init(&out);
    for (size_t row = 0; row < AMQP_ROWS; row++) {
        const struct amqp_method_spec *spec =
            amqp_method_of_row((enum amqp_row)row);
        struct amqp_method m = {0};

        randomize(&rng, &texts, spec, &m);
        buf_clear(&out);
        amqp_method_encode(&m, &out);
        for (size_t size = 0; size < out.size; size++) {
            /* At the end of an array, so that a read past it is seen. */
            uint8_t *at = copy + sizeof(copy) - size;
            struct error err = {""};

            memcpy(at, out.data, size);
            cr_assert_eq(amqp_method_decode(at, size, &m, &err), -QR_EFORMAT,
                         "%s cut to %zu", spec->name, size);
            cr_assert_neq(err.text[0], '\0');
        }
        buf_put_u8(&out, 0);
        cr_assert_eq(amqp_method_decode(out.data, out.size, &m, NULL),
                     -QR_EFORMAT, "%s with a byte more", spec->name);
    }
    buf_deinit(&out);
}

Test(method, packs_bits_from_the_lowest)
{
    struct amqp_method m = {.id = AMQP_queue_declare};
    static const uint8_t expected[] = {0,   50,   0, 10, 0, 0, 1,
                                       'q', 0x12, 0, 0,  0, 0};
    struct buf out;

    buf_init(&out);
    m.queue_declare.queue = amqp_text("q");
    m.queue_declare.durable = true;
    m.queue_declare.nowait = true;
    m.queue_declare.arguments = amqp_text("");
    amqp_method_encode(&m, &out);
    cr_assert_eq(out.size, sizeof(expected));
    cr_assert_arr_eq(out.data, expected, sizeof(expected));
    buf_deinit(&out);
}

Test(method, knows_the_numbers_of_the_specification)
{
    cr_assert_eq(AMQP_basic_publish, 60 << 16 | 40);
    cr_assert_eq(AMQP_basic_nack, 60 << 16 | 120);
    cr_assert_eq(AMQP_exchange_unbind_ok, 40 << 16 | 51);
    cr_assert_eq(amqp_class_of(AMQP_confirm_select), 85);
    cr_assert_eq(amqp_method_of(AMQP_confirm_select), 10);
    cr_assert_str_eq(amqp_method_name(AMQP_basic_get_ok), "basic.get_ok");
    cr_assert_str_eq(amqp_method_name(12345), "none");
    cr_assert_eq(amqp_method_spec(AMQP_basic_publish)->flags, AMQP_IS_CONTENT);
    cr_assert_eq(amqp_method_spec(AMQP_basic_deliver)->who, AMQP_BY_SERVER);
    cr_assert_null(amqp_method_spec(0));
    cr_assert_eq(amqp_method_row(0), AMQP_ROWS);
    cr_assert_eq(AMQP_ROWS, 66);
}

Test(method, names_an_unknown_class)
{
    static const uint8_t data[] = {0, 99, 0, 7, 1, 2, 3};
    struct amqp_method m;
    struct error err = {""};

    cr_assert_eq(amqp_method_decode(data, sizeof(data), &m, &err),
                 -QR_EUNSUPPORTED);
    cr_assert_str_eq(err.text, "unknown method 7 of class 99");
    cr_assert_eq((uint32_t)m.id, 99 << 16 | 7);
}

Test(method, names_the_argument_with_a_bad_table)
{
    static const uint8_t data[] = {0, 50,  0, 40 - 20, 0, 0, 1, 'q', 1,   'e',
                                   1, 'k', 0, 0,       0, 0, 3, 1,   'k', '?'};
    struct amqp_method m;
    struct error err = {""};

    cr_assert_eq(amqp_method_decode(data, sizeof(data), &m, &err), -QR_EFORMAT);
    cr_assert_str_eq(err.text,
                     "argument 'arguments' of queue.bind is malformed");
}

Test(method, names_the_argument_with_too_deep_a_table)
{
    struct amqp_method m = {.id = AMQP_queue_unbind};
    struct error err = {""};
    struct buf table;
    struct buf out;

    buf_init(&table);
    buf_init(&out);
    buf_put(&table, "\1a", 2);
    for (size_t left = AMQP_TABLE_DEPTH_MAX * 5; left > 0; left -= 5) {
        buf_put_u8(&table, 'A');
        buf_put_u32be(&table, (uint32_t)(left - 5));
    }
    m.queue_unbind.queue = amqp_text("q");
    m.queue_unbind.exchange = amqp_text("x");
    m.queue_unbind.routing_key = amqp_text("");
    m.queue_unbind.arguments =
        (struct amqp_text){(const char *)table.data, table.size};
    amqp_method_encode(&m, &out);
    cr_assert_eq(amqp_method_decode(out.data, out.size, &m, &err), -QR_ETOOBIG);
    cr_assert_str_eq(err.text,
                     "argument 'arguments' of queue.unbind is a table of more "
                     "than 131072 bytes or nested deeper than 16");
    buf_deinit(&table);
    buf_deinit(&out);
}

Test(method, survives_random_bytes)
{
    struct rng rng;
    uint8_t data[64];

    rng_init(&rng, 62);
    for (int i = 0; i < 20000; i++) {
        struct amqp_method m;
        size_t size = (size_t)rng_below(&rng, sizeof(data));
        uint8_t *at = data + sizeof(data) - size;
        enum amqp_row row = (enum amqp_row)rng_below(&rng, AMQP_ROWS);

        for (size_t k = 0; k < size; k++) {
            at[k] = (uint8_t)rng_below(&rng, i % 2 == 0 ? 256 : 5);
        }
        if (size >= 4) {
            put_u32be(at, amqp_method_of_row(row)->id);
        }
        (void)!amqp_method_decode(at, size, &m, NULL);
    }
}
