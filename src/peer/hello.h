/* The first words of a link: who each end is, and why not. */
#ifndef PEER_HELLO_H
#define PEER_HELLO_H

#include <quorate/types.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "peer/peers.h"

struct error;
struct frame;

/* Kinds of the frames that links send for themselves. */
enum hello_kind {
    HELLO_HELLO = FRAME_LINK_FIRST,
    HELLO_WELCOME,
    HELLO_REFUSE,
    HELLO_PING, /* no head: only that it came matters */
    HELLO_KIND_LIMIT
};

/* As in peer.proto. */
enum refusal {
    REFUSAL_NONE = 0,
    REFUSAL_VERSION,
    REFUSAL_CLUSTER,
    REFUSAL_NODE,
    REFUSAL_STRANGER,
    REFUSAL_DUPLICATE,
    REFUSAL_MALFORMED,
    REFUSAL_REMOVED,
    REFUSAL_ROLLED_BACK
};

enum {
    HELLO_TEXT_SIZE = 400
};

/* Frames. The caller owns them. */
struct frame *hello_frame(const struct peers_identity *self);
struct frame *hello_welcome_frame(uint32_t protocol);
struct frame *hello_refuse_frame(enum refusal reason, const char *text);
struct frame *hello_ping_frame(void);

/* Read a Hello; names are made printable. -QR_EFORMAT. */
MUST_USE int hello_decode(const struct frame *frame,
                          struct peers_identity *out);
/* Read the protocol of a Welcome. -QR_EFORMAT. */
MUST_USE int hello_decode_welcome(const struct frame *frame, uint32_t *out);
/* Read a Refuse; TEXT is made printable. -QR_EFORMAT. */
MUST_USE int hello_decode_refuse(const struct frame *frame,
                                 enum refusal *reason,
                                 char text[HELLO_TEXT_SIZE]);

/* Why SELF and OTHER cannot be linked, whatever else there is: REFUSAL_NONE,
 * or the reason, said in ERR with what to do about it. */
enum refusal hello_check(const struct peers_identity *self,
                         const struct peers_identity *other, struct error *err);

/* The newest protocol both speak; they have passed hello_check(). */
uint32_t hello_protocol(const struct peers_identity *self,
                        const struct peers_identity *other);

/* Whether SELF is the one to decide which connection is the link. */
bool hello_is_senior(const struct peers_identity *self,
                     const struct peers_identity *other);

#endif
