/* Listings, in the order of names: a sorted array of what there is, walked
 * until the caller has had enough. */
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "machine/meta/meta_state.h"

/* One listing's way through the records of a map. */
typedef bool meta_visit_cb(void *arg, void *record);

/* Visit the members of MAP in order; false when the caller stopped it. */
static bool
meta_each_of(const struct strmap *map, meta_visit_cb *visit, void *arg)
{
    void **values = NULL;
    size_t count = map->count;
    bool go_on = true;

    ASSERT(visit != NULL);
    if (count == 0) {
        return true;
    }
    values = strmap_values_sorted(map);
    for (size_t i = 0; i < count && go_on; i++) {
        go_on = visit(arg, values[i]);
    }
    mem_free(values);
    return go_on;
}

/* A caller's callback behind a visit, which knows its kind. */
struct meta_listing {
    void *arg;
    bool (*on_vhost)(void *, const struct meta_vhost *);
    bool (*on_user)(void *, const struct meta_user *);
    bool (*on_permission)(void *, const struct meta_permission *);
    bool (*on_exchange)(void *, const struct meta_exchange *);
    bool (*on_queue)(void *, struct meta_queue *);
    bool (*on_binding)(void *, const struct meta_binding *);
    bool (*on_policy)(void *, const struct meta_policy *);
    bool (*on_parameter)(void *, const struct meta_parameter *);
    meta_visit_cb *in_vhost; /* for listings of what is in vhosts */
};

/* Visit VHOST, or all of them, with the listing's in_vhost. */
static void
meta_each_in_vhosts(const struct meta_machine *m,
                    const struct meta_vhost *vhost,
                    struct meta_listing *listing)
{
    OBJ_CHECK(m, META_MACHINE_MAGIC);
    if (vhost != NULL) {
        (void)listing->in_vhost(listing, meta_vhost_of(vhost));
        return;
    }
    (void)meta_each_of(&m->vhosts, listing->in_vhost, listing);
}

void
meta_each_node(const struct meta_machine *m,
               bool (*cb)(void *, const struct meta_node *), void *arg)
{
    struct strmap by_name;
    uint64_t id = 0;
    size_t pos = 0;
    struct meta_node_record *node = NULL;
    void **values = NULL;
    size_t count = 0;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    ASSERT(cb != NULL);
    /* A removed node may have left its name to another: the id, after a byte
     * that orders, tells them apart. */
    strmap_init(&by_name);
    map_foreach (&m->nodes, pos, id, node) {
        uint8_t key[QR_NAME_SIZE_MAX + 1 + 4];
        size_t size = node->pub.name.size;

        memcpy(key, node->pub.name.data, size);
        key[size] = 0;
        put_u32be(key + size + 1, node->pub.id);
        (void)strmap_put(&by_name, key, size + 5, node);
    }
    values = strmap_values_sorted(&by_name);
    count = by_name.count;
    for (size_t i = 0; i < count; i++) {
        node = values[i];
        if (!cb(arg, &node->pub)) {
            break;
        }
    }
    mem_free(values);
    strmap_deinit(&by_name);
}

static bool
meta_visit_vhost(void *arg, void *record)
{
    struct meta_listing *listing = arg;
    struct meta_vhost_record *vhost = record;

    return listing->on_vhost(listing->arg, &vhost->pub);
}

void
meta_each_vhost(const struct meta_machine *m,
                bool (*cb)(void *, const struct meta_vhost *), void *arg)
{
    struct meta_listing listing = {.arg = arg, .on_vhost = cb};

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    ASSERT(cb != NULL);
    (void)meta_each_of(&m->vhosts, meta_visit_vhost, &listing);
}

static bool
meta_visit_user(void *arg, void *record)
{
    struct meta_listing *listing = arg;
    struct meta_user_record *user = record;

    return listing->on_user(listing->arg, &user->pub);
}

void
meta_each_user(const struct meta_machine *m,
               bool (*cb)(void *, const struct meta_user *), void *arg)
{
    struct meta_listing listing = {.arg = arg, .on_user = cb};

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    ASSERT(cb != NULL);
    (void)meta_each_of(&m->users, meta_visit_user, &listing);
}

static bool
meta_visit_permission(void *arg, void *record)
{
    struct meta_listing *listing = arg;
    struct meta_permission_record *permission = record;

    return listing->on_permission(listing->arg, &permission->pub);
}

static bool
meta_visit_permissions(void *arg, void *record)
{
    struct meta_vhost_record *vhost = record;

    return meta_each_of(&vhost->permissions, meta_visit_permission, arg);
}

void
meta_each_permission(const struct meta_machine *m,
                     const struct meta_vhost *vhost,
                     bool (*cb)(void *, const struct meta_permission *),
                     void *arg)
{
    struct meta_listing listing = {
        .arg = arg, .on_permission = cb, .in_vhost = meta_visit_permissions};

    ASSERT(cb != NULL);
    meta_each_in_vhosts(m, vhost, &listing);
}

static bool
meta_visit_exchange(void *arg, void *record)
{
    struct meta_listing *listing = arg;
    struct meta_exchange_record *exchange = record;

    return listing->on_exchange(listing->arg, &exchange->pub);
}

static bool
meta_visit_exchanges(void *arg, void *record)
{
    struct meta_vhost_record *vhost = record;

    return meta_each_of(&vhost->exchanges, meta_visit_exchange, arg);
}

