/* Password hashes, as the metadata keeps them.
 *
 * Ours: scrypt (RFC 7914) with N = 2^14, r = 8, p = 1, as a PHC string,
 *
 *   $scrypt$ln=14,r=8,p=1$SALT$HASH
 *
 * 16 and 32 bytes in base64 without padding. RabbitMQ's, as its definitions
 * have them: base64 of a salt of 4 bytes and the SHA-256 or SHA-512 of salt
 * and password; they are verified and never made.
 *
 * Hashing takes some 50 ms and 16 MiB: these are plain blocking functions for
 * the pool (env->work), callable from any thread. */
#ifndef AUTH_PASSWORD_H
#define AUTH_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

enum {
    PASSWORD_SIZE_MAX = 1024, /* bytes of a password */
    PASSWORD_SALT_SIZE = 16,
    PASSWORD_ENCODED_SIZE = 96,      /* room for what we encode, and a NUL */
    PASSWORD_ENCODED_SIZE_MAX = 256, /* of what is verified */
    PASSWORD_COST_LOG2_MAX = 18,     /* of hashes that are verified: 256 MiB */
    PASSWORD_BLOCK_MAX = 8,
    PASSWORD_LANES_MAX = 4
};

/* Hash PASSWORD with SALT, which is random, and write the encoded hash and a
 * NUL to OUT. -QR_EINVAL: the password is empty; -QR_ETOOBIG: longer than
 * PASSWORD_SIZE_MAX; -QR_EIO: OpenSSL could not. */
MUST_USE int password_encode(const char *password, size_t size,
                             const uint8_t salt[PASSWORD_SALT_SIZE],
                             char out[PASSWORD_ENCODED_SIZE]);
/* Whether PASSWORD is what ENCODED was made of, in time that does not depend
 * on how much of it is right. 0; -QR_EACCESS: it is not, or is empty or too
 * long, or ENCODED is empty (no password login); -QR_EFORMAT: no hash that we
 * know; -QR_EIO: OpenSSL could not. */
MUST_USE int password_verify(const char *password, size_t size,
                             const char *encoded, size_t encoded_size);
/* Whether password_verify() can use ENCODED: for hashes that are imported. The
 * empty one, which lets nobody in, is. */
bool password_is_encoded(const char *encoded, size_t encoded_size);
/* A hash that no password has, NUL-terminated and static: verify against it
 * when a user does not exist, so that the time taken does not tell. */
const char *password_decoy(void);

#endif
