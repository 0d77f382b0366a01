/* SPDX-License-Identifier: BSD-2-Clause */
/* The decisions: which fates and replies follow from those of the targets. */
#include "proxy/smtp/outcome.h"

#include "proxy/smtp/params.h"

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

/* ---- after RCPT ---- */

static bool is_undoable(const struct recipient *r)
{
    return r->branch != NULL && r->branch->can_prepare;
}

void outcome_begin_list(struct recipient *head)
{
    head->list = (struct recipient_list){.open = 1};
}

void outcome_join_list(struct recipient *leg)
{
    const struct branch *b = leg->branch;
    struct recipient_list *list = &leg->head->list;

    list->open += leg != leg->head;
    if (b->transaction->policy == TRANSACTION_LIVE && !b->can_prepare && !b->may_spool)
        list->is_all_or_nothing = true;
}

/* The leg of the highest rank speaks for its list. */
static int rank(const struct recipient *r)
{
    switch (r->envelope) {
    case FATE_ACCEPTED:
        return is_undoable(r) ? 3 : 4;
    case FATE_DISCARDED:
    case FATE_HELD:
        return 3;
    case FATE_DEFERRED:
    case FATE_LOST:
    case FATE_UNKNOWN:
        return 2;
    case FATE_OPEN:
    case FATE_REFUSED:
        break;
    }
    return 1;
}

static bool speaks_before(const struct recipient *r, const struct recipient *other)
{
    return rank(r) != rank(other) ? rank(r) > rank(other) : r->position < other->position;
}

void outcome_set_envelope(struct recipient *r, enum fate fate)
{
    struct recipient_list *list = &r->head->list;

    assert(r->envelope == FATE_OPEN && fate != FATE_OPEN && list->open > 0);
    r->envelope = fate;
    list->open--;
    if (list->best == NULL || speaks_before(r, list->best))
        list->best = r;
    if (outcome_is_failure(fate) && (list->failed == NULL || r->position < list->failed->position))
        list->failed = r;
}

bool outcome_is_all_or_nothing(const struct recipient *r)
{
    return r->head->list.is_all_or_nothing;
}

bool outcome_stands(const struct recipient *r)
{
    const struct recipient_list *list = &r->head->list;

    if (list->is_all_or_nothing)
        return list->open == 0 && list->failed == NULL;
    return r->envelope == FATE_ACCEPTED || r->envelope == FATE_DISCARDED;
}

bool outcome_may_stand(const struct recipient *r)
{
    return r->head->list.is_all_or_nothing ? r->head->list.failed == NULL
                                           : !outcome_is_failure(r->envelope);
}

const struct recipient *outcome_of_envelope(const struct recipient *head)
{
    const struct recipient_list *list = &head->list;

    if (list->is_all_or_nothing && list->failed != NULL)
        return list->failed;
    return list->open > 0 ? NULL : list->best;
}

/* ---- at the end ---- */

/* The client was told that the recipient is accepted, so it must hear of a failure too. */
static bool is_acknowledged(const struct recipient *r)
{
    const struct recipient *speaker = outcome_of_envelope(r->head);
    return speaker != NULL && !outcome_is_failure(speaker->envelope);
}

/* A leg may have failed at its RCPT while another was accepted. */
enum fate outcome_fate(const struct recipient *r)
{
    return outcome_is_failure(r->envelope) ? r->envelope : r->final;
}

const struct quarantine *outcome_quarantine(const struct transaction *t, const struct recipient *r)
{
    if (t->quarantine.is_set)
        return &t->quarantine;
    return r->branch->destination->quarantine.is_set ? &r->branch->destination->quarantine : NULL;
}

/* RFC 3461 4.1: success is reported by who delivers for good, or passes the message on to a target
 * that makes no reports. A report needs the message. */
static bool wants_report(const struct transaction *t, const struct recipient *r)
{
    return r->branch != NULL && (r->branch->can_prepare || r->branch->lacks_dsn) && !t->is_unkept &&
           !address_is_null(&t->envelope.from) && params_notifies(r->params, PARAMS_NOTIFY_SUCCESS);
}

bool outcome_may_report(const struct transaction *t)
{
    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        enum fate fate = outcome_fate(r);
        if ((fate == FATE_OPEN || fate == FATE_ACCEPTED) && wants_report(t, r) &&
            is_acknowledged(r))
            return true;
    }
    return false;
}

