/* Memory. Running out is a crash, which the replica set absorbs; sizes that a
 * peer or a client chooses are checked against a limit before they come
 * here. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

/* No object is larger than this; asking for more stops the process. */
#define MEM_SIZE_MAX ((size_t)PTRDIFF_MAX)

/* SIZE bytes, uninitialised; never NULL, SIZE 0 gives a unique pointer. */
void *mem_alloc(size_t size);
/* COUNT elements of SIZE bytes, zeroed. Stops the process on overflow. */
void *mem_zalloc(size_t count, size_t size);
/* Resize PTR (may be NULL) to SIZE bytes. */
void *mem_realloc(void *ptr, size_t size);
/* A copy of SIZE bytes at SRC. */
void *mem_dup(const void *src, size_t size);
/* A copy of the NUL-terminated TEXT. */
char *mem_strdup(const char *text);
/* A NUL-terminated copy of SIZE bytes at TEXT. */
char *mem_strndup(const char *text, size_t size);
/* Give back what any of the above returned; NULL is fine. */
void mem_free(void *ptr);
/* Overwrite SIZE bytes at PTR so that no compiler drops it, for secrets. */
void mem_wipe(void *ptr, size_t size);
/* SIZE zeroed bytes for secrets, in pages of their own: left out of core dumps
 * and of child processes, and kept from the swap space as far as the limit on
 * locked memory allows. Costs a page or more, and two system calls. */
void *mem_secret_alloc(size_t size);
/* Overwrite the SIZE bytes at PTR (not NULL) and give them back. */
void mem_secret_free(void *ptr, size_t size);
/* Give free memory back to the system, as far as the allocator can. Slow:
 * milliseconds. */
void mem_trim(void);

#endif
