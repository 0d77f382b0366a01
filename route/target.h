/* SPDX-License-Identifier: BSD-2-Clause */
/* What every kind of target offers to whoever carries a transaction, and what it may ask back.
 *
 * The carrier (a bridge, or a delivery of the spool) performs the transaction's actions by
 * calling these functions; results come back as events through carrier_ops.report, never from
 * within one of the calls below but flush(). A target pulls the content from the carrier's copy at
 * its own pace. */
#ifndef POSTERN_TARGET_H
#define POSTERN_TARGET_H

#include "proxy/base/bytes.h"
#include "proxy/io/copy.h"
#include "proxy/io/loop.h"
#include "proxy/smtp/event.h"
#include "proxy/smtp/transaction.h"

struct carrier;
struct relay_link;

struct carrier_ops {
    /* The carrier feeds its machine and performs what follows: any function of the target may be
     * called meanwhile, drop() on this very branch too. branch->shell is NULL after that. */
    void (*report)(struct carrier *c, const struct event *ev);
};

/* Embedded in the bridge; lives as long as its branches. */
struct carrier {
    const struct carrier_ops *ops;
    struct loop *loop;
    struct copy *copy; /* of the running transaction */
    struct transaction *transaction;
    const struct identity *client;
    struct bytes hostname; /* "by" in Received */
    bool is_spooled;       /* a delivery of the spool: identity is replayed, Received is added */
    /* is_spooled: enum identity_kind bits that the session's target was told by; 0: it was not
     * reached, and the relay's settings decide; IDENTITY_KIND_NONE: a report of our own. */
    unsigned spooled_identity;
    int64_t spooled_wall_ms;  /* is_spooled: when the message came */
    uint64_t resolve_by_ms;   /* the client's name is waited for until then */
    struct relay_link *bound; /* relays' own: connections that are this client's; NULL at first */
};

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

static inline void target_report(struct carrier *c, const struct event *ev)
{
    c->ops->report(c, ev);
}

#endif
