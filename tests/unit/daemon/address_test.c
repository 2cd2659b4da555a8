/* Addresses of listeners and nodes as the configuration writes them. */
#include "base/error.h"
#include "daemon/address.h"
#include "lib/harness.h"

Test(address, comes_in_three_forms)
{
    static const struct {
        const char *text;
        const char *host;
        uint16_t port;
    } cases[] = {
        {"5672", "", 5672},
        {"127.0.0.1:5673", "127.0.0.1", 5673},
        {"[::1]:5674", "::1", 5674},
        {"broker.example:65535", "broker.example", 65535},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char host[ADDRESS_HOST_SIZE];
        struct error err;
        uint16_t port;

        cr_assert_eq(address_parse(cases[i].text, host, &port, &err), 0);
        cr_assert_str_eq(host, cases[i].host);
        cr_assert_eq(port, cases[i].port);
    }
}

Test(address, that_is_none_is_refused_with_examples)
{
    static const char *const cases[] = {
        "",          "abc",           ":5672",     "1.2.3.4:",
        "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:5x"};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char host[ADDRESS_HOST_SIZE];
        struct error err;
        uint16_t port;

        cr_assert_eq(address_parse(cases[i], host, &port, &err), -QR_EINVAL,
                     "%s", cases[i]);
        cr_assert_not_null(strstr(err.text, "[::1]:5672"));
    }
}
