/* SPDX-License-Identifier: BSD-2-Clause */
/* What came of a delivery could not be written: it is kept, with the lock held, and written later.
 * What the target said must be written, or it is said again. */
#include <assert.h>

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

    assert(d->state == DELIVERY_GATHERING || d->state == DELIVERY_RESTING);
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

/* ---- what operators ask meanwhile ---- */

static bool is_resting(const struct delivery *d)
{
    return d->state == DELIVERY_RESTING && d->error != 0;
}

int delivery_write_error(const struct runner *r, const struct runner_message *known)
{
    int error = 0;

    LIST_EACH (link, &r->deliveries) {
        const struct delivery *d = LIST_ENTRY(link, struct delivery, in_runner);
        if (d->known != known)
            continue;
        if (!is_resting(d) || d->file->is_in_use)
            return 0;
        error = d->error;
    }
    return error;
}

bool delivery_write_now(struct runner *r, const struct schedule_entry *e)
{
    LIST_EACH (link, &r->deliveries) {
        struct delivery *d = LIST_ENTRY(link, struct delivery, in_runner);
        if (d->entry != e || !is_resting(d))
            continue;
        delivery_hurry(d);
        return true;
    }
    return false;
}

/* One of those that have the message. */
static struct delivery *delivery_of(const struct runner *r, const struct runner_message *known)
{
    struct delivery *found = NULL;

    LIST_EACH (link, &r->deliveries) {
        struct delivery *d = LIST_ENTRY(link, struct delivery, in_runner);
        if (d->known == known)
            found = d;
    }
    assert(found != NULL);
    return found;
}

struct store_place delivery_lend(struct runner *r, const struct runner_message *known)
{
    const struct delivery *d = delivery_of(r, known);

    d->file->is_in_use = true;
    return d->place;
}

void delivery_take_back(struct runner *r, const struct runner_message *known, bool is_gone)
{
    struct delivery *lender = delivery_of(r, known);

    lender->file->is_gone = is_gone;
    delivery_release_file(lender);
    if (!is_gone)
        return;
    LIST_EACH (link, &r->deliveries) {
        struct delivery *d = LIST_ENTRY(link, struct delivery, in_runner);
        if (d->known == known)
            delivery_hurry(d);
    }
}
