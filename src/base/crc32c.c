/* CRC-32C, twice: with the processor's own instruction, and with eight tables
 * for machines that lack it. Which one is asked of the processor at each call,
 * which costs a load and a predicted branch, and no state.
 *
 * The register is inverted on the way in and out, as RFC 3720 says, so that
 * leading zeros count and calls can be chained. */
#include "base/crc32c.h"

#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/crc32c_table.h"

uint32_t
crc32c_by_table(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *at = data;

    ASSERT(data != NULL || size == 0);
    crc = ~crc;
    for (; size >= CRC32C_ROWS; size -= CRC32C_ROWS) {
        uint32_t low = get_u32le(at) ^ crc;
        uint32_t high = get_u32le(at + 4);

        crc = CRC32C_TABLE[7][low & 0xff] ^ CRC32C_TABLE[6][low >> 8 & 0xff] ^
              CRC32C_TABLE[5][low >> 16 & 0xff] ^ CRC32C_TABLE[4][low >> 24] ^
              CRC32C_TABLE[3][high & 0xff] ^ CRC32C_TABLE[2][high >> 8 & 0xff] ^
              CRC32C_TABLE[1][high >> 16 & 0xff] ^ CRC32C_TABLE[0][high >> 24];
        at += CRC32C_ROWS;
    }
    for (; size > 0; size--) {
        crc = crc >> 8 ^ CRC32C_TABLE[0][(crc ^ *at) & 0xff];
        at++;
    }
    return ~crc;
}

#if defined(__x86_64__)

bool
crc32c_has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2") != 0;
}

__attribute__((target("sse4.2"))) uint32_t
crc32c_by_instruction(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *at = data;
    uint64_t wide = (uint32_t)~crc;

    ASSERT(data != NULL || size == 0);
    for (; size >= sizeof(uint64_t); size -= sizeof(uint64_t)) {
        uint64_t word = 0;

        memcpy(&word, at, sizeof(word));
        wide = __builtin_ia32_crc32di(wide, word);
        at += sizeof(word);
    }
    crc = (uint32_t)wide;
    for (; size > 0; size--) {
        crc = __builtin_ia32_crc32qi(crc, *at);
        at++;
    }
    return ~crc;
}

#else

bool
crc32c_has_instruction(void)
{
    return false;
}

uint32_t
crc32c_by_instruction(uint32_t crc, const void *data, size_t size)
{
    (void)crc;
    (void)data;
    (void)size;
    UNREACHABLE("no CRC instruction on this architecture");
}

#endif

uint32_t
crc32c(uint32_t crc, const void *data, size_t size)
{
    if (LIKELY(crc32c_has_instruction())) {
        return crc32c_by_instruction(crc, data, size);
    }
    return crc32c_by_table(crc, data, size);
}
