/* SPDX-License-Identifier: BSD-2-Clause */
/* The filters of a process, and the chains of those that a listener or a target names. */
#ifndef POSTERN_FILTERS_H
#define POSTERN_FILTERS_H

#include "filters/chain.h"
#include "filters/filter_kind.h"

struct filters {
    struct arena *arena; /* NULL: the process serves no clients */
    struct filter_services services;
    struct opened_filter *first;
};

/* `arena` outlives the filters. */
void filters_init(struct filters *f, const struct filter_services *services, struct arena *arena);
void filters_close(struct filters *f); /* no chain is walked any more: nothing keeps the loop */
void filters_done(struct filters *f);  /* after the loop has ended */

/* The filters of these choices, which outlive them; opens those that nobody has named before. None
 * in a process that serves no clients, where filters_init() was not called. 0, or an error:
 * filters_close() and filters_done() are due all the same. */
int filters_chain(struct filters *f, const struct filter_choices *choices, struct chain *chain_out);

#endif
