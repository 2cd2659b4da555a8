/* Tables: every type, nesting to its limit, and nonsense. */
#include <quorate/error.h>

#include "amqp/limits.h"
#include "amqp/table.h"
#include "base/mem.h"
#include "base/rng.h"
#include "lib/harness.h"

static struct amqp_text
text_of(const void *data, size_t size)
{
    return (struct amqp_text){data, size};
}

#define BYTES(s) text_of((s), sizeof(s) - 1)

Test(table, reads_every_type)
{
    static const char bytes[] = "\1at\1"
                                "\1bb\xff"
                                "\1cB\xff"
                                "\1ds\xff\xfe"
                                "\1eU\xff\xfe"
                                "\1fu\xff\xfe"
                                "\1gI\xff\xff\xff\xfd"
                                "\1hi\xff\xff\xff\xfd"
                                "\1jl\xff\xff\xff\xff\xff\xff\xff\xfc"
                                "\1kL\0\0\0\0\0\0\0\7"
                                "\1mT\0\0\0\0\0\0\0\x9"
                                "\1nf\x3f\xc0\0\0"
                                "\1od\x3f\xf8\0\0\0\0\0\0"
                                "\1pD\2\0\0\1\2"
                                "\1qS\0\0\0\2hi"
                                "\1rx\0\0\0\1z"
                                "\1sF\0\0\0\4\1xt\1"
                                "\1uA\0\0\0\3VB\5"
                                "\1vV";
    static const int64_t numbers[] = {1,  -1,         255, -2, -2, 65534,
                                      -3, 4294967293, -4,  7,  9};
    static const char letters[] = "tbBsUuIilLTfdDSxFAV";
    struct amqp_value v;
    struct amqp_text key;
    struct cursor c;
    size_t i = 0;

    cr_assert_eq(amqp_table_check(BYTES(bytes)), 0);
    cursor_init(&c, bytes, sizeof(bytes) - 1);
    for (; amqp_table_next(&c, &key, &v); i++) {
        cr_assert_eq(key.size, 1);
        cr_assert_eq(v.type, letters[i]);
        if (i < ARRAY_COUNT(numbers)) {
            cr_assert_eq(v.number, numbers[i], "%c", v.type);
        }
        if (v.type == 'f' || v.type == 'd') {
            cr_assert(v.real > 1.4 && v.real < 1.6);
        }
    }
    cr_assert_eq(i, sizeof(letters) - 1);
    cr_assert_not(c.bad);
    cr_assert(amqp_table_get(BYTES(bytes), "q", &v));
    cr_assert_arr_eq(v.text.data, "hi", 2);
    cr_assert(amqp_table_get(BYTES(bytes), "p", &v));
    cr_assert_eq(v.text.size, 5);
    cr_assert(amqp_table_get(BYTES(bytes), "u", &v));
    cursor_init(&c, v.text.data, v.text.size);
    cr_assert(amqp_array_next(&c, &v) && v.type == 'V');
    cr_assert(amqp_array_next(&c, &v) && v.number == 5);
    cr_assert_not(amqp_array_next(&c, &v));
    cr_assert_not(amqp_table_get(BYTES(bytes), "zz", &v));
    cr_assert(amqp_table_is_set(BYTES(bytes), "a"));
    cr_assert_not(amqp_table_is_set(BYTES(bytes), "b"));
    cr_assert_not(amqp_table_is_set(BYTES(bytes), "zz"));
}

Test(table, every_cut_is_refused_except_between_entries)
{
    static const char bytes[] = "\1aF\0\0\0\x8\1bS\0\0\0\1c\1dt\1";
    char copy[32];

    for (size_t size = 0; size < sizeof(bytes) - 1; size++) {
        char *at = copy + sizeof(copy) - size;
        int expected = size == 0 || size == 15 ? 0 : -QR_EFORMAT;

        memcpy(at, bytes, size);
        cr_assert_eq(amqp_table_check(text_of(at, size)), expected, "%zu",
                     size);
    }
    cr_assert_eq(amqp_table_check(BYTES(bytes)), 0);
}

