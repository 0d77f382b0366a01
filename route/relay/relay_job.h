/* SPDX-License-Identifier: BSD-2-Clause */
/* What a branch has said on its connection beside commands and content: who the client is, and the
 * Received field. */
#ifndef POSTERN_RELAY_JOB_H
#define POSTERN_RELAY_JOB_H

#include <stdbool.h>

#include "proxy/base/bytes.h"
#include "proxy/smtp/outbound.h"

struct relay_branch;

/* XCLIENT will be said, and the client's name is not known yet. */
bool relay_job_waits_for_name(const struct relay_branch *w);
/* For outbound_begin(): fills in what the branch notes of its connection too. False: the client's
 * identity must be handed on, and cannot be: *missing_out has those enum identity_kind bits. */
bool relay_job_make(struct relay_branch *w, struct outbound_job *job_out, unsigned *missing_out);
/* Our own Received field and an empty line, where it is wanted. Without memory for it the message
 * goes without. */
struct bytes relay_job_received(const struct relay_branch *w);

#endif
