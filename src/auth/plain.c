/* Three texts parted by two NULs. RabbitMQ takes an empty authorization
 * identity alone; one that names the user itself asks for the same. */
#include "auth/plain.h"

#include <quorate/error.h>
#include <string.h>

int
plain_parse(const void *response, size_t size, struct credential *out)
{
    const char *at = response;
    const char *end = at + size;
    const char *user = size > 0 ? memchr(at, 0, size) : NULL;
    const char *password = NULL;
    struct credential found;
    size_t authzid_size = 0;

    ASSERT(out != NULL);
    if (user == NULL) {
        return -QR_EFORMAT;
    }
    authzid_size = (size_t)(user - at);
    user++;
    password = user < end ? memchr(user, 0, (size_t)(end - user)) : NULL;
    if (password == NULL || password == user) {
        return -QR_EFORMAT;
    }
    found.user = user;
    found.user_size = (size_t)(password - user);
    password++;
    found.password = password;
    found.password_size = (size_t)(end - password);
    if (found.password_size > 0 &&
        memchr(password, 0, found.password_size) != NULL) {
        return -QR_EFORMAT;
    }
    if (authzid_size > 0 && (authzid_size != found.user_size ||
                             memcmp(at, user, authzid_size) != 0)) {
        return -QR_EACCESS;
    }
    *out = found;
    return 0;
}
