/* SPDX-License-Identifier: BSD-2-Clause */
/* What filters do to the envelope, and how long what they may do to the message holds it back. */
#include "proxy/base/error.h"
#include "proxy/smtp/outcome.h"
#include "proxy/smtp/transaction_private.h"

/* ---- holding back ---- */

void transaction_hold(struct transaction *t, const struct target *target, enum transaction_hold how)
{
    assert(t->state == TX_ENVELOPE);
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if ((target == NULL || b->target == target) && how > b->hold)
            b->hold = how;
    }
}

static void let_go(struct branch *b)
{
    if (b->state == BRANCH_CONTENT)
        transaction_make_due(b, ACT_GO);
}

/* The round trip for DATA passes while filters think. */
void transaction_whole(struct transaction *t)
{
    assert(t->state == TX_CONTENT);
    LIST_EACH (link, &t->branches)
        if (branch_of(link)->hold == TRANSACTION_HOLDS_CONTENT)
            let_go(branch_of(link));
}

void transaction_let_go(struct transaction *t)
{
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (b->hold == TRANSACTION_HOLDS_ENVELOPE)
            let_go(b);
        b->hold = TRANSACTION_STREAMS;
    }
}

/* ---- thrown away ---- */

/* Whatever became of the recipient so far, or will become of the other legs of its list: nobody
 * hears of it any more. False: it was thrown away already, or the client knows that it is refused.
 */
static bool discard(struct transaction *t, struct recipient *r)
{
    bool is_refused = outcome_is_failure(r->envelope) && !outcome_is_acknowledged(r);

    if (r->final == FATE_DISCARDED)
        return false;
    transaction_leave(r);
    if (r->envelope == FATE_OPEN) {
        transaction_set_envelope(t, r, FATE_DISCARDED);
        r->answer = r->reply = reply_own(REPLY_RECIPIENT_OK);
    }
    r->final = FATE_DISCARDED;
    return !is_refused;
}

void transaction_discard(struct transaction *t, const struct target *target)
{
    assert(t->state < TX_PREPARING);
    LIST_EACH (link, &t->recipients) {
        struct recipient *r = recipient_of(link);
        if (r->branch != NULL && (target == NULL || r->branch->target == target))
            (void)discard(t, r);
    }
    LIST_EACH (link, &t->branches)
        if (target == NULL || branch_of(link)->target == target)
            transaction_drop(branch_of(link));
}

/* ---- the envelope ---- */

void transaction_change_sender(struct transaction *t, const struct address *from,
                               struct bytes params)
{
    assert(t->state == TX_CONTENT);
    t->envelope.from = *from;
    t->envelope.params = params;
    LIST_EACH (link, &t->branches)
        branch_of(link)->is_stale = true;
}

bool transaction_exclude(struct transaction *t, const struct address *to)
{
    bool is_any = false;

    assert(t->state == TX_CONTENT);
    LIST_EACH (link, &t->recipients) {
        struct recipient *r = recipient_of(link);
        if (!address_is_same(&r->original, to) || !discard(t, r))
            continue;
        is_any = true;
        if (r->branch != NULL)
            r->branch->is_stale = true;
    }
    return is_any;
}

bool transaction_includes(const struct transaction *t, const struct address *to)
{
    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = recipient_of(link);
        if (address_is_same(&r->original, to) && outcome_stands(r) && r->final != FATE_DISCARDED)
            return true;
    }
    return false;
}

/* A target that may not be spooled: its failure would be for the client to hear of. */
static bool has_strict_leg(const struct routed *routed)
{
    for (int i = 0; i < routed->leg_count; i++)
        if (!routed->legs[i].can_prepare && !routed->legs[i].may_spool)
            return true;
    return false;
}

int transaction_include(struct transaction *t, const struct address *to, struct bytes params,
                        const struct routed *routed)
{
    assert(t->state == TX_CONTENT && routed->reply.code == 0);
    struct recipient *head = transaction_new_recipient(t, to);
    if (head == NULL)
        return ERR_MEMORY;
    head->params = params;
    head->is_added = true;
    t->envelope.is_dsn = t->envelope.is_dsn || params.len != 0;
    if (routed->is_discarded) {
        transaction_set_envelope(t, head, FATE_DISCARDED);
        head->final = FATE_DISCARDED;
        return 0;
    }
    if (!transaction_is_alone_where_it_must(t, routed) ||
        (t->policy == TRANSACTION_EACH && has_strict_leg(routed)))
        return ERR_RANGE;
    if (!transaction_attach_legs(t, head, routed))
        return ERR_MEMORY;
    /* Nobody waits for an answer to its RCPT: that it is refused is its outcome. */
    for (struct recipient *r = head; r != NULL; r = r->next_in_list) {
        transaction_set_envelope(t, r, FATE_ACCEPTED);
        r->reply = reply_own(REPLY_RECIPIENT_OK);
        r->branch->is_amended = true;
        if (r->branch->state == BRANCH_ENVELOPE)
            transaction_set_state(r->branch, BRANCH_CONTENT);
        r->branch->hold = TRANSACTION_HOLDS_ENVELOPE;
        transaction_keep_back(r);
    }
    return 0;
}

/* The recipients that stand are named to the target once more, by a branch of their own: the first
 * one's envelope is given up. */
static bool reopen(struct transaction *t, struct branch *old)
{
    const struct routed_leg leg = {
        .target = old->target, .can_prepare = old->can_prepare, .may_spool = old->may_spool};
    struct branch *b = NULL;

    transaction_drop(old);
    LIST_EACH (link, &old->recipients) {
        struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        if (!transaction_awaits(r))
            continue;
        b = transaction_open_branch(t, &leg);
        if (b == NULL)
            return false;
        transaction_leave(r);
        list_remove(&r->in_branch);
        transaction_put_in(r, b);
        transaction_make_named(r);
    }
    if (b == NULL)
        return true;
    b->is_amended = true;
    b->hold = old->hold;
    transaction_set_state(b, BRANCH_CONTENT);
    return true;
}

bool transaction_amend(struct transaction *t)
{
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (b->is_stale && b->state != BRANCH_DONE && !reopen(t, b))
            return false;
    }
    return true;
}
