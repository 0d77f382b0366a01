/* SPDX-License-Identifier: BSD-2-Clause */
/* One branch of a transaction at a relay: what hangs on branch->shell. */
#ifndef POSTERN_RELAY_BRANCH_PRIVATE_H
#define POSTERN_RELAY_BRANCH_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/list.h"
#include "proxy/io/deadline.h"
#include "proxy/io/loop.h"
#include "proxy/smtp/outbound.h"
#include "proxy/smtp/reply.h"
#include "route/carrier.h"
#include "route/relay/relay_asker.h"
#include "route/relay/relay_connect.h"
#include "route/relay/relay_content.h"
#include "route/relay/relay_pace.h"
#include "route/relay/relay_private.h"

struct relay;
struct relay_link;

enum relay_branch_state {
    RELAY_BRANCH_NEW, /* has no connection: asker.is_waiting, or none was asked for, or it was taken
                         back */
    RELAY_BRANCH_NAMING, /* has a connection; the client's name is being looked up */
    RELAY_BRANCH_ACTIVE, /* its transaction runs on `link` */
    RELAY_BRANCH_FAILED  /* `failure` is the answer to everything */
};

/* In the mail arena. Gone, and branch->shell NULL, once its last event is reported. */
struct relay_branch {
    struct relay_asker asker;
    struct branch *branch;
    struct relay_link *link; /* NAMING and ACTIVE */
    struct recipient *last;  /* the last one that rcpt() brought */
    struct recipient *mark;  /* once it is answered, the envelope timer restarts for those after */
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
    bool is_breaking;  /* open recipients are being answered, then EV_BROKEN comes */
    bool has_guarded;  /* recipients wait for a reply in the target's stead */
    bool is_lost;      /* see struct relay_identity_choice */
    bool *dropped_out; /* set when it is dropped while it reports */
};

/* From now on envelope-timeout runs, or as much of it as the client waits. */
static inline void relay_branch_owe_answer(struct relay_branch *w)
{
    uint64_t most_ms = w->asker.relay->conf->times.envelope_ms;

    w->envelope_due_ms = loop_now_ms(w->asker.carrier->loop) +
                         identity_patience_ms(w->asker.carrier->client, most_ms);
}

#endif
