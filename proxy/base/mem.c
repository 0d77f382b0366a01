/* SPDX-License-Identifier: BSD-2-Clause */
/* The only caller of the allocator, so that a test can make any allocation fail. */
#include "proxy/base/mem.h"

#include <stdbool.h>
#include <stdlib.h>

struct pool_block {
    struct pool_block *next;
};

/* The one variable of the pure code. Each thread has its own: a job on the pool neither uses up
 * nor suffers the failure that a test wants elsewhere. */
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

/* NULL must mean failure alone, so nothing becomes one octet. */
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

void pool_init(struct pool *p, size_t block_bytes, size_t keep_max)
{
    if (block_bytes < sizeof(struct pool_block))
        block_bytes = sizeof(struct pool_block);
    *p = (struct pool){.block_bytes = block_bytes, .keep_max = keep_max};
}

void pool_done(struct pool *p)
{
    assert(p->taken == 0);
    while (p->free != NULL) {
        struct pool_block *block = p->free;
        p->free = block->next;
        mem_free(block);
    }
    p->kept = 0;
}

void *pool_take(struct pool *p)
{
    struct pool_block *block = p->free;

    /* A kept block counts as an allocation too: otherwise a test would only ever see the first
     * one of each pool fail. */
    if (block == NULL) {
        block = mem_alloc(p->block_bytes);
    } else if (may_allocate()) {
        p->free = block->next;
        p->kept--;
        mem_unpoison(block, p->block_bytes);
    } else {
        return NULL;
    }
    if (block != NULL)
        p->taken++;
    return block;
}

void pool_give(struct pool *p, void *block)
{
    struct pool_block *given = block;

    assert(p->taken > 0);
    p->taken--;
    if (p->kept == p->keep_max) {
        mem_free(given);
        return;
    }
    mem_unpoison(given, sizeof(*given));
    given->next = p->free;
    p->free = given;
    p->kept++;
    mem_poison(given + 1, p->block_bytes - sizeof(*given));
}
