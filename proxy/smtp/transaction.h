/* SPDX-License-Identifier: BSD-2-Clause */
/* One message from MAIL to the last outcome: recipients, branches, and the order prepare,
 * release, commit. Pure: fed with events, drained of actions, calls no one.
 *
 * Outcomes belong to recipients. A RCPT that a route sends to several targets becomes a list of
 * recipients, called legs, one for each target; the first is the head, which answers the client for
 * all of them. Each leg has its own fate: where some fail and others do not, those that failed go
 * into the spool. A list, or a message, is all or nothing only where a relay may not be spooled.
 * All memory comes from the arena that is given, and goes when that is reset. */
#ifndef POSTERN_TRANSACTION_H
#define POSTERN_TRANSACTION_H

#include <stdbool.h>

#include "proxy/base/arena.h"
#include "proxy/base/buf.h"
#include "proxy/base/list.h"
#include "proxy/smtp/address.h"
#include "proxy/smtp/envelope.h"
#include "proxy/smtp/identity.h"
#include "proxy/smtp/reply.h"
#include "proxy/smtp/view.h"

struct target; /* opaque here: compared, never read */
struct event;
struct action;

enum fate {
    FATE_OPEN,      /* no answer yet */
    FATE_ACCEPTED,  /* 2xx, or durable here */
    FATE_DEFERRED,  /* 4xx */
    FATE_REFUSED,   /* 5xx */
    FATE_LOST,      /* the branch broke before the end of data was sent */
    FATE_UNKNOWN,   /* the branch broke after that, before the reply */
    FATE_DISCARDED, /* by its route */
    FATE_HELD       /* by a filter: accepted, and kept from every target */
};

/* What is known of a list as a whole, so that nobody has to walk it. outcome.c keeps it in the
 * head. */
struct recipient_list {
    unsigned open;                  /* legs without an answer to RCPT */
    bool is_all_or_nothing;         /* a relay among its targets may not be spooled */
    bool is_unserved;               /* a leg has failed that the file of the spool does not have */
    const struct recipient *best;   /* of the legs that have an answer: whose answer counts */
    const struct recipient *failed; /* the first leg in the list that failed */
};

struct recipient {
    struct list in_transaction;
    struct list in_branch;          /* in no list where there is no branch */
    struct list in_outbound;        /* outbound.waiting, until RCPT is sent */
    struct recipient *head;         /* the first leg of its list; itself where it is alone */
    struct recipient *next_in_list; /* the next leg of that list, or NULL */
    unsigned position;              /* in that list; the head's is 0 */
    struct recipient_list list;     /* meaningful in the head only */
    struct branch *branch;          /* NULL: the route itself answered */
    struct address original;        /* as the client named it */
    struct address to;              /* as the routes made it */
    struct bytes params;            /* NOTIFY, ORCPT as they came */
    enum fate envelope;             /* after RCPT */
    enum fate final;                /* after the end of data */
    struct reply answer;            /* to RCPT; sent after the answers to earlier RCPTs */
    struct reply reply;             /* the words of the latest fate */
    /* The reply to give instead of the target's (relay-from, routed-recipients) where the target
     * took neither XCLIENT nor PROXY and so does not judge the client itself. REPLY_OK: none. */
    enum reply_id guard;
    bool is_guarded;    /* ... and its answer was given because of it */
    bool names_domain;  /* the route that led here names its domain */
    bool is_unverified; /* accepted by postern in an outage, not by the target */
    bool is_added;      /* in the head: by a filter; the client knows nothing of it */
    bool is_counted;    /* among those that stand at its branch: see transaction_enter() */
};

enum branch_state {
    BRANCH_ENVELOPE, /* recipients are being answered */
    BRANCH_CONTENT,  /* DATA has come */
    BRANCH_PREPARED, /* can_prepare only: on disk, and can still be undone */
    BRANCH_ENDED,    /* the end of data was released to it, or its commit ordered */
    BRANCH_DONE      /* every outcome is known, or it was dropped; needs nothing more */
};

