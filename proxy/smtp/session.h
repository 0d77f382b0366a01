/* SPDX-License-Identifier: BSD-2-Clause */
/* The conversation with a client: commands, limits, replies in order. Pure.
 *
 * session_feed() takes as much as can be handled now and returns the octets consumed; the stream
 * keeps the rest and offers it again. After each feed session_next() is called until it says
 * false, each action performed at once; feeding during that is fine (an answer that is known at
 * once), draining does not nest. What is to be sent collects in `out`. */
#ifndef POSTERN_SESSION_H
#define POSTERN_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/arena.h"
#include "proxy/base/buf.h"
#include "proxy/base/list.h"
#include "proxy/smtp/dot.h"
#include "proxy/smtp/event.h"
#include "proxy/smtp/header.h"
#include "proxy/smtp/identity.h"
#include "proxy/smtp/line.h"
#include "proxy/smtp/transaction.h"

#define SESSION_UNSENT_MAX 65536 /* octets of replies; beyond it the client is not read */
#define SESSION_SLOTS_MAX  1024  /* commands without a reply, likewise */

struct session_conf {           /* outlives the session */
    struct bytes name;          /* in greeting and EHLO */
    struct reply refuse;        /* code not 0: told instead of a greeting, then only QUIT */
    uint64_t message_max_bytes; /* 0: no limit */
    uint32_t recipients_max, errors_max, junk_max, overshoot_max;
    bool rejects_early_input;
    bool rejects_bare_newline;
    uint32_t asks;      /* when filters are asked: bits by enum session_stage */
    uint32_t announces; /* capability_keyword bits that EHLO tells where every target can do them */
    uint32_t bridges;   /* those among them that do not depend on any target */
    const bool *is_storage_low; /* MAIL gets 452 while it is set; NULL: nobody looks */
};

enum session_state {
    SESSION_NEW, /* no greeting yet; a client that talks now is rejected */
    SESSION_COMMANDS,
    SESSION_HELD,    /* `command` waits until every earlier one has its reply */
    SESSION_PENDING, /* `command` waits for what was asked about it: filters, a route, the queue */
    SESSION_LINE,    /* `command` waits for its next line */
    SESSION_GOING,   /* DATA waits for the recipients' replies */
    SESSION_CONTENT,
    SESSION_FINAL,    /* the end of data waits for its reply */
    SESSION_REFUSING, /* `farewell` is all that is said; QUIT alone does something */
    SESSION_ENDING,   /* `farewell` follows the replies that are due: input is thrown away */
    SESSION_CLOSED    /* it ends: now, or when the transaction is over; input is thrown away */
};

/* The command that is carried out. The greeting and the end of data are such, too. */
struct session_command {
    const struct session_rule *rule;    /* NULL: none */
    struct bytes argument;              /* in `mail`, or empty, while it waits */
    struct transaction *tx;             /* MAIL: what it is to begin */
    struct recipient *rcpt;             /* RCPT */
    enum session_action_kind waits_for; /* SESSION_PENDING: the question that was put */
    enum session_stage stage;           /* ... to filters */
};

/* Whom we wait for: the shell sets one deadline by it and feeds SESSION_EV_DEADLINE. */
enum session_wait {
    SESSION_WAIT_GREETING, /* greet-delay: the deadline is what we wait for */
    SESSION_WAIT_COMMAND,  /* command-timeout since the last octet */
    SESSION_WAIT_CONTENT,  /* data-timeout likewise */
    SESSION_WAIT_TARGETS,  /* no deadline of the session's */
    SESSION_WAIT_FINAL,    /* 8 minutes since the end of data */
    SESSION_WAIT_CLOSE
};

struct session_counts {
    uint32_t errors, junk;           /* since the last message that was accepted */
    uint32_t overshoot;              /* commands that limits of our own deferred */
    unsigned overshoot_logged;       /* the kinds of them that were: bits by subject (RFC 3463) */
    uint32_t transactions, messages; /* begun; accepted */
    uint64_t content_bytes;          /* of this message, decoded */
};

struct session {
    struct arena mail; /* MAIL to the end; holds nothing when idle */
    struct line line;
    struct dot dot;
    struct header_counter header;
    enum session_state state;
    struct list slots; /* replies that wait for an earlier one; empty: straight to `out` */
    uint32_t slot_count;
    struct buf out;
    struct transaction *tx;        /* at most one; in `mail` */
    struct session_action todo[3]; /* of the session's own; a transaction's follow */
    uint8_t todo_count, todo_at;
    struct identity client;
    uint32_t offered; /* capability_keyword bits told to this client */
    uint32_t bridged; /* those that every target can do, by the shell, at any time */
    const struct session_conf *conf;
    struct session_counts counts;
    struct session_command command;
    struct reply farewell;    /* SESSION_REFUSING: to everything; SESSION_ENDING: the last reply */
    bool may_etrn;            /* by the shell: this client may start queues */
    bool is_stopping, is_eof; /* close when nothing runs any more */
    bool is_settled;          /* `tx` is over and its memory goes with the next call */
    bool is_cut_short;        /* we end it, and the client may still be sending */
    bool is_closed;           /* SESSION_ACT_CLOSE was given */
};

/* `small`: blocks of 1 KiB for arenas and lines, `medium`: of 4 KiB for what is to be sent. */
void session_init(struct session *s, const struct session_conf *conf, struct pool *small,
                  struct pool *medium, const struct netaddr *client, const struct netaddr *local);
void session_done(struct session *s); /* legal when nothing is left to be told to a branch */
/* Legal when it is in SESSION_NEW. Says the greeting (or `refuse`'s), or asks filters first: see
 * greet-delay. */
void session_greet(struct session *s);

size_t session_feed(struct session *s, const struct session_event *ev);
/* What became of its transaction. Ignored when none runs any more. */
void session_feed_transaction(struct session *s, const struct event *ev);
bool session_next(struct session *s, struct session_action *out);

enum session_wait session_wait(const struct session *s);
/* Would octets be taken now? */
bool session_wants_input(const struct session *s);

/* What filters are asked. All of it stays as it is until they answer, or are not asked any more. */
struct session_question {
    enum session_stage stage;
    struct bytes text; /* HELO, MAIL, RCPT: the argument; COMMAND, LINE: the line */
    const struct transaction *transaction; /* from MAIL on, which is not accepted yet then */
    const struct recipient *rcpt;          /* of RCPT */
};
/* Is the answer to SESSION_ACT_FILTER waited for? */
bool session_asks_filters(const struct session *s);
/* Legal when it is. */
struct session_question session_question(const struct session *s);

#endif
