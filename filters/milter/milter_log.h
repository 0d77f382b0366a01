/* SPDX-License-Identifier: BSD-2-Clause */
/* Log lines about a milter: what was agreed on, which address cannot be reached, what it may not
 * do. One line for each news, not for each connection. */
#ifndef POSTERN_MILTER_LOG_H
#define POSTERN_MILTER_LOG_H

#include "filters/filter_kind.h"
#include "filters/milter/milter_link.h"

struct milter_log {
    struct filter_services *services;
    const struct milter_conf *conf;
    struct milter_terms terms; /* that were logged; version 0: none */
    size_t address;            /* of those in the settings, to which that connection led */
    bool *is_down;             /* for each address */
    uint32_t ignored;          /* edits that it may not make: FILTER_EDIT() bits, logged */
};

/* False: no memory. */
bool milter_log_init(struct milter_log *log, struct filter_services *services,
                     const struct milter_conf *conf);
void milter_log_done(struct milter_log *log);

void milter_log_agreed(struct milter_log *log, const struct milter_link *link, uint32_t beyond);
void milter_log_unreached(struct milter_log *log, const struct milter_link *link, int error);
void milter_log_ignored(struct milter_log *log, enum filter_edit_kind kind);

#endif