/* What the closing log line says of a target; filled in by the shell, texts in the mail arena. */
struct branch_facts {
    struct bytes target;   /* its name */
    struct bytes address;  /* of the connection, or the path */
    struct bytes identity; /* as it was handed on: "xclient", "xforward", "proxy-v1", ... "none" */
    struct bytes tls;      /* how the connection is encrypted; empty: not at all */
    struct bytes error;    /* why there is none, or none any more */
    unsigned identity_kinds; /* the same as enum identity_kind bits; 0: none, or no relay */
    bool is_reused;          /* the connection had served before */
    bool is_replayed;        /* a reused connection broke, and a new one served */
    bool may_be_duplicate;   /* lost after the end of data was sent */
};

/* How long filters that may edit the message hold it back. */
enum transaction_hold {
    TRANSACTION_STREAMS,
    TRANSACTION_STREAMS_KEPT,  /* they may need the whole copy at the end */
    TRANSACTION_HOLDS_CONTENT, /* until all have answered at the end of data; targets hear DATA
                                  when that has come */
    TRANSACTION_HOLDS_ENVELOPE /* DATA too is held: the envelope may change */
};

/* A filter wants the message to be kept from its targets until somebody has looked at it. */
struct quarantine {
    struct bytes reason; /* in its words */
    bool is_set;
};

#define TRANSACTION_LINES_MAX 16384 /* octets of header fields that filters put in front */

/* A target of the transaction. After its branch has broken another one may lead there. */
struct destination {
    struct destination *below[2];     /* transaction_targets.c: the rest of the tree */
    struct branch *branch;            /* the latest; all before it are done */
    unsigned standing;                /* recipients that may get the message there */
    const struct recipient *named_by; /* the latest recipient whose routes name it */
    struct view view; /* has_view: what it gets; else only `lines`: what stands in front there */
    bool has_view;
    uint32_t view_number; /* the shell's, while it writes the views down */
    struct quarantine quarantine;
};

struct branch {
    struct list in_transaction;
    struct list in_todo;
    struct list in_deserted; /* transaction.deserted: alive, but nobody may get the message by it */
    struct list recipients;  /* struct recipient.in_branch, in RCPT order */
    struct target *target;
    struct destination *destination;
    struct transaction *transaction;
    unsigned standing; /* recipients that may get the message by it */
    void *shell;       /* the target's own state; NULL before ACT_OPEN and after ACT_DROP */
    enum branch_state state;
    bool can_prepare;           /* nothing shows before the commit; false: the target is firm */
    bool may_spool;             /* recipients that fail here go into the spool (relay.on-failure) */
    unsigned todo;              /* actions that are due: bits by enum action_kind */
    struct recipient *unsent;   /* the first recipient whose ACT_RCPT is due */
    bool lacks_enhanced;        /* the target did not announce ENHANCEDSTATUSCODES (RFC 2034) */
    bool lacks_dsn;             /* ... nor DSN: its parameters were left out */
    enum transaction_hold hold; /* from HOLDS_CONTENT on no content may be sent */
    bool is_stale;              /* its envelope has changed: it is opened anew */
    bool is_amended;            /* recipients are named to it that the client knows as accepted */
    bool is_end_sent;           /* set by a firm target: the end of data is on its way */
    struct branch_facts facts;
};

enum transaction_state {
    TX_ENVELOPE,   /* MAIL was accepted; recipients come */
    TX_GOING,      /* DATA has come; its reply waits for unanswered recipients */
    TX_CONTENT,    /* 354 was sent */
    TX_PREPARING,  /* the end of data has come; what can be undone is being made durable */
    TX_RELEASED,   /* firm targets get the end of data */
    TX_SPOOLING,   /* firm targets have answered; the spool file, if any, is being committed */
    TX_COMMITTING, /* prepared branches are being committed */
    TX_SETTLED     /* `outcome` is the answer; nothing more happens */
};

/* What an outcome means. */
enum transaction_policy {
    TRANSACTION_LIVE,  /* a client waits for one reply: outcomes are merged, failures spooled */
    TRANSACTION_EACH,  /* an LMTP client waits for a reply for each recipient: nothing is merged but
                          the legs of a list, and spooled is what a target's absence concerns */
    TRANSACTION_QUEUED /* a delivery of the spool: each recipient's fate stands for itself */
};

