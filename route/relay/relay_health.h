/* SPDX-License-Identifier: BSD-2-Clause */
/* The circuit of each address: a failed attempt opens it, only a probe closes it again. */
#ifndef POSTERN_RELAY_HEALTH_H
#define POSTERN_RELAY_HEALTH_H

#include <stdbool.h>

#include "proxy/io/stream.h"
#include "proxy/smtp/reply.h"

struct relay;

void relay_health_init(struct relay *r);
void relay_health_done(struct relay *r);
/* No connection came about. `reply`: a greeting that was no 220, or no reply at all (code 0); NULL:
 * `error` says why. */
void relay_health_failed(struct relay *r, const struct stream_target *to, int error,
                         const struct reply *reply);
/* The names lead nowhere; or somewhere again, or to where it was not tried yet. */
void relay_health_unresolved(struct relay *r);
void relay_health_resolved(struct relay *r);
/* Greeted and EHLOed. */
void relay_health_worked(struct relay *r, const struct stream_target *to);
/* Asks now, beside the probes' own pace. Nothing is down: nothing happens. */
void relay_health_probe(struct relay *r);
/* There is no address that could be tried: answer at once. */
bool relay_health_is_down(const struct relay *r);

#endif
