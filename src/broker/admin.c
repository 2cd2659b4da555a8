/* See broker_admin.h. Each change is one metadata command with the checks
 * that the machine cannot make (patterns, sizes) before it, and a text for each
 * outcome after it. Passwords are hashed on the pool before the command is
 * built; what waits for that is bounded. */
#include <quorate/error.h>
#include <string.h>

#include "auth/password.h"
#include "auth/permission.h"
#include "base/error.h"
#include "base/mem.h"
#include "broker/broker_admin.h"
#include "broker/broker_priv.h"
#include "broker/meta_client.h"
#include "broker/meta_group.h"
#include "broker/queue_client.h"
#include "broker/queue_group.h"
#include "machine/meta/meta_command.h"
#include "shard/env.h"

/* ---- what all changes share ---- */

/* Whether TEXT has LEAST to MOST bytes; FAULT (INVALID) otherwise. */
static bool
check_size(struct meta_text text, const char *what, size_t least, size_t most,
           struct broker_fault *fault)
{
    if (text.size >= least && text.size <= most) {
        return true;
    }
    broker_fault_set(fault, BROKER_INVALID,
                     "%s has %zu bytes; %zu to %zu are allowed", what,
                     text.size, least, most);
    return false;
}

static bool
check_name(struct meta_text name, const char *what, struct broker_fault *fault)
{
    return check_size(name, what, 1, QR_NAME_SIZE_MAX, fault);
}

static bool
check_pattern(struct meta_text pattern, const char *what,
              struct broker_fault *fault)
{
    struct error err;

    error_clear(&err);
    if (permission_pattern_check(pattern.data, pattern.size, &err) == 0) {
        return true;
    }
    broker_fault_set(fault, BROKER_INVALID, "the %s pattern: %s", what,
                     err.text);
    return false;
}

/* A request about NAME and, if it has any size, VHOST. */
static struct meta_request *
request_about(struct broker *b, struct broker_call *call, meta_applied_cb cb,
              struct meta_text name, struct meta_text vhost)
{
    struct meta_request *r = meta_request_new(b, call, cb);

    ASSERT(name.size < sizeof(r->name));
    ASSERT(vhost.size < sizeof(r->vhost));
    memcpy(r->name, name.data, name.size);
    r->name_size = (uint16_t)name.size;
    if (vhost.size > 0) {
        memcpy(r->vhost, vhost.data, vhost.size);
        r->vhost_size = (uint16_t)vhost.size;
    }
    return r;
}

/* Fill the fault of an OUTCOME that is no success; KIND is of r->name. */
static void
fault_of(const struct meta_request *r, const struct meta_outcome *outcome,
         const char *kind, struct broker_fault *fault)
{
    switch (outcome->status) {
    case META_OK:
        return;
    case META_EXISTS:
        broker_fault_set(fault, BROKER_NOT_ALLOWED, "%s '%s' already exists",
                         kind, r->name);
        return;
    case META_NOT_FOUND:
    case META_NO_QUEUE:
    case META_NO_EXCHANGE:
        broker_fault_set(fault, BROKER_NOT_FOUND, "%s '%s' does not exist",
                         kind, r->name);
        return;
    case META_NO_VHOST:
        broker_fault_set(fault, BROKER_NOT_FOUND,
                         "Virtual host '%s' does not exist",
                         r->vhost_size > 0 ? r->vhost : r->name);
        return;
    case META_LIMIT:
        broker_fault_set(fault, BROKER_RESOURCE,
                         "the cluster holds as many as it may: delete some "
                         "first");
        return;
    case META_IN_USE:
    case META_REFUSED:
        broker_fault_set(fault, BROKER_ACCESS_REFUSED,
                         "%s '%s' cannot be deleted: it is the last one", kind,
                         r->name);
        return;
    case META_MALFORMED:
        broker_fault_set(fault, BROKER_INVALID,
                         "%s '%s': a field is beyond its limit", kind, r->name);
        return;
    }
}

static void
vhost_applied(struct meta_request *r, const struct meta_outcome *outcome,
              struct broker_reply *reply)
{
    fault_of(r, outcome, "Virtual host", &reply->fault);
}

static void
user_applied(struct meta_request *r, const struct meta_outcome *outcome,
             struct broker_reply *reply)
{
    fault_of(r, outcome, "User", &reply->fault);
}

static void
policy_applied(struct meta_request *r, const struct meta_outcome *outcome,
               struct broker_reply *reply)
{
    fault_of(r, outcome, "Policy", &reply->fault);
}

static void
queue_applied(struct meta_request *r, const struct meta_outcome *outcome,
              struct broker_reply *reply)
{
    fault_of(r, outcome, "Queue", &reply->fault);
}

