/* Listings of what the metadata holds: exchanges, bindings, vhosts, users,
 * permissions, policies. They are this shard's copy, which shows whatever was
 * reported done before: a change is reported once all linked nodes have it. */
#include <string.h>

#include "mgmt/listing.h"
#include "mgmt/mgmt_priv.h"
#include "mgmt/table_json.h"

/* A column's function that writes one member of the row's record. */
#define TEXT_OF(name, type, member)                         \
    static void put_##name(struct json *j, const void *row) \
    {                                                       \
        put_text(j, ((const struct type *)row)->member);    \
    }
#define BOOL_OF(name, type, member)                         \
    static void put_##name(struct json *j, const void *row) \
    {                                                       \
        json_bool(j, ((const struct type *)row)->member);   \
    }
#define TABLE_OF(name, type, member)                           \
    static void put_##name(struct json *j, const void *row)    \
    {                                                          \
        table_json_put(j, ((const struct type *)row)->member); \
    }

/* What this version does not have: policies' effects. */
static void
put_nothing(struct json *j, const void *row)
{
    (void)row;
    json_text(j, "");
}

/* ---- exchanges ---- */

TEXT_OF(exchange_name, meta_exchange, name)
TEXT_OF(exchange_vhost, meta_exchange, vhost)
BOOL_OF(exchange_durable, meta_exchange, is_durable)
BOOL_OF(exchange_auto_delete, meta_exchange, is_auto_delete)
BOOL_OF(exchange_internal, meta_exchange, is_internal)
TABLE_OF(exchange_arguments, meta_exchange, arguments)

static void
put_exchange_type(struct json *j, const void *row)
{
    switch (((const struct meta_exchange *)row)->type) {
    case META_DIRECT:
        json_text(j, "direct");
        return;
    case META_FANOUT:
        json_text(j, "fanout");
        return;
    case META_TOPIC:
        json_text(j, "topic");
        return;
    case META_HEADERS:
        json_text(j, "headers");
        return;
    }
    UNREACHABLE("an exchange type that is none");
}

static const struct column exchange_columns[] = {
    {"name", put_exchange_name, false},
    {"type", put_exchange_type, false},
    {"durable", put_exchange_durable, false},
    {"auto_delete", put_exchange_auto_delete, false},
    {"internal", put_exchange_internal, false},
    {"arguments", put_exchange_arguments, false},
    {"policy", put_nothing, false},
    {"vhost", put_exchange_vhost, false},
};

static bool
put_exchange(void *arg, const struct meta_exchange *exchange)
{
    listing_row(arg, exchange);
    return true;
}

void
run_list_exchanges(struct job *job)
{
    const struct meta_vhost *vhost;

    if (!listing_pick(job, exchange_columns, ARRAY_COUNT(exchange_columns),
                      "name type", 0)) {
        return;
    }
    vhost = job_vhost(job);
    if (vhost == NULL) {
        return;
    }
    listing_begin(job);
    meta_each_exchange(broker_meta(job->mgmt->broker), vhost, put_exchange,
                       job);
    listing_end(job, NULL);
}

/* ---- bindings ---- */

TEXT_OF(binding_source, meta_binding, source)
TEXT_OF(binding_destination, meta_binding, destination)
TEXT_OF(binding_key, meta_binding, key)
TEXT_OF(binding_vhost, meta_binding, vhost)
TABLE_OF(binding_arguments, meta_binding, arguments)

static void
put_source_kind(struct json *j, const void *row)
{
    (void)row;
    json_text(j, "exchange");
}

static void
put_destination_kind(struct json *j, const void *row)
{
    json_text(j, ((const struct meta_binding *)row)->to_exchange ? "exchange"
                                                                 : "queue");
}

static const struct column binding_columns[] = {
    {"source_name", put_binding_source, false},
    {"source_kind", put_source_kind, false},
    {"destination_name", put_binding_destination, false},
    {"destination_kind", put_destination_kind, false},
    {"routing_key", put_binding_key, false},
    {"arguments", put_binding_arguments, false},
    {"vhost", put_binding_vhost, false},
};

static bool
put_binding(void *arg, const struct meta_binding *binding)
{
    listing_row(arg, binding);
    return true;
}

void
run_list_bindings(struct job *job)
{
    const struct meta_vhost *vhost;

    if (!listing_pick(job, binding_columns, ARRAY_COUNT(binding_columns),
                      "source_name source_kind destination_name "
                      "destination_kind routing_key arguments",
                      0)) {
        return;
    }
    vhost = job_vhost(job);
    if (vhost == NULL) {
        return;
    }
    listing_begin(job);
    meta_each_binding(broker_meta(job->mgmt->broker), vhost, put_binding, job);
    listing_end(job, NULL);
}

/* ---- virtual hosts ---- */

TEXT_OF(vhost_name, meta_vhost, name)
TEXT_OF(vhost_description, meta_vhost, description)

static void
put_vhost_tags(struct json *j, const void *row)
{
    put_list(j, ((const struct meta_vhost *)row)->tags);
}

