/* The store's formats: see record.h and docs/formats/store.md.
 *
 * Three checksums guard a batch without any byte being read twice: each record
 * has one over its header and body, the batch has one over those of its
 * records, and the batch header has one over that and the checksum of the
 * batch before. So a record can be verified alone when it is read later, a
 * batch proves its place in the sequence, and what an earlier use of a file
 * left behind can never pass for new. */
#include "store/record.h"

#include <quorate/error.h>
#include <quorate/version.h>
#include <string.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "base/ranges.h"
#include "store/group_log.h"
#include "store/store.h"

enum {
    BATCH_MAGIC = 0x54425251,   /* QRBT */
    MARK_MAGIC = 0x4d425251,    /* QRBM */
    TRAILER_MAGIC = 0x52545251, /* QRTR */
    TRAILER_NO_INDEX = 1,
    HEADER_CRC_AT = 60,
    HEADER_COUNTS_AT = 64,
    COUNTS_SIZE = 16,
    MARK_CRC_AT = 44,
    TRAILER_CRC_AT = 72
};

static const uint8_t segment_magic[8] = {'Q', 'R', 'S', 'E',
                                         'G', 'M', 'N', 'T'};

uint64_t
sector_round_up(uint64_t size)
{
    return (size + SECTOR_SIZE - 1) & ~(uint64_t)(SECTOR_SIZE - 1);
}

uint64_t
record_span(uint64_t size)
{
    ASSERT(size >= RECORD_HEADER_SIZE);
    return (size + RECORD_ALIGN - 1) & ~(uint64_t)(RECORD_ALIGN - 1);
}

void
log_counts_add(struct log_counts *c, const struct record *r)
{
    switch (r->type) {
    case RECORD_ENTRY:
        c->entries++;
        c->entry_sum += r->log;
        break;
    case RECORD_STAGED:
    case RECORD_SEAL:
        break;
    case RECORD_HARD:
    case RECORD_CUT:
    case RECORD_SNAPSHOT:
    case RECORD_CREATED:
    case RECORD_DELETED:
    case RECORD_COPY:
    case RECORD_LOST:
    case RECORD_STATE:
    default:
        c->controls++;
        c->control_sum += r->log;
    }
}

struct log_counts
log_counts_between(const struct log_counts *from, const struct log_counts *to)
{
    struct log_counts c = {.entries = to->entries - from->entries,
                           .entry_sum = to->entry_sum - from->entry_sum,
                           .controls = to->controls - from->controls,
                           .control_sum = to->control_sum - from->control_sum};

    return c;
}

static void
counts_encode(const struct log_counts *c, uint8_t out[COUNTS_SIZE])
{
    put_u32le(out, c->entries);
    put_u32le(out + 4, c->entry_sum);
    put_u32le(out + 8, c->controls);
    put_u32le(out + 12, c->control_sum);
}

static void
counts_decode(const uint8_t in[COUNTS_SIZE], struct log_counts *out)
{
    out->entries = get_u32le(in);
    out->entry_sum = get_u32le(in + 4);
    out->controls = get_u32le(in + 8);
    out->control_sum = get_u32le(in + 12);
}

void
segment_header_encode(const struct segment_header *h,
                      uint8_t out[SEGMENT_HEADER_SIZE])
{
    ASSERT(h->size % SECTOR_SIZE == 0);
    ASSERT(h->size / SECTOR_SIZE <= UINT32_MAX);
    memset(out, 0, SEGMENT_HEADER_SIZE);
    memcpy(out, segment_magic, sizeof(segment_magic));
    put_u32le(out + 8, h->version);
    put_u32le(out + 12, (uint32_t)h->use);
    memcpy(out + 16, h->node_uuid, 16);
    put_u32le(out + 32, h->shard);
    put_u32le(out + 36, h->chain);
    put_u64le(out + 40, h->sequence);
    put_u64le(out + 48, h->batch_first);
    put_u32le(out + 56, (uint32_t)(h->size / SECTOR_SIZE));
    counts_encode(&h->counts, out + HEADER_COUNTS_AT);
    put_u32le(out + HEADER_CRC_AT, crc32c(0, out, HEADER_CRC_AT));
    put_u32le(out + HEADER_COUNTS_AT + COUNTS_SIZE,
              crc32c(0, out + HEADER_COUNTS_AT, COUNTS_SIZE));
}

static bool
is_all_zero(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] != 0) {
            return false;
        }
    }
    return true;
}

