/* The index of one group's entries.
 *
 * A chunk covers GROUP_LOG_CHUNK consecutive indexes. The chunks that hold at
 * least one entry stand in an array in order; appending touches its end,
 * releasing takes from its front, and a lookup first tries the place where the
 * chunk would be if none were missing before it. Snapshots that release
 * entries here and there sweep the array once. */
#include "store/group_log.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/ranges.h"

struct group_chunk {
    qr_index base; /* multiple of GROUP_LOG_CHUNK */
    uint32_t count;
    struct entry_loc locs[GROUP_LOG_CHUNK];
};

_Static_assert(sizeof(struct entry_loc) == 16, "16 bytes an entry");

static bool
is_present(const struct entry_loc *loc)
{
    return (loc->what & ENTRY_LOC_PRESENT) != 0;
}

void
group_log_init(struct group_log *log)
{
    memset(log, 0, sizeof(*log));
}

static struct group_chunk *
chunk_at(const struct group_log *log, size_t position)
{
    ASSERT(position < log->count);
    return log->chunks[log->head + position];
}

/* Position of the first chunk whose base is not below BASE. */
static size_t
chunk_search(const struct group_log *log, qr_index base)
{
    size_t low = 0;
    size_t high = log->count;
    qr_index guess;

    ASSERT(base % GROUP_LOG_CHUNK == 0);
    if (log->count == 0 || chunk_at(log, 0)->base >= base) {
        return 0;
    }
    guess = (base - chunk_at(log, 0)->base) / GROUP_LOG_CHUNK;
    if (guess < log->count && chunk_at(log, (size_t)guess)->base == base) {
        return (size_t)guess;
    }
    if (chunk_at(log, log->count - 1)->base == base) {
        return log->count - 1;
    }
    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (chunk_at(log, mid)->base < base) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static qr_index
base_of(qr_index index)
{
    return index - index % GROUP_LOG_CHUNK;
}

static void
chunk_drop_from(struct group_chunk *chunk, unsigned from,
                group_log_drop_cb drop, void *arg)
{
    ASSERT(from < GROUP_LOG_CHUNK);
    for (unsigned i = from; i < GROUP_LOG_CHUNK; i++) {
        if (!is_present(&chunk->locs[i])) {
            continue;
        }
        if (drop != NULL) {
            drop(arg, chunk->base + i, &chunk->locs[i]);
        }
        chunk->locs[i].what = 0;
        ASSERT(chunk->count > 0);
        chunk->count--;
    }
}

void
group_log_deinit(struct group_log *log, group_log_drop_cb drop, void *arg)
{
    ASSERT(log->head + log->count <= log->capacity);
    for (size_t i = 0; i < log->count; i++) {
        struct group_chunk *chunk = chunk_at(log, i);

        chunk_drop_from(chunk, 0, drop, arg);
        mem_free(chunk);
    }
    mem_free(log->chunks);
    mem_free(log->runs);
    group_log_init(log);
}

static struct group_chunk *
chunk_push(struct group_log *log, qr_index base)
{
    struct group_chunk *chunk;

    ASSERT(base % GROUP_LOG_CHUNK == 0);
    ASSERT(log->head + log->count <= log->capacity);
    if (log->head + log->count == log->capacity) {
        if (log->head > log->capacity / 2) {
            memmove(log->chunks, log->chunks + log->head,
                    log->count * sizeof(struct group_chunk *));
            log->head = 0;
        } else {
            log->capacity = log->capacity == 0 ? 4 : log->capacity * 2;
            log->chunks = mem_realloc(
                log->chunks, log->capacity * sizeof(struct group_chunk *));
        }
    }
    chunk = mem_zalloc(1, sizeof(*chunk));
    chunk->base = base;
    log->chunks[log->head + log->count] = chunk;
    log->count++;
    return chunk;
}

static void
runs_push(struct group_log *log, qr_index index, qr_term term)
{
    const struct term_run *last;

    if (log->runs_count > 0) {
        last = &log->runs[log->runs_count - 1];
        ASSERT(last->first <= index);
        if (last->term == term) {
            return;
        }
    }
    if (log->runs_count == log->runs_capacity) {
        log->runs_capacity =
            log->runs_capacity == 0 ? 2 : log->runs_capacity * 2;
        log->runs =
            mem_realloc(log->runs, log->runs_capacity * sizeof(*log->runs));
    }
    log->runs[log->runs_count].first = index;
    log->runs[log->runs_count].term = term;
    log->runs_count++;
}

void
group_log_put(struct group_log *log, qr_index index, qr_term term,
              const struct entry_loc *loc)
{
    qr_index base = base_of(index);
    struct group_chunk *chunk = NULL;

    ASSERT(index > 0);
    ASSERT(is_present(loc));
    if (log->count > 0) {
        chunk = chunk_at(log, log->count - 1);
        ASSERT(chunk->base <= base);
    }
    if (chunk == NULL || chunk->base != base) {
        chunk = chunk_push(log, base);
    }
    for (qr_index i = index - base; i < GROUP_LOG_CHUNK; i++) {
        ASSERT(!is_present(&chunk->locs[i]));
    }
    runs_push(log, index, term);
    chunk->locs[index - base] = *loc;
    chunk->count++;
}

struct entry_loc *
group_log_get(const struct group_log *log, qr_index index)
{
    qr_index base = base_of(index);
    size_t position = chunk_search(log, base);
    struct group_chunk *chunk;
    struct entry_loc *loc;

    if (position == log->count) {
        return NULL;
    }
    chunk = chunk_at(log, position);
    loc = &chunk->locs[index - base];
    return chunk->base == base && is_present(loc) ? loc : NULL;
}

/* The run that INDEX falls into, as a position. */
static size_t
run_search(const struct group_log *log, qr_index index)
{
    size_t low = 0;
    size_t high = log->runs_count;

    ASSERT(log->runs_count > 0);
    ASSERT(log->runs[0].first <= index);
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;

        if (log->runs[mid].first <= index) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return low;
}

qr_term
group_log_term(const struct group_log *log, qr_index index)
{
    return log->runs[run_search(log, index)].term;
}

qr_index
group_log_run_last(const struct group_log *log, qr_index index)
{
    size_t run = run_search(log, index);

    return run + 1 < log->runs_count ? log->runs[run + 1].first - 1
                                     : UINT64_MAX;
}

qr_index
group_log_next(const struct group_log *log, qr_index index,
               struct entry_loc **loc)
{
    size_t position = chunk_search(log, base_of(index));

    for (; position < log->count; position++) {
        struct group_chunk *chunk = chunk_at(log, position);
        qr_index from = chunk->base < index ? index - chunk->base : 0;

        for (qr_index i = from; i < GROUP_LOG_CHUNK; i++) {
            if (is_present(&chunk->locs[i])) {
                *loc = &chunk->locs[i];
                return chunk->base + i;
            }
        }
    }
    return 0;
}

void
group_log_cut(struct group_log *log, qr_index from, group_log_drop_cb drop,
              void *arg)
{
    ASSERT(from > 0);
    while (log->count > 0) {
        struct group_chunk *chunk = chunk_at(log, log->count - 1);
        qr_index end = chunk->base + GROUP_LOG_CHUNK;

        if (end <= from) {
            break;
        }
        chunk_drop_from(
            chunk, chunk->base >= from ? 0 : (unsigned)(from - chunk->base),
            drop, arg);
        if (chunk->count > 0) {
            break;
        }
        mem_free(chunk);
        log->count--;
    }
    while (log->runs_count > 0 &&
           log->runs[log->runs_count - 1].first >= from) {
        log->runs_count--;
    }
}

/* The part of CHUNK that is up to LAST and not in LIVE goes. *NEXT is the
 * first range that may matter; it only moves forwards. */
static uint64_t
chunk_keep(struct group_chunk *chunk, qr_index last, const struct ranges *live,
           size_t *next, group_log_drop_cb drop, void *arg)
{
    qr_index end = chunk->base + GROUP_LOG_CHUNK - 1;
    uint64_t kept = 0;

    ASSERT(chunk->count > 0);
    ASSERT(chunk->base <= last);
    while (live != NULL && *next < live->count &&
           live->items[*next].last < chunk->base) {
        (*next)++;
    }
    if (end <= last && live != NULL && *next < live->count &&
        live->items[*next].first <= chunk->base &&
        live->items[*next].last >= end) {
        return chunk->count; /* a long backlog is made of these */
    }
    for (unsigned i = 0; i < GROUP_LOG_CHUNK; i++) {
        qr_index index = chunk->base + i;

        if (!is_present(&chunk->locs[i]) || index > last) {
            continue;
        }
        while (live != NULL && *next < live->count &&
               live->items[*next].last < index) {
            (*next)++;
        }
        if (live != NULL && *next < live->count &&
            live->items[*next].first <= index) {
            kept++;
            continue;
        }
        drop(arg, chunk->base + i, &chunk->locs[i]);
        chunk->locs[i].what = 0;
        chunk->count--;
    }
    return kept;
}

/* Forget runs before the first entry that is left. */
static void
runs_trim(struct group_log *log)
{
    struct entry_loc *loc = NULL;
    qr_index first = group_log_next(log, 1, &loc);
    size_t run;

    if (first == 0) {
        log->runs_count = 0;
        return;
    }
    run = run_search(log, first);
    if (run > 0) {
        log->runs_count -= run;
        memmove(log->runs, log->runs + run,
                log->runs_count * sizeof(*log->runs));
    }
}

uint64_t
group_log_keep(struct group_log *log, qr_index last, const struct ranges *live,
               group_log_drop_cb drop, void *arg)
{
    size_t out = 0;
    size_t next = 0;
    size_t i = 0;
    uint64_t kept = 0;
    struct group_chunk **chunks = log->chunks + log->head;

    ASSERT(drop != NULL);
    for (; i < log->count && chunks[i]->base <= last; i++) {
        kept += chunk_keep(chunks[i], last, live, &next, drop, arg);
        if (chunks[i]->count == 0) {
            mem_free(chunks[i]);
        } else {
            chunks[out++] = chunks[i];
        }
    }
    if (out == 0) {
        /* The usual case, everything released: the rest stays in place. */
        log->head += i;
        log->count -= i;
    } else {
        memmove(chunks + out, chunks + i,
                (log->count - i) * sizeof(struct group_chunk *));
        log->count -= i - out;
    }
    runs_trim(log);
    return kept;
}
