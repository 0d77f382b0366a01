/* SPDX-License-Identifier: BSD-2-Clause */
/* The conversation with a client: commands, limits, replies in order. Pure.
 *
 * session_feed() takes as much as can be handled now and returns the octets consumed; the stream
 * keeps the rest and offers it again. After each feed the caller calls session_next() until it
 * returns false, and performs each action at once. An answer that is known at once may be fed while
 * an action is performed, but session_next() must not be called from there. What is to be sent
 * collects in `out`. */
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

#define SESSION_UNSENT_MAX 65536 /* octets of replies; with more unsent nothing is read */
#define SESSION_SLOTS_MAX  1024  /* commands without a reply; likewise */

enum session_tls {
    SESSION_TLS_NONE,
    SESSION_TLS_OFFERED, /* by STARTTLS */
    SESSION_TLS_REQUIRED /* likewise: without it no mail is taken */
};

/* Who may authenticate itself, by which of the mechanisms that there are. */
enum session_auth_policy {
    SESSION_AUTH_NONE,
    SESSION_AUTH_SAFE, /* none that shows the password to whoever reads along */
    SESSION_AUTH_ANY
};

struct session_conf {           /* outlives the session */
    struct bytes name;          /* in greeting and EHLO */
    struct reply refuse;        /* code not 0: sent instead of the greeting */
    uint64_t message_max_bytes; /* 0: no limit */
    uint32_t recipients_max, errors_max, junk_max, overshoot_max;
    bool rejects_early_input;
    bool rejects_bare_newline;
    bool is_lmtp; /* LHLO alone is taken, not HELO and EHLO */
    enum session_tls tls;
    enum session_auth_policy auth;
    const bool *is_tls_busy; /* while true STARTTLS gets 454; NULL: never */
    uint32_t asks;           /* the stages at which filters are asked: bits by enum session_stage */
    uint32_t announces;      /* capability_keyword bits that EHLO may announce */
    uint32_t bridges; /* those among them that postern provides, whatever its targets can do */
    const bool *is_storage_low; /* while true MAIL gets 452; NULL: never */
};

enum session_state {
    SESSION_NEW,      /* no greeting yet; a client that talks now is rejected */
    SESSION_SECURING, /* the TLS handshake; then NEW, if nobody was greeted yet, or COMMANDS */
    SESSION_COMMANDS,
    SESSION_HELD,    /* `command` waits until every earlier command has its reply */
    SESSION_PENDING, /* `command` waits for an answer: of filters, of the routes, of the queue */
    SESSION_LINE,    /* `command` waits for the client's next line */
    SESSION_GOING,   /* DATA or BDAT waits for the recipients' replies */
    SESSION_CONTENT,
    SESSION_CHUNK,    /* octets of a BDAT are due; between two chunks: SESSION_COMMANDS */
    SESSION_FINAL,    /* the end of data waits for its reply */
    SESSION_REFUSING, /* every command but QUIT gets `farewell` */
    SESSION_ENDING,   /* `farewell` is sent after the replies that are due; input is thrown away */
    SESSION_CLOSED    /* closes now, or when the transaction is over; input is thrown away */
};

struct session_content {
    struct dot dot; /* how it is decoded */
    struct header_counter header;
};

/* The latest BDAT. The octets behind it are always taken off the stream, wherever they go. */
struct session_chunk {
    uint64_t bytes, left; /* announced; still to come */
    struct reply refusal; /* code not 0: of this chunk, whose octets go nowhere; the message ends */
    enum reply_id failed; /* not REPLY_OK: to chunks that were on their way when theirs failed */
    bool is_open;         /* its octets or its reply are due */
    bool is_last;
};

/* The command that is carried out. The greeting and the end of data count as commands. */
struct session_command {
    const struct session_rule *rule;    /* NULL: no command runs */
    struct bytes argument;              /* while the command waits: copied into `mail`, or empty */
    struct transaction *tx;             /* MAIL: the transaction that begins if it is accepted */
    struct recipient *rcpt;             /* RCPT */
    enum session_action_kind waits_for; /* SESSION_PENDING: the action that asked */
    enum session_stage stage;           /* SESSION_ACT_FILTER: what filters were asked */
};

/* What the session waits for. The shell sets one deadline by it, and feeds SESSION_EV_DEADLINE when
 * that has passed. */
enum session_wait {
    SESSION_WAIT_GREETING, /* greet-delay: the greeting is due at the deadline */
    SESSION_WAIT_TLS,      /* for the end of the handshake, since its beginning */
    SESSION_WAIT_COMMAND,  /* command-timeout since the last octet */
    SESSION_WAIT_CONTENT,  /* data-timeout likewise */
    SESSION_WAIT_TARGETS,  /* the session sets no deadline */
    SESSION_WAIT_FINAL,    /* 8 minutes since the end of data */
    SESSION_WAIT_CLOSE
};

struct session_counts {
    uint32_t errors, junk;           /* since the last message that was accepted */
    size_t early_bytes;              /* thrown away behind the last XCLIENT or STARTTLS */
    uint32_t overshoot;              /* commands deferred by our own limits */
    unsigned overshoot_logged;       /* kinds of overshoot in the log: bits by RFC 3463 subject */
    uint32_t transactions, messages; /* begun; accepted */
    uint64_t content_bytes;          /* of this message, decoded */
};

/* As whom the client authenticates itself (session_auth.c). */
struct session_auth {
    uint32_t mechanisms; /* that there are, as the last EHLO learnt */
    bool is_known;       /* that EHLO is being answered */
    bool is_first;       /* `response` came with the command */
    bool is_lost;        /* who knew the client is gone */
    bool took_secret;    /* what was fed last is, or may be, a line for AUTH */
    uint32_t mechanism;  /* of the latest exchange */
    uint8_t *response;   /* what the client said last, in base64, until it has its answer; NULL:
                            nothing, with the command */
    size_t response_len;
    uint8_t *login; /* client.login points to it; NULL: it has not, or XCLIENT says as whom */
};