int
segment_header_decode(const uint8_t in[SEGMENT_HEADER_SIZE],
                      struct segment_header *out)
{
    uint32_t use = get_u32le(in + 12);

    if (is_all_zero(in, SEGMENT_HEADER_SIZE)) {
        return -QR_ENOENT;
    }
    if (memcmp(in, segment_magic, sizeof(segment_magic)) != 0 ||
        get_u32le(in + HEADER_CRC_AT) != crc32c(0, in, HEADER_CRC_AT) ||
        (use != SEGMENT_UNUSED && use != SEGMENT_IN_USE)) {
        return -QR_ECORRUPT;
    }
    if (get_u32le(in + 8) == QR_STORE_FORMAT &&
        get_u32le(in + HEADER_COUNTS_AT + COUNTS_SIZE) !=
            crc32c(0, in + HEADER_COUNTS_AT, COUNTS_SIZE)) {
        return -QR_ECORRUPT;
    }
    out->version = get_u32le(in + 8);
    out->use = use == SEGMENT_UNUSED ? SEGMENT_UNUSED : SEGMENT_IN_USE;
    memcpy(out->node_uuid, in + 16, 16);
    out->shard = get_u32le(in + 32);
    out->chain = get_u32le(in + 36);
    out->sequence = get_u64le(in + 40);
    out->batch_first = get_u64le(in + 48);
    out->size = (uint64_t)get_u32le(in + 56) * SECTOR_SIZE;
    counts_decode(in + HEADER_COUNTS_AT, &out->counts);
    return 0;
}

uint32_t
segment_seed(const struct segment_header *h)
{
    uint8_t text[28];

    ASSERT(h->sequence > 0);
    memcpy(text, h->node_uuid, 16);
    put_u32le(text + 16, h->shard);
    put_u64le(text + 20, h->sequence);
    return crc32c(0, text, sizeof(text));
}

void
batch_header_encode(struct batch_header *h, uint32_t seed,
                    uint8_t out[BATCH_HEADER_SIZE])
{
    ASSERT(h->size >= SECTOR_SIZE);
    ASSERT(h->number > 0);
    put_u32le(out, BATCH_MAGIC);
    put_u32le(out + 4, h->size);
    put_u64le(out + 8, h->number);
    put_u32le(out + 16, h->chain_before);
    put_u32le(out + 20, h->records);
    put_u32le(out + 24, h->body_crc);
    h->chain = crc32c(seed, out, 28);
    put_u32le(out + 28, h->chain);
}

bool
batch_header_decode(const uint8_t in[BATCH_HEADER_SIZE], uint32_t seed,
                    struct batch_header *out)
{
    if (get_u32le(in) != BATCH_MAGIC ||
        get_u32le(in + 28) != crc32c(seed, in, 28)) {
        return false;
    }
    out->size = get_u32le(in + 4);
    out->number = get_u64le(in + 8);
    out->chain_before = get_u32le(in + 16);
    out->records = get_u32le(in + 20);
    out->body_crc = get_u32le(in + 24);
    out->chain = get_u32le(in + 28);
    return out->size >= SECTOR_SIZE && out->size % SECTOR_SIZE == 0 &&
           out->number > 0;
}

void
batch_mark_encode(const struct batch_mark *m, uint32_t seed, uint8_t *out)
{
    uint32_t crc = crc32c(seed, out - m->items_size, m->items_size);

    ASSERT(m->size % SECTOR_SIZE == 0);
    ASSERT(m->size >= BATCH_HEADER_SIZE + m->items_size + BATCH_MARK_SIZE);
    put_u32le(out, MARK_MAGIC);
    put_u32le(out + 4, m->size);
    put_u64le(out + 8, m->number);
    put_u32le(out + 16, m->chain);
    put_u32le(out + 20, m->items_size);
    put_u32le(out + 24, m->records);
    counts_encode(&m->counts, out + 28);
    put_u32le(out + MARK_CRC_AT, crc32c(crc, out, MARK_CRC_AT));
}

bool
batch_mark_is_likely(const uint8_t sector[SECTOR_SIZE])
{
    return get_u32le(sector + SECTOR_SIZE - BATCH_MARK_SIZE) == MARK_MAGIC;
}

uint32_t
batch_mark_size(const uint8_t *in)
{
    return get_u32le(in + 4);
}

bool
batch_mark_decode(const uint8_t *in, uint64_t size, uint32_t seed,
                  struct batch_mark *out)
{
    uint32_t items = get_u32le(in + 20);
    uint32_t crc;

