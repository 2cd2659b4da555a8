/* What the broker's turn does with publishers; the rest is broker.h and, for
 * queue clients, queue_client.h. */
#ifndef BROKER_PUBLISHER_H
#define BROKER_PUBLISHER_H

struct broker;
struct broker_connection;
struct list;
struct publisher_impl;

enum {
    /* Congested publishers that are looked at in one turn. */
    PUBLISHERS_EASED_MAX = 1024
};

/* Tell P's front end what was confirmed since; frees P when it was closed and
 * nothing is outstanding. Called for dirty publishers once a turn. */
void publisher_flush(struct publisher_impl *p);
/* Relieve those that nothing congests any more; once a turn. */
void publishers_ease(struct broker *b);
/* C is gone: its sum lasts as long as its publishers. */
void publishers_leave(struct broker_connection *c);
/* The publisher whose place in broker.dirty_publishers LINK is. */
struct publisher_impl *publisher_of_dirty(struct list *link);

#endif
