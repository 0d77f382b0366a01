/* SPDX-License-Identifier: BSD-2-Clause */
/* Who carries a transaction: a bridge, while a client waits, or a delivery of the spool. What the
 * transaction asks for is performed here, in one way for both; what its branches report is fed to
 * the owner's machine, and what follows from that is performed in turn. */
#ifndef POSTERN_CARRIER_H
#define POSTERN_CARRIER_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/list.h"
#include "proxy/io/copy.h"
#include "proxy/io/loop.h"
#include "proxy/smtp/event.h"
#include "proxy/smtp/identity.h"
#include "proxy/smtp/transaction.h"

struct carrier;
struct target;

/* What a bridge and a delivery do in ways of their own. */
struct carrier_ops {
    /* Its machine is told; nothing is performed yet. */
    void (*feed)(struct carrier *c, const struct event *ev);
    /* Takes from its machine whatever is due, and performs it; by carrier_perform() what is the
     * transaction's. */
    void (*perform_all)(struct carrier *c);
    /* Nothing more follows for now. The carrier may be gone after this. NULL: nothing to do. */
    void (*drained)(struct carrier *c);
    /* The spool file. NULL: it is there, and nobody asks (TRANSACTION_QUEUED). */
    void (*prepare_spool)(struct carrier *c);
    void (*commit_spool)(struct carrier *c);
    void (*settled)(struct carrier *c); /* no branch is left to be done */
};

/* Embedded in a bridge or a delivery; lives as long as its branches. */
struct carrier {
    const struct carrier_ops *ops;
    struct loop *loop;
    struct copy *copy; /* of the running transaction */
    struct transaction *transaction;
    const struct identity *client;
    struct bytes hostname; /* "by" in Received */
    bool is_spooled;       /* a delivery of the spool: identity is replayed, Received is added */
    bool is_draining;      /* actions are being performed: who feeds meanwhile does not drain */
    bool has_news;         /* something was fed meanwhile */
    /* is_spooled: enum identity_kind bits that the session's target was told by; 0: it was not
     * reached, and the relay's settings decide; IDENTITY_KIND_NONE: a report of our own. */
    unsigned spooled_identity;
    int64_t spooled_wall_ms; /* is_spooled: when the message came */
    uint64_t resolve_by_ms;  /* the client's name is waited for until then */
    struct list holds;       /* struct carrier_hold.in_carrier, the newest first */
};

/* Embedded in what a target holds for one carrier alone, whether a transaction runs or not: a
 * connection that carries its client's identity. */
struct carrier_hold {
    struct list in_carrier;
    const struct target *target;
};

/* Everything else is 0. All that is given outlives it. */
void carrier_init(struct carrier *c, const struct carrier_ops *ops, struct loop *loop,
                  const struct identity *client);

/* Legal when it is within carrier_ops.perform_all. One action of the transaction. */
void carrier_perform(struct carrier *c, const struct action *todo);
/* Legal when it is not draining. Everything that is due but for the branches' flush(), which the
 * next drain does. */
void carrier_perform_all(struct carrier *c);
/* Everything, until nothing more follows. To be called after anything was fed, anywhere: within a
 * drain the outer one goes on. The carrier may be gone after this. */
void carrier_drain(struct carrier *c);

/* By branches, the disk and the copy. The carrier feeds its machine and performs what follows: any
 * function of the target may be called meanwhile, drop() on this very branch too. Then
 * branch->shell is NULL. An error of a disk becomes one that the machine knows. */
void carrier_report(struct carrier *c, const struct event *ev);
/* client->name_state is not pending any more: branches that wait for the name go on. */
void carrier_named(struct carrier *c);
/* The client said EHLO again, or is gone: what targets hold for it alone serves no more. Its
 * branches may still be there, and keep theirs to the end. */
void carrier_let_go(struct carrier *c);

#endif
