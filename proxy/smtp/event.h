/* SPDX-License-Identifier: BSD-2-Clause */
/* What goes into the pure machines and what comes out: the transaction's, and the session's around
 * them. */
#ifndef POSTERN_EVENT_H
#define POSTERN_EVENT_H

#include <stdbool.h>

#include "proxy/base/bytes.h"
#include "proxy/smtp/reply.h"
#include "proxy/smtp/transaction.h"

/* ---- the transaction ---- */

enum event_kind {
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
    /* from the client, by its session */
    EV_LOST,    /* nobody is there any more */
    EV_DEADLINE /* it has waited long enough for the reply to its end of data */
};

struct event {
    enum event_kind kind;
    int error;
    struct recipient *rcpt;
    struct branch *branch;
    const struct routed *routed;
    enum fate fate;
    struct reply reply; /* borrowed: who keeps it copies it into the mail arena */
    bool is_end_sent;
    bool is_unverified; /* EV_ANSWER: accepted in an outage, the target has not said so */
    bool may_be_there;  /* EV_COMMITTED, with an error: delivered all the same, perhaps */
};

enum action_kind {
    /* of one branch */
    ACT_OPEN,
    ACT_RCPT,    /* rcpt */
    ACT_GO,      /* DATA has come */
    ACT_PREPARE, /* make it durable, undoable; answer EV_PREPARED */
    ACT_END,     /* release the end of data; answer EV_FINAL */
    ACT_COMMIT,  /* its recipients of which transaction_awaits() says so appear, the others vanish;
                    answer EV_COMMITTED for each, and at last for the branch */
    ACT_DROP,    /* leave no trace, detach at once; answers nothing */
    /* of the whole; no branch */
    ACT_PREPARE_SPOOL, /* make the spool file durable, undoable; answer EV_PREPARED */
    ACT_COMMIT_SPOOL,  /* it appears, with the recipients of which outcome_disposition() says so;
                          answer EV_COMMITTED */
    ACT_SETTLED        /* all is over: log it, free the copy; the last action */
};

struct action {
    enum action_kind kind;
    struct branch *branch;
    struct recipient *rcpt;
};

/* ---- the session ---- */

enum session_event_kind {
    SESSION_EV_BYTES,    /* bytes */
    SESSION_EV_EOF,      /* nothing more will come */
    SESSION_EV_LOST,     /* reset, or a write failed: nobody is there */
    SESSION_EV_DEADLINE, /* what session_wait() named took too long; is_final: the session did */
    SESSION_EV_STOP,     /* we are shutting down; is_final: now, else when no transaction runs */
    SESSION_EV_ANSWER    /* reply: to what was asked about the command that waits. Code 0: the
                            filters let it go on. 4xx, 5xx: told instead; 2xx likewise, to ETRN and a
                            command that is not known. 3xx, to the latter: told, and filters are asked
                            about the line that follows. Never 421. Ignored where nothing waits */
};

struct session_event {
    enum session_event_kind kind;
    bool is_final;
    struct bytes bytes;
    struct reply reply; /* borrowed likewise */
};

/* When filters may be asked (session_conf.asks). The client's next command is not read before they
 * have answered. */
enum session_stage {
    SESSION_STAGE_NONE,
    SESSION_STAGE_CONNECT, /* before the greeting */
    SESSION_STAGE_HELO,    /* or EHLO */
    SESSION_STAGE_MAIL,
    SESSION_STAGE_RCPT,
    SESSION_STAGE_DATA,
    SESSION_STAGE_END,     /* the message is whole */
    SESSION_STAGE_COMMAND, /* one that is not known */
    SESSION_STAGE_LINE     /* the next line of a command that was answered by 3xx */
};

enum session_action_kind {
    SESSION_ACT_GREETED, /* EHLO or HELO was said: client.helo is set */
    SESSION_ACT_BEGIN,   /* MAIL was accepted: session.tx is there; make its id and the copy */
    SESSION_ACT_ROUTE,   /* rcpt: answer with EV_ROUTED, now or later */
    SESSION_ACT_ETRN,    /* bytes: what it asks for; answer SESSION_EV_ANSWER, now or later */
    SESSION_ACT_CONTENT, /* bytes: append to the copy now; they point into what was fed */
    SESSION_ACT_WHOLE,   /* all content is in the copy */
    SESSION_ACT_FILTER,  /* session_question(): answer SESSION_EV_ANSWER, now or later */
    SESSION_ACT_REJECT,  /* reply: what the client was refused with, rcpt or NULL; to be logged */
    SESSION_ACT_TRANSACTION, /* of_transaction: an action of the one that runs. With its ACT_SETTLED
                                its memory goes, at the next call of the session */
    SESSION_ACT_CLOSE        /* flush what is to be sent, then close; the last action */
};

struct session_action {
    enum session_action_kind kind;
    struct recipient *rcpt;
    union {
        struct bytes bytes;
        struct reply reply;
        struct action of_transaction;
    };
};

#endif
