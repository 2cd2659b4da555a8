/* RFC 4648's own vectors, and what must not be taken for base64. */
#include <quorate/error.h>

#include "auth/base64.h"
#include "base/rng.h"
#include "lib/harness.h"

static void
check(const char *plain, const char *encoded, const char *padded)
{
    char text[16] = "";
    uint8_t bytes[16];
    size_t size = 0;

    cr_assert_eq(BASE64_SIZE(strlen(plain)), strlen(encoded));
    base64_encode(plain, strlen(plain), text);
    cr_assert_str_eq(text, encoded);
    cr_assert_eq(base64_decode(encoded, strlen(encoded), bytes, 16, &size), 0);
    cr_assert_eq(size, strlen(plain));
    cr_assert_arr_eq(bytes, plain, size);
    cr_assert_eq(base64_decode(padded, strlen(padded), bytes, 16, &size), 0);
    cr_assert_eq(size, strlen(plain));
    cr_assert_arr_eq(bytes, plain, size);
}

Test(base64, agrees_with_rfc_4648)
{
    check("", "", "");
    check("f", "Zg", "Zg==");
    check("foo", "Zm9v", "Zm9v");
    check("foob", "Zm9vYg", "Zm9vYg==");
    check("fooba", "Zm9vYmE", "Zm9vYmE=");
    check("foobar", "Zm9vYmFy", "Zm9vYmFy");
}

static int
decode(const char *text)
{
    uint8_t bytes[4];
    size_t size = 0;

    return base64_decode(text, strlen(text), bytes, sizeof(bytes), &size);
}

Test(base64, refuses_what_is_none)
{
    cr_assert_eq(decode("Z"), -QR_EFORMAT);
    cr_assert_eq(decode("Zm9vY"), -QR_EFORMAT);
    cr_assert_eq(decode("Z==="), -QR_EFORMAT);
    cr_assert_eq(decode("===="), -QR_EFORMAT);
    cr_assert_eq(decode("Zg="), -QR_EFORMAT, "too little padding");
    cr_assert_eq(decode("Zm9v="), -QR_EFORMAT, "too much padding");
    cr_assert_eq(decode("Zm=v"), -QR_EFORMAT, "padding in the middle");
    cr_assert_eq(decode("Zm 8"), -QR_EFORMAT);
    cr_assert_eq(decode("Zm-8"), -QR_EFORMAT, "the alphabet of URLs");
    cr_assert_eq(decode("Zh"), -QR_EFORMAT, "spare bits that are set");
    cr_assert_eq(decode("Zm9vYmE"), -QR_ETOOBIG);
    cr_assert_eq(decode("Zm9vYg"), 0);
}

Test(base64, gives_back_what_it_was_given)
{
    struct rng rng;
    uint8_t bytes[64];
    uint8_t back[64];
    char text[BASE64_SIZE(64)];
    size_t size = 0;

    rng_init(&rng, 3);
    for (unsigned round = 0; round < 5000; round++) {
        size_t count = (size_t)rng_below(&rng, sizeof(bytes) + 1);

        rng_fill(&rng, bytes, count);
        base64_encode(bytes, count, text);
        cr_assert_eq(
            base64_decode(text, BASE64_SIZE(count), back, sizeof(back), &size),
            0);
        cr_assert_eq(size, count);
        cr_assert_arr_eq(back, bytes, count);
    }
}
