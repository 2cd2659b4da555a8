/* See sim_identity.h. The file holds the struct as it is in memory. */
#include "sim/sim_identity.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "machine/meta/meta_machine.h"
#include "store/disk.h"
#include "store/disk_sim.h"

static const char file_name[] = "identity";

bool
sim_identity_read(struct disk_sim *disk, struct sim_identity *out)
{
    struct disk *d = disk_sim_disk(disk);
    void *data = NULL;
    size_t size = 0;

    if (d->ops->slurp(d, file_name, sizeof(*out), &data, &size) != 0) {
        return false;
    }
    ASSERT(size == sizeof(*out));
    memcpy(out, data, sizeof(*out));
    mem_free(data);
    return true;
}

void
sim_identity_write(struct disk_sim *disk, const struct sim_identity *id)
{
    struct disk *d = disk_sim_disk(disk);
    int rv = d->ops->replace(d, file_name, id, sizeof(*id));

    ASSERT(rv == 0);
}

/* What is known of node ID, added if nothing is. */
static struct sim_known *
known(struct sim_acquaintance *a, qr_node_id id)
{
    struct sim_known *k;

    for (size_t i = 0; i < a->count; i++) {
        if (a->items[i].id == id) {
            return &a->items[i];
        }
    }
    if (a->count == SIM_KNOWN_MAX) {
        memmove(&a->items[0], &a->items[1],
                (SIM_KNOWN_MAX - 1) * sizeof(a->items[0]));
        a->count--;
    }
    k = &a->items[a->count++];
    memset(k, 0, sizeof(*k));
    k->id = id;
    return k;
}

void
sim_know_of(struct sim_acquaintance *a, const struct sim_identity *id)
{
    const struct cluster *c = &id->cluster;

    memset(a, 0, sizeof(*a));
    for (size_t i = 0; i < c->members_count; i++) {
        known(a, c->members[i].id)->uuid = c->members[i].uuid;
    }
    for (uint32_t i = 0; i < id->met.count; i++) {
        known(a, (qr_node_id)id->met.items[i].node)->seen =
            id->met.items[i].seen;
    }
}

bool
sim_know_for_good(const struct sim_acquaintance *a, struct sim_identity *id)
{
    bool is_news = false;

    for (size_t i = 0; i < a->count; i++) {
        const struct sim_known *k = &a->items[i];

        is_news = (!k->is_removed && k->seen.boot != 0 && k->id != id->node &&
                   starts_book_see(&id->met, k->id, &k->seen)) ||
                  is_news;
    }
    return is_news;
}

static bool
know_node(void *arg, const struct meta_node *node)
{
    struct sim_known *k = known(arg, node->id);

    k->uuid = node->uuid;
    k->is_removed = node->is_removed;
    starts_see(&k->seen, node->boot, node->process);
    return true;
}

void
sim_know_meta(struct sim_acquaintance *a, const struct meta_machine *m)
{
    meta_each_node(m, know_node, a);
}

bool
sim_is_known(const struct sim_identity *id, qr_node_id other, uint32_t boot)
{
    return starts_book_find(&id->met, other).boot >= boot;
}

enum sim_verdict
sim_judge(struct sim_acquaintance *a, const struct sim_identity *other)
{
    struct sim_known *k = known(a, other->node);

    if (k->is_removed ||
        (!uuid_is_nil(&k->uuid) &&
         memcmp(&k->uuid, &other->uuid, sizeof(k->uuid)) != 0)) {
        return SIM_REMOVED;
    }
    if (starts_is_rolled_back(&other->starts, &k->seen)) {
        return SIM_ROLLED_BACK;
    }
    k->uuid = other->uuid;
    starts_see(&k->seen, other->starts.boot, other->starts.process[0]);
    return SIM_WELCOME;
}