/* Who is at the other end of the connection, and what it says of the client. */
struct session_peer {
    struct netaddr address;
    uint32_t may; /* set by the shell: what of ETRN, XCLIENT, XFORWARD and XRCPTFORWARD the client
                     may say, as capability_keyword bits */
    struct identity *asserted; /* owns the texts in session.client that XCLIENT has set; or NULL */
    bool begins_with_tls;      /* before the greeting */
    struct tls_facts *tls;     /* NULL: the connection is not encrypted */
    struct session_auth auth;
    struct identity *origin; /* from XFORWARD to the end of the transaction; or NULL */
};

/* What the targets can do. The shell sets it at any time. */
struct session_targets {
    uint32_t bridged;     /* capability_keyword bits of all of them */
    struct limits limits; /* the smallest, see limits_of_both() */
};

/* How a transaction ends. */
struct session_end {
    bool is_settled;          /* it is over; its memory is freed when nothing needs it */
    struct recipient *untold; /* LMTP: the next to be told its outcome */
    const char *why;          /* it was abandoned; as session_over.why, or a verb */
};

/* How the session ends. */
struct session_over {
    const char *why;   /* NULL: it goes on. In the log's words, or the name of a reply of ours */
    const char *after; /* the client's last command, or CONNECT, or END-OF-DATA */
    bool is_cut_short; /* we ended the session, and the client may still be sending */
    bool is_closed;    /* SESSION_ACT_CLOSE was given */
};

struct session {
    struct arena mail; /* of one transaction; empty when the session is idle */
    struct line line;
    struct session_content content;
    struct session_chunk chunk;
    enum session_state state;
    struct list slots; /* replies that wait for an earlier one; where empty, replies go to `out` */
    uint32_t slot_count;
    struct buf out;
    struct transaction *tx;        /* at most one; in `mail` */
    struct session_end end;        /* of that */
    struct session_action todo[3]; /* the session's own; the transaction's follow */
    uint8_t todo_count, todo_at;
    struct identity client; /* as it is treated: PROXY and XCLIENT change it */
    struct session_peer peer;
    uint32_t offered; /* capability_keyword bits announced to this client */
    struct session_targets targets;
    const struct session_conf *conf;
    struct session_counts counts;
    struct session_command command;
    struct reply farewell; /* SESSION_REFUSING: to every command; SESSION_ENDING: the last reply */
    bool is_stopping, is_eof; /* the session closes when nothing runs any more */
    struct session_over over;
};

/* `small`: blocks of 1 KiB for arenas and lines, `medium`: of 4 KiB for what is to be sent. */
void session_init(struct session *s, const struct session_conf *conf, struct pool *small,
                  struct pool *medium, const struct netaddr *client, const struct netaddr *local);
void session_done(struct session *s); /* legal when no action for a branch is left */
/* Legal in SESSION_NEW. Sends conf's `refuse` where that is set, else the greeting, as soon as
 * filters agree. */
void session_greet(struct session *s);
/* Legal in SESSION_NEW, instead: sends the reply and closes. In SESSION_SECURING it closes without.
 */
void session_turn_away(struct session *s, enum reply_id id);
/* Legal in SESSION_NEW, before that: the client begins with a TLS handshake. SESSION_EV_SECURED
 * leads back to SESSION_NEW. */
void session_expect_tls(struct session *s);

size_t session_feed(struct session *s, const struct session_event *ev);
/* An event for the session's transaction; ignored when none runs any more. */
void session_feed_transaction(struct session *s, const struct event *ev);
bool session_next(struct session *s, struct session_action *out);

enum session_wait session_wait(const struct session *s);
/* Whose mail it is, to filters, the log and targets: who XFORWARD has named, or the client. Rights
 * and limits are the client's. */
const struct identity *session_origin(const struct session *s);
/* Of the content that came last, as far as it came; empty: it has none. */
static inline struct bytes session_message_id(const struct session *s)
{
    return bytes_make(s->content.header.id, s->content.header.id_len);
}
/* Would session_feed() take octets now? */
bool session_wants_input(const struct session *s);
/* Are those that come next content? */
static inline bool session_takes_content(const struct session *s)
{
    return s->state == SESSION_CONTENT || s->state == SESSION_CHUNK;
}

/* What filters are asked. It stays as it is until they answer, or the session takes it back. */
struct session_question {
    enum session_stage stage;
    struct bytes text; /* HELO, MAIL, RCPT: the argument; COMMAND, LINE: the line */
    const struct transaction *transaction; /* from MAIL on, at which it is not accepted yet */
    const struct recipient *rcpt;          /* of RCPT */
};
/* A step of AUTH. The response is a secret, wiped once it has its answer. */
struct session_sasl {
    uint32_t mechanism;    /* a bit of sasl.def */
    bool is_first;         /* an exchange begins; another that was open is over */
    bool has_response;     /* false: the first step of a client that waits for a challenge */
    struct bytes response; /* in base64 */
};
/* Legal while the session awaits SESSION_ACT_AUTH. */
struct session_sasl session_sasl(const struct session *s);
/* Is part of what session_feed() took last a secret? */
bool session_took_secret(const struct session *s);
/* Does the session wait for the answer to SESSION_ACT_FILTER, ROUTE, ETRN, MECHANISMS, AUTH? */
bool session_awaits(const struct session *s, enum session_action_kind question);
/* Legal while the session awaits SESSION_ACT_FILTER. */
struct session_question session_question(const struct session *s);

#endif
