/* SPDX-License-Identifier: BSD-2-Clause */
/* What a branch tells its carrier while it goes on. */
#ifndef POSTERN_RELAY_REPORT_H
#define POSTERN_RELAY_REPORT_H

#include <stdbool.h>

struct event;
struct relay_branch;

/* False: the carrier has dropped the branch meanwhile; its memory is gone perhaps. */
bool relay_report(struct relay_branch *w, struct event *ev);
/* The same. Legal when ev->rcpt awaits the reply to its RCPT. */
bool relay_report_answer(struct relay_branch *w, struct event *ev);

/* Why there is no connection, or none any more, for the operator: an error, or the code of a reply
 * that was no greeting; 0: not known. */
void relay_report_note_error(struct relay_branch *w, int error);
/* Open recipients are answered in the target's stead. False: the branch is gone. */
bool relay_report_stead(struct relay_branch *w);

#endif
