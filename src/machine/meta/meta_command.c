/* The builders are the only ones beside the machine that touch the generated
 * protobuf structures. Each fills the message of its kind and hands it to
 * meta_put(), which writes the length and the bytes. */
#include "machine/meta/meta_command.h"

#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "meta.pb-c.h"

/* protobuf-c declares bytes that it only reads as mutable. */
static ProtobufCBinaryData
meta_bytes(struct meta_text text)
{
    ProtobufCBinaryData bytes = {text.size, NULL};

    ASSERT(text.data != NULL || text.size == 0);
    memcpy(&bytes.data, &text.data, sizeof(bytes.data));
    return bytes;
}

static void
meta_put(struct buf *b, Meta__Command *command, uint64_t session,
         uint64_t request)
{
    size_t size = 0;
    size_t packed = 0;

    ASSERT(b != NULL);
    ASSERT(command->of_case != META__COMMAND__OF__NOT_SET);
    command->session = session;
    command->request = request;
    size = meta__command__get_packed_size(command);
    buf_put_varint(b, size);
    packed = meta__command__pack(command, buf_extend(b, size));
    ASSERT(packed == size);
}

static Meta__Owner
meta_owner_message(const struct meta_owner *owner)
{
    Meta__Owner message = META__OWNER__INIT;

    message.node = owner->node;
    message.boot = owner->boot;
    message.connection = owner->connection;
    return message;
}

