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
    if (b->transaction->policy != TRANSACTION_QUEUED && !b->can_prepare && !b->may_spool)
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

bool outcome_is_acknowledged(const struct recipient *r)
{
    const struct recipient *speaker = outcome_of_envelope(r->head);
    return speaker != NULL && !outcome_is_failure(speaker->envelope);
}

/* A leg may have failed at its RCPT while another was accepted. Filters throw it away all the same.
 */
enum fate outcome_fate(const struct recipient *r)
{
    bool counts = outcome_is_failure(r->envelope) && r->final != FATE_DISCARDED;
    return counts ? r->envelope : r->final;
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
    return t->envelope.is_dsn && r->branch != NULL &&
           (r->branch->can_prepare || r->branch->lacks_dsn) && !t->is_unkept &&
           !address_is_null(&t->envelope.from) && params_notifies(r->params, PARAMS_NOTIFY_SUCCESS);
}

bool outcome_may_report(const struct transaction *t)
{
    if (!t->envelope.is_dsn) /* nobody has asked, so nobody is asked about */
        return false;
    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        enum fate fate = outcome_fate(r);
        if ((fate == FATE_OPEN || fate == FATE_ACCEPTED) && wants_report(t, r) &&
            outcome_is_acknowledged(r))
            return true;
    }
    return false;
}

/* What its list, or the whole message, is accepted on condition of. */
static enum outcome_disposition disposition_if_taken(const struct transaction *t,
                                                     const struct recipient *r)
{
    enum outcome_disposition disposition = OUTCOME_NOTHING;

    if (!outcome_is_acknowledged(r))
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

/* May the spool take the place of the target? Merged outcomes are not asked: there the message as a
 * whole is all or nothing where one may not. */
static bool may_be_served(const struct transaction *t, const struct recipient *r)
{
    return t->policy != TRANSACTION_EACH || r->branch->may_spool;
}

static bool has_taken(const struct transaction *t, const struct recipient *r)
{
    switch (outcome_fate(r)) {
    case FATE_ACCEPTED:
    case FATE_DISCARDED:
    case FATE_HELD:
        return true;
    case FATE_LOST:
    case FATE_UNKNOWN:
        return !outcome_is_failure(r->envelope) && may_be_served(t, r);
    case FATE_OPEN:
        return is_undoable(r) && r->branch->state == BRANCH_PREPARED;
    case FATE_DEFERRED:
    case FATE_REFUSED:
        break;
    }
    return false;
}

/* Now, or when it has the message. */
static bool needs_spool(const struct transaction *t, const struct recipient *r)
{
    return disposition_if_taken(t, r) != OUTCOME_NOTHING ||
           (outcome_fate(r) == FATE_OPEN && wants_report(t, r));
}

/* `has_any`: targets that have not answered yet may still take it. */
static bool list_is_taken(const struct transaction *t, const struct recipient *head, bool has_any)
{
    bool has_spool = !t->is_spool_lost && !t->is_unkept;

    if (head->list.is_unserved)
        return false;
    for (const struct recipient *r = head; r != NULL; r = r->next_in_list) {
        bool has_failed = outcome_is_failure(outcome_fate(r));
        if (has_failed && head->list.is_all_or_nothing)
            return false;
        if (!has_spool && needs_spool(t, r))
            return false;
        has_any = has_any || has_taken(t, r);
    }
    return has_any;
}

static bool has_open_leg(const struct recipient *head)
{
    for (const struct recipient *leg = head; leg != NULL; leg = leg->next_in_list)
        if (outcome_fate(leg) == FATE_OPEN)
            return true;
    return false;
}

/* `counts_open`: those without an answer may still get one. */
static bool is_any_named_taken(const struct transaction *t, bool counts_open)
{
    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (r->head == r && !r->is_added && list_is_taken(t, r, counts_open && has_open_leg(r)))
            return true;
    }
    return false;
}

/* One that a filter added has no answer of its own: it is the client's to try again where that
 * hears of nobody that he has the message, and ours where it does. */
static bool list_may_be_taken(const struct transaction *t, const struct recipient *head,
                              bool counts_open)
{
    if (head->is_added)
        return is_any_named_taken(t, counts_open) && list_is_taken(t, head, true);
    return list_is_taken(t, head, counts_open && has_open_leg(head));
}

bool outcome_is_list_taken(const struct transaction *t, const struct recipient *head)
{
    return list_may_be_taken(t, head, false);
}

