/* Passwords: ours, RabbitMQ's, and hashes that are not. */
#include <quorate/error.h>

#include "auth/base64.h"
#include "auth/password.h"
#include "base/rng.h"
#include "lib/harness.h"

static int
verify(const char *password, const char *encoded)
{
    return password_verify(password, strlen(password), encoded,
                           strlen(encoded));
}

Test(password, what_was_encoded_is_verified)
{
    static const uint8_t salt[PASSWORD_SALT_SIZE] = "0123456789abcdef";
    char encoded[PASSWORD_ENCODED_SIZE];

    cr_assert_eq(password_encode("guest", 5, salt, encoded), 0);
    cr_assert_eq(
        strncmp(encoded, "$scrypt$ln=14,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$", 45),
        0, "%s", encoded);
    cr_assert(password_is_encoded(encoded, strlen(encoded)));
    cr_assert_eq(verify("guest", encoded), 0);
    cr_assert_eq(verify("guesT", encoded), -QR_EACCESS);
    cr_assert_eq(verify("guest ", encoded), -QR_EACCESS);
    cr_assert_eq(verify("", encoded), -QR_EACCESS);
}

/* RFC 7914, section 12: scrypt("pleaseletmein", "SodiumChloride", 16384, 8,
 * 1), the first 32 of its 64 bytes (PBKDF2's first block). */
Test(password, agrees_with_rfc_7914)
{
    static const uint8_t hash[32] = {
        0x70, 0x23, 0xbd, 0xcb, 0x3a, 0xfd, 0x73, 0x48, 0x46, 0x1c, 0x06,
        0xcd, 0x81, 0xfd, 0x38, 0xeb, 0xfd, 0xa8, 0xfb, 0xba, 0x90, 0x4f,
        0x8e, 0x3e, 0xa9, 0xb5, 0x43, 0xf6, 0x54, 0x5d, 0xa1, 0xf2};
    char encoded[128] = "$scrypt$ln=14,r=8,p=1$";
    size_t used = strlen(encoded);

    base64_encode("SodiumChloride", 14, encoded + used);
    used += BASE64_SIZE(14);
    encoded[used++] = '$';
    base64_encode(hash, sizeof(hash), encoded + used);
    encoded[used + BASE64_SIZE(sizeof(hash))] = '\0';
    cr_assert_eq(verify("pleaseletmein", encoded), 0);
    cr_assert_eq(verify("pleaseletmeout", encoded), -QR_EACCESS);
}

/* The example of RabbitMQ's own documentation of password hashing. */
Test(password, verifies_hashes_of_rabbitmq)
{
    static const char sha256[] =
        "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
    char wrong[sizeof(sha256)];

    cr_assert(password_is_encoded(sha256, strlen(sha256)));
    cr_assert_eq(verify("test12", sha256), 0);
    cr_assert_eq(verify("test13", sha256), -QR_EACCESS);
    memcpy(wrong, sha256, sizeof(wrong));
    wrong[0] = 'l';
    cr_assert_eq(verify("test12", wrong), -QR_EACCESS, "another salt");
}

/* Salt "salt"; made with Python's hashlib. */
Test(password, verifies_sha_512)
{
    static const char sha512[] =
        "c2FsdJkBhH/4x2vV+0c7e9Lk9N3REDMqUqiI/WnesnZhOIXd84LlzxIQ7Q3s"
        "24AQrjmUMxqeBjnDyn6eixEN1Ql4znY=";

    cr_assert_eq(verify("secret", sha512), 0);
    cr_assert_eq(verify("Secret", sha512), -QR_EACCESS);
}

Test(password, an_empty_hash_lets_nobody_in)
{
    cr_assert(password_is_encoded("", 0));
    cr_assert_eq(verify("", ""), -QR_EACCESS);
    cr_assert_eq(verify("x", ""), -QR_EACCESS);
}

Test(password, the_decoy_takes_its_time_and_lets_nobody_in)
{
    cr_assert(password_is_encoded(password_decoy(), strlen(password_decoy())));
    cr_assert_eq(verify("guest", password_decoy()), -QR_EACCESS);
}

Test(password, sizes_have_limits)
{
    static const uint8_t salt[PASSWORD_SALT_SIZE] = {1};
    static char big[PASSWORD_SIZE_MAX + 1];
    char encoded[PASSWORD_ENCODED_SIZE];

    memset(big, 'p', sizeof(big));
    cr_assert_eq(password_encode("", 0, salt, encoded), -QR_EINVAL);
    cr_assert_eq(password_encode(big, sizeof(big), salt, encoded), -QR_ETOOBIG);
    cr_assert_eq(password_encode(big, sizeof(big) - 1, salt, encoded), 0);
    cr_assert_eq(
        password_verify(big, sizeof(big) - 1, encoded, strlen(encoded)), 0);
    cr_assert_eq(password_verify(big, sizeof(big), encoded, strlen(encoded)),
                 -QR_EACCESS);
}

Test(password, hashes_that_are_none_are_refused)
{
    static const char *const wrong[] = {
        "x",
        "guest",
        "$scrypt$",
        "$scrypt$ln=14,r=8,p=1$",
        "$scrypt$ln=14,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$",
        "$scrypt$ln=14,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
        "$scrypt$ln=14,r=8,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=14,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA$A",
        "$scrypt$ln=0,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=19,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=14,r=9,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=14,r=8,p=5$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=14,r=8,p=0$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=14,r=8$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=14,r=8,p=1,q=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=0014,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAA",
        "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2PO",
        "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR0000"};
    static char big[PASSWORD_ENCODED_SIZE_MAX + 1];

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_assert(!password_is_encoded(wrong[i], strlen(wrong[i])), "%s",
                  wrong[i]);
        cr_assert_eq(verify("guest", wrong[i]), -QR_EFORMAT, "%s", wrong[i]);
    }
    memset(big, 'A', sizeof(big));
    cr_assert(!password_is_encoded(big, sizeof(big)));
}
