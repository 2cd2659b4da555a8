/* What clients send to log in, and password hashes that are imported: PLAIN,
 * AMQPLAIN, and the encoded forms. */
#include <string.h>

#include "auth/amqplain.h"
#include "auth/password.h"
#include "auth/plain.h"
#include "base/check.h"
#include "base/rng.h"
#include "fuzz/fuzz.h"

/* C lies within the SIZE bytes at DATA. */
static void
check_within(const struct credential *c, const uint8_t *data, size_t size)
{
    const char *from = (const char *)data;

    ASSERT(c->user_size > 0);
    ASSERT(c->user >= from);
    ASSERT(c->user + c->user_size <= from + size);
    ASSERT(c->password >= from);
    ASSERT(c->password + c->password_size <= from + size);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct credential c = {NULL, 0, NULL, 0};

    if (plain_parse(data, size, &c) == 0) {
        check_within(&c, data, size);
        ASSERT(memchr(c.user, 0, c.user_size) == NULL);
    }
    if (amqplain_parse(data, size, &c) == 0) {
        check_within(&c, data, size);
    }
    if (password_is_encoded((const char *)data, size)) {
        ASSERT(size <= PASSWORD_ENCODED_SIZE_MAX);
    }
    return 0;
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    static const char plain[] = "\0guest\0secret";
    static const char amqplain[] = "\x05LOGINS\0\0\0\x05guest"
                                   "\x01xI\0\0\0\1"
                                   "\x08PASSWORDS\0\0\0\x06secret";
    static const char rabbit[] =
        "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
    const char *seeds[] = {plain, amqplain, rabbit, password_decoy()};
    size_t sizes[] = {sizeof(plain) - 1, sizeof(amqplain) - 1,
                      sizeof(rabbit) - 1, strlen(password_decoy())};
    size_t pick = (size_t)rng_below(r, ARRAY_COUNT(seeds));

    ASSERT(sizes[pick] <= capacity);
    memcpy(at, seeds[pick], sizes[pick]);
    return sizes[pick];
}
