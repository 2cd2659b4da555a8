/* Arguments of declarations: encoded AMQP field tables (specification
 * 4.2.5.5), entries without the length before them, checked by the front end.
 * The broker looks at a few keys and at whether two tables say the same. */
#ifndef BROKER_ARGUMENTS_H
#define BROKER_ARGUMENTS_H

#include <stdbool.h>

#include "broker/broker.h"
#include "machine/meta/meta_machine.h"

/* Whether TABLE has entry KEY. */
bool arguments_has(struct meta_text table, const char *key);
/* The text at KEY, borrowed; size 0 when there is none or it is no text. */
struct meta_text arguments_text(struct meta_text table, const char *key);
/* RECEIVED in a declaration of queue NAME of VHOST, against CURRENT: FAULT
 * (PRECONDITION, RabbitMQ's text) names the first entry whose value differs or
 * that only one of them has. Integers of different width are equal. */
void arguments_compare(struct meta_text received, struct meta_text current,
                       const char *name, const char *vhost,
                       struct broker_fault *fault);

#endif
