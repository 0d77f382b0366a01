/* SPDX-License-Identifier: BSD-2-Clause */
/* The contract between a filter and the chain that asks it (README.md is the way in).
 *
 * A filter is asked at the stages that it names, about one client at a time per seat, and answers
 * by filter_answer(): within ask() or later. It holds nothing up until it does: what was asked at
 * CONNECT, HELO or MAIL is waited for at the first RCPT. It is never asked again before it has
 * answered or was told to forget. */
#ifndef POSTERN_FILTER_H
#define POSTERN_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/smtp/event.h"
#include "proxy/smtp/identity.h"
#include "proxy/smtp/reply.h"
#include "proxy/smtp/transaction.h"

struct filter;
struct filter_common;

/* A filter beside one client. */
struct filter_seat {
    struct filter *filter;
    void *session, *message; /* the filter's own, NULL at first: see session_ended, message_ended */
};

/* What is asked. Everything here is borrowed for the time of ask(): copy what is needed later. */
struct filter_question {
    enum session_stage stage;
    const struct identity *client;     /* as asserted by XFORWARD, XCLIENT or PROXY */
    struct bytes helo;                 /* empty: not said yet */
    const struct transaction *message; /* from MAIL on: its envelope, and the recipients so far */
    const struct recipient *rcpt;      /* RCPT */
    struct bytes text;                 /* COMMAND, LINE: the line */
};

enum filter_opinion {
    FILTER_CONTINUE, /* nothing against it so far */
    FILTER_ACCEPT,   /* and no more questions: about this message, or before MAIL this session */
    FILTER_REPLY,    /* the client gets `reply`: 4xx or 5xx, never 421; at COMMAND and LINE also 2xx
                        and 3xx. Given at CONNECT or HELO it is for all that the client does, at
                        MAIL for the message, else for this recipient, command or message */
    FILTER_FAILED    /* cannot judge: on-error says what that means */
};

/* Borrowed by filter_answer(). */
struct filter_verdict {
    enum filter_opinion opinion;
    struct reply reply;
    struct bytes word;  /* for the log: what was found, as "softfail"; empty: nothing to say */
    struct bytes lines; /* at MAIL, RCPT and DATA: whole header fields, each ended by CRLF, that are
                           put in front of the message; the filter's earlier ones are replaced */
};

/* Once for each ask(). The seat may be gone after this. */
void filter_answer(struct filter_seat *seat, const struct filter_verdict *verdict);

struct filter_ops {
    void (*ask)(struct filter_seat *seat, const struct filter_question *question);
    /* The answer is not wanted any more: it must not be given. NULL: the filter always answers
     * within ask(). */
    void (*forget)(struct filter_seat *seat);
    /* The content passes by while it streams: each header field once, raw with its folds and CRLFs
     * (of one that is longer than FILTER_FIELD_MAX only the beginning), then the body in pieces.
     * NULL: the filter does not look. Asked at END it has seen all of it. */
    void (*field)(struct filter_seat *seat, struct bytes field);
    void (*body)(struct filter_seat *seat, struct bytes piece);
    /* The message, the session is over, however it ended; nothing is asked then. NULL: the filter
     * keeps nothing. Frees what seat->message, seat->session point to. */
    void (*message_ended)(struct filter_seat *seat);
    void (*session_ended)(struct filter_seat *seat);
    /* ---- life ---- */
    /* No seat is left: everything that keeps the loop running ends. NULL: there is nothing. */
    void (*close)(struct filter *filter);
    void (*free)(struct filter *filter); /* after the loop has ended */
};

#define FILTER_FIELD_MAX 65536 /* octets of a header field that field() gets */

/* First member of every filter: one section at work in one process. */
struct filter {
    const struct filter_ops *ops;
    const struct filter_common *common; /* what every section says: filter_conf.h */
    uint32_t stages;                    /* at which it is asked: bits by enum session_stage */
    struct bytes authserv_id; /* its name in Authentication-Results: fields of that name which come
                                 with a message are taken out; empty: it writes none */
    uint64_t timeout_ms; /* for each answer, then it counts as FILTER_FAILED; 0: every answer is
                            given within ask() */
};

#endif
