/* SPDX-License-Identifier: BSD-2-Clause */
/* Every entry lies in a slot that the wheel reaches at or before the entry's own tick. A slot that
 * holds an entry is marked; the mark may stay after the entry is gone, until the wheel passes the
 * slot. */
#include "proxy/base/wheel.h"

/* The first tick at which `due_ms` is past: late by less than a tick, never early. */
static uint64_t tick_of(uint64_t due_ms)
{
    return due_ms / WHEEL_TICK_MS + (due_ms % WHEEL_TICK_MS != 0);
}

static struct list *slot_of(struct wheel *wheel, uint64_t tick)
{
    return &wheel->slots[tick % WHEEL_SLOTS];
}

static uint64_t *marks_of(struct wheel *wheel, uint64_t tick)
{
    return &wheel->marks[tick % WHEEL_SLOTS / 64];
}

/* The first tick from `tick` on whose slot is marked, or the end of the wheel's turn. */
static uint64_t next_marked(const struct wheel *wheel, uint64_t tick)
{
    uint64_t end = wheel->now_tick + WHEEL_SLOTS;

    while (tick < end) {
        uint64_t marks = wheel->marks[tick % WHEEL_SLOTS / 64] >> tick % 64;

        if (marks != 0) {
            tick += (uint64_t)__builtin_ctzll(marks);
            break;
        }
        tick += 64 - tick % 64;
    }
    return tick < end ? tick : end;
}

/* Puts an entry into the slot of its tick. A tick that is past becomes the next one, so that a
 * handler that arms a past deadline cannot keep the caller of wheel_next_due() for ever. */
static void insert(struct wheel *wheel, struct wheel_entry *entry)
{
    uint64_t tick = tick_of(entry->due_ms);

    if (tick <= wheel->now_tick)
        tick = wheel->now_tick + 1;
    list_append(slot_of(wheel, tick), &entry->link);
    *marks_of(wheel, tick) |= UINT64_C(1) << tick % 64;
}

void wheel_init(struct wheel *wheel, uint64_t now_ms)
{
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        list_init(&wheel->slots[i]);
    list_init(&wheel->due);
    memset(wheel->marks, 0, sizeof(wheel->marks));
    wheel->now_tick = now_ms / WHEEL_TICK_MS;
    wheel->armed = 0;
}

void wheel_entry_init(struct wheel_entry *entry)
{
    list_init(&entry->link);
    entry->due_ms = 0;
}

void wheel_set(struct wheel *wheel, struct wheel_entry *entry, uint64_t due_ms)
{
    bool is_armed = !list_is_empty(&entry->link);

    if (is_armed && due_ms >= entry->due_ms) {
        entry->due_ms = due_ms;
        return;
    }
    if (!is_armed)
        wheel->armed++;
    list_remove(&entry->link);
    entry->due_ms = due_ms;
    insert(wheel, entry);
}

void wheel_clear(struct wheel *wheel, struct wheel_entry *entry)
{
    if (list_is_empty(&entry->link))
        return;
    assert(wheel->armed > 0);
    list_remove(&entry->link);
    wheel->armed--;
}

/* Sorts the entries in the slot of now_tick: due, moved to a later slot, or due in a later turn. */
static void open_slot(struct wheel *wheel)
{
    struct list *slot = slot_of(wheel, wheel->now_tick);

    LIST_EACH (link, slot) {
        struct wheel_entry *entry = LIST_ENTRY(link, struct wheel_entry, link);
        uint64_t tick = tick_of(entry->due_ms);

        if (tick <= wheel->now_tick) {
            list_remove(link);
            list_append(&wheel->due, link);
        } else if (slot_of(wheel, tick) != slot) {
            list_remove(link);
            insert(wheel, entry);
        }
    }
    if (list_is_empty(slot))
        *marks_of(wheel, wheel->now_tick) &= ~(UINT64_C(1) << wheel->now_tick % 64);
}

/* An entry that was found due may have been moved to a later time since. */
static struct wheel_entry *take_due(struct wheel *wheel)
{
    struct list *link;

    while ((link = list_first(&wheel->due)) != NULL) {
        struct wheel_entry *entry = LIST_ENTRY(link, struct wheel_entry, link);

        list_remove(link);
        if (tick_of(entry->due_ms) <= wheel->now_tick) {
            assert(wheel->armed > 0);
            wheel->armed--;
            return entry;
        }
        insert(wheel, entry);
    }
    return NULL;
}

struct wheel_entry *wheel_next_due(struct wheel *wheel, uint64_t now_ms)
{
    uint64_t target_tick = now_ms / WHEEL_TICK_MS;
    struct wheel_entry *entry;

    while ((entry = take_due(wheel)) == NULL && wheel->now_tick < target_tick) {
        uint64_t tick;

        /* After a long pause one turn of the wheel visits every slot. */
        if (target_tick - wheel->now_tick > WHEEL_SLOTS)
            wheel->now_tick = target_tick - WHEEL_SLOTS;
        tick = next_marked(wheel, wheel->now_tick + 1);
        wheel->now_tick = tick < target_tick ? tick : target_tick;
        open_slot(wheel);
    }
    return entry;
}

uint64_t wheel_wake_ms(const struct wheel *wheel)
{
    uint64_t tick = wheel->now_tick + 1;

    if (wheel->armed == 0)
        return UINT64_MAX;
    if (!list_is_empty(&wheel->due))
        return wheel->now_tick * WHEEL_TICK_MS;
    while ((tick = next_marked(wheel, tick)) < wheel->now_tick + WHEEL_SLOTS &&
           list_is_empty(&wheel->slots[tick % WHEEL_SLOTS]))
        tick++;
    return tick * WHEEL_TICK_MS;
}
