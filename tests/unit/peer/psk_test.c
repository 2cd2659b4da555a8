/* TLS with the secret, two sessions back to back without sockets. */
#include <quorate/error.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "lib/harness.h"
#include "net/tls.h"
#include "peer/psk.h"

/* Two ends and the bytes between them. */
struct talk {
    struct psk *psk[2]; /* 0 dials, 1 accepts */
    struct psk_peer peer[2];
    struct tls *tls[2];
    struct buf to[2]; /* bytes on their way to that end */
    bool done[2];
    int failed[2];
};

static void
on_sink(void *arg, const void *data, size_t size)
{
    buf_put(arg, data, size);
}

static void
talk_init(struct talk *t, const char *secret0, const char *secret1)
{
    const char *secrets[] = {secret0, secret1};

    memset(t, 0, sizeof(*t));
    for (int i = 0; i < 2; i++) {
        struct secret s;
        struct error err;

        buf_init(&t->to[i]);
        cr_assert_eq(secret_derive(secrets[i], strlen(secrets[i]), &s, &err),
                     0);
        t->psk[i] = psk_new(&s, i == 0 ? "the dialler" : "other");
        cr_expect_str_eq(psk_fingerprint(t->psk[i]), s.fingerprint);
        t->peer[i].psk = t->psk[i];
        t->tls[i] = tls_new(psk_ctx(t->psk[i]), i == 1, on_sink, &t->to[1 - i],
                            &t->peer[i]);
    }
    psk_distrust_certificates(tls_ssl(t->tls[0]));
}

static void
talk_deinit(struct talk *t)
{
    for (int i = 0; i < 2; i++) {
        tls_free(&t->tls[i]);
        cr_expect_null(t->tls[i]);
        psk_free(&t->psk[i]);
        buf_deinit(&t->to[i]);
    }
}

/* Let both ends go on with what has arrived, PIECE bytes at a time. */
static void
talk_shake(struct talk *t, size_t piece)
{
    for (int round = 0; round < 10000; round++) {
        int i = round % 2;
        size_t size = MIN(piece, t->to[i].size);

        if (t->done[i] || t->failed[i] != 0) {
            continue;
        }
        tls_feed(t->tls[i], t->to[i].data, size);
        t->failed[i] = tls_handshake(t->tls[i], &t->done[i]);
        buf_consume(&t->to[i], size - tls_unused(t->tls[i]));
        tls_drop(t->tls[i]);
    }
}

/* Read at END until it wants more; returns the bytes read. */
static size_t
talk_read(struct talk *t, int end, uint8_t *dst, size_t size)
{
    size_t total = 0;
    size_t got = 1;

    tls_feed(t->tls[end], t->to[end].data, t->to[end].size);
    while (got > 0) {
        cr_assert_eq(tls_read(t->tls[end], dst + total, size - total, &got), 0);
        total += got;
    }
    cr_assert_eq(tls_unused(t->tls[end]), 0);
    buf_clear(&t->to[end]);
    return total;
}

Test(psk, proves_both_ends_of_one_secret)
{
    struct talk t;
    static uint8_t in[40000];
    static uint8_t out[40000];

    talk_init(&t, "0123456789abcdef", "0123456789abcdef\n");
    talk_shake(&t, 100000);
    cr_assert(t.done[0]);
    cr_assert(t.done[1]);
    cr_expect(psk_is_proven(tls_ssl(t.tls[0])));
    cr_expect(psk_is_proven(tls_ssl(t.tls[1])));
    cr_expect(t.peer[1].offered);
    cr_expect(!t.peer[1].mismatch);
    cr_expect_str_eq(t.peer[1].name, "the?dialler");
    memset(out, 0x77, sizeof(out));
    cr_assert_eq(tls_write(t.tls[0], out, sizeof(out)), 0);
    cr_expect_eq(talk_read(&t, 1, in, sizeof(in)), sizeof(out));
    cr_expect_eq(memcmp(in, out, sizeof(out)), 0);
    cr_assert_eq(tls_write(t.tls[1], "back", 4), 0);
    cr_expect_eq(talk_read(&t, 0, in, sizeof(in)), 4);
    talk_deinit(&t);
}

Test(psk, shakes_hands_byte_by_byte)
{
    struct talk t;

    talk_init(&t, "0123456789abcdef", "0123456789abcdef");
    talk_shake(&t, 1);
    cr_expect(t.done[0]);
    cr_expect(t.done[1]);
    talk_deinit(&t);
}

Test(psk, fails_with_two_secrets_and_tells_whose)
{
    struct talk t;

    talk_init(&t, "0123456789abcdef", "another secret: long");
    talk_shake(&t, 100000);
    cr_expect(!t.done[0]);
    cr_expect(!t.done[1]);
    cr_expect_eq(t.failed[1], -QR_EACCESS);
    cr_expect(t.peer[1].mismatch);
    cr_expect_str_eq(t.peer[1].fingerprint, psk_fingerprint(t.psk[0]));
    cr_expect_neq(strlen(tls_text(t.tls[1])), 0);
    talk_deinit(&t);
}

Test(psk, notices_bytes_that_were_changed)
{
    struct talk t;
    uint8_t in[100];
    size_t got = 0;

    talk_init(&t, "0123456789abcdef", "0123456789abcdef");
    talk_shake(&t, 100000);
    cr_assert_eq(tls_write(t.tls[0], "hello", 5), 0);
    t.to[1].data[t.to[1].size - 3] ^= 1;
    tls_feed(t.tls[1], t.to[1].data, t.to[1].size);
    cr_expect_eq(tls_read(t.tls[1], in, sizeof(in), &got), -QR_EFORMAT);
    tls_drop(t.tls[1]);
    talk_deinit(&t);
}

Test(psk, makes_foreign_bytes_printable)
{
    char text[5];

    psk_printable(text, sizeof(text), "a\nb cdef", 8);
    cr_expect_str_eq(text, "a?b?");
    psk_printable(text, sizeof(text), "", 0);
    cr_expect_str_eq(text, "");
}
