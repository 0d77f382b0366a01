/* SPDX-License-Identifier: BSD-2-Clause */
/* The recipients of a branch: which there are, and how each stands. */
#ifndef POSTERN_RELAY_RECIPIENT_H
#define POSTERN_RELAY_RECIPIENT_H

#include <stdbool.h>

#include "proxy/smtp/reply.h"

struct recipient;
struct relay_branch;

/* The recipients that rcpt() has brought so far, in order; `rcpt` NULL: the first. NULL: no more.
 */
struct recipient *relay_recipient_next(const struct relay_branch *w, const struct recipient *rcpt);

#define RELAY_EACH_RECIPIENT(rcpt, w)                                                              \
    for (struct recipient *rcpt = relay_recipient_next(w, NULL); rcpt != NULL;                     \
         rcpt = relay_recipient_next(w, rcpt))

/* Its RCPT was accepted, by every target of its list, and it has not failed since. */
bool relay_recipient_stands(const struct recipient *rcpt);
/* No other recipient stands, nor waits for an answer. */
bool relay_recipient_is_last(const struct relay_branch *w, const struct recipient *rcpt);
/* The reply in the target's stead, where the target does not see the client on this connection;
 * REPLY_OK: there is none. */
enum reply_id relay_recipient_guard(const struct relay_branch *w, const struct recipient *rcpt);
bool relay_recipient_is_guarded(const struct relay_branch *w, const struct recipient *rcpt);
/* Must RCPT be sent for it on this connection, possibly again after a replay? */
bool relay_recipient_is_wanted(const struct relay_branch *w, const struct recipient *rcpt);
/* The same of any of them. */
bool relay_recipient_is_any_wanted(const struct relay_branch *w);
/* Is there any that was accepted in an outage (`is_unverified`), or any that was not? All count,
 * whether they were brought yet or not. */
bool relay_recipient_is_any(const struct relay_branch *w, bool is_unverified);

#endif
