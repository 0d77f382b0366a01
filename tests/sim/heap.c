/* SPDX-License-Identifier: BSD-2-Clause */
/* The allocator of proxy/base/mem.c with a list of the blocks of each process, so that its heap can
 * go with it. */
#include <stdlib.h>

#include "proxy/base/mem.h"
#include "tests/sim/world.h"

/* Stands before each block; the guard is between it and whoever writes before his block. */
struct block {
    struct list link;
    uint8_t guard[16];
};

struct sim_heap {
    struct list blocks;
};
static struct sim_heap *book; /* NULL: none is kept */

static void *enter(struct block *b)
{
    if (b == NULL)
        return NULL;
    list_init(&b->link);
    if (book != NULL)
        list_append(&book->blocks, &b->link);
    mem_poison(b->guard, sizeof(b->guard));
    return b + 1;
}

static struct block *strike(void *octets)
{
    struct block *b = octets;

    if (b == NULL)
        return NULL;
    mem_unpoison((--b)->guard, sizeof(b->guard));
    list_remove(&b->link);
    return b;
}

struct sim_heap *sim_heap_new(void)
{
    struct sim_heap *h = sim_alloc(sizeof(*h));

    list_init(&h->blocks);
    return h;
}

void sim_heap_open(struct sim_heap *h)
{
    book = h;
}

size_t sim_heap_free(struct sim_heap **heap)
{
    size_t count = 0;

    LIST_EACH (link, &(*heap)->blocks) {
        free(strike(LIST_ENTRY(link, struct block, link) + 1));
        count++;
    }
    free(*heap);
    *heap = NULL;
    return count;
}

static void *heap_malloc(size_t size)
{
    return enter(malloc(sizeof(struct block) + size));
}

static void *heap_calloc(size_t count, size_t size)
{
    return enter(calloc(1, sizeof(struct block) + count * size));
}

static void *heap_realloc(void *octets, size_t size)
{
    struct block *b = strike(octets), *grown = realloc(b, sizeof(*b) + size);

    if (grown == NULL && b != NULL)
        enter(b);
    return enter(grown);
}

static void heap_free(void *octets)
{
    free(strike(octets));
}

#define malloc(size)         heap_malloc(size)
#define calloc(count, size)  heap_calloc(count, size)
#define realloc(block, size) heap_realloc(block, size)
#define free(block)          heap_free(block)
#include "proxy/base/mem.c"
