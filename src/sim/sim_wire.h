/* A TCP connection between a simulated client and a node, in virtual time:
 * two streams of bytes with latency, bounded buffers and back-pressure.
 *
 *   write --> out --flush--> kernels, at most the window --latency--> readable
 *
 * Bytes leave the kernels when the reader consumes them; a reader that does
 * not read stops its writer. Bytes arrive together or chopped at any place.
 * An end may close with its last words, reset, or fall silent without a word,
 * as a machine does that loses its power: then the other end hears nothing,
 * and what it sends goes nowhere.
 *
 * What happens at the server's end happens on its env, and not at all once
 * its node has stopped; the client's end is of the world. */
#ifndef SIM_SIM_WIRE_H
#define SIM_SIM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct env;
struct sim;
struct sim_wire;

enum sim_wire_side {
    SIM_WIRE_CLIENT,
    SIM_WIRE_SERVER
};

enum sim_wire_end {
    SIM_WIRE_FLUSH, /* after what was written */
    SIM_WIRE_RESET, /* what is on the way is lost */
    SIM_WIRE_SILENT /* the other end is not told */
};

struct sim_wire_config {
    struct sim *sim;
    struct env *env;           /* of the server's end */
    uint32_t delay_min_us;     /* one way */
    uint32_t delay_max_us;     /* the same */
    uint32_t chop_per_million; /* arrivals that bring a part only */
    size_t window;             /* bytes that the kernels hold, each way */
};

/* What an end is told, never after it has closed. */
struct sim_wire_events {
    void *arg;
    void (*on_data)(void *arg);    /* there may be something to read */
    void (*on_drained)(void *arg); /* all that was written has been taken; may
                                      be NULL */
    void (*on_closed)(void *arg);  /* by the other end: close this one, too */
};

/* A wire with both ends open, put into WIRES. It is freed when both ends are
 * closed and nothing of it is under way, or by sim_wires_free(). */
struct sim_wire *sim_wire_new(const struct sim_wire_config *config,
                              struct list *wires);
/* Free all of WIRES: nothing runs any more. */
void sim_wires_free(struct list *wires);
/* EVENTS is copied. */
void sim_wire_attach(struct sim_wire *w, enum sim_wire_side side,
                     const struct sim_wire_events *events);

/* Write SIZE bytes at DATA (copied) from SIDE; they leave with a flush. */
void sim_wire_write(struct sim_wire *w, enum sim_wire_side side,
                    const void *data, size_t size);
/* Give the kernels what they take; true if nothing is left. */
bool sim_wire_flush(struct sim_wire *w, enum sim_wire_side side);
/* Bytes written that the kernels have not taken. */
size_t sim_wire_backlog(const struct sim_wire *w, enum sim_wire_side side);

/* What SIDE may read, borrowed until it consumes. */
const uint8_t *sim_wire_peek(const struct sim_wire *w, enum sim_wire_side side,
                             size_t *size);
void sim_wire_consume(struct sim_wire *w, enum sim_wire_side side, size_t size);
/* SIDE can do nothing with less than NEED bytes: let as many arrive. */
void sim_wire_need(struct sim_wire *w, enum sim_wire_side side, size_t need);
/* Tell SIDE on_data in a moment. */
void sim_wire_poke(struct sim_wire *w, enum sim_wire_side side);

/* SIDE closes. Nothing is called for it any more; W may be gone after. */
void sim_wire_close(struct sim_wire *w, enum sim_wire_side side,
                    enum sim_wire_end how);
/* The server's node has died, with IS_SILENT without a word. */
void sim_wire_node_died(struct sim_wire *w, bool is_silent);
/* Whether SIDE has closed. */
bool sim_wire_is_closed(const struct sim_wire *w, enum sim_wire_side side);
/* The argument of SIDE's events. */
void *sim_wire_arg(const struct sim_wire *w, enum sim_wire_side side);

#endif
