/* Frames: what goes in comes out, and nothing that was changed on the way. */
#include <quorate/error.h>
#include <signal.h>
#include <string.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "peer/frame.h"

/* The bytes of F as a link would send them, OFFSET bytes into a block. */
static struct block *
encode(const struct frame *f, size_t offset)
{
    struct block *b = block_new(offset + frame_size(f));
    uint8_t *at = b->data + offset;

    memset(b->data, 0xee, offset);
    frame_encode_header(f, at);
    at += FRAME_HEADER_SIZE;
    if (f->head.size > 0) {
        memcpy(at, f->head.data, f->head.size);
        at += f->head.size;
    }
    for (size_t i = 0; i < f->content_count; i++) {
        if (f->content[i].size > 0) {
            memcpy(at, f->content[i].data, f->content[i].size);
            at += f->content[i].size;
        }
    }
    return b;
}

static struct frame *
random_frame(struct rng *rng)
{
    uint8_t bytes[300];
    struct frame *f = frame_new((enum frame_class)rng_below(rng, 4),
                                (uint16_t)rng_below(rng, FRAME_KIND_LIMIT));
    size_t pieces = (size_t)rng_below(rng, rng_chance(rng, 100000) ? 257 : 8);

    f->from_shard = (uint16_t)rng_u64(rng);
    f->to_shard = (uint16_t)rng_u64(rng);
    f->group = rng_u64(rng);
    f->arg = rng_u64(rng);
    rng_fill(rng, bytes, sizeof(bytes));
    f->head = slice_copy(bytes, (size_t)rng_below(rng, sizeof(bytes)));
    for (size_t i = 0; i < pieces; i++) {
        frame_add(f, slice_copy(bytes, (size_t)rng_below(rng, 300)));
    }
    return f;
}

static void
check_equal(const struct frame *a, const struct frame *b)
{
    struct slice ca = frame_content(a);
    struct slice cb = frame_content(b);

    cr_assert_eq(a->klass, b->klass);
    cr_assert_eq(a->kind, b->kind);
    cr_assert_eq(a->from_shard, b->from_shard);
    cr_assert_eq(a->to_shard, b->to_shard);
    cr_assert_eq(a->group, b->group);
    cr_assert_eq(a->arg, b->arg);
    cr_assert_eq(a->head.size, b->head.size);
    cr_assert(a->head.size == 0 ||
              memcmp(a->head.data, b->head.data, a->head.size) == 0);
    cr_assert_eq(ca.size, cb.size);
    cr_assert(ca.size == 0 || memcmp(ca.data, cb.data, ca.size) == 0);
    slice_unref(&ca);
    slice_unref(&cb);
}

Test(frame, comes_back_as_it_went)
{
    struct rng rng;

    rng_init(&rng, 1);
    for (int i = 0; i < 2000; i++) {
        struct frame *f = random_frame(&rng);
        size_t offset = (size_t)rng_below(&rng, 9);
        struct block *b = encode(f, offset);
        struct frame *g = NULL;
        size_t used = 1;
        size_t need = 1;
        int rv = frame_decode(b, offset, frame_size(f), &g, &used, &need);

        cr_assert_eq(rv, 0);
        cr_assert_eq(used, frame_size(f));
        check_equal(f, g);
        frame_free(&f);
        cr_assert_null(f);
        block_unref(b);
        frame_free(&g);
    }
}

Test(frame, keeps_its_bytes_alive_after_the_block_is_dropped)
{
    struct frame *f = frame_new(FRAME_CALL, 70);
    struct frame *g = NULL;
    struct block *b = NULL;
    size_t used = 0;
    size_t need = 0;

    frame_add(f, slice_copy("content", 7));
    b = encode(f, 0);
    cr_assert_eq(frame_decode(b, 0, b->size, &g, &used, &need), 0);
    cr_assert_eq(g->content[0].block, b);
    block_unref(b);
    cr_assert_eq(memcmp(g->content[0].data, "content", 7), 0);
    frame_free(&f);
    frame_free(&g);
}

Test(frame, says_how_many_bytes_it_needs)
{
    struct rng rng;
    struct frame *f = NULL;
    struct block *b = NULL;

    rng_init(&rng, 2);
    f = random_frame(&rng);
    b = encode(f, 0);
    for (size_t size = 0; size < b->size; size++) {
        struct frame *g = NULL;
        size_t used = 1;
        size_t need = 0;

        cr_assert_eq(frame_decode(b, 0, size, &g, &used, &need), 0);
        cr_assert_null(g);
        cr_assert_eq(used, 0);
        cr_assert_eq(need,
                     size < FRAME_HEADER_SIZE ? FRAME_HEADER_SIZE : b->size);
    }
    frame_free(&f);
    block_unref(b);
}

