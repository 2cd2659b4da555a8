/* The byte buffer, the cursor, and what one writes and the other reads. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "lib/harness.h"

Test(buf, starts_empty_and_owns_nothing)
{
    struct buf b;

    buf_init(&b);
    cr_assert_null(b.data);
    cr_assert_eq(b.size, 0);
    cr_assert_eq(b.capacity, 0);
    buf_deinit(&b);
}

Test(buf, keeps_its_bytes_when_it_grows)
{
    struct buf b;

    buf_init(&b);
    for (unsigned i = 0; i < 10000; i++) {
        buf_put_u8(&b, (uint8_t)(i * 7));
    }
    cr_assert_eq(b.size, 10000);
    cr_assert_geq(b.capacity, b.size);
    for (unsigned i = 0; i < 10000; i++) {
        cr_assert_eq(b.data[i], (uint8_t)(i * 7));
    }
    buf_deinit(&b);
    cr_assert_null(b.data);
    cr_assert_eq(b.size, 0);
}

Test(buf, at_least_doubles)
{
    struct buf b;
    size_t before = 0;

    buf_init(&b);
    buf_reserve(&b, 100);
    before = b.capacity;
    cr_assert_geq(before, 100);
    b.size = before;
    buf_reserve(&b, 1);
    cr_assert_geq(b.capacity, before * 2);
    buf_deinit(&b);
}

Test(buf, reserves_without_growing_its_size)
{
    struct buf b;
    const uint8_t *data = NULL;

    buf_init(&b);
    buf_put_text(&b, "abc");
    buf_reserve(&b, 1000);
    data = b.data;
    cr_assert_eq(b.size, 3);
    for (unsigned i = 0; i < 1000; i++) {
        buf_put_u8(&b, 'x');
    }
    cr_assert_eq(b.data, data, "moved although there was room");
    buf_deinit(&b);
}

Test(buf, extends_by_nothing_to_a_real_pointer)
{
    struct buf b;

    buf_init(&b);
    cr_assert_not_null(buf_extend(&b, 0));
    cr_assert_eq(b.size, 0);
    buf_deinit(&b);
}

Test(buf, accepts_nothing_from_nowhere)
{
    struct buf b;

    buf_init(&b);
    buf_put(&b, NULL, 0);
    buf_put_text(&b, "");
    cr_assert_eq(b.size, 0);
    cr_assert_null(b.data);
    buf_put_blob(&b, NULL, 0);
    cr_assert_eq(b.size, 1);
    cr_assert_eq(b.data[0], 0);
    buf_deinit(&b);
}

Test(buf, clears_and_keeps_its_memory)
{
    struct buf b;
    size_t capacity = 0;

    buf_init(&b);
    buf_put_text(&b, "something");
    capacity = b.capacity;
    buf_clear(&b);
    cr_assert_eq(b.size, 0);
    cr_assert_eq(b.capacity, capacity);
    buf_deinit(&b);
}

Test(buf, formats_text_of_any_length)
{
    struct buf b;

    buf_init(&b);
    buf_putf(&b, "%s=%d", "x", 42);
    cr_assert_eq(b.size, 4);
    cr_assert_arr_eq(b.data, "x=42", 4);
    buf_clear(&b);
    buf_putf(&b, "%05000d", 7);
    cr_assert_eq(b.size, 5000);
    cr_assert_eq(b.data[0], '0');
    cr_assert_eq(b.data[4999], '7');
    buf_putf(&b, "%s", "");
    cr_assert_eq(b.size, 5000);
    buf_deinit(&b);
}

Test(buf, wraps_words_below_where_they_begin)
{
    static const char expected[] = "ab: one two\n"
                                   "    three\n"
                                   "    fourteenth\n"
                                   "    x\n";
    struct buf b;

    buf_init(&b);
    buf_put_text(&b, "ab: ");
    buf_put_wrapped(&b, "one two  three fourteenth x", 4, 11);
    cr_assert_eq(b.size, sizeof(expected) - 1);
    cr_assert_arr_eq(b.data, expected, b.size);
    buf_clear(&b);
    buf_put_wrapped(&b, "", 4, 11);
    cr_assert_eq(b.size, 1);
    buf_deinit(&b);
}

Test(buf, consumes_from_the_front)
{
    struct buf b;

    buf_init(&b);
    buf_consume(&b, 0);
    buf_put_text(&b, "abcdef");
    buf_consume(&b, 2);
    cr_assert_eq(b.size, 4);
    cr_assert_arr_eq(b.data, "cdef", 4);
    buf_consume(&b, 0);
    cr_assert_eq(b.size, 4);
    buf_consume(&b, 4);
    cr_assert_eq(b.size, 0);
    buf_deinit(&b);
}

Test(buf, consumes_no_more_than_it_has, .signal = SIGABRT)
{
    struct buf b;

    buf_init(&b);
    buf_put_text(&b, "abc");
    buf_consume(&b, 4);
}

Test(buf, refuses_to_grow_past_its_limit, .signal = SIGABRT)
{
    struct buf b;

    buf_init(&b);
    buf_put_u8(&b, 1);
    buf_reserve(&b, BUF_SIZE_MAX);
}

Test(buf, stores_integers_in_their_byte_order)
{
    uint8_t at[9] = {0};

    put_u16be(at + 1, 0x0102);
    cr_assert_arr_eq(at + 1, "\x01\x02", 2);
    put_u32be(at + 1, 0x01020304);
    cr_assert_arr_eq(at + 1, "\x01\x02\x03\x04", 4);
    put_u64be(at + 1, UINT64_C(0x0102030405060708));
    cr_assert_arr_eq(at + 1, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    put_u32le(at + 1, 0x01020304);
    cr_assert_arr_eq(at + 1, "\x04\x03\x02\x01", 4);
    put_u64le(at + 1, UINT64_C(0x0102030405060708));
    cr_assert_arr_eq(at + 1, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
}

Test(buf, loads_what_it_stored_at_any_alignment)
{
    struct rng r;
    uint8_t at[16];

    rng_init(&r, 1);
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t *to = at + rng_below(&r, 8);
        uint64_t v = rng_u64(&r);

        put_u16be(to, (uint16_t)v);
        cr_assert_eq(get_u16be(to), (uint16_t)v);
        put_u32be(to, (uint32_t)v);
        cr_assert_eq(get_u32be(to), (uint32_t)v);
        put_u64be(to, v);
        cr_assert_eq(get_u64be(to), v);
        put_u32le(to, (uint32_t)v);
        cr_assert_eq(get_u32le(to), (uint32_t)v);
        put_u64le(to, v);
        cr_assert_eq(get_u64le(to), v);
    }
}

/* One thing in a random sequence of them. */
struct item {
    unsigned kind;
    uint64_t value;
    uint8_t bytes[40];
    size_t size;
};

