/* What the broker's turn does with publishers; the rest is broker.h and, for
 * queue clients, queue_client.h. */
#ifndef BROKER_PUBLISHER_H
#define BROKER_PUBLISHER_H

struct list;
struct publisher_impl;

/* Tell P's front end what was confirmed since; frees P when it was closed and
 * nothing is outstanding. Called for dirty publishers once a turn. */
void publisher_flush(struct publisher_impl *p);
/* The publisher whose place in broker.dirty_publishers LINK is. */
struct publisher_impl *publisher_of_dirty(struct list *link);

#endif
