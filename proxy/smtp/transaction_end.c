/* SPDX-License-Identifier: BSD-2-Clause */
/* From the client's end of data to the outcome: prepare, release, spool, commit. */
#include "proxy/base/error.h"
#include "proxy/smtp/outcome.h"
#include "proxy/smtp/transaction_private.h"

static bool is_firm_at_work(const struct branch *b)
{
    return !b->can_prepare && b->state != BRANCH_DONE;
}

static bool is_any_at_work(const unsigned counts[BRANCH_DONE])
{
    for (int state = BRANCH_ENVELOPE; state < BRANCH_DONE; state++)
        if (counts[state] > 0)
            return true;
    return false;
}

static bool has_firm_at_work(const struct transaction *t)
{
    return is_any_at_work(t->counts.branches[false]);
}

static bool has_undoable_at_work(const struct transaction *t)
{
    return is_any_at_work(t->counts.branches[true]);
}

static struct reply words_of_disk(int error)
{
    return reply_own(error == ERR_FULL ? REPLY_SPOOL_FULL : REPLY_LOCAL_PROBLEM);
}

static bool is_commit_ordered(const struct branch *b)
{
    return b->can_prepare && b->state == BRANCH_ENDED;
}

/* Does the target or the spool have the message for this recipient, or may it have? */
static bool may_be_taken(const struct transaction *t, const struct recipient *r)
{
    if (r->final == FATE_ACCEPTED || r->final == FATE_UNKNOWN)
        return true;
    if (r->branch->can_prepare)
        return is_commit_ordered(r->branch) && transaction_awaits(r);
    return outcome_disposition(t, r) == OUTCOME_SPOOL || outcome_disposition(t, r) == OUTCOME_HOLD;
}

/* Who does not hear a 250 sends again what has been taken already. */
static void note_duplicates(struct transaction *t)
{
    LIST_EACH (link, &t->recipients) {
        struct recipient *r = recipient_of(link);
        bool is_told =
            t->policy == TRANSACTION_EACH && !t->is_client_gone && outcome_is_success(t, r->head);
        if (r->branch != NULL && !is_told && may_be_taken(t, r))
            r->branch->facts.may_be_duplicate = true;
    }
}

/* ---- the way to the outcome ---- */

/* May the spool serve recipients who do not get the message now? Where it is all or nothing, only
 * those for whom it is held, and those who got it and owe a report. */
static bool may_take(const struct transaction *t)
{
    if (!transaction_is_all_or_nothing(t))
        return t->policy != TRANSACTION_QUEUED;
    return (t->counts.has_held || outcome_may_report(t)) && !t->is_unkept &&
           !transaction_has_failed(t);
}

/* What can be undone is made durable before any firm target gets the end. So is the spool file,
 * where it is certain that there will be one; without firm targets its commit is enough, unless
 * that comes last. */
static void prepare(struct transaction *t)
{
    assert(t->state == TX_CONTENT);
    t->state = TX_PREPARING;
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (b->can_prepare && b->state == BRANCH_CONTENT)
            transaction_make_due(b, ACT_PREPARE);
    }
    bool needs_spool = has_firm_at_work(t) && outcome_would_need_spool(t);
    if (may_take(t) && (needs_spool || outcome_may_report(t))) {
        t->spool.is_preparing = true;
        t->spool.todo |= 1U << ACT_PREPARE_SPOOL;
    }
}

static bool is_prepared(const struct transaction *t)
{
    return t->counts.branches[true][BRANCH_CONTENT] == 0 && !t->spool.is_preparing;
}

/* Where the client hears of each recipient: is there one here whose list has not failed? */
static bool is_worth_ending(const struct branch *b)
{
    if (b->transaction->policy != TRANSACTION_EACH)
        return true;
    LIST_EACH (link, &b->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        if (transaction_awaits(r) && outcome_may_be_taken(b->transaction, r))
            return true;
    }
    return false;
}

static void release(struct transaction *t)
{
    assert(t->state == TX_PREPARING);
    t->state = TX_RELEASED;
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (b->can_prepare || b->state != BRANCH_CONTENT)
            continue;
        if (!is_worth_ending(b)) {
            transaction_drop(b);
            continue;
        }
        transaction_set_state(b, BRANCH_ENDED);
        transaction_make_due(b, ACT_END);
    }
}

