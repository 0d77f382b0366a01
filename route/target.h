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

struct target_ops {
    const char *kind; /* "relay", "maildir" */
    void (*open)(struct carrier *c,
                 struct branch *b); /* sets b->shell (NULL: no memory) and b->facts */
    void (*rcpt)(struct branch *b, struct recipient *rcpt);
    void (*go)(struct branch *b);      /* DATA has come */
    void (*prepare)(struct branch *b); /* NULL for relays: EV_PREPARED */
    void (*end)(struct branch *b);    /* relay: release the end of data: EV_FINAL. NULL: maildirs */
    void (*commit)(struct branch *b); /* maildir: EV_COMMITTED. NULL for relays */
    void (*drop)(struct branch *b);   /* detach at once, leave no trace; no event follows */
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
    /* Bits of enum capability_keyword, as last announced; 0: not seen yet. NULL: it is no relay. */
    uint32_t (*capabilities)(struct target *t);
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
    const struct target_ops *ops;
    struct bytes name; /* the section's, or the host of an implicit relay */
    bool can_prepare;
    bool may_spool;                   /* relay.on-failure = spool, and there is a spool */
    const struct target_queue *queue; /* how the spool treats what waits for it; never NULL */
};

#endif
