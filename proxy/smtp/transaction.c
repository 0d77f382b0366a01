/* SPDX-License-Identifier: BSD-2-Clause */
/* One message from MAIL to the last outcome: recipients, branches, and their order. */
#include "proxy/smtp/transaction.h"

#include "proxy/smtp/event.h"
#include "proxy/smtp/outcome.h"

static bool is_due(const struct branch *b, enum action_kind kind)
{
    return (b->todo & (1U << kind)) != 0;
}

static void make_due(struct branch *b, enum action_kind kind)
{
    b->todo |= 1U << kind;
    list_remove(&b->in_todo);
    list_append(&b->transaction->todo, &b->in_todo);
}

static struct branch *branch_of(struct list *link)
{
    return LIST_ENTRY(link, struct branch, in_transaction);
}

static struct recipient *recipient_of(struct list *link)
{
    return LIST_ENTRY(link, struct recipient, in_transaction);
}

bool transaction_stands(const struct recipient *r)
{
    for (const struct recipient *each = r->head; each != NULL; each = each->next_in_list)
        if (each->envelope != FATE_ACCEPTED && each->envelope != FATE_DISCARDED)
            return false;
    return true;
}

/* Nobody in its list has been refused so far. */
static bool may_stand(const struct recipient *r)
{
    for (const struct recipient *each = r->head; each != NULL; each = each->next_in_list)
        if (outcome_is_failure(each->envelope))
            return false;
    return true;
}

static bool has_recipients(const struct branch *b)
{
    LIST_EACH (link, &b->recipients)
        if (may_stand(LIST_ENTRY(link, struct recipient, in_branch)))
            return true;
    return false;
}

static void drop(struct branch *b)
{
    if (b->state == BRANCH_DONE)
        return;
    bool is_opened = !is_due(b, ACT_OPEN);
    b->facts.may_be_duplicate = b->state == BRANCH_ENDED && !b->can_prepare;
    b->state = BRANCH_DONE;
    b->todo = 0;
    list_remove(&b->in_todo);
    if (is_opened)
        make_due(b, ACT_DROP);
}

static void drop_all(struct transaction *t)
{
    LIST_EACH (link, &t->branches)
        drop(branch_of(link));
}

static void settle(struct transaction *t, struct reply outcome)
{
    drop_all(t);
    t->outcome = outcome;
    t->state = TX_SETTLED;
}

/* ---- recipients and branches ---- */

void transaction_init(struct transaction *t, struct arena *mail, const struct envelope *envelope,
                      const struct identity *client)
{
    *t = (struct transaction){.mail = mail, .envelope = *envelope, .client = client};
    list_init(&t->recipients);
    list_init(&t->branches);
    list_init(&t->todo);
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

struct recipient *transaction_add(struct transaction *t, const struct address *to)
{
    struct address kept;
    if (address_copy(t->mail, to, &kept) != 0)
        return NULL;
    struct recipient *r = new_recipient(t, &kept);
    if (r == NULL)
        return NULL;
    list_append(&t->recipients, &r->in_transaction);
    t->recipient_count++;
    return r;
}

/* The reply is kept; without memory for it the answer is one of our own that means the same. */
static void set_reply(struct transaction *t, struct recipient *r, const struct reply *reply)
{
    if (reply_copy(t->mail, reply, &r->reply) != 0)
        r->reply = reply_own(reply_is_positive(reply) ? REPLY_OK : REPLY_LOCAL_PROBLEM);
}

static void answer(struct recipient *r, struct reply reply)
{
    r->envelope = outcome_of_code(reply.code);
    r->reply = reply;
}

static struct branch *find_live_branch(struct transaction *t, const struct target *target)
{
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (b->target == target && b->state != BRANCH_DONE)
            return b;
    }
    return NULL;
}

static struct branch *open_branch(struct transaction *t, const struct routed_leg *leg)
{
    struct branch *b = find_live_branch(t, leg->target);
    if (b != NULL)
        return b;
    b = arena_alloc(t->mail, sizeof(*b));
    if (b == NULL)
        return NULL;
    b->target = leg->target;
    b->can_prepare = leg->can_prepare;
    b->transaction = t;
    list_init(&b->recipients);
    list_init(&b->in_todo);
    list_append(&t->branches, &b->in_transaction);
    make_due(b, ACT_OPEN);
    return b;
}

static bool is_among(const struct branch *b, const struct routed *routed)
{
    for (int i = 0; i < routed->leg_count; i++)
        if (routed->legs[i].target == b->target)
            return true;
    return false;
}

/* Without a spool all recipients of a transaction go to the same targets (split = defer), so that
 * the message can be all or nothing. Branches that no recipient can stand on make room. */
static bool fits(struct transaction *t, const struct routed *routed)
{
    bool has_live = false;
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (b->state == BRANCH_DONE)
            continue;
        if (!has_recipients(b)) {
            if (!is_among(b, routed))
                drop(b);
            continue;
        }
        if (!is_among(b, routed))
            return false;
        has_live = true;
    }
    for (int i = 0; has_live && i < routed->leg_count; i++) {
        struct branch *b = find_live_branch(t, routed->legs[i].target);
        if (b == NULL || !has_recipients(b))
            return false;
    }
    return true;
}

