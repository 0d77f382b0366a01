/* SPDX-License-Identifier: BSD-2-Clause */
/* What goes into two pure machines and comes out: the transaction, and the session around it. */
#ifndef POSTERN_EVENT_H
#define POSTERN_EVENT_H

#include <stdbool.h>

#include "proxy/base/bytes.h"
#include "proxy/smtp/reply.h"
#include "proxy/smtp/transaction.h"

/* ---- the transaction ---- */

enum event_kind {
    EV_ROUTED, /* rcpt, routed */
    /* from branches; a second report for the same recipient is ignored */
    EV_ANSWER, /* branch, rcpt, fate, reply: the reply to RCPT, or one given in its place */
    EV_FINAL,  /* branch, rcpt or NULL for all that stand, fate, reply: after the end of data, or
                  the target's early answer to it. With NULL the branch is done */
    EV_BROKEN, /* branch, reply (ours), is_end_sent: no connection, or it was lost; the branch is
                  done. Open recipients are answered with the reply; for those that stood it is the
                  outcome. Where may_spool, open recipients were accepted before (EV_ANSWER with
                  is_unverified), and those that stood go into the spool */
    /* from disk and copy; error ERR_FULL: the disk is full */
    EV_PREPARED,  /* branch (NULL: the spool file), error; with rcpt the error concerns that
                     recipient alone, else the whole branch */
    EV_COMMITTED, /* branch (NULL: the spool file), error; with rcpt it is that recipient's outcome,
                     else that of all who have none yet, and the branch is done */
    EV_COPY,      /* error: the copy cannot be read; the message cannot be completed */
    EV_UNKEPT,    /* error, or 0 where nobody needs the copy: it is not kept whole any more. A
                     branch that breaks from now on can be neither replayed nor spooled */
    /* from the client, by its session */
    EV_LOST,    /* the client is gone */
    EV_DEADLINE /* the client has waited long enough for the reply to its end of data */
};

struct event {
    enum event_kind kind;
    int error;
    struct recipient *rcpt;
    struct branch *branch;
    const struct routed *routed;
    enum fate fate;
    struct reply reply; /* borrowed; copied into the mail arena where it is kept */
    bool is_end_sent;
    bool is_unverified; /* EV_ANSWER: accepted by postern in an outage, not by the target */
    bool is_guarded;    /* EV_ANSWER: because of rcpt->guard */
    bool may_be_there;  /* EV_COMMITTED with an error: the message may have been delivered */
};

enum action_kind {
    /* of one branch */
    ACT_OPEN,
    ACT_RCPT,    /* rcpt */
    ACT_GO,      /* DATA has come */
    ACT_PREPARE, /* make it durable, undoable; answer EV_PREPARED */
    ACT_END,     /* release the end of data; answer EV_FINAL */
    ACT_COMMIT,  /* the message appears for the recipients that transaction_awaits(), and vanishes
                    for the others; answer EV_COMMITTED for each, and at last for the branch */
    ACT_DROP,    /* leave no trace, detach at once; no answer */
    /* of the whole transaction; no branch */
    ACT_PREPARE_SPOOL, /* make the spool file durable, undoable; answer EV_PREPARED */
    ACT_COMMIT_SPOOL,  /* the spool file appears, with the recipients that outcome_disposition()
                          gives it; answer EV_COMMITTED */
    ACT_SETTLED        /* all is over: log it, free the copy; the last action */
};

struct action {
    enum action_kind kind;
    struct branch *branch;
    struct recipient *rcpt;
};

/* ---- the session ---- */

