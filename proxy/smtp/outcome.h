/* SPDX-License-Identifier: BSD-2-Clause */
/* The decisions: which fates and replies follow from those of the targets. Pure. */
#ifndef POSTERN_OUTCOME_H
#define POSTERN_OUTCOME_H

#include "proxy/smtp/transaction.h"

/* 2xx accepted, 4xx deferred, 5xx refused; anything else FATE_LOST: no answer to a command. */
enum fate outcome_of_code(unsigned code);

/* Deferred, refused, lost or unknown: the recipient does not have the message. */
bool outcome_is_failure(enum fate fate);

/* A new recipient is the head of a list that may grow. */
void outcome_begin_list(struct recipient *head);
/* Adds a leg, which has its branch, to its head's list. */
void outcome_join_list(struct recipient *leg);
/* The answer to RCPT, once for each. */
void outcome_set_envelope(struct recipient *r, enum fate fate);

/* What became of the recipient, at its RCPT or at the end. */
enum fate outcome_fate(const struct recipient *r);

/* Must every target of its list take the recipient? So where one of them is firm and may not be
 * spooled. */
bool outcome_is_all_or_nothing(const struct recipient *r);
/* Is the recipient accepted or discarded so far? Where all or nothing: are all of its list? */
bool outcome_stands(const struct recipient *r);
/* May it still stand? Neither it nor, where all or nothing, another of its list has failed. */
bool outcome_may_stand(const struct recipient *r);

/* After RCPT, for a head: the leg whose fate and words are the answer to the client; NULL: some
 * have no answer yet. It is one that was accepted (at a firm target rather than another), else one
 * that was deferred, else the first that was refused. Where all or nothing, one that failed comes
 * before all others. */
const struct recipient *outcome_of_envelope(const struct recipient *head);

/* What is left to do for a recipient when every target has answered, and the message as a whole was
 * accepted. Nothing for TRANSACTION_QUEUED, or where the client is gone. */
enum outcome_disposition {
    OUTCOME_NOTHING, /* delivered, discarded, or its RCPT was not accepted */
    OUTCOME_SPOOL,   /* lost, unknown, or deferred while others were accepted */
    OUTCOME_BOUNCE,  /* refused at the end, though its RCPT was accepted */
    OUTCOME_REPORT,  /* accepted; the sender wants to know, and the target does not tell him */
    OUTCOME_HOLD     /* as both of these, or it stood, where a filter has quarantined the message */
};
enum outcome_disposition outcome_disposition(const struct transaction *t,
                                             const struct recipient *r);
/* Why the message is quarantined for this recipient, who has a branch. NULL: it is not. */
const struct quarantine *outcome_quarantine(const struct transaction *t, const struct recipient *r);
/* TRANSACTION_EACH: does the client hear 250 for this list? Nothing that can be undone appears
 * otherwise. */
bool outcome_is_list_taken(const struct transaction *t, const struct recipient *head);
/* ... or may it, when those of its legs have answered that have not yet? */
bool outcome_may_be_taken(const struct transaction *t, const struct recipient *r);
/* TRANSACTION_EACH: does one that a filter added need the spool? The client has heard 250 for
 * others, and would not hear that there is none. */
bool outcome_needs_spool_for_added(const struct transaction *t);
/* Can a recipient get OUTCOME_REPORT, if all goes well from now on? */
bool outcome_may_report(const struct transaction *t);
/* Is there anything to be spooled, bounced, reported or held? */
bool outcome_needs_spool(const struct transaction *t);
/* The same, provided that the message is accepted as a whole. */
bool outcome_would_need_spool(const struct transaction *t);
/* Has a target accepted the message, is a recipient lost or in doubt, or is a branch prepared? */
bool outcome_is_taken(const struct transaction *t);

/* The reply to the end of data, from the outcomes of the recipients that stood. 250 where any was
 * accepted or spooled: in a target's words, or with the queue id in ours where something was
 * spooled. Else a 4xx if there is one, else the first 5xx. */
struct reply outcome_of_message(const struct transaction *t);
/* TRANSACTION_EACH, for a head: the same for its list. outcome_of_message() is then the first of
 * these that is positive, else the first. */
struct reply outcome_of_list(const struct transaction *t, const struct recipient *head);
bool outcome_is_success(const struct transaction *t, const struct recipient *head);
/* Was the client told at RCPT that the recipient is accepted? Then it must hear of a failure. */
bool outcome_is_acknowledged(const struct recipient *r);

/* The words of the recipient's latest fate, for operators: where they are ours, with the error that
 * its branch has met. */
void outcome_put_words(struct buf *out, const struct recipient *r);

#endif