static void spool(struct transaction *t)
{
    t->state = TX_SPOOLING;
    t->spool.is_committing = outcome_needs_spool(t);
    if (t->spool.is_committing)
        t->spool.todo |= 1U << ACT_COMMIT_SPOOL;
}

static bool awaits_any(const struct branch *b)
{
    LIST_EACH (link, &b->recipients)
        if (transaction_awaits(LIST_ENTRY(link, struct recipient, in_branch)))
            return true;
    return false;
}

/* The recipients have their outcomes when the disk has done the commit. */
static void commit_branch(struct branch *b)
{
    if (!awaits_any(b)) {
        transaction_drop(b);
        return;
    }
    transaction_set_state(b, BRANCH_ENDED);
    transaction_make_due(b, ACT_COMMIT);
}

/* Where the client hears of each recipient: what it will send again does not appear. */
static void undo_lists(struct transaction *t)
{
    LIST_EACH (link, &t->recipients) {
        struct recipient *r = recipient_of(link);
        if (r->branch == NULL || !transaction_awaits(r) || outcome_is_list_taken(t, r->head))
            continue;
        r->final = FATE_DEFERRED;
        r->reply = reply_own(REPLY_LOCAL_PROBLEM);
    }
}

static void commit(struct transaction *t)
{
    t->state = TX_COMMITTING;
    if (t->policy == TRANSACTION_EACH)
        undo_lists(t);
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (b->can_prepare && b->state == BRANCH_PREPARED)
            commit_branch(b);
    }
}

static bool is_committed(const struct transaction *t)
{
    return t->state == TX_COMMITTING && !has_firm_at_work(t) && !has_undoable_at_work(t);
}

static bool is_spooled(const struct transaction *t)
{
    return t->state == TX_SPOOLING && !t->spool.is_committing;
}

static void finish(struct transaction *t)
{
    struct reply outcome = t->refusal.code != 0 ? t->refusal : outcome_of_message(t);

    if (!reply_is_positive(&outcome) || t->is_client_gone || t->policy == TRANSACTION_EACH)
        note_duplicates(t);
    transaction_settle(t, outcome);
}

/* The message has failed: a firm target that did not get the end is dropped; one that did may still
 * answer. */
static void stop_firm(struct transaction *t)
{
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (is_firm_at_work(b) && !b->is_end_sent)
            transaction_drop(b);
    }
}

/* True: the message is all or nothing, it has failed, and no firm target is left to answer. */
static bool has_come_to_nothing(struct transaction *t)
{
    if ((t->state != TX_PREPARING && t->state != TX_RELEASED) || !transaction_has_failed(t))
        return false;
    if (has_firm_at_work(t))
        stop_firm(t);
    return !has_firm_at_work(t);
}

/* The client hears that the message failed, though some recipients may have it. */
static void refuse_late(struct transaction *t, struct reply words)
{
    t->is_taken = false;
    t->refusal = words;
    finish(t);
}

/* Every firm target has answered. What is for the spool is safe there before Maildirs commit, which
 * nothing can undo; but a success is reported after it has come about: a crash between the two
 * costs the client its 250, and it sends the message again. */
static void take(struct transaction *t)
{
    assert(t->state == TX_RELEASED);
    if (t->is_spool_lost && outcome_needs_spool_for_added(t)) {
        refuse_late(t, reply_own(REPLY_LOCAL_PROBLEM));
        return;
    }
    t->is_taken = may_take(t) && !t->is_client_gone && outcome_is_taken(t);
    t->spool.comes_last = t->is_taken && outcome_may_report(t);
    if (t->spool.comes_last)
        commit(t);
    else
        spool(t);
}

void transaction_advance(struct transaction *t)
{
    if (has_come_to_nothing(t)) {
        finish(t);
        return;
    }
    if (t->state == TX_PREPARING && is_prepared(t))
        release(t);
    if (t->state == TX_RELEASED && !has_firm_at_work(t))
        take(t);
    if (is_spooled(t) && !t->spool.comes_last)
        commit(t);
    if (is_committed(t) && t->spool.comes_last && t->refusal.code == 0)
        spool(t);
    if (is_committed(t) || is_spooled(t))
        finish(t);
}

