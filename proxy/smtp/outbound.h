/* SPDX-License-Identifier: BSD-2-Clause */
/* One SMTP connection to a target, from the greeting to QUIT: what we say and where an answer
 * takes us. Pure: fed with octets, drained of events; what is to be sent collects in `out`.
 *
 * Life: outbound_start() - READY - { outbound_begin() - rcpt.. - data - frame.. - end - IDLE } -
 * outbound_quit(). RFC 2920 pipelining where announced, lock-step elsewhere; commands that may
 * not go yet, or have no room in `out`, wait inside. After every call: outbound_next() until it
 * says false, then send what stands in `out`, and tell outbound_said(). After GONE only
 * outbound_done() is legal. */
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
    OUT_GREETING, /* waiting for 220 */
    OUT_EHLO,     /* ... for the reply to EHLO */
    OUT_HELO,     /* EHLO was refused: ... to HELO */
    OUT_IDLE,     /* ready for a transaction */
    OUT_XCLIENT,  /* waiting for the 220 to XCLIENT; then EHLO again */
    OUT_ENVELOPE, /* XFORWARD, MAIL, RCPT, DATA; answers come in order */
    OUT_CONTENT,  /* content may flow */
    OUT_FINAL,    /* the end was sent, with all octets before it */
    OUT_DRAINING, /* given up; answers that are still due are absorbed */
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
    GONE_REFUSED,  /* greeted with 4xx or 5xx (not 521), EHLO and HELO refused: try another */
    GONE_LOST,     /* EOF, 421, garbage, an answer to nothing. reply is for the log: what was heard,
                      with code 0 where it was none; nothing was: error says why */
    GONE_SHORTAGE, /* we have no memory for it: the target is not to blame */
    GONE_VERDICT,  /* the target's word on this client: reply has its text; also 521 */
    GONE_IDENTITY, /* identity could not be handed on: reply has the target's words; code 0: its
                      announcement left no way */
    GONE_ABORTED   /* content was cut short: nothing else was possible */
};

#define OUTBOUND_SENT_MAX 64 /* more RCPTs wait inside until answers have come */

struct outbound_sent {
    enum outbound_sent_kind kind;
    struct recipient *rcpt; /* SENT_RCPT; NULL: nobody wants the answer any more */
};

struct outbound_ring {
    struct outbound_sent at[OUTBOUND_SENT_MAX];
    uint8_t first, count;
};

/* What every RCPT is answered with: MAIL was refused, or the identity, or MAIL cannot be sent. */
struct outbound_refusal {
    struct reply reply; /* code 0: none */
    struct reply heard; /* code not 0: the target's words, where `reply` is our own */
    struct buf words;   /* that one of the two points to */
    bool is_identity;   /* XFORWARD was refused; until the next begin. With reply.code 0: passes */
};

/* What outbound_next() has yet to tell. */
struct outbound_due {
    bool has_go, has_idle, has_gone;
    bool has_eof; /* nothing comes behind `unread` */
    enum outbound_gone why;
    bool is_end_sent;
};

/* One transaction as this connection shall see it. Borrowed until IDLE, GONE or abort. */
struct outbound_job {
    const struct envelope *envelope;
    const struct identity *client;
    bool sends_xclient; /* once per connection, before anything else */
    bool sends_xforward;
    bool passes_without_identity; /* identity-failure = pass */
    enum identity_form form;
    uint64_t size_bytes; /* what SIZE says in place of the client's estimate; 0: that stands */
};

struct outbound_conf {  /* outlives the connection */
    bool uses_chunking; /* where announced: no DATA is sent then */
};

struct outbound {
    const struct outbound_conf *conf;
    enum outbound_state state;
    struct capability caps;
    struct reply_parser in;
    struct buf unread; /* fed, and not looked at yet */
    struct buf out;
    struct bytes helo; /* what EHLO says; borrowed */
    struct outbound_job job;
    bool has_job;
    bool is_impersonated; /* XCLIENT or PROXY: bound to one client for ever */
    bool is_xclient_sent;
    bool needs_rset;     /* the target may have a transaction open that is over for us */
    bool is_mail_sent;   /* in this transaction */
    bool wants_data;     /* the client has sent DATA */
    bool is_dot_content; /* DATA was sent: content ends with a dot, there is no way back */
    struct buf xforward; /* commands of this transaction that were not sent yet */
    struct outbound_refusal refusal; /* of this transaction */
    struct list waiting;             /* recipients to be sent: struct recipient.in_outbound */
    struct outbound_ring sent;
    uint64_t chunk_left;   /* octets of the announced BDAT chunk that were not written yet */
    unsigned accepted;     /* recipients that the target took in this transaction */
    unsigned refusals;     /* commands refused since the last accepted message */
    unsigned transactions; /* begun on this connection */
    struct outbound_due due;
};

