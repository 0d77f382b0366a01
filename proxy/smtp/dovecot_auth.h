/* SPDX-License-Identifier: BSD-2-Clause */
/* The lines of Dovecot's protocol for clients of its auth service, version 1. Pure. */
#ifndef POSTERN_DOVECOT_AUTH_H
#define POSTERN_DOVECOT_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"
#include "proxy/smtp/identity.h"

#define DOVECOT_LINE_MAX 8192 /* octets; Dovecot hangs up on a longer one */

enum dovecot_auth_kind {
    DOVECOT_AUTH_OTHER, /* nothing that matters to us */
    DOVECOT_AUTH_VERSION,
    DOVECOT_AUTH_MECHANISM,
    DOVECOT_AUTH_READY, /* the server has introduced itself */
    DOVECOT_AUTH_CHALLENGE,
    DOVECOT_AUTH_OK,
    DOVECOT_AUTH_FAILED
};

enum dovecot_auth_failure {
    DOVECOT_AUTH_REFUSED, /* wrong password, unknown user, ... */
    DOVECOT_AUTH_TEMPORARY,
    DOVECOT_AUTH_DISABLED /* the user must not log in */
};

struct dovecot_auth_said {
    enum dovecot_auth_kind kind;
    enum dovecot_auth_failure failure; /* FAILED */
    uint32_t id;                       /* CHALLENGE, OK, FAILED: of the request */
    uint32_t version;                  /* VERSION: the major one */
    uint32_t mechanism;                /* MECHANISM: its bit; 0: not for us */
    struct bytes challenge;            /* in base64 */
    struct bytes user;                 /* OK; FAILED, where it is known */
};

/* A line without its end, in which texts then lie. 0, or ERR_SYNTAX: it is one that matters, and
 * cannot be right; kind and id are set where they are known. */
int dovecot_auth_read(struct bytes line, struct dovecot_auth_said *said_out);

/* What Dovecot is told of a client. */
struct dovecot_auth_client {
    const struct identity *who;
    struct bytes session;
};

void dovecot_auth_put_hello(struct buf *out, uint32_t client_id);
/* All of a request but its response, and the end of the line. */
void dovecot_auth_put_request(struct buf *out, uint32_t id, uint32_t mechanism,
                              const struct dovecot_auth_client *client);
void dovecot_auth_put_continue(struct buf *out, uint32_t id); /* the same */
void dovecot_auth_put_cancel(struct buf *out, uint32_t id);   /* the whole line */

#endif
