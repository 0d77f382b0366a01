/* SPDX-License-Identifier: BSD-2-Clause */
/* The recipients of a branch: which there are, and how each stands. */
#include "route/relay/relay_recipient.h"

#include "proxy/smtp/outcome.h"
#include "route/relay/relay_branch_private.h"
#include "route/relay/relay_identity.h"

static struct recipient *recipient_of(struct list *at)
{
    return LIST_ENTRY(at, struct recipient, in_branch);
}

struct recipient *relay_recipient_next(const struct relay_branch *w, const struct recipient *rcpt)
{
    struct list *next = rcpt == NULL ? w->branch->recipients.next : rcpt->in_branch.next;

    if (rcpt == w->last || next == &w->branch->recipients)
        return NULL;
    return recipient_of(next);
}

bool relay_recipient_stands(const struct recipient *rcpt)
{
    return rcpt->envelope == FATE_ACCEPTED && rcpt->final == FATE_OPEN && outcome_stands(rcpt);
}

/* From the last one back: they are answered, and fall, from the first one on. */
bool relay_recipient_is_last(const struct relay_branch *w, const struct recipient *rcpt)
{
    const struct list *head = &w->branch->recipients;

    if (w->unanswered != 0)
        return false;
    for (struct list *at = &w->last->in_branch; at != head; at = at->prev)
        if (recipient_of(at) != rcpt && relay_recipient_stands(recipient_of(at)))
            return false;
    return true;
}

enum reply_id relay_recipient_guard(const struct relay_branch *w, const struct recipient *rcpt)
{
    if (relay_identity_judges(w->identity) || relay_asker_has_login(&w->asker))
        return REPLY_OK;
    /* By our own address it would pass what the client's might not. */
    return w->is_lost && rcpt->is_unverified ? REPLY_IDENTITY_FAILED : rcpt->guard;
}

bool relay_recipient_is_guarded(const struct relay_branch *w, const struct recipient *rcpt)
{
    return relay_recipient_guard(w, rcpt) != REPLY_OK;
}

bool relay_recipient_is_wanted(const struct relay_branch *w, const struct recipient *rcpt)
{
    return (rcpt->envelope == FATE_OPEN || relay_recipient_stands(rcpt)) &&
           !relay_recipient_is_guarded(w, rcpt);
}

bool relay_recipient_is_any_wanted(const struct relay_branch *w)
{
    RELAY_EACH_RECIPIENT (rcpt, w)
        if (relay_recipient_is_wanted(w, rcpt))
            return true;
    return false;
}

bool relay_recipient_is_any(const struct relay_branch *w, bool is_unverified)
{
    LIST_EACH (at, &w->branch->recipients)
        if (recipient_of(at)->is_unverified == is_unverified)
            return true;
    return false;
}