void transaction_end(struct transaction *t)
{
    assert(t->state == TX_CONTENT);
    if (t->refusal.code != 0) {
        transaction_settle(t, t->refusal);
        return;
    }
    if (!transaction_amend(t)) {
        transaction_settle(t, reply_own(REPLY_LOCAL_PROBLEM));
        return;
    }
    transaction_let_go(t);
    prepare(t);
    transaction_advance(t);
}

void transaction_abandon(struct transaction *t)
{
    if (t->state == TX_SETTLED || t->state == TX_COMMITTING)
        return;
    if (t->is_client_gone)
        note_duplicates(t);
    transaction_settle(t, (struct reply){.code = 0});
}

/* ---- events ---- */

static void set_fate(struct transaction *t, struct recipient *r, enum fate fate, struct reply words)
{
    if (transaction_set_final(t, r, fate))
        r->reply = words;
}

/* For the event's recipient, or without one for all of its branch that have no outcome yet. */
static void set_fates(struct transaction *t, const struct event *ev, enum fate fate,
                      struct reply words)
{
    if (ev->rcpt != NULL) {
        set_fate(t, ev->rcpt, fate, words);
        return;
    }
    LIST_EACH (link, &ev->branch->recipients)
        set_fate(t, LIST_ENTRY(link, struct recipient, in_branch), fate, words);
}

/* Where a client waits for one reply, the whole message is refused: no target has it yet. */
static void on_unprepared(struct transaction *t, const struct event *ev)
{
    if (t->policy == TRANSACTION_LIVE) {
        transaction_settle(t, words_of_disk(ev->error));
        return;
    }
    if (ev->branch == NULL) {
        t->spool.is_preparing = false;
        t->is_spool_lost = true;
        return;
    }
    set_fates(t, ev, FATE_DEFERRED, words_of_disk(ev->error));
    if (ev->rcpt == NULL)
        transaction_drop(ev->branch);
}

void transaction_on_prepared(struct transaction *t, const struct event *ev)
{
    if (t->state != TX_PREPARING)
        return;
    if (ev->error != 0)
        on_unprepared(t, ev);
    else if (ev->branch != NULL)
        transaction_set_state(ev->branch, BRANCH_PREPARED);
    else
        t->spool.is_preparing = false;
}

static void on_spooled(struct transaction *t, int error)
{
    if (t->state != TX_SPOOLING)
        return;
    t->spool.is_committing = false;
    if (error == 0)
        return;
    if (t->policy == TRANSACTION_EACH && !outcome_needs_spool_for_added(t))
        t->is_spool_lost = true;
    else
        refuse_late(t, words_of_disk(error));
}

/* The file of the spool is written, and does not have the leg that fails now. The client sends the
 * message again to this list, whose other legs may be in that file. */
static void leave_unserved(struct transaction *t, const struct recipient *r)
{
    for (struct recipient *leg = r->head; leg != NULL; leg = leg->next_in_list)
        if (may_be_taken(t, leg))
            leg->branch->facts.may_be_duplicate = true;
    r->head->list.is_unserved = true;
}

static void on_uncommitted(struct transaction *t, const struct event *ev)
{
    struct reply words = words_of_disk(ev->error);

    set_fates(t, ev, ev->may_be_there ? FATE_UNKNOWN : FATE_DEFERRED, words);
    if (t->policy == TRANSACTION_LIVE)
        t->refusal = words;
    if (t->policy != TRANSACTION_EACH || t->spool.comes_last)
        return;
    LIST_EACH (link, &ev->branch->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        if (outcome_is_failure(r->final))
            leave_unserved(t, r);
    }
}

/* A client that waits for one reply hears that the message failed, though other recipients keep
 * it. */
