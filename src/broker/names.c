/* See names.h. */
#include "broker/names.h"

#include <string.h>

#include "broker/broker_priv.h"
#include "broker/meta_client.h"

bool
name_is_reserved(struct meta_text name)
{
    return name.size >= 4 && memcmp(name.data, "amq.", 4) == 0;
}

void
request_name(struct meta_request *r, struct broker_connection *c,
             struct meta_text name)
{
    size_t vhost_size = strlen(c->vhost);

    ASSERT(name.size < sizeof(r->name));
    ASSERT(vhost_size < sizeof(r->vhost));
    r->connection = c;
    memcpy(r->vhost, c->vhost, vhost_size + 1);
    r->vhost_size = (uint16_t)vhost_size;
    if (name.size > 0) {
        memcpy(r->name, name.data, name.size);
    }
    r->name[name.size] = '\0';
    r->name_size = (uint16_t)name.size;
}

struct meta_text
request_vhost(const struct meta_request *r)
{
    struct meta_text t = {.data = r->vhost, .size = r->vhost_size};

    return t;
}

void
request_fault(const struct meta_request *r, const struct meta_outcome *outcome,
              const char *kind, struct broker_fault *fault)
{
    switch (outcome->status) {
    case META_OK:
    case META_EXISTS:
        return;
    case META_NOT_FOUND:
        broker_fault_set(fault, BROKER_NOT_FOUND, "no %s '%s' in vhost '%s'",
                         kind, r->name, r->vhost);
        return;
    case META_NO_VHOST:
        broker_fault_set(fault, BROKER_NOT_FOUND, "vhost '%s' not found",
                         r->vhost);
        return;
    case META_NO_EXCHANGE:
        broker_fault_set(fault, BROKER_NOT_FOUND,
                         "no exchange '%s' in vhost '%s'", r->name, r->vhost);
        return;
    case META_NO_QUEUE:
        broker_fault_set(fault, BROKER_NOT_FOUND, "no queue '%s' in vhost '%s'",
                         r->name, r->vhost);
        return;
    case META_IN_USE:
        broker_fault_set(fault, BROKER_PRECONDITION,
                         "%s '%s' in vhost '%s' in use", kind, r->name,
                         r->vhost);
        return;
    case META_LIMIT:
        broker_fault_set(fault, BROKER_RESOURCE,
                         "the cluster holds as many %ss as it may", kind);
        return;
    case META_REFUSED:
        broker_fault_set(fault, BROKER_ACCESS_REFUSED,
                         "operation not permitted on %s '%s' in vhost '%s'",
                         kind, r->name, r->vhost);
        return;
    case META_MALFORMED:
        broker_fault_set(fault, BROKER_INTERNAL,
                         "%s '%s' in vhost '%s': a field is beyond its limit",
                         kind, r->name, r->vhost);
        return;
    }
}
