/* SPDX-License-Identifier: BSD-2-Clause */
/* One message from MAIL to the last outcome: recipients, branches, and the order prepare,
 * release, commit. Pure: fed with events, drained of actions, calls no one.
 *
 * Outcomes belong to recipients. A RCPT that a route sends to several targets is one recipient
 * per target: the first is the head, which answers the client for all of them. Each leg stands for
 * itself, and what fails beside others that do not goes into the spool. Only where a relay may not
 * be spooled a list, and a message, is all or nothing. Everything lies in the arena that is given,
 * and goes when that is reset. */
#ifndef POSTERN_TRANSACTION_H
#define POSTERN_TRANSACTION_H

#include <stdbool.h>

#include "proxy/base/arena.h"
#include "proxy/base/list.h"
#include "proxy/smtp/address.h"
#include "proxy/smtp/envelope.h"
#include "proxy/smtp/identity.h"
#include "proxy/smtp/reply.h"

struct target; /* opaque here: compared, never read */
struct event;
struct action;

enum fate {
    FATE_OPEN,     /* no answer yet */
    FATE_ACCEPTED, /* 2xx, or durable here */
    FATE_DEFERRED, /* 4xx */
    FATE_REFUSED,  /* 5xx */
    FATE_LOST,     /* the branch broke before the end of data was sent */
    FATE_UNKNOWN,  /* ... after it was sent, before the reply */
    FATE_DISCARDED /* a route said so */
};

/* What is known of a list as a whole, so that nobody has to walk it: outcome.c keeps it at its
 * head. */
struct recipient_list {
    unsigned open;                  /* legs without an answer to RCPT */
    bool is_all_or_nothing;         /* a relay among its targets may not be spooled */
    const struct recipient *best;   /* of those that answered: who speaks for them */
    const struct recipient *failed; /* of those that failed: the first in the list */
};

struct recipient {
    struct list in_transaction;
    struct list in_branch;          /* in no list: it has no branch */
    struct list in_outbound;        /* the outbound machine's, while RCPT waits to be sent */
    struct recipient *head;         /* itself, or the first of its list of targets */
    struct recipient *next_in_list; /* the next of that list; NULL: the last, or no list */
    unsigned place;                 /* in that list; the head's is 0 */
    struct recipient_list list;     /* meaningful for the head */
    struct branch *branch;          /* NULL: the route answered */
    struct address original;        /* as the client named it */
    struct address to;              /* as the routes made it */
    struct bytes params;            /* NOTIFY, ORCPT as they came */
    enum fate envelope;             /* after RCPT */
    enum fate final;                /* after the end of data */
    struct reply answer;            /* to RCPT; told when those before are */
    struct reply reply;             /* the words behind the latest fate */
    /* The reply to give in the target's stead where that does not itself judge the client
     * (it took neither XCLIENT nor PROXY): relay-from, routed-recipients. REPLY_OK: none. */
    enum reply_id guard;
    bool names_domain;  /* the route that led here names its domain */
    bool is_unverified; /* accepted here in an outage: the target has not said so */
};

enum branch_state {
    BRANCH_ENVELOPE, /* recipients are being answered */
    BRANCH_CONTENT,  /* DATA has come */
    BRANCH_PREPARED, /* can_prepare only: synced, undoable */
    BRANCH_ENDED,    /* the end of data is released to it, or its commit was ordered */
    BRANCH_DONE      /* every outcome known, or dropped; needs nothing more */
};

/* What the closing log line says of a target; filled in by the shell, texts in the mail arena. */
struct branch_facts {
    struct bytes target;     /* its name */
    struct bytes address;    /* that the connection went to, or the path */
    struct bytes identity;   /* what was handed on: "xclient", "xforward", "proxy-v1", ... "none" */
    unsigned identity_kinds; /* the same as enum identity_kind bits; 0: none, or no relay */
    bool is_reused;          /* the connection had served before */
    bool is_replayed;        /* a reused connection broke, and a fresh one served */
    bool may_be_duplicate;   /* lost after the end of data was sent */
};

/* A target of the transaction. A branch that broke may be followed by another that leads there. */
struct destination {
    struct destination *below[2];     /* transaction_targets.c: the rest of the tree */
    struct branch *branch;            /* the latest; none but this one is alive */
    unsigned standing;                /* recipients that may get the message there */
    const struct recipient *named_by; /* the latest whose routes name it */
};

struct branch {
    struct list in_transaction;
    struct list in_todo;
    struct list in_deserted; /* in that list: alive, and no recipient may stand on it */
    struct list recipients;  /* struct recipient.in_branch, in RCPT order */
    struct target *target;
    struct destination *destination;
    struct transaction *transaction;
    unsigned standing; /* recipients that may get the message by it */
    void *shell;       /* the target's own; NULL before open and after drop */
    enum branch_state state;
    bool can_prepare; /* nothing shows before the commit; else the target is firm */
    bool may_spool;   /* what breaks here goes into the spool (relay.on-failure); for good */
    unsigned todo;    /* actions that are due: bits by enum action_kind */
    struct recipient *unsent; /* the first recipient whose ACT_RCPT is due */
    bool lacks_enhanced;      /* the target did not announce ENHANCEDSTATUSCODES (RFC 2034) */
    bool lacks_dsn;           /* ... nor DSN: what the client asked for by it was left out */
    bool is_end_sent;         /* by a firm target: the end of data is on its way */
    struct branch_facts facts;
};