static void on_branch_committed(struct transaction *t, const struct event *ev)
{
    if (t->state != TX_COMMITTING || !is_commit_ordered(ev->branch))
        return;
    if (ev->error == 0)
        set_fates(t, ev, FATE_ACCEPTED, reply_own(REPLY_MESSAGE_OK));
    else
        on_uncommitted(t, ev);
    if (ev->rcpt == NULL)
        transaction_finish_branch(ev->branch);
}

void transaction_on_committed(struct transaction *t, const struct event *ev)
{
    if (ev->branch == NULL)
        on_spooled(t, ev->error);
    else
        on_branch_committed(t, ev);
}

void transaction_on_lost(struct transaction *t)
{
    if (t->state < TX_RELEASED)
        transaction_abandon(t);
    else
        t->is_client_gone = true;
}

/* Recipients without an answer of their firm target are for the spool. False: there was none. */
static bool give_up_firm(struct transaction *t)
{
    struct reply words = reply_own(REPLY_TARGET_SLOW);
    bool has_any = false;

    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (!is_firm_at_work(b))
            continue;
        LIST_EACH (each, &b->recipients) {
            struct recipient *r = LIST_ENTRY(each, struct recipient, in_branch);
            set_fate(t, r, b->is_end_sent ? FATE_UNKNOWN : FATE_LOST, words);
        }
        transaction_drop(b);
        has_any = true;
    }
    return has_any;
}

/* Eight minutes after its end of data the client is about to give up (RFC 5321 4.5.3.2.6: ten). */
void transaction_on_deadline(struct transaction *t)
{
    bool is_waiting = t->state == TX_PREPARING || t->state == TX_RELEASED;

    if (is_waiting && !transaction_is_all_or_nothing(t) && give_up_firm(t))
        return;
    note_duplicates(t);
    transaction_settle(
        t, reply_own(t->state == TX_RELEASED ? REPLY_TARGET_SLOW : REPLY_LOCAL_PROBLEM));
}

bool transaction_hurry(struct transaction *t)
{
    if (t->state < TX_PREPARING || t->is_client_gone)
        return false;
    if (t->state <= TX_RELEASED && transaction_is_all_or_nothing(t))
        return false;
    if (t->state <= TX_RELEASED)
        give_up_firm(t);
    transaction_advance(t);
    return true;
}

/* The copy cannot be read: each recipient without an answer or without an outcome gets `words`. */
static void break_branches(struct transaction *t, struct reply words)
{
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (b->state == BRANCH_DONE)
            continue;
        LIST_EACH (each, &b->recipients) {
            struct recipient *r = LIST_ENTRY(each, struct recipient, in_branch);
            if (r->envelope == FATE_OPEN) {
                transaction_set_envelope(t, r, FATE_DEFERRED);
                r->reply = words;
                r->answer = words;
            }
            set_fate(t, r, b->is_end_sent ? FATE_UNKNOWN : FATE_DEFERRED, words);
        }
        transaction_drop(b);
    }
}

/* Before the end of data the message is refused. After it a relay that still reads the copy would
 * wait in vain. When firm targets have answered, nobody but the disk needs the copy. */
void transaction_on_copy_lost(struct transaction *t, int error)
{
    struct reply words = words_of_disk(error);

    if (t->state > TX_RELEASED)
        return;
    if (t->policy != TRANSACTION_QUEUED && t->state <= TX_CONTENT) {
        transaction_refuse(t, &words);
    } else if (t->policy != TRANSACTION_LIVE) {
        break_branches(t, words);
    } else {
        note_duplicates(t);
        transaction_settle(t, words);
    }
}

/* Branches that prepare read the copy from its beginning, at the end; recipients that have failed
 * so far are for the spool. */
static bool needs_whole_copy(const struct transaction *t)
{
    LIST_EACH (link, &t->branches) {
        const struct branch *b = branch_of(link);
        if (b->state != BRANCH_DONE && (b->can_prepare || b->hold != TRANSACTION_STREAMS))
            return true;
    }
    return outcome_would_need_spool(t);
}

void transaction_on_unkept(struct transaction *t, int error)
{
    struct reply words = words_of_disk(error);
    bool has_report = outcome_may_report(t);

    t->is_unkept = true;
    if (has_report || needs_whole_copy(t))
        transaction_refuse(t, &words);
}