Test(frame, notices_any_flipped_bit)
{
    struct rng rng;

    rng_init(&rng, 3);
    for (int i = 0; i < 20; i++) {
        struct frame *f = random_frame(&rng);
        struct block *b = encode(f, 0);

        for (size_t bit = 0; bit < b->size * 8; bit++) {
            struct frame *g = NULL;
            size_t used = 1;
            size_t need = 0;
            int rv = 0;

            b->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            rv = frame_decode(b, 0, b->size, &g, &used, &need);
            /* A larger size only makes it wait for what never comes. */
            cr_assert(rv < 0 || (used == 0 && need > b->size));
            cr_assert_null(g);
            b->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        frame_free(&f);
        block_unref(b);
    }
}

Test(frame, survives_random_bytes)
{
    struct rng rng;

    rng_init(&rng, 4);
    for (int i = 0; i < 20000; i++) {
        struct block *b = block_new(64);
        struct frame *g = NULL;
        size_t used = 0;
        size_t need = 0;

        rng_fill(&rng, b->data, b->size);
        put_u32le(b->data, (uint32_t)rng_below(&rng, 25));
        put_u32le(b->data + 24, (uint32_t)rng_below(&rng, 30));
        cr_assert(frame_decode(b, 0, b->size, &g, &used, &need) < 0);
        cr_assert_null(g);
        block_unref(b);
    }
}

/* Put V at OFFSET of an encoded frame, make its checksum right again, and
 * return what the decoder says. */
static int
decode_with(size_t offset, uint8_t v)
{
    struct frame *f = frame_new(FRAME_RAFT, 20);
    struct frame *g = NULL;
    struct block *b = NULL;
    size_t used = 0;
    size_t need = 0;
    int rv = 0;

    f->head = slice_copy("head", 4);
    b = encode(f, 0);
    b->data[offset] = v;
    put_u32le(b->data + 4, crc32c(0, b->data + 8, b->size - 8));
    rv = frame_decode(b, 0, b->size, &g, &used, &need);
    frame_free(&f);
    frame_free(&g);
    block_unref(b);
    return rv;
}

Test(frame, refuses_what_it_does_not_know)
{
    cr_expect_eq(decode_with(8, 1), 0, "unchanged");
    cr_expect_eq(decode_with(8, 2), -QR_EFORMAT, "version");
    cr_expect_eq(decode_with(9, FRAME_CLASS_COUNT), -QR_EFORMAT, "class");
    cr_expect_eq(decode_with(11, 1), -QR_EFORMAT, "kind");
    cr_expect_eq(decode_with(28, 1), -QR_EFORMAT, "reserved");
    cr_expect_eq(decode_with(24, 5), -QR_EFORMAT, "head beyond the frame");
    cr_expect_eq(decode_with(26, 0x11), -QR_ETOOBIG, "head too large");
    cr_expect_eq(decode_with(3, 0x03), -QR_ETOOBIG, "frame too large");
}

Test(frame, takes_the_largest_size_and_not_one_more)
{
    struct block *b = block_new(FRAME_HEADER_SIZE);
    struct frame *g = NULL;
    size_t used = 0;
    size_t need = 0;

    memset(b->data, 0, b->size);
    put_u32le(b->data, FRAME_SIZE_MAX - FRAME_HEADER_SIZE);
    cr_expect_eq(frame_decode(b, 0, b->size, &g, &used, &need), 0);
    cr_expect_eq(need, FRAME_SIZE_MAX);
    put_u32le(b->data, FRAME_SIZE_MAX - FRAME_HEADER_SIZE + 1);
    cr_expect_eq(frame_decode(b, 0, b->size, &g, &used, &need), -QR_ETOOBIG);
    put_u32le(b->data, FRAME_SIZE_MAX - FRAME_HEADER_SIZE);
    put_u32le(b->data + 24, FRAME_HEAD_SIZE_MAX);
    cr_expect_eq(frame_decode(b, 0, b->size, &g, &used, &need), 0);
    put_u32le(b->data + 24, FRAME_HEAD_SIZE_MAX + 1);
    cr_expect_eq(frame_decode(b, 0, b->size, &g, &used, &need), -QR_ETOOBIG);
    block_unref(b);
}

Test(frame, holds_as_many_slices_as_its_limit_says)
{
    struct frame *f = frame_new(FRAME_STREAM, 1);

    for (int i = 0; i < FRAME_CONTENT_MAX; i++) {
        frame_add(f, slice_copy(&i, sizeof(i)));
    }
    cr_expect_eq(f->content_count, FRAME_CONTENT_MAX);
    cr_expect_eq(frame_content_size(f), FRAME_CONTENT_MAX * sizeof(int));
    frame_free(&f);
}

Test(frame, stops_at_one_slice_more, .signal = SIGABRT)
{
    struct frame *f = frame_new(FRAME_STREAM, 1);

    for (int i = 0; i < FRAME_CONTENT_MAX + 1; i++) {
        frame_add(f, slice_empty());
    }
}

Test(frame, gives_single_content_without_a_copy)
{
    struct frame *f = frame_new(FRAME_CALL, 1);
    struct slice s = slice_empty();

    cr_expect_eq(frame_content(f).size, 0);
    frame_add(f, slice_copy("abc", 3));
    s = frame_content(f);
    cr_expect_eq(s.data, f->content[0].data);
    slice_unref(&s);
    frame_free(&f);
}
