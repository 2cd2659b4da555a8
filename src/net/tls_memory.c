/* OpenSSL's allocator: ours, with an end that leaves nothing. */
#include "net/tls_memory.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <string.h>

#include "base/mem.h"

static void *
on_alloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return size == 0 ? NULL : mem_alloc(size);
}

static void
on_free(void *ptr, const char *file, int line)
{
    (void)file;
    (void)line;
    if (ptr != NULL) {
        mem_wipe(ptr, malloc_usable_size(ptr));
        mem_free(ptr);
    }
}

static void *
on_realloc(void *ptr, size_t size, const char *file, int line)
{
    size_t old = ptr == NULL ? 0 : malloc_usable_size(ptr);
    void *bigger = NULL;

    if (size > 0) {
        bigger = mem_alloc(size);
        if (old > 0) {
            memcpy(bigger, ptr, old < size ? old : size);
        }
    }
    on_free(ptr, file, line);
    return bigger;
}

void
tls_memory_init(void)
{
    (void)CRYPTO_set_mem_functions(on_alloc, on_realloc, on_free);
    (void)CRYPTO_secure_malloc_init(TLS_MEMORY_SECRET_SIZE,
                                    TLS_MEMORY_SECRET_MIN);
}
