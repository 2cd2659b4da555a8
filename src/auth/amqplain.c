/* A walk over the fields of a table, which skips by type what it does not
 * want. Types as RabbitMQ reads them (AMQP 0-9-1, 4.2.1, with its errata). */
#include "auth/amqplain.h"

#include <quorate/error.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"

/* Skip the value of TYPE at C, or fail C. */
static void
amqplain_skip(struct cursor *c, uint8_t type)
{
    switch (type) {
    case 'V':
        break;
    case 't':
    case 'b':
    case 'B':
        (void)cursor_bytes(c, 1);
        break;
    case 's':
    case 'u':
        (void)cursor_bytes(c, 2);
        break;
    case 'I':
    case 'i':
    case 'f':
        (void)cursor_bytes(c, 4);
        break;
    case 'D':
        (void)cursor_bytes(c, 5);
        break;
    case 'l':
    case 'L':
    case 'd':
    case 'T':
        (void)cursor_bytes(c, 8);
        break;
    case 'S':
    case 'x':
    case 'A':
    case 'F':
        (void)cursor_bytes(c, cursor_u32be(c));
        break;
    default:
        cursor_fail(c);
        break;
    }
}

int
amqplain_parse(const void *response, size_t size, struct credential *out)
{
    struct credential found = {NULL, 0, NULL, 0};
    struct cursor c;

    ASSERT(out != NULL);
    cursor_init(&c, response, size);
    for (unsigned i = 0; cursor_left(&c) > 0; i++) {
        size_t name_size = cursor_u8(&c);
        const uint8_t *name = cursor_bytes(&c, name_size);
        uint8_t type = cursor_u8(&c);
        size_t value_size = 0;

        if (c.bad || i >= AMQPLAIN_FIELDS_MAX) {
            return -QR_EFORMAT;
        }
        if (type != 'S') {
            amqplain_skip(&c, type);
            continue;
        }
        value_size = cursor_u32be(&c);
        if (found.user == NULL && text_equal(name, name_size, "LOGIN")) {
            found.user = (const char *)cursor_bytes(&c, value_size);
            found.user_size = value_size;
        } else if (found.password == NULL &&
                   text_equal(name, name_size, "PASSWORD")) {
            found.password = (const char *)cursor_bytes(&c, value_size);
            found.password_size = value_size;
        } else {
            (void)cursor_bytes(&c, value_size);
        }
    }
    if (c.bad || found.user == NULL || found.user_size == 0 ||
        found.password == NULL) {
        return -QR_EFORMAT;
    }
    *out = found;
    return 0;
}