/* Counted as things happen, so that nobody has to walk all recipients or branches. */
struct transaction_counts {
    unsigned unanswered;                   /* RCPTs without an answer for the client */
    unsigned targets, firm;                /* where a recipient may stand; the firm ones of those */
    unsigned strict;                       /* the firm ones that may not be spooled */
    unsigned branches[2][BRANCH_DONE + 1]; /* by can_prepare and state */
    bool has_lost;                         /* a recipient that stood has failed */
    size_t lines_bytes;                    /* of all views together */
    bool has_held;                         /* ... or is kept from its target by a filter */
};

/* The file of the spool. */
struct transaction_spool {
    unsigned todo; /* ACT_PREPARE_SPOOL, ACT_COMMIT_SPOOL: bits by enum action_kind */
    bool is_preparing, is_committing; /* until EV_PREPARED, EV_COMMITTED */
    bool comes_last; /* a report on a success is owed: TX_COMMITTING is before TX_SPOOLING */
};

struct transaction {
    struct arena *mail;
    enum transaction_policy policy;
    bool splits;         /* smtpd.split = live: recipients may go to several targets */
    bool is_full;        /* set by the shell: no memory is left for more recipients */
    bool is_client_gone; /* after the release: nothing more is spooled, the client tries again */
    struct envelope envelope;
    const struct identity *client;
    struct list recipients;
    struct list branches;
    struct list todo; /* branches with actions due */
    struct list deserted;
    struct destination *destinations; /* the root of the tree */
    struct view view;                 /* what targets get that have no view of their own */
    struct quarantine quarantine;     /* of the whole message */
    struct transaction_counts counts;
    struct transaction_spool spool;
    bool is_taken;      /* accepted as a whole: who did not get the message is for the spool */
    bool is_unkept;     /* there is no whole copy to be spooled: see EV_UNKEPT */
    bool is_spool_lost; /* TRANSACTION_EACH: the spool has failed, and serves nobody */
    enum transaction_state state;
    unsigned recipient_count; /* RCPTs that were parsed without an error */
    struct reply refusal;     /* of the whole message, not by a target; code 0: none */
    struct reply outcome;     /* the reply to the end of data, once settled; code 0: none */
    bool is_told;             /* ACT_SETTLED was given */
};

/* One of several targets that the routes name for a recipient. */
struct routed_leg {
    struct target *target;
    struct address to;
    struct reply refusal; /* by filters of this target; code 0: none */
    bool can_prepare;
    bool may_spool;
    bool answers_each; /* has an outcome for each recipient at the end of data, as LMTP */
};

/* What the routes say of a recipient; in the mail arena. */
struct routed {
    struct reply reply; /* code not 0: refused or deferred, and nothing below counts */
    bool is_discarded;  /* likewise nothing below counts */
    const struct routed_leg *legs;
    int leg_count;
    enum reply_id guard; /* see struct recipient */
    bool names_domain;
};

/* `client` and the arena outlive the transaction; the envelope's texts lie in the arena. */
void transaction_init(struct transaction *t, struct arena *mail, const struct envelope *envelope,
                      const struct identity *client);
/* Legal in TX_ENVELOPE. Adds the recipient of a RCPT; EV_ROUTED tells where it goes. NULL: no
 * memory. */
struct recipient *transaction_add(struct transaction *t, const struct address *to);
/* Legal in TX_ENVELOPE. DATA has come: live branches get ACT_GO. */
void transaction_data(struct transaction *t);
enum transaction_go { TRANSACTION_GO_WAIT, TRANSACTION_GO_AHEAD, TRANSACTION_GO_NONE };
/* Legal in TX_GOING. May 354 be sent? NONE: no recipient stands; the branches are dropped, and the
 * state is TX_ENVELOPE again (more RCPTs may come, or transaction_abandon()). AHEAD: the state is
 * TX_CONTENT. */
enum transaction_go transaction_go(struct transaction *t);
/* Legal before TX_PREPARING, and before a transaction_show() for the same. Whole header fields,
 * copied, that go in front of the message: at every target, or at this one before the others. They
 * replace those that were given so before. ERR_MEMORY; ERR_TOO_LONG: more than
 * TRANSACTION_LINES_MAX, or VIEW_LINES_MAX in all. */