    if (get_u32le(in) != MARK_MAGIC || size < BATCH_HEADER_SIZE ||
        items > size - BATCH_HEADER_SIZE) {
        return false;
    }
    crc = crc32c(crc32c(seed, in - items, items), in, MARK_CRC_AT);
    if (crc != get_u32le(in + MARK_CRC_AT)) {
        return false;
    }
    out->size = get_u32le(in + 4);
    out->number = get_u64le(in + 8);
    out->chain = get_u32le(in + 16);
    out->items_size = items;
    out->records = get_u32le(in + 24);
    counts_decode(in + 28, &out->counts);
    return out->size == size + BATCH_MARK_SIZE && out->number > 0;
}

void
record_encode(const struct record *r, uint8_t out[RECORD_HEADER_SIZE])
{
    ASSERT(r->size >= RECORD_HEADER_SIZE);
    ASSERT(r->size <= RECORD_SIZE_MAX);
    put_u32le(out, 0);
    put_u32le(out + 4, r->size);
    out[8] = (uint8_t)r->type;
    out[9] = r->entry_type;
    out[10] = 0;
    out[11] = 0;
    put_u32le(out + 12, r->log);
    put_u64le(out + 16, r->index);
    put_u64le(out + 24, r->term);
}

uint32_t
record_crc_start(const uint8_t header[RECORD_HEADER_SIZE])
{
    return crc32c(0, header + 4, RECORD_HEADER_SIZE - 4);
}

void
record_seal(uint8_t header[RECORD_HEADER_SIZE], uint32_t crc)
{
    put_u32le(header, crc);
}

static bool
record_type_is_known(unsigned type)
{
    return type >= RECORD_ENTRY && type <= RECORD_SEAL;
}

int
record_decode(const uint8_t *in, size_t size, struct record *out, uint32_t *crc)
{
    uint32_t own;

    if (size < RECORD_HEADER_SIZE) {
        return -QR_ECORRUPT;
    }
    own = get_u32le(in + 4);
    if (own < RECORD_HEADER_SIZE || own > RECORD_SIZE_MAX || own > size ||
        !record_type_is_known(in[8]) ||
        (!MUTATION(skip_crc) && crc32c(0, in + 4, own - 4) != get_u32le(in))) {
        return -QR_ECORRUPT;
    }
    out->size = own;
    out->is_damaged = false;
    out->type = (enum record_type)in[8];
    out->entry_type = in[9];
    out->log = get_u32le(in + 12);
    out->index = get_u64le(in + 16);
    out->term = get_u64le(in + 24);
    *crc = get_u32le(in);
    return 0;
}

void
index_item_encode(struct buf *b, const struct record *r, uint64_t before)
{
    ASSERT(r->offset >= before);
    ASSERT((r->offset - before) % RECORD_ALIGN == 0);
    buf_put_u8(b, (uint8_t)r->type);
    buf_put_u8(b, r->entry_type);
    buf_put_varint(b, r->log);
    buf_put_varint(b, r->index);
    buf_put_varint(b, r->term);
    buf_put_varint(b, (r->offset - before) / RECORD_ALIGN);
    buf_put_varint(b, r->size);
}

int
index_item_decode(struct cursor *c, uint64_t before, struct record *out)
{
    uint8_t type = cursor_u8(c);
    uint64_t log;
    uint64_t gap;
    uint64_t size;

    out->entry_type = cursor_u8(c);
    log = cursor_varint(c);
    out->index = cursor_varint(c);
    out->term = cursor_varint(c);
    gap = cursor_varint(c);
    size = cursor_varint(c);
    if (c->bad || !record_type_is_known(type) || log > UINT32_MAX ||
        gap > UINT32_MAX || size < RECORD_HEADER_SIZE ||
        size > RECORD_SIZE_MAX) {
        return -QR_ECORRUPT;
    }
    out->is_damaged = false;
    out->type = (enum record_type)type;
    out->log = (uint32_t)log;
    out->offset = before + gap * RECORD_ALIGN;
    out->size = (uint32_t)size;
    return 0;
}

void
trailer_encode(const struct trailer *t, uint32_t seed,
               uint8_t out[TRAILER_SIZE])
{
    ASSERT(t->data_end % SECTOR_SIZE == 0);
    ASSERT(t->sequence > 0);
    memset(out, 0, TRAILER_SIZE);
    put_u32le(out, TRAILER_MAGIC);
    put_u32le(out + 4, t->chain);
    put_u64le(out + 8, t->sequence);
    put_u64le(out + 16, t->batch_last);
    put_u64le(out + 24, t->data_end);
    put_u64le(out + 32, t->index_size);
    put_u64le(out + 40, t->records);
    put_u32le(out + 48, t->index_crc);
    put_u32le(out + 52, t->has_no_index ? TRAILER_NO_INDEX : 0);
    counts_encode(&t->counts, out + 56);
    put_u32le(out + TRAILER_CRC_AT, crc32c(seed, out, TRAILER_CRC_AT));
}

