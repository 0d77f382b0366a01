/* SPDX-License-Identifier: BSD-2-Clause */
/* One message from MAIL to the last outcome: recipients and branches, up to the end of data. */
#include "proxy/smtp/transaction.h"

#include "proxy/smtp/outcome.h"
#include "proxy/smtp/transaction_private.h"

static bool is_due(const struct branch *b, enum action_kind kind)
{
    return (b->todo & (1U << kind)) != 0;
}

void transaction_make_due(struct branch *b, enum action_kind kind)
{
    assert(b->state != BRANCH_DONE || kind == ACT_DROP);
    b->todo |= 1U << kind;
    list_remove(&b->in_todo);
    list_append(&b->transaction->todo, &b->in_todo);
}

bool transaction_awaits(const struct recipient *r)
{
    return r->final == FATE_OPEN && outcome_stands(r);
}

/* May somebody still get the message by this branch? A recipient that stood may have its outcome
 * already, where a replay was refused. */
static bool is_wanted(const struct branch *b)
{
    LIST_EACH (link, &b->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        if (r->final == FATE_OPEN && outcome_may_stand(r))
            return true;
    }
    return false;
}

bool transaction_is_all_or_nothing(const struct transaction *t)
{
    return t->policy == TRANSACTION_LIVE && (t->counts.strict > 0 || t->is_unkept);
}

bool transaction_wants_copy(const struct transaction *t)
{
    LIST_EACH (link, &t->branches) {
        const struct branch *b = branch_of(link);
        bool may_be_read = b->can_prepare || b->may_spool || b->hold != TRANSACTION_STREAMS;
        if (b->state != BRANCH_DONE && may_be_read)
            return true;
    }
    return outcome_would_need_spool(t) || outcome_may_report(t);
}

void transaction_set_state(struct branch *b, enum branch_state state)
{
    unsigned *counts = b->transaction->counts.branches[b->can_prepare];

    counts[b->state]--;
    counts[state]++;
    b->state = state;
}

void transaction_finish_branch(struct branch *b)
{
    transaction_set_state(b, BRANCH_DONE);
    b->todo = 0;
    list_remove(&b->in_todo);
    list_remove(&b->in_deserted);
}

void transaction_drop(struct branch *b)
{
    if (b->state == BRANCH_DONE)
        return;
    bool is_opened = !is_due(b, ACT_OPEN);
    if (b->is_end_sent)
        b->facts.may_be_duplicate = true;
    transaction_finish_branch(b);
    if (is_opened)
        transaction_make_due(b, ACT_DROP);
}

static void drop_all(struct transaction *t)
{
    LIST_EACH (link, &t->branches)
        transaction_drop(branch_of(link));
}

void transaction_settle(struct transaction *t, struct reply outcome)
{
    assert(t->state != TX_SETTLED);
    drop_all(t);
    t->spool.todo = 0;
    t->is_taken = t->is_taken && reply_is_positive(&outcome);
    t->outcome = outcome;
    t->state = TX_SETTLED;
}

/* ---- recipients and branches ---- */

void transaction_init(struct transaction *t, struct arena *mail, const struct envelope *envelope,
                      const struct identity *client)
{
    *t = (struct transaction){
        .mail = mail, .envelope = *envelope, .client = client, .view = view_whole()};
    list_init(&t->recipients);
    list_init(&t->branches);
    list_init(&t->todo);
    list_init(&t->deserted);
}

static struct recipient *new_recipient(struct transaction *t, const struct address *to)
{
    struct recipient *r = arena_alloc(t->mail, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->original = *to;
    r->to = *to;
    r->head = r;
    list_init(&r->in_branch);
    list_init(&r->in_outbound);
    list_init(&r->in_transaction);
    return r;
}

struct recipient *transaction_new_recipient(struct transaction *t, const struct address *to)
{
    struct address kept;

