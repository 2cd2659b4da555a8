/* What a client might send: the handshake, and methods with content, valid as
 * far as their encoding goes. */
#ifndef TESTS_FUZZ_CLIENT_H
#define TESTS_FUZZ_CLIENT_H

struct buf;
struct rng;

/* From the protocol header to channels 1 and 2. */
void client_put_handshake(struct buf *b);
/* Any method of a client's, on channel 1 or 2. */
void client_put_random(struct rng *r, struct buf *b);

#endif
