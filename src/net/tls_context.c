/* Making OpenSSL contexts.
 *
 * Sessions are resumed by tickets only, so that nothing is kept here for
 * clients that may not come back; and not at all where the peer shows a
 * certificate, since one that has expired meanwhile would not be looked at
 * again. A context with new certificates has new ticket keys. */
#include "net/tls_context.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <quorate/error.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "net/tls_cert.h"

static const char default_ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

/* The last thing that OpenSSL complained of. */
static const char *
reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return text != NULL ? text : "cannot be read";
}

static bool
is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* ---- the private key ---- */

/* Whether the open FD may hold a key. */
static int
check_key_file(int fd, const char *path, struct error *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return error_set(err, QR_EIO, "%s: not a plain file", path);
    }
    if ((st.st_mode & 0007) != 0) {
        return error_set(err, QR_EACCESS,
                         "%s: has mode %04o, but a private key must not be "
                         "open to everybody; change it with: chmod 0400 %s",
                         path, st.st_mode & 07777, path);
    }
    if (st.st_size > TLS_FILE_SIZE_MAX) {
        return error_set(err, QR_ETOOBIG, "%s: a key has at most %d bytes",
                         path, (int)TLS_FILE_SIZE_MAX);
    }
    return 0;
}

/* The file's bytes in BYTES of SIZE; the count, or -1. */
static ssize_t
read_all(int fd, char *bytes, size_t size)
{
    size_t got = 0;
    ssize_t part = 0;

    do {
        part = read(fd, bytes + got, size - got);
        got += part > 0 ? (size_t)part : 0;
    } while (part > 0 || (part < 0 && errno == EINTR));
    return part < 0 ? -1 : (ssize_t)got;
}

