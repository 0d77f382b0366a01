/* SPDX-License-Identifier: BSD-2-Clause */
/* The decisions: which fate and which reply follow from which. Pure. */
#ifndef POSTERN_OUTCOME_H
#define POSTERN_OUTCOME_H

#include "proxy/smtp/transaction.h"

/* 2xx accepted, 4xx deferred, 5xx refused; anything else FATE_LOST: no answer to a command. */
enum fate outcome_of_code(unsigned code);

/* Deferred, refused, lost or unknown: the recipient does not have the message. */
bool outcome_is_failure(enum fate fate);

/* A recipient is there; it is the head of a list that may grow. */
void outcome_begin_list(struct recipient *head);
/* A leg that has its branch belongs to its head's list. */
void outcome_join_list(struct recipient *leg);
/* The answer to RCPT, once for each. */
void outcome_set_envelope(struct recipient *r, enum fate fate);

/* Must every target of its list take it? Where a relay among them may not be spooled. */
bool outcome_is_all_or_nothing(const struct recipient *r);
/* Is it accepted or discarded so far? All or nothing: with all of its list. */
bool outcome_stands(const struct recipient *r);
/* It has not been refused so far, nor anybody whom it depends on. */
bool outcome_may_stand(const struct recipient *r);

/* After RCPT, for a head: the recipient of its list whose fate and words are the answer. NULL: not
 * all have answered. One that took it (a firm one rather than another), else one that deferred it,
 * else the first that refused it. All or nothing: one that failed comes before all others. */
const struct recipient *outcome_of_envelope(const struct recipient *head);

/* What is left to do for a recipient when every target has spoken, and the message as a whole was
 * accepted. Never for TRANSACTION_QUEUED, nor where the client is gone. */
enum outcome_disposition {
    OUTCOME_NOTHING, /* delivered, discarded, or the client was told that it is refused */
    OUTCOME_SPOOL,   /* lost, unknown, or deferred beside others that were accepted */
    OUTCOME_BOUNCE   /* refused beside others that were accepted, after its RCPT was */
};
enum outcome_disposition outcome_disposition(const struct transaction *t,
                                             const struct recipient *r);
/* Is there anything to be spooled or bounced? */
bool outcome_needs_spool(const struct transaction *t);
/* The same, provided that the message is accepted as a whole. */
bool outcome_would_need_spool(const struct transaction *t);
/* Has some target accepted the message, or is a recipient lost or in doubt, or a branch prepared?
 */
bool outcome_is_taken(const struct transaction *t);

/* The reply to the end of data, counted by recipient over those that stood. Any accepted or
 * spooled: 250 (one target: its own words; something was spooled: ours with the queue id); none: a
 * 4xx if there is one, else the first 5xx. Where a branch may not be spooled a message is all or
 * nothing. */
struct reply outcome_of_message(const struct transaction *t);

#endif
