/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection to Dovecot's auth service: one for each listener and process, for all clients that
 * authenticate themselves there. It is made anew when it was lost. */
#ifndef POSTERN_DOVECOT_H
#define POSTERN_DOVECOT_H

#include <stdbool.h>

#include "proxy/base/list.h"
#include "proxy/io/deadline.h"
#include "proxy/io/log.h"
#include "proxy/smtp/dovecot_auth.h"

struct dovecot; /* opaque */

struct dovecot_services {
    struct loop *loop;
    struct log *log;
    uint32_t log_sinks;
};

/* `path`: of its socket. Begins to connect. NULL: no memory. */
struct dovecot *dovecot_new(const struct dovecot_services *services, struct bytes path);
void dovecot_close(struct dovecot *d); /* legal once, when no call is under way */
void dovecot_free(struct dovecot *d);  /* legal behind that, when the loop has ended */

/* False: it may be ready soon, see dovecot_await(). */
bool dovecot_is_settled(const struct dovecot *d);
/* What it took last, as bits of sasl.def; 0: it has never been there. */
uint32_t dovecot_mechanisms(const struct dovecot *d);

/* A client's exchange, or its wait for the server. Embedded in its owner, who zeroes it. */
struct dovecot_call {
    struct list in_server;
    const struct dovecot_call_use *use;
    struct dovecot *server; /* NULL: nothing is under way */
    uint32_t id;            /* of the exchange */
    bool is_due;            /* an answer to it */
    struct deadline deadline;
};
struct dovecot_call_use { /* the owner's, who may go in any of them */
    /* The wait is over: the server is ready, or does not come. */
    void (*settled)(struct dovecot_call *call);
    /* CHALLENGE: the exchange goes on with dovecot_continue(). OK, FAILED, and NULL: the server is
     * gone, or has no answer: it is over. `said` is borrowed. */
    void (*answered)(struct dovecot_call *call, const struct dovecot_auth_said *said);
};

/* Legal when the server is not settled. */
void dovecot_await(struct dovecot *d, struct dovecot_call *call,
                   const struct dovecot_call_use *use);

/* What a client says. The response is a secret: it is in base64, and nobody keeps it. */
struct dovecot_request {
    uint32_t mechanism;
    const struct dovecot_auth_client *client;
    bool has_response;
    struct bytes response;
};
/* False: the server is not ready, takes no more for now, or would not take a line that long. */
bool dovecot_begin(struct dovecot *d, struct dovecot_call *call, const struct dovecot_call_use *use,
                   const struct dovecot_request *request);
/* Legal after a CHALLENGE. False: likewise, or the server has gone since; the exchange is over. */
bool dovecot_continue(struct dovecot_call *call, struct bytes response);
/* Nothing is wanted any more. Does nothing where nothing is under way. */
void dovecot_forget(struct dovecot_call *call);

#endif
