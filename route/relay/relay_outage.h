/* SPDX-License-Identifier: BSD-2-Clause */
/* What is said in a target's stead while it cannot be reached. */
#ifndef POSTERN_RELAY_OUTAGE_H
#define POSTERN_RELAY_OUTAGE_H

#include <stdbool.h>

struct event;
struct recipient;
struct relay_branch;

/* Are recipients answered in the target's stead, since what is accepted can go into the spool? */
bool relay_outage_answers(const struct relay_branch *w);
/* The answer to this recipient: its reply, its fate, and whether the target has said so. */
struct event relay_outage_answer(const struct relay_branch *w, struct recipient *rcpt);

#endif
