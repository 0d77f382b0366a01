/* SPDX-License-Identifier: BSD-2-Clause */
/* One SMTP or LMTP connection to a target, from the greeting to QUIT: what we say, and what follows
 * from each answer. Pure: fed with octets, drained of events; what is to be sent collects in `out`.
 *
 * Life: outbound_start() - [SECURE - outbound_secured()] - { AUTH - outbound_auth() } - READY - {
 * outbound_begin() - rcpt.. - data - frame.. - end - IDLE } - outbound_quit(). A client may log in
 * where a transaction may begin: [ outbound_introduce() - READY ] - { outbound_login() - LOGIN }.
 * Commands are
 * pipelined (RFC 2920) where the target announces it; those that may not go yet, or have no room in
 * `out`, wait inside. After every call the caller calls outbound_next() until it returns false,
 * sends what stands in `out`, and reports it by outbound_said(). After GONE only outbound_done() is
 * legal. */
#ifndef POSTERN_OUTBOUND_H
#define POSTERN_OUTBOUND_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/list.h"
#include "proxy/smtp/capability.h"
#include "proxy/smtp/envelope.h"
#include "proxy/smtp/identity.h"
#include "proxy/smtp/reply.h"
#include "proxy/smtp/transaction.h"

enum outbound_state {
    OUT_GREETING,   /* waiting for 220 */
    OUT_EHLO,       /* waiting for the reply to EHLO or LHLO */
    OUT_HELO,       /* EHLO was refused; waiting for the reply to HELO */
    OUT_STARTTLS,   /* waiting for the reply to STARTTLS */
    OUT_SECURING,   /* the TLS handshake; then EHLO again */
    OUT_PROVING,    /* what AUTH says next is being made out; see outbound_auth() */
    OUT_AUTH,       /* waiting for the reply to AUTH, or to what it said last */
    OUT_IDLE,       /* ready for a transaction */
    OUT_XCLIENT,    /* waiting for the 220 to XCLIENT; then EHLO again */
    OUT_ENVELOPE,   /* XFORWARD, MAIL, RCPT, DATA; answers come in order */
    OUT_CONTENT,    /* content may flow */
    OUT_FINAL,      /* the whole content and its end were sent */
    OUT_LOGIN,      /* waiting for the reply to a client's AUTH, or to what it said last */
    OUT_LOGIN_LINE, /* a client's AUTH: the target waits for its next line */
    OUT_DRAINING,   /* the transaction is over; answers that are still due are ignored */
    OUT_QUITTING,
    OUT_GONE
};

enum outbound_sent_kind { /* commands without an answer yet, in order */
                          SENT_XFORWARD,
                          SENT_MAIL,
                          SENT_RCPT,
                          SENT_DATA,
                          SENT_BDAT,
                          SENT_END, /* the final dot, or BDAT LAST */
                          SENT_RSET,
                          SENT_LONE_DOT /* closes a DATA in which no recipient stood */
};

enum outbound_gone {
    GONE_CLOSED,   /* after QUIT, or a 421 or EOF while idle */
    GONE_REFUSED,  /* greeted with 4xx or 5xx (not 521), or EHLO and HELO refused: try another
                      address */
    GONE_LOST,     /* EOF, 421, garbage, a reply to nothing. For the log, `reply` is what was heard
                      (code 0: it was no reply); where nothing was heard, `error` says why */
    GONE_SHORTAGE, /* no memory here: the target is not to blame */
    GONE_VERDICT,  /* the target's verdict on this client, in `reply`; also 521 */
    GONE_IDENTITY, /* identity could not be handed on: `reply` is the target's; code 0: it announced
                      no way to */
    GONE_ABORTED   /* content was cut short, so that only closing was left */
};

#define OUTBOUND_SENT_MAX 64 /* more RCPTs wait inside until answers have come */

