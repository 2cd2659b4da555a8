/* The commands' handlers, one a kind. Private to machine/meta. Each checks its
 * command whole before it changes anything. */
#ifndef MACHINE_META_META_APPLY_H
#define MACHINE_META_META_APPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "machine/meta/meta_machine.h"
#include "meta.pb-c.h"

/* M's command C; *OUT has the origin, and takes the group. */
typedef enum meta_status meta_handler(struct meta_machine *m,
                                      const Meta__Command *c,
                                      struct meta_outcome *out);

meta_handler meta_apply_node_up;
meta_handler meta_apply_node_add;
meta_handler meta_apply_node_remove;
meta_handler meta_apply_node_replace;
meta_handler meta_apply_vhost_add;
meta_handler meta_apply_vhost_delete;
meta_handler meta_apply_user_add;
meta_handler meta_apply_user_delete;
meta_handler meta_apply_user_password;
meta_handler meta_apply_user_tags;
meta_handler meta_apply_permission_set;
meta_handler meta_apply_permission_clear;
meta_handler meta_apply_exchange_declare;
meta_handler meta_apply_exchange_delete;
meta_handler meta_apply_queue_declare;
meta_handler meta_apply_queue_delete;
meta_handler meta_apply_queue_members;
meta_handler meta_apply_bind;
meta_handler meta_apply_unbind;
meta_handler meta_apply_policy_set;
meta_handler meta_apply_policy_clear;
meta_handler meta_apply_parameter_set;
meta_handler meta_apply_parameter_clear;
meta_handler meta_apply_connection_gone;

/* The bytes of a field, borrowed from the command. */
static inline struct meta_text
meta_field(const ProtobufCBinaryData *bytes)
{
    return meta_text(bytes->data != NULL ? (const char *)bytes->data : "",
                     bytes->len);
}

/* Whether TEXT can be the name of something: 1 to QR_NAME_SIZE_MAX bytes. */
static inline bool
meta_is_name(struct meta_text text)
{
    return text.size > 0 && text.size <= QR_NAME_SIZE_MAX;
}

#endif
