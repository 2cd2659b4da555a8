/* Builders of the metadata group's commands: what a proposer hands to its
 * leader. Each appends one command to B: a varint length, then a Meta.Command
 * (proto/meta.proto); several may follow one another in one proposal.
 *
 * SESSION and REQUEST come back in the outcome; session 0 wants none. What the
 * arguments point at is borrowed for the call. Nothing is checked here: a
 * command beyond the limits of meta_machine.h comes to META_MALFORMED. */
#ifndef MACHINE_META_META_COMMAND_H
#define MACHINE_META_META_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/meta/meta_machine.h"

struct buf;

struct meta_queue_declare {
    struct meta_text vhost;
    struct meta_text name;
    bool is_durable;
    bool is_auto_delete;
    struct meta_owner owner; /* all 0: not exclusive */
    struct meta_text arguments;
    qr_node_id nodes[QR_MEMBERS_MAX]; /* that hold a replica; all must be known
                                         to the machine */
    size_t nodes_count;
    qr_node_id stand; /* one of them; 0: the first */
};

struct meta_queue_delete {
    struct meta_text vhost;
    struct meta_text name;
    qr_group_id group;       /* only this queue; 0: whichever has the name */
    struct meta_owner owner; /* only if it is its own; all 0: whosever */
};

struct meta_exchange_delete {
    struct meta_text vhost;
    struct meta_text name;
    bool if_unused;
};

/* A node has started: id (0: give one out), name, address, uuid, boot,
 * process. Sent
 * before it serves clients: it ends what belongs to its earlier starts.
 * OK; REFUSED: uuid, name or id is another's, it was removed, or a later boot
 * is known; LIMIT. */
void meta_put_node_up(struct buf *b, uint64_t session, uint64_t request,
                      const struct meta_node *node);
/* Name, address, uuid, and id (0: give one out): a node that will start. OK,
 * EXISTS, REFUSED, LIMIT. */
void meta_put_node_add(struct buf *b, uint64_t session, uint64_t request,
                       const struct meta_node *node);
/* Name, address and uuid of a blank node that joins under an id that the
 * machine gives out, in the place of node OLD (0: of none), which has its name
 * and is removed. OK; EXISTS: it has joined already; NOT_FOUND: there is no
 * OLD; REFUSED: the name is another's, or the uuid a removed node's; LIMIT. */
void meta_put_node_replace(struct buf *b, uint64_t session, uint64_t request,
                           qr_node_id old, const struct meta_node *node);
/* With the queues that had replicas nowhere else. OK; NOT_FOUND; REFUSED: the
 * last one. */
void meta_put_node_remove(struct buf *b, uint64_t session, uint64_t request,
                          qr_node_id id);

/* Name, description, tags; with it come the exchanges that AMQP and RabbitMQ
 * predeclare. OK, EXISTS, LIMIT. */
void meta_put_vhost_add(struct buf *b, uint64_t session, uint64_t request,
                        const struct meta_vhost *vhost);
/* With all that is in it. OK, NO_VHOST; REFUSED: the last one. */
void meta_put_vhost_delete(struct buf *b, uint64_t session, uint64_t request,
                           struct meta_text name);

/* OK, EXISTS (nothing is changed), LIMIT. */
void meta_put_user_add(struct buf *b, uint64_t session, uint64_t request,
                       const struct meta_user *user);
/* With its permissions. OK, NOT_FOUND. */
void meta_put_user_delete(struct buf *b, uint64_t session, uint64_t request,
                          struct meta_text name);
/* Name and password (an encoded hash). OK, NOT_FOUND. */
void meta_put_user_password(struct buf *b, uint64_t session, uint64_t request,
                            const struct meta_user *user);
/* Name and tags. OK, NOT_FOUND. */
void meta_put_user_tags(struct buf *b, uint64_t session, uint64_t request,
                        const struct meta_user *user);
/* OK; NO_VHOST; NOT_FOUND: no such user; LIMIT. */
void meta_put_permission_set(struct buf *b, uint64_t session, uint64_t request,
                             const struct meta_permission *permission);
/* Vhost and user. OK, NO_VHOST, NOT_FOUND. */
void meta_put_permission_clear(struct buf *b, uint64_t session,
                               uint64_t request,
                               const struct meta_permission *permission);

/* All but bindings_count. OK; EXISTS: compare with what is there; REFUSED: a
 * new name with "amq." before it; NO_VHOST; LIMIT. */
void meta_put_exchange_declare(struct buf *b, uint64_t session,
                               uint64_t request,
                               const struct meta_exchange *exchange);
/* OK; NO_VHOST; NO_EXCHANGE; IN_USE; REFUSED: a predeclared one. */
void meta_put_exchange_delete(struct buf *b, uint64_t session, uint64_t request,
                              const struct meta_exchange_delete *del);

/* OK; EXISTS: compare with what is there; NO_VHOST; NOT_FOUND: a node is not
 * known; REFUSED: the owner's node has started again since; LIMIT. */
void meta_put_queue_declare(struct buf *b, uint64_t session, uint64_t request,
                            const struct meta_queue_declare *declare);
/* OK; NO_VHOST; NO_QUEUE: none, or another group; REFUSED: another owner. */
void meta_put_queue_delete(struct buf *b, uint64_t session, uint64_t request,
                           const struct meta_queue_delete *del);
/* Replica and is_voter of each member of GROUP. OK; NO_QUEUE; NOT_FOUND: a
 * node is not known; REFUSED: a new member's incarnation is below
 * meta_queue_incarnation(). */
void meta_put_queue_members(struct buf *b, uint64_t session, uint64_t request,
                            qr_group_id group,
                            const struct meta_member *members, size_t count);

/* OK; EXISTS; NO_VHOST; NO_EXCHANGE: source, or destination; NO_QUEUE;
 * REFUSED: the default exchange; LIMIT. */
void meta_put_bind(struct buf *b, uint64_t session, uint64_t request,
                   const struct meta_binding *binding);
/* OK; NOT_FOUND: no such binding; NO_VHOST; NO_EXCHANGE; NO_QUEUE; REFUSED. */
void meta_put_unbind(struct buf *b, uint64_t session, uint64_t request,
                     const struct meta_binding *binding);

/* OK (new or replaced), NO_VHOST, LIMIT. */
void meta_put_policy_set(struct buf *b, uint64_t session, uint64_t request,
                         const struct meta_policy *policy);
/* Vhost, name, is_operator. OK, NO_VHOST, NOT_FOUND. */
void meta_put_policy_clear(struct buf *b, uint64_t session, uint64_t request,
                           const struct meta_policy *policy);
/* OK (new or replaced), NO_VHOST, LIMIT. */
void meta_put_parameter_set(struct buf *b, uint64_t session, uint64_t request,
                            const struct meta_parameter *parameter);
/* Vhost, component, name. OK, NOT_FOUND. */
void meta_put_parameter_clear(struct buf *b, uint64_t session, uint64_t request,
                              const struct meta_parameter *parameter);

/* Delete the exclusive queues of a connection. OK, though it had none. */
void meta_put_connection_gone(struct buf *b, uint64_t session, uint64_t request,
                              const struct meta_owner *owner);
/* Nothing: when its outcome comes, all before it is applied here. OK. */
void meta_put_barrier(struct buf *b, uint64_t session, uint64_t request);
/* OK. */
void meta_put_cluster_name(struct buf *b, uint64_t session, uint64_t request,
                           struct meta_text name);

#endif
