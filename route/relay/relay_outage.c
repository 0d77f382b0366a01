/* SPDX-License-Identifier: BSD-2-Clause */
/* What is said in a target's stead while it cannot be reached. */
#include "route/relay/relay_outage.h"

#include "proxy/smtp/event.h"
#include "proxy/smtp/outcome.h"
#include "route/relay/relay_branch_private.h"
#include "route/relay/relay_memory.h"
#include "route/relay/relay_private.h"

/* Not where the target knows the client: what it has not taken of that one it might never take of
 * us. */
bool relay_outage_answers(const struct relay_branch *w)
{
    return w->asker.relay->target.may_spool && !relay_asker_has_login(&w->asker) &&
           w->branch->transaction->policy != TRANSACTION_QUEUED;
}

/* What is remembered of the recipient stands for the target's answer. Nobody reaches the target
 * through us who may not reach it through a pattern like "@". */
struct event relay_outage_answer(const struct relay_branch *w, struct recipient *rcpt)
{
    struct relay_memory *memory = w->asker.relay->service->memory;
    bool accepts = w->asker.relay->conf->recipients.unverified == RELAY_UNVERIFIED_ACCEPT;
    enum relay_recall known = RELAY_RECALL_NOTHING;
    struct event ev = {.kind = EV_ANSWER,
                       .rcpt = rcpt,
                       .reply = reply_own(REPLY_TARGET_DOWN),
                       .is_guarded = rcpt->guard != REPLY_OK};

    if (memory != NULL && rcpt->guard == REPLY_OK)
        known = relay_memory_recall(memory, w->asker.relay->target.name, &rcpt->to,
                                    w->branch->transaction->mail, &ev.reply);
    if (known == RELAY_RECALL_REFUSED)
        ev.reply.own = 1 + REPLY_TARGET_DOWN; /* why these words are repeated */
    if (rcpt->guard == REPLY_OK &&
        (known == RELAY_RECALL_ACCEPTED || (known == RELAY_RECALL_NOTHING && accepts))) {
        ev.reply = reply_own(REPLY_RECIPIENT_OK);
        ev.is_unverified = true;
    }
    ev.fate = outcome_of_code(ev.reply.code);
    return ev;
}
