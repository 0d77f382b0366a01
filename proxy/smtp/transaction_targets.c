/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a transaction goes: its targets, one branch for each, which may stand side by side, and
 * what filters said of each. */
#include "proxy/base/error.h"
#include "proxy/smtp/outcome.h"
#include "proxy/smtp/transaction_private.h"

/* ---- targets ---- */

/* Where the target is in the tree, or belongs. Each bit of a hash decides one turn, which keeps the
 * tree flat. */
static struct destination **find(struct transaction *t, const struct target *target)
{
    uint64_t hash = (uint64_t)(uintptr_t)target * 0x9e3779b97f4a7c15u;
    struct destination **at = &t->destinations;

    for (; *at != NULL && (*at)->branch->target != target; hash <<= 1)
        at = &(*at)->below[hash >> 63];
    return at;
}

struct branch *transaction_open_branch(struct transaction *t, const struct routed_leg *leg)
{
    struct destination **at = find(t, leg->target), *destination = *at;
    if (destination != NULL && destination->branch->state != BRANCH_DONE)
        return destination->branch;
    struct branch *b = arena_alloc(t->mail, sizeof(*b));
    if (destination == NULL)
        destination = arena_alloc(t->mail, sizeof(*destination));
    if (b == NULL || destination == NULL)
        return NULL;
    assert(destination->branch == NULL || (destination->branch->can_prepare == leg->can_prepare &&
                                           destination->branch->may_spool == leg->may_spool));
    *at = destination;
    destination->branch = b;
    b->target = leg->target;
    b->destination = destination;
    b->can_prepare = leg->can_prepare;
    b->may_spool = leg->may_spool;
    b->transaction = t;
    t->counts.branches[b->can_prepare][b->state]++;
    list_init(&b->recipients);
    list_init(&b->in_todo);
    list_init(&b->in_deserted);
    list_append(&t->branches, &b->in_transaction);
    transaction_make_due(b, ACT_OPEN);
    return b;
}

bool transaction_names(struct transaction *t, const struct target *target)
{
    return *find(t, target) != NULL;
}

/* ---- who may stand where ---- */

static bool is_strict(const struct branch *b)
{
    return !b->can_prepare && !b->may_spool;
}

void transaction_enter(struct recipient *r)
{
    struct branch *b = r->branch;
    struct transaction_counts *counts = &b->transaction->counts;

    assert(!r->is_counted);
    r->is_counted = true;
    if (b->standing++ == 0)
        list_remove(&b->in_deserted);
    if (b->destination->standing++ > 0)
        return;
    counts->targets++;
    counts->firm += !b->can_prepare;
    counts->strict += is_strict(b);
}

void transaction_leave(struct recipient *r)
{
    struct branch *b = r->branch;

    if (!r->is_counted)
        return;
    r->is_counted = false;
    struct transaction_counts *counts = &b->transaction->counts;
    assert(b->standing > 0 && b->destination->standing >= b->standing);
    if (--b->standing == 0 && b->state != BRANCH_DONE)
        list_append(&b->transaction->deserted, &b->in_deserted);
    if (--b->destination->standing > 0)
        return;
    counts->targets--;
    counts->firm -= !b->can_prepare;
    counts->strict -= is_strict(b);
}

/* ---- may the next recipient come ---- */

/* Marks the targets that the routes name. Returns at how many of them a recipient may stand. */
static unsigned name_all(struct transaction *t, const struct recipient *r,
                         const struct routed *routed)
{
    unsigned standing = 0;

    for (int i = 0; i < routed->leg_count; i++) {
        struct destination *destination = *find(t, routed->legs[i].target);
        if (destination == NULL || destination->named_by == r)
            continue;
        destination->named_by = r;
        standing += destination->standing > 0;
    }
    return standing;
}