/* ---- virtual hosts ---- */

void
broker_vhost_add(struct broker *b, const struct meta_vhost *vhost,
                 struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct meta_vhost command = *vhost;
    struct meta_request *r;

    OBJ_CHECK(b, BROKER_MAGIC);
    if (!check_name(vhost->name, "a virtual host's name", &fault) ||
        !check_size(vhost->description, "the description", 0,
                    ADMIN_DESCRIPTION_SIZE_MAX, &fault) ||
        !check_size(vhost->tags, "the tags", 0, ADMIN_TAGS_SIZE_MAX, &fault)) {
        call_fail_soon(b, call, &fault);
        return;
    }
    command.created_ms = b->env->ops->wall_ms(b->env);
    r = request_about(b, call, vhost_applied, vhost->name, meta_text("", 0));
    meta_put_vhost_add(&r->command, b->session, r->number, &command);
    meta_request_send(r);
}

void
broker_vhost_delete(struct broker *b, struct meta_text name,
                    struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct meta_request *r;

    OBJ_CHECK(b, BROKER_MAGIC);
    if (!check_name(name, "a virtual host's name", &fault)) {
        call_fail_soon(b, call, &fault);
        return;
    }
    r = request_about(b, call, vhost_applied, name, meta_text("", 0));
    meta_put_vhost_delete(&r->command, b->session, r->number, name);
    meta_request_send(r);
}

/* ---- users ---- */

/* A password on its way to being a user's. */
struct hashing {
    struct work work;
    struct broker *broker;
    struct call_ref *call;
    bool is_new;
    char name[QR_NAME_SIZE_MAX];
    size_t name_size;
    char tags[ADMIN_TAGS_SIZE_MAX];
    size_t tags_size;
    char password[PASSWORD_SIZE_MAX];
    size_t password_size;
    uint8_t salt[PASSWORD_SALT_SIZE];
    char encoded[PASSWORD_ENCODED_SIZE];
    int result;
};

static void
run_hash(struct work *w)
{
    struct hashing *h = CONTAINER_OF(w, struct hashing, work);

    h->result =
        password_encode(h->password, h->password_size, h->salt, h->encoded);
}

static void
send_user(struct hashing *h)
{
    struct broker *b = h->broker;
    struct meta_user user = {.name = meta_text(h->name, h->name_size),
                             .password =
                                 meta_text(h->encoded, strlen(h->encoded)),
                             .tags = meta_text(h->tags, h->tags_size)};
    struct meta_request *r = request_about(
        b, call_release(&h->call), user_applied, user.name, meta_text("", 0));

    if (h->is_new) {
        meta_put_user_add(&r->command, b->session, r->number, &user);
    } else {
        meta_put_user_password(&r->command, b->session, r->number, &user);
    }
    meta_request_send(r);
}

static void
hash_done(struct work *w)
{
    struct hashing *h = CONTAINER_OF(w, struct hashing, work);

    h->broker->hashes_waiting--;
    if (h->result == 0) {
        send_user(h);
    } else {
        call_end_fault(&h->call, BROKER_INTERNAL,
                       "the password cannot be hashed: %s",
                       qr_error_text(h->result));
    }
    mem_wipe(h, sizeof(*h));
    mem_free(h);
}

static void
hash_and_send(struct broker *b, const struct meta_user *user, bool is_new,
              struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct hashing *h;

    if (!check_name(user->name, "a user's name", &fault) ||
        !check_size(user->password, "the password", 1, PASSWORD_SIZE_MAX,
                    &fault) ||
        !check_size(user->tags, "the tags", 0, ADMIN_TAGS_SIZE_MAX, &fault)) {
        call_fail_soon(b, call, &fault);
        return;
    }
    if (b->hashes_waiting >= ADMIN_HASHES_MAX) {
        broker_fault_set(&fault, BROKER_RESOURCE,
                         "%d passwords wait for their hash: try again later",
                         (int)ADMIN_HASHES_MAX);
        call_fail_soon(b, call, &fault);
        return;
    }
    b->hashes_waiting++;
    h = mem_zalloc(1, sizeof(*h));
    h->work.run = run_hash;
    h->work.done = hash_done;
    h->broker = b;
    h->call = call_begin(b, call);
    h->is_new = is_new;
    memcpy(h->name, user->name.data, user->name.size);
    h->name_size = user->name.size;
    memcpy(h->password, user->password.data, user->password.size);
    h->password_size = user->password.size;
    if (user->tags.size > 0) {
        memcpy(h->tags, user->tags.data, user->tags.size);
        h->tags_size = user->tags.size;
    }
    b->env->ops->random(b->env, h->salt, sizeof(h->salt));
    b->env->ops->work(b->env, &h->work);
}

