/* SPDX-License-Identifier: BSD-2-Clause */
/* The replies to the end of data: one, or in LMTP one for each recipient. */
#include "proxy/smtp/outcome.h"
#include "proxy/smtp/session_private.h"

static void end_message(struct session *s)
{
    const struct reply *outcome = &s->tx->outcome;

    s->state = SESSION_COMMANDS;
    if (reply_is_positive(outcome)) {
        s->counts.messages++;
        s->counts.errors = 0;
        s->counts.junk = 0;
    } else {
        session_count_error(s, outcome);
    }
}

static void tell_one(struct session *s)
{
    bool lacks_enhanced = false;

    LIST_EACH (link, &s->tx->branches)
        lacks_enhanced =
            lacks_enhanced || LIST_ENTRY(link, struct branch, in_transaction)->lacks_enhanced;
    session_put_answer(s, &s->tx->outcome, lacks_enhanced);
    end_message(s);
}

static struct recipient *recipient_at(const struct session *s, struct list *link)
{
    return link == &s->tx->recipients ? NULL : LIST_ENTRY(link, struct recipient, in_transaction);
}

/* RFC 2033 4.2: those, and only those, whose RCPT was accepted. */
static void tell(struct session *s, struct recipient *r)
{
    if (r->head != r || r->is_added || !outcome_is_acknowledged(r))
        return;
    const struct reply reply = outcome_of_list(s->tx, r);
    session_put_answer(s, &reply, r->branch != NULL && r->branch->lacks_enhanced);
    if (!reply_is_positive(&reply) && s->tx->refusal.code == 0)
        session_do(s,
                   &(struct session_action){.kind = SESSION_ACT_REJECT, .reply = reply, .rcpt = r});
}

void session_tell_untold(struct session *s)
{
    assert(s->state == SESSION_FINAL);
    while (s->end.untold != NULL && session_has_room_to_do(s) &&
           buf_length(&s->out) < SESSION_UNSENT_MAX) {
        struct recipient *r = s->end.untold;
        s->end.untold = recipient_at(s, r->in_transaction.next);
        tell(s, r);
    }
    if (s->end.untold == NULL)
        end_message(s);
}

void session_tell_outcome(struct session *s)
{
    assert(s->tx->state == TX_SETTLED);
    s->end.is_settled = true;
    if (s->state != SESSION_FINAL)
        return;
    if (s->tx->policy == TRANSACTION_EACH && !session_is_within_chunks(s))
        s->end.untold = recipient_at(s, s->tx->recipients.next);
    else
        tell_one(s);
}
