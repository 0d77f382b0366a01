/* SPDX-License-Identifier: BSD-2-Clause */
/* What every kind of target offers to a carrier. The carrier (carrier.h) performs the transaction's
 * actions by calling these functions. The results come back as events through carrier_report(),
 * never from within one of these calls, except flush(). A target reads the content from the
 * carrier's copy at its own pace. */
#ifndef POSTERN_TARGET_H
#define POSTERN_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/rendezvous.h"
#include "proxy/smtp/capability.h"
#include "proxy/smtp/transaction.h"

struct carrier;
struct carrier_hold;
struct chain;
struct setting_texts;
struct target;
struct target_kind;
struct target_login_ops;
struct target_view;
struct target_address;

struct target_ops {
    /* Sets branch->shell (NULL: no memory) and branch->facts. */
    void (*open)(struct carrier *carrier, struct branch *branch);
    void (*rcpt)(struct branch *branch, struct recipient *rcpt);
    void (*go)(struct branch *branch); /* the client has said DATA */
    /* Of targets with can_prepare: write the message so that it can be undone (EV_PREPARED), and
     * make it appear (EV_COMMITTED). NULL: others. */
    void (*prepare)(struct branch *branch);
    void (*commit)(struct branch *branch);
    /* Of firm targets: send the end of data (EV_FINAL). NULL: others. */
    void (*end)(struct branch *branch);
    /* Detaches at once and leaves no trace; no event follows. */
    void (*drop)(struct branch *branch);
    /* Called for each open branch at the end of the carrier's outermost drain: sends what the calls
     * since then allow, and what has been added to the copy. May report. */
    void (*flush)(struct branch *branch);
    /* client->name_state is no longer pending. NULL: the kind does not use it. */
    void (*named)(struct branch *branch);
    /* The carrier ends what is held for it, though its branch may remain. NULL: nothing is ever
     * held. */
    void (*let_go)(struct carrier_hold *hold);
    /* Find out now whether a target that is down is up again. NULL: it cannot be down. */
    void (*probe)(struct target *target);
    /* Keywords that a listener may announce for the sake of this target, and its limits. Of a relay
     * what it announced last; no keywords: unknown. */
    struct capability (*capabilities)(struct target *target);
    /* A client has connected that can reach no other target of this kind: a connection may be made
     * ready. NULL: there is nothing to make ready. */
    void (*warm)(struct target *target);
    /* What AUTH can be passed on to. NULL: the kind knows nobody. */
    const struct target_login_ops *login;
    /* Nothing gets through to it now. NULL: it cannot be down. */
    bool (*is_down)(struct target *target);
    struct target_view (*view)(struct target *target);
    /* Its address number `index`; false: it has no more. NULL: it has none. */
    bool (*address)(struct target *target, unsigned index, struct target_address *address_out);

    /* ---- life ---- */

    /* Ends what no branch needs, and the rest when its branches are gone; the loop ends when
     * everything is closed. NULL: nothing is ever open. */
    void (*close)(struct target *target);
    /* After close(): closes everything now. NULL where close() is. */
    void (*abort)(struct target *target);
    void (*free)(struct target *target); /* after the loop has ended */
};

/* For operators: what `posternctl targets` shows. */
struct target_view {
    const char *state;    /* "up", "down", "unknown" */
    unsigned connections; /* of the whole host */
    unsigned idle;        /* of this process: connections that wait for a transaction */
    unsigned waiting;     /* of this process: transactions that wait for a connection */
    unsigned addresses, addresses_down;
    uint32_t accepted, refused; /* remembered recipients */
    struct capability announced;
};

#define TARGET_ADDRESS_TEXT_MAX 128 /* NUL included */

/* One address of a target, for operators. */
struct target_address {
    char text[TARGET_ADDRESS_TEXT_MAX];
    const char *state;     /* as in target_view */
    uint64_t down_seconds; /* 0 where it is not down */
    uint32_t weight;
};

/* How the spool treats mail that waits for the target. */
struct target_queue {
    const uint64_t *retry_ms; /* pauses between tries; the last one repeats */
    size_t retry_count;       /* one at least */
    uint64_t expire_ms;
    uint32_t connections_max; /* deliveries that may run at the same time */
    uint32_t recipients_max;  /* in one delivery */
};

/* First member of every target. Lives as long as the process. */
struct target {
    const struct target_kind *kind; /* target_kind.h */
    const struct target_ops *ops;   /* NULL: only its settings are known (--check, --explain) */
    const void *conf;               /* the settings, of the kind's type */
    struct bytes name;              /* the section's, or the host of an implicit relay */
    bool can_prepare; /* the message is invisible before the commit; else the target is firm */
    bool defers_unverified; /* of what it has not accepted lately nothing is taken in its stead */
    bool may_spool;         /* relay.on-failure = spool, and there is a spool */
    bool answers_each;      /* an outcome for each recipient at the end of data: LMTP */
    bool takes_logins;      /* clients can authenticate themselves there: target_login.h */
    const struct target_queue *queue;    /* never NULL */
    const struct setting_texts *filters; /* their names, as written; NULL: the kind has none */
    const struct chain *chain;           /* the same, opened, for who asks them; NULL: none */
    /* A group (target_group.h): a relay with balance = hash is a target for each of its addresses.
     * Routes and the spool name the group, mail goes to its members. */
    struct target **members;
    size_t member_count;  /* 0: it is no group */
    bool fails_over;      /* a group: another member is chosen where the mailbox's own is down */
    struct target *group; /* of a member */
    struct rendezvous_node node; /* of a member: by which mailboxes become its own */
};

/* What routes, the spool and log lines call it. */
static inline struct bytes target_section(const struct target *target)
{
    return target->group == NULL ? target->name : target->group->name;
}

/* The address that a member is, as configured; empty: it is none. */
static inline struct bytes target_own_address(const struct target *target)
{
    return target->group == NULL ? bytes_make(NULL, 0)
                                 : bytes_skip(target->name, target->group->name.len + 1);
}

#endif
