/* SPDX-License-Identifier: BSD-2-Clause */
/* A chain of blocks, filled from the front, given back together. */
#include "proxy/base/arena.h"

#include "proxy/base/error.h"

#define ALIGNMENT _Alignof(max_align_t)

struct arena_block {
    _Alignas(max_align_t) struct arena_block *next;
    size_t size_bytes; /* this header included; more than the pool's blocks: from mem_alloc() */
};

void arena_init(struct arena *a, struct pool *pool, size_t limit_bytes)
{
    *a = (struct arena){.pool = pool, .limit_bytes = limit_bytes};
}

void arena_reset(struct arena *a)
{
    while (a->blocks != NULL) {
        struct arena_block *block = a->blocks;

        a->blocks = block->next;
        if (block->size_bytes > a->pool->block_bytes)
            mem_free(block);
        else
            pool_give(a->pool, block);
    }
    a->used_bytes = 0;
    a->total_bytes = 0;
}

/* Makes a block the arena's. A large one goes behind the newest, which may have room left. */
static struct arena_block *add_block(struct arena *a, size_t size_bytes)
{
    bool is_large = size_bytes > a->pool->block_bytes;
    struct arena_block *block;

    assert(a->total_bytes <= a->limit_bytes);
    if (size_bytes > a->limit_bytes - a->total_bytes)
        return NULL;
    block = is_large ? mem_alloc(size_bytes) : pool_take(a->pool);
    if (block == NULL)
        return NULL;
    block->size_bytes = size_bytes;
    a->total_bytes += size_bytes;
    mem_poison(block + 1, size_bytes - sizeof(*block));
    if (is_large && a->blocks != NULL) {
        block->next = a->blocks->next;
        a->blocks->next = block;
    } else {
        block->next = a->blocks;
        a->blocks = block;
        a->used_bytes = is_large ? size_bytes : sizeof(*block);
    }
    return block;
}

static void *hand_out(void *at, size_t size_bytes)
{
    mem_unpoison(at, size_bytes);
    return memset(at, 0, size_bytes);
}

void *arena_alloc(struct arena *a, size_t size_bytes)
{
    struct arena_block *block = a->blocks;
    size_t rounded, needed, offset;

    if (size_bytes > SIZE_MAX - ALIGNMENT - sizeof(*block))
        return NULL;
    rounded = (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    needed = sizeof(*block) + rounded;
    if (needed > a->pool->block_bytes) {
        block = add_block(a, needed);
        return block == NULL ? NULL : hand_out(block + 1, size_bytes);
    }
    if (block == NULL || block->size_bytes - a->used_bytes < rounded)
        block = add_block(a, a->pool->block_bytes);
    if (block == NULL)
        return NULL;
    offset = a->used_bytes;
    a->used_bytes += rounded;
    return hand_out((char *)block + offset, size_bytes);
}

int arena_copy(struct arena *a, struct bytes b, struct bytes *copy_out)
{
    void *copy;

    if (b.len == 0) {
        *copy_out = bytes_make(NULL, 0);
        return 0;
    }
    copy = arena_alloc(a, b.len);
    if (copy == NULL)
        return ERR_MEMORY;
    memcpy(copy, b.at, b.len);
    *copy_out = bytes_make(copy, b.len);
    return 0;
}
