/* Hellos: what goes in comes out, and who may be linked with whom. */
#include <quorate/error.h>
#include <quorate/version.h>
#include <string.h>

#include "base/error.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "peer/hello.h"

static struct peers_identity
identity(qr_node_id node)
{
    struct peers_identity id = {
        .node = node,
        .starts = {.boot = 3, .count = 2, .process = {7, 8}},
        .shards = 2};

    memset(id.uuid.bytes, (int)(node + 1), sizeof(id.uuid.bytes));
    memset(id.cluster.bytes, 0xcc, sizeof(id.cluster.bytes));
    id.node_name[0] = 'n';
    id.node_name[1] = (char)('0' + node);
    strcpy(id.cluster_name, "prod");
    return id;
}

Test(hello, comes_back_as_it_went)
{
    struct peers_identity id = identity(4);
    struct peers_identity out;
    struct frame *f = hello_frame(&id);

    cr_expect_eq(f->klass, FRAME_CONTROL);
    cr_assert_eq(hello_decode(f, &out), 0);
    cr_expect_eq(out.node, 4);
    cr_expect_eq(out.starts.boot, 3);
    cr_expect_eq(out.shards, 2);
    cr_expect_eq(out.protocol_min, QR_PEER_PROTOCOL_MIN);
    cr_expect_eq(out.protocol_max, QR_PEER_PROTOCOL_MAX);
    cr_expect(uuid_is_equal(&out.uuid, &id.uuid));
    cr_expect(uuid_is_equal(&out.cluster, &id.cluster));
    cr_expect_str_eq(out.node_name, "n4");
    cr_expect_str_eq(out.cluster_name, "prod");
    frame_free(&f);
}

Test(hello, of_a_blank_node_has_no_cluster)
{
    struct peers_identity id = identity(0);
    struct peers_identity out;
    struct frame *f = NULL;

    memset(&id.cluster, 0, sizeof(id.cluster));
    f = hello_frame(&id);
    cr_assert_eq(hello_decode(f, &out), 0);
    cr_expect(uuid_is_nil(&out.cluster));
    frame_free(&f);
}

Test(hello, makes_names_fit_for_a_log)
{
    struct peers_identity id = identity(1);
    struct peers_identity out;
    struct frame *f = NULL;

    strcpy(id.node_name, "a\n\x1b[31mb");
    f = hello_frame(&id);
    cr_assert_eq(hello_decode(f, &out), 0);
    cr_expect_str_eq(out.node_name, "a??[31mb");
    frame_free(&f);
}

Test(hello, refuses_impossible_fields)
{
    struct peers_identity out;

    for (int i = 0; i < 4; i++) {
        struct peers_identity id = identity(1);
        struct frame *f = NULL;

        if (i == 0) {
            id.shards = 0;
        } else if (i == 1) {
            id.shards = QR_SHARDS_MAX + 1;
        } else if (i == 2) {
            memset(&id.uuid, 0, sizeof(id.uuid));
        } else {
            id.protocol_min = 5;
            id.protocol_max = 4;
        }
        f = hello_frame(&id);
        cr_expect_eq(hello_decode(f, &out), -QR_EFORMAT, "case %d", i);
        frame_free(&f);
    }
}

Test(hello, refuses_a_head_too_large)
{
    struct peers_identity out;
    struct frame *f = hello_ping_frame();
    uint32_t protocol = 0;
    enum refusal reason = REFUSAL_NONE;
    char text[HELLO_TEXT_SIZE];

    f->head = slice_of_block(block_new(PEERS_HELLO_SIZE_MAX + 1));
    cr_expect_eq(hello_decode(f, &out), -QR_EFORMAT);
    cr_expect_eq(hello_decode_welcome(f, &protocol), -QR_EFORMAT);
    cr_expect_eq(hello_decode_refuse(f, &reason, text), -QR_EFORMAT);
    frame_free(&f);
}

