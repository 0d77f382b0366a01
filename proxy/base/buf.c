/* SPDX-License-Identifier: BSD-2-Clause */
/* A bounded queue of octets in one piece of memory, which moves when it must grow. */
#include "proxy/base/buf.h"

#include <stdarg.h>

void buf_init(struct buf *b, struct pool *pool, uint32_t limit_bytes)
{
    *b = (struct buf){.pool = pool, .limit = limit_bytes};
}

static void free_block(struct buf *b, uint8_t *block, uint32_t capacity)
{
    if (capacity > b->pool->block_bytes)
        mem_free(block);
    else if (capacity != 0)
        pool_give(b->pool, block);
}

void buf_done(struct buf *b)
{
    free_block(b, b->block, b->capacity);
    b->block = NULL;
    b->start = b->end = b->capacity = 0;
}

void buf_reset(struct buf *b)
{
    buf_done(b);
    b->has_failed = false;
}

/* A block of the pool, or the power of two that is large enough, but never beyond the limit. */
static uint32_t capacity_for(const struct buf *b, size_t needed)
{
    size_t capacity = b->pool->block_bytes;

    if (needed <= capacity)
        return (uint32_t)capacity;
    while (capacity < needed)
        capacity *= 2;
    return capacity < b->limit ? (uint32_t)capacity : b->limit;
}

static bool move_to_larger(struct buf *b, size_t needed)
{
    uint32_t capacity = capacity_for(b, needed);
    bool is_pooled = capacity <= b->pool->block_bytes;
    uint8_t *block = is_pooled ? pool_take(b->pool) : mem_alloc(capacity);
    uint32_t length = b->end - b->start;

    if (block == NULL)
        return false;
    if (length != 0)
        memcpy(block, b->block + b->start, length);
    free_block(b, b->block, b->capacity);
    b->block = block;
    b->capacity = capacity;
    b->start = 0;
    b->end = length;
    return true;
}

/* Room for `more` octets behind the last one, more > 0. */
static bool make_room(struct buf *b, size_t more)
{
    size_t length = buf_length(b);

    if (more <= b->capacity - b->end)
        return true;
    if (length + more > b->capacity)
        return move_to_larger(b, length + more);
    memmove(b->block, b->block + b->start, length);
    b->start = 0;
    b->end = (uint32_t)length;
    return true;
}

void buf_put(struct buf *b, struct bytes octets)
{
    if (octets.len == 0 || b->has_failed)
        return;
    if (octets.len > b->limit - buf_length(b) || !make_room(b, octets.len)) {
        b->has_failed = true;
        return;
    }
    memcpy(b->block + b->end, octets.at, octets.len);
    b->end += (uint32_t)octets.len;
}

void buf_text(struct buf *b, const char *text)
{
    buf_put(b, bytes_of(text));
}

void buf_byte(struct buf *b, uint8_t octet)
{
    buf_put(b, bytes_make(&octet, 1));
}

void buf_decimal(struct buf *b, uint64_t number)
{
    uint8_t digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    buf_put(b, bytes_make(digits + at, sizeof(digits) - at));
}

/* Takes back what was appended last, down to `length` octets. */
static void truncate_to(struct buf *b, size_t length)
{
    if (length >= buf_length(b))
        return;
    b->end = b->start + (uint32_t)length;
    if (length == 0)
        buf_done(b);
}

void buf_cat(struct buf *b, const char *text, ...)
{
    size_t length = buf_length(b);
    va_list texts;

    va_start(texts, text);
    for (; text != NULL; text = va_arg(texts, const char *))
        buf_text(b, text);
    va_end(texts);
    if (b->has_failed)
        truncate_to(b, length);
}

void buf_consume(struct buf *b, size_t octets)
{
    assert(octets <= buf_length(b));
    b->start += (uint32_t)octets;
    if (b->start == b->end)
        buf_done(b);
}