enum transaction_state {
    TX_ENVELOPE,   /* MAIL was accepted; recipients come */
    TX_GOING,      /* DATA has come; unanswered recipients hold its reply */
    TX_CONTENT,    /* 354 was told */
    TX_PREPARING,  /* the end has come; what can be undone is being made durable */
    TX_RELEASED,   /* the end is going to the firm targets */
    TX_SPOOLING,   /* each of them has answered; the spool file becomes durable, where one is due */
    TX_COMMITTING, /* what was prepared appears */
    TX_SETTLED     /* `outcome` is the answer; nothing more happens */
};

/* What an outcome means. */
enum transaction_policy {
    TRANSACTION_LIVE,  /* a client waits: outcomes are merged, failures spooled (DESIGN 7) */
    TRANSACTION_QUEUED /* a delivery of the spool: each recipient's fate stands for itself */
};

/* Counted as things happen, so that nobody has to walk all recipients or branches. */
struct transaction_counts {
    unsigned unanswered;                   /* RCPTs without an answer for the client */
    unsigned targets, firm;                /* where a recipient may stand; of those: firm */
    unsigned strict;                       /* of the firm ones: that may not be spooled */
    unsigned branches[2][BRANCH_DONE + 1]; /* by can_prepare and state */
    bool has_lost;                         /* a recipient that stood has failed */
};

struct transaction {
    struct arena *mail;
    enum transaction_policy policy;
    bool splits;         /* smtpd.split = live: recipients may go to several targets */
    bool is_full;        /* by the shell: no memory is left for more recipients */
    bool is_client_gone; /* behind the release: nothing more is spooled, the client tries again */
    struct envelope envelope;
    const struct identity *client;
    struct list recipients;
    struct list branches;
    struct list todo; /* branches with actions due */
    struct list deserted;
    struct destination *destinations; /* the tree's first */
    struct transaction_counts counts;
    unsigned spool_todo; /* ACT_PREPARE_SPOOL or ACT_COMMIT_SPOOL: bits likewise */
    bool is_preparing_spool, is_committing_spool; /* its answer is waited for */
    bool is_taken;  /* some target has it, or the spool shall: what is left over is our business */
    bool is_unkept; /* no copy is there to be spooled: see EV_UNKEPT */
    enum transaction_state state;
    unsigned recipient_count; /* RCPTs that were accepted by the parser */
    struct reply refusal;     /* postern's own, of the whole message; code 0: none */
    struct reply outcome;     /* to the end of data, once settled; code 0: nobody is told */
    bool is_told;             /* ACT_SETTLED was given */
};

/* One of several targets that the routes name for a recipient. */
struct routed_leg {
    struct target *target;
    struct address to;
    bool can_prepare;
    bool may_spool;
};

/* What the routes say of a recipient; in the mail arena. */
struct routed {
    struct reply reply; /* code not 0: refused, deferred */
    bool is_discarded;  /* else, and nothing below */
    const struct routed_leg *legs;
    int leg_count;
    enum reply_id guard; /* see struct recipient */
    bool names_domain;
};

/* `client` and the arena outlive the transaction; the envelope's texts lie in the arena. */
void transaction_init(struct transaction *t, struct arena *mail, const struct envelope *envelope,
                      const struct identity *client);
/* Legal when it is in TX_ENVELOPE. A RCPT that was parsed; EV_ROUTED tells where it goes. NULL: no
 * memory. */
struct recipient *transaction_add(struct transaction *t, const struct address *to);
/* Legal when it is in TX_ENVELOPE. DATA: live branches are told. */
void transaction_data(struct transaction *t);
enum transaction_go { TRANSACTION_GO_WAIT, TRANSACTION_GO_AHEAD, TRANSACTION_GO_NONE };
/* Legal when it is in TX_GOING. May 354 be told? NONE: no recipient stands; the branches are
 * dropped, and the state is TX_ENVELOPE again (more RCPT may come, or transaction_abandon()).
 * AHEAD: TX_CONTENT from now on. */
enum transaction_go transaction_go(struct transaction *t);
/* Postern refuses the message: no target gets its end. Told when the client's end has come. */
void transaction_refuse(struct transaction *t, const struct reply *refusal);
/* Legal when it is in TX_CONTENT. The client's end of data has come, all content is in the copy. */
void transaction_end(struct transaction *t);
/* RSET, QUIT, a broken session, an end in haste: every branch is dropped. But a commit that was
 * ordered is waited for, since the disk is at work: what it has done counts. */
void transaction_abandon(struct transaction *t);
/* The process ends. The end of data has come, and no relay is needed for a 250: those that have
 * not answered are given up, and the outcome waits for disks alone. False: it is not so, and
 * nothing was done. */
bool transaction_hurry(struct transaction *t);

/* EV_ROUTED, EV_ANSWER, EV_FINAL, EV_BROKEN, EV_PREPARED, EV_COMMITTED, EV_LOST, EV_DEADLINE,
 * EV_UNKEPT, EV_COPY. */
void transaction_feed(struct transaction *t, const struct event *ev);
bool transaction_next(struct transaction *t, struct action *out);

/* It was accepted (see outcome_stands()), and has no outcome yet. */
bool transaction_awaits(const struct recipient *r);
/* A relay that may not be spooled takes part, or there is nothing to be spooled: there is nobody to
 * tell the client later that one of its recipients did not get the message. Then none gets it. */
bool transaction_is_all_or_nothing(const struct transaction *t);
/* As its content begins: may anybody need it as a whole, to spool it or at its end? */
bool transaction_wants_copy(const struct transaction *t);

#endif
