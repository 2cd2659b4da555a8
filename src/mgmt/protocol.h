/* What quoratectl and the daemon say to each other over the Unix socket, and
 * nodes over their links on behalf of `quoratectl -n`. docs/formats/ctl.md.
 *
 *   request:   u32le size, then NUL-terminated strings: the command,
 *              "--option" or "--option=value" ..., "--", arguments ...
 *   response:  u32le size of what follows, u8 exit code, JSON */
#ifndef MGMT_PROTOCOL_H
#define MGMT_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "mgmt/command.h"

struct buf;
struct error;

enum {
    REQUEST_SIZE_MAX = 64 << 10,  /* without its length */
    RESPONSE_SIZE_MAX = 64 << 20, /* exit code and JSON */
    RESPONSE_HEADER_SIZE = 5,     /* length and exit code */
    REQUEST_TIMEOUT_MS = 10000,   /* default */
    REQUEST_TIMEOUT_MS_MAX = 24 * 3600 * 1000
};

/* sysexits(3), as rabbitmqctl uses them. */
enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_USAGE = 64,       /* the command line is wrong */
    EXIT_CODE_DATA = 65,        /* what it names is not there, or is refused */
    EXIT_CODE_NO_USER = 67,     /* no such user */
    EXIT_CODE_UNAVAILABLE = 69, /* a node or a majority cannot be reached */
    EXIT_CODE_SOFTWARE = 70,    /* it exists already; anything else */
    EXIT_CODE_TIMEOUT = 75      /* no answer in time */
};

/* A decoded request. Texts are in the bytes that it was decoded from. */
struct request {
    enum command_id command;
    const char *options[OPTION_COUNT]; /* value; "" of a flag; NULL: absent */
    const char *args[COMMAND_ARGS_MAX];
    size_t args_count;
};

/* Append the request without its length: COMMAND first, options, then
 * request_put_end(), then arguments. */
void request_put_command(struct buf *b, enum command_id command);
/* OPTION with VALUE (NULL for a flag). */
void request_put_option(struct buf *b, enum command_option option,
                        const char *value);
void request_put_end(struct buf *b);
void request_put_argument(struct buf *b, const char *argument);

/* Decode SIZE bytes at DATA (no length before them) and check them against
 * the table of commands. -QR_ETOOBIG; -QR_EFORMAT: not a request; -QR_EINVAL:
 * no such command, an option it does not take, the wrong number of arguments.
 * ERR says which. */
MUST_USE int request_decode(const void *data, size_t size, struct request *out,
                            struct error *err);
/* The request's deadline in milliseconds from now: its --timeout, or the
 * default. -QR_EINVAL and ERR when that is no number of seconds. */
MUST_USE int request_timeout(const struct request *r, uint64_t *ms,
                             struct error *err);
/* Decimal seconds such as "1.5" at TEXT as milliseconds, 1 to
 * REQUEST_TIMEOUT_MS_MAX; "infinity" is the most. -QR_EINVAL. */
MUST_USE int timeout_parse(const char *text, uint64_t *ms);

/* The header of a response of SIZE bytes of JSON, into OUT. */
void response_encode_header(uint8_t out[RESPONSE_HEADER_SIZE], size_t size,
                            enum exit_code code);
/* The size of the JSON and the exit code from a header. -QR_ETOOBIG;
 * -QR_EFORMAT: too small to hold an exit code. */
MUST_USE int response_decode_header(const uint8_t in[RESPONSE_HEADER_SIZE],
                                    size_t *size, uint8_t *code);

#endif
