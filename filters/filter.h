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

enum filter_edit_kind {
    FILTER_ADD_FIELD,     /* behind the last header field: name, value */
    FILTER_INSERT_FIELD,  /* likewise, before field number `index`: 0 and 1 are the first */
    FILTER_CHANGE_FIELD,  /* the value of the field that is the index-th of its name, from 1, in the
                             message as shown; empty: it goes. Beyond the last: it is added */
    FILTER_REPLACE_BODY,  /* value: the next octets of the new body; the first begin it */
    FILTER_CHANGE_SENDER, /* value: an address without <>; params: ESMTP words, or empty */
    FILTER_ADD_RCPT,      /* likewise */
    FILTER_DELETE_RCPT,   /* value: the address as the client named it */
    FILTER_QUARANTINE     /* value: why. The message is held in the spool and goes nowhere */
};
#define FILTER_EDIT(kind) (1U << (kind))
/* Edits of these kinds hold the content back until the filter has answered at END. */
#define FILTER_EDITS_CONTENT                                                                       \
    (FILTER_EDIT(FILTER_ADD_FIELD) | FILTER_EDIT(FILTER_INSERT_FIELD) |                            \
     FILTER_EDIT(FILTER_CHANGE_FIELD) | FILTER_EDIT(FILTER_REPLACE_BODY))
/* Edits of these kinds hold back DATA, too. */
#define FILTER_EDITS_ENVELOPE                                                                      \
    (FILTER_EDIT(FILTER_CHANGE_SENDER) | FILTER_EDIT(FILTER_ADD_RCPT) |                            \
     FILTER_EDIT(FILTER_DELETE_RCPT))

#define FILTER_EDITS_ALL                                                                           \
    (FILTER_EDITS_CONTENT | FILTER_EDITS_ENVELOPE | FILTER_EDIT(FILTER_QUARANTINE))

/* Borrowed by filter_edit(). A field's value is what stands behind the colon, so with its blank,
 * folds as CRLF and a blank, without the last CRLF; the filter sees to it that no octet in it could
 * end the field. */
struct filter_edit {
    enum filter_edit_kind kind;
    uint32_t index;
    struct bytes name, value, params;
};

/* A filter beside one client. */
struct filter_seat {
    struct filter *filter;
    void *session, *message; /* the filter's own, NULL at first: see session_ended, message_ended */
    uint32_t edits; /* FILTER_EDIT() bits of what it may do to this client's messages. Like those of
                       the filter at first; one that learns that it needs less takes some away
                       before it answers at DATA */
};

/* What is asked. Everything here is borrowed for the time of ask(): copy what is needed later. */
struct filter_question {
    enum session_stage stage;
    const struct identity *client;     /* as asserted by XFORWARD, XCLIENT or PROXY */
    struct bytes helo;                 /* empty: not said yet */
    const struct transaction *message; /* from MAIL on: its envelope, and the recipients so far */
    const struct recipient *rcpt;      /* RCPT */
    struct bytes text;                 /* COMMAND, LINE: the line */
    struct bytes hostname, listener;   /* our name, and the section of the listener */
};

enum filter_opinion {
    FILTER_CONTINUE, /* nothing against it so far */
    FILTER_ACCEPT,   /* and no more questions: about this message, or before MAIL this session */
    FILTER_REPLY,    /* the client gets `reply`: 4xx or 5xx, and 421 closes its connection; at
                        COMMAND and LINE also 2xx and 3xx. Given at CONNECT or HELO it is for all
                        that the client does, at MAIL for the message, else for this recipient,
                        command or message */
    FILTER_DISCARD,  /* from MAIL on, at RCPT too: the message is taken and thrown away */
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
/* Legal while END is in question, for edits among seat->edits. They are made in this order, if the
 * answer is CONTINUE or ACCEPT; else none is. False: there is no room now for this piece of a body:
 * it is to be given again when go_on() is called. */
bool filter_edit(struct filter_seat *seat, const struct filter_edit *edit);
/* There is room again for what field() or body() did not take. Not to be called within these. */
void filter_more(struct filter_seat *seat);

struct filter_ops {
    void (*ask)(struct filter_seat *seat, const struct filter_question *question);
    /* The answer is not wanted any more: it must not be given. NULL: the filter always answers
     * within ask(). */
    void (*forget)(struct filter_seat *seat);
    /* The content: each header field once, raw with its folds and CRLFs (of one that is longer than
     * FILTER_FIELD_MAX only the beginning), then the body in pieces of up to 64 KiB. It passes by
     * while it streams; behind a filter that may edit it, when that one has answered at END, with
     * its edits. False: no room now, the same is shown again after filter_more(). NULL: the filter
     * does not look. Asked at END it has seen all of it. */
    bool (*field)(struct filter_seat *seat, struct bytes field);
    bool (*body)(struct filter_seat *seat, struct bytes piece);
    void (*go_on)(struct filter_seat *seat); /* see filter_edit(); NULL: it replaces no bodies */
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
    uint32_t edits;                     /* FILTER_EDIT() bits of what it may do at most */
    struct bytes authserv_id; /* its name in Authentication-Results: fields of that name which come
                                 with a message are taken out; empty: it writes none */
    bool wants_name;     /* it is asked when the client's name is known, or that there is none */
    uint64_t timeout_ms; /* for each answer, then it counts as FILTER_FAILED; 0: every answer is
                            given within ask() */
};

#endif
