/* See plan.h. Ids come from the order of names, so that every node gives the
 * same ones without asking. */
#include "daemon/plan.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "daemon/config.h"
#include "daemon/tls_options.h"

static int
add_node(struct plan *p, const char *entry, struct error *err)
{
    const char *at = strrchr(entry, '@');
    size_t size = at == NULL ? 0 : (size_t)(at - entry);
    struct plan_node *node = &p->nodes[p->count];
    struct cluster_member *m = &p->members[p->count];
    size_t i = p->count;
    int rv;

    if (size == 0 || size > QR_NAME_SIZE_MAX || strchr(entry, ' ') != NULL) {
        return error_set(err, QR_EINVAL,
                         "cluster_formation.classic_config.nodes: '%s': "
                         "NAME@ADDRESS:PORT is allowed, such as "
                         "n1@10.0.0.1:25672",
                         entry);
    }
    if (p->count == CLUSTER_MEMBERS_MAX) {
        return error_set(err, QR_EINVAL,
                         "cluster_formation.classic_config.nodes: a cluster "
                         "has at most %d nodes",
                         (int)CLUSTER_MEMBERS_MAX);
    }
    memcpy(m->name, entry, size);
    m->name[size] = '\0';
    rv = address_parse(at + 1, node->host, &node->port, err);
    if (rv != 0 || node->host[0] == '\0') {
        return error_set(err, QR_EINVAL,
                         "cluster_formation.classic_config.nodes: '%s': the "
                         "part after @ is ADDRESS:PORT",
                         entry);
    }
    (void)snprintf(m->address, sizeof(m->address), "%s", at + 1);
    p->count++;
    /* Insert in order of names. */
    while (i > 0 && strcmp(p->members[i - 1].name, p->members[i].name) > 0) {
        struct cluster_member m_swap = p->members[i];
        struct plan_node n_swap = p->nodes[i];

        p->members[i] = p->members[i - 1];
        p->nodes[i] = p->nodes[i - 1];
        p->members[i - 1] = m_swap;
        p->nodes[i - 1] = n_swap;
        i--;
    }
    return 0;
}

static int
find_self(const struct config *config, struct plan *p, struct error *err)
{
    bool is_found = false;

    for (size_t i = 0; i < p->count; i++) {
        p->members[i].id = (qr_node_id)(i + 1);
        if (i > 0 && strcmp(p->members[i].name, p->members[i - 1].name) == 0) {
            return error_set(err, QR_EINVAL,
                             "cluster_formation.classic_config.nodes: '%s' is "
                             "there twice; names differ",
                             p->members[i].name);
        }
        if (strcmp(p->members[i].name, config->node_name) == 0) {
            p->self = i;
            is_found = true;
        }
    }
    if (!is_found) {
        return error_set(err, QR_EINVAL,
                         "node.name = %s: it is not among "
                         "cluster_formation.classic_config.nodes; one of them "
                         "must be this node",
                         config->node_name);
    }
    return 0;
}

static int
single(const struct config *config, struct plan *p)
{
    p->count = 1;
    p->members[0].id = 1;
    (void)snprintf(p->members[0].name, sizeof(p->members[0].name), "%s",
                   config->node_name);
    return 0;
}

static int
load_secret(const struct config *config, struct plan *p, struct error *err)
{
    int rv;

    if (config->secret_file[0] == '\0') {
        return p->count == 1 || tls_options_has_cluster(config)
                   ? 0
                   : error_set(err, QR_EINVAL,
                               "cluster.secret_file is not set, but the "
                               "configuration names %zu nodes: make one with "
                               "`openssl rand -hex 32 > FILE; chmod 400 "
                               "FILE`, copy it to every node, and set "
                               "cluster.secret_file = FILE; or give each "
                               "node a certificate (cluster.tls.certfile ...)",
                               p->count);
    }
    rv = secret_load(config->secret_file, &p->secret, err);
    if (rv == 0) {
        p->has_secret = true;
    }
    return error_wrap(err, rv, "cluster.secret_file");
}

int
plan_make(const struct config *config, struct plan *out, struct error *err)
{
    struct plan p = {0};
    int rv = 0;

    if (strcmp(config->peer_discovery, "classic_config") != 0) {
        return error_set(err, QR_EINVAL,
                         "cluster_formation.peer_discovery_backend = %s: "
                         "classic_config is the only one",
                         config->peer_discovery);
    }
    for (size_t i = 0; rv == 0 && i < config->nodes.count; i++) {
        rv = add_node(&p, config->nodes.values[i], err);
    }
    if (rv == 0) {
        rv = p.count == 0 ? single(config, &p) : find_self(config, &p, err);
    }
    if (rv == 0) {
        rv = load_secret(config, &p, err);
    }
    if (rv == 0 && config->cluster_listen[0] != '\0') {
        rv = address_parse(config->cluster_listen, p.listen_host,
                           &p.listen_port, err);
        rv = error_wrap(err, rv, "cluster.listen");
    } else if (rv == 0) {
        memcpy(p.listen_host, p.nodes[p.self].host, sizeof(p.listen_host));
        p.listen_port = p.nodes[p.self].port;
    }
    if (rv == 0) {
        *out = p;
    }
    secret_wipe(&p.secret);
    return rv;
}
