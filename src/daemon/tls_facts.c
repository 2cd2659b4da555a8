/* See tls_facts.h. One block of texts for each connection, one after the
 * other, as most are short and there may be many connections. */
#include "daemon/tls_facts.h"

#include <ctype.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "broker/broker.h"
#include "net/tls_cert.h"

enum {
    FACTS_MAGIC = 0x66616374,
    FACTS_COUNT = 8
};

struct tls_facts {
    unsigned magic;
    struct broker_tls listed;
    const char *user;
    char texts[]; /* each with its NUL */
};

/* The ciphers of TLS 1.2 and 1.3, by Erlang's names. */
static const struct {
    int nid;
    const char *name;
} CIPHERS[] = {
    {NID_aes_128_gcm, "aes_128_gcm"},
    {NID_aes_256_gcm, "aes_256_gcm"},
    {NID_aes_128_ccm, "aes_128_ccm"},
    {NID_aes_256_ccm, "aes_256_ccm"},
    {NID_chacha20_poly1305, "chacha20_poly1305"},
    {NID_aes_128_cbc, "aes_128_cbc"},
    {NID_aes_256_cbc, "aes_256_cbc"},
};

static void
put_cipher(struct buf *out, const SSL_CIPHER *cipher)
{
    int nid = SSL_CIPHER_get_cipher_nid(cipher);

    for (size_t i = 0; i < ARRAY_COUNT(CIPHERS); i++) {
        if (CIPHERS[i].nid == nid) {
            buf_putf(out, "%s", CIPHERS[i].name);
            return;
        }
    }
    buf_putf(out, "%s", SSL_CIPHER_get_name(cipher));
}

static void
put_key_exchange(struct buf *out, const SSL_CIPHER *cipher)
{
    switch (SSL_CIPHER_get_kx_nid(cipher)) {
    case NID_kx_any: /* TLS 1.3: the suite does not say */
        buf_putf(out, "any");
        break;
    case NID_kx_ecdhe:
        buf_putf(out, "ecdhe_%s",
                 SSL_CIPHER_get_auth_nid(cipher) == NID_auth_ecdsa ? "ecdsa"
                                                                   : "rsa");
        break;
    case NID_kx_dhe:
        buf_putf(out, "dhe_rsa");
        break;
    default:
        buf_putf(out, "rsa");
        break;
    }
}

static void
put_hash(struct buf *out, const SSL_CIPHER *cipher)
{
    const char *name = NULL;

    if (SSL_CIPHER_is_aead(cipher) == 1) {
        buf_putf(out, "aead");
        return;
    }
    name = OBJ_nid2sn(SSL_CIPHER_get_digest_nid(cipher));
    for (; *name != '\0'; name++) {
        buf_put_u8(out, (uint8_t)tolower((unsigned char)*name));
    }
}

/* "TLSv1.3" is "tlsv1.3" there. */
static void
put_protocol(struct buf *out, const SSL *ssl)
{
    buf_putf(out, "tlsv1.%d", SSL_version(ssl) == TLS1_3_VERSION ? 3 : 2);
}

/* One after the other, in the order of FACTS' members. */
static void
put_all(struct buf *out, SSL *ssl, const struct tls_login *login)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    const X509 *cert = SSL_get0_peer_certificate(ssl);
    bool is_good = cert != NULL && SSL_get_verify_result(ssl) == X509_V_OK &&
                   (SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) != 0;

    put_protocol(out, ssl);
    buf_put_u8(out, 0);
    put_key_exchange(out, cipher);
    buf_put_u8(out, 0);
    put_cipher(out, cipher);
    buf_put_u8(out, 0);
    put_hash(out, cipher);
    buf_put_u8(out, 0);
    if (cert != NULL) {
        tls_cert_subject(cert, out);
    }
    buf_put_u8(out, 0);
    if (cert != NULL) {
        tls_cert_issuer(cert, out);
    }
    buf_put_u8(out, 0);
    if (cert != NULL) {
        tls_cert_validity(cert, out);
    }
    buf_put_u8(out, 0);
    if (is_good) {
        (void)tls_cert_login(cert, login, out);
    }
    buf_put_u8(out, 0);
}

struct tls_facts *
tls_facts_new(struct ssl_st *ssl, const struct tls_login *login)
{
    struct tls_facts *f = NULL;
    const char *at = NULL;
    struct buf texts;

    buf_init(&texts);
    put_all(&texts, ssl, login);
    f = mem_alloc(sizeof(*f) + texts.size);
    memcpy(f->texts, texts.data, texts.size);
    f->magic = FACTS_MAGIC;
    at = f->texts;
    {
        const char **members[FACTS_COUNT] = {
            &f->listed.protocol, &f->listed.key_exchange,
            &f->listed.cipher,   &f->listed.hash,
            &f->listed.subject,  &f->listed.issuer,
            &f->listed.validity, &f->user};

        for (size_t i = 0; i < FACTS_COUNT; i++) {
            *members[i] = at;
            at += strlen(at) + 1;
        }
    }
    ASSERT((size_t)(at - f->texts) == texts.size);
    buf_deinit(&texts);
    return f;
}

void
tls_facts_free(struct tls_facts **facts)
{
    struct tls_facts *f = *facts;

    if (f == NULL) {
        return;
    }
    OBJ_CHECK(f, FACTS_MAGIC);
    *facts = NULL;
    f->magic = 0;
    mem_free(f);
}

const struct broker_tls *
tls_facts_listed(const struct tls_facts *f)
{
    OBJ_CHECK(f, FACTS_MAGIC);
    return &f->listed;
}

const char *
tls_facts_user(const struct tls_facts *f)
{
    OBJ_CHECK(f, FACTS_MAGIC);
    return f->user;
}