uint64_t
trailer_sequence(const uint8_t in[TRAILER_SIZE])
{
    return get_u32le(in) == TRAILER_MAGIC ? get_u64le(in + 8) : 0;
}

bool
trailer_decode(const uint8_t in[TRAILER_SIZE], uint32_t seed,
               struct trailer *out)
{
    if (get_u32le(in) != TRAILER_MAGIC ||
        get_u32le(in + TRAILER_CRC_AT) != crc32c(seed, in, TRAILER_CRC_AT)) {
        return false;
    }
    out->chain = get_u32le(in + 4);
    out->sequence = get_u64le(in + 8);
    out->batch_last = get_u64le(in + 16);
    out->data_end = get_u64le(in + 24);
    out->index_size = get_u64le(in + 32);
    out->records = get_u64le(in + 40);
    out->index_crc = get_u32le(in + 48);
    out->has_no_index = (get_u32le(in + 52) & TRAILER_NO_INDEX) != 0;
    counts_decode(in + 56, &out->counts);
    return true;
}

/* The stretches of [FIRST, LAST] with one term each. */
static size_t
encode_runs(struct buf *b, const struct range *range, qr_index *before,
            const struct group_log *terms)
{
    qr_index at = range->first;
    size_t count = 0;

    ASSERT(range->first > *before);
    ASSERT(range->first <= range->last);
    while (at <= range->last) {
        qr_index last = MIN(group_log_run_last(terms, at), range->last);

        buf_put_varint(b, at - *before);
        buf_put_varint(b, last - at);
        buf_put_varint(b, group_log_term(terms, at));
        *before = last;
        at = last + 1;
        count++;
    }
    return count;
}

/* The runs come last but for the manifest, behind their count. */
void
snapshot_encode(struct buf *b, const struct store_snapshot *s,
                const struct group_log *terms)
{
    size_t start = b->size;
    size_t count = 0;
    qr_index before = 0;

    ASSERT(s->index > 0);
    buf_put_u32le(b, 0);
    buf_put_varint(b, s->term);
    buf_put_varint(b, s->configuration_index);
    buf_put_blob(b, s->configuration.data, s->configuration.size);
    for (size_t i = 0; s->live != NULL && i < s->live->count; i++) {
        count += encode_runs(b, &s->live->items[i], &before, terms);
    }
    ASSERT(count <= UINT32_MAX);
    put_u32le(b->data + start, (uint32_t)count);
}

static int
decode_runs(struct cursor *c, qr_index index, struct snapshot_body *body)
{
    qr_index before = 0;

    for (size_t i = 0; i < body->runs_count; i++) {
        struct live_run *run = &body->runs[i];
        uint64_t gap = cursor_varint(c);
        uint64_t more = cursor_varint(c);

        run->term = cursor_varint(c);
        if (c->bad || gap == 0 || gap > index || more > index) {
            return -QR_ECORRUPT;
        }
        run->first = before + gap;
        run->last = run->first + more;
        if (run->last > index || run->term == 0) {
            return -QR_ECORRUPT;
        }
        before = run->last;
    }
    return 0;
}

int
snapshot_decode(const uint8_t *data, size_t size, qr_index index,
                struct snapshot_body *out)
{
    struct snapshot_body body = {0};
    struct cursor c;
    int rv;

    cursor_init(&c, data, size);
    body.runs_count = cursor_u32le(&c);
    body.term = cursor_varint(&c);
    body.configuration_index = cursor_varint(&c);
    body.configuration = cursor_blob(&c, &body.configuration_size);
    /* A run takes three bytes at least. */
    if (c.bad || body.runs_count > cursor_left(&c) / 3) {
        return -QR_ECORRUPT;
    }
    body.runs = mem_zalloc(body.runs_count, sizeof(*body.runs));
    rv = decode_runs(&c, index, &body);
    if (rv != 0) {
        mem_free(body.runs);
        return rv;
    }
    body.manifest_size = cursor_left(&c);
    body.manifest = cursor_bytes(&c, body.manifest_size);
    *out = body;
    return 0;
}
