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

/* NULL when there is none; the caller copes. mem_alloc() leaves the block unset. */
void *mem_alloc(size_t size_bytes);
void *mem_zalloc(size_t size_bytes);
/* As realloc(): on failure NULL, and `block` is still the caller's. */
void *mem_grow(void *block, size_t size_bytes);
void mem_free(void *block); /* NULL is fine */
/* An array of `count` items that shall hold one more: as it was where there is room, else grown to
 * twice its size. NULL: no memory, and the array is still the caller's. */
static inline void *mem_make_room(void *array, size_t count, size_t *capacity, size_t item_bytes)
{
    size_t wanted = *capacity == 0 ? 16 : 2 * *capacity;

    assert(count <= *capacity);
    void *grown = count < *capacity ? array : mem_grow(array, wanted * item_bytes);

    if (grown != NULL && count == *capacity)
        *capacity = wanted;
    return grown;
}

/* Blocks of one size, the last one given back is the first one taken. Keeps at most
 * `keep_max` free blocks, the others go back to the allocator. One loop's, no locks. */
struct pool {
    size_t block_bytes;
    size_t keep_max;
    size_t kept;
    size_t taken; /* blocks that are out now */
    struct pool_block *free;
};

void pool_init(struct pool *p, size_t block_bytes, size_t keep_max);
void pool_done(struct pool *p);  /* legal when every block has been given back */
void *pool_take(struct pool *p); /* NULL: no memory */
void pool_give(struct pool *p, void *block);

/* Under AddressSanitizer: octets that nobody may touch until mem_unpoison(); else nothing. */
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