    if (address_copy(t->mail, to, &kept) != 0)
        return NULL;
    struct recipient *r = new_recipient(t, &kept);
    if (r == NULL)
        return NULL;
    outcome_begin_list(r);
    list_append(&t->recipients, &r->in_transaction);
    t->recipient_count++;
    t->counts.unanswered++;
    return r;
}

struct recipient *transaction_add(struct transaction *t, const struct address *to)
{
    assert(t->state == TX_ENVELOPE);
    return transaction_new_recipient(t, to);
}

void transaction_set_reply(struct recipient *r, struct arena *mail, const struct reply *reply)
{
    if (reply_copy(mail, reply, &r->reply) != 0)
        r->reply = reply_own(reply_is_positive(reply) ? REPLY_OK : REPLY_LOCAL_PROBLEM);
}

void transaction_set_envelope(struct transaction *t, struct recipient *r, enum fate fate)
{
    bool was_open = outcome_of_envelope(r->head) == NULL, did_stand = outcome_may_stand(r);

    outcome_set_envelope(r, fate);
    if (was_open && outcome_of_envelope(r->head) != NULL)
        t->counts.unanswered--;
    if (!did_stand || outcome_may_stand(r))
        return;
    if (!outcome_is_all_or_nothing(r)) {
        transaction_leave(r);
        return;
    }
    for (struct recipient *each = r->head; each != NULL; each = each->next_in_list)
        transaction_leave(each);
}

bool transaction_set_final(struct transaction *t, struct recipient *r, enum fate fate)
{
    if (!transaction_awaits(r))
        return false;
    r->final = fate;
    t->counts.has_lost = t->counts.has_lost || outcome_is_failure(fate);
    return true;
}

static void answer(struct transaction *t, struct recipient *r, struct reply reply)
{
    transaction_set_envelope(t, r, outcome_of_code(reply.code));
    r->reply = reply;
    r->answer = reply;
}

bool transaction_has_failed(const struct transaction *t)
{
    return transaction_is_all_or_nothing(t) && t->counts.has_lost;
}

void transaction_put_in(struct recipient *r, struct branch *b)
{
    assert(b->state != BRANCH_DONE);
    r->branch = b;
    list_append(&b->recipients, &r->in_branch);
    transaction_enter(r);
}

void transaction_make_named(struct recipient *r)
{
    if (r->branch->unsent == NULL)
        r->branch->unsent = r;
    transaction_make_due(r->branch, ACT_RCPT);
}

static void attach(struct transaction *t, struct recipient *r, struct branch *b,
                   const struct reply *refusal)
{
    assert(r->branch == NULL);
    transaction_put_in(r, b);
    outcome_join_list(r);
    if (refusal->code != 0) /* the target's own filters have answered in its place */
        answer(t, r, *refusal);
    else
        transaction_make_named(r);
}

/* The head gets the first target; each other target gets a recipient of its own. */
bool transaction_attach_legs(struct transaction *t, struct recipient *head,
                             const struct routed *routed)
{
    struct recipient *last = head;
    for (int i = 0; i < routed->leg_count; i++) {
        struct recipient *r = i == 0 ? head : new_recipient(t, &head->original);
        struct branch *b = transaction_open_branch(t, &routed->legs[i]);
        if (r == NULL || b == NULL)
            return false;
        if (r != head) {
            r->head = head;
            list_prepend(&last->in_transaction, &r->in_transaction);
            last->next_in_list = r;
            r->position = last->position + 1;
            last = r;
        }
        r->to = routed->legs[i].to;
        r->params = head->params;
        r->guard = routed->guard;
        r->names_domain = routed->names_domain;
        attach(t, r, b, &routed->legs[i].refusal);
    }
    return true;
}

static void on_routed(struct transaction *t, struct recipient *r, const struct routed *routed)
{
    assert(t->state == TX_ENVELOPE && r->envelope == FATE_OPEN && r->branch == NULL);
    if (routed->reply.code != 0) {
        answer(t, r, routed->reply);
        return;
    }
    if (routed->is_discarded) {
        transaction_set_envelope(t, r, FATE_DISCARDED);
        r->final = FATE_DISCARDED;
        r->reply = reply_own(REPLY_RECIPIENT_OK);
        r->answer = r->reply;
        return;
    }
    if (transaction_has_failed(t)) {
        answer(t, r, reply_own(REPLY_TARGET_LOST));
        return;
    }
    if (!transaction_fits(t, r, routed)) {
        answer(t, r, reply_own(REPLY_ONE_TARGET_A_TRANSACTION));
        return;
    }
    if (transaction_attach_legs(t, r, routed))
        return;
    for (struct recipient *each = r; each != NULL; each = each->next_in_list)
        answer(t, each, reply_own(REPLY_LOCAL_PROBLEM)); /* without one leg none is sent */
}

/* ---- DATA ---- */

void transaction_data(struct transaction *t)
{
    assert(t->state == TX_ENVELOPE);
    t->state = TX_GOING;
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (b->state != BRANCH_ENVELOPE)
            continue;
        if (b->standing == 0) {
            transaction_drop(b);
            continue;
        }
        transaction_set_state(b, BRANCH_CONTENT);
        if (b->hold < TRANSACTION_HOLDS_CONTENT)
            transaction_make_due(b, ACT_GO);
    }
}

enum transaction_go transaction_go(struct transaction *t)
{
    bool stands = false;

    assert(t->state == TX_GOING);
    if (t->counts.unanswered > 0)
        return TRANSACTION_GO_WAIT;
    LIST_EACH (link, &t->recipients)
        stands = stands || outcome_stands(recipient_of(link));
    if (!stands) {
        drop_all(t);
        t->state = TX_ENVELOPE;
        return TRANSACTION_GO_NONE;
    }
    LIST_EACH (link, &t->branches)
        if (!is_wanted(branch_of(link)))
            transaction_drop(branch_of(link));
    t->state = TX_CONTENT;
    return TRANSACTION_GO_AHEAD;
}