/* OpenSSL asks for the password of a key. */
static int
on_password(char *out, int size, int rwflag, void *arg)
{
    const char *password = arg;
    size_t length = password == NULL ? 0 : strlen(password);

    (void)rwflag;
    if (length == 0 || length > (size_t)size) {
        return -1;
    }
    /* Its length counts. NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
    memcpy(out, password, length);
    return (int)length;
}

static int
parse_key(const struct tls_config *c, const char *bytes, size_t size,
          EVP_PKEY **out, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(bytes, (int)size);
    char *password = is_set(c->password) ? mem_strdup(c->password) : NULL;

    ASSERT(bio != NULL);
    *out = PEM_read_bio_PrivateKey(bio, NULL, on_password, password);
    BIO_free(bio);
    if (password != NULL) {
        mem_wipe(password, strlen(password));
        mem_free(password);
    }
    if (*out == NULL) {
        return error_set(err, QR_EINVAL,
                         "%s: %s; a private key in PEM form is expected%s",
                         c->keyfile, reason(),
                         is_set(c->password) ? ", and its password"
                                             : ", or its password is not set");
    }
    return 0;
}

/* Read the key without a buffer that would outlive it. */
static int
load_key(const struct tls_config *c, EVP_PKEY **out, struct error *err)
{
    int fd = open(c->keyfile, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char *bytes = NULL;
    ssize_t size = 0;
    int rv = 0;

    if (fd < 0) {
        return error_set(err, errno == ENOENT ? QR_ENOENT : QR_EACCESS,
                         "%s: %s", c->keyfile, strerrordesc_np(errno));
    }
    rv = check_key_file(fd, c->keyfile, err);
    if (rv == 0) {
        bytes = mem_secret_alloc(TLS_FILE_SIZE_MAX);
        size = read_all(fd, bytes, TLS_FILE_SIZE_MAX);
        rv = size < 0 ? error_set(err, QR_EIO, "%s: cannot be read", c->keyfile)
                      : parse_key(c, bytes, (size_t)size, out, err);
        mem_secret_free(bytes, TLS_FILE_SIZE_MAX);
    }
    (void)close(fd);
    return rv;
}

static int
use_key(const struct tls_config *c, SSL_CTX *ctx, struct error *err)
{
    EVP_PKEY *key = NULL;
    int rv = load_key(c, &key, err);

    if (rv != 0) {
        return error_wrap(err, rv, "%s.keyfile", c->prefix);
    }
    if (SSL_CTX_use_PrivateKey(ctx, key) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1) {
        rv = error_set(err, QR_EINVAL,
                       "%s.keyfile: %s: it is not the key of the certificate "
                       "in %s (%s)",
                       c->prefix, c->keyfile, c->certfile, reason());
    }
    EVP_PKEY_free(key);
    return rv;
}

/* ---- certificates ---- */

/* Each certificate in the file at PATH, by FN; how many. */
static int
each_certificate(const char *path,
                 void (*fn)(struct tls_validity *v, const X509 *cert),
                 struct tls_validity *v)
{
    BIO *bio = BIO_new_file(path, "r");
    X509 *cert = NULL;
    int count = 0;

    while (bio != NULL &&
           (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        fn(v, cert);
        X509_free(cert);
        count++;
    }
    BIO_free(bio);
    ERR_clear_error();
    return count;
}

static void
note_own(struct tls_validity *v, const X509 *cert)
{
    struct buf subject;

    v->begins = MAX(v->begins, tls_cert_begins(cert));
    v->ends =
        v->ends == 0 ? tls_cert_ends(cert) : MIN(v->ends, tls_cert_ends(cert));
    if (v->subject[0] == '\0') {
        buf_init(&subject);
        tls_cert_subject(cert, &subject);
        buf_put_u8(&subject, 0);
        (void)snprintf(v->subject, sizeof(v->subject), "%s",
                       (const char *)subject.data);
        buf_deinit(&subject);
    }
}

static void
note_authority(struct tls_validity *v, const X509 *cert)
{
    int64_t ends = tls_cert_ends(cert);

    if (v->authority_ends == 0 || ends < v->authority_ends) {
        v->authority_ends = ends;
    }
}

static int
use_certificate(const struct tls_config *c, SSL_CTX *ctx,
                struct tls_validity *v, struct error *err)
{
    if (SSL_CTX_use_certificate_chain_file(ctx, c->certfile) != 1) {
        return error_set(err, QR_EINVAL,
                         "%s.certfile: %s: %s; a certificate in PEM form is "
                         "expected, and those of its chain behind it",
                         c->prefix, c->certfile, reason());
    }
    (void)each_certificate(c->certfile, note_own, v);
    return 0;
}

static int
use_authorities(const struct tls_config *c, SSL_CTX *ctx,
                struct tls_validity *v, struct error *err)
{
    STACK_OF(X509_NAME) *names = NULL;

    if (!is_set(c->cacertfile)) {
        return 0;
    }
    if (SSL_CTX_load_verify_file(ctx, c->cacertfile) != 1 ||
        each_certificate(c->cacertfile, note_authority, v) == 0) {
        return error_set(err, QR_EINVAL,
                         "%s.cacertfile: %s: %s; certificates of authorities "
                         "in PEM form are expected",
                         c->prefix, c->cacertfile, reason());
    }
    if (c->verify_peer) {
        names = SSL_load_client_CA_file(c->cacertfile);
        if (names != NULL) {
            SSL_CTX_set_client_CA_list(ctx, names);
        }
    }
    return 0;
}

/* ---- protocol ---- */

/* NAMES' part for TLS 1.3, or for 1.2, colon separated, in OUT. */
static void
pick_ciphers(const char *names, bool for_13, struct buf *out)
{
    const char *at = names;

    while (*at != '\0') {
        size_t size = strcspn(at, ":");
        bool is_13 = strncmp(at, "TLS_", 4) == 0;

        if (is_13 == for_13) {
            buf_putf(out, "%s%.*s", out->size > 0 ? ":" : "", (int)size, at);
        }
        at += size + (at[size] == ':' ? 1 : 0);
    }
    buf_put_u8(out, 0);
}

static bool
set_ciphers(const struct tls_config *c, SSL_CTX *ctx)
{
    struct buf old;
    struct buf new;
    bool ok = true;

    if (!is_set(c->ciphers)) {
        return SSL_CTX_set_cipher_list(ctx, default_ciphers) == 1;
    }
    buf_init(&old);
    buf_init(&new);
    pick_ciphers(c->ciphers, false, &old);
    pick_ciphers(c->ciphers, true, &new);
    if (old.size > 1) {
        ok = SSL_CTX_set_cipher_list(ctx, (const char *)old.data) == 1;
    }
    if (new.size > 1) {
        ok = ok && SSL_CTX_set_ciphersuites(ctx, (const char *)new.data) == 1;
    }
    buf_deinit(&old);
    buf_deinit(&new);
    return ok;
}

bool
tls_cipher_is_known(const char *name)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    bool known = false;

    ASSERT(ctx != NULL);
    if (strpbrk(name, ":+!-@ ,") == NULL || strchr(name, '-') != NULL) {
        known = strncmp(name, "TLS_", 4) == 0
                    ? SSL_CTX_set_ciphersuites(ctx, name) == 1
                    : SSL_CTX_set_cipher_list(ctx, name) == 1;
    }
    SSL_CTX_free(ctx);
    ERR_clear_error();
    return known;
}

static int
set_protocol(const struct tls_config *c, SSL_CTX *ctx, struct error *err)
{
    uint64_t options = SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                       SSL_OP_CIPHER_SERVER_PREFERENCE;
    bool ok = c->tls12 || c->tls13;

    if (!c->honor_cipher_order) {
        options &= ~(uint64_t)SSL_OP_CIPHER_SERVER_PREFERENCE;
    }
    if (!c->tickets) {
        options |= SSL_OP_NO_TICKET;
    }
    (void)SSL_CTX_set_options(ctx, options);
    ok = ok && SSL_CTX_set_min_proto_version(
                   ctx, c->tls12 ? TLS1_2_VERSION : TLS1_3_VERSION) == 1;
    ok = ok && SSL_CTX_set_max_proto_version(
                   ctx, c->tls13 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1;
    if (!ok) {
        return error_set(err, QR_EINVAL,
                         "%s.versions: none of them is on; tlsv1.2 and tlsv1.3 "
                         "are allowed",
                         c->prefix);
    }
    if (!set_ciphers(c, ctx)) {
        return error_set(err, QR_EINVAL,
                         "%s.ciphers: %s: OpenSSL accepts none of them",
                         c->prefix, c->ciphers);
    }
    return 0;
}

static void
set_verification(const struct tls_config *c, SSL_CTX *ctx)
{
    int mode = SSL_VERIFY_NONE;

    if (c->verify_peer) {
        mode = SSL_VERIFY_PEER |
               (c->fail_if_no_peer_cert ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    }
    SSL_CTX_set_verify(ctx, mode, NULL);
    SSL_CTX_set_verify_depth(ctx, (int)c->depth);
}

static void
set_memory(const struct tls_config *c, SSL_CTX *ctx)
{
    static const unsigned char context[] = "quorate";

    /* An idle connection keeps no record buffers. */
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_max_cert_list(ctx, TLS_PEER_CHAIN_SIZE_MAX);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_session_id_context(ctx, context, sizeof(context) - 1);
    (void)SSL_CTX_set_timeout(ctx, TLS_SESSION_LIFE_S);
    (void)SSL_CTX_set_num_tickets(ctx, c->tickets ? 1 : 0);
}

/* What can be said without looking at any file. */
static int
check(const struct tls_config *c, struct error *err)
{
    if (!is_set(c->certfile) || !is_set(c->keyfile)) {
        return error_set(err, QR_EINVAL,
                         "%s.%s is not set: TLS needs a certificate and its "
                         "private key; deploy/tls/make-certificates.sh makes "
                         "some to try",
                         c->prefix,
                         is_set(c->certfile) ? "keyfile" : "certfile");
    }
    if (c->verify_peer && !is_set(c->cacertfile)) {
        return error_set(err, QR_EINVAL,
                         "%s.cacertfile is not set: verify_peer needs the "
                         "certificates of the authorities that are trusted",
                         c->prefix);
    }
    return 0;
}

int
tls_context_client(const char *cafile, struct ssl_ctx_st **out,
                   struct error *err)
{
    SSL_CTX *ctx = NULL;

    ERR_clear_error();
    ctx = SSL_CTX_new(TLS_client_method());
    ASSERT(ctx != NULL);
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_file(ctx, cafile) != 1) {
        SSL_CTX_free(ctx);
        return error_set(err, QR_EINVAL,
                         "%s: %s; certificates of authorities in PEM form are "
                         "expected",
                         cafile, reason());
    }
    *out = ctx;
    return 0;
}

int
tls_context_new(const struct tls_config *c, struct ssl_ctx_st **out,
                struct tls_validity *validity, struct error *err)
{
    struct tls_validity v = {.ends = 0};
    SSL_CTX *ctx = NULL;
    int rv = check(c, err);

    if (rv != 0) {
        return rv;
    }
    ERR_clear_error();
    ctx = SSL_CTX_new(TLS_method());
    ASSERT(ctx != NULL);
    set_memory(c, ctx);
    set_verification(c, ctx);
    rv = set_protocol(c, ctx, err);
    if (rv == 0) {
        rv = use_certificate(c, ctx, &v, err);
    }
    if (rv == 0) {
        rv = use_key(c, ctx, err);
    }
    if (rv == 0) {
        rv = use_authorities(c, ctx, &v, err);
    }
    if (rv != 0) {
        SSL_CTX_free(ctx);
        return rv;
    }
    *out = ctx;
    *validity = v;
    return 0;
}
