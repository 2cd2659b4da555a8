/* Every limit of the AMQP front end. What happens at each is said here; tests
 * go up to it and one past it. */
#ifndef AMQP_LIMITS_H
#define AMQP_LIMITS_H

enum {
    /* Frames. A larger one than negotiated: 501 FRAME_ERROR. */
    AMQP_FRAME_SIZE_MIN = 4096,     /* specification, 4.2.3 */
    AMQP_FRAME_SIZE_MAX = 131072,   /* proposed in tune; RabbitMQ's */
    AMQP_FRAME_SIZE_INITIAL = 8192, /* before tune-ok; RabbitMQ 4.1 */
    AMQP_FRAME_HEAD_SIZE = 7,
    AMQP_FRAME_OVERHEAD = 8,           /* head and end */
    AMQP_CHANNELS_MAX = 2047,          /* proposed; more: 530 */
    AMQP_HEARTBEAT_S = 60,             /* proposed */
    AMQP_HANDSHAKE_TIMEOUT_MS = 10000, /* then the connection is dropped */
    AMQP_CLOSE_TIMEOUT_MS = 5000,      /* for close-ok; then dropped */
    /* For what was received before connection.close to reach the broker. */
    AMQP_DRAIN_TIMEOUT_MS = 20000,

    /* Tables. Deeper or larger: 502 SYNTAX_ERROR. */
    AMQP_TABLE_DEPTH_MAX = 16,
    AMQP_TABLE_SIZE_MAX = AMQP_FRAME_SIZE_MAX,
    AMQP_SHORTSTR_MAX = 255,

    /* Of what a connection sends, so much is taken in one turn: then the others
     * have theirs. A message counts once more for each queue that it goes to,
     * and for so many steps of its route. */
    AMQP_TURN_FRAMES = 1024,
    AMQP_TURN_STEPS_OF_FRAME = 64,
    AMQP_TURN_BYTES = 256 << 10,

    /* Consumers of a channel, and of a connection; more: 506
     * RESOURCE_ERROR. */
    AMQP_CONSUMERS_MAX = 8192,
    AMQP_CONNECTION_CONSUMERS_MAX = 65536,
    /* Queues that one channel has unsettled messages of basic.get from; more:
     * 506. Idle ones make room. */
    AMQP_GET_QUEUES_MAX = 256,
    /* Frames, and bytes of them, that wait on all channels of a connection
     * for a call of the broker; at either the connection is not read. */
    AMQP_WAITING_FRAMES_MAX = 1024,
    AMQP_WAITING_BYTES_MAX = 1 << 20,
    /* Up to this a waiting frame's bytes are copied rather than holding on to
     * the block that they were read into. */
    AMQP_WAITING_COPY_MAX = 4096,
    /* Body frames below this are gathered into chunks, so that a body in many
     * small frames costs its own size and not that of what it was read in. */
    AMQP_BODY_PIECE_MIN = 16384,
    AMQP_BODY_CHUNK_SIZE = 65536,
    AMQP_BODY_CHUNK_SIZE_MIN = 1024, /* of the first, if not the body's size */
    /* Bytes of messages that are incomplete on all channels of a connection;
     * more: 506 RESOURCE_ERROR. Not reading would be no answer: they would
     * stay incomplete. */
    AMQP_INCOMPLETE_BYTES_MAX = 64 << 20,

    /* Bodies up to this are copied behind their frame's head on the way out;
     * larger ones go by reference. */
    AMQP_BODY_COPY_MAX = 512,
    /* Unsettled deliveries of a consumer without acknowledgements, between
     * queue and socket. */
    AMQP_NO_ACK_PREFETCH = 1024,
    /* Deliveries that the socket has not taken: a consumer gets this many
     * messages at first, then as many as make up so many bytes of its kind;
     * beyond the maximum nobody on the connection gets more, until the socket
     * has taken all but the last bytes. */
    AMQP_CREDIT_INITIAL = 32,
    AMQP_CREDIT_IDLE_MS = 250, /* nothing came for so long: the queue is empty,
                                  and the consumer may have all it wants */
    AMQP_CREDIT_BYTES = 8 << 20,
    AMQP_BACKLOG_BYTES_MAX = 16 << 20,
    AMQP_BACKLOG_BYTES_LOW = 1 << 20,
    /* Bytes of deliveries to such consumers that are counted as one when the
     * socket takes them. */
    AMQP_DRAIN_MARK_BYTES = 16384,
    /* Answers (all that is sent but deliveries; confirms, too) that the client
     * has not taken: at this many bytes it is not read, until half of them are
     * gone. From the lower figure on, a turn looks what was taken. */
    AMQP_ANSWERS_BYTES_MAX = 4 << 20,
    AMQP_ANSWERS_BYTES_LOOK = 64 << 10
};

#endif
