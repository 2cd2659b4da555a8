/* OpenSSL between two ends of memory.
 *
 * A BIO of our own reads from the bytes that were fed and writes to the sink.
 * Unlike OpenSSL's memory BIOs it keeps nothing, so records are copied once
 * less each way and no buffer grows. */
#include "net/tls.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <quorate/error.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum {
    TLS_MAGIC = 0x746c7320
};

/* AES-GCM is safe for 2^24.5 records of one key, whatever their size (RFC 8446,
 * 5.5); new keys come far earlier. TLS 1.2 has no way to them. */
#define TLS_RECORDS_PER_KEY ((uint64_t)1 << 22)

struct tls {
    unsigned magic;
    SSL *ssl;
    BIO_METHOD *method;
    tls_sink_cb sink;
    void *arg;
    const uint8_t *in;
    size_t in_size;
    uint64_t records; /* with the present key */
    char text[TLS_TEXT_SIZE];
};

static int
tls_bio_write(BIO *bio, const char *data, size_t size, size_t *written)
{
    struct tls *t = BIO_get_data(bio);

    OBJ_CHECK(t, TLS_MAGIC);
    t->sink(t->arg, data, size);
    *written = size;
    return 1;
}

static int
tls_bio_read(BIO *bio, char *dst, size_t size, size_t *got)
{
    struct tls *t = BIO_get_data(bio);
    size_t part = 0;

    OBJ_CHECK(t, TLS_MAGIC);
    BIO_clear_retry_flags(bio);
    if (t->in_size == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    part = MIN(size, t->in_size);
    memcpy(dst, t->in, part);
    t->in += part;
    t->in_size -= part;
    *got = part;
    return 1;
}

static long
tls_bio_ctrl(BIO *bio, int command, long number, void *ptr)
{
    (void)bio;
    (void)number;
    (void)ptr;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO *
tls_bio_new(struct tls *t)
{
    BIO *bio = NULL;

    t->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "quorate");
    ASSERT(t->method != NULL);
    (void)BIO_meth_set_write_ex(t->method, tls_bio_write);
    (void)BIO_meth_set_read_ex(t->method, tls_bio_read);
    (void)BIO_meth_set_ctrl(t->method, tls_bio_ctrl);
    bio = BIO_new(t->method);
    ASSERT(bio != NULL);
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    return bio;
}

struct tls *
tls_new(struct ssl_ctx_st *ctx, bool is_server, tls_sink_cb sink, void *arg,
        void *app)
{
    struct tls *t = mem_zalloc(1, sizeof(*t));
    BIO *bio = NULL;

    t->magic = TLS_MAGIC;
    t->sink = sink;
    t->arg = arg;
    t->ssl = SSL_new(ctx);
    ASSERT(t->ssl != NULL);
    bio = tls_bio_new(t);
    SSL_set_bio(t->ssl, bio, bio);
    (void)SSL_set_app_data(t->ssl, app);
    if (is_server) {
        SSL_set_accept_state(t->ssl);
    } else {
        SSL_set_connect_state(t->ssl);
    }
    return t;
}

void
tls_free(struct tls **tls)
{
    struct tls *t = *tls;

    if (t == NULL) {
        return;
    }
    OBJ_CHECK(t, TLS_MAGIC);
    *tls = NULL;
    SSL_free(t->ssl);
    BIO_meth_free(t->method);
    t->magic = 0;
    mem_free(t);
}

struct ssl_st *
tls_ssl(struct tls *t)
{
    OBJ_CHECK(t, TLS_MAGIC);
    return t->ssl;
}

void
tls_feed(struct tls *t, const void *data, size_t size)
{
    OBJ_CHECK(t, TLS_MAGIC);
    ASSERT(t->in_size == 0);
    t->in = data;
    t->in_size = size;
}

size_t
tls_unused(const struct tls *t)
{
    OBJ_CHECK(t, TLS_MAGIC);
    return t->in_size;
}

void
tls_drop(struct tls *t)
{
    OBJ_CHECK(t, TLS_MAGIC);
    t->in_size = 0;
}

/* Keep what OpenSSL has to say of its last error. */
static void
tls_note(struct tls *t)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);

    long verdict = SSL_get_verify_result(t->ssl);

    (void)snprintf(
        t->text, sizeof(t->text), "%s%s%s",
        reason != NULL ? reason : "unexpected end",
        verdict == X509_V_OK ? "" : ": ",
        verdict == X509_V_OK ? "" : X509_verify_cert_error_string(verdict));
    ERR_clear_error();
}

int
tls_handshake(struct tls *t, bool *done)
{
    int rv = 0;

    OBJ_CHECK(t, TLS_MAGIC);
    ERR_clear_error();
    rv = SSL_do_handshake(t->ssl);
    if (rv == 1) {
        *done = true;
        return 0;
    }
    if (SSL_get_error(t->ssl, rv) == SSL_ERROR_WANT_READ) {
        *done = false;
        return 0;
    }
    tls_note(t);
    return -QR_EACCESS;
}

int
tls_read(struct tls *t, void *dst, size_t size, size_t *got)
{
    int rv = 0;

    OBJ_CHECK(t, TLS_MAGIC);
    ERR_clear_error();
    if (SSL_read_ex(t->ssl, dst, size, got) == 1) {
        return 0;
    }
    rv = SSL_get_error(t->ssl, 0);
    if (rv == SSL_ERROR_WANT_READ) {
        *got = 0;
        return 0;
    }
    if (rv == SSL_ERROR_ZERO_RETURN) {
        (void)snprintf(t->text, sizeof(t->text), "closed by the peer");
        return -QR_ECLOSED;
    }
    tls_note(t);
    return -QR_EFORMAT;
}

int
tls_write(struct tls *t, const void *data, size_t size)
{
    size_t written = 0;

    OBJ_CHECK(t, TLS_MAGIC);
    ERR_clear_error();
    if (t->records >= TLS_RECORDS_PER_KEY) {
        (void)SSL_key_update(t->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
        ERR_clear_error();
        t->records = 0;
    }
    if (SSL_write_ex(t->ssl, data, size, &written) != 1) {
        tls_note(t);
        return -QR_EIO;
    }
    ASSERT(written == size);
    t->records += 1 + size / TLS_RECORD_SIZE;
    return 0;
}

void
tls_end(struct tls *t)
{
    OBJ_CHECK(t, TLS_MAGIC);
    ERR_clear_error();
    (void)SSL_shutdown(t->ssl);
    ERR_clear_error();
}

const char *
tls_text(const struct tls *t)
{
    OBJ_CHECK(t, TLS_MAGIC);
    return t->text;
}