enum outbound_event_kind {
    OUTBOUND_READY,        /* greeted and EHLOed: caps are known; begin may be called */
    OUTBOUND_ANSWER,       /* rcpt, fate, reply */
    OUTBOUND_GO,           /* content may be framed */
    OUTBOUND_FINAL_ANSWER, /* fate, reply: of all that stand. is_early: before our end of data.
                              IDLE or GONE follows, maybe later */
    OUTBOUND_IDLE,         /* the transaction is over, no answer is due: another may begin */
    OUTBOUND_REFUSED, /* the target will not have us: why, reply. QUIT goes out, GONE follows */
    OUTBOUND_GONE     /* the connection is of no use any more: close it. why, reply */
};

struct outbound_event {
    enum outbound_event_kind kind;
    struct recipient *rcpt;
    enum fate fate;
    struct reply reply; /* borrowed until the next call; verbatim the target's, or our own */
    enum outbound_gone why;
    bool is_early;
    bool is_heard;    /* ANSWER: what the target said to this very RCPT */
    bool is_end_sent; /* GONE: the end of data was sent, and its answer will never be known */
    int error;        /* GONE without words of the target: why */
    bool is_confused; /* a reply that means that we or the operator erred (500 502 503 530
                         538): `reply` is ours, `heard` the target's, for an error line */
    struct reply heard;
};

/* `small`: blocks for replies, `medium`: for what is to be sent. */
void outbound_init(struct outbound *o, const struct outbound_conf *conf, struct pool *small,
                   struct pool *medium);
void outbound_done(struct outbound *o);
/* The transaction's memory is about to go: nothing of it is pointed at any more. Changes no state;
 * for a connection that is being closed. */
void outbound_forget(struct outbound *o);
/* Legal when nothing else has been called but outbound_init(). The connection is there, and these
 * are its own two ends. `proxy_version` 1 or 2: a PROXY header
 * for `client` goes first, 0: none. NULL, or a client without an address: v2 LOCAL, and v1 names
 * our own ends, since Postfix refuses UNKNOWN. `helo` is what EHLO will say; borrowed as long as
 * the connection. Where it is no word of printable ASCII "localhost" stands for it. Behind XCLIENT
 * the client's own is said if it can be. */
void outbound_start(struct outbound *o, unsigned proxy_version, const struct identity *client,
                    const struct identity *own, struct bytes helo);

/* Legal when READY or IDLE has come. */
void outbound_begin(struct outbound *o, const struct outbound_job *job);
void outbound_rcpt(struct outbound *o, struct recipient *rcpt);
void outbound_data(struct outbound *o); /* the client has sent DATA: send it, or nothing (BDAT) */

/* So many octets of `out` were sent and leave it; commands that had no room there may follow. */
void outbound_said(struct outbound *o, size_t octets);

/* How many of `available` octets of content may be written now, behind what stands in `out` (which
 * gets "BDAT n [LAST]" where a chunk begins). `available`: all content in the copy of which
 * outbound_wrote() was not yet told, the unwritten rest of an announced chunk among it; `is_whole`:
 * it is all there is, and the end is released.
 * With DATA (is_dot_content) the caller stuffs dots, writes *tail_out (the final dot, or nothing)
 * directly behind the content, which ends with CRLF, and then calls outbound_ended(). With BDAT
 * *tail_out is empty and the end is in the LAST chunk's head. An announced chunk must be written
 * to its end even when a FINAL_ANSWER has come: ask while chunk_left is not 0. */
uint64_t outbound_frame(struct outbound *o, uint64_t available, bool is_whole,
                        struct bytes *tail_out);
/* The stream took that many octets of content (without stuffed dots). Must be told before what
 * the target says to them is fed: a 250 to a chunk that was not written is no reply. */
void outbound_wrote(struct outbound *o, uint64_t octets);
void outbound_ended(struct outbound *o);
/* Gives the transaction up. True: the connection lives (IDLE follows when it may serve again, or
 * GONE); false: only closing is left. No other event follows. A transaction in which no recipient
 * stands ends in no other way, after DATA too. */
bool outbound_abort(struct outbound *o);
/* No transaction has begun since the last one was given up: RSET goes out if that is open at the
 * target still, and nothing forbids it now. False: nothing was said. True: another may begin when
 * IDLE has come once more. */
bool outbound_reset(struct outbound *o);
/* Says QUIT when idle, GONE follows; else GONE comes at once. */
void outbound_quit(struct outbound *o);

/* All of `in` is taken, and looked at by outbound_next(). */
void outbound_feed(struct outbound *o, struct bytes in);
void outbound_eof(struct outbound *o);
bool outbound_next(struct outbound *o, struct outbound_event *out);
/* No answer is due, nothing has begun and nothing is left to be told: may serve a transaction. */
bool outbound_is_idle(const struct outbound *o);

#endif
