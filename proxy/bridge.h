/* SPDX-License-Identifier: BSD-2-Clause */
/* One client: its stream's events go into the session, the session's actions are performed. */
#ifndef POSTERN_BRIDGE_H
#define POSTERN_BRIDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/id.h"
#include "proxy/base/list.h"
#include "proxy/io/deadline.h"
#include "proxy/io/dns.h"
#include "proxy/io/stream.h"
#include "proxy/bridge_filter.h"
#include "proxy/takeover.h"
#include "proxy/smtp/proxy_header.h"
#include "proxy/smtp/session.h"
#include "proxy/smtpd.h"
#include "route/carrier.h"

#define BRIDGE_CLOSE_MS 10000 /* for the last replies to get out */

struct bridge_times { /* microseconds of loop_precise_us() */
    uint64_t connected, begun, data, ended;
};

/* The state of a bridge's stream. It only goes forward; some states may be left out. */
enum bridge_state {
    BRIDGE_HEADER, /* the header of the PROXY protocol is awaited */
    BRIDGE_OPEN,
    BRIDGE_CLOSING, /* the session is over: the stream is closed once all replies are out */
    BRIDGE_SHUT,    /* all replies and a FIN are out; the client may still send */
    BRIDGE_CUT,     /* nobody is there to be written to, and the stream is being closed */
    BRIDGE_GONE     /* the stream is gone; a transaction may still run */
};

struct bridge_tls {
    bool is_begun, is_running; /* the handshake */
    size_t dropped;            /* octets that came before it, and were thrown away */
};

struct bridge_auth; /* bridge_auth.c */

struct bridge {
    struct carrier carrier;
    struct session session;
    struct stream *stream;
    struct smtpd *smtpd;
    struct smtpd_client *counted; /* NULL: exempt from the limits */
    struct list in_smtpd;
    struct proxy_reader *proxy; /* BRIDGE_HEADER: what has come of it */
    struct deadline deadline;
    uint64_t session_end_ms;        /* BRIDGE_HEADER: the header is whole by then */
    struct etrn *etrn;              /* that waits for its answer; NULL: none */
    struct bridge_auth *auth;       /* NULL: it has not begun */
    struct bridge_filters *filters; /* beside this client; NULL: none was asked yet */
    struct dns_query *query;        /* reverse DNS under way */
    uint8_t *reverse_name;          /* session.client.reverse_name points to it; owned */
    struct id id;
    struct bridge_times times;
    struct copy_net *net;      /* the memory held for this client is counted there */
    uint64_t envelope_bytes;   /* so many octets of session.mail are counted into max-memory */
    struct takeover *takeover; /* the spool file's job; NULL: none runs */
    uint64_t final_due_ms;     /* the end of data has its reply by then */
    enum bridge_state state;
    struct bridge_tls tls;
    int error; /* why the client was lost; 0: it was not */
};

/* Takes the stream over. `state`: BRIDGE_OPEN, or BRIDGE_HEADER where a proxy has connected, which
 * is not counted. False: no memory, the stream is not adopted. */
bool bridge_start(struct smtpd *d, struct stream *stream, enum bridge_state state,
                  struct smtpd_client *counted);
/* We are shutting down: the session ends when its transaction is over, or now. */
enum bridge_stop_when { BRIDGE_STOP_SOON, BRIDGE_STOP_NOW };
void bridge_stop(struct bridge *b, enum bridge_stop_when when);

/* ---- between the files of the bridge ---- */

/* bridge_proxy.c: awaits the header. False: no memory. */
bool bridge_proxy_begin(struct bridge *b);
/* Takes octets of the header, and none behind it. *error_out: as proxy_reader_take() says; 0: the
 * client is known and was met. */
size_t bridge_proxy_take(struct bridge *b, struct bytes in, int *error_out);
void bridge_proxy_fail(struct bridge *b, int error); /* logs that it does not come */

/* bridge_client.c: decides what hangs on the client; XCLIENT has said these attributes of it. */
void bridge_client_decide(struct bridge *b);
/* The client is known, after the header where there is one: it is greeted, or turned away. */
void bridge_client_meet(struct bridge *b, const struct proxy_header *header, enum reply_id id);
void bridge_client_greet(struct bridge *b); /* after greet-delay, where there is one */
void bridge_client_asserted(struct bridge *b, uint32_t attributes);
/* The client is over a limit, or there is no memory: it is told, and not counted. */
void bridge_client_turn_away(struct bridge *b, enum reply_id id);

/* bridge_tls.c: legal in SESSION_SECURING, when all that was said before is out. 0, or ERR_MEMORY.
 */
int bridge_tls_start(struct bridge *b);
/* False: no memory. */
bool bridge_tls_secured(struct bridge *b, const struct tls_facts *facts);
void bridge_tls_forget(struct bridge *b); /* the stream is gone */

/* bridge_auth.c: SESSION_ACT_MECHANISMS, SESSION_ACT_AUTH. Only where clients can log in. */
void bridge_auth_offer(struct bridge *b);
void bridge_auth_step(struct bridge *b);
void bridge_auth_named(struct bridge *b);  /* the client's name is not pending any more */
void bridge_auth_forget(struct bridge *b); /* no answer is wanted any more, and nobody is known */

/* bridge_wait.c: for what session_wait() says, where that has no due time of its own. */
uint64_t bridge_wait_ms(const struct bridge *b);

/* bridge_route.c: where a recipient goes; the answer lies in the mail arena. */
void bridge_resolve(struct bridge *b, const struct recipient *rcpt, struct routed *routed_out);

/* bridge_name.c: asks for the client's name, tells it to the branches that wait for it. */
void bridge_name_ask(struct bridge *b);
void bridge_name_forget(struct bridge *b);

/* bridge_log.c */
void bridge_log_connect(struct bridge *b, const struct proxy_header *header); /* or NULL */
void bridge_log_no_header(struct bridge *b, int error);
void bridge_log_asserted(struct bridge *b); /* who is in front has said who the client is */
void bridge_log_tls(struct bridge *b, const struct tls_facts *facts);
void bridge_log_tls_failed(struct bridge *b, int error);
void bridge_log_auth(struct bridge *b);
void bridge_log_login_lost(struct bridge *b);
void bridge_log_auth_failed(struct bridge *b, const struct reply *reply, struct bytes login);
void bridge_log_disconnect(struct bridge *b);
void bridge_log_reject(struct bridge *b, const struct session_action *what);
void bridge_log_copy_failed(struct bridge *b, int error); /* the spool directory's trouble */
void bridge_log_transaction(struct bridge *b);

#endif
