/* What the files of the fake broker share. */
#ifndef TESTS_UNIT_AMQP_FAKE_BROKER_PRIV_H
#define TESTS_UNIT_AMQP_FAKE_BROKER_PRIV_H

#include "base/slice.h"
#include "fake_broker.h"

struct message {
    struct list link;
    char exchange[256];
    char key[256];
    struct slice properties;
    struct slice body;
    uint32_t deliveries;
    uint64_t id; /* while it is unsettled */
};

struct queue {
    struct list link;
    char name[256];
    struct list ready;
};

struct binding {
    struct list link;
    char source[256];
    char destination[256];
};

struct exchange {
    struct list link;
    char name[256];
};

struct consumer {
    struct list link;
    struct broker *b;
    struct broker_consumer *outer;
    struct queue *queue;
    struct list unsettled;
    uint64_t next_id;
    uint32_t prefetch;
    uint32_t held;
    bool is_active;
    bool is_get;
};

struct publisher {
    struct list link;
    struct broker *b;
    struct broker_publisher *outer;
};

struct confirm {
    struct list link;
    struct publisher *publisher;
    uint64_t tag;
    bool is_ok;
};

struct call {
    struct list link;
    struct broker *b;
    struct broker_call *outer;
    struct broker_reply reply;
    char name[256];
    struct consumer *activate;
    struct consumer *get;
};

struct broker {
    struct list queues;
    struct list exchanges;
    struct list bindings;
    struct list consumers;
    struct list publishers;
    struct list confirms;
    struct list calls;
    struct list connections;
    struct fake_stats stats;
    struct fake_control control;
    uint64_t connection_id;
    uint64_t generated;
};

/* Texts: copied with a NUL; compared; made of a C string. */
void fake_keep(char *out, struct meta_text text);
bool fake_is_text(const char *s, struct meta_text text);
struct meta_text fake_text_of(const char *s);
/* Records by name, or NULL. */
struct queue *fake_queue_find(struct broker *b, struct meta_text name);
struct exchange *fake_exchange_find(struct broker *b, struct meta_text name);
/* A message to the end of Q. */
void fake_queue_put(struct queue *q, const struct broker_message *from);

#endif
