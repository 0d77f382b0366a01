/* SPDX-License-Identifier: BSD-2-Clause */
/* What every kind of target offers to whoever carries a transaction.
 *
 * The carrier (carrier.h) performs the transaction's actions by calling these functions; results
 * come back as events through carrier_report(), never from within one of the calls below but
 * flush(). A target pulls the content from the carrier's copy at its own pace. */
#ifndef POSTERN_TARGET_H
#define POSTERN_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/smtp/transaction.h"

struct carrier;
struct carrier_hold;
struct target;
struct target_kind;
struct target_view;

struct target_ops {
    void (*open)(struct carrier *c,
                 struct branch *b); /* sets b->shell (NULL: no memory) and b->facts */
    void (*rcpt)(struct branch *b, struct recipient *rcpt);
    void (*go)(struct branch *b);      /* DATA has come */
    void (*prepare)(struct branch *b); /* can_prepare: EV_PREPARED. NULL: it is firm */
    void (*commit)(struct branch *b);  /* likewise: EV_COMMITTED */
    void (*end)(struct branch *b);  /* firm: release the end of data, EV_FINAL. NULL: it is not */
    void (*drop)(struct branch *b); /* detach at once, leave no trace; no event follows */
    /* Called once at the end of the carrier's outermost drain for each open branch: send what the
     * calls since then allow, and what the copy has grown by. May report. */
    void (*flush)(struct branch *b);
    /* client->name_state is not pending any more. NULL: nobody cares. */
    void (*named)(struct branch *b);
    /* Its carrier is gone for what is held, but not for its branch. NULL: nothing is ever held. */
    void (*let_go)(struct carrier_hold *hold);
    /* Somebody wants to know now whether a target that is down is there again. NULL: it cannot be
     * down. */
    void (*probe)(struct target *t);
    /* Bits of enum capability_keyword: what a listener that leads to it may announce for its sake.
     * Of a relay: as last announced; 0: not seen yet. */
    uint32_t (*capabilities)(struct target *t);
    /* A client has connected that can reach no other such target: a connection may be made ready.
     * NULL: there is nothing to make ready. */
    void (*warm)(struct target *t);
    struct target_view (*view)(struct target *t);

    /* ---- life ---- */

    /* Ends what no branch needs, and the rest when its branches are gone; the loop ends when all is
     * closed. NULL: nothing is ever open. */
    void (*close)(struct target *t);
    void (*abort)(struct target *t); /* after close(), which it is NULL with: closes all, now */
    void (*free)(struct target *t);  /* after the loop has ended */
};

/* For operators: what `posternctl targets` shows. */
struct target_view {
    const char *state;    /* "up", "down", "unknown" */
    unsigned connections; /* of the whole host */
    unsigned idle;        /* of this process: those that wait for a transaction */
    unsigned waiting;     /* ... transactions that wait for one */
    unsigned addresses, addresses_down;
    uint32_t accepted, refused; /* remembered recipients */
    uint32_t keywords;          /* bits of enum capability_keyword that it announced */
};

/* What the runner goes by. */
struct target_queue {
    const uint64_t *retry_ms; /* pauses between tries; the last one repeats */
    size_t retry_count;       /* one at least */
    uint64_t expire_ms;
    uint32_t connections_max; /* deliveries at the same time */
    uint32_t recipients_max;  /* of one delivery */
};

/* First member of every target. Lives as long as the process. */
struct target {
    const struct target_kind *kind;   /* target_kind.h */
    const struct target_ops *ops;     /* NULL: known by its settings alone (--check, --explain) */
    const void *conf;                 /* its settings, of the kind's type */
    struct bytes name;                /* the section's, or the host of an implicit relay */
    bool can_prepare;                 /* nothing shows before the commit; else it is firm */
    bool may_spool;                   /* relay.on-failure = spool, and there is a spool */
    const struct target_queue *queue; /* how the spool treats what waits for it; never NULL */
};

#endif
