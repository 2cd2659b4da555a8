/* See sim_memory.h. */
#include "sim/sim_memory.h"

struct sim_replica {
    qr_group_id group;
    qr_replica_id replica;
};

void
sim_memory_init(struct sim_memory *m)
{
    ring_init(&m->had, sizeof(struct sim_replica));
    ring_init(&m->forgotten, sizeof(struct sim_replica));
}

void
sim_memory_deinit(struct sim_memory *m)
{
    ring_deinit(&m->had);
    ring_deinit(&m->forgotten);
}

static bool
is_in(const struct ring *ring, qr_group_id group, qr_replica_id replica)
{
    for (size_t i = 0; i < ring->count; i++) {
        const struct sim_replica *r = ring_at(ring, i);

        if (r->group == group && r->replica == replica) {
            return true;
        }
    }
    return false;
}

void
sim_memory_note(struct sim_memory *m, qr_group_id group, qr_replica_id replica)
{
    struct sim_replica *r;

    ASSERT(group != 0);
    if (!is_in(&m->had, group, replica)) {
        r = ring_push_back(&m->had);
        r->group = group;
        r->replica = replica;
    }
}

void
sim_memory_lose(struct sim_memory *m)
{
    while (m->had.count > 0) {
        struct sim_replica r = *(struct sim_replica *)ring_at(&m->had, 0);

        if (!is_in(&m->forgotten, r.group, r.replica)) {
            *(struct sim_replica *)ring_push_back(&m->forgotten) = r;
        }
        ring_pop_front(&m->had);
    }
}

bool
sim_memory_is_lost(const struct sim_memory *m, qr_group_id group,
                   qr_replica_id replica)
{
    return is_in(&m->forgotten, group, replica);
}
