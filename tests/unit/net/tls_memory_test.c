/* OpenSSL's memory: what it frees is overwritten, keys are apart. */
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <string.h>

#include "lib/harness.h"
#include "net/tls_memory.h"

Test(tls_memory, grows_and_keeps_what_is_in_it)
{
    char *text = NULL;

    tls_memory_init();
    text = OPENSSL_malloc(4);
    memcpy(text, "abc", 4);
    text = OPENSSL_realloc(text, 100000);
    cr_expect_str_eq(text, "abc");
    text = OPENSSL_realloc(text, 4);
    cr_expect_str_eq(text, "abc");
    text = OPENSSL_realloc(text, 0);
    cr_expect_null(text);
    text = OPENSSL_realloc(NULL, 10);
    cr_assert_not_null(text);
    OPENSSL_free(text);
    OPENSSL_free(NULL);
}

Test(tls_memory, private_keys_are_in_the_secret_part)
{
    EVP_PKEY *first = NULL;
    EVP_PKEY *second = NULL;
    size_t used = 0;

    tls_memory_init();
    cr_assert_eq(CRYPTO_secure_malloc_initialized(), 1);
    first = EVP_EC_gen("P-256"); /* seeds of random numbers go there, too */
    cr_assert_not_null(first);
    used = CRYPTO_secure_used();
    second = EVP_EC_gen("P-256");
    cr_expect_gt(CRYPTO_secure_used(), used);
    EVP_PKEY_free(second);
    cr_expect_eq(CRYPTO_secure_used(), used);
    EVP_PKEY_free(first);
}
