/* SPDX-License-Identifier: BSD-2-Clause */
/* The only caller of the allocator, so that a test can make any allocation fail. */
#include "proxy/base/mem.h"

#include <stdbool.h>
#include <stdlib.h>

struct pool_block {
    struct pool_block *next;
};

/* The only global variable of the pure code. Each thread has its own, so that a job on the pool
 * neither uses up nor suffers a failure that a test planned for another thread. */
static _Thread_local struct {
    uint64_t asked;
    uint64_t fail_at; /* 0: never */
} failing;

static bool may_allocate(void)
{
    failing.asked++;
    return failing.asked != failing.fail_at;
}

uint64_t mem_fail_nth(uint64_t n)
{
    uint64_t asked = failing.asked;

    failing.asked = 0;
    failing.fail_at = n;
    return asked;
}

/* An empty block has one octet, so that NULL always means failure. */
static size_t at_least_one(size_t size_bytes)
{
    return size_bytes == 0 ? 1 : size_bytes;
}

void *mem_alloc(size_t size_bytes)
{
    return may_allocate() ? malloc(at_least_one(size_bytes)) : NULL;
}

void *mem_zalloc(size_t size_bytes)
{
    return may_allocate() ? calloc(1, at_least_one(size_bytes)) : NULL;
}

void *mem_grow(void *block, size_t size_bytes)
{
    return may_allocate() ? realloc(block, at_least_one(size_bytes)) : NULL;
}

void mem_free(void *block)
{
    free(block);
}

void pool_init(struct pool *pool, size_t block_bytes, size_t keep_max)
{
    if (block_bytes < sizeof(struct pool_block))
        block_bytes = sizeof(struct pool_block);
    *pool = (struct pool){.block_bytes = block_bytes, .keep_max = keep_max};
}

void pool_done(struct pool *pool)
{
    assert(pool->taken == 0);
    while (pool->free != NULL) {
        struct pool_block *block = pool->free;
        pool->free = block->next;
        mem_free(block);
    }
    pool->kept = 0;
}

void *pool_take(struct pool *pool)
{
    struct pool_block *block = pool->free;

    /* A kept block counts as an allocation, too: otherwise a test could make only the first
     * allocation of each pool fail. */
    if (block == NULL) {
        block = mem_alloc(pool->block_bytes);
    } else if (may_allocate()) {
        pool->free = block->next;
        pool->kept--;
        mem_unpoison(block, pool->block_bytes);
    } else {
        return NULL;
    }
    if (block != NULL)
        pool->taken++;
    return block;
}

void pool_give(struct pool *pool, void *block)
{
    struct pool_block *given = block;

    assert(pool->taken > 0);
    pool->taken--;
    if (pool->kept == pool->keep_max) {
        mem_free(given);
        return;
    }
    mem_unpoison(given, sizeof(*given));
    given->next = pool->free;
    pool->free = given;
    pool->kept++;
    mem_poison(given + 1, pool->block_bytes - sizeof(*given));
}
