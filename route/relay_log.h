/* SPDX-License-Identifier: BSD-2-Clause */
/* What relays log beside the closing line of a transaction. */
#ifndef POSTERN_RELAY_LOG_H
#define POSTERN_RELAY_LOG_H

#include "proxy/io/stream.h"
#include "proxy/smtp/reply.h"
#include "route/relay_resolve.h"

struct relay;

/* target-down. `reply`: a greeting that was no 220; NULL: `error` says why. */
void relay_log_down(struct relay *r, const struct stream_target *to, int error,
                    const struct reply *reply);
void relay_log_down_unresolved(struct relay *r);
/* target-up; `to` NULL: its name leads somewhere again. */
void relay_log_up(struct relay *r, const struct stream_target *to, uint64_t seconds);
/* Once in a while: `heard` is what the target said to XCLIENT; NULL: it does not announce it. */
void relay_log_identity_failed(struct relay *r, const struct reply *heard);
/* Once: auto, and the target announces neither. */
void relay_log_no_identity(struct relay *r);
/* A reply that means that we or the operator erred. */
void relay_log_confused(struct relay *r, const struct stream_target *to, const struct reply *heard);

#endif