void
meta_each_exchange(const struct meta_machine *m, const struct meta_vhost *vhost,
                   bool (*cb)(void *, const struct meta_exchange *), void *arg)
{
    struct meta_listing listing = {
        .arg = arg, .on_exchange = cb, .in_vhost = meta_visit_exchanges};

    ASSERT(cb != NULL);
    meta_each_in_vhosts(m, vhost, &listing);
}

static bool
meta_visit_queue(void *arg, void *record)
{
    struct meta_listing *listing = arg;
    struct meta_queue_record *queue = record;

    return listing->on_queue(listing->arg, &queue->pub);
}

static bool
meta_visit_queues(void *arg, void *record)
{
    struct meta_vhost_record *vhost = record;

    return meta_each_of(&vhost->queues, meta_visit_queue, arg);
}

void
meta_each_queue(const struct meta_machine *m, const struct meta_vhost *vhost,
                bool (*cb)(void *, struct meta_queue *), void *arg)
{
    struct meta_listing listing = {
        .arg = arg, .on_queue = cb, .in_vhost = meta_visit_queues};

    ASSERT(cb != NULL);
    meta_each_in_vhosts(m, vhost, &listing);
}

static int
meta_binding_compare(const void *a, const void *b)
{
    const struct meta_binding *x =
        &(*(struct meta_binding_record *const *)a)->pub;
    const struct meta_binding *y =
        &(*(struct meta_binding_record *const *)b)->pub;
    int order = (int)x->to_exchange - (int)y->to_exchange;

    order =
        order != 0 ? order : meta_text_compare(x->destination, y->destination);
    order = order != 0 ? order : meta_text_compare(x->key, y->key);
    return order != 0 ? order : meta_text_compare(x->arguments, y->arguments);
}

struct meta_binding_record **
meta_bindings_sorted(const struct meta_exchange_record *exchange)
{
    size_t count = exchange->pub.bindings_count;
    struct meta_binding_record **sorted =
        mem_zalloc(count + 1, sizeof(struct meta_binding_record *));
    struct list *it = NULL;
    size_t i = 0;

    list_foreach (it, &exchange->sources) {
        ASSERT(i < count);
        sorted[i++] = CONTAINER_OF(it, struct meta_binding_record, by_source);
    }
    ASSERT(i == count);
    qsort(sorted, count, sizeof(struct meta_binding_record *),
          meta_binding_compare);
    return sorted;
}

static bool
meta_visit_implicit(void *arg, void *record)
{
    struct meta_listing *listing = arg;
    struct meta_queue_record *queue = record;
    struct meta_binding binding = {
        .vhost = queue->pub.vhost,
        .source = meta_text("", 0),
        .destination = queue->pub.name,
        .key = queue->pub.name,
        .arguments = meta_text("", 0),
    };

    return listing->on_binding(listing->arg, &binding);
}

static bool
meta_visit_sources(void *arg, void *record)
{
    struct meta_listing *listing = arg;
    struct meta_exchange_record *exchange = record;
    struct meta_binding_record **sorted = NULL;
    size_t count = exchange->pub.bindings_count;
    bool go_on = true;

    if (exchange->pub.name.size == 0) {
        return meta_each_of(&exchange->vhost->queues, meta_visit_implicit, arg);
    }
    if (count == 0) {
        return true;
    }
    sorted = meta_bindings_sorted(exchange);
    for (size_t i = 0; i < count && go_on; i++) {
        go_on = listing->on_binding(listing->arg, &sorted[i]->pub);
    }
    mem_free(sorted);
    return go_on;
}

static bool
meta_visit_bindings(void *arg, void *record)
{
    struct meta_vhost_record *vhost = record;

    return meta_each_of(&vhost->exchanges, meta_visit_sources, arg);
}

void
meta_each_binding(const struct meta_machine *m, const struct meta_vhost *vhost,
                  bool (*cb)(void *, const struct meta_binding *), void *arg)
{
    struct meta_listing listing = {
        .arg = arg, .on_binding = cb, .in_vhost = meta_visit_bindings};

    ASSERT(cb != NULL);
    meta_each_in_vhosts(m, vhost, &listing);
}

static bool
meta_visit_policy(void *arg, void *record)
{
    struct meta_listing *listing = arg;
    struct meta_policy_record *policy = record;

    return listing->on_policy(listing->arg, &policy->pub);
}

static bool
meta_visit_policies(void *arg, void *record)
{
    struct meta_vhost_record *vhost = record;

    return meta_each_of(&vhost->policies, meta_visit_policy, arg);
}

void
meta_each_policy(const struct meta_machine *m, const struct meta_vhost *vhost,
                 bool (*cb)(void *, const struct meta_policy *), void *arg)
{
    struct meta_listing listing = {
        .arg = arg, .on_policy = cb, .in_vhost = meta_visit_policies};

    ASSERT(cb != NULL);
    meta_each_in_vhosts(m, vhost, &listing);
}

static bool
meta_visit_parameter(void *arg, void *record)
{
    struct meta_listing *listing = arg;
    struct meta_parameter_record *parameter = record;

    return listing->on_parameter(listing->arg, &parameter->pub);
}

void
meta_each_parameter(const struct meta_machine *m,
                    bool (*cb)(void *, const struct meta_parameter *),
                    void *arg)
{
    struct meta_listing listing = {.arg = arg, .on_parameter = cb};

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    ASSERT(cb != NULL);
    (void)meta_each_of(&m->parameters, meta_visit_parameter, &listing);
}
