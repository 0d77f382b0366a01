/* SPDX-License-Identifier: BSD-2-Clause */
/* Our own credentials at one target: which mechanism, and what is said. */
#ifndef POSTERN_RELAY_AUTH_H
#define POSTERN_RELAY_AUTH_H

#include <stdbool.h>

#include "proxy/base/setting.h"
#include "proxy/io/sasl_client.h"
#include "proxy/smtp/outbound.h"

struct relay;
struct relay_auth; /* one exchange */
struct relay_conf;

/* See target_kind.load and secret. */
int relay_auth_load(struct setting_reading *section);
struct secret *relay_auth_secret(void *conf);
bool relay_auth_is_needed(const struct relay_conf *conf);

/* Error 0: the line, which is wiped when the function has returned. */
typedef void (*relay_auth_said)(void *owner, const struct sasl_client_line *line, int error);

/* With the best mechanism that the target announces and that may be used on this connection. NULL:
 * see *error_out. */
struct relay_auth *relay_auth_new(struct relay *r, const struct outbound *out, relay_auth_said said,
                                  void *owner, int *error_out);
/* Finds out what answers `challenge`, the target's reply; code 0: what is said first. Calls `said`
 * later. False: no memory. Legal when that is not being found out. */
bool relay_auth_step(struct relay_auth *auth, const struct reply *challenge);
const char *relay_auth_mechanism(const struct relay_auth *auth);
/* Its owner is told nothing more. NULL is fine. */
void relay_auth_leave(struct relay_auth **held);

/* Do the target's words hold our password or token, plain or in base64? Nobody may see them. */
bool relay_auth_is_in(const struct relay *r, struct bytes words);
#define RELAY_AUTH_COVER_MAX 64
/* Takes such words off a reply, which keeps its codes and gets words of our own in `cover`. */
void relay_auth_withhold(const struct relay *r, struct reply *reply,
                         char cover[RELAY_AUTH_COVER_MAX]);

#endif