/* A recipient that was accepted is lost already. Without a spool there is nobody to tell the
 * client that one of its recipients did not get the message: then none gets it. */
static bool has_lost(const struct transaction *t)
{
    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = recipient_of(link);
        if (outcome_is_failure(r->final) && transaction_stands(r))
            return true;
    }
    return false;
}

static void attach(struct recipient *r, struct branch *b)
{
    r->branch = b;
    list_append(&b->recipients, &r->in_branch);
    if (b->unsent == NULL)
        b->unsent = r;
    make_due(b, ACT_RCPT);
}

/* The head takes the first target, one more recipient each of the others. */
static bool attach_legs(struct transaction *t, struct recipient *head, const struct routed *routed)
{
    struct recipient *last = head;
    for (int i = 0; i < routed->leg_count; i++) {
        struct recipient *r = i == 0 ? head : new_recipient(t, &head->original);
        struct branch *b = open_branch(t, &routed->legs[i]);
        if (r == NULL || b == NULL)
            return false;
        if (r != head) {
            r->head = head;
            list_prepend(&last->in_transaction, &r->in_transaction);
            last->next_in_list = r;
            last = r;
        }
        r->to = routed->legs[i].to;
        r->guard = routed->guard;
        attach(r, b);
    }
    return true;
}

static void on_routed(struct transaction *t, struct recipient *r, const struct routed *routed)
{
    if (routed->reply.code != 0) {
        answer(r, routed->reply);
        return;
    }
    if (routed->is_discarded) {
        r->envelope = FATE_DISCARDED;
        r->final = FATE_DISCARDED;
        r->reply = reply_own(REPLY_RECIPIENT_OK);
        return;
    }
    if (has_lost(t)) {
        answer(r, reply_own(REPLY_TARGET_LOST));
        return;
    }
    if (!fits(t, routed)) {
        answer(r, reply_own(REPLY_ONE_TARGET_A_TRANSACTION));
        return;
    }
    if (!attach_legs(t, r, routed))
        answer(r, reply_own(REPLY_LOCAL_PROBLEM));
}

/* ---- DATA, the end, and the way to the outcome ---- */

void transaction_data(struct transaction *t)
{
    t->state = TX_GOING;
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (b->state != BRANCH_ENVELOPE)
            continue;
        if (!has_recipients(b)) {
            drop(b);
            continue;
        }
        b->state = BRANCH_CONTENT;
        make_due(b, ACT_GO);
    }
}

enum transaction_go transaction_go(struct transaction *t)
{
    bool stands = false;
    LIST_EACH (link, &t->recipients) {
        struct recipient *r = recipient_of(link);
        if (r->head != r)
            continue;
        if (outcome_of_envelope(r)->envelope == FATE_OPEN)
            return TRANSACTION_GO_WAIT;
        stands = stands || transaction_stands(r);
    }
    if (!stands) {
        drop_all(t);
        t->state = TX_ENVELOPE;
        return TRANSACTION_GO_NONE;
    }
    LIST_EACH (link, &t->branches)
        if (!has_recipients(branch_of(link)))
            drop(branch_of(link));
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

void transaction_abandon(struct transaction *t)
{
    if (t->state != TX_SETTLED)
        settle(t, (struct reply){.code = 0});
}

/* Prepare what can be undone, before any relay has the end. */
static void prepare(struct transaction *t)
{
    t->state = TX_PREPARING;
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (b->can_prepare && b->state == BRANCH_CONTENT)
            make_due(b, ACT_PREPARE);
    }
}

static bool is_prepared(const struct transaction *t)
{
    LIST_EACH (link, &t->branches) {
        const struct branch *b = branch_of(link);
        if (b->can_prepare && b->state == BRANCH_CONTENT)
            return false;
    }
    return true;
}

static void release(struct transaction *t)
{
    t->state = TX_RELEASED;
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (b->can_prepare || b->state != BRANCH_CONTENT)
            continue;
        b->state = BRANCH_ENDED;
        make_due(b, ACT_END);
    }
}

static bool is_ended(const struct transaction *t, bool can_prepare)
{
    LIST_EACH (link, &t->branches) {
        const struct branch *b = branch_of(link);
        if (b->can_prepare == can_prepare && b->state != BRANCH_DONE)
            return false;
    }
    return true;
}

/* In a maildir appears what every other target of the recipient's list has accepted. */
static bool may_appear(const struct recipient *r)
{
    if (!transaction_stands(r))
        return false;
    for (const struct recipient *each = r->head; each != NULL; each = each->next_in_list)
        if (!each->branch->can_prepare && each->final != FATE_ACCEPTED)
            return false;
    return true;
}

static void commit_branch(struct branch *b)
{
    bool has_any = false;
    LIST_EACH (link, &b->recipients) {
        struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        if (may_appear(r)) {
            r->final = FATE_ACCEPTED;
            r->reply = reply_own(REPLY_MESSAGE_OK);
            has_any = true;
        }
    }
    if (!has_any) {
        drop(b);
        return;
    }
    b->state = BRANCH_ENDED;
    make_due(b, ACT_COMMIT);
}