void
meta_put_node_up(struct buf *b, uint64_t session, uint64_t request,
                 const struct meta_node *node)
{
    Meta__NodeUp message = META__NODE_UP__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(node != NULL);
    message.id = node->id;
    message.name = meta_bytes(node->name);
    message.address = meta_bytes(node->address);
    message.uuid = meta_bytes(
        meta_text((const char *)node->uuid.bytes, sizeof(node->uuid.bytes)));
    message.boot = node->boot;
    message.process = node->process;
    command.of_case = META__COMMAND__OF_NODE_UP;
    command.node_up = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_node_add(struct buf *b, uint64_t session, uint64_t request,
                  const struct meta_node *node)
{
    Meta__NodeAdd message = META__NODE_ADD__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(node != NULL);
    message.name = meta_bytes(node->name);
    message.address = meta_bytes(node->address);
    message.uuid = meta_bytes(
        meta_text((const char *)node->uuid.bytes, sizeof(node->uuid.bytes)));
    message.id = node->id;
    command.of_case = META__COMMAND__OF_NODE_ADD;
    command.node_add = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_node_replace(struct buf *b, uint64_t session, uint64_t request,
                      qr_node_id old, const struct meta_node *node)
{
    Meta__NodeReplace message = META__NODE_REPLACE__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(node != NULL);
    message.old = old;
    message.name = meta_bytes(node->name);
    message.address = meta_bytes(node->address);
    message.uuid = meta_bytes(
        meta_text((const char *)node->uuid.bytes, sizeof(node->uuid.bytes)));
    command.of_case = META__COMMAND__OF_NODE_REPLACE;
    command.node_replace = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_node_remove(struct buf *b, uint64_t session, uint64_t request,
                     qr_node_id id)
{
    Meta__NodeRemove message = META__NODE_REMOVE__INIT;
    Meta__Command command = META__COMMAND__INIT;

    message.id = id;
    command.of_case = META__COMMAND__OF_NODE_REMOVE;
    command.node_remove = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_vhost_add(struct buf *b, uint64_t session, uint64_t request,
                   const struct meta_vhost *vhost)
{
    Meta__VhostAdd message = META__VHOST_ADD__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(vhost != NULL);
    message.name = meta_bytes(vhost->name);
    message.description = meta_bytes(vhost->description);
    message.tags = meta_bytes(vhost->tags);
    command.of_case = META__COMMAND__OF_VHOST_ADD;
    command.vhost_add = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_vhost_delete(struct buf *b, uint64_t session, uint64_t request,
                      struct meta_text name)
{
    Meta__VhostDelete message = META__VHOST_DELETE__INIT;
    Meta__Command command = META__COMMAND__INIT;

    message.name = meta_bytes(name);
    command.of_case = META__COMMAND__OF_VHOST_DELETE;
    command.vhost_delete = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_user_add(struct buf *b, uint64_t session, uint64_t request,
                  const struct meta_user *user)
{
    Meta__UserAdd message = META__USER_ADD__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(user != NULL);
    message.name = meta_bytes(user->name);
    message.password = meta_bytes(user->password);
    message.tags = meta_bytes(user->tags);
    command.of_case = META__COMMAND__OF_USER_ADD;
    command.user_add = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_user_delete(struct buf *b, uint64_t session, uint64_t request,
                     struct meta_text name)
{
    Meta__UserDelete message = META__USER_DELETE__INIT;
    Meta__Command command = META__COMMAND__INIT;

    message.name = meta_bytes(name);
    command.of_case = META__COMMAND__OF_USER_DELETE;
    command.user_delete = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_user_password(struct buf *b, uint64_t session, uint64_t request,
                       const struct meta_user *user)
{
    Meta__UserPassword message = META__USER_PASSWORD__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(user != NULL);
    message.name = meta_bytes(user->name);
    message.password = meta_bytes(user->password);
    command.of_case = META__COMMAND__OF_USER_PASSWORD;
    command.user_password = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_user_tags(struct buf *b, uint64_t session, uint64_t request,
                   const struct meta_user *user)
{
    Meta__UserTags message = META__USER_TAGS__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(user != NULL);
    message.name = meta_bytes(user->name);
    message.tags = meta_bytes(user->tags);
    command.of_case = META__COMMAND__OF_USER_TAGS;
    command.user_tags = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_permission_set(struct buf *b, uint64_t session, uint64_t request,
                        const struct meta_permission *permission)
{
    Meta__PermissionSet message = META__PERMISSION_SET__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(permission != NULL);
    message.vhost = meta_bytes(permission->vhost);
    message.user = meta_bytes(permission->user);
    message.configure = meta_bytes(permission->configure);
    message.write = meta_bytes(permission->write);
    message.read = meta_bytes(permission->read);
    command.of_case = META__COMMAND__OF_PERMISSION_SET;
    command.permission_set = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_permission_clear(struct buf *b, uint64_t session, uint64_t request,
                          const struct meta_permission *permission)
{
    Meta__PermissionClear message = META__PERMISSION_CLEAR__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(permission != NULL);
    message.vhost = meta_bytes(permission->vhost);
    message.user = meta_bytes(permission->user);
    command.of_case = META__COMMAND__OF_PERMISSION_CLEAR;
    command.permission_clear = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_exchange_declare(struct buf *b, uint64_t session, uint64_t request,
                          const struct meta_exchange *exchange)
{
    Meta__ExchangeDeclare message = META__EXCHANGE_DECLARE__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(exchange != NULL);
    message.vhost = meta_bytes(exchange->vhost);
    message.name = meta_bytes(exchange->name);
    message.type = (uint32_t)exchange->type;
    message.durable = exchange->is_durable;
    message.auto_delete = exchange->is_auto_delete;
    message.internal = exchange->is_internal;
    message.arguments = meta_bytes(exchange->arguments);
    command.of_case = META__COMMAND__OF_EXCHANGE_DECLARE;
    command.exchange_declare = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_exchange_delete(struct buf *b, uint64_t session, uint64_t request,
                         const struct meta_exchange_delete *del)
{
    Meta__ExchangeDelete message = META__EXCHANGE_DELETE__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(del != NULL);
    message.vhost = meta_bytes(del->vhost);
    message.name = meta_bytes(del->name);
    message.if_unused = del->if_unused;
    command.of_case = META__COMMAND__OF_EXCHANGE_DELETE;
    command.exchange_delete = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_queue_declare(struct buf *b, uint64_t session, uint64_t request,
                       const struct meta_queue_declare *declare)
{
    Meta__QueueDeclare message = META__QUEUE_DECLARE__INIT;
    Meta__Command command = META__COMMAND__INIT;
    Meta__Owner owner = meta_owner_message(&declare->owner);
    uint32_t nodes[QR_MEMBERS_MAX];

    ASSERT(declare != NULL);
    ASSERT(declare->nodes_count <= QR_MEMBERS_MAX);
    for (size_t i = 0; i < declare->nodes_count; i++) {
        nodes[i] = declare->nodes[i];
    }
    message.vhost = meta_bytes(declare->vhost);
    message.name = meta_bytes(declare->name);
    message.durable = declare->is_durable;
    message.auto_delete = declare->is_auto_delete;
    message.owner = declare->owner.node != 0 ? &owner : NULL;
    message.arguments = meta_bytes(declare->arguments);
    message.n_nodes = declare->nodes_count;
    message.nodes = nodes;
    message.stand = declare->stand;
    command.of_case = META__COMMAND__OF_QUEUE_DECLARE;
    command.queue_declare = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_queue_delete(struct buf *b, uint64_t session, uint64_t request,
                      const struct meta_queue_delete *del)
{
    Meta__QueueDelete message = META__QUEUE_DELETE__INIT;
    Meta__Command command = META__COMMAND__INIT;
    Meta__Owner owner = meta_owner_message(&del->owner);

    ASSERT(del != NULL);
    message.vhost = meta_bytes(del->vhost);
    message.name = meta_bytes(del->name);
    message.group = del->group;
    message.owner = del->owner.node != 0 ? &owner : NULL;
    command.of_case = META__COMMAND__OF_QUEUE_DELETE;
    command.queue_delete = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_queue_members(struct buf *b, uint64_t session, uint64_t request,
                       qr_group_id group, const struct meta_member *members,
                       size_t count)
{
    Meta__QueueMembers message = META__QUEUE_MEMBERS__INIT;
    Meta__Command command = META__COMMAND__INIT;
    Meta__Member list[QR_MEMBERS_MAX];
    Meta__Member *pointers[QR_MEMBERS_MAX];

    ASSERT(count <= QR_MEMBERS_MAX);
    for (size_t i = 0; i < count; i++) {
        meta__member__init(&list[i]);
        list[i].replica = members[i].replica;
        list[i].voter = members[i].is_voter;
        pointers[i] = &list[i];
    }
    message.group = group;
    message.n_members = count;
    message.members = pointers;
    command.of_case = META__COMMAND__OF_QUEUE_MEMBERS;
    command.queue_members = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_bind(struct buf *b, uint64_t session, uint64_t request,
              const struct meta_binding *binding)
{
    Meta__Bind message = META__BIND__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(binding != NULL);
    message.vhost = meta_bytes(binding->vhost);
    message.source = meta_bytes(binding->source);
    message.destination = meta_bytes(binding->destination);
    message.to_exchange = binding->to_exchange;
    message.key = meta_bytes(binding->key);
    message.arguments = meta_bytes(binding->arguments);
    command.of_case = META__COMMAND__OF_BIND;
    command.bind = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_unbind(struct buf *b, uint64_t session, uint64_t request,
                const struct meta_binding *binding)
{
    Meta__Unbind message = META__UNBIND__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(binding != NULL);
    message.vhost = meta_bytes(binding->vhost);
    message.source = meta_bytes(binding->source);
    message.destination = meta_bytes(binding->destination);
    message.to_exchange = binding->to_exchange;
    message.key = meta_bytes(binding->key);
    message.arguments = meta_bytes(binding->arguments);
    command.of_case = META__COMMAND__OF_UNBIND;
    command.unbind = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_policy_set(struct buf *b, uint64_t session, uint64_t request,
                    const struct meta_policy *policy)
{
    Meta__PolicySet message = META__POLICY_SET__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(policy != NULL);
    message.vhost = meta_bytes(policy->vhost);
    message.name = meta_bytes(policy->name);
    message.pattern = meta_bytes(policy->pattern);
    message.apply_to = meta_bytes(policy->apply_to);
    message.definition = meta_bytes(policy->definition);
    message.priority = policy->priority;
    message.is_operator = policy->is_operator;
    command.of_case = META__COMMAND__OF_POLICY_SET;
    command.policy_set = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_policy_clear(struct buf *b, uint64_t session, uint64_t request,
                      const struct meta_policy *policy)
{
    Meta__PolicyClear message = META__POLICY_CLEAR__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(policy != NULL);
    message.vhost = meta_bytes(policy->vhost);
    message.name = meta_bytes(policy->name);
    message.is_operator = policy->is_operator;
    command.of_case = META__COMMAND__OF_POLICY_CLEAR;
    command.policy_clear = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_parameter_set(struct buf *b, uint64_t session, uint64_t request,
                       const struct meta_parameter *parameter)
{
    Meta__ParameterSet message = META__PARAMETER_SET__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(parameter != NULL);
    message.vhost = meta_bytes(parameter->vhost);
    message.component = meta_bytes(parameter->component);
    message.name = meta_bytes(parameter->name);
    message.value = meta_bytes(parameter->value);
    command.of_case = META__COMMAND__OF_PARAMETER_SET;
    command.parameter_set = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_parameter_clear(struct buf *b, uint64_t session, uint64_t request,
                         const struct meta_parameter *parameter)
{
    Meta__ParameterClear message = META__PARAMETER_CLEAR__INIT;
    Meta__Command command = META__COMMAND__INIT;

    ASSERT(parameter != NULL);
    message.vhost = meta_bytes(parameter->vhost);
    message.component = meta_bytes(parameter->component);
    message.name = meta_bytes(parameter->name);
    command.of_case = META__COMMAND__OF_PARAMETER_CLEAR;
    command.parameter_clear = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_connection_gone(struct buf *b, uint64_t session, uint64_t request,
                         const struct meta_owner *owner)
{
    Meta__ConnectionGone message = META__CONNECTION_GONE__INIT;
    Meta__Command command = META__COMMAND__INIT;
    Meta__Owner whose = meta_owner_message(owner);

    ASSERT(owner != NULL);
    message.owner = &whose;
    command.of_case = META__COMMAND__OF_CONNECTION_GONE;
    command.connection_gone = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_barrier(struct buf *b, uint64_t session, uint64_t request)
{
    Meta__Barrier message = META__BARRIER__INIT;
    Meta__Command command = META__COMMAND__INIT;

    command.of_case = META__COMMAND__OF_BARRIER;
    command.barrier = &message;
    meta_put(b, &command, session, request);
}

void
meta_put_cluster_name(struct buf *b, uint64_t session, uint64_t request,
                      struct meta_text name)
{
    Meta__ClusterName message = META__CLUSTER_NAME__INIT;
    Meta__Command command = META__COMMAND__INIT;

    message.name = meta_bytes(name);
    command.of_case = META__COMMAND__OF_CLUSTER_NAME;
    command.cluster_name = &message;
    meta_put(b, &command, session, request);
}