bool outcome_needs_spool_for_added(const struct transaction *t)
{
    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (r->head->is_added && needs_spool(t, r))
            return is_any_named_taken(t, false);
    }
    return false;
}

static bool is_taken(const struct transaction *t, const struct recipient *r)
{
    return t->is_taken && (t->policy != TRANSACTION_EACH || outcome_is_list_taken(t, r->head));
}

bool outcome_may_be_taken(const struct transaction *t, const struct recipient *r)
{
    return t->policy != TRANSACTION_EACH || list_may_be_taken(t, r->head, true);
}

enum outcome_disposition outcome_disposition(const struct transaction *t, const struct recipient *r)
{
    return is_taken(t, r) ? disposition_if_taken(t, r) : OUTCOME_NOTHING;
}

bool outcome_would_need_spool(const struct transaction *t)
{
    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (disposition_if_taken(t, r) != OUTCOME_NOTHING && outcome_may_be_taken(t, r))
            return true;
    }
    return false;
}

bool outcome_needs_spool(const struct transaction *t)
{
    return t->is_taken && outcome_would_need_spool(t);
}

bool outcome_is_taken(const struct transaction *t)
{
    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (outcome_is_acknowledged(r) && has_taken(t, r))
            return true;
    }
    return false;
}

/* The first of each kind. */
struct tally {
    const struct recipient *accepted, *discarded, *deferred, *refused;
    bool has_open; /* a firm target did not get the end */
    bool has_held;
    bool has_report; /* on a success, which needs the spool */
};

/* Undone branches do not count. Firm targets are preferred to those that can be undone. */
static void count(const struct transaction *t, struct tally *tally, const struct recipient *r)
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
        tally->has_report |= t->policy != TRANSACTION_QUEUED && wants_report(t, r);
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

/* `is_taken`: whoever needs it is served by the spool. */
static bool succeeds(const struct tally *tally, bool is_taken)
{
    if (tally->deferred != NULL || tally->refused != NULL || tally->has_held || tally->has_report)
        return is_taken;
    return tally->accepted != NULL || tally->discarded != NULL;
}

static struct reply words(const struct transaction *t, const struct tally *tally, bool is_taken)
{
    bool has_failed = tally->deferred != NULL || tally->refused != NULL;

    if (!succeeds(tally, is_taken))
        return has_failed ? words_of_failure(tally) : reply_own(REPLY_LOCAL_PROBLEM);
    if (has_failed || tally->has_held || tally->accepted == NULL)
        return queued(t); /* who sends what is thrown away is not told so */
    return tally->accepted->reply;
}

static struct tally count_list(const struct transaction *t, const struct recipient *head)
{
    struct tally tally = {.has_open = false};

    for (const struct recipient *r = head; r != NULL; r = r->next_in_list)
        count(t, &tally, r);
    return tally;
}

struct reply outcome_of_list(const struct transaction *t, const struct recipient *head)
{
    struct tally tally = count_list(t, head);

    if (t->refusal.code != 0)
        return t->refusal;
    return words(t, &tally, is_taken(t, head));
}

bool outcome_is_success(const struct transaction *t, const struct recipient *head)
{
    struct tally tally = count_list(t, head);
    bool has_taken = is_taken(t, head);
    return t->refusal.code == 0 && (has_taken || !head->is_added) && succeeds(&tally, has_taken);
}

/* Of the first list that succeeds, else of the first. */
static struct reply words_of_one(const struct transaction *t)
{
    struct reply first = reply_own(REPLY_LOCAL_PROBLEM);
    bool has_first = false;

    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (r->head != r || r->is_added || !outcome_is_acknowledged(r))
            continue;
        struct reply reply = outcome_of_list(t, r);
        if (reply_is_positive(&reply))
            return reply;
        first = has_first ? first : reply;
        has_first = true;
    }
    return first;
}

struct reply outcome_of_message(const struct transaction *t)
{
    struct tally tally = {.has_open = false};

    if (t->policy == TRANSACTION_EACH)
        return words_of_one(t);
    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (outcome_is_acknowledged(r))
            count(t, &tally, r);
    }
    return words(t, &tally, t->is_taken);
}

void outcome_put_words(struct buf *out, const struct recipient *r)
{
    reply_put_text(out, &r->reply);
    if (r->reply.own == 0 || r->branch == NULL || r->branch->facts.error.len == 0)
        return;
    buf_text(out, " (");
    buf_put(out, r->branch->facts.error);
    buf_byte(out, ')');
}