Test(hello, survives_random_heads)
{
    struct rng rng;

    rng_init(&rng, 5);
    for (int i = 0; i < 20000; i++) {
        struct frame *f = hello_ping_frame();
        struct peers_identity out;
        uint8_t bytes[64];
        uint32_t protocol = 0;
        enum refusal reason = REFUSAL_NONE;
        char text[HELLO_TEXT_SIZE];

        rng_fill(&rng, bytes, sizeof(bytes));
        bytes[0] = (uint8_t)rng_below(&rng, 64);
        f->head = slice_copy(bytes, (size_t)rng_below(&rng, sizeof(bytes)));
        cr_expect_neq(hello_decode(f, &out), 0);
        (void)!hello_decode_welcome(f, &protocol);
        (void)!hello_decode_refuse(f, &reason, text);
        frame_free(&f);
    }
}

Test(hello, welcome_and_refusal_come_back_as_they_went)
{
    struct frame *f = hello_welcome_frame(7);
    uint32_t protocol = 0;
    enum refusal reason = REFUSAL_NONE;
    char text[HELLO_TEXT_SIZE];

    cr_assert_eq(hello_decode_welcome(f, &protocol), 0);
    cr_expect_eq(protocol, 7);
    frame_free(&f);
    f = hello_refuse_frame(REFUSAL_CLUSTER, "not you");
    cr_assert_eq(hello_decode_refuse(f, &reason, text), 0);
    cr_expect_eq(reason, REFUSAL_CLUSTER);
    cr_expect_str_eq(text, "not you");
    frame_free(&f);
    /* A reason of a later version. */
    f = hello_refuse_frame((enum refusal)99, "new");
    cr_assert_eq(hello_decode_refuse(f, &reason, text), 0);
    cr_expect_neq(reason, REFUSAL_NONE);
    frame_free(&f);
}

/* What A and B say of each other; both must say the same. */
static enum refusal
check(const struct peers_identity *a, const struct peers_identity *b)
{
    struct error err;
    enum refusal one = hello_check(a, b, &err);

    cr_expect_eq(one, hello_check(b, a, &err), "both sides agree");
    return one;
}

Test(hello, says_who_may_be_linked)
{
    struct peers_identity a = identity(1);
    struct peers_identity b = identity(2);

    cr_expect_eq(check(&a, &b), REFUSAL_NONE);
    b.protocol_min = 8;
    b.protocol_max = 9;
    cr_expect_eq(check(&a, &b), REFUSAL_VERSION);
    b = identity(2);
    b.uuid = a.uuid;
    cr_expect_eq(check(&a, &b), REFUSAL_NODE);
    b = identity(2);
    b.node = 1;
    cr_expect_eq(check(&a, &b), REFUSAL_NODE);
    b = identity(2);
    b.cluster.bytes[3] = 1;
    cr_expect_eq(check(&a, &b), REFUSAL_CLUSTER);
    memset(&b.cluster, 0, sizeof(b.cluster));
    cr_expect_eq(check(&a, &b), REFUSAL_NONE, "blank");
    strcpy(b.cluster_name, "test");
    cr_expect_eq(check(&a, &b), REFUSAL_CLUSTER, "blank, other name");
    b.cluster = a.cluster;
    cr_expect_eq(check(&a, &b), REFUSAL_NONE, "renamed");
    a.node = 0;
    b.node = 0;
    cr_expect_eq(check(&a, &b), REFUSAL_NONE, "no ids yet");
}

Test(hello, makes_exactly_one_end_senior)
{
    struct peers_identity a = identity(1);
    struct peers_identity b = identity(2);

    cr_expect(hello_is_senior(&a, &b));
    cr_expect(!hello_is_senior(&b, &a));
    b.node = 0; /* then the UUIDs decide */
    b.uuid.bytes[0] = 0;
    cr_expect(!hello_is_senior(&a, &b));
    cr_expect(hello_is_senior(&b, &a));
}

Test(hello, takes_the_newest_protocol_that_both_speak)
{
    struct peers_identity a = identity(1);
    struct peers_identity b = identity(2);

    a.protocol_min = 2;
    a.protocol_max = 5;
    b.protocol_min = 4;
    b.protocol_max = 9;
    cr_expect_eq(check(&a, &b), REFUSAL_NONE);
    cr_expect_eq(hello_protocol(&a, &b), 5);
    cr_expect_eq(hello_protocol(&b, &a), 5);
    b.protocol_min = 6;
    cr_expect_eq(check(&a, &b), REFUSAL_VERSION);
}
