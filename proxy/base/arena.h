/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory that is given back all at once: one arena per session, one per message. */
#ifndef POSTERN_ARENA_H
#define POSTERN_ARENA_H

#include <stddef.h>

#include "proxy/base/bytes.h"
#include "proxy/base/mem.h"

/* Blocks come from a pool and are chained; what is larger than a block gets one of its own from
 * mem_alloc(). Holds no memory while nothing was allocated. */
struct arena {
    struct pool *pool;
    struct arena_block *blocks;
    size_t used_bytes;  /* of the newest block */
    size_t total_bytes; /* of all blocks */
    size_t limit_bytes; /* total never grows beyond it */
};

void arena_init(struct arena *a, struct pool *pool, size_t limit_bytes);
void arena_reset(struct arena *a); /* gives every block back; the arena can be used again */

/* Aligned for any object, zeroed. NULL: no memory, or the limit is reached. */
void *arena_alloc(struct arena *a, size_t size_bytes);
/* A copy that lives as long as the arena; returns 0 or ERR_MEMORY. An empty `b` needs no memory. */
int arena_copy(struct arena *a, struct bytes b, struct bytes *copy_out);

#endif
