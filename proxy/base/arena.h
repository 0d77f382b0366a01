/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory that is given back all at once: one arena per session, one per message. */
#ifndef POSTERN_ARENA_H
#define POSTERN_ARENA_H

#include <stddef.h>

#include "proxy/base/bytes.h"
#include "proxy/base/mem.h"

/* The blocks come from a pool and are chained; an object larger than a block gets one of its own
 * from mem_alloc(). An arena without objects holds no memory. */
struct arena {
    struct pool *pool;
    struct arena_block *blocks;
    size_t used_bytes;  /* of the newest block */
    size_t total_bytes; /* of all blocks */
    size_t limit_bytes; /* total_bytes never exceeds it */
};

void arena_init(struct arena *arena, struct pool *pool, size_t limit_bytes);
void arena_reset(struct arena *arena); /* gives every block back; the arena can be used again */

/* Aligned for any object, zeroed. NULL: no memory, or the limit is reached. */
void *arena_alloc(struct arena *arena, size_t size_bytes);
/* A copy that lives as long as the arena; returns 0 or ERR_MEMORY. No octets need no memory. */
int arena_copy(struct arena *arena, struct bytes octets, struct bytes *copy_out);

#endif