struct outbound_sent {
    enum outbound_sent_kind kind;
    struct recipient *rcpt; /* of SENT_RCPT; NULL: nobody wants the answer any more */
};

struct outbound_ring {
    struct outbound_sent at[OUTBOUND_SENT_MAX];
    uint8_t first, count;
};

/* The answer to every RCPT where MAIL or the identity was refused, or MAIL cannot be sent. */
struct outbound_refusal {
    struct reply reply; /* code 0: none */
    struct reply heard; /* code not 0: the target's words, where `reply` is our own */
    struct buf words;   /* the octets of the one that is the target's */
    bool is_identity;   /* XFORWARD was refused; kept until outbound_begin(). Where reply.code is 0
                           the transaction goes on without */
};

/* What outbound_next() has yet to report. */
struct outbound_due {
    bool has_go, has_idle, has_gone;
    int auth_error;      /* not 0: AUTH has failed here */
    bool has_eof;        /* nothing comes behind `unread` */
    bool has_over_limit; /* the first of `waiting` is more than the target announced to take */
    enum outbound_gone why;
    bool is_end_sent;
};

/* Recipients of this transaction, by struct recipient.in_outbound. */
struct outbound_rcpts {
    struct list waiting; /* their RCPTs are to be sent */
    struct list owed;    /* LMTP: they were accepted, and have no answer to the end of data yet; in
                            RCPT order */
    bool is_end_refused; /* an answer to the end of data was negative */
};

/* One transaction as this connection shall see it. Borrowed until IDLE, GONE or abort. */
struct outbound_job {
    const struct envelope *envelope;
    const struct identity *client; /* for XCLIENT */
    const struct identity *origin; /* for XFORWARD */
    bool sends_xclient;            /* once per connection, before anything else */
    bool sends_xforward;
    bool passes_without_identity; /* identity-failure = pass */
    bool passes_530;              /* the client may log in at this target: it is its to hear */
    enum identity_form form;
    uint32_t patience_s; /* XCLIENT's TIMEOUT; 0: not said */
    uint64_t size_bytes; /* SIZE in place of the client's estimate; 0: the estimate */
};

enum outbound_tls {
    OUTBOUND_TLS_NONE,
    OUTBOUND_TLS_MAY,     /* where the target announces STARTTLS, and takes it */
    OUTBOUND_TLS_REQUIRED /* a target without is of no use */
};

struct outbound_conf {  /* outlives the connection */
    bool uses_chunking; /* where announced: BDAT instead of DATA */
    enum outbound_tls tls;
    bool verifies_tls;  /* a connection that is secured is to who it should be */
    bool authenticates; /* a target that does not take our own credentials is of no use */
    bool is_lock_step;  /* one command at a time, whatever the target announces */
    bool is_lmtp;       /* RFC 2033: LHLO, and an answer for each recipient to the end of data */
};

/* How the connection was opened. */
struct outbound_hello {
    struct bytes helo; /* what EHLO says; borrowed */
    bool is_secured;   /* by TLS */
    bool is_asked;     /* AUTH was begun, and the target waits for more */
    bool is_proof;     /* what AUTH said last: the target may say 235 */
    bool is_authenticated;
    bool avoids_tls; /* the target does not take it, or a handshake with it has failed */
};

struct outbound {
    const struct outbound_conf *conf;
    enum outbound_state state;
    struct capability caps;
    struct reply_parser in;
    struct buf unread; /* fed, but not looked at yet */
    struct buf out;
    struct outbound_hello hello;
    struct outbound_job job;
    bool has_job;
    bool is_impersonated; /* XCLIENT or PROXY was sent: serves one client only */
    bool is_xclient_sent;
    bool needs_rset;     /* the target may have a transaction open that is over for us */
    bool is_mail_sent;   /* in this transaction */
    bool wants_data;     /* the client has sent DATA */
    bool is_dot_content; /* DATA was sent: content ends with a dot, there is no way back */
    struct buf xforward; /* XFORWARD commands that were not sent yet */
    struct outbound_refusal refusal; /* of this transaction */
    struct outbound_rcpts rcpts;
    struct limits_used named; /* RCPTs of this transaction that were sent */
    struct outbound_ring sent;
    uint64_t chunk_left;   /* octets of the announced BDAT chunk that were not written yet */
    unsigned accepted;     /* recipients that the target took in this transaction */
    unsigned refusals;     /* commands refused since the last accepted message */
    unsigned transactions; /* begun on this connection */
    struct outbound_due due;
};