Test(table, values_do_not_reach_over_the_end_of_their_table)
{
    /* The inner string claims a byte of the outer table. */
    cr_assert_eq(amqp_table_check(BYTES("\1aF\0\0\0\x8\1bS\0\0\0\2c\1dt\1")),
                 -QR_EFORMAT);
    /* The inner number does. */
    cr_assert_eq(amqp_table_check(BYTES("\1aF\0\0\0\4\1bI\0\0\0\0\0\0")),
                 -QR_EFORMAT);
    /* The inner table does. */
    cr_assert_eq(amqp_table_check(BYTES("\1aF\0\0\0\7\1bF\0\0\0\4\1dt\1")),
                 -QR_EFORMAT);
    cr_assert_eq(amqp_table_check(BYTES("\1a?")), -QR_EFORMAT);
}

/* LEVELS arrays within a table, in OUT. */
static void
nest(struct buf *out, size_t levels)
{
    size_t left = levels * 5;

    buf_put(out, "\1a", 2);
    for (size_t i = 0; i < levels; i++) {
        left -= 5;
        buf_put_u8(out, 'A');
        buf_put_u32be(out, (uint32_t)left);
    }
}

Test(table, nests_to_its_limit_and_not_deeper)
{
    struct buf b;

    buf_init(&b);
    nest(&b, AMQP_TABLE_DEPTH_MAX - 1);
    cr_assert_eq(amqp_table_check(text_of(b.data, b.size)), 0);
    buf_clear(&b);
    nest(&b, AMQP_TABLE_DEPTH_MAX);
    cr_assert_eq(amqp_table_check(text_of(b.data, b.size)), -QR_ETOOBIG);
    buf_deinit(&b);
}

Test(table, is_as_large_as_a_frame_and_not_larger)
{
    struct buf b;

    buf_init(&b);
    buf_put(&b, "\1aS", 3);
    buf_put_u32be(&b, AMQP_TABLE_SIZE_MAX - 7);
    memset(buf_extend(&b, AMQP_TABLE_SIZE_MAX - 7), 0, AMQP_TABLE_SIZE_MAX - 7);
    cr_assert_eq(amqp_table_check(text_of(b.data, b.size)), 0);
    buf_put(&b, "\1bV", 3);
    cr_assert_eq(amqp_table_check(text_of(b.data, b.size)), -QR_ETOOBIG);
    buf_deinit(&b);
}

Test(table, is_built_as_it_is_read)
{
    struct buf b;
    struct amqp_value v;
    size_t mark = 0;

    buf_init(&b);
    amqp_table_put_text(&b, "text", amqp_text("value"));
    mark = amqp_table_begin(&b, "inner");
    amqp_table_put_bool(&b, "yes", true);
    amqp_table_put_bool(&b, "no", false);
    amqp_table_end(&b, mark);
    amqp_table_put_int64(&b, "count", -5);
    cr_assert_eq(amqp_table_check(text_of(b.data, b.size)), 0);
    cr_assert(amqp_table_get(text_of(b.data, b.size), "count", &v));
    cr_assert_eq(v.number, -5);
    cr_assert(amqp_table_get(text_of(b.data, b.size), "inner", &v));
    cr_assert_eq(v.type, 'F');
    cr_assert(amqp_table_is_set(v.text, "yes"));
    cr_assert_not(amqp_table_is_set(v.text, "no"));
    buf_deinit(&b);
}

static void
walk(struct amqp_text table)
{
    struct cursor c;
    struct amqp_text key;
    struct amqp_value v;

    cursor_init(&c, table.data, table.size);
    while (amqp_table_next(&c, &key, &v)) {
    }
    cr_assert_not(c.bad, "a checked table could not be walked");
}

Test(table, what_passes_the_check_can_be_walked)
{
    static const char letters[] = "tbBsUuIilLTfdDSxFAV?";
    struct rng rng;
    char data[48];
    size_t passed = 0;

    rng_init(&rng, 63);
    for (int i = 0; i < 200000; i++) {
        size_t size = (size_t)rng_below(&rng, sizeof(data) + 1);
        char *at = data + sizeof(data) - size;

        for (size_t k = 0; k < size; k++) {
            at[k] = rng_below(&rng, 3) == 0
                        ? letters[rng_below(&rng, sizeof(letters) - 1)]
                        : (char)rng_below(&rng, 4);
        }
        if (amqp_table_check(text_of(at, size)) == 0) {
            walk(text_of(at, size));
            passed++;
        }
    }
    cr_assert_gt(passed, 1000);
}
