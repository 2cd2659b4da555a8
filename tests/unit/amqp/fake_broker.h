/* A broker in memory, for tests of the protocol: one vhost "/", one user
 * "guest" with password "guest", the default exchange and exchanges that send
 * everything to all that is bound to them. Calls, deliveries and confirms
 * happen in fake_broker_run(), in the order they were asked for. */
#ifndef TESTS_UNIT_AMQP_FAKE_BROKER_H
#define TESTS_UNIT_AMQP_FAKE_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "broker/broker.h"

/* What the fake saw and what it is told to do. */
struct fake_stats {
    size_t published;
    size_t confirms_wanted;
    size_t settled_runs; /* calls of broker_settle */
    size_t credits;      /* calls of broker_consumer_credit */
    size_t acked;
    size_t requeued;
    size_t discarded;
    size_t consumers;                        /* attached */
    size_t publishers;                       /* open */
    size_t connections;                      /* registered */
    size_t calls;                            /* under way */
    struct broker_binding_spec last_binding; /* texts below */
    char last_key[256];
    char last_destination[256];
    char last_exchange_type[256];
    size_t last_arguments_size;
    bool last_if_unused;
    bool last_if_empty;
    uint32_t last_prefetch;
    uint32_t last_credit;
    bool last_is_exclusive;
    bool last_is_loopback;
    size_t externals; /* logins without a password */
    size_t last_body_pieces;
};

struct fake_control {
    bool hold_calls;       /* broker calls stay under way */
    bool hold_confirms;    /* publishes stay unconfirmed */
    bool refuse_publishes; /* confirms say no */
    enum broker_fault_kind publish_fault;
    bool confirm_backwards; /* the latest first */
    size_t route_steps;     /* of each message */
};

struct broker *fake_broker_new(void);
void fake_broker_free(struct broker **b);
/* Do what was asked for, until nothing is left to do. */
void fake_broker_run(struct broker *b);
struct fake_stats *fake_broker_stats(struct broker *b);
struct fake_control *fake_broker_control(struct broker *b);
/* Put COUNT messages of SIZE bytes into QUEUE, which is made if need be. */
void fake_broker_fill(struct broker *b, const char *queue, size_t count,
                      size_t size);
/* Ready messages of QUEUE. */
size_t fake_broker_ready(struct broker *b, const char *queue);
/* Delete QUEUE, as another client would; nothing if it is gone. */
void fake_broker_drop(struct broker *b, const char *queue);
/* QUEUE, which exists, cannot be reached: its consumers are given up. */
void fake_broker_give_up(struct broker *b, const char *queue);
/* Tell all publishers that congestion began or ended. */
void fake_broker_congest(struct broker *b, bool is_congested);
/* The body of the first ready message of QUEUE (borrowed). */
const struct slice *fake_broker_first_body(struct broker *b, const char *queue);

#endif
