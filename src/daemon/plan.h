/* What a configuration comes to: the nodes of the cluster with their ids and
 * addresses, which of them this one is, and the secret. */
#ifndef DAEMON_PLAN_H
#define DAEMON_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/cluster.h"
#include "daemon/address.h"
#include "peer/secret.h"

struct config;

struct plan_node {
    char host[ADDRESS_HOST_SIZE];
    uint16_t port;
};

struct plan {
    /* In the order of their names; ids 1, 2, ... */
    struct cluster_member members[CLUSTER_MEMBERS_MAX];
    struct plan_node nodes[CLUSTER_MEMBERS_MAX];
    size_t count;
    size_t self; /* place of this node */
    char listen_host[ADDRESS_HOST_SIZE];
    uint16_t listen_port;
    bool has_secret;
    struct secret secret;
};

/* -QR_EINVAL and the like, with what to do in ERR. */
MUST_USE int plan_make(const struct config *config, struct plan *out,
                       struct error *err);

#endif
