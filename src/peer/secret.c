/* The cluster secret.
 *
 * The key of the links is a hash of the secret with a label, so that the
 * fingerprint, a plain hash that is shown in logs, tells nothing of it. */
#include "peer/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"

static const char secret_label[] = "quorate link key 1";

enum {
    SECRET_HASH_SIZE = 32
};

/* SHA-256 of A and B, one after the other. */
static void
secret_hash(const void *a, size_t a_size, const void *b, size_t b_size,
            uint8_t out[SECRET_HASH_SIZE])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned size = 0;

    ASSERT(ctx != NULL);
    ASSERT(EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1);
    ASSERT(EVP_DigestUpdate(ctx, a, a_size) == 1);
    ASSERT(EVP_DigestUpdate(ctx, b, b_size) == 1);
    ASSERT(EVP_DigestFinal_ex(ctx, out, &size) == 1);
    ASSERT(size == SECRET_HASH_SIZE);
    EVP_MD_CTX_free(ctx);
}

static bool
secret_is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

int
secret_derive(const void *data, size_t size, struct secret *out,
              struct error *err)
{
    const uint8_t *bytes = data;
    uint8_t hash[SECRET_HASH_SIZE];

    while (size > 0 && secret_is_space(bytes[size - 1])) {
        size--;
    }
    if (size < SECRET_SIZE_MIN || size > SECRET_SIZE_MAX) {
        return error_set(err, QR_EINVAL,
                         "the cluster secret has %zu bytes, it must have %d "
                         "to %d; make one with: openssl rand -hex 32",
                         size, SECRET_SIZE_MIN, SECRET_SIZE_MAX);
    }
    /* With its NUL: no secret can begin where the label ends. */
    secret_hash(secret_label, sizeof(secret_label), bytes, size, out->key);
    secret_hash(bytes, size, "", 0, hash);
    (void)snprintf(out->fingerprint, sizeof(out->fingerprint),
                   "%02x%02x%02x%02x", hash[0], hash[1], hash[2], hash[3]);
    return 0;
}

/* Whether the open file FD may hold a secret. */
static int
secret_check_file(int fd, const char *path, struct error *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0) {
        return error_set(err, QR_EIO, "cluster secret %s: cannot be examined",
                         path);
    }
    if (!S_ISREG(st.st_mode)) {
        return error_set(err, QR_EACCESS, "cluster secret %s: not a plain file",
                         path);
    }
    if (st.st_uid != geteuid() && st.st_uid != 0) {
        return error_set(err, QR_EACCESS,
                         "cluster secret %s: belongs to user %u; change it "
                         "with: chown %u %s",
                         path, st.st_uid, geteuid(), path);
    }
    if ((st.st_mode & 07777) != 0400 && (st.st_mode & 07777) != 0600) {
        return error_set(err, QR_EACCESS,
                         "cluster secret %s: has mode %04o, others must not "
                         "read it; change it with: chmod 0400 %s",
                         path, st.st_mode & 07777, path);
    }
    return 0;
}

/* Read the whole of FD, at most SIZE bytes; the count or -1. */
static ssize_t
secret_read_all(int fd, uint8_t *dst, size_t size)
{
    size_t got = 0;

    while (got < size) {
        ssize_t part = read(fd, dst + got, size - got);

        if (part < 0 && errno == EINTR) {
            continue;
        }
        if (part < 0) {
            return -1;
        }
        if (part == 0) {
            break;
        }
        got += (size_t)part;
    }
    return (ssize_t)got;
}

int
secret_load(const char *path, struct secret *out, struct error *err)
{
    /* One byte and some white space more than is allowed: then it is seen. */
    uint8_t bytes[SECRET_SIZE_MAX + 16];
    ssize_t size = 0;
    int rv = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 && errno == ENOENT) {
        return error_set(err, QR_ENOENT,
                         "cluster secret %s: there is no such file; make it "
                         "on one node and copy it to the others: (umask 077; "
                         "openssl rand -hex 32 > %s)",
                         path, path);
    }
    if (fd < 0) {
        return error_set(err, errno == EACCES ? QR_EACCESS : QR_EIO,
                         "cluster secret %s: cannot be opened by user %u", path,
                         geteuid());
    }
    rv = secret_check_file(fd, path, err);
    if (rv == 0) {
        size = secret_read_all(fd, bytes, sizeof(bytes));
        rv = size < 0 ? error_set(err, QR_EIO,
                                  "cluster secret %s: cannot be read", path)
                      : secret_derive(bytes, (size_t)size, out, err);
    }
    (void)close(fd);
    mem_wipe(bytes, sizeof(bytes));
    return error_wrap(rv == -QR_EINVAL ? err : NULL, rv, "%s", path);
}

void
secret_wipe(struct secret *secret)
{
    mem_wipe(secret, sizeof(*secret));
}
