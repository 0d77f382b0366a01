/* SPDX-License-Identifier: BSD-2-Clause */
/* Carries a transaction: part of a bridge, while a client waits, or of a delivery of the spool. The
 * carrier performs the transaction's actions in the same way for both. It feeds the reports of
 * branches to the owner's machine, and performs what follows from them. */
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

/* Where the client authenticates itself, when a target is to know it (target_login.h). */
struct carrier_login {
    const struct target *at; /* NULL: at no target */
    bool is_done;            /* it has: its mail for that target has no other way than ... */
    void *connection;        /* ... this, which is the target's; NULL: lost */
};

/* What a bridge and a delivery do each in its own way. */
struct carrier_ops {
    /* Feeds the owner's machine; nothing is performed yet. */
    void (*feed)(struct carrier *carrier, const struct event *ev);
    /* Performs every action that the machine has due; those of the transaction by
     * carrier_perform(). */
    void (*perform_all)(struct carrier *carrier);
    /* Everything has been performed. The carrier may be gone after this. NULL: nothing to do. */
    void (*drained)(struct carrier *carrier);
    /* Actions on the spool file. NULL: the file exists, and neither action is asked for
     * (TRANSACTION_QUEUED). */
    void (*prepare_spool)(struct carrier *carrier);
    void (*commit_spool)(struct carrier *carrier);
    void (*settled)(struct carrier *carrier); /* every branch is done */
};

/* Embedded in a bridge or a delivery; lives as long as its branches. */
struct carrier {
    const struct carrier_ops *ops;
    struct loop *loop;
    struct copy *copy; /* of the running transaction */
    struct transaction *transaction;
    const struct identity *client; /* whose rights count: XCLIENT and PROXY tell targets of it */
    const struct identity *origin; /* of the transaction: XFORWARD tells of it; often the same */
    const struct id *session;      /* the client's; NULL or empty: there is none */
    struct bytes hostname;         /* "by" in Received */
    bool is_spooled;  /* a delivery of the spool: the client's identity is replayed, Received is
                         added */
    bool is_draining; /* set while actions run, so that a nested carrier_drain() returns at once */
    bool has_news;    /* something was fed while actions ran */
    /* is_spooled: enum identity_kind bits, by which the live session told the target who the client
     * is. 0: the target was not reached, and the relay's settings decide. IDENTITY_KIND_NONE: a
     * report of our own. */
    unsigned spooled_identity;
    int64_t spooled_wall_ms; /* is_spooled: when the message arrived */
    uint64_t resolve_by_ms;  /* until then branches wait for the client's name */
    struct list holds;       /* struct carrier_hold.in_carrier, the newest first */
    struct carrier_login login;
};

/* Embedded in what a target holds for one carrier alone, whether or not a transaction runs: a
 * connection that carries its client's identity. */
struct carrier_hold {
    struct list in_carrier;
    const struct target *target;
};

/* Sets all other members to 0. The arguments outlive the carrier. */
void carrier_init(struct carrier *carrier, const struct carrier_ops *ops, struct loop *loop,
                  const struct identity *client);

/* Legal when called within carrier_ops.perform_all. Performs one action of the transaction. */
void carrier_perform(struct carrier *carrier, const struct action *todo);
/* Legal when the carrier is not draining. Performs everything that is due, except the branches'
 * flush(), which the next drain does. */
void carrier_perform_all(struct carrier *carrier);
/* Performs and flushes until nothing more follows. To be called after anything was fed. Within a
 * drain it returns at once, and the outer drain goes on. The carrier may be gone after this. */
void carrier_drain(struct carrier *carrier);

/* Reports of branches, the disk and the copy. The carrier feeds its machine and performs what
 * follows. Meanwhile any function of the target may be called, even drop() on the branch that
 * reports; branch->shell is NULL then. An error of a disk becomes one that the machine knows. */
void carrier_report(struct carrier *carrier, const struct event *ev);
/* client->name_state is no longer pending: branches that wait for the name go on. */
void carrier_named(struct carrier *carrier);
/* The client said EHLO again, or is gone: targets let go what they hold for it alone. Branches that
 * still exist keep theirs to the end. */
void carrier_let_go(struct carrier *carrier);

#endif
