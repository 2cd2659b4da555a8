/* See address.h. */
#include "daemon/address.h"

#include <string.h>

#include "base/error.h"
#include "base/text.h"

int
address_parse(const char *text, char host[ADDRESS_HOST_SIZE], uint16_t *port,
              struct error *err)
{
    const char *colon = strrchr(text, ':');
    const char *digits = colon == NULL ? text : colon + 1;
    size_t size = colon == NULL ? 0 : (size_t)(colon - text);
    uint64_t number;

    if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    if (size >= ADDRESS_HOST_SIZE || (colon != NULL && size == 0) ||
        parse_u64(digits, strlen(digits), 1, UINT16_MAX, &number) != 0) {
        return error_set(err, QR_EINVAL,
                         "'%s': PORT or ADDRESS:PORT is allowed, such as "
                         "5672, 127.0.0.1:5672 or [::1]:5672",
                         text);
    }
    memcpy(host, text, size);
    host[size] = '\0';
    *port = (uint16_t)number;
    return 0;
}
