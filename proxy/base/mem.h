/* SPDX-License-Identifier: BSD-2-Clause */
/* All memory comes from here: single blocks, and pools of blocks of one size. */
#ifndef POSTERN_MEM_H
#define POSTERN_MEM_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, n)   ((void)(at), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
#endif

/* NULL: no memory. mem_alloc() does not initialise the block. */
void *mem_alloc(size_t size_bytes);
void *mem_zalloc(size_t size_bytes);
/* As realloc(): on failure NULL, and `block` is still the caller's. */
void *mem_grow(void *block, size_t size_bytes);
void mem_free(void *block); /* NULL is fine */
/* Makes room for one more item in an array of `count`: returns it as it is where there is room,
 * else grown to twice its size. NULL: no memory, and the array is still the caller's. */
static inline void *mem_make_room(void *array, size_t count, size_t *capacity, size_t item_bytes)
{
    size_t wanted = *capacity == 0 ? 16 : 2 * *capacity;

    assert(count <= *capacity);
    void *grown = count < *capacity ? array : mem_grow(array, wanted * item_bytes);

    if (grown != NULL && count == *capacity)
        *capacity = wanted;
    return grown;
}

/* Blocks of one size; the block given back last is taken first. At most `keep_max` free blocks are
 * kept, the others go back to the allocator. A pool belongs to one loop and has no locks. */
struct pool {
    size_t block_bytes;
    size_t keep_max;
    size_t kept;
    size_t taken; /* blocks in use now */
    struct pool_block *free;
};

void pool_init(struct pool *pool, size_t block_bytes, size_t keep_max);
void pool_done(struct pool *pool);  /* legal when every block has been given back */
void *pool_take(struct pool *pool); /* NULL: no memory */
void pool_give(struct pool *pool, void *block);

/* Under AddressSanitizer nobody may touch these octets until mem_unpoison(); otherwise nothing. */
static inline void mem_poison(void *at, size_t size_bytes)
{
    ASAN_POISON_MEMORY_REGION(at, size_bytes);
}

static inline void mem_unpoison(void *at, size_t size_bytes)
{
    ASAN_UNPOISON_MEMORY_REGION(at, size_bytes);
}

/* Tests only: makes the nth allocation of this thread from now on fail, once; 0 switches
 * that off. A block taken from a pool counts. Returns how many allocations have been asked for
 * since the last call. */
uint64_t mem_fail_nth(uint64_t n);

#endif
