/* The identity that goes with the key, in the clear, is
 *
 *     "quorate-1 " 8 hexadecimal digits " " name of the dialling node
 *
 * so that the accepting end can say whose secret differs. What it says is not
 * proven, and only goes to the log. */
#include "peer/psk.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum {
    PSK_MAGIC = 0x70736b20,
    PSK_PREFIX_SIZE = 10,
    PSK_IDENTITY_SIZE = PSK_PREFIX_SIZE + 8 + 1 + QR_NAME_SIZE_MAX + 1
};

static const char psk_prefix[] = "quorate-1 ";
static const char psk_suite[] = "TLS_AES_128_GCM_SHA256";
static const unsigned char psk_suite_id[] = {0x13, 0x01};

_Static_assert(sizeof(psk_prefix) == PSK_PREFIX_SIZE + 1, "prefix size");

struct psk {
    unsigned magic;
    SSL_CTX *ctx;
    struct secret *secret; /* in secret memory */
    char identity[PSK_IDENTITY_SIZE];
};

static SSL_SESSION *
psk_session(SSL *ssl, const struct psk *psk)
{
    SSL_SESSION *session = SSL_SESSION_new();
    const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, psk_suite_id);
    bool ok = session != NULL && cipher != NULL;

    ok = ok && SSL_SESSION_set1_master_key(session, psk->secret->key,
                                           SECRET_KEY_SIZE) == 1;
    ok = ok && SSL_SESSION_set_cipher(session, cipher) == 1;
    ok = ok && SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1;
    ASSERT(ok);
    return session;
}

/* The dialling end offers. */
static int
psk_on_use(SSL *ssl, const EVP_MD *md, const unsigned char **id,
           size_t *id_size, SSL_SESSION **session)
{
    const struct psk_peer *peer = SSL_get_app_data(ssl);

    (void)md; /* the one suite that there is has the hash that there is */
    *session = psk_session(ssl, peer->psk);
    *id = (const unsigned char *)peer->psk->identity;
    *id_size = strlen(peer->psk->identity);
    return 1;
}

void
psk_printable(char *dst, size_t dst_size, const void *src, size_t size)
{
    const unsigned char *bytes = src;
    size_t count = MIN(size, dst_size - 1);

    ASSERT(dst_size > 0);
    for (size_t i = 0; i < count; i++) {
        dst[i] = '?';
        if (bytes[i] > 0x20 && bytes[i] < 0x7f) {
            dst[i] = (char)bytes[i];
        }
    }
    dst[count] = '\0';
}

/* The accepting end looks the identity up. Finding nothing is no error here:
 * the handshake then fails, as there are no certificates either. */
static int
psk_on_find(SSL *ssl, const unsigned char *id, size_t id_size,
            SSL_SESSION **session)
{
    struct psk_peer *peer = SSL_get_app_data(ssl);
    const unsigned char *at = id + PSK_PREFIX_SIZE;

    *session = NULL;
    if (id_size < PSK_PREFIX_SIZE + 8 + 1 ||
        memcmp(id, psk_prefix, PSK_PREFIX_SIZE) != 0) {
        return 1;
    }
    peer->offered = true;
    psk_printable(peer->fingerprint, sizeof(peer->fingerprint), at, 8);
    psk_printable(peer->name, sizeof(peer->name), at + 9,
                  id_size - PSK_PREFIX_SIZE - 9);
    peer->mismatch =
        strcmp(peer->fingerprint, peer->psk->secret->fingerprint) != 0;
    if (!peer->mismatch) {
        *session = psk_session(ssl, peer->psk);
    }
    return 1;
}

struct psk *
psk_new(const struct secret *secret, const char *name)
{
    struct psk *psk = mem_zalloc(1, sizeof(*psk));
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    bool ok = ctx != NULL;

    psk->magic = PSK_MAGIC;
    psk->ctx = ctx;
    psk->secret = mem_secret_alloc(sizeof(*psk->secret));
    *psk->secret = *secret;
    (void)snprintf(psk->identity, sizeof(psk->identity), "%s%s %s", psk_prefix,
                   secret->fingerprint, name);
    ok = ok && SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1;
    ok = ok && SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1;
    ok = ok && SSL_CTX_set_ciphersuites(ctx, psk_suite) == 1;
    ok = ok && SSL_CTX_set_num_tickets(ctx, 0) == 1;
    ASSERT(ok);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_psk_use_session_callback(ctx, psk_on_use);
    SSL_CTX_set_psk_find_session_callback(ctx, psk_on_find);
    return psk;
}

void
psk_free(struct psk **pskp)
{
    struct psk *psk = *pskp;

    if (psk == NULL) {
        return;
    }
    OBJ_CHECK(psk, PSK_MAGIC);
    *pskp = NULL;
    SSL_CTX_free(psk->ctx);
    mem_secret_free(psk->secret, sizeof(*psk->secret));
    psk->magic = 0;
    mem_free(psk);
}

struct ssl_ctx_st *
psk_ctx(const struct psk *psk)
{
    OBJ_CHECK(psk, PSK_MAGIC);
    return psk->ctx;
}

const char *
psk_fingerprint(const struct psk *psk)
{
    OBJ_CHECK(psk, PSK_MAGIC);
    return psk->secret->fingerprint;
}

void
psk_distrust_certificates(struct ssl_st *ssl)
{
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
}

void
psk_forget(struct ssl_st *ssl)
{
    static const unsigned char nothing[SECRET_KEY_SIZE];

    /* TLS 1.3 makes its traffic keys from it once, and resumes nothing here. */
    (void)SSL_SESSION_set1_master_key(SSL_get_session(ssl), nothing,
                                      sizeof(nothing));
}

bool
psk_is_proven(struct ssl_st *ssl)
{
    return SSL_session_reused(ssl) == 1 && SSL_version(ssl) == TLS1_3_VERSION;
}
