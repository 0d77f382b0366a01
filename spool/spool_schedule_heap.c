/* SPDX-License-Identifier: BSD-2-Clause */
/* The heap of a target's queue. The entry with the earliest time stands at [0]. */
#include <assert.h>

#include "proxy/base/mem.h"
#include "spool/spool_schedule_private.h"

#define HEAP_FIRST 16

int64_t spool_schedule_key(const struct schedule_entry *e)
{
    return e->state == SCHEDULE_WAITING && e->due_s < e->look_s ? e->due_s : e->look_s;
}

static void heap_set(struct schedule_target *t, size_t at, struct schedule_entry *e)
{
    assert(at < t->heap_capacity);
    t->heap[at] = e;
    e->heap_at = (uint32_t)at;
}

static void heap_up(struct schedule_target *t, size_t at)
{
    struct schedule_entry *e = t->heap[at];

    while (at != 0 && spool_schedule_key(t->heap[(at - 1) / 2]) > spool_schedule_key(e)) {
        heap_set(t, at, t->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_set(t, at, e);
}

void spool_schedule_heap_down(struct schedule_target *t, size_t at)
{
    assert(at < t->heap_count);
    struct schedule_entry *e = t->heap[at];

    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < t->heap_count &&
            spool_schedule_key(t->heap[child + 1]) < spool_schedule_key(t->heap[child]))
            child++;
        if (child >= t->heap_count || spool_schedule_key(t->heap[child]) >= spool_schedule_key(e))
            break;
        heap_set(t, at, t->heap[child]);
        at = child;
    }
    heap_set(t, at, e);
}

static void heap_moved(struct schedule_target *t, const struct schedule_entry *e)
{
    heap_up(t, e->heap_at);
    spool_schedule_heap_down(t, e->heap_at);
}

void spool_schedule_heap_push(struct schedule_target *t, struct schedule_entry *e)
{
    assert(t->heap_count < t->heap_capacity && e->heap_at == SPOOL_SCHEDULE_NOWHERE);
    heap_set(t, t->heap_count++, e);
    heap_up(t, e->heap_at);
}

void spool_schedule_heap_remove(struct schedule_target *t, struct schedule_entry *e)
{
    size_t at = e->heap_at;

    if (at == SPOOL_SCHEDULE_NOWHERE)
        return;
    assert(at < t->heap_count && t->heap[at] == e);
    e->heap_at = SPOOL_SCHEDULE_NOWHERE;
    struct schedule_entry *last = t->heap[--t->heap_count];
    if (last == e)
        return;
    heap_set(t, at, last);
    heap_moved(t, last);
}

bool spool_schedule_heap_reserve(struct schedule_target *t)
{
    if (t->entry_count < t->heap_capacity)
        return true;
    size_t capacity = t->heap_capacity == 0 ? HEAP_FIRST : 2 * t->heap_capacity;
    struct schedule_entry **grown = mem_grow(t->heap, capacity * sizeof(struct schedule_entry *));
    if (grown == NULL || capacity >= SPOOL_SCHEDULE_NOWHERE)
        return false;
    t->heap = grown;
    t->heap_capacity = capacity;
    return true;
}
