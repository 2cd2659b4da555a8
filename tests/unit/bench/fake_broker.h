/* A broker in a thread of its own, in memory, as right or as wrong as a test
 * wants it. */
#ifndef TESTS_FAKE_BROKER_H
#define TESTS_FAKE_BROKER_H

#include <stdbool.h>
#include <stdint.h>

struct fake_broker;

/* What it does wrong; 0 or false: nothing. Of every so many published
 * messages one is: */
struct fake_faults {
    uint64_t lose_every;    /* confirmed and forgotten */
    uint64_t twice_every;   /* delivered twice, not flagged */
    uint64_t swap_every;    /* delivered after its successor */
    uint64_t refuse_every;  /* answered with basic.nack, not stored */
    uint64_t hang_up_every; /* all connections end before its confirm */
    uint64_t cancel_every;  /* its queue's consumers are cancelled */
    uint64_t return_every;  /* returned as well as confirmed */
    bool refuse_login;
    bool refuse_declare;
    bool is_silent; /* never answers anything */
    bool never_confirms;
    bool is_garbled;         /* answers what is not AMQP */
    bool confirms_strangely; /* also what was never published */
};

/* Start one. Ends the test if it cannot. */
struct fake_broker *fake_broker_start(const struct fake_faults *faults);
uint16_t fake_broker_port(const struct fake_broker *b);
/* Stop it and free *B. */
void fake_broker_stop(struct fake_broker **b);
/* After the stop there is nothing to ask, so before it: messages that were
 * published, in all. Any thread. */
uint64_t fake_broker_published(struct fake_broker *b);

#endif
