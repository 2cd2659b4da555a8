/* Versions. A node refuses a peer whose protocol range does not meet its own,
 * and a data directory whose format is newer than it knows. */
#ifndef QUORATE_VERSION_H
#define QUORATE_VERSION_H

#define QR_VERSION_STRING "0.1.0"

enum {
    QR_PEER_PROTOCOL_MIN = 1, /* oldest link protocol understood */
    QR_PEER_PROTOCOL_MAX = 1, /* newest */
    QR_STORE_FORMAT = 2,      /* docs/formats/store.md */
    QR_META_MACHINE = 2,      /* version of the metadata machine */
    QR_QUEUE_MACHINE = 1      /* version of the queue machine */
};

#endif
