/* Encoding and verifying password hashes. An encoded hash is parsed into what
 * must be computed and what must come out; computing is one call of OpenSSL. */
#include "auth/password.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <quorate/error.h>
#include <string.h>

#include "auth/base64.h"
#include "base/buf.h"
#include "base/mem.h"

enum {
    PASSWORD_HASH_SIZE = 32,
    PASSWORD_COST_LOG2 = 14,
    PASSWORD_BLOCK = 8,
    PASSWORD_LANES = 1,
    PASSWORD_RABBIT_SALT_SIZE = 4,
    PASSWORD_FIELD_SIZE_MAX = 68 /* bytes decoded of one field */
};

static const char PASSWORD_PREFIX[] = "$scrypt$";

enum password_kind {
    PASSWORD_SCRYPT,
    PASSWORD_SHA256,
    PASSWORD_SHA512
};

/* A parsed hash. */
struct password_hash {
    enum password_kind kind;
    unsigned cost_log2; /* scrypt's N, r and p */
    unsigned block;
    unsigned lanes;
    uint8_t salt[PASSWORD_FIELD_SIZE_MAX];
    size_t salt_size;
    uint8_t hash[PASSWORD_FIELD_SIZE_MAX];
    size_t hash_size;
};

/* Take the text before the next `$`, or the rest, off *AT. */
static size_t
password_field(const char **at, const char *end, const char **field)
{
    size_t left = (size_t)(end - *at);
    const char *stop = left > 0 ? memchr(*at, '$', left) : NULL;
    size_t size = stop != NULL ? (size_t)(stop - *at) : left;

    *field = *at;
    *at = stop != NULL ? stop + 1 : end;
    return size;
}

/* Read NAME and a number of at most three digits at *AT. */
static bool
password_number(const char **at, const char *end, const char *name,
                unsigned *out)
{
    size_t size = strlen(name);
    const char *digits = NULL;

    if ((size_t)(end - *at) < size || memcmp(*at, name, size) != 0) {
        return false;
    }
    digits = *at + size;
    *out = 0;
    for (*at = digits; *at < end && **at >= '0' && **at <= '9'; *at += 1) {
        if (*at - digits >= 3) {
            return false;
        }
        *out = *out * 10 + (unsigned)(**at - '0');
    }
    return *at > digits;
}

/* "ln=14,r=8,p=1", within what we are willing to compute. */
static bool
password_parse_costs(const char *text, size_t size, struct password_hash *h)
{
    const char *at = text;
    const char *end = text + size;

    return password_number(&at, end, "ln=", &h->cost_log2) &&
           password_number(&at, end, ",r=", &h->block) &&
           password_number(&at, end, ",p=", &h->lanes) && at == end &&
           h->cost_log2 >= 1 && h->cost_log2 <= PASSWORD_COST_LOG2_MAX &&
           h->block >= 1 && h->block <= PASSWORD_BLOCK_MAX && h->lanes >= 1 &&
           h->lanes <= PASSWORD_LANES_MAX;
}

static bool
password_parse_scrypt(const char *at, size_t size, struct password_hash *h)
{
    const char *end = at + size;
    const char *field = NULL;
    size_t field_size = password_field(&at, end, &field);

    h->kind = PASSWORD_SCRYPT;
    if (!password_parse_costs(field, field_size, h)) {
        return false;
    }
    field_size = password_field(&at, end, &field);
    if (base64_decode(field, field_size, h->salt, sizeof(h->salt),
                      &h->salt_size) != 0) {
        return false;
    }
    field_size = password_field(&at, end, &field);
    return base64_decode(field, field_size, h->hash, sizeof(h->hash),
                         &h->hash_size) == 0 &&
           at == end && h->salt_size >= 8 && h->hash_size >= 16;
}

static bool
password_parse_rabbit(const char *text, size_t size, struct password_hash *h)
{
    uint8_t bytes[PASSWORD_FIELD_SIZE_MAX];
    size_t count = 0;

    if (base64_decode(text, size, bytes, sizeof(bytes), &count) != 0 ||
        (count != PASSWORD_RABBIT_SALT_SIZE + 32 &&
         count != PASSWORD_RABBIT_SALT_SIZE + 64)) {
        return false;
    }
    h->salt_size = PASSWORD_RABBIT_SALT_SIZE;
    h->hash_size = count - PASSWORD_RABBIT_SALT_SIZE;
    h->kind = h->hash_size == 32 ? PASSWORD_SHA256 : PASSWORD_SHA512;
    memcpy(h->salt, bytes, h->salt_size);
    memcpy(h->hash, bytes + h->salt_size, h->hash_size);
    return true;
}

