/* SPDX-License-Identifier: BSD-2-Clause */
/* The allocator of proxy/base/mem.c with a book of the blocks of each process, so that its heap can
 * go with it. */
#include <stdlib.h>

#include "tests/sim/world.h"

/* Open addressing; NULL: free; `gone`: was used. */
struct sim_heap {
    void **at;
    size_t capacity, used; /* `used`: with those that are gone */
    size_t count;
};
static struct sim_heap *book; /* NULL: none is kept */
static char gone;

static size_t slot_of(const void *block)
{
    uint64_t key = (uint64_t)(uintptr_t)block;

    return (size_t)(sim_mix(&key) & (book->capacity - 1));
}

static void grow(void)
{
    void **old = book->at;
    size_t size = book->capacity;

    book->capacity = book->count * 4 < 1024 ? 1024 : size * (book->count * 4 > size ? 2 : 1);
    book->at = sim_alloc(book->capacity * sizeof(*book->at));
    book->used = book->count;
    for (size_t i = 0; i < size; i++) {
        if (old[i] == NULL || old[i] == &gone)
            continue;
        size_t slot = slot_of(old[i]);
        while (book->at[slot] != NULL)
            slot = (slot + 1) & (book->capacity - 1);
        book->at[slot] = old[i];
    }
    free(old);
}

static void *enter(void *block)
{
    size_t slot;

    if (book == NULL || block == NULL)
        return block;
    if (book->used * 2 >= book->capacity)
        grow();
    for (slot = slot_of(block); book->at[slot] != NULL && book->at[slot] != &gone;)
        slot = (slot + 1) & (book->capacity - 1);
    book->used += book->at[slot] == NULL;
    book->count++;
    book->at[slot] = block;
    return block;
}

static void strike(const void *block)
{
    size_t slot;

    if (book == NULL || book->count == 0 || block == NULL)
        return;
    for (slot = slot_of(block); book->at[slot] != NULL; slot = (slot + 1) & (book->capacity - 1)) {
        if (book->at[slot] != block)
            continue;
        book->at[slot] = &gone;
        book->count--;
        return;
    }
}

struct sim_heap *sim_heap_new(void)
{
    return sim_alloc(sizeof(struct sim_heap));
}

void sim_heap_open(struct sim_heap *h)
{
    book = h;
}

size_t sim_heap_free(struct sim_heap **heap)
{
    struct sim_heap *h = *heap;
    size_t count = h->count;

    for (size_t i = 0; i < h->capacity; i++)
        if (h->at[i] != NULL && h->at[i] != &gone)
            free(h->at[i]);
    free(h->at);
    free(h);
    *heap = NULL;
    return count;
}

static void *heap_malloc(size_t size)
{
    return enter(malloc(size));
}

static void *heap_calloc(size_t count, size_t size)
{
    return enter(calloc(count, size));
}

static void *heap_realloc(void *block, size_t size)
{
    void *grown;

    strike(block);
    grown = realloc(block, size);
    if (grown == NULL)
        enter(block);
    return enter(grown);
}

static void heap_free(void *block)
{
    strike(block);
    free(block);
}

#define malloc(size)         heap_malloc(size)
#define calloc(count, size)  heap_calloc(count, size)
#define realloc(block, size) heap_realloc(block, size)
#define free(block)          heap_free(block)
#include "proxy/base/mem.c"
