/* SPDX-License-Identifier: BSD-2-Clause */
/* A client of a mail server that asks us: what is known of it and its message, and its walk along
 * the filters. All of this happens on the loop. */
#ifndef POSTERN_MILTERD_CLIENT_H
#define POSTERN_MILTERD_CLIENT_H

#include "proxy/milterd.h"
#include "proxy/smtp/reply.h"
#include "proxy/smtp/transaction.h"

struct milterd_client;

/* In the order in which they come. */
enum milterd_event {
    MILTERD_CONNECT,    /* address, text: its name, macro "_" */
    MILTERD_HELO,       /* text */
    MILTERD_MAIL,       /* text: the address; params; login, queue_id */
    MILTERD_RCPT,       /* likewise */
    MILTERD_DATA,       /* queue_id */
    MILTERD_FIELD,      /* text: its name; value, with LF at its folds */
    MILTERD_HEADER_END, /* the empty line */
    MILTERD_BODY,       /* text: a piece of it */
    MILTERD_END,        /* queue_id */
    MILTERD_ABORT,      /* the message is over */
    MILTERD_CLOSE,      /* the client is gone */
    MILTERD_COMMAND,    /* text: a line that the mail server does not know; at any time */
    MILTERD_OVER        /* libmilter serves no more; of no client */
};

#define MILTERD_FORGED_MAX 100 /* fields; a message with more of them is refused */

struct milterd_answer {
    struct reply refusal; /* code 0: go on; its words are `words` */
    /* END: which Authentication-Results fields are forged: their numbers from 1, ascending */
    unsigned forged[MILTERD_FORGED_MAX];
    unsigned forged_count;
    size_t lines_len;
    uint8_t words[REPLY_MAX_BYTES];
    uint8_t lines[TRANSACTION_LINES_MAX]; /* END: header fields for the top of the message */
};

/* What a thread of libmilter hands over. */
struct milterd_call {
    struct crossing_call crossing;
    enum milterd_event event;
    struct milterd_client *client; /* CONNECT sets it; NULL: refused */
    struct netaddr address;
    struct bytes text, value;
    char *const *params;                  /* ends in NULL */
    const char *macro, *login, *queue_id; /* NULL: not given */
    struct milterd_answer *answer;        /* NULL: there is only one */
};

/* Whatever the event is, the call is answered, at once or later. */
void milterd_client_take(struct milterd *d, struct milterd_call *call);
/* All of them; an answer that is due is: try later. */
void milterd_clients_free(struct milterd *d);

#endif
