/* The formats, byte for byte where it matters, and every way to refuse. */
#include <quorate/error.h>
#include <quorate/version.h>
#include <string.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/ranges.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "store/group_log.h"
#include "store/record.h"
#include "store/store.h"

static struct segment_header
a_header(void)
{
    struct segment_header h = {.version = QR_STORE_FORMAT,
                               .use = SEGMENT_IN_USE,
                               .shard = 0x01020304,
                               .chain = 0x05060708,
                               .sequence = 0x1112131415161718,
                               .batch_first = 0x2122232425262728,
                               .size = 1 << 16,
                               .counts = {1, 2, 3, 4}};

    memset(h.node_uuid, 0xaa, sizeof(h.node_uuid));
    return h;
}

/* Two structs are compared by what they encode to: their padding may differ. */

Test(record, segment_header_has_its_layout)
{
    struct segment_header h = a_header();
    struct segment_header got;
    uint8_t s[SEGMENT_HEADER_SIZE];
    uint8_t again[SEGMENT_HEADER_SIZE];

    segment_header_encode(&h, s);
    cr_assert_eq(memcmp(s, "QRSEGMNT", 8), 0);
    cr_assert_eq(get_u32le(s + 8), QR_STORE_FORMAT);
    cr_assert_eq(get_u32le(s + 12), 2);
    cr_assert_eq(s[16], 0xaa);
    cr_assert_eq(s[31], 0xaa);
    cr_assert_eq(get_u32le(s + 32), 0x01020304);
    cr_assert_eq(get_u32le(s + 36), 0x05060708);
    cr_assert_eq(get_u64le(s + 40), 0x1112131415161718);
    cr_assert_eq(get_u64le(s + 48), 0x2122232425262728);
    cr_assert_eq(get_u32le(s + 56), 128);
    cr_assert_eq(get_u32le(s + 60), crc32c(0, s, 60));
    cr_assert_eq(get_u32le(s + 64), 1);
    cr_assert_eq(get_u32le(s + 68), 2);
    cr_assert_eq(get_u32le(s + 72), 3);
    cr_assert_eq(get_u32le(s + 76), 4);
    cr_assert_eq(get_u32le(s + 80), crc32c(0, s + 64, 16));
    cr_assert_eq(segment_header_decode(s, &got), 0);
    segment_header_encode(&got, again);
    cr_assert_eq(memcmp(again, s, sizeof(s)), 0);
}

Test(record, segment_header_refuses_what_it_is_not)
{
    struct segment_header h = a_header();
    uint8_t s[SEGMENT_HEADER_SIZE] = {0};

    cr_assert_eq(segment_header_decode(s, &h), -QR_ENOENT);
    for (size_t i = 0; i < 84; i++) {
        h = a_header();
        segment_header_encode(&h, s);
        s[i] ^= 4;
        cr_assert_eq(segment_header_decode(s, &h), -QR_ECORRUPT);
    }
    h = a_header();
    segment_header_encode(&h, s);
    put_u32le(s + 12, 3);
    put_u32le(s + 60, crc32c(0, s, 60));
    cr_assert_eq(segment_header_decode(s, &h), -QR_ECORRUPT);
}

Test(record, seed_tells_nodes_shards_and_uses_apart)
{
    struct segment_header h = a_header();
    uint32_t seed = segment_seed(&h);

    h.sequence++;
    cr_assert_neq(segment_seed(&h), seed);
    h = a_header();
    h.shard++;
    cr_assert_neq(segment_seed(&h), seed);
    h = a_header();
    h.node_uuid[15]++;
    cr_assert_neq(segment_seed(&h), seed);
}

Test(record, batch_header_has_its_layout)
{
    struct batch_header h = {.size = 1024,
                             .number = 0x0102030405060708,
                             .chain_before = 7,
                             .records = 2,
                             .body_crc = 9};
    struct batch_header got;
    uint8_t b[BATCH_HEADER_SIZE];
    uint8_t again[BATCH_HEADER_SIZE];

    batch_header_encode(&h, 5, b);
    cr_assert_eq(memcmp(b, "QRBT", 4), 0);
    cr_assert_eq(get_u32le(b + 4), 1024);
    cr_assert_eq(get_u64le(b + 8), 0x0102030405060708);
    cr_assert_eq(get_u32le(b + 16), 7);
    cr_assert_eq(get_u32le(b + 20), 2);
    cr_assert_eq(get_u32le(b + 24), 9);
    cr_assert_eq(get_u32le(b + 28), crc32c(5, b, 28));
    cr_assert_eq(h.chain, get_u32le(b + 28));
    cr_assert(batch_header_decode(b, 5, &got));
    batch_header_encode(&got, 5, again);
    cr_assert_eq(memcmp(again, b, sizeof(b)), 0);
    cr_assert_not(batch_header_decode(b, 6, &got));
    for (size_t i = 0; i < sizeof(b); i++) {
        b[i] ^= 1;
        cr_assert_not(batch_header_decode(b, 5, &got));
        b[i] ^= 1;
    }
}

