/* The machine of every group: it counts, hashes, and keeps what is not settled.
 * Whoever applies an index first says what it is; all others must agree. */
#include <inttypes.h>
#include <quorate/error.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/slice.h"
#include "cluster.h"
#include "lib/harness.h"

static uint64_t
mix(uint64_t h, uint64_t v)
{
    h ^= v + UINT64_C(0x9e3779b97f4a7c15) + (h << 6) + (h >> 2);
    h *= UINT64_C(0xff51afd7ed558ccd);
    return h ^ (h >> 32);
}

static void
oracle_grow(struct oracle *o, uint64_t index)
{
    if (index >= o->capacity) {
        size_t capacity = MAX(o->capacity * 2, index + 1024);

        o->hashes = mem_realloc(o->hashes, capacity * sizeof o->hashes[0]);
        o->bodies = mem_realloc(o->bodies, capacity * sizeof o->bodies[0]);
        o->capacity = capacity;
    }
}

static void
oracle_see(struct machine *m, uint64_t body)
{
    struct oracle *o = m->oracle;

    oracle_grow(o, m->index);
    if (m->index > o->count) {
        cr_assert_eq(m->index, o->count + 1, "a hole before %" PRIu64,
                     m->index);
        o->count = m->index;
        o->hashes[m->index] = m->hash;
        o->bodies[m->index] = body;
    }
    if (m->cluster->is_forgiving) {
        return;
    }
    cr_assert_eq(o->hashes[m->index], m->hash,
                 "group %" PRIu64 " differs at %" PRIu64 " on node %u",
                 m->group, m->index, m->node);
}

static void
machine_apply(void *machine, const struct qr_entry *e)
{
    struct machine *m = machine;
    uint64_t body = 0;
    struct cursor c;

    cr_assert_eq(e->index, m->index + 1);
    m->index = e->index;
    if (e->is_missing) {
        cr_assert_null(e->body);
        m->missing++;
    }
    m->hash = mix(mix(m->hash, e->index), e->term);
    if (e->body != NULL) {
        cr_assert_geq(e->time_ms, m->time_ms, "time went back");
        m->time_ms = e->time_ms;
        body = crc32c(0, e->body->data, e->body->size) + 1;
        ranges_add(&m->live, e->index, e->index);
        cursor_init(&c, e->body->data, e->body->size);
        while (cursor_left(&c) > 0) {
            uint64_t id = cursor_u64le(&c);
            uint8_t settle = cursor_u8(&c);
            uint32_t size = cursor_u32le(&c);

            (void)cursor_bytes(&c, size);
            cr_assert(!c.bad);
            m->hash = mix(m->hash, id);
            if (settle != 0 && m->live.count > 0) {
                uint64_t first = m->live.items[0].first;

                ranges_remove(&m->live, first, first);
            }
            if (e->is_leading) {
                m->oracle->acknowledged++;
            }
        }
        m->hash = mix(mix(m->hash, body), e->time_ms);
    }
    oracle_see(m, body);
}

static void
machine_snapshot(void *machine, struct buf *manifest, struct ranges *live)
{
    const struct machine *m = machine;

    buf_put_u64le(manifest, m->hash);
    buf_put_u64le(manifest, m->time_ms);
    buf_put_u64le(manifest, m->live.count);
    for (size_t i = 0; i < m->live.count; i++) {
        buf_put_u64le(manifest, m->live.items[i].first);
        buf_put_u64le(manifest, m->live.items[i].last);
        ranges_add(live, m->live.items[i].first, m->live.items[i].last);
    }
    if (m->ballast > 0) {
        memset(buf_extend(manifest, m->ballast), 0, m->ballast);
    }
}

static int
machine_restore(void *machine, qr_index index, const void *manifest,
                size_t size)
{
    struct machine *m = machine;
    struct cursor c;
    uint64_t count;

    if (m->refuses_restore) {
        return -QR_EFORMAT;
    }
    cursor_init(&c, manifest, size);
    m->index = index;
    m->hash = cursor_u64le(&c);
    m->time_ms = cursor_u64le(&c);
    count = cursor_u64le(&c);
    ranges_clear(&m->live);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t first = cursor_u64le(&c);

        ranges_add(&m->live, first, cursor_u64le(&c));
    }
    cr_assert(!c.bad);
    cr_assert_eq(cursor_left(&c), 0);
    m->restores++;
    cr_assert_leq(index, m->oracle->count);
    cr_assert_eq(m->oracle->hashes[index], m->hash,
                 "a snapshot at %" PRIu64 " is not what was applied", index);
    return 0;
}

static void
machine_standing(void *machine, const struct qr_standing *s)
{
    struct machine *m = machine;
    const struct node *before;

    m->standing = *s;
    m->standings++;
    if (s->is_leader) {
        before =
            map_put(&m->oracle->leaders, s->term, &m->cluster->nodes[m->node]);
        cr_assert(before == NULL || before->id == m->node,
                  "nodes %u and %u lead group %" PRIu64 " in term %" PRIu64,
                  before == NULL ? 0 : before->id, m->node, m->group, s->term);
    }
}

static void
machine_members(void *machine)
{
    struct machine *m = machine;

    m->members_changes++;
}

void
oracle_machine_free(struct machine *m)
{
    ranges_deinit(&m->live);
    mem_free(m);
}

static void
machine_gone(void *machine)
{
    struct machine *m = machine;
    struct node *n = &m->cluster->nodes[m->node];

    n->gone++;
    if (map_get(&n->machines, m->group) == m) {
        (void)map_remove(&n->machines, m->group);
        mem_free(map_remove(&n->placements, m->group));
    }
    oracle_machine_free(m);
}

const struct qr_machine_ops oracle_machine_ops = {
    .apply = machine_apply,
    .snapshot = machine_snapshot,
    .restore = machine_restore,
    .standing = machine_standing,
    .members = machine_members,
    .gone = machine_gone,
};

struct oracle *
cluster_oracle(struct cluster *c, qr_group_id group)
{
    struct oracle *o = map_get(&c->oracles, group);

    if (o == NULL) {
        o = mem_zalloc(1, sizeof *o);
        o->id = group;
        map_init(&o->leaders);
        oracle_grow(o, 0);
        o->hashes[0] = 0;
        (void)map_put(&c->oracles, group, o);
    }
    return o;
}

struct machine *
oracle_machine_new(struct node *n, qr_group_id group)
{
    struct machine *m = mem_zalloc(1, sizeof *m);

    m->cluster = n->cluster;
    m->oracle = cluster_oracle(n->cluster, group);
    m->node = n->id;
    m->group = group;
    ranges_init(&m->live);
    cr_assert_null(map_put(&n->machines, group, m));
    return m;
}