void transaction_refuse(struct transaction *t, const struct reply *refusal)
{
    if (t->refusal.code != 0 || t->state > TX_CONTENT)
        return;
    t->refusal = *refusal;
    drop_all(t);
}

/* ---- events ---- */

static void set_final(struct transaction *t, struct recipient *r, enum fate fate,
                      const struct reply *reply)
{
    if (transaction_set_final(t, r, fate))
        transaction_set_reply(r, t->mail, reply);
}

static void on_answer(struct transaction *t, const struct event *ev)
{
    if (ev->rcpt->envelope != FATE_OPEN)
        return;
    transaction_set_envelope(t, ev->rcpt, ev->fate);
    ev->rcpt->is_unverified = ev->is_unverified;
    ev->rcpt->is_guarded = ev->is_guarded;
    transaction_set_reply(ev->rcpt, t->mail, &ev->reply);
    ev->rcpt->answer = ev->rcpt->reply;
}

static void on_final(struct transaction *t, const struct event *ev)
{
    if (ev->rcpt != NULL) {
        set_final(t, ev->rcpt, ev->fate, &ev->reply);
        return;
    }
    LIST_EACH (link, &ev->branch->recipients)
        set_final(t, LIST_ENTRY(link, struct recipient, in_branch), ev->fate, &ev->reply);
    transaction_finish_branch(ev->branch);
}

static void on_broken(struct transaction *t, const struct event *ev)
{
    enum fate fate = ev->is_end_sent ? FATE_UNKNOWN : FATE_LOST;
    LIST_EACH (link, &ev->branch->recipients) {
        struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        if (r->envelope == FATE_OPEN) {
            transaction_set_envelope(t, r, outcome_of_code(ev->reply.code));
            transaction_set_reply(r, t->mail, &ev->reply);
            r->answer = r->reply;
        } else {
            set_final(t, r, fate, &ev->reply);
        }
    }
    transaction_finish_branch(ev->branch);
}

void transaction_feed(struct transaction *t, const struct event *ev)
{
    if (t->state == TX_SETTLED || (ev->branch != NULL && ev->branch->state == BRANCH_DONE))
        return;
    switch (ev->kind) {
    case EV_ROUTED:
        on_routed(t, ev->rcpt, ev->routed);
        break;
    case EV_ANSWER:
        on_answer(t, ev);
        break;
    case EV_FINAL:
        on_final(t, ev);
        break;
    case EV_BROKEN:
        on_broken(t, ev);
        break;
    case EV_PREPARED:
        transaction_on_prepared(t, ev);
        break;
    case EV_COMMITTED:
        transaction_on_committed(t, ev);
        break;
    case EV_LOST:
        transaction_on_lost(t);
        break;
    case EV_DEADLINE:
        transaction_on_deadline(t);
        break;
    case EV_COPY:
        transaction_on_copy_lost(t, ev->error);
        break;
    case EV_UNKEPT:
        transaction_on_unkept(t, ev->error);
        break;
    }
    transaction_advance(t);
}

/* ---- actions ---- */

static bool is_to_be_named(const struct recipient *r)
{
    return r->envelope == FATE_OPEN || (r->branch->is_amended && transaction_awaits(r));
}

static struct recipient *next_unsent(struct branch *b, const struct recipient *after)
{
    for (struct list *link = after->in_branch.next; link != &b->recipients; link = link->next) {
        struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        if (is_to_be_named(r))
            return r;
    }
    return NULL;
}

static void next_of_branch(struct branch *b, struct action *out)
{
    static const enum action_kind order[] = {ACT_OPEN, ACT_RCPT,   ACT_GO,  ACT_PREPARE,
                                             ACT_END,  ACT_COMMIT, ACT_DROP};
    unsigned i = 0;

    while (i < ARRAY_LENGTH(order) && !is_due(b, order[i]))
        i++;
    assert(i < ARRAY_LENGTH(order));
    *out = (struct action){.kind = order[i], .branch = b};
    if (order[i] == ACT_RCPT) {
        assert(b->unsent != NULL);
        out->rcpt = b->unsent;
        b->unsent = next_unsent(b, b->unsent);
        if (b->unsent != NULL)
            return;
    }
    b->todo &= ~(1U << order[i]);
    if (b->todo == 0)
        list_remove(&b->in_todo);
}

bool transaction_next(struct transaction *t, struct action *out)
{
    struct list *first = list_first(&t->todo);
    if (first != NULL) {
        next_of_branch(LIST_ENTRY(first, struct branch, in_todo), out);
        return true;
    }
    if (t->spool.todo != 0) {
        bool is_prepare = (t->spool.todo & (1U << ACT_PREPARE_SPOOL)) != 0;
        t->spool.todo = 0;
        *out = (struct action){.kind = is_prepare ? ACT_PREPARE_SPOOL : ACT_COMMIT_SPOOL};
        return true;
    }
    if (t->state != TX_SETTLED || t->is_told)
        return false;
    t->is_told = true;
    *out = (struct action){.kind = ACT_SETTLED};
    return true;
}