Test(record, batch_mark_has_its_layout)
{
    struct batch_mark m = {.size = 512,
                           .number = 0x0102030405060708,
                           .chain = 7,
                           .items_size = 3,
                           .records = 2,
                           .counts = {1, 2, 3, 4}};
    struct batch_mark got = {0};
    uint8_t b[512] = {0};
    uint8_t *at = b + 512 - BATCH_MARK_SIZE;

    cr_assert_not(batch_mark_is_likely(b));
    memcpy(at - 3, "abc", 3);
    batch_mark_encode(&m, 5, at);
    cr_assert(batch_mark_is_likely(b));
    cr_assert_eq(memcmp(at, "QRBM", 4), 0);
    cr_assert_eq(batch_mark_size(at), 512);
    cr_assert_eq(get_u64le(at + 8), 0x0102030405060708);
    cr_assert_eq(get_u32le(at + 16), 7);
    cr_assert_eq(get_u32le(at + 20), 3);
    cr_assert_eq(get_u32le(at + 24), 2);
    cr_assert_eq(get_u32le(at + 28), 1);
    cr_assert_eq(get_u32le(at + 40), 4);
    cr_assert_eq(get_u32le(at + 44), crc32c(5, at - 3, 47));
    cr_assert(batch_mark_decode(at, 464, 5, &got));
    cr_assert(got.number == m.number && got.chain == 7 && got.records == 2);
    cr_assert_eq(got.counts.control_sum, 4);
    cr_assert_not(batch_mark_decode(at, 464, 6, &got));
    cr_assert_not(batch_mark_decode(at, 465, 5, &got));
    for (uint8_t *p = at - 3; p < b + 512; p++) {
        *p ^= 1;
        cr_assert_not(batch_mark_decode(at, 464, 5, &got));
        *p ^= 1;
    }
}

Test(record, counts_tell_what_is_missing)
{
    static const enum record_type types[] = {
        RECORD_ENTRY,    RECORD_STAGED,  RECORD_HARD,    RECORD_CUT,
        RECORD_SNAPSHOT, RECORD_CREATED, RECORD_DELETED, RECORD_COPY,
        RECORD_LOST,     RECORD_STATE,   RECORD_SEAL};
    struct log_counts a = {UINT32_MAX, 7, 1, UINT32_MAX};
    struct log_counts b = a;
    struct log_counts lost;

    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        struct record r = {.type = types[i], .log = 10 + (uint32_t)i};

        log_counts_add(&b, &r);
    }
    lost = log_counts_between(&a, &b);
    cr_assert_eq(lost.entries, 1);
    cr_assert_eq(lost.entry_sum, 10);
    cr_assert_eq(lost.controls, 8);
    cr_assert_eq(lost.control_sum, 12 + 13 + 14 + 15 + 16 + 17 + 18 + 19);
}

/* Encode R with a body of zeros. */
static void
seal(struct record *r, uint8_t *out, size_t body)
{
    r->size = (uint32_t)(RECORD_HEADER_SIZE + body);
    memset(out, 0, r->size);
    record_encode(r, out);
    record_seal(out, crc32c(record_crc_start(out), out + 32, body));
}

Test(record, record_has_its_layout)
{
    struct record r = {.type = RECORD_ENTRY,
                       .entry_type = 3,
                       .log = 0x01020304,
                       .index = 0x1112131415161718,
                       .term = 0x2122232425262728};
    struct record got = {0};
    uint8_t b[40];
    uint32_t crc = 0;

    seal(&r, b, 8);
    cr_assert_eq(get_u32le(b + 4), 40);
    cr_assert_eq(b[8], 1);
    cr_assert_eq(b[9], 3);
    cr_assert_eq(get_u32le(b + 12), 0x01020304);
    cr_assert_eq(get_u64le(b + 16), 0x1112131415161718);
    cr_assert_eq(get_u64le(b + 24), 0x2122232425262728);
    cr_assert_eq(get_u32le(b), crc32c(0, b + 4, 36));
    cr_assert_eq(record_decode(b, sizeof(b), &got, &crc), 0);
    cr_assert_eq(crc, get_u32le(b));
    cr_assert(got.type == r.type && got.entry_type == r.entry_type);
    cr_assert(got.log == r.log && got.size == r.size);
    cr_assert(got.index == r.index && got.term == r.term);
}