enum {
    ITEM_KINDS = 8
};

static void
item_write(struct buf *b, struct item *it, struct rng *r)
{
    it->kind = (unsigned)rng_below(r, ITEM_KINDS);
    it->value = rng_u64(r) >> rng_below(r, 64);
    it->size = (size_t)rng_below(r, sizeof(it->bytes));
    rng_fill(r, it->bytes, it->size);
    switch (it->kind) {
    case 0:
        buf_put_u8(b, (uint8_t)it->value);
        break;
    case 1:
        buf_put_u16be(b, (uint16_t)it->value);
        break;
    case 2:
        buf_put_u32be(b, (uint32_t)it->value);
        break;
    case 3:
        buf_put_u64be(b, it->value);
        break;
    case 4:
        buf_put_u32le(b, (uint32_t)it->value);
        break;
    case 5:
        buf_put_u64le(b, it->value);
        break;
    case 6:
        buf_put_varint(b, it->value);
        break;
    default:
        buf_put_blob(b, it->bytes, it->size);
        break;
    }
}

/* Whether the next thing that C reads is IT. */
static bool
item_is_next(struct cursor *c, const struct item *it)
{
    const uint8_t *bytes = NULL;
    size_t size = 0;

    switch (it->kind) {
    case 0:
        return cursor_u8(c) == (uint8_t)it->value;
    case 1:
        return cursor_u16be(c) == (uint16_t)it->value;
    case 2:
        return cursor_u32be(c) == (uint32_t)it->value;
    case 3:
        return cursor_u64be(c) == it->value;
    case 4:
        return cursor_u32le(c) == (uint32_t)it->value;
    case 5:
        return cursor_u64le(c) == it->value;
    case 6:
        return cursor_varint(c) == it->value;
    default:
        bytes = cursor_blob(c, &size);
        return bytes != NULL && size == it->size &&
               memcmp(bytes, it->bytes, size) == 0;
    }
}

Test(cursor, reads_back_any_sequence_and_is_bad_for_any_prefix)
{
    enum {
        ITEMS = 12
    };
    struct item items[ITEMS];
    struct buf b;
    struct rng r;

    rng_init(&r, 2);
    buf_init(&b);
    for (unsigned round = 0; round < 300; round++) {
        struct cursor c;
        uint8_t *exact = NULL;

        buf_clear(&b);
        for (size_t i = 0; i < ITEMS; i++) {
            item_write(&b, &items[i], &r);
        }
        /* A copy without a byte to spare: sanitizers see any overrun. */
        exact = mem_dup(b.data, b.size);
        cursor_init(&c, exact, b.size);
        for (size_t i = 0; i < ITEMS; i++) {
            cr_assert(item_is_next(&c, &items[i]), "round %u", round);
        }
        cr_assert_eq(cursor_left(&c), 0);
        cr_assert(!c.bad);
        mem_free(exact);
        for (size_t cut = 0; cut < b.size; cut++) {
            exact = mem_dup(b.data, cut);
            cursor_init(&c, exact, cut);
            for (size_t i = 0; i < ITEMS; i++) {
                (void)item_is_next(&c, &items[i]);
            }
            cr_assert(c.bad, "round %u, cut at %zu", round, cut);
            cr_assert_eq(cursor_left(&c), 0);
            mem_free(exact);
        }
    }
    buf_deinit(&b);
}

