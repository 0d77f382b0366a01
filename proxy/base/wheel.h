/* SPDX-License-Identifier: BSD-2-Clause */
/* A hashed timer wheel: many deadlines, most of which are moved and never reached. */
#ifndef POSTERN_WHEEL_H
#define POSTERN_WHEEL_H

#include <stdint.h>

#include "proxy/base/list.h"

#define WHEEL_SLOTS   512
#define WHEEL_TICK_MS 64 /* a deadline fires up to this late, never early */

/* Embedded in its owner. Not armed: link in no list. */
struct wheel_entry {
    struct list link;
    uint64_t due_ms; /* may be set to a later time directly: the wheel checks it in the slot */
};

struct wheel {
    struct list slots[WHEEL_SLOTS];
    uint64_t marks[WHEEL_SLOTS / 64]; /* a bit for each slot, set where an entry may lie */
    struct list due; /* what now_tick has reached and wheel_next_due() has not yet returned */
    uint64_t now_tick;
    size_t armed;
};

void wheel_init(struct wheel *wheel, uint64_t now_ms);
void wheel_entry_init(struct wheel_entry *entry);
/* Arms the entry or moves it; moving it to a later time only writes the field. */
void wheel_set(struct wheel *wheel, struct wheel_entry *entry, uint64_t due_ms);
void wheel_clear(struct wheel *wheel, struct wheel_entry *entry);
/* Takes one entry that is due off the wheel, or returns NULL. Call until NULL. */
struct wheel_entry *wheel_next_due(struct wheel *wheel, uint64_t now_ms);
/* When to call wheel_next_due() again; UINT64_MAX when nothing is armed. Never later than the
 * earliest deadline plus one tick. */
uint64_t wheel_wake_ms(const struct wheel *wheel);

#endif