static enum outcome_disposition disposition_if_taken(const struct transaction *t,
                                                     const struct recipient *r)
{
    enum outcome_disposition disposition = OUTCOME_NOTHING;

    if (!is_acknowledged(r))
        return OUTCOME_NOTHING;
    switch (outcome_fate(r)) {
    case FATE_ACCEPTED:
        return wants_report(t, r) ? OUTCOME_REPORT : OUTCOME_NOTHING;
    case FATE_OPEN: /* prepared: it is about to appear */
    case FATE_DISCARDED:
        return OUTCOME_NOTHING;
    case FATE_DEFERRED:
    case FATE_LOST:
    case FATE_UNKNOWN:
        disposition = OUTCOME_SPOOL;
        break;
    case FATE_REFUSED:
        disposition = OUTCOME_BOUNCE;
        break;
    case FATE_HELD:
        return OUTCOME_HOLD;
    }
    return outcome_quarantine(t, r) == NULL ? disposition : OUTCOME_HOLD;
}

enum outcome_disposition outcome_disposition(const struct transaction *t, const struct recipient *r)
{
    return t->is_taken ? disposition_if_taken(t, r) : OUTCOME_NOTHING;
}

bool outcome_would_need_spool(const struct transaction *t)
{
    LIST_EACH (link, &t->recipients)
        if (disposition_if_taken(t, LIST_ENTRY(link, struct recipient, in_transaction)) !=
            OUTCOME_NOTHING)
            return true;
    return false;
}

bool outcome_needs_spool(const struct transaction *t)
{
    return t->is_taken && outcome_would_need_spool(t);
}

static bool has_taken(const struct recipient *r)
{
    switch (outcome_fate(r)) {
    case FATE_ACCEPTED:
    case FATE_DISCARDED:
    case FATE_HELD:
        return true;
    case FATE_LOST:
    case FATE_UNKNOWN:
        return !outcome_is_failure(r->envelope);
    case FATE_OPEN:
        return is_undoable(r) && r->branch->state == BRANCH_PREPARED;
    case FATE_DEFERRED:
    case FATE_REFUSED:
        break;
    }
    return false;
}

bool outcome_is_taken(const struct transaction *t)
{
    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (is_acknowledged(r) && has_taken(r))
            return true;
    }
    return false;
}

/* The first of each kind. */
struct tally {
    const struct recipient *accepted, *discarded, *deferred, *refused;
    bool has_open; /* a firm target did not get the end */
    bool has_held;
};

/* Undone branches do not count. Firm targets are preferred to those that can be undone. */
static void count(struct tally *tally, const struct recipient *r)
{
    const struct recipient **first = &tally->refused;

    switch (outcome_fate(r)) {
    case FATE_OPEN:
        tally->has_open = tally->has_open || !is_undoable(r);
        return;
    case FATE_HELD:
        tally->has_held = true;
        return;
    case FATE_ACCEPTED:
        first = &tally->accepted;
        break;
    case FATE_DISCARDED:
        first = &tally->discarded;
        break;
    case FATE_DEFERRED:
    case FATE_LOST:
    case FATE_UNKNOWN:
        first = &tally->deferred;
        break;
    case FATE_REFUSED:
        break;
    }
    if (*first == NULL || (is_undoable(*first) && !is_undoable(r)))
        *first = r;
}

/* "250 2.0.0 Ok: queued as ID" */
static struct reply queued(const struct transaction *t)
{
    static const char text[] = "250 2.0.0 Ok: queued as ";
    size_t id_len = strlen(t->envelope.id.text), len = sizeof(text) - 1 + id_len + 2;
    uint8_t *wire = arena_alloc(t->mail, len);

    if (wire == NULL)
        return reply_own(REPLY_OK);
    memcpy(wire, text, sizeof(text) - 1);
    memcpy(wire + sizeof(text) - 1, t->envelope.id.text, id_len);
    memcpy(wire + len - 2, "\r\n", 2);
    return (struct reply){.code = 250, .enhanced = {2, 0, 0}, .wire = bytes_make(wire, len)};
}

static struct reply words_of_failure(const struct tally *tally)
{
    bool others_did_not = tally->discarded != NULL || tally->has_open || tally->has_held;

    if (tally->deferred != NULL)
        return tally->deferred->reply;
    if (tally->accepted != NULL) /* those that were refused cannot be bounced */
        return reply_own(REPLY_LOCAL_PROBLEM);
    /* Some are refused for good and nobody got the message. A 4xx makes the client try again, and
     * their RCPTs will be refused then. */
    return others_did_not ? reply_own(REPLY_TARGET_LOST) : tally->refused->reply;
}

struct reply outcome_of_message(const struct transaction *t)
{
    struct tally tally = {.has_open = false};

    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (is_acknowledged(r))
            count(&tally, r);
    }
    bool has_failed = tally.deferred != NULL || tally.refused != NULL;
    if (t->is_taken && (has_failed || tally.has_held))
        return queued(t);
    if (has_failed)
        return words_of_failure(&tally);
    if (tally.accepted != NULL)
        return tally.accepted->reply;
    /* Who sends what is thrown away is not told so. */
    return tally.discarded != NULL ? queued(t) : reply_own(REPLY_LOCAL_PROBLEM);
}
