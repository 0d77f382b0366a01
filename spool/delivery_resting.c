/* SPDX-License-Identifier: BSD-2-Clause */
/* Deliveries whose outcome could not be written wait with the lock held until it can be. This is
 * what operators may do with them meanwhile. */
#include <assert.h>

#include "spool/delivery_private.h"

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

/* One of the deliveries that have the message. */
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

    assert(is_resting(d) && !d->file->is_in_use);
    d->file->is_in_use = true;
    return d->place;
}

void delivery_take_back(struct runner *r, const struct runner_message *known, bool is_gone)
{
    struct delivery *lender = delivery_of(r, known);

    assert(lender->file->is_in_use);
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
