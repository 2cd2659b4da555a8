/* What writing and reading a snapshot share. Private to machine/meta; the
 * layout is in docs/formats/meta.md. */
#ifndef MACHINE_META_META_SNAPSHOT_H
#define MACHINE_META_META_SNAPSHOT_H

/* Flags of exchanges and queues. */
enum {
    META_FLAG_DURABLE = 1,
    META_FLAG_AUTO_DELETE = 2,
    META_FLAG_INTERNAL = 4, /* exchanges */
    META_FLAG_EXCLUSIVE = 8 /* queues: an owner follows */
};

#endif
