/* SPDX-License-Identifier: BSD-2-Clause */
/* One AUTH exchange (RFC 4954) with a server that is to learn who we are: what is said, line by
 * line.
 */
#ifndef POSTERN_SASL_CLIENT_H
#define POSTERN_SASL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/bytes.h"

struct sasl_client; /* opaque */

/* What is said next, with its line end. */
struct sasl_client_line {
    char *at;
    size_t len;
    bool is_proof; /* the server may say 235 to it */
};

/* `mechanism`, a constant: PLAIN, LOGIN or SCRAM-SHA-256 (RFC 7677: the server has to prove that it
 * knows the password, too), and `secret` is the password; XOAUTH2 (Google's and Microsoft's) or
 * OAUTHBEARER (RFC 7628), and it is a token. Both are copied, and wiped by sasl_client_free().
 * NULL: no memory. */
struct sasl_client *sasl_client_new(const char *mechanism, struct bytes user, struct bytes secret);
void sasl_client_free(struct sasl_client *sasl); /* NULL is fine */

/* Takes up to a second of a processor: for a job. `challenge`: what stands behind 334, and "" at
 * first. 0, or: ERR_GARBAGE; ERR_AUTH_PROOF; ERR_AUTH_ROUNDS; ERR_MEMORY; and at first, with
 * SCRAM-SHA-256, ERR_AUTH_PASSWORD and ERR_AUTH_USER. */
int sasl_client_step(struct sasl_client *sasl, const char *challenge,
                     struct sasl_client_line *line_out);
void sasl_client_wipe(struct sasl_client_line *line); /* and frees it */

#endif