enum session_event_kind {
    SESSION_EV_BYTES,      /* bytes */
    SESSION_EV_EOF,        /* nothing more will come */
    SESSION_EV_LOST,       /* reset, or a write failed: the client is gone */
    SESSION_EV_DEADLINE,   /* what session_wait() names took too long; is_final: the session did */
    SESSION_EV_STOP,       /* we are shutting down; is_final: now, else when no transaction runs */
    SESSION_EV_SECURED,    /* tls: the handshake is over, what comes now is encrypted */
    SESSION_EV_MECHANISMS, /* mechanisms: the answer to SESSION_ACT_MECHANISMS */
    SESSION_EV_AUTHENTICATED, /* bytes: as whom; reply: 2xx: the answer to SESSION_ACT_AUTH */
    SESSION_EV_LOGIN_LOST,    /* who knew the client is gone: 421, when no transaction runs */
    SESSION_EV_ANSWER /* reply: the answer that the command waits for. Code 0: filters let it
                         proceed. 4xx, 5xx: sent to the client instead; 2xx likewise, for ETRN
                         and an unknown command. 3xx, for the latter: sent, and filters are
                         asked about the client's next line. AUTH: 3xx likewise, 4xx, 5xx. Never
                         421. Ignored where no command waits */
};

struct session_event {
    enum session_event_kind kind;
    bool is_final;
    struct bytes bytes;
    struct reply reply;    /* borrowed likewise */
    struct tls_facts *tls; /* mem_alloc()ed; taken over */
    uint32_t mechanisms;   /* bits of sasl.def */
};

/* When filters may be asked (session_conf.asks). The client's next command is not read before the
 * filters have answered. */
enum session_stage {
    SESSION_STAGE_NONE,
    SESSION_STAGE_CONNECT, /* before the greeting */
    SESSION_STAGE_HELO,    /* or EHLO */
    SESSION_STAGE_MAIL,
    SESSION_STAGE_RCPT,
    SESSION_STAGE_DATA,
    SESSION_STAGE_END,     /* the message is whole */
    SESSION_STAGE_COMMAND, /* an unknown one */
    SESSION_STAGE_LINE     /* the client's next line, after a 3xx to that command */
};

/* Whom a MAIL or RCPT named that was refused before it made a transaction or a recipient: its
 * argument. */
struct session_named {
    bool is_sender;
    struct bytes argument; /* empty: the command was another */
};

enum session_action_kind {
    SESSION_ACT_GREETED,    /* EHLO or HELO was said: client.helo is set */
    SESSION_ACT_ASSERTED,   /* attributes: XCLIENT has changed `client`, and the session is new
                               again. Decide all that hangs on the client, then session_greet() or
                               session_turn_away() */
    SESSION_ACT_FORWARDED,  /* session_origin() is another one: filters judge that one. At the end
                               of a transaction this is not said */
    SESSION_ACT_BEGIN,      /* MAIL was accepted: make the id and the copy of session.tx */
    SESSION_ACT_ROUTE,      /* rcpt: answer with EV_ROUTED, now or later */
    SESSION_ACT_ETRN,       /* bytes: the argument; answer SESSION_EV_ANSWER, now or later */
    SESSION_ACT_CONTENT,    /* bytes: append to the copy now; they point into what was fed */
    SESSION_ACT_WHOLE,      /* all content is in the copy */
    SESSION_ACT_FILTER,     /* session_question(): answer SESSION_EV_ANSWER, now or later */
    SESSION_ACT_STARTTLS,   /* send what stands in `out`, then begin the handshake. Octets that came
                               behind the command were thrown away: `dropped`. Answer
                               SESSION_EV_SECURED, or _LOST */
    SESSION_ACT_MECHANISMS, /* by which a client may authenticate itself: answer
                              SESSION_EV_MECHANISMS, now or later */
    SESSION_ACT_AUTH,       /* session_sasl(): answer SESSION_EV_AUTHENTICATED or _ANSWER, now or
                               later */
    SESSION_ACT_AUTH_CANCEL, /* the exchange that a 3xx left open is over */
    SESSION_ACT_REJECT,      /* reply, rcpt or NULL, named: the client was refused; log it */
    SESSION_ACT_TRANSACTION, /* of_transaction: an action of session.tx. The session's next call
                                after ACT_SETTLED frees the transaction's memory */
    SESSION_ACT_CLOSE        /* flush what is to be sent, then close; the last action */
};

struct session_action {
    enum session_action_kind kind;
    struct recipient *rcpt;
    struct session_named named;
    union {
        struct bytes bytes;
        uint32_t attributes; /* capability_attribute bits */
        size_t dropped;
        struct reply reply;
        struct action of_transaction;
    };
};

#endif