enum outbound_event_kind {
    OUTBOUND_SECURE, /* begin the TLS handshake, then outbound_secured(). `dropped` octets came in
                        plain behind the reply to STARTTLS, and were thrown away */
    OUTBOUND_AUTH,   /* find out what AUTH says, or says next, then outbound_auth(), or
                        outbound_auth_failed(). reply.code 0: `caps` has the mechanisms; 334: with the
                        target's challenge */
    OUTBOUND_READY,  /* `caps` are known: outbound_begin() is legal */
    OUTBOUND_LOGIN,  /* reply: to what outbound_login() said. 334: the target waits for the next
                        line; else AUTH is over, and the connection idle */
    OUTBOUND_ANSWER, /* rcpt, fate, reply */
    OUTBOUND_GO,     /* content may be sent: see outbound_frame() */
    OUTBOUND_FINAL_ANSWER, /* fate, reply: for all that stand, or for `rcpt` (LMTP). is_early:
                              before our end of data. is_last: no other comes, and IDLE or GONE
                              follows, maybe later */
    OUTBOUND_IDLE,         /* the transaction is over, no answer is due: another may begin */
    OUTBOUND_REFUSED, /* the target does not want us: why, reply. QUIT goes out, GONE follows */
    OUTBOUND_GONE     /* the connection is of no use any more: close it. why, reply */
};

struct outbound_event {
    enum outbound_event_kind kind;
    struct recipient *rcpt;
    enum fate fate;
    struct reply reply; /* borrowed until the next call; verbatim the target's, or our own */
    enum outbound_gone why;
    bool is_early;
    bool is_last;
    bool is_heard;    /* ANSWER: the target's reply to this very RCPT */
    bool is_end_sent; /* GONE: the end of data was sent, and its answer will never be known */
    size_t dropped;   /* SECURE */
    int error;        /* GONE without a reply of the target: why */
    bool is_confused; /* the target's reply means that we or the operator erred (500 502 503 530
                         538): `reply` is ours, `heard` the target's, for an error line */
    struct reply heard;
};

/* `small`: blocks for replies, `medium`: for what is to be sent. */
void outbound_init(struct outbound *o, const struct outbound_conf *conf, struct pool *small,
                   struct pool *medium);
void outbound_done(struct outbound *o);
/* Drops all pointers into the transaction, whose memory is about to go. For a connection that is
 * being closed: the state does not change. */
void outbound_forget(struct outbound *o);
/* Legal once, after outbound_init(), when the connection is open; `own` has its two ends.
 * `proxy_version` 1 or 2: a PROXY header for `client` goes first; 0: none. Where `client` is NULL
 * (nobody's connection, or a report's) v2 says LOCAL, and v1 names our own ends, since Postfix
 * refuses UNKNOWN; NULL: they have no addresses. `session`: the id of the client's, for v2; empty:
 * it has none.
 * `helo`, borrowed as long as the connection, is said in EHLO; where it is not one word of
 * printable ASCII, "localhost" is. After XCLIENT the client's own is said, where it is one. */
void outbound_start(struct outbound *o, unsigned proxy_version, const struct identity *client,
                    const struct identity *own, struct bytes session, struct bytes helo);

/* Legal after SECURE, when the handshake is over. */
void outbound_secured(struct outbound *o);

