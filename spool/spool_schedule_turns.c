/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries that are ready at a target, by turns of their senders. */
#include <assert.h>

#include "spool/spool_schedule_private.h"

#define GIVEN_BACK_MAX 256 /* entries looked at to find a place */

static struct turn *turn_of(struct schedule_target *t, const struct schedule_entry *e)
{
    return &t->turns[e->sender % SPOOL_SCHEDULE_TURNS];
}

/* The place of an entry that is given back: behind those that came before it. It was given out
 * lately, so that only few of them are ahead. */
static struct list *place_of(struct turn *turn, const struct schedule_entry *e)
{
    struct list *link = turn->ready.next;

    for (int i = 0; i < GIVEN_BACK_MAX && link != &turn->ready; i++, link = link->next) {
        const struct schedule_entry *other = LIST_ENTRY(link, struct schedule_entry, in_queue);
        if (memcmp(other->id.text, e->id.text, ID_LENGTH) >= 0)
            break;
    }
    return link;
}

void spool_schedule_make_ready(struct schedule_target *t, struct schedule_entry *e,
                               enum spool_schedule_place where)
{
    struct turn *turn = turn_of(t, e);

    assert(e->state == SCHEDULE_WAITING);
    e->state = SCHEDULE_READY;
    list_remove(&e->in_queue);
    if (list_is_empty(&turn->ready))
        list_append(&t->ring, &turn->in_ring);
    if (where == SPOOL_SCHEDULE_FIRST)
        list_prepend(&turn->ready, &e->in_queue);
    else
        list_append(where == SPOOL_SCHEDULE_AS_IT_CAME ? place_of(turn, e) : &turn->ready,
                    &e->in_queue);
}

void spool_schedule_leave_turn(struct schedule_target *t, struct schedule_entry *e)
{
    struct turn *turn = turn_of(t, e);

    assert(e->state == SCHEDULE_READY && !list_is_empty(&turn->ready));
    list_remove(&e->in_queue);
    if (list_is_empty(&turn->ready))
        list_remove(&turn->in_ring);
}

struct schedule_entry *spool_schedule_next_in_turn(struct schedule_target *t)
{
    assert(!list_is_empty(&t->ring));
    struct turn *turn = LIST_ENTRY(t->ring.next, struct turn, in_ring);
    assert(!list_is_empty(&turn->ready));
    struct schedule_entry *e = LIST_ENTRY(turn->ready.next, struct schedule_entry, in_queue);

    spool_schedule_leave_turn(t, e);
    if (!list_is_empty(&turn->ready)) {
        list_remove(&turn->in_ring);
        list_append(&t->ring, &turn->in_ring);
    }
    return e;
}