static void commit(struct transaction *t)
{
    t->state = TX_COMMITTING;
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (b->can_prepare && b->state == BRANCH_PREPARED)
            commit_branch(b);
    }
}

static void advance(struct transaction *t)
{
    if (t->state == TX_PREPARING && has_lost(t))
        settle(t, outcome_of_message(t));
    if (t->state == TX_PREPARING && is_prepared(t))
        release(t);
    if (t->state == TX_RELEASED && is_ended(t, false))
        commit(t);
    if (t->state == TX_COMMITTING && is_ended(t, true))
        settle(t, outcome_of_message(t));
}

void transaction_end(struct transaction *t)
{
    if (t->refusal.code != 0) {
        settle(t, t->refusal);
        return;
    }
    prepare(t);
    advance(t);
}

/* ---- events of branches ---- */

static void finish(struct branch *b)
{
    b->state = BRANCH_DONE;
    b->todo = 0;
    list_remove(&b->in_todo);
}

static void set_final(struct transaction *t, struct recipient *r, enum fate fate,
                      const struct reply *reply)
{
    if (r->final != FATE_OPEN || !transaction_stands(r))
        return;
    r->final = fate;
    set_reply(t, r, reply);
}

static void on_answer(struct transaction *t, const struct event *ev)
{
    if (ev->rcpt->envelope != FATE_OPEN)
        return;
    ev->rcpt->envelope = ev->fate;
    set_reply(t, ev->rcpt, &ev->reply);
}

static void on_final(struct transaction *t, const struct event *ev)
{
    if (ev->rcpt != NULL) {
        set_final(t, ev->rcpt, ev->fate, &ev->reply);
        /* Refused by a connection that was asked anew: there the end is not sent yet. */
        if (t->state == TX_RELEASED && has_lost(t))
            settle(t, outcome_of_message(t));
        return;
    }
    LIST_EACH (link, &ev->branch->recipients)
        set_final(t, LIST_ENTRY(link, struct recipient, in_branch), ev->fate, &ev->reply);
    finish(ev->branch);
}

static void on_broken(struct transaction *t, const struct event *ev)
{
    enum fate fate = ev->is_end_sent ? FATE_UNKNOWN : FATE_LOST;
    LIST_EACH (link, &ev->branch->recipients) {
        struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        if (r->envelope == FATE_OPEN) {
            r->envelope = outcome_of_code(ev->reply.code);
            set_reply(t, r, &ev->reply);
        } else {
            set_final(t, r, fate, &ev->reply);
        }
    }
    finish(ev->branch);
}

static void on_prepared(struct transaction *t, const struct event *ev)
{
    if (t->state != TX_PREPARING)
        return;
    if (ev->error != 0)
        settle(t, reply_own(REPLY_LOCAL_PROBLEM));
    else
        ev->branch->state = BRANCH_PREPARED;
}

static void on_committed(const struct event *ev)
{
    if (ev->error != 0) {
        LIST_EACH (link, &ev->branch->recipients) {
            struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
            r->final = FATE_DEFERRED;
            r->reply = reply_own(REPLY_LOCAL_PROBLEM);
        }
        ev->branch->facts.may_be_duplicate = true;
    }
    finish(ev->branch);
}

/* Eight minutes after its end of data the client is about to give up (RFC 5321 4.5.3.2.6: ten). */
static void on_deadline(struct transaction *t)
{
    if (t->state == TX_COMMITTING) /* the relays have it, and the client will send it again */
        LIST_EACH (link, &t->branches)
            branch_of(link)->facts.may_be_duplicate = true;
    settle(t, reply_own(t->state == TX_RELEASED ? REPLY_TARGET_SLOW : REPLY_LOCAL_PROBLEM));
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
        on_prepared(t, ev);
        break;
    case EV_COMMITTED:
        on_committed(ev);
        break;
    case EV_LOST:
        if (t->state < TX_RELEASED)
            transaction_abandon(t);
        break;
    case EV_DEADLINE:
        on_deadline(t);
        break;
    case EV_BYTES:
    case EV_EOF:
    case EV_STOP:
    case EV_COPY:
        break; /* the session's */
    }
    advance(t);
}

/* ---- actions ---- */

static void next_of_branch(struct branch *b, struct action *out)
{
    static const enum action_kind order[] = {ACT_OPEN, ACT_RCPT,   ACT_GO,  ACT_PREPARE,
                                             ACT_END,  ACT_COMMIT, ACT_DROP};
    unsigned i = 0;
    while (!is_due(b, order[i]))
        i++;
    *out = (struct action){.kind = order[i], .branch = b};
    if (order[i] == ACT_RCPT) {
        out->rcpt = b->unsent;
        struct list *next = b->unsent->in_branch.next;
        b->unsent = next == &b->recipients ? NULL : LIST_ENTRY(next, struct recipient, in_branch);
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
    if (t->state != TX_SETTLED || t->is_told)
        return false;
    t->is_told = true;
    *out = (struct action){.kind = ACT_SETTLED};
    return true;
}