enum outbound_auth_step {
    OUTBOUND_AUTH_GOES_ON,
    OUTBOUND_AUTH_PROOF /* the target may say 235 to it: it has proved itself, where it must */
};
/* Legal after AUTH. `line`, with its line end, is sent, and wiped out of `out` when that is done.
 */
void outbound_auth(struct outbound *o, struct bytes line, enum outbound_auth_step step);
/* Legal after AUTH: nothing can be said to this target. REFUSED follows. */
void outbound_auth_failed(struct outbound *o, int error);

/* Legal after READY or IDLE, outside of a transaction: tells the target who the client is, by
 * XCLIENT where `job` says so and it was not said yet. True: READY follows; false: nothing was to
 * be said. */
bool outbound_introduce(struct outbound *o, const struct outbound_job *job);
/* Legal after READY or IDLE, and after LOGIN with 334: one line of a client's AUTH, with its line
 * end. It is wiped out of `out` when it is sent. LOGIN follows. */
void outbound_login(struct outbound *o, struct bytes line);

/* Legal after READY or IDLE. */
void outbound_begin(struct outbound *o, const struct outbound_job *job);
void outbound_rcpt(struct outbound *o, struct recipient *rcpt);
/* The client has sent DATA. The target gets it, unless BDAT is used. */
void outbound_data(struct outbound *o);

/* `octets` were sent and leave `out`; commands that had no room there may follow. */
void outbound_said(struct outbound *o, size_t octets);

/* How many of `available` octets of content may be written now, behind what stands in `out` (which
 * gets "BDAT n [LAST]" where a chunk begins). `available`: all content in the copy that
 * outbound_wrote() has not reported yet, the rest of an announced chunk included; `is_whole`:
 * no more content follows, and the end is released.
 * With DATA (is_dot_content) the caller stuffs dots, writes *tail_out (the final dot, or nothing)
 * directly after the content, which ends with CRLF, and then calls outbound_ended(). With BDAT
 * *tail_out is empty and the end is in the LAST chunk's head. An announced chunk must be written
 * to its end even when a FINAL_ANSWER has come: call this while chunk_left is not 0. */
uint64_t outbound_frame(struct outbound *o, uint64_t available, bool is_whole,
                        struct bytes *tail_out);
/* The stream took that many octets of content (without stuffed dots). Call this before the target's
 * answer to them is fed: a 250 to a chunk that was not written is taken for garbage. */
void outbound_wrote(struct outbound *o, uint64_t octets);
void outbound_ended(struct outbound *o);
/* Gives the transaction up. True: the connection lives (IDLE follows when it may serve again, or
 * GONE); false: only closing is left. No other event follows. This is the only end of a
 * transaction in which no recipient stands, after DATA too. */
bool outbound_abort(struct outbound *o);
/* Called when a transaction was given up and no other has begun. Sends RSET where the target may
 * still have it open and RSET may be sent now. True: RSET was sent, and another transaction may
 * begin after the next IDLE. */
bool outbound_reset(struct outbound *o);
/* Sends QUIT when idle, or when a client's AUTH waits for a line, and GONE follows; else GONE comes
 * at once. */
void outbound_quit(struct outbound *o);

/* All of `in` is taken, and looked at by outbound_next(). */
void outbound_feed(struct outbound *o, struct bytes in);
void outbound_eof(struct outbound *o);
bool outbound_next(struct outbound *o, struct outbound_event *out);
/* No answer is due, no transaction runs and no event is left: outbound_begin() is legal. */
bool outbound_is_idle(const struct outbound *o);

/* outbound_stage.c */
/* How many replies the target owes, where all that stood in `out` was sent. */
size_t outbound_owed(const struct outbound *o);
/* What is answered next, as an operator calls it: "greeting", "EHLO", "TLS", "RCPT". `sent`: the
 * command, in ENVELOPE. */
const char *outbound_stage(bool is_lmtp, enum outbound_state state, enum outbound_sent_kind sent);

#endif
