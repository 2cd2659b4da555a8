/* The manual page of the daemon and of its configuration file, out of the
 * table of keys. */
#ifndef DAEMON_MANUAL_H
#define DAEMON_MANUAL_H

struct buf;

/* Append quorated(1), for man(7). */
void manual_describe(struct buf *out);

#endif