void
broker_user_add(struct broker *b, struct meta_text name,
                struct meta_text password, struct meta_text tags,
                struct broker_call *call)
{
    struct meta_user user = {.name = name, .password = password, .tags = tags};
    struct broker_fault fault = {.kind = BROKER_OK};

    OBJ_CHECK(b, BROKER_MAGIC);
    if (meta_user(b->meta, name.data, name.size) != NULL) {
        broker_fault_set(&fault, BROKER_NOT_ALLOWED,
                         "User '%.*s' already exists", (int)name.size,
                         name.data);
        call_fail_soon(b, call, &fault);
        return;
    }
    hash_and_send(b, &user, true, call);
}

void
broker_user_password(struct broker *b, struct meta_text name,
                     struct meta_text password, struct broker_call *call)
{
    struct meta_user user = {.name = name, .password = password};
    struct broker_fault fault = {.kind = BROKER_OK};

    OBJ_CHECK(b, BROKER_MAGIC);
    if (meta_user(b->meta, name.data, name.size) == NULL) {
        broker_fault_set(&fault, BROKER_NOT_FOUND, "User '%.*s' does not exist",
                         (int)MIN(name.size, QR_NAME_SIZE_MAX), name.data);
        call_fail_soon(b, call, &fault);
        return;
    }
    hash_and_send(b, &user, false, call);
}

void
broker_user_delete(struct broker *b, struct meta_text name,
                   struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct meta_request *r;

    OBJ_CHECK(b, BROKER_MAGIC);
    if (!check_name(name, "a user's name", &fault)) {
        call_fail_soon(b, call, &fault);
        return;
    }
    r = request_about(b, call, user_applied, name, meta_text("", 0));
    meta_put_user_delete(&r->command, b->session, r->number, name);
    meta_request_send(r);
}

void
broker_user_tags(struct broker *b, struct meta_text name, struct meta_text tags,
                 struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct meta_user user = {.name = name, .tags = tags};
    struct meta_request *r;

    OBJ_CHECK(b, BROKER_MAGIC);
    if (!check_name(name, "a user's name", &fault) ||
        !check_size(tags, "the tags", 0, ADMIN_TAGS_SIZE_MAX, &fault)) {
        call_fail_soon(b, call, &fault);
        return;
    }
    r = request_about(b, call, user_applied, name, meta_text("", 0));
    meta_put_user_tags(&r->command, b->session, r->number, &user);
    meta_request_send(r);
}

/* ---- permissions ---- */

void
broker_permission_set(struct broker *b,
                      const struct meta_permission *permission,
                      struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct meta_request *r;

    OBJ_CHECK(b, BROKER_MAGIC);
    if (!check_name(permission->user, "a user's name", &fault) ||
        !check_name(permission->vhost, "a virtual host's name", &fault) ||
        !check_pattern(permission->configure, "configure", &fault) ||
        !check_pattern(permission->write, "write", &fault) ||
        !check_pattern(permission->read, "read", &fault)) {
        call_fail_soon(b, call, &fault);
        return;
    }
    r = request_about(b, call, user_applied, permission->user,
                      permission->vhost);
    meta_put_permission_set(&r->command, b->session, r->number, permission);
    meta_request_send(r);
}

void
broker_permission_clear(struct broker *b,
                        const struct meta_permission *permission,
                        struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct meta_request *r;

    OBJ_CHECK(b, BROKER_MAGIC);
    if (!check_name(permission->user, "a user's name", &fault) ||
        !check_name(permission->vhost, "a virtual host's name", &fault)) {
        call_fail_soon(b, call, &fault);
        return;
    }
    r = request_about(b, call, user_applied, permission->user,
                      permission->vhost);
    meta_put_permission_clear(&r->command, b->session, r->number, permission);
    meta_request_send(r);
}

/* ---- policies ---- */

void
broker_policy_set(struct broker *b, const struct meta_policy *policy,
                  struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct meta_request *r;

    OBJ_CHECK(b, BROKER_MAGIC);
    if (!check_name(policy->name, "a policy's name", &fault) ||
        !check_name(policy->vhost, "a virtual host's name", &fault) ||
        !check_pattern(policy->pattern, "policy's", &fault) ||
        !check_size(policy->definition, "the definition", 2,
                    ADMIN_DEFINITION_SIZE_MAX, &fault)) {
        call_fail_soon(b, call, &fault);
        return;
    }
    r = request_about(b, call, policy_applied, policy->name, policy->vhost);
    meta_put_policy_set(&r->command, b->session, r->number, policy);
    meta_request_send(r);
}

