/* Error codes of libquorate and of the broker above it.
 *
 * Functions return 0 or one of these, negated: `return -QR_ENOENT;`. The table
 * is the single source: qr_error_name() and qr_error_text() come from it. */
#ifndef QUORATE_ERROR_H
#define QUORATE_ERROR_H

#define QR_ERRORS(X)                                                   \
    X(1, EINVAL, "invalid argument")                                   \
    X(2, ENOENT, "not found")                                          \
    X(3, EEXIST, "already exists")                                     \
    X(4, EBUSY, "limit reached, try again later")                      \
    X(5, ENOTLEADER, "this replica does not lead its group")           \
    X(6, ENOQUORUM, "no majority of the group can be reached")         \
    X(7, ETIMEOUT, "deadline passed")                                  \
    X(8, ECORRUPT, "stored data does not match its checksum")          \
    X(9, EFORMAT, "malformed data")                                    \
    X(10, EVERSION, "incompatible version")                            \
    X(11, EIO, "input or output failed")                               \
    X(12, ENOSPC, "no space left")                                     \
    X(13, EACCESS, "access refused")                                   \
    X(14, ECLOSED, "closed")                                           \
    X(15, ETOOBIG, "larger than its limit")                            \
    X(16, ESTALE, "belongs to something that was deleted or replaced") \
    X(17, ECONFLICT, "exists with other properties")                   \
    X(18, EUNSUPPORTED, "not supported")                               \
    X(19, ESHUTDOWN, "shutting down")

enum qr_error {
#define QR_ERROR_ENUM(code, name, text) QR_##name = (code),
    QR_ERRORS(QR_ERROR_ENUM)
#undef QR_ERROR_ENUM
};

/* The symbolic name of CODE (positive or negative), such as "ENOENT", or
 * "UNKNOWN". The string is static. */
const char *qr_error_name(int code);

/* A sentence fragment that explains CODE (positive or negative). Static. */
const char *qr_error_text(int code);

#endif
