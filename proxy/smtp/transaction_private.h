/* SPDX-License-Identifier: BSD-2-Clause */
/* What the transaction's files share. Pure. */
#ifndef POSTERN_TRANSACTION_PRIVATE_H
#define POSTERN_TRANSACTION_PRIVATE_H

#include "proxy/smtp/event.h"
#include "proxy/smtp/transaction.h"

static inline struct branch *branch_of(struct list *link)
{
    return LIST_ENTRY(link, struct branch, in_transaction);
}

static inline struct recipient *recipient_of(struct list *link)
{
    return LIST_ENTRY(link, struct recipient, in_transaction);
}

void transaction_make_due(struct branch *b, enum action_kind kind);
void transaction_set_state(struct branch *b, enum branch_state state);
/* The branch needs nothing more: its outcomes are known. */
void transaction_finish_branch(struct branch *b);
/* Nobody waits for the branch any more. */
void transaction_drop(struct branch *b);
void transaction_settle(struct transaction *t, struct reply outcome);
/* The answer to RCPT, once for each. */
void transaction_set_envelope(struct transaction *t, struct recipient *r, enum fate fate);
/* The outcome. False: the recipient waits for none. */
bool transaction_set_final(struct transaction *t, struct recipient *r, enum fate fate);
/* Keeps a copy of the reply; without memory for that, one of our own that means the same. */
void transaction_set_reply(struct recipient *r, struct arena *mail, const struct reply *reply);
/* All or nothing, and a recipient that stood is lost. */
bool transaction_has_failed(const struct transaction *t);

/* A recipient without an answer to its RCPT. NULL: no memory. */
struct recipient *transaction_new_recipient(struct transaction *t, const struct address *to);
/* Each target of the route gets a leg of the head's list. False: no memory. */
bool transaction_attach_legs(struct transaction *t, struct recipient *head,
                             const struct routed *routed);
void transaction_put_in(struct recipient *r, struct branch *b);
void transaction_make_named(struct recipient *r); /* its ACT_RCPT is due */
/* The live branch of a target, or a new one. NULL: no memory. */
struct branch *transaction_open_branch(struct transaction *t, const struct routed_leg *leg);
/* A leg whose target was away at its RCPT: where another of its list is accepted, the spool is to
 * deliver it. */
bool transaction_may_be_spooled(const struct recipient *r);
/* A recipient that has come to a target whose message is quarantined does not get it either. */
void transaction_keep_back(struct recipient *r);
/* The recipient may get the message by its branch (enter); it may no longer (leave), which it may
 * be told more than once. */
void transaction_enter(struct recipient *r);
void transaction_leave(struct recipient *r);
/* May the recipient go where its routes say, given where the others go? */
bool transaction_fits(struct transaction *t, const struct recipient *r,
                      const struct routed *routed);
bool transaction_is_alone_where_it_must(struct transaction *t, const struct routed *routed);

/* Branches whose envelope has changed are opened anew. False: no memory. */
bool transaction_amend(struct transaction *t);
/* What was held back goes on. */
void transaction_let_go(struct transaction *t);

/* Does what is due after the end of data. */
void transaction_advance(struct transaction *t);
void transaction_on_prepared(struct transaction *t, const struct event *ev);
void transaction_on_committed(struct transaction *t, const struct event *ev);
void transaction_on_lost(struct transaction *t);
void transaction_on_deadline(struct transaction *t);
void transaction_on_copy_lost(struct transaction *t, int error);
void transaction_on_unkept(struct transaction *t, int error);

#endif
