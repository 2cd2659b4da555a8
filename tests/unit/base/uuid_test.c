/* UUIDs and their text. */
#include <quorate/error.h>

#include "base/rng.h"
#include "base/uuid.h"
#include "lib/harness.h"

#define TEXT "00112233-4455-6677-8899-aabbccddeeff"

static const struct uuid COUNTING = {{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66,
                                      0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd,
                                      0xee, 0xff}};

Test(uuid, writes_its_canonical_form)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(&COUNTING, text);
    cr_assert_str_eq(text, TEXT);
}

Test(uuid, reads_either_case)
{
    struct uuid u;

    cr_assert_eq(uuid_parse(TEXT, &u), 0);
    cr_assert(uuid_is_equal(&u, &COUNTING));
    cr_assert_eq(uuid_parse("00112233-4455-6677-8899-AABBCCDDEEFF", &u), 0);
    cr_assert(uuid_is_equal(&u, &COUNTING));
}

Test(uuid, reads_what_it_writes)
{
    struct rng r;

    rng_init(&r, 16);
    for (unsigned i = 0; i < 200; i++) {
        uint8_t random[16];
        char text[UUID_TEXT_SIZE];
        struct uuid u;
        struct uuid back;

        rng_fill(&r, random, sizeof(random));
        u = uuid_from_random(random);
        uuid_format(&u, text);
        cr_assert_eq(uuid_parse(text, &back), 0);
        cr_assert(uuid_is_equal(&u, &back));
    }
}

Test(uuid, says_its_version_and_variant)
{
    uint8_t random[16];
    char text[UUID_TEXT_SIZE];
    struct uuid u;

    memset(random, 0xff, sizeof(random));
    u = uuid_from_random(random);
    uuid_format(&u, text);
    cr_assert_str_eq(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    memset(random, 0, sizeof(random));
    u = uuid_from_random(random);
    uuid_format(&u, text);
    cr_assert_str_eq(text, "00000000-0000-4000-8000-000000000000");
    cr_assert(!uuid_is_nil(&u));
}

Test(uuid, knows_nil)
{
    struct uuid nil = {{0}};

    cr_assert(uuid_is_nil(&nil));
    cr_assert(!uuid_is_nil(&COUNTING));
    cr_assert(!uuid_is_equal(&nil, &COUNTING));
}

Test(uuid, refuses_a_changed_byte_at_any_place)
{
    struct uuid u = COUNTING;

    for (size_t i = 0; i < UUID_TEXT_SIZE - 1; i++) {
        char text[UUID_TEXT_SIZE] = TEXT;
        bool hyphen = text[i] == '-';

        text[i] = hyphen ? '0' : '-';
        cr_assert_eq(uuid_parse(text, &u), -QR_EFORMAT, "place %zu", i);
        text[i] = 'g';
        cr_assert_eq(uuid_parse(text, &u), -QR_EFORMAT, "place %zu", i);
        text[i] = '\0';
        cr_assert_eq(uuid_parse(text, &u), -QR_EFORMAT, "place %zu", i);
    }
    cr_assert(uuid_is_equal(&u, &COUNTING), "written although refused");
}

Test(uuid, refuses_what_is_longer)
{
    struct uuid u;

    cr_assert_eq(uuid_parse(TEXT "0", &u), -QR_EFORMAT);
    cr_assert_eq(uuid_parse(" " TEXT, &u), -QR_EFORMAT);
    cr_assert_eq(uuid_parse("", &u), -QR_EFORMAT);
}