static void
put_vhost_tracing(struct json *j, const void *row)
{
    (void)row;
    json_bool(j, false);
}

static const struct column vhost_columns[] = {
    {"name", put_vhost_name, false},
    {"description", put_vhost_description, false},
    {"tags", put_vhost_tags, false},
    {"tracing", put_vhost_tracing, false},
};

static bool
put_vhost(void *arg, const struct meta_vhost *vhost)
{
    listing_row(arg, vhost);
    return true;
}

void
run_list_vhosts(struct job *job)
{
    if (!listing_pick(job, vhost_columns, ARRAY_COUNT(vhost_columns), "name",
                      0)) {
        return;
    }
    listing_begin(job);
    meta_each_vhost(broker_meta(job->mgmt->broker), put_vhost, job);
    listing_end(job, NULL);
}

/* ---- users ---- */

TEXT_OF(user_name, meta_user, name)

static void
put_user_tags(struct json *j, const void *row)
{
    put_list(j, ((const struct meta_user *)row)->tags);
}

static const struct column user_columns[] = {
    {"user", put_user_name, false},
    {"tags", put_user_tags, false},
};

static bool
put_user(void *arg, const struct meta_user *user)
{
    listing_row(arg, user);
    return true;
}

void
run_list_users(struct job *job)
{
    if (!listing_pick(job, user_columns, ARRAY_COUNT(user_columns), "user tags",
                      0)) {
        return;
    }
    listing_begin(job);
    meta_each_user(broker_meta(job->mgmt->broker), put_user, job);
    listing_end(job, NULL);
}

/* ---- permissions ---- */

TEXT_OF(permission_user, meta_permission, user)
TEXT_OF(permission_vhost, meta_permission, vhost)
TEXT_OF(permission_configure, meta_permission, configure)
TEXT_OF(permission_write, meta_permission, write)
TEXT_OF(permission_read, meta_permission, read)

static const struct column permission_columns[] = {
    {"user", put_permission_user, false},
    {"vhost", put_permission_vhost, false},
    {"configure", put_permission_configure, false},
    {"write", put_permission_write, false},
    {"read", put_permission_read, false},
};

static bool
put_permission(void *arg, const struct meta_permission *permission)
{
    struct job *job = arg;
    struct meta_text user = job_arg_text(job, 0);

    if (user.size == 0 ||
        (user.size == permission->user.size &&
         memcmp(user.data, permission->user.data, user.size) == 0)) {
        listing_row(job, permission);
    }
    return true;
}

void
run_list_permissions(struct job *job)
{
    const struct meta_vhost *vhost = job_vhost(job);

    if (vhost == NULL ||
        !listing_pick(job, permission_columns, ARRAY_COUNT(permission_columns),
                      "user configure write read", 0)) {
        return;
    }
    listing_begin(job);
    meta_each_permission(broker_meta(job->mgmt->broker), vhost, put_permission,
                         job);
    listing_end(job, NULL);
}

void
run_list_user_permissions(struct job *job)
{
    struct meta_machine *meta = broker_meta(job->mgmt->broker);
    struct meta_text user = job_arg_text(job, 0);

    if (user.size == 0 || meta_user(meta, user.data, user.size) == NULL) {
        job_fail(job, EXIT_CODE_NO_USER,
                 "User '%s' does not exist. See 'quoratectl list_users'",
                 user.data);
        return;
    }
    if (!listing_pick(job, permission_columns, ARRAY_COUNT(permission_columns),
                      "vhost configure write read", 1)) {
        return;
    }
    listing_begin(job);
    meta_each_permission(meta, NULL, put_permission, job);
    listing_end(job, NULL);
}

/* ---- policies ---- */

TEXT_OF(policy_vhost, meta_policy, vhost)
TEXT_OF(policy_name, meta_policy, name)
TEXT_OF(policy_pattern, meta_policy, pattern)
TEXT_OF(policy_apply_to, meta_policy, apply_to)
TEXT_OF(policy_definition, meta_policy, definition)

static void
put_policy_priority(struct json *j, const void *row)
{
    json_i64(j, ((const struct meta_policy *)row)->priority);
}

static const struct column policy_columns[] = {
    {"vhost", put_policy_vhost, false},
    {"name", put_policy_name, false},
    {"pattern", put_policy_pattern, false},
    {"apply-to", put_policy_apply_to, false},
    {"definition", put_policy_definition, false},
    {"priority", put_policy_priority, false},
};

static bool
put_policy(void *arg, const struct meta_policy *policy)
{
    if (!policy->is_operator) {
        listing_row(arg, policy);
    }
    return true;
}

void
run_list_policies(struct job *job)
{
    const struct meta_vhost *vhost = job_vhost(job);

    if (vhost == NULL ||
        !listing_pick(job, policy_columns, ARRAY_COUNT(policy_columns),
                      "vhost name pattern apply-to definition priority", 0)) {
        return;
    }
    listing_begin(job);
    meta_each_policy(broker_meta(job->mgmt->broker), vhost, put_policy, job);
    listing_end(job, NULL);
}
