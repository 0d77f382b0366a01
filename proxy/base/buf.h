/* SPDX-License-Identifier: BSD-2-Clause */
/* Octets on their way out: appended at one end, taken at the other, bounded. */
#ifndef POSTERN_BUF_H
#define POSTERN_BUF_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/mem.h"

/* Holds a block of the pool while it is not empty and a block suffices, memory of its own when
 * it must be larger, and nothing while it is empty. A failed append appends nothing, and sets
 * `has_failed`: from then on nothing is appended until buf_reset(), so that no later piece follows
 * a missing one. The owner looks once, at the end of a step, and closes. */
struct buf {
    struct pool *pool;
    uint8_t *block;
    uint32_t start, end; /* the octets are block[start..end) */
    uint32_t capacity;   /* of block; 0: none is held */
    uint32_t limit;      /* end - start never exceeds it */
    bool has_failed;
};

void buf_init(struct buf *b, struct pool *pool, uint32_t limit_bytes);
void buf_done(struct buf *b);  /* gives memory back; has_failed stays */
void buf_reset(struct buf *b); /* empties it and clears has_failed */

static inline struct bytes buf_bytes(const struct buf *b)
{
    return bytes_make(b->capacity == 0 ? NULL : b->block + b->start, (size_t)(b->end - b->start));
}

static inline size_t buf_length(const struct buf *b)
{
    return (size_t)(b->end - b->start);
}

void buf_put(struct buf *b, struct bytes octets);
void buf_text(struct buf *b, const char *text);
void buf_byte(struct buf *b, uint8_t octet);
void buf_decimal(struct buf *b, uint64_t number);
/* Each is a C string; the list ends with NULL: buf_cat(b, "EHLO ", name, "\r\n", NULL). */
void buf_cat(struct buf *b, const char *text, ...) __attribute__((sentinel));
void buf_consume(struct buf *b, size_t octets); /* legal when octets <= buf_length() */

#endif