/* Drops branches by which nobody may get the message, unless the routes name their target. */
static void drop_deserted(struct transaction *t, const struct recipient *r)
{
    LIST_EACH (link, &t->deserted) {
        struct branch *b = LIST_ENTRY(link, struct branch, in_deserted);
        if (b->destination->named_by != r)
            transaction_drop(b);
    }
}

/* split = defer: all recipients of a transaction go to the same targets. `named`: of name_all(). */
static bool has_same_targets(struct transaction *t, const struct routed *routed, unsigned named)
{
    if (named != t->counts.targets)
        return false;
    for (int i = 0; named > 0 && i < routed->leg_count; i++) {
        const struct destination *destination = *find(t, routed->legs[i].target);
        if (destination == NULL || destination->standing == 0)
            return false;
    }
    return true;
}

/* A firm target that may not be spooled shares a transaction with no other firm one: all or nothing
 * works only if at most one target cannot be undone; if that has an outcome for each recipient,
 * with only one of them. Where the client hears of each, nothing is all or nothing but a list, and
 * no list has two such targets (route_walk.c). */
bool transaction_is_alone_where_it_must(struct transaction *t, const struct routed *routed)
{
    for (int i = 0; i < routed->leg_count && t->policy == TRANSACTION_LIVE; i++) {
        const struct routed_leg *leg = &routed->legs[i];
        if (leg->can_prepare)
            continue;
        const struct destination *destination = *find(t, leg->target);
        bool is_there = destination != NULL && destination->standing > 0;
        if (is_there && leg->answers_each && !leg->may_spool)
            return false;
        unsigned others = t->counts.firm - is_there;
        unsigned strict_others = t->counts.strict - (is_there && is_strict(destination->branch));
        if (strict_others > 0 || (others > 0 && !leg->may_spool))
            return false;
    }
    return true;
}

bool transaction_fits(struct transaction *t, const struct recipient *r, const struct routed *routed)
{
    if (t->policy == TRANSACTION_QUEUED)
        return true;
    unsigned named = name_all(t, r, routed);
    drop_deserted(t, r);
    return (t->splits || has_same_targets(t, routed, named)) &&
           transaction_is_alone_where_it_must(t, routed);
}

/* ---- what filters said ---- */

static int set_lines(struct transaction *t, struct bytes lines, struct bytes *held)
{
    struct bytes copy;

    if (t->counts.lines_bytes - held->len + lines.len > VIEW_LINES_MAX)
        return ERR_TOO_LONG;
    if (!bytes_equal(*held, lines)) {
        if (arena_copy(t->mail, lines, &copy) != 0)
            return ERR_MEMORY;
        t->counts.lines_bytes += copy.len - held->len;
        *held = copy;
    }
    return 0;
}

int transaction_prepend(struct transaction *t, const struct target *target, struct bytes lines)
{
    struct destination *destination = target == NULL ? NULL : *find(t, target);

    assert(t->state < TX_PREPARING);
    if (target != NULL && destination == NULL)
        return 0; /* nobody goes there */
    if (lines.len > TRANSACTION_LINES_MAX)
        return ERR_TOO_LONG;
    if (destination != NULL) {
        assert(!destination->has_view);
        return set_lines(t, lines, &destination->view.lines);
    }
    assert(view_is_whole(&t->view));
    int error = set_lines(t, lines, &t->view.lines);
    t->view.above = t->view.lines.len;
    return error;
}

int transaction_show(struct transaction *t, const struct target *target, const struct view *view)
{
    struct destination *destination = target == NULL ? NULL : *find(t, target);
    struct view *held = destination == NULL ? &t->view : &destination->view, shown = *view;

    assert(t->state < TX_PREPARING && view->at <= view->end && view->above <= view->lines.len);
    if (target != NULL && destination == NULL)
        return 0; /* nobody goes there */
    int error = set_lines(t, view->lines, &held->lines);
    if (error != 0)
        return error;
    shown.lines = held->lines;
    *held = shown;
    if (destination != NULL)
        destination->has_view = true;
    return 0;
}

