/* See node_links.h. A member's address is the one that the configuration has
 * for its name, for that is how this machine reaches it; else the one that it
 * has said itself. One that cannot be dialled dials this node. */
#include "daemon/node_links.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "daemon/address.h"
#include "daemon/config.h"
#include "daemon/identity.h"
#include "daemon/plan.h"
#include "machine/meta/meta_machine.h"
#include "peer/peers.h"

void
node_links_identity(const struct node_links *l, struct peers_identity *out)
{
    const struct cluster_member *self = &l->plan->members[l->plan->self];

    out->cluster = l->identity->cluster.id;
    out->uuid = l->identity->uuid;
    out->node = l->identity->node != 0 ? l->identity->node : self->id;
    out->starts = l->identity->starts;
    out->shards = (uint16_t)l->config->shards;
    (void)snprintf(out->cluster_name, sizeof(out->cluster_name), "%s",
                   l->config->cluster_name);
    (void)snprintf(out->node_name, sizeof(out->node_name), "%s", self->name);
}

/* Keep a link to M. */
static int
add(const struct node_links *l, const struct cluster_member *m,
    struct error *err)
{
    char host[ADDRESS_HOST_SIZE] = "";
    uint16_t port = 0;
    struct error ignored;

    error_clear(&ignored);
    for (size_t i = 0; i < l->plan->count; i++) {
        if (strcmp(l->plan->members[i].name, m->name) == 0) {
            return peers_add(l->peers, m->id, m->name, l->plan->nodes[i].host,
                             l->plan->nodes[i].port, err);
        }
    }
    if (address_parse(m->address, host, &port, &ignored) != 0 ||
        host[0] == '\0') {
        port = 0;
    }
    return peers_add(l->peers, m->id, m->name, host, port, err);
}

/* The peers' UUIDs, by which they are known while they are blank, and the
 * starts in which they were met. */
static void
know_members(const struct node_links *l)
{
    const struct cluster *c = &l->identity->cluster;

    for (size_t i = 0; i < c->members_count; i++) {
        struct start_seen seen =
            starts_book_find(&l->identity->met, c->members[i].id);

        peers_known(l->peers, c->members[i].id, &c->members[i].uuid, &seen);
    }
}

int
node_links_start(const struct node_links *l, int *socket, struct error *err)
{
    const struct cluster *c = &l->identity->cluster;
    bool is_blank = uuid_is_nil(&c->id);
    int rv = 0;

    if (l->peers == NULL) {
        return 0;
    }
    if (*socket >= 0) {
        rv = peers_listen(l->peers, *socket, err);
        *socket = -1;
    }
    for (size_t i = 0; rv == 0 && is_blank && i < l->plan->count; i++) {
        if (i != l->plan->self) {
            rv = add(l, &l->plan->members[i], err);
        }
    }
    for (size_t i = 0; rv == 0 && i < c->members_count; i++) {
        if (c->members[i].id != l->identity->node) {
            rv = add(l, &c->members[i], err);
        }
    }
    know_members(l);
    return rv;
}

void
node_links_formed(const struct node_links *l)
{
    struct peers_identity identity = {0};

    if (l->peers != NULL) {
        node_links_identity(l, &identity);
        peers_set_identity(l->peers, &identity);
        know_members(l);
    }
}

struct following {
    const struct node_links *links;
};

static bool
follow_node(void *arg, const struct meta_node *node)
{
    const struct following *f = arg;
    const struct node_links *l = f->links;
    struct start_seen seen = {.boot = node->boot, .process = node->process};
    struct cluster_member m = {.id = node->id};
    struct error err = {{0}};

    if (node->id == l->identity->node) {
        return true;
    }
    if (node->is_removed) {
        peers_remove(l->peers, node->id);
        return true;
    }
    (void)snprintf(m.name, sizeof(m.name), "%.*s", (int)node->name.size,
                   node->name.data);
    (void)snprintf(m.address, sizeof(m.address), "%.*s",
                   (int)node->address.size, node->address.data);
    if (add(l, &m, &err) != 0) {
        log_error(l->log, "cluster", "%s", err.text);
    }
    peers_known(l->peers, node->id, &node->uuid, &seen);
    return true;
}

void
node_links_follow(const struct node_links *l, const struct meta_machine *meta)
{
    struct following f = {.links = l};

    if (l->peers != NULL) {
        meta_each_node(meta, follow_node, &f);
    }
}
