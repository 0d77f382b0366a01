/* SPDX-License-Identifier: BSD-2-Clause */
/* All filters of a configuration that a listener or a target names. */
#ifndef POSTERN_FILTERS_H
#define POSTERN_FILTERS_H

#include "filters/chain.h"
#include "filters/filter_kind.h"
#include "proxy/config/config.h"

struct filters {
    struct arena *arena;
    struct filter_services services;
    struct filter **all;
    struct filter_choice *choices; /* each with the filter of the same index */
    size_t count;
};

/* `config` and `arena` outlive the filters. 0, or an error: filters_close() and filters_done() are
 * due all the same. */
int filters_init(struct filters *f, const struct config *config,
                 const struct filter_services *services, struct arena *arena);
void filters_close(struct filters *f); /* no chain is walked any more: nothing keeps the loop */
void filters_done(struct filters *f);  /* after the loop has ended */

/* The filters of these choices; none in a process that serves no clients, where filters_init() was
 * not called. 0 or ERR_MEMORY. */
int filters_chain(const struct filters *f, const struct filter_choices *choices,
                  struct chain *chain_out);

#endif
