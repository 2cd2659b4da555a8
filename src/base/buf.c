/* The parts of the byte buffer and of the cursor that are not on the fast
 * path: growth, formatted text, and varints of more than a byte. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

enum {
    BUF_CAPACITY_MIN = 64
};

void
buf_init(struct buf *b)
{
    ASSERT(b != NULL);
    memset(b, 0, sizeof(*b));
}

void
buf_deinit(struct buf *b)
{
    ASSERT(b != NULL);
    ASSERT(b->size <= b->capacity);
    mem_free(b->data);
    buf_init(b);
}

void
buf_clear(struct buf *b)
{
    ASSERT(b != NULL);
    b->size = 0;
}

void
buf_reserve(struct buf *b, size_t more)
{
    size_t need = 0;

    ASSERT(b->size <= b->capacity);
    ASSERT(more <= BUF_SIZE_MAX - b->size);
    need = b->size + more;
    if (need <= b->capacity && b->data != NULL) {
        return;
    }
    need = MAX(need, b->capacity * 2);
    need = MAX(need, (size_t)BUF_CAPACITY_MIN);
    b->data = mem_realloc(b->data, need);
    b->capacity = need;
    ASSERT(b->capacity - b->size >= more);
}

void
buf_putf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    int size = 0;

    ASSERT(fmt != NULL);
    va_start(args, fmt);
    size = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(size >= 0);
    /* The NUL is written into reserved room and left out of `size`. */
    buf_reserve(b, (size_t)size + 1);
    va_start(args, fmt);
    size = vsnprintf((char *)(b->data + b->size), (size_t)size + 1, fmt, args);
    va_end(args);
    ASSERT(size >= 0);
    b->size += (size_t)size;
    ASSERT(b->size < b->capacity);
}

void
buf_put_text(struct buf *b, const char *text)
{
    ASSERT(text != NULL);
    buf_put(b, text, strlen(text));
}

void
buf_put_wrapped(struct buf *b, const char *text, size_t column, size_t width)
{
    size_t at = column;

    ASSERT(text != NULL);
    ASSERT(column < width);
    while (*text != '\0') {
        size_t size = strcspn(text, " ");

        if (at > column && at + 1 + size > width) {
            buf_putf(b, "\n%*s", (int)column, "");
            at = column;
        }
        if (at > column) {
            buf_put_u8(b, ' ');
            at++;
        }
        buf_put(b, text, size);
        at += size;
        text += size;
        text += strspn(text, " ");
    }
    buf_put_u8(b, '\n');
}

void
buf_consume(struct buf *b, size_t count)
{
    ASSERT(count <= b->size);
    b->size -= count;
    if (b->size > 0 && count > 0) {
        memmove(b->data, b->data + count, b->size);
    }
}

void
buf_put_varint_long(struct buf *b, uint64_t v)
{
    uint8_t bytes[VARINT_SIZE_MAX];
    size_t size = 0;

    while (v >= 0x80) {
        bytes[size] = (uint8_t)(v | 0x80);
        size++;
        v >>= 7;
    }
    ASSERT(size < VARINT_SIZE_MAX);
    bytes[size] = (uint8_t)v;
    size++;
    buf_put(b, bytes, size);
}

uint64_t
cursor_varint_long(struct cursor *c)
{
    uint64_t value = 0;
    size_t left = cursor_left(c);
    size_t size = 0;

    ASSERT(c->at <= c->end);
    for (size = 0; size < MIN(left, (size_t)VARINT_SIZE_MAX); size++) {
        uint8_t byte = c->at[size];

        value |= (uint64_t)(byte & 0x7f) << (7 * size);
        if (byte < 0x80) {
            /* The tenth byte has room for bit 63 alone. */
            if (size == VARINT_SIZE_MAX - 1 && byte > 1) {
                break;
            }
            c->at += size + 1;
            return value;
        }
    }
    cursor_fail(c);
    return 0;
}
