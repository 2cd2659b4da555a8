/* The first words of a link, from somebody who got as far as TLS: the heads of
 * Hello, Welcome and Refuse. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "base/rng.h"
#include "fuzz/fuzz.h"
#include "peer/frame.h"
#include "peer/hello.h"
#include "peer/psk.h"

/* TEXT may go to a log. */
static void
check_printable(const char *text, size_t size_max)
{
    ASSERT(strlen(text) <= size_max);
    for (const char *p = text; *p != '\0'; p++) {
        ASSERT(*p >= 0x20 && *p < 0x7f);
    }
}

static struct peers_identity
self_make(void)
{
    struct peers_identity self = {
        .node = 1, .starts = {.boot = 1}, .shards = 1};

    memset(self.uuid.bytes, 1, sizeof(self.uuid.bytes));
    memset(self.cluster.bytes, 2, sizeof(self.cluster.bytes));
    (void)snprintf(self.cluster_name, sizeof(self.cluster_name), "c");
    (void)snprintf(self.node_name, sizeof(self.node_name), "n1");
    return self;
}

static void
feed_hello(const struct frame *f)
{
    struct peers_identity self = self_make();
    struct peers_identity other;
    struct error err;

    if (hello_decode(f, &other) != 0) {
        return;
    }
    check_printable(other.cluster_name, QR_NAME_SIZE_MAX);
    check_printable(other.node_name, QR_NAME_SIZE_MAX);
    ASSERT(other.shards >= 1);
    error_clear(&err);
    if (hello_check(&self, &other, &err) != REFUSAL_NONE) {
        check_printable(err.text, sizeof(err.text));
        return;
    }
    ASSERT(hello_protocol(&self, &other) >= 1);
    ASSERT(hello_is_senior(&self, &other) != hello_is_senior(&other, &self));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame *f = frame_new(FRAME_CONTROL, HELLO_HELLO);
    enum refusal reason = REFUSAL_NONE;
    char text[HELLO_TEXT_SIZE];
    char name[PSK_NAME_SIZE];
    uint32_t protocol = 0;

    f->head = slice_copy(data, size);
    feed_hello(f);
    if (hello_decode_welcome(f, &protocol) != 0) {
        ASSERT(protocol == 0);
    }
    if (hello_decode_refuse(f, &reason, text) == 0) {
        ASSERT(reason != REFUSAL_NONE);
        check_printable(text, sizeof(text));
    }
    frame_free(&f);
    psk_printable(name, sizeof(name), data, size);
    check_printable(name, sizeof(name));
    return 0;
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    struct peers_identity self = self_make();
    struct frame *f = NULL;
    size_t size = 0;

    self.node = (qr_node_id)rng_below(r, 3);
    self.starts.boot = (uint32_t)rng_below(r, 100);
    memset(self.uuid.bytes, (int)rng_below(r, 3), sizeof(self.uuid.bytes));
    memset(self.cluster.bytes, (int)rng_below(r, 3), sizeof(self.uuid.bytes));
    switch (rng_below(r, 4)) {
    case 0:
        f = hello_welcome_frame((uint32_t)rng_below(r, 3));
        break;
    case 1:
        f = hello_refuse_frame((enum refusal)rng_below(r, 9), "because");
        break;
    default:
        f = hello_frame(&self);
        break;
    }
    size = f->head.size;
    ASSERT(size <= capacity);
    if (size > 0) {
        memcpy(at, f->head.data, size);
    }
    frame_free(&f);
    return size;
}
