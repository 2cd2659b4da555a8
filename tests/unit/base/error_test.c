/* Error contexts and the texts of the codes. */
#include "base/error.h"
#include "lib/harness.h"

Test(error, sets_a_text_and_returns_the_negated_code)
{
    struct error err;

    cr_assert_eq(error_set(&err, QR_ENOSPC, "segment %d: no space", 12),
                 -QR_ENOSPC);
    cr_assert_str_eq(err.text, "segment 12: no space");
}

Test(error, wraps_on_its_way_up)
{
    struct error err;
    int rv = error_set(&err, QR_EIO, "no space left");

    rv = error_wrap(&err, rv, "segment %d", 12);
    rv = error_wrap(&err, rv, "open store");
    cr_assert_eq(rv, -QR_EIO);
    cr_assert_str_eq(err.text, "open store: segment 12: no space left");
}

Test(error, wraps_nothing_into_the_context_alone)
{
    struct error err;

    error_clear(&err);
    cr_assert_eq(error_wrap(&err, -QR_EIO, "open store"), -QR_EIO);
    cr_assert_str_eq(err.text, "open store");
}

Test(error, may_be_null)
{
    error_clear(NULL);
    cr_assert_eq(error_set(NULL, QR_EINVAL, "x"), -QR_EINVAL);
    cr_assert_eq(error_wrap(NULL, -QR_EINVAL, "x"), -QR_EINVAL);
}

Test(error, clears)
{
    struct error err;

    cr_assert_eq(error_set(&err, QR_EINVAL, "x"), -QR_EINVAL);
    error_clear(&err);
    cr_assert_str_eq(err.text, "");
}

Test(error, cuts_a_text_at_its_limit)
{
    struct error err;

    cr_assert_eq(error_set(&err, QR_EINVAL, "%0600d", 1), -QR_EINVAL);
    cr_assert_eq(strlen(err.text), ERROR_TEXT_SIZE - 1);
    cr_assert_eq(error_wrap(&err, -1, "context"), -1);
    cr_assert_eq(strlen(err.text), ERROR_TEXT_SIZE - 1);
    cr_assert_eq(strncmp(err.text, "context: 000", 12), 0);
    cr_assert_eq(error_wrap(&err, -1, "%0600d", 2), -1);
    cr_assert_eq(strlen(err.text), ERROR_TEXT_SIZE - 1);
}

Test(error, takes_positive_codes_only, .signal = SIGABRT)
{
    struct error err;

    (void)error_set(&err, -QR_EINVAL, "x");
}

Test(error, names_every_code_with_either_sign)
{
#define CHECK_NAME(code, name, text)                  \
    cr_assert_str_eq(qr_error_name(code), #name);     \
    cr_assert_str_eq(qr_error_name(-(code)), #name);  \
    cr_assert_str_eq(qr_error_text(QR_##name), text); \
    cr_assert_str_eq(qr_error_text(-QR_##name), text);
    QR_ERRORS(CHECK_NAME)
#undef CHECK_NAME
}

Test(error, names_what_it_does_not_know)
{
    static const int codes[] = {20, -20, 100000, -100000, INT32_MIN};

    for (size_t i = 0; i < ARRAY_COUNT(codes); i++) {
        cr_assert_str_eq(qr_error_name(codes[i]), "UNKNOWN");
        cr_assert_str_eq(qr_error_text(codes[i]), "unknown error");
    }
    cr_assert_str_eq(qr_error_name(0), "OK");
    cr_assert_str_eq(qr_error_text(0), "no error");
}