const struct view *transaction_view(const struct branch *b)
{
    return b->destination->has_view ? &b->destination->view : &b->transaction->view;
}

struct bytes transaction_lines(const struct branch *b)
{
    return b->destination->has_view ? bytes_make(NULL, 0) : b->destination->view.lines;
}

bool transaction_may_be_spooled(const struct recipient *r)
{
    return r->head->next_in_list != NULL && outcome_is_failure(r->envelope) &&
           r->envelope != FATE_REFUSED;
}

bool transaction_goes_to(const struct transaction *t, const struct target *target)
{
    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = recipient_of(link);
        bool is_out = r->final == FATE_REFUSED || r->final == FATE_DISCARDED;
        if (r->branch != NULL && r->branch->target == target && !is_out &&
            (outcome_may_stand(r) || transaction_may_be_spooled(r)))
            return true;
    }
    return false;
}

/* It does not stand at its target any more, and has not failed. One that is lost already is held
 * all the same: see outcome_disposition(). */
static void hold(struct transaction *t, struct recipient *r)
{
    transaction_leave(r);
    if (!transaction_awaits(r))
        return;
    r->final = FATE_HELD;
    t->counts.has_held = true;
}

void transaction_keep_back(struct recipient *r)
{
    struct branch *b = r->branch;

    if (outcome_quarantine(b->transaction, r) == NULL)
        return;
    hold(b->transaction, r);
    transaction_drop(b);
}

static bool is_meant(const struct destination *destination, const struct destination *only)
{
    return (only == NULL || destination == only) && !destination->quarantine.is_set;
}

int transaction_quarantine(struct transaction *t, const struct target *target, struct bytes reason)
{
    struct destination *only = target == NULL ? NULL : *find(t, target);
    struct reply words = reply_own(REPLY_LOCAL_PROBLEM);
    struct bytes kept;

    assert(t->state == TX_CONTENT);
    if ((target != NULL && only == NULL) || t->quarantine.is_set)
        return 0;
    if (arena_copy(t->mail, reason, &kept) != 0)
        return ERR_MEMORY;
    if (target == NULL)
        t->quarantine = (struct quarantine){.reason = kept, .is_set = true};
    LIST_EACH (link, &t->recipients) {
        struct recipient *r = recipient_of(link);
        if (r->branch != NULL && is_meant(r->branch->destination, only))
            hold(t, r);
    }
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (!is_meant(b->destination, only))
            continue;
        b->destination->quarantine = (struct quarantine){.reason = kept, .is_set = true};
        transaction_drop(b->destination->branch);
    }
    if (t->is_unkept) /* there is nothing that could be held */
        transaction_refuse(t, &words);
    return 0;
}

/* Whatever became of the recipient so far: one that is lost may not go into the spool either. */
static void refuse(struct transaction *t, struct recipient *r, const struct reply *refusal)
{
    if (r->envelope == FATE_OPEN) {
        transaction_set_envelope(t, r, FATE_REFUSED);
        transaction_set_reply(r, t->mail, refusal);
        r->answer = r->reply;
    } else if (outcome_may_stand(r)) { /* others of its list may have no answer yet */
        r->final = FATE_REFUSED;
        t->counts.has_lost = true;
        transaction_set_reply(r, t->mail, refusal);
    } else if (transaction_may_be_spooled(r)) {
        r->envelope = FATE_REFUSED;
        transaction_set_reply(r, t->mail, refusal);
    }
}

void transaction_judge(struct transaction *t, const struct target *target,
                       const struct reply *refusal)
{
    struct destination *destination = *find(t, target);

    assert(t->state < TX_PREPARING && refusal->code / 100 == 5);
    LIST_EACH (link, &t->recipients) {
        struct recipient *r = recipient_of(link);
        if (r->branch != NULL && r->branch->target == target)
            refuse(t, r, refusal);
    }
    if (destination != NULL)
        transaction_drop(destination->branch);
}
