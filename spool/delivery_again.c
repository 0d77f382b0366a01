/* SPDX-License-Identifier: BSD-2-Clause */
/* What came of a delivery could not be written: it is kept, with the lock held, and written later.
 * What the target said must be written, or it is said again. */
#include "spool/delivery_private.h"

#define AGAIN_MS       10000
#define DOUBLINGS_MAX  6 /* of that pause: ten minutes and more */
#define ASIDE_FAILURES 3 /* in a row: it is the file that is bad, not the moment */
#define ASIDE_MAX      64

/* One file that takes nothing does not keep its place at its target. A disk that takes nothing
 * stops deliveries all the same: only so many are set aside. */
static void set_aside(struct delivery *d)
{
    struct runner *r = d->runner;

    if (d->writing.is_aside || r->aside_count == ASIDE_MAX)
        return;
    d->writing.is_aside = true;
    r->aside_count++;
    schedule_set_aside(d->entry);
    runner_pump_later(r);
}

void delivery_again(struct delivery *d)
{
    struct loop *l = d->runner->host.loop;
    unsigned doublings = d->writing.failures < DOUBLINGS_MAX ? d->writing.failures : DOUBLINGS_MAX;

    if (++d->writing.failures >= ASIDE_FAILURES)
        set_aside(d);
    deadline_set(l, &d->deadline,
                 loop_now_ms(l) + (d->runner->is_aborted ? 0 : (uint64_t)AGAIN_MS << doublings));
}

void delivery_end_aside(struct delivery *d)
{
    if (d->writing.is_aside)
        d->runner->aside_count--;
}
