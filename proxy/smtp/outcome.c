/* SPDX-License-Identifier: BSD-2-Clause */
/* The decisions: which fate and which reply follow from which. */
#include "proxy/smtp/outcome.h"

enum fate outcome_of_code(unsigned code)
{
    switch (code / 100) {
    case 2:
        return FATE_ACCEPTED;
    case 4:
        return FATE_DEFERRED;
    case 5:
        return FATE_REFUSED;
    }
    return FATE_LOST;
}

bool outcome_is_failure(enum fate fate)
{
    return fate == FATE_DEFERRED || fate == FATE_REFUSED || fate == FATE_LOST ||
           fate == FATE_UNKNOWN;
}

/* Who speaks for a list: a higher rank silences a lower one. */
static int rank(enum fate fate, bool is_undoable)
{
    if (outcome_is_failure(fate))
        return 3;
    if (fate == FATE_OPEN)
        return 2;
    return is_undoable ? 0 : 1;
}

static const struct recipient *speaker(const struct recipient *head, bool is_final)
{
    const struct recipient *best = NULL;
    int best_rank = -1;
    for (const struct recipient *r = head; r != NULL; r = r->next_in_list) {
        bool is_undoable = r->branch != NULL && r->branch->can_prepare;
        int this_rank = rank(is_final ? r->final : r->envelope, is_undoable);
        if (this_rank > best_rank) {
            best = r;
            best_rank = this_rank;
        }
    }
    return best;
}

const struct recipient *outcome_of_envelope(const struct recipient *head)
{
    return speaker(head, false);
}

struct reply outcome_of_message(const struct transaction *t)
{
    const struct recipient *accepted = NULL;
    const struct recipient *deferred = NULL;
    const struct recipient *refused = NULL;

    LIST_EACH (link, &t->recipients) {
        const struct recipient *head = LIST_ENTRY(link, struct recipient, in_transaction);
        if (head->head != head || !transaction_stands(head))
            continue;
        const struct recipient *r = speaker(head, true);
        if (r->final == FATE_REFUSED)
            refused = refused == NULL ? r : refused;
        else if (outcome_is_failure(r->final))
            deferred = deferred == NULL ? r : deferred;
        else if (accepted == NULL || accepted->final == FATE_DISCARDED)
            accepted = r;
    }
    if (deferred != NULL)
        return deferred->reply;
    if (refused != NULL && accepted != NULL)
        return reply_own(REPLY_TARGET_LOST);
    if (refused != NULL)
        return refused->reply;
    if (accepted != NULL && accepted->final == FATE_DISCARDED)
        return reply_own(REPLY_MESSAGE_DISCARDED);
    return accepted != NULL ? accepted->reply : reply_own(REPLY_LOCAL_PROBLEM);
}