void
broker_policy_clear(struct broker *b, const struct meta_policy *policy,
                    struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct meta_request *r;

    OBJ_CHECK(b, BROKER_MAGIC);
    if (!check_name(policy->name, "a policy's name", &fault) ||
        !check_name(policy->vhost, "a virtual host's name", &fault)) {
        call_fail_soon(b, call, &fault);
        return;
    }
    r = request_about(b, call, policy_applied, policy->name, policy->vhost);
    meta_put_policy_clear(&r->command, b->session, r->number, policy);
    meta_request_send(r);
}

/* ---- queues ---- */

/* The queue of GROUP, or NULL and CALL fails. */
static struct meta_queue *
find_group(struct broker *b, qr_group_id group, struct broker_call *call)
{
    struct meta_queue *queue = meta_queue_by_group(b->meta, group);
    struct broker_fault fault;

    if (queue == NULL) {
        broker_fault_set(&fault, BROKER_NOT_FOUND,
                         "the queue has been deleted meanwhile");
        call_fail_soon(b, call, &fault);
    }
    return queue;
}

void
broker_admin_queue_delete(struct broker *b, qr_group_id group,
                          struct broker_call *call)
{
    struct meta_queue *queue = find_group(b, group, call);
    struct meta_queue_delete command = {.group = group};
    struct meta_request *r;

    OBJ_CHECK(b, BROKER_MAGIC);
    if (queue == NULL) {
        return;
    }
    command.vhost = queue->vhost;
    command.name = queue->name;
    r = request_about(b, call, queue_applied, queue->name, queue->vhost);
    meta_put_queue_delete(&r->command, b->session, r->number, &command);
    meta_request_send(r);
}

void
broker_admin_queue_purge(struct broker *b, qr_group_id group,
                         struct broker_call *call)
{
    struct meta_queue *queue = find_group(b, group, call);

    OBJ_CHECK(b, BROKER_MAGIC);
    if (queue != NULL) {
        queue_client_purge(queue_client_get(b, queue), call);
    }
}

/* ---- replicas ---- */

/* The replica of GROUP here, or NULL. *QUEUE is NULL of the metadata's. */
static struct qr_group *
find_replica(struct broker *b, qr_group_id group, struct queue_group **queue)
{
    *queue = NULL;
    if (group == QR_GROUP_META) {
        return b->meta_group == NULL ? NULL : meta_group_raft(b->meta_group);
    }
    *queue = map_get(&b->groups, group);
    return *queue == NULL ? NULL : queue_group_raft(*queue);
}

bool
broker_replica(struct broker *b, qr_group_id group, struct broker_replica *out)
{
    struct queue_group *queue;
    struct qr_group *raft;

    OBJ_CHECK(b, BROKER_MAGIC);
    raft = find_replica(b, group, &queue);
    if (raft == NULL) {
        return false;
    }
    memset(out, 0, sizeof(*out));
    qr_group_status(raft, &out->status);
    if (queue != NULL) {
        queue_machine_counts(queue_group_machine(queue), &out->counts);
        out->losses_count =
            queue_machine_losses(queue_group_machine(queue), &out->losses);
    }
    return true;
}

uint64_t *
broker_replica_ids(const struct broker *b, size_t *count)
{
    OBJ_CHECK(b, BROKER_MAGIC);
    *count = b->groups.count;
    return map_keys_sorted(&b->groups);
}

void
broker_replica_consumers(struct broker *b, qr_group_id group,
                         void (*cb)(void *arg,
                                    const struct queue_consumer_info *info),
                         void *arg)
{
    struct queue_group *queue;

    OBJ_CHECK(b, BROKER_MAGIC);
    queue = map_get(&b->groups, group);
    if (queue != NULL) {
        queue_machine_foreach_consumer(queue_group_machine(queue), cb, arg);
    }
}

int
broker_replica_transfer(struct broker *b, qr_group_id group, qr_node_id node)
{
    struct queue_group *queue;
    struct qr_group *raft;

    OBJ_CHECK(b, BROKER_MAGIC);
    ASSERT(node != 0);
    raft = find_replica(b, group, &queue);
    return raft == NULL ? -QR_ENOTLEADER : qr_group_transfer(raft, node);
}

uint32_t
broker_queue_replicas(const struct broker *b)
{
    return b->config.queue_replicas;
}

void
broker_host_stats(const struct broker *b, struct qr_host_stats *out)
{
    OBJ_CHECK(b, BROKER_MAGIC);
    qr_host_stats(b->host, out);
}