int transaction_prepend(struct transaction *t, const struct target *target, struct bytes lines);
/* Legal before TX_PREPARING, and before a branch of those that are meant has sent any content. This
 * is what the target gets, or with NULL each one for which this was not said by name; `lines` are
 * copied. It replaces what was to be seen there before, and stands in place of what was prepended
 * there. ERR_MEMORY; ERR_TOO_LONG: more than VIEW_LINES_MAX in all. */
int transaction_show(struct transaction *t, const struct target *target, const struct view *view);
/* Does a recipient go to this target, or did one? */
bool transaction_names(struct transaction *t, const struct target *target);
/* ... and may one still get the message there, now or out of the spool? */
bool transaction_goes_to(const struct transaction *t, const struct target *target);
/* What the target of this branch gets, and header fields that go in front of that, there alone. */
const struct view *transaction_view(const struct branch *b);
struct bytes transaction_lines(const struct branch *b);
/* Legal before TX_PREPARING. The target's own filters refuse the message: its recipients have that
 * outcome, wherever they stood, and the target does not get the end. */
void transaction_judge(struct transaction *t, const struct target *target,
                       const struct reply *refusal);
/* Legal in TX_ENVELOPE, before transaction_data(). At every target, or at this one. */
void transaction_hold(struct transaction *t, const struct target *target,
                      enum transaction_hold how);
/* Legal before TX_PREPARING. The message is thrown away for all recipients, or for those of this
 * target: they have their outcome, and their targets do not get the end. */
void transaction_discard(struct transaction *t, const struct target *target);

/* Legal in TX_CONTENT. The end of data has come, and filters think about the message. */
void transaction_whole(struct transaction *t);
/* Legal in TX_CONTENT, where every branch holds its envelope. The texts lie in the mail arena. */
void transaction_change_sender(struct transaction *t, const struct address *from,
                               struct bytes params);
/* The recipient, as the client named it, does not get the message. False: there is none. */
bool transaction_exclude(struct transaction *t, const struct address *to);
/* Does one of that name get it? */
bool transaction_includes(const struct transaction *t, const struct address *to);
/* One more gets it. Refused, it gets a bounce as one that the client has named. ERR_MEMORY;
 * ERR_RANGE: its target shares a transaction with no other, or nobody could serve it later where
 * the client hears of each; the message must be refused then. */
int transaction_include(struct transaction *t, const struct address *to, struct bytes params,
                        const struct routed *routed);
/* Legal in TX_CONTENT. The target, or with NULL every one, gets nothing of the message; recipients
 * that stand there are accepted, and the spool keeps it for them, held, until an operator releases
 * it. The first reason counts; it is copied. ERR_MEMORY. */
int transaction_quarantine(struct transaction *t, const struct target *target, struct bytes reason);
/* Refuses the message: no target gets its end. The client hears so after its own end of data. */
void transaction_refuse(struct transaction *t, const struct reply *refusal);
/* Legal in TX_CONTENT. The client's end of data has come, and all content is in the copy. */
void transaction_end(struct transaction *t);
/* RSET, QUIT, a broken session, the process ends at once: every branch is dropped. In
 * TX_COMMITTING nothing is: the disk is at work, and what it does counts. */
void transaction_abandon(struct transaction *t);
/* The process ends. After the end of data, where the spool may take the place of relays, those that
 * have not answered are given up, and the outcome waits for disks alone. False: it does nothing. */
bool transaction_hurry(struct transaction *t);

/* EV_ROUTED, EV_ANSWER, EV_FINAL, EV_BROKEN, EV_PREPARED, EV_COMMITTED, EV_LOST, EV_DEADLINE,
 * EV_UNKEPT, EV_COPY. */
void transaction_feed(struct transaction *t, const struct event *ev);
bool transaction_next(struct transaction *t, struct action *out);

/* The recipient was accepted (see outcome_stands()), and has no outcome yet. */
bool transaction_awaits(const struct recipient *r);
/* Must all recipients get the message, or none? So where a relay takes part that may not be
 * spooled, or no copy is there to be spooled: nobody could serve a failed recipient later. */
bool transaction_is_all_or_nothing(const struct transaction *t);
/* Asked as content begins: may anybody need a whole copy, to spool it or to prepare from it? */
bool transaction_wants_copy(const struct transaction *t);

#endif
