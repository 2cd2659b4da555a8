/* Names in requests: copies that outlive the caller's, reserved prefixes, and
 * faults that every kind of request shares. */
#ifndef BROKER_NAMES_H
#define BROKER_NAMES_H

#include <stdbool.h>

#include "broker/broker.h"
#include "machine/meta/meta_machine.h"

struct meta_request;

/* Whether NAME begins with "amq.". */
bool name_is_reserved(struct meta_text name);
/* Keep C, its vhost and NAME in R. */
void request_name(struct meta_request *r, struct broker_connection *c,
                  struct meta_text name);
struct meta_text request_vhost(const struct meta_request *r);
/* The faults for outcomes that have no text of their own in RabbitMQ. */
void request_fault(const struct meta_request *r,
                   const struct meta_outcome *outcome, const char *kind,
                   struct broker_fault *fault);
const char *broker_exchange_type_name(enum meta_exchange_type type);

#endif
