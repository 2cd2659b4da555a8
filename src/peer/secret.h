/* The cluster secret: a file that every node has and nobody else can read.
 * Whoever knows it is a member (design.md, section 6). */
#ifndef PEER_SECRET_H
#define PEER_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct error;

enum {
    SECRET_SIZE_MIN = 16, /* bytes, without white space at the end */
    SECRET_SIZE_MAX = 4096,
    SECRET_KEY_SIZE = 32,
    SECRET_FINGERPRINT_SIZE = 9 /* 8 hexadecimal digits and a NUL */
};

/* What the links need of it; the secret itself is not kept. */
struct secret {
    uint8_t key[SECRET_KEY_SIZE];              /* of the TLS pre-shared key */
    char fingerprint[SECRET_FINGERPRINT_SIZE]; /* of SHA-256 of the secret */
};

/* Derive from SIZE bytes at DATA, white space at the end not counted.
 * -QR_EINVAL when fewer than SECRET_SIZE_MIN or more than _MAX are left. */
MUST_USE int secret_derive(const void *data, size_t size, struct secret *out,
                           struct error *err);

/* Read the secret at PATH. Refused, with what to do about it, unless it is a
 * plain file of this user (or root) with mode 0400 or 0600: -QR_EACCESS.
 * -QR_ENOENT, -QR_EIO, -QR_EINVAL as above. */
MUST_USE int secret_load(const char *path, struct secret *out,
                         struct error *err);

/* Forget. */
void secret_wipe(struct secret *secret);

#endif
