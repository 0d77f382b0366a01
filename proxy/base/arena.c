/* SPDX-License-Identifier: BSD-2-Clause */
/* A chain of blocks, filled from the front, given back together. */
#include "proxy/base/arena.h"

#include "proxy/base/error.h"

#define ALIGNMENT _Alignof(max_align_t)

struct arena_block {
    _Alignas(max_align_t) struct arena_block *next;
    size_t size_bytes; /* with this header; a block larger than the pool's is from mem_alloc() */
};

void arena_init(struct arena *arena, struct pool *pool, size_t limit_bytes)
{
    *arena = (struct arena){.pool = pool, .limit_bytes = limit_bytes};
}

void arena_reset(struct arena *arena)
{
    while (arena->blocks != NULL) {
        struct arena_block *block = arena->blocks;

        arena->blocks = block->next;
        if (block->size_bytes > arena->pool->block_bytes)
            mem_free(block);
        else
            pool_give(arena->pool, block);
    }
    arena->used_bytes = 0;
    arena->total_bytes = 0;
}

/* Adds a block. A large one goes behind the newest block, which may have room left. */
static struct arena_block *add_block(struct arena *arena, size_t size_bytes)
{
    bool is_large = size_bytes > arena->pool->block_bytes;
    struct arena_block *block;

    assert(arena->total_bytes <= arena->limit_bytes);
    if (size_bytes > arena->limit_bytes - arena->total_bytes)
        return NULL;
    block = is_large ? mem_alloc(size_bytes) : pool_take(arena->pool);
    if (block == NULL)
        return NULL;
    block->size_bytes = size_bytes;
    arena->total_bytes += size_bytes;
    mem_poison(block + 1, size_bytes - sizeof(*block));
    if (is_large && arena->blocks != NULL) {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else {
        block->next = arena->blocks;
        arena->blocks = block;
        arena->used_bytes = is_large ? size_bytes : sizeof(*block);
    }
    return block;
}

static void *hand_out(void *at, size_t size_bytes)
{
    mem_unpoison(at, size_bytes);
    return memset(at, 0, size_bytes);
}

void *arena_alloc(struct arena *arena, size_t size_bytes)
{
    struct arena_block *block = arena->blocks;
    size_t rounded, needed, offset;

    if (size_bytes > SIZE_MAX - ALIGNMENT - sizeof(*block))
        return NULL;
    rounded = (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    needed = sizeof(*block) + rounded;
    if (needed > arena->pool->block_bytes) {
        block = add_block(arena, needed);
        return block == NULL ? NULL : hand_out(block + 1, size_bytes);
    }
    if (block == NULL || block->size_bytes - arena->used_bytes < rounded)
        block = add_block(arena, arena->pool->block_bytes);
    if (block == NULL)
        return NULL;
    offset = arena->used_bytes;
    arena->used_bytes += rounded;
    return hand_out((char *)block + offset, size_bytes);
}

int arena_copy(struct arena *arena, struct bytes octets, struct bytes *copy_out)
{
    void *copy;

    if (octets.len == 0) {
        *copy_out = bytes_make(NULL, 0);
        return 0;
    }
    copy = arena_alloc(arena, octets.len);
    if (copy == NULL)
        return ERR_MEMORY;
    memcpy(copy, octets.at, octets.len);
    *copy_out = bytes_make(copy, octets.len);
    return 0;
}