Test(record, record_refuses_damage_anywhere)
{
    struct record r = {.type = RECORD_HARD, .index = 1, .term = 2};
    struct record got;
    uint8_t b[48];
    uint32_t crc;

    seal(&r, b, 16);
    for (size_t i = 0; i < sizeof(b); i++) {
        b[i] ^= 0x80;
        cr_assert_eq(record_decode(b, sizeof(b), &got, &crc), -QR_ECORRUPT);
        b[i] ^= 0x80;
    }
    cr_assert_eq(record_decode(b, 47, &got, &crc), -QR_ECORRUPT);
    cr_assert_eq(record_decode(b, 31, &got, &crc), -QR_ECORRUPT);
    r.type = (enum record_type)77;
    seal(&r, b, 16);
    cr_assert_eq(record_decode(b, sizeof(b), &got, &crc), -QR_ECORRUPT);
}

Test(record, sizes_are_rounded_up)
{
    cr_assert_eq(record_span(32), 32);
    cr_assert_eq(record_span(33), 40);
    cr_assert_eq(sector_round_up(0), 0);
    cr_assert_eq(sector_round_up(1), 512);
    cr_assert_eq(sector_round_up(512), 512);
}

Test(record, index_items_come_back)
{
    struct rng rng;
    struct buf b;
    struct cursor c;
    struct record in[50];
    uint64_t before = 0;

    rng_init(&rng, 1);
    buf_init(&b);
    for (size_t i = 0; i < 50; i++) {
        size_t size = b.size;

        memset(&in[i], 0, sizeof(in[i]));
        in[i].type = (enum record_type)rng_between(&rng, 1, 7);
        in[i].entry_type = (uint8_t)rng_below(&rng, 32);
        in[i].log = (uint32_t)rng_u64(&rng);
        in[i].index = rng_u64(&rng);
        in[i].term = rng_u64(&rng);
        in[i].size = (uint32_t)rng_between(&rng, 32, RECORD_SIZE_MAX);
        in[i].offset = before + rng_below(&rng, 1 << 20) * 8;
        index_item_encode(&b, &in[i], before);
        before = in[i].offset + record_span(in[i].size);
        cr_assert_leq(b.size - size, INDEX_ITEM_SIZE_MAX);
    }
    before = 0;
    cursor_init(&c, b.data, b.size);
    for (size_t i = 0; i < 50; i++) {
        struct record got = {0};

        cr_assert_eq(index_item_decode(&c, before, &got), 0);
        cr_assert(got.type == in[i].type);
        cr_assert_eq(got.entry_type, in[i].entry_type);
        cr_assert(got.log == in[i].log && got.size == in[i].size);
        cr_assert(got.index == in[i].index && got.term == in[i].term);
        cr_assert_eq(got.offset, in[i].offset);
        before = got.offset + record_span(got.size);
    }
    cr_assert_eq(cursor_left(&c), 0);
    buf_deinit(&b);
}

Test(record, index_items_are_refused_when_cut_or_absurd)
{
    struct record r = {.type = RECORD_CUT, .log = 1, .index = 300, .size = 32};
    struct record got;
    struct buf b;
    struct cursor c;

    buf_init(&b);
    index_item_encode(&b, &r, 0);
    for (size_t size = 0; size < b.size; size++) {
        cursor_init(&c, b.data, size);
        cr_assert_eq(index_item_decode(&c, 0, &got), -QR_ECORRUPT);
    }
    b.data[b.size - 1] = 31; /* smaller than a header */
    cursor_init(&c, b.data, b.size);
    cr_assert_eq(index_item_decode(&c, 0, &got), -QR_ECORRUPT);
    b.data[b.size - 1] = 32;
    b.data[0] = 0;
    cursor_init(&c, b.data, b.size);
    cr_assert_eq(index_item_decode(&c, 0, &got), -QR_ECORRUPT);
    buf_deinit(&b);
}

