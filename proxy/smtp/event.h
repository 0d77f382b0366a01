/* SPDX-License-Identifier: BSD-2-Clause */
/* What goes into the pure machines and what comes out: one enum in, one enum out. */
#ifndef POSTERN_EVENT_H
#define POSTERN_EVENT_H

#include <stdbool.h>

#include "proxy/base/bytes.h"
#include "proxy/smtp/reply.h"
#include "proxy/smtp/transaction.h"

enum event_kind {
    /* from the client */
    EV_BYTES,    /* bytes */
    EV_EOF,      /* nothing more will come */
    EV_LOST,     /* reset, or a write failed: nobody is there */
    EV_DEADLINE, /* what session_wait() named took too long; is_final: the whole session did */
    EV_STOP,     /* we are shutting down; is_final: now, else as soon as no transaction runs */
    /* from answers */
    EV_ROUTED, /* rcpt, routed */
    /* from branches; what is reported twice for one recipient is ignored the second time */
    EV_ANSWER, /* branch, rcpt, fate, reply: the reply to RCPT, or what stands in its place */
    EV_FINAL,  /* branch, rcpt or NULL for all that stand, fate, reply: after the end of data, or
                  the target's early answer to it. After the last one the branch is done. */
    EV_BROKEN, /* branch, reply (ours), is_end_sent: no connection, or lost; it is done. Open
                  recipients are answered with the reply, those that stood have it as outcome.
                  Where may_spool, the target has answered open ones in its own stead before
                  (EV_ANSWER with is_unverified), and those that stood go into the spool */
    /* from disk and copy; error ERR_FULL: no room on it */
    EV_PREPARED,  /* branch (NULL: the spool file), error; rcpt: the error is its alone, else the
                     branch is prepared, or cannot be */
    EV_COMMITTED, /* branch (NULL: the spool file), error; rcpt: its outcome, else that of all who
                     have none yet, and the branch is done */
    EV_COPY,      /* error: the copy cannot be read; the message cannot be completed */
    EV_UNKEPT,    /* error, or 0 where nobody wants it: the copy is not kept whole any more. What
                     breaks from now on can be neither replayed nor spooled */
    EV_ETRN,      /* reply: to ETRN */
    /* from filters */
    EV_VERDICT /* reply: 4xx or 5xx; code 0: the message may go on */
};

struct event {
    enum event_kind kind;
    int error;
    struct bytes bytes;
    struct recipient *rcpt;
    struct branch *branch;
    const struct routed *routed;
    enum fate fate;
    struct reply reply; /* borrowed: who keeps it copies it into the mail arena */
    bool is_end_sent;
    bool is_final;
    bool is_unverified; /* EV_ANSWER: accepted in an outage, the target has not said so */
    bool may_be_there;  /* EV_COMMITTED, with an error: delivered all the same, perhaps */
};

enum action_kind {
    /* of a session */
    ACT_GREETED, /* EHLO or HELO was said: client.helo is set */
    ACT_BEGIN,   /* MAIL was accepted: session.tx is there; make its id and the copy */
    ACT_ROUTE,   /* rcpt: answer with EV_ROUTED, now or later */
    ACT_ETRN,    /* bytes: what it asks for; answer with EV_ETRN, now or later */
    ACT_CONTENT, /* bytes: append to the copy now; they point into what was fed */
    ACT_WHOLE,   /* all content is in the copy */
    ACT_FILTER,  /* the message is whole: what do filters say? Answer by EV_VERDICT */
    ACT_REJECT,  /* reply: what the client was refused with, rcpt: or NULL; for the log */
    ACT_CLOSE,   /* flush what is to be sent, then close; the last action */
    /* of a transaction */
    ACT_OPEN,    /* branch */
    ACT_RCPT,    /* branch, rcpt */
    ACT_GO,      /* branch: DATA has come */
    ACT_PREPARE, /* branch (NULL: the spool file): make it durable, undoable; EV_PREPARED */
    ACT_END,     /* branch: release the end of data; answer EV_FINAL */
    ACT_COMMIT,  /* branch: its recipients of which transaction_awaits() says so appear, the others
                    vanish; answer EV_COMMITTED for each, and at last for the branch. NULL: the
                    spool file appears, with those of which outcome_disposition() says so */
    ACT_DROP,    /* branch: leave no trace, detach at once; answers nothing */
    ACT_SETTLED  /* the transaction is over: log it, free the copy; its memory goes with the next
                    call of the session */
};

struct action {
    enum action_kind kind;
    struct branch *branch;
    struct recipient *rcpt;
    struct bytes bytes;
    struct reply reply;
};

#endif
