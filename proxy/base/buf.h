/* SPDX-License-Identifier: BSD-2-Clause */
/* Octets on their way out: appended at one end, taken at the other, bounded. */
#ifndef POSTERN_BUF_H
#define POSTERN_BUF_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/mem.h"

/* An empty buffer holds no memory. Otherwise the octets lie in a block of the pool or, when there
 * are more than it holds, in memory of the buffer's own. An append that fails appends nothing and
 * sets `has_failed`; nothing more is appended until buf_reset(), so that no later piece follows a
 * missing one. The owner checks `has_failed` once, at the end of a step. */
struct buf {
    struct pool *pool;
    uint8_t *block;
    uint32_t start, end; /* the octets are block[start..end) */
    uint32_t capacity;   /* of the block, never beyond the limit; 0: no block is held */
    uint32_t limit;      /* end - start never exceeds it */
    bool has_failed;
};

void buf_init(struct buf *buf, struct pool *pool, uint32_t limit_bytes);
void buf_done(struct buf *buf);  /* gives memory back; has_failed stays */
void buf_reset(struct buf *buf); /* empties it and clears has_failed */

static inline struct bytes buf_bytes(const struct buf *buf)
{
    return bytes_make(buf->capacity == 0 ? NULL : buf->block + buf->start,
                      (size_t)(buf->end - buf->start));
}

static inline size_t buf_length(const struct buf *buf)
{
    return (size_t)(buf->end - buf->start);
}

void buf_put(struct buf *buf, struct bytes octets);
/* In the header, so that compilers know how long a constant is. */
static inline void buf_text(struct buf *buf, const char *text)
{
    buf_put(buf, bytes_of(text));
}
void buf_byte(struct buf *buf, uint8_t octet);
void buf_decimal(struct buf *buf, uint64_t number);
/* Each is a C string; the list ends with NULL: buf_cat(b, "EHLO ", name, "\r\n", NULL). */
void buf_cat(struct buf *buf, const char *text, ...) __attribute__((sentinel));
/* Overwrites the octets, and those that were consumed, with zeros. */
void buf_wipe(struct buf *buf);
void buf_consume(struct buf *buf, size_t octets); /* legal when octets <= buf_length() */
/* Takes back what was appended last. Legal when octets <= buf_length(). */
void buf_drop_last(struct buf *buf, size_t octets);
/* Octets in place of as many that lie `at` octets behind the first one. Legal when they are there.
 */
void buf_overwrite(struct buf *buf, size_t at, struct bytes octets);

#endif