Test(record, trailer_comes_back_or_is_refused)
{
    struct trailer t = {.sequence = 1,
                        .batch_last = 2,
                        .chain = 3,
                        .data_end = 1024,
                        .index_size = 5,
                        .records = 6,
                        .index_crc = 7,
                        .has_no_index = true,
                        .counts = {1, 2, 3, 4}};
    struct trailer got = {0};
    uint8_t s[TRAILER_SIZE];
    uint8_t again[TRAILER_SIZE];

    trailer_encode(&t, 9, s);
    cr_assert(trailer_decode(s, 9, &got));
    trailer_encode(&got, 9, again);
    cr_assert_eq(memcmp(again, s, sizeof(s)), 0);
    cr_assert_not(trailer_decode(s, 8, &got));
    cr_assert_eq(trailer_sequence(s), 1);
    for (size_t i = 0; i < 76; i++) {
        s[i] ^= 1;
        cr_assert_not(trailer_decode(s, 9, &got));
        s[i] ^= 1;
    }
}

struct fixture {
    struct ranges live;
    struct group_log log;
    struct store_snapshot snapshot;
    struct buf bytes;
};

/* A snapshot at 40 that keeps 3, 10 to 19 and 40; terms change at 15. */
static void
start(struct fixture *f)
{
    struct entry_loc loc = {.what = ENTRY_LOC_PRESENT};

    memset(f, 0, sizeof(*f));
    ranges_init(&f->live);
    ranges_add(&f->live, 3, 3);
    ranges_add(&f->live, 10, 19);
    ranges_add(&f->live, 40, 40);
    group_log_init(&f->log);
    for (qr_index i = 1; i <= 40; i++) {
        group_log_put(&f->log, i, i < 15 ? 7 : 8, &loc);
    }
    f->snapshot.index = 40;
    f->snapshot.term = 8;
    f->snapshot.configuration_index = 2;
    f->snapshot.configuration = (struct slice){NULL, (const uint8_t *)"cf", 2};
    f->snapshot.live = &f->live;
    buf_init(&f->bytes);
    snapshot_encode(&f->bytes, &f->snapshot, &f->log);
    buf_put(&f->bytes, "manifest", 8);
}

static void
finish(struct fixture *f)
{
    buf_deinit(&f->bytes);
    group_log_deinit(&f->log, NULL, NULL);
    ranges_deinit(&f->live);
}

Test(record, snapshot_names_the_terms_of_live_entries)
{
    struct fixture f;
    struct snapshot_body body;

    start(&f);
    cr_assert_eq(snapshot_decode(f.bytes.data, f.bytes.size, 40, &body), 0);
    cr_assert_eq(body.term, 8);
    cr_assert_eq(body.configuration_index, 2);
    cr_assert_eq(body.configuration_size, 2);
    cr_assert_eq(body.manifest_size, 8);
    cr_assert_eq(memcmp(body.manifest, "manifest", 8), 0);
    cr_assert_eq(body.runs_count, 4);
    cr_assert_eq(body.runs[0].first, 3);
    cr_assert_eq(body.runs[0].last, 3);
    cr_assert_eq(body.runs[1].first, 10);
    cr_assert_eq(body.runs[1].last, 14);
    cr_assert_eq(body.runs[1].term, 7);
    cr_assert_eq(body.runs[2].first, 15);
    cr_assert_eq(body.runs[2].last, 19);
    cr_assert_eq(body.runs[2].term, 8);
    cr_assert_eq(body.runs[3].first, 40);
    mem_free(body.runs);
    finish(&f);
}

Test(record, snapshot_refuses_what_makes_no_sense)
{
    struct fixture f;
    struct snapshot_body body;
    size_t runs_end;

    start(&f);
    runs_end = f.bytes.size - 8;
    cr_assert_eq(snapshot_decode(f.bytes.data, f.bytes.size, 39, &body),
                 -QR_ECORRUPT);
    for (size_t size = 0; size < runs_end; size++) {
        cr_assert_eq(snapshot_decode(f.bytes.data, size, 40, &body),
                     -QR_ECORRUPT);
    }
    put_u32le(f.bytes.data, UINT32_MAX);
    cr_assert_eq(snapshot_decode(f.bytes.data, f.bytes.size, 40, &body),
                 -QR_ECORRUPT);
    finish(&f);
}

Test(record, decoders_survive_noise)
{
    struct rng rng;
    uint8_t noise[256];

    rng_init(&rng, 7);
    for (int i = 0; i < 20000; i++) {
        struct snapshot_body body;
        struct record r;
        struct cursor c;

        rng_fill(&rng, noise, sizeof(noise));
        put_u32le(noise, (uint32_t)rng_below(&rng, 20));
        if (snapshot_decode(noise, sizeof(noise), 1 << 20, &body) == 0) {
            mem_free(body.runs);
        }
        cursor_init(&c, noise, sizeof(noise));
        while (cursor_left(&c) > 0 && index_item_decode(&c, 0, &r) == 0) {
        }
    }
}
