/* Memory that is there or the process is not.
 *
 * The C library's allocator with its failures turned into a stop, so that no
 * caller carries a branch that no test ever takes. Sizes are checked for
 * overflow here, and for sense where they are chosen. */
#include "base/mem.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"

/* Stop unless PTR is memory. */
static void *
mem_require(void *ptr)
{
    if (UNLIKELY(ptr == NULL)) {
        check_failed(__FILE__, __LINE__, "out of memory");
    }
    return ptr;
}

void *
mem_alloc(size_t size)
{
    ASSERT(size <= MEM_SIZE_MAX);
    return mem_require(malloc(size == 0 ? 1 : size));
}

void *
mem_zalloc(size_t count, size_t size)
{
    ASSERT(size == 0 || count <= MEM_SIZE_MAX / size);
    if (count == 0 || size == 0) {
        return mem_require(calloc(1, 1));
    }
    return mem_require(calloc(count, size));
}

void *
mem_realloc(void *ptr, size_t size)
{
    ASSERT(size <= MEM_SIZE_MAX);
    return mem_require(realloc(ptr, size == 0 ? 1 : size));
}

void *
mem_dup(const void *src, size_t size)
{
    void *copy = mem_alloc(size);

    ASSERT(src != NULL || size == 0);
    if (size > 0) {
        memcpy(copy, src, size);
    }
    return copy;
}

char *
mem_strdup(const char *text)
{
    ASSERT(text != NULL);
    return mem_dup(text, strlen(text) + 1);
}

char *
mem_strndup(const char *text, size_t size)
{
    char *copy = NULL;

    ASSERT(text != NULL || size == 0);
    ASSERT(size < MEM_SIZE_MAX);
    copy = mem_alloc(size + 1);
    if (size > 0) {
        memcpy(copy, text, size);
    }
    copy[size] = '\0';
    return copy;
}

void
mem_free(void *ptr)
{
    free(ptr);
}

void
mem_wipe(void *ptr, size_t size)
{
    ASSERT(ptr != NULL || size == 0);
    if (size > 0) {
        explicit_bzero(ptr, size);
    }
}

void *
mem_secret_alloc(size_t size)
{
    void *pages = NULL;

    ASSERT(size > 0);
    ASSERT(size <= MEM_SIZE_MAX);
    pages = mmap(NULL, size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (UNLIKELY(pages == MAP_FAILED)) {
        check_failed(__FILE__, __LINE__, "out of memory");
    }
    /* What the kernel refuses of this costs discretion, not function. */
    (void)madvise(pages, size, MADV_DONTDUMP);
    (void)madvise(pages, size, MADV_DONTFORK);
    (void)mlock(pages, size);
    return pages;
}

void
mem_secret_free(void *ptr, size_t size)
{
    ASSERT(ptr != NULL);
    ASSERT(size > 0);
    mem_wipe(ptr, size);
    ASSERT(munmap(ptr, size) == 0);
}

void
mem_trim(void)
{
    (void)malloc_trim(0);
}
