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
    const struct deadline_use *use; /* the owner's callback: one constant object a kind of owner */
};

struct deadline_use {
    void (*reached)(struct deadline *d); /* disarmed already; may set it again, or free the owner */
};

void deadline_init(struct deadline *d, const struct deadline_use *use);
/* Fires once at `due_ms` of loop_now_ms() or up to a wheel tick later. Setting it again moves it;
 * moving to a later time only writes a field. */
void deadline_set(struct loop *l, struct deadline *d, uint64_t due_ms);
void deadline_clear(struct loop *l, struct deadline *d); /* not armed: nothing happens */

#endif
