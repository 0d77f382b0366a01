/* SPDX-License-Identifier: BSD-2-Clause */
/* Take-over: the spool file of one transaction is prepared before any relay has the end of data,
 * and committed when all have answered. Reports EV_PREPARED and EV_COMMITTED without a branch. */
#ifndef POSTERN_TAKEOVER_H
#define POSTERN_TAKEOVER_H

struct bridge;
struct takeover; /* a job that runs */

/* The copy must be finished. */
void takeover_prepare(struct bridge *b);
/* Writes the recipients that outcome_disposition() names, makes the file durable and hands it to
 * the runner; then logs `spooled`. */
void takeover_commit(struct bridge *b);
/* The transaction is over. A job that still runs keeps the copy, and ends by itself. */
void takeover_detach(struct bridge *b);

#endif