static bool
password_parse(const char *encoded, size_t size, struct password_hash *h)
{
    size_t prefix = sizeof(PASSWORD_PREFIX) - 1;

    if (size > PASSWORD_ENCODED_SIZE_MAX) {
        return false;
    }
    if (size > prefix && memcmp(encoded, PASSWORD_PREFIX, prefix) == 0) {
        return password_parse_scrypt(encoded + prefix, size - prefix, h);
    }
    return password_parse_rabbit(encoded, size, h);
}

static int
password_scrypt(const char *password, size_t size,
                const struct password_hash *h, uint8_t *out)
{
    uint64_t n = (uint64_t)1 << h->cost_log2;
    /* RFC 7914: 128 N r bytes, 128 r p for the lanes; and some to spare. */
    uint64_t memory = (uint64_t)128 * h->block * (n + h->lanes + 2) + 65536;

    return EVP_PBE_scrypt(password, size, h->salt, h->salt_size, n, h->block,
                          h->lanes, memory, out, h->hash_size) == 1
               ? 0
               : -QR_EIO;
}

static int
password_sha(const char *password, size_t size, const struct password_hash *h,
             uint8_t *out)
{
    uint8_t bytes[PASSWORD_RABBIT_SALT_SIZE + PASSWORD_SIZE_MAX];
    const EVP_MD *md = h->kind == PASSWORD_SHA256 ? EVP_sha256() : EVP_sha512();
    unsigned out_size = 0;
    int ok = 0;

    ASSERT(h->salt_size == PASSWORD_RABBIT_SALT_SIZE);
    ASSERT(size <= PASSWORD_SIZE_MAX);
    memcpy(bytes, h->salt, h->salt_size);
    memcpy(bytes + h->salt_size, password, size);
    ok = EVP_Digest(bytes, h->salt_size + size, out, &out_size, md, NULL);
    mem_wipe(bytes, sizeof(bytes));
    return ok == 1 && out_size == h->hash_size ? 0 : -QR_EIO;
}

int
password_encode(const char *password, size_t size,
                const uint8_t salt[PASSWORD_SALT_SIZE],
                char out[PASSWORD_ENCODED_SIZE])
{
    struct password_hash h = {.kind = PASSWORD_SCRYPT,
                              .cost_log2 = PASSWORD_COST_LOG2,
                              .block = PASSWORD_BLOCK,
                              .lanes = PASSWORD_LANES,
                              .salt_size = PASSWORD_SALT_SIZE,
                              .hash_size = PASSWORD_HASH_SIZE};
    struct buf text;
    int rv = 0;

    if (size == 0) {
        return -QR_EINVAL;
    }
    if (size > PASSWORD_SIZE_MAX) {
        return -QR_ETOOBIG;
    }
    memcpy(h.salt, salt, PASSWORD_SALT_SIZE);
    rv = password_scrypt(password, size, &h, h.hash);
    if (rv != 0) {
        return rv;
    }
    buf_init(&text);
    buf_putf(&text, "%sln=%u,r=%u,p=%u$", PASSWORD_PREFIX, h.cost_log2, h.block,
             h.lanes);
    base64_encode(h.salt, h.salt_size,
                  (char *)buf_extend(&text, BASE64_SIZE(h.salt_size)));
    buf_put_u8(&text, '$');
    base64_encode(h.hash, h.hash_size,
                  (char *)buf_extend(&text, BASE64_SIZE(h.hash_size)));
    buf_put_u8(&text, 0);
    ASSERT(text.size <= PASSWORD_ENCODED_SIZE);
    memcpy(out, text.data, text.size);
    buf_deinit(&text);
    return 0;
}

int
password_verify(const char *password, size_t size, const char *encoded,
                size_t encoded_size)
{
    struct password_hash h = {.kind = PASSWORD_SCRYPT};
    uint8_t computed[PASSWORD_FIELD_SIZE_MAX];
    int rv = 0;

    if (encoded_size == 0 || size == 0 || size > PASSWORD_SIZE_MAX) {
        return -QR_EACCESS;
    }
    if (!password_parse(encoded, encoded_size, &h)) {
        return -QR_EFORMAT;
    }
    rv = h.kind == PASSWORD_SCRYPT
             ? password_scrypt(password, size, &h, computed)
             : password_sha(password, size, &h, computed);
    if (rv == 0 && CRYPTO_memcmp(computed, h.hash, h.hash_size) != 0) {
        rv = -QR_EACCESS;
    }
    mem_wipe(computed, sizeof(computed));
    return rv;
}

bool
password_is_encoded(const char *encoded, size_t encoded_size)
{
    struct password_hash h = {.kind = PASSWORD_SCRYPT};

    return encoded_size == 0 || password_parse(encoded, encoded_size, &h);
}

const char *
password_decoy(void)
{
    return "$scrypt$ln=14,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
           "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
}
