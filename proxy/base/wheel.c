/* SPDX-License-Identifier: BSD-2-Clause */
/* Every entry lies in a slot that the wheel reaches at or before the entry's own tick. A slot that
 * holds one is marked; a mark may outlive the entry, until the wheel has passed. */
#include "proxy/base/wheel.h"

/* The first tick at which `due_ms` is past: late by less than a tick, never early. */
static uint64_t tick_of(uint64_t due_ms)
{
    return due_ms / WHEEL_TICK_MS + (due_ms % WHEEL_TICK_MS != 0);
}

static struct list *slot_of(struct wheel *w, uint64_t tick)
{
    return &w->slots[tick % WHEEL_SLOTS];
}

static uint64_t *marks_of(struct wheel *w, uint64_t tick)
{
    return &w->marks[tick % WHEEL_SLOTS / 64];
}

/* The first tick from `tick` on whose slot is marked, within one turn of the wheel, or the tick
 * where that ends. */
static uint64_t next_marked(const struct wheel *w, uint64_t tick)
{
    uint64_t end = w->now_tick + WHEEL_SLOTS;

    while (tick < end) {
        uint64_t marks = w->marks[tick % WHEEL_SLOTS / 64] >> tick % 64;

        if (marks != 0) {
            tick += (uint64_t)__builtin_ctzll(marks);
            break;
        }
        tick += 64 - tick % 64;
    }
    return tick < end ? tick : end;
}

/* Puts an entry where its tick is looked at next; what is past waits for the next tick, so that
 * a handler which arms a past deadline cannot keep the caller of wheel_next_due() for ever. */
static void place(struct wheel *w, struct wheel_entry *e)
{
    uint64_t tick = tick_of(e->due_ms);

    if (tick <= w->now_tick)
        tick = w->now_tick + 1;
    list_append(slot_of(w, tick), &e->link);
    *marks_of(w, tick) |= UINT64_C(1) << tick % 64;
}

void wheel_init(struct wheel *w, uint64_t now_ms)
{
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        list_init(&w->slots[i]);
    list_init(&w->due);
    memset(w->marks, 0, sizeof(w->marks));
    w->now_tick = now_ms / WHEEL_TICK_MS;
    w->armed = 0;
}

void wheel_entry_init(struct wheel_entry *e)
{
    list_init(&e->link);
    e->due_ms = 0;
}

void wheel_set(struct wheel *w, struct wheel_entry *e, uint64_t due_ms)
{
    bool is_armed = !list_is_empty(&e->link);

    if (is_armed && due_ms >= e->due_ms) {
        e->due_ms = due_ms;
        return;
    }
    if (!is_armed)
        w->armed++;
    list_remove(&e->link);
    e->due_ms = due_ms;
    place(w, e);
}

void wheel_clear(struct wheel *w, struct wheel_entry *e)
{
    if (list_is_empty(&e->link))
        return;
    assert(w->armed > 0);
    list_remove(&e->link);
    w->armed--;
}

/* Sorts the slot of now_tick: due, moved later, or meant for a later turn of the wheel. */
static void open_slot(struct wheel *w)
{
    struct list *slot = slot_of(w, w->now_tick);

    LIST_EACH (link, slot) {
        struct wheel_entry *e = LIST_ENTRY(link, struct wheel_entry, link);
        uint64_t tick = tick_of(e->due_ms);

        if (tick <= w->now_tick) {
            list_remove(link);
            list_append(&w->due, link);
        } else if (slot_of(w, tick) != slot) {
            list_remove(link);
            place(w, e);
        }
    }
    if (list_is_empty(slot))
        *marks_of(w, w->now_tick) &= ~(UINT64_C(1) << w->now_tick % 64);
}

/* What was found due may have been moved later since. */
static struct wheel_entry *take_due(struct wheel *w)
{
    struct list *link;

    while ((link = list_first(&w->due)) != NULL) {
        struct wheel_entry *e = LIST_ENTRY(link, struct wheel_entry, link);

        list_remove(link);
        if (tick_of(e->due_ms) <= w->now_tick) {
            assert(w->armed > 0);
            w->armed--;
            return e;
        }
        place(w, e);
    }
    return NULL;
}

struct wheel_entry *wheel_next_due(struct wheel *w, uint64_t now_ms)
{
    uint64_t target_tick = now_ms / WHEEL_TICK_MS;
    struct wheel_entry *e;

    while ((e = take_due(w)) == NULL && w->now_tick < target_tick) {
        uint64_t tick;

        /* After a long pause one turn shows every slot. */
        if (target_tick - w->now_tick > WHEEL_SLOTS)
            w->now_tick = target_tick - WHEEL_SLOTS;
        tick = next_marked(w, w->now_tick + 1);
        w->now_tick = tick < target_tick ? tick : target_tick;
        open_slot(w);
    }
    return e;
}

uint64_t wheel_wake_ms(const struct wheel *w)
{
    uint64_t tick = w->now_tick + 1;

    if (w->armed == 0)
        return UINT64_MAX;
    if (!list_is_empty(&w->due))
        return w->now_tick * WHEEL_TICK_MS;
    while ((tick = next_marked(w, tick)) < w->now_tick + WHEEL_SLOTS &&
           list_is_empty(&w->slots[tick % WHEEL_SLOTS]))
        tick++;
    return tick * WHEEL_TICK_MS;
}
