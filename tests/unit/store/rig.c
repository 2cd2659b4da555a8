/* See rig.h. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/ranges.h"
#include "lib/harness.h"

static void
on_durable(void *arg, uint64_t batch)
{
    struct rig *r = arg;

    cr_assert_eq(batch, r->durable + 1, "batch %llu after %llu",
                 (unsigned long long)batch, (unsigned long long)r->durable);
    r->durable = batch;
}

static void
on_damage(void *arg, const struct store_damage *damage)
{
    struct rig *r = arg;

    r->damages++;
    r->damage = *damage;
}

static void
on_failure(void *arg, const char *text)
{
    struct rig *r = arg;

    r->failures++;
    snprintf(r->failure, sizeof(r->failure), "%s", text);
}

static void
on_line(void *arg, enum log_level level, const char *category, const char *line)
{
    (void)arg;
    (void)level;
    (void)category;
    (void)fprintf(stderr, "%s\n", line);
}

static const struct logger rig_log = {on_line, NULL, LOG_DEBUG};

void
rig_init(struct rig *r, uint64_t seed)
{
    memset(r, 0, sizeof(*r));
    rng_init(&r->rng, seed);
    timers_init(&r->timers);
    r->sim = disk_sim_new(&r->rng, 64 << 20);
    r->config.disk = disk_sim_disk(r->sim);
    if (getenv("STORE_TEST_LOG") != NULL) {
        r->config.log = &rig_log;
    }
    r->config.segment_size = STORE_SEGMENT_SIZE_MIN;
    r->config.cache_size = 16 << 10;
    r->config.shard = 3;
    memset(r->config.node_uuid, 0x5a, sizeof(r->config.node_uuid));
    r->config.on_durable = on_durable;
    r->config.on_failure = on_failure;
    r->config.on_damage = on_damage;
    r->config.arg = r;
    rig_must_open(r);
}

int
rig_open(struct rig *r)
{
    int rv;

    cr_assert_null(r->store);
    error_clear(&r->err);
    rv = store_open(&r->config, &r->store, &r->err);
    if (rv == 0) {
        r->durable = store_durable(r->store);
    }
    return rv;
}

void
rig_must_open(struct rig *r)
{
    int rv = rig_open(r);

    cr_assert_eq(rv, 0, "%d: %s", rv, r->err.text);
}

void
rig_close(struct rig *r)
{
    disk_sim_complete_all(r->sim);
    store_close(&r->store);
}

void
rig_deinit(struct rig *r)
{
    if (r->store != NULL) {
        rig_close(r);
    }
    disk_sim_free(&r->sim);
    timers_deinit(&r->timers);
}

void
rig_settle(struct rig *r)
{
    store_flush(r->store);
    disk_sim_complete_all(r->sim);
}

void
rig_reopen(struct rig *r)
{
    rig_close(r);
    rig_must_open(r);
}

void
rig_crash(struct rig *r, uint32_t keep_per_million)
{
    disk_sim_crash(r->sim, keep_per_million);
    store_close(&r->store);
}

struct slice
rig_body(qr_group_id group, qr_index index, qr_term term, size_t size)
{
    struct block *block = block_new(size);
    struct rng rng;

    rng_init(&rng, group * 1000003 + index * 101 + term);
    rng_fill(&rng, block->data, size);
    return slice_of_block(block);
}

uint64_t
rig_append(struct rig *r, qr_group_id group, qr_index first, size_t count,
           qr_term term, size_t size)
{
    uint64_t batch = 0;

    for (size_t i = 0; i < count; i++) {
        struct store_entry e = {term, 1,
                                rig_body(group, first + i, term, size)};

        batch = store_append(r->store, group, first + i, &e, 1);
        slice_unref(&e.data);
    }
    return batch;
}

bool
rig_has(struct rig *r, qr_group_id group, qr_index index, qr_term term,
        size_t size)
{
    struct store_entry e;
    struct slice want;
    bool same;

    if (store_read(r->store, group, index, &e) != 0) {
        return false;
    }
    want = rig_body(group, index, term, size);
    same = e.term == term && e.type == 1 && e.data.size == want.size &&
           memcmp(e.data.data, want.data, want.size) == 0;
    slice_unref(&want);
    slice_unref(&e.data);
    return same;
}

void
rig_create(struct rig *r, qr_group_id group)
{
    struct slice header = slice_copy("header", 6);

    store_group_create(r->store, group, &header, false);
    slice_unref(&header);
}

uint64_t
rig_snapshot(struct rig *r, qr_group_id group, qr_index index, qr_index first,
             qr_index last)
{
    struct store_snapshot snap = {.index = index, .configuration_index = 1};
    struct ranges live;
    uint64_t batch;

    ranges_init(&live);
    if (first > 0) {
        ranges_add(&live, first, last);
    }
    snap.term = store_term(r->store, group, index);
    snap.live = &live;
    snap.manifest = slice_copy("manifest", 8);
    snap.configuration = slice_copy("conf", 4);
    batch = store_snapshot(r->store, group, &snap);
    slice_unref(&snap.manifest);
    slice_unref(&snap.configuration);
    ranges_deinit(&live);
    return batch;
}

static uint64_t
now_of(void *arg)
{
    return ((struct rig *)arg)->now_ms;
}

void
rig_use_timers(struct rig *r)
{
    r->config.timers = &r->timers;
    r->config.now_ms = now_of;
    r->config.scrub_rate = STORE_SCRUB_RATE_DEFAULT;
    r->config.compact_rate = STORE_COMPACT_RATE_DEFAULT;
}

void
rig_pass(struct rig *r, uint64_t ms)
{
    uint64_t until = r->now_ms + ms;
    uint64_t due;

    disk_sim_complete_all(r->sim);
    while (timers_next(&r->timers, &due) && due <= until) {
        r->now_ms = MAX(r->now_ms, due);
        (void)timers_run(&r->timers, r->now_ms, 1);
        disk_sim_complete_all(r->sim);
    }
    r->now_ms = until;
}

struct store_stats
rig_stats(const struct rig *r)
{
    struct store_stats stats;

    store_stats(r->store, &stats);
    return stats;
}
