/* CRC-32C: the vectors of RFC 3720, and each implementation against the
 * definition and against the other. */
#include "base/check.h"
#include "base/crc32c.h"
#include "base/crc32c_table.h"
#include "base/rng.h"
#include "lib/harness.h"

enum {
    INPUT_SIZE = 2048
};

struct vector {
    uint8_t bytes[48];
    size_t size;
    uint32_t crc;
};

/* RFC 3720, appendix B.4, except for the customary check value at the end. */
static const struct vector VECTORS[] = {
    {{0}, 32, 0x8a9136aa},
    {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
     32,
     0x62a8ab43},
    {{0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
      16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31},
     32,
     0x46dd794e},
    {{31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16,
      15, 14, 13, 12, 11, 10, 9,  8,  7,  6,  5,  4,  3,  2,  1,  0},
     32,
     0x113fdb5c},
    {{0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
      0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00},
     48,
     0xd9963a56},
    {{'1', '2', '3', '4', '5', '6', '7', '8', '9'}, 9, 0xe3069283},
};

/* The definition, a bit at a time. */
static uint32_t
crc_by_bits(uint32_t crc, const uint8_t *data, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
        }
    }
    return ~crc;
}

Test(crc32c, gives_the_vectors_of_rfc_3720)
{
    for (size_t i = 0; i < ARRAY_COUNT(VECTORS); i++) {
        const struct vector *v = &VECTORS[i];

        cr_assert_eq(crc32c(0, v->bytes, v->size), v->crc, "vector %zu", i);
        cr_assert_eq(crc32c_by_table(0, v->bytes, v->size), v->crc);
    }
}

Test(crc32c, has_tables_that_follow_from_the_polynomial)
{
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t crc = n;

        for (size_t row = 0; row < CRC32C_ROWS; row++) {
            for (int bit = 0; bit < 8; bit++) {
                crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
            }
            cr_assert_eq(CRC32C_TABLE[row][n], crc);
        }
    }
}

Test(crc32c, agrees_with_its_definition_at_any_size_and_alignment)
{
    uint8_t input[INPUT_SIZE];
    struct rng r;

    rng_init(&r, 3);
    rng_fill(&r, input, sizeof(input));
    for (size_t size = 0; size < 300; size++) {
        const uint8_t *at = input + rng_below(&r, 64);
        uint32_t from = (uint32_t)rng_u64(&r);
        uint32_t expected = crc_by_bits(from, at, size);

        cr_assert_eq(crc32c(from, at, size), expected, "size %zu", size);
        cr_assert_eq(crc32c_by_table(from, at, size), expected);
    }
}

Test(crc32c, agrees_between_instruction_and_tables)
{
    uint8_t input[INPUT_SIZE];
    struct rng r;

    if (!crc32c_has_instruction()) {
        return;
    }
    rng_init(&r, 4);
    for (unsigned round = 0; round < 2000; round++) {
        size_t offset = (size_t)rng_below(&r, 16);
        size_t size = (size_t)rng_below(&r, INPUT_SIZE - offset);
        uint32_t from = (uint32_t)rng_u64(&r);

        rng_fill(&r, input, 64);
        cr_assert_eq(crc32c_by_instruction(from, input + offset, size),
                     crc32c_by_table(from, input + offset, size));
    }
}

Test(crc32c, chains)
{
    uint8_t input[INPUT_SIZE];
    struct rng r;
    uint32_t whole = 0;

    rng_init(&r, 5);
    rng_fill(&r, input, sizeof(input));
    whole = crc32c(0, input, sizeof(input));
    for (size_t cut = 0; cut <= sizeof(input); cut += 13) {
        uint32_t part = crc32c(0, input, cut);

        cr_assert_eq(crc32c(part, input + cut, sizeof(input) - cut), whole);
    }
}

Test(crc32c, of_nothing_is_what_came_before)
{
    cr_assert_eq(crc32c(0, NULL, 0), 0);
    cr_assert_eq(crc32c(0x12345678, NULL, 0), 0x12345678);
    cr_assert_eq(crc32c_by_table(0x12345678, NULL, 0), 0x12345678);
}
