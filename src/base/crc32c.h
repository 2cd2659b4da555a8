/* CRC-32C (Castagnoli; RFC 3720, appendix B.4), in hardware where there is
 * SSE 4.2. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The CRC of SIZE bytes at DATA following bytes whose CRC is CRC (0 first). */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

/* The same by tables, on any machine. */
uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t size);
/* Whether this machine has the instruction. */
bool crc32c_has_instruction(void);
/* The same by the instruction, which must be there. */
uint32_t crc32c_by_instruction(uint32_t crc, const void *data, size_t size);

#endif
