/* SPDX-License-Identifier: BSD-2-Clause */
/* The decisions: which fate and which reply follow from which. Pure. */
#ifndef POSTERN_OUTCOME_H
#define POSTERN_OUTCOME_H

#include "proxy/smtp/transaction.h"

/* 2xx accepted, 4xx deferred, 5xx refused; anything else FATE_LOST: no answer to a command. */
enum fate outcome_of_code(unsigned code);

/* Deferred, refused, lost or unknown: the recipient does not have the message. */
bool outcome_is_failure(enum fate fate);

/* After RCPT, for a head: the recipient of its list whose fate and words are the answer. One that
 * failed, else one without an answer, else the one that is no maildir, else the head. */
const struct recipient *outcome_of_envelope(const struct recipient *head);

/* The reply to the end of data, counted by recipient over those that stood. One fate for all: its
 * words. Without a spool a message is all or nothing: where one recipient failed
 * and another did not, no target got its end, and the client shall try again (4xx). */
struct reply outcome_of_message(const struct transaction *t);

#endif
