/* SPDX-License-Identifier: BSD-2-Clause */
/* One branch of a transaction at a relay: what hangs on branch->shell. */
#ifndef POSTERN_RELAY_BRANCH_H
#define POSTERN_RELAY_BRANCH_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/list.h"
#include "proxy/io/deadline.h"
#include "proxy/io/loop.h"
#include "proxy/smtp/outbound.h"
#include "proxy/smtp/reply.h"
#include "route/carrier.h"
#include "route/relay/relay_connect.h"
#include "route/relay/relay_content.h"
#include "route/relay/relay_line.h"
#include "route/relay/relay_pace.h"
#include "route/relay/relay_stock.h"

struct relay;
struct relay_link;

enum relay_branch_state {
    RELAY_BRANCH_NEW,     /* has asked for nothing, or its connection was taken back */
    RELAY_BRANCH_WAITING, /* in relay.line */
    RELAY_BRANCH_NAMING,  /* has a connection; the client's name is being looked up */
    RELAY_BRANCH_ACTIVE,  /* its transaction runs on `link` */
    RELAY_BRANCH_FAILED   /* `failure` is the answer to everything */
};

/* In the mail arena. Gone, and branch->shell NULL, once its last event is reported. */
struct relay_branch {
    struct branch *branch;
    struct carrier *carrier;
    struct relay *relay;
    struct relay_link *link; /* NAMING and ACTIVE */
    struct relay_dial *dial; /* WAITING for a PROXY connection of its own */
    struct relay_waiter waiter;
    struct recipient *last; /* the last one that rcpt() brought */
    struct recipient *mark; /* when it is answered, the others' time begins anew */
    enum relay_branch_state state;
    struct deadline deadline;
    struct loop_post post;
    uint64_t envelope_due_ms; /* while `unanswered` is not 0 */
    struct relay_pace pace;   /* while ACTIVE */
    struct reply failure;     /* FAILED; in the mail arena, or a constant */
    struct relay_content content;
    unsigned unanswered;       /* recipients whose RCPT awaits its reply, all connections */
    unsigned identity;         /* enum identity_kind bits in use */
    enum relay_failure failed; /* FAILED: how */
    bool wants_data;
    struct relay_again again;
    bool is_breaking;  /* open recipients are being answered, then EV_BROKEN comes */
    bool has_guarded;  /* recipients wait for a reply in the target's stead */
    bool is_lost;      /* see struct relay_identity_choice */
    bool *dropped_out; /* set when it is dropped while it reports */
};

void relay_branch_init(struct relay_branch *w, struct carrier *c, struct branch *b);
/* It needs a connection: now, or when one is to be had. */
void relay_branch_ask(struct relay_branch *w);
/* ACTIVE: this recipient too, unless it is guarded. */
void relay_branch_send(struct relay_branch *w, struct recipient *r);
/* NAMING: the client's name is known, or has been waited for long enough. */
void relay_branch_named(struct relay_branch *w);
/* Call it when `unanswered` or the state has changed. */
void relay_branch_update_deadline(struct relay_branch *w);

/* A connection came: from relay_pool.c, which has it as busy. Never reports. */
void relay_branch_start(struct relay_branch *w, struct relay_link *link);
/* No connection, or no way to use it. Reports later. The reply is copied. */
void relay_branch_fail(struct relay_branch *w, const struct reply *reply, enum relay_failure how);

/* ---- others wait for a connection: from relay_yield.c ---- */

/* For which client net it waits and holds a connection. */
uint64_t relay_branch_net(const struct relay_branch *w);
/* It is the client's turn, and the end of its message has not come. */
bool relay_branch_is_unfinished(const struct relay_branch *w);
/* Nothing of the message has been freed. */
bool relay_branch_may_begin_anew(const struct relay_branch *w);
/* The connection is taken back until the message is whole; or, where it may not begin anew, for
 * good. */
void relay_branch_yield(struct relay_branch *w);

#endif