Test(cursor, stays_bad_and_reads_zeros)
{
    struct cursor c;
    size_t size = 1;

    cursor_init(&c, "\x01\x02\x03", 3);
    cr_assert_eq(cursor_u32be(&c), 0);
    cr_assert(c.bad);
    cr_assert_eq(cursor_left(&c), 0);
    cr_assert_eq(cursor_u8(&c), 0);
    cr_assert_eq(cursor_u16be(&c), 0);
    cr_assert_eq(cursor_u64be(&c), 0);
    cr_assert_eq(cursor_u32le(&c), 0);
    cr_assert_eq(cursor_u64le(&c), 0);
    cr_assert_eq(cursor_varint(&c), 0);
    cr_assert_null(cursor_bytes(&c, 0));
    cr_assert_null(cursor_blob(&c, &size));
    cr_assert_eq(size, 0);
    cr_assert(c.bad);
}

Test(cursor, reads_nothing_from_nowhere)
{
    struct cursor c;

    cursor_init(&c, NULL, 0);
    cr_assert_eq(cursor_left(&c), 0);
    cr_assert_not_null(cursor_bytes(&c, 0));
    cr_assert(!c.bad);
    cr_assert_eq(cursor_u8(&c), 0);
    cr_assert(c.bad);
}

Test(cursor, fails_when_its_decoder_says_so)
{
    struct cursor c;

    cursor_init(&c, "abc", 3);
    cr_assert_eq(cursor_u8(&c), 'a');
    cursor_fail(&c);
    cr_assert(c.bad);
    cr_assert_eq(cursor_u8(&c), 0);
}

Test(cursor, borrows_bytes_of_the_input)
{
    static const char input[] = "abcdef";
    struct cursor c;

    cursor_init(&c, input, 6);
    cr_assert_eq(cursor_bytes(&c, 2), (const uint8_t *)input);
    cr_assert_eq(cursor_bytes(&c, 4), (const uint8_t *)input + 2);
    cr_assert_null(cursor_bytes(&c, 1));
}

Test(cursor, refuses_a_blob_longer_than_any_memory)
{
    struct buf b;
    struct cursor c;
    size_t size = 1;

    buf_init(&b);
    buf_put_varint(&b, UINT64_MAX);
    buf_put_text(&b, "short");
    cursor_init(&c, b.data, b.size);
    cr_assert_null(cursor_blob(&c, &size));
    cr_assert_eq(size, 0);
    cr_assert(c.bad);
    buf_deinit(&b);
}

/* The varint at the beginning of SIZE bytes at TEXT; C is left behind it. */
static uint64_t
varint_of(struct cursor *c, const char *text, size_t size)
{
    cursor_init(c, text, size);
    return cursor_varint(c);
}

Test(varint, has_the_size_its_bits_need)
{
    struct buf b;

    buf_init(&b);
    for (unsigned bits = 0; bits <= 64; bits++) {
        uint64_t v = bits == 0 ? 0 : UINT64_MAX >> (64 - bits);
        struct cursor c;

        buf_clear(&b);
        buf_put_varint(&b, v);
        cr_assert_eq(b.size, bits == 0 ? 1 : (bits + 6) / 7);
        cr_assert_eq(varint_of(&c, (const char *)b.data, b.size), v);
        cr_assert_eq(cursor_left(&c), 0);
        cr_assert(!c.bad);
    }
    buf_deinit(&b);
}

Test(varint, may_be_longer_than_needed_up_to_ten_bytes)
{
    struct cursor c;

    cr_assert_eq(varint_of(&c, "\x81\x00", 2), 1);
    cr_assert(!c.bad);
    cr_assert_eq(varint_of(&c, "\x81\x80\x80\x80\x80\x80\x80\x80\x80\x00", 10),
                 1);
    cr_assert(!c.bad);
}

Test(varint, of_eleven_bytes_is_bad)
{
    struct cursor c;

    cr_assert_eq(
        varint_of(&c, "\x81\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11), 0);
    cr_assert(c.bad);
}

Test(varint, of_more_than_64_bits_is_bad)
{
    struct cursor c;

    cr_assert_eq(varint_of(&c, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10),
                 UINT64_MAX);
    cr_assert(!c.bad);
    cr_assert_eq(varint_of(&c, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10),
                 0);
    cr_assert(c.bad);
}

Test(varint, cut_short_is_bad)
{
    struct cursor c;

    cr_assert_eq(varint_of(&c, "\x80\x80", 2), 0);
    cr_assert(c.bad);
    cr_assert_eq(varint_of(&c, "", 0), 0);
    cr_assert(c.bad);
}
