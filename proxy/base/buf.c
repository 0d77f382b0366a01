/* SPDX-License-Identifier: BSD-2-Clause */
/* A bounded queue of octets in one piece of memory, which moves when it must grow. */
#include "proxy/base/buf.h"

#include <stdarg.h>

void buf_init(struct buf *buf, struct pool *pool, uint32_t limit_bytes)
{
    *buf = (struct buf){.pool = pool, .limit = limit_bytes};
}

static void free_block(struct buf *buf, uint8_t *block, uint32_t capacity)
{
    if (capacity > buf->pool->block_bytes)
        mem_free(block);
    else if (capacity != 0)
        pool_give(buf->pool, block);
}

void buf_done(struct buf *buf)
{
    free_block(buf, buf->block, buf->capacity);
    buf->block = NULL;
    buf->start = buf->end = buf->capacity = 0;
}

void buf_reset(struct buf *buf)
{
    buf_done(buf);
    buf->has_failed = false;
}

/* A block of the pool, or the power of two that is large enough, but never beyond the limit. */
static uint32_t capacity_for(const struct buf *buf, size_t needed)
{
    size_t capacity = buf->pool->block_bytes;

    while (capacity < needed)
        capacity *= 2;
    return capacity < buf->limit ? (uint32_t)capacity : buf->limit;
}

static bool move_to_larger(struct buf *buf, size_t needed)
{
    uint32_t capacity = capacity_for(buf, needed);
    bool is_pooled = capacity <= buf->pool->block_bytes;
    uint8_t *block = is_pooled ? pool_take(buf->pool) : mem_alloc(capacity);
    uint32_t length = buf->end - buf->start;

    if (block == NULL)
        return false;
    if (length != 0)
        memcpy(block, buf->block + buf->start, length);
    free_block(buf, buf->block, buf->capacity);
    buf->block = block;
    buf->capacity = capacity;
    buf->start = 0;
    buf->end = length;
    return true;
}

/* Room for `more` octets behind the last one, where there is none. Out of line, since mostly there
 * is. */
__attribute__((noinline)) static bool make_room(struct buf *buf, size_t more)
{
    size_t length = buf_length(buf);

    if (more > buf->limit - length)
        return false;
    if (length + more > buf->capacity)
        return move_to_larger(buf, length + more);
    memmove(buf->block, buf->block + buf->start, length);
    buf->start = 0;
    buf->end = (uint32_t)length;
    return true;
}

/* The next `more` octets, more > 0, for the caller to write; NULL: the append fails. */
static uint8_t *append(struct buf *buf, size_t more)
{
    if (buf->has_failed)
        return NULL;
    if (more > buf->capacity - buf->end && !make_room(buf, more)) {
        buf->has_failed = true;
        return NULL;
    }
    buf->end += (uint32_t)more;
    return buf->block + buf->end - more;
}

void buf_put(struct buf *buf, struct bytes octets)
{
    uint8_t *to = octets.len == 0 ? NULL : append(buf, octets.len);

    if (to != NULL)
        memcpy(to, octets.at, octets.len);
}

void buf_byte(struct buf *buf, uint8_t octet)
{
    uint8_t *to = append(buf, 1);

    if (to != NULL)
        *to = octet;
}

void buf_decimal(struct buf *buf, uint64_t number)
{
    uint8_t digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    buf_put(buf, bytes_make(digits + at, sizeof(digits) - at));
}

void buf_cat(struct buf *buf, const char *text, ...)
{
    size_t length = buf_length(buf);
    va_list texts;

    va_start(texts, text);
    for (; text != NULL; text = va_arg(texts, const char *))
        buf_text(buf, text);
    va_end(texts);
    if (buf->has_failed)
        buf_drop_last(buf, buf_length(buf) - length);
}

void buf_drop_last(struct buf *buf, size_t octets)
{
    assert(octets <= buf_length(buf));
    buf->end -= (uint32_t)octets;
    if (buf->start == buf->end)
        buf_done(buf);
}

void buf_wipe(struct buf *buf)
{
    if (buf->capacity != 0)
        explicit_bzero(buf->block, buf->end);
}

void buf_consume(struct buf *buf, size_t octets)
{
    assert(octets <= buf_length(buf));
    buf->start += (uint32_t)octets;
    if (buf->start == buf->end)
        buf_done(buf);
}

void buf_overwrite(struct buf *buf, size_t at, struct bytes octets)
{
    assert(at <= buf_length(buf) && octets.len <= buf_length(buf) - at);
    if (octets.len != 0)
        memcpy(buf->block + buf->start + at, octets.at, octets.len);
}
