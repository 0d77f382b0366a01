/* SPDX-License-Identifier: BSD-2-Clause */
/* The spool file of one transaction: prepared before any relay has the end, committed when all have
 * spoken. Answers by EV_PREPARED and EV_COMMITTED without a branch. */
#ifndef POSTERN_SETTLE_H
#define POSTERN_SETTLE_H

struct bridge;
struct settle; /* a job that runs */

/* The copy must be finished. */
void settle_prepare(struct bridge *b);
/* Writes the recipients that outcome_disposition() names, makes the file durable and hands it to
 * the runner; then logs `spooled`. */
void settle_commit(struct bridge *b);
/* The transaction is over. What is still under way keeps the copy, and ends by itself. */
void settle_detach(struct bridge *b);

#endif
