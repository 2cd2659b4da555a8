/* Bitmaps in chunks. A chunk in which every message was confirmed and arrived
 * and none was published again is given back: what comes of it later is a
 * duplicate. So a long run costs memory for what is under way only. */
#include "bench/verify.h"

#include "base/check.h"
#include "base/mem.h"

enum {
    VERIFY_MAGIC = 0x76657266,
    CHUNK_BITS = 15,
    CHUNK_SIZE = 1 << CHUNK_BITS, /* messages */
    WORD_BITS = 64,
    CHUNK_WORDS = CHUNK_SIZE / WORD_BITS
};

struct chunk {
    uint32_t settled; /* confirmed and arrived */
    bool sent_again;  /* any */
    uint64_t confirmed[CHUNK_WORDS];
    uint64_t arrived[CHUNK_WORDS];
    uint64_t again[CHUNK_WORDS];
};

/* A chunk's place: not begun (NULL), there, or done and given back. */
struct place {
    struct chunk *chunk;
    bool is_done;
};

struct lane {
    struct place *places;
    uint64_t count;
    uint64_t end; /* one past the highest that arrived */
    uint64_t arrived;
};

struct verify {
    unsigned magic;
    uint32_t lanes_count;
    uint64_t confirmed;
    uint64_t settled;
    uint64_t arrived;
    struct lane lanes[];
};

struct verify *
verify_new(uint32_t lanes)
{
    struct verify *v = NULL;

    ASSERT(lanes >= 1);
    ASSERT(lanes <= VERIFY_LANES_MAX);
    v = mem_zalloc(1, sizeof(*v) + lanes * sizeof(v->lanes[0]));
    v->magic = VERIFY_MAGIC;
    v->lanes_count = lanes;
    return v;
}

void
verify_free(struct verify **v)
{
    uint32_t i = 0;
    uint64_t j = 0;

    if (*v == NULL) {
        return;
    }
    OBJ_CHECK(*v, VERIFY_MAGIC);
    for (i = 0; i < (*v)->lanes_count; i++) {
        for (j = 0; j < (*v)->lanes[i].count; j++) {
            mem_free((*v)->lanes[i].places[j].chunk);
        }
        mem_free((*v)->lanes[i].places);
    }
    (*v)->magic = 0;
    mem_free(*v);
    *v = NULL;
}

/* Places for INDEX and those before it. */
static void
lane_grow(struct lane *lane, uint64_t index)
{
    uint64_t count = lane->count > 0 ? lane->count * 2 : 4;
    uint64_t i = 0;

    count = MAX(count, index + 1);
    lane->places =
        mem_realloc(lane->places, (size_t)count * sizeof(lane->places[0]));
    for (i = lane->count; i < count; i++) {
        lane->places[i] = (struct place){0};
    }
    lane->count = count;
}

/* The chunk of SEQUENCE, begun if need be; NULL if it is done. */
static struct chunk *
lane_chunk(struct lane *lane, uint64_t sequence)
{
    uint64_t index = sequence >> CHUNK_BITS;
    struct place *place = NULL;

    ASSERT(sequence < VERIFY_SEQUENCE_MAX);
    if (UNLIKELY(index >= lane->count)) {
        lane_grow(lane, index);
    }
    place = &lane->places[index];
    if (UNLIKELY(place->chunk == NULL) && !place->is_done) {
        place->chunk = mem_zalloc(1, sizeof(*place->chunk));
    }
    return place->chunk;
}

static struct lane *
verify_lane(struct verify *v, uint32_t lane)
{
    OBJ_CHECK(v, VERIFY_MAGIC);
    ASSERT(lane < v->lanes_count);
    return &v->lanes[lane];
}

/* Set the bit of SEQUENCE; whether it was set already. */
static bool
set_bit(uint64_t *words, uint64_t sequence)
{
    uint64_t *word = &words[(sequence & (CHUNK_SIZE - 1)) / WORD_BITS];
    uint64_t bit = UINT64_C(1) << (sequence % WORD_BITS);
    bool was = (*word & bit) != 0;

    *word |= bit;
    return was;
}

static bool
get_bit(const uint64_t *words, uint64_t sequence)
{
    return (words[(sequence & (CHUNK_SIZE - 1)) / WORD_BITS] >>
                (sequence % WORD_BITS) &
            1) != 0;
}

/* One more of CHUNK, which SEQUENCE is in, is both confirmed and arrived. */
static void
settle(struct verify *v, struct lane *lane, struct chunk *chunk,
       uint64_t sequence)
{
    struct place *place = &lane->places[sequence >> CHUNK_BITS];

    ASSERT(place->chunk == chunk);
    v->settled++;
    chunk->settled++;
    if (chunk->settled == CHUNK_SIZE && !chunk->sent_again) {
        mem_free(chunk);
        place->chunk = NULL;
        place->is_done = true;
    }
}

void
verify_confirmed(struct verify *v, uint32_t lane, uint64_t sequence)
{
    struct lane *l = verify_lane(v, lane);
    struct chunk *chunk = lane_chunk(l, sequence);

    if (chunk == NULL || set_bit(chunk->confirmed, sequence)) {
        return;
    }
    v->confirmed++;
    if (get_bit(chunk->arrived, sequence)) {
        settle(v, l, chunk, sequence);
    }
}

void
verify_sent_again(struct verify *v, uint32_t lane, uint64_t sequence)
{
    struct chunk *chunk = lane_chunk(verify_lane(v, lane), sequence);

    if (chunk != NULL) {
        chunk->sent_again = true;
        (void)set_bit(chunk->again, sequence);
    }
}

bool
verify_was_sent_again(const struct verify *v, uint32_t lane, uint64_t sequence)
{
    const struct lane *l = &v->lanes[lane];
    uint64_t index = sequence >> CHUNK_BITS;

    OBJ_CHECK(v, VERIFY_MAGIC);
    ASSERT(lane < v->lanes_count);
    return index < l->count && l->places[index].chunk != NULL &&
           get_bit(l->places[index].chunk->again, sequence);
}

enum verify_arrival
verify_arrived(struct verify *v, uint32_t lane, uint64_t sequence)
{
    struct lane *l = verify_lane(v, lane);
    struct chunk *chunk = lane_chunk(l, sequence);

    if (chunk == NULL) {
        return VERIFY_AGAIN;
    }
    if (set_bit(chunk->arrived, sequence)) {
        return get_bit(chunk->again, sequence) ? VERIFY_AGAIN_AFTER_SEND
                                               : VERIFY_AGAIN;
    }
    v->arrived++;
    l->arrived++;
    l->end = MAX(l->end, sequence + 1);
    if (get_bit(chunk->confirmed, sequence)) {
        settle(v, l, chunk, sequence);
    }
    return VERIFY_FIRST;
}

uint64_t
verify_missing(const struct verify *v)
{
    OBJ_CHECK(v, VERIFY_MAGIC);
    ASSERT(v->confirmed >= v->settled);
    return v->confirmed - v->settled;
}

void
verify_totals(const struct verify *v, struct verify_totals *out)
{
    uint32_t i = 0;

    OBJ_CHECK(v, VERIFY_MAGIC);
    *out = (struct verify_totals){
        .confirmed = v->confirmed,
        .arrived = v->arrived,
        .missing = verify_missing(v),
        .unconfirmed_arrived = v->arrived - v->settled,
    };
    for (i = 0; i < v->lanes_count; i++) {
        out->holes += v->lanes[i].end - v->lanes[i].arrived;
    }
}
