/* Tells the supervisor, if there is one that listens, how far the node is:
 * systemd's protocol of sd_notify(3). */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

/* Send STATE ("READY=1", lines of NAME=VALUE) to the socket that the variable
 * NOTIFY_SOCKET of the environment names. Nothing happens without that, or when
 * nobody listens: a node does not depend on being watched. */
void notify_supervisor(const char *state);

#endif
