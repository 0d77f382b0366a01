/* SPDX-License-Identifier: BSD-2-Clause */
/* One branch of a transaction at a relay: it asks for a connection, and reports what comes of it.
 */
#ifndef POSTERN_RELAY_BRANCH_H
#define POSTERN_RELAY_BRANCH_H

#include <stdbool.h>
#include <stdint.h>

struct branch;
struct carrier;
struct recipient;
struct relay_branch;

void relay_branch_init(struct relay_branch *w, struct carrier *c, struct branch *b);
/* Nothing points at it any more, and nothing is reported. */
void relay_branch_detach(struct relay_branch *w);
/* It needs a connection: now, or when one is to be had. */
void relay_branch_ask(struct relay_branch *w);
/* Legal when it is ACTIVE: this recipient too, unless it is guarded. */
void relay_branch_send(struct relay_branch *w, struct recipient *rcpt);
/* Legal when it is NAMING: the client's name is known, or has been waited for long enough. */
void relay_branch_named(struct relay_branch *w);
/* Call it when `unanswered` or the state has changed. */
void relay_branch_update_deadline(struct relay_branch *w);

/* Reports what could not be reported when it became known: guards, and a failure. False: the branch
 * is gone, its memory perhaps too. */
bool relay_branch_report_due(struct relay_branch *w);

/* ---- others wait for a connection: from relay_yield.c ---- */

/* Nothing of the message has been freed. */
bool relay_branch_may_begin_anew(const struct relay_branch *w);
/* The connection is taken back until the message is whole; or, where it may not begin anew, for
 * good. */
void relay_branch_yield(struct relay_branch *w);

#endif
