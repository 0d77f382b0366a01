/* SPDX-License-Identifier: BSD-2-Clause */
/* Deadlines: any number of them on one wheel and one timer per loop. */
#ifndef POSTERN_DEADLINE_H
#define POSTERN_DEADLINE_H

#include <stdint.h>

#include "proxy/base/wheel.h"
#include "proxy/io/loop.h"

/* Embedded in its owner, initialized once, cleared before the owner goes. */
struct deadline {
    struct wheel_entry entry;
    const struct deadline_use
        *use; /* the owner's callback, in one constant for each kind of owner */
};

struct deadline_use {
    /* The deadline is disarmed by then; it may be set again, and its owner may be freed. */
    void (*reached)(struct deadline *deadline);
};

void deadline_init(struct deadline *deadline, const struct deadline_use *use);
/* Legal when the deadline is initialized. Fires once at `due_ms` of loop_now_ms() or up to a wheel
 * tick later. Setting it again moves it; moving to a later time only writes a field. */
void deadline_set(struct loop *loop, struct deadline *deadline, uint64_t due_ms);
/* Legal when the deadline is initialized. Does nothing to one that is not armed. */
void deadline_clear(struct loop *loop, struct deadline *deadline);

#endif
