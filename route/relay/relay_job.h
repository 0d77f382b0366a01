/* SPDX-License-Identifier: BSD-2-Clause */
/* What we say for a branch on its connection, apart from its recipients and content: who the client
 * is, and the Received field. */
#ifndef POSTERN_RELAY_JOB_H
#define POSTERN_RELAY_JOB_H

#include <stdbool.h>

#include "proxy/base/bytes.h"
#include "proxy/smtp/outbound.h"

struct relay_asker;
struct relay_branch;
struct relay_link;

/* XCLIENT will be sent, and the client's name is not known yet. */
bool relay_job_waits_for_name(const struct relay_asker *a, const struct relay_link *link);
/* For outbound_introduce(). False: as below. */
bool relay_job_introduce(const struct relay_asker *a, const struct relay_link *link,
                         struct outbound_job *job_out, unsigned *missing_out);
/* The job for outbound_begin(). Notes in the branch how its connection identifies the client.
 * False: the client's identity must be handed on, and cannot be; *missing_out has the enum
 * identity_kind bits that are not on offer. */
bool relay_job_make(struct relay_branch *w, struct outbound_job *job_out, unsigned *missing_out);
/* Our own Received field; nothing where the target is to get none. 0 or ERR_MEMORY. */
int relay_job_received(const struct relay_branch *w, struct bytes *received_out);

#endif
