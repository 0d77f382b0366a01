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

static struct branch *branch_of(struct list *link)
{
    return LIST_ENTRY(link, struct branch, in_transaction);
}

static struct recipient *recipient_of(struct list *link)
{
    return LIST_ENTRY(link, struct recipient, in_transaction);
}

static bool stands(const struct recipient *r)
{
    return r->envelope == FATE_ACCEPTED || r->envelope == FATE_DISCARDED;
}

bool transaction_stands(const struct recipient *r)
{
    if (!outcome_is_all_or_nothing(r))
        return stands(r);
    for (const struct recipient *each = r->head; each != NULL; each = each->next_in_list)
        if (!stands(each))
            return false;
    return true;
}

bool transaction_awaits(const struct recipient *r)
{
    return r->final == FATE_OPEN && transaction_stands(r);
}

/* It has not been refused so far, nor anybody whom it depends on. */
static bool may_stand(const struct recipient *r)
{
    if (!outcome_is_all_or_nothing(r))
        return !outcome_is_failure(r->envelope);
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

/* Somebody may still get the message by it: a recipient that stood may have its outcome already,
 * when a second connection has refused it. */
static bool is_wanted(const struct branch *b)
{
    LIST_EACH (link, &b->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_branch);
        if (r->final == FATE_OPEN && may_stand(r))
            return true;
    }
    return false;
}

bool transaction_is_all_or_nothing(const struct transaction *t)
{
    if (t->policy == TRANSACTION_QUEUED)
        return false;
    LIST_EACH (link, &t->branches) {
        const struct branch *b = branch_of(link);
        if (!b->can_prepare && !b->may_spool && has_recipients(b))
            return true;
    }
    return t->is_unkept;
}

bool transaction_wants_copy(const struct transaction *t)
{
    LIST_EACH (link, &t->branches) {
        const struct branch *b = branch_of(link);
        if (b->state != BRANCH_DONE && (b->can_prepare || b->may_spool))
            return true;
    }
    return outcome_would_need_spool(t);
}

void transaction_finish_branch(struct branch *b)
{
    b->state = BRANCH_DONE;
    b->todo = 0;
    list_remove(&b->in_todo);
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
    t->spool_todo = 0;
    t->is_taken = t->is_taken && reply_is_positive(&outcome);
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

    assert(t->state == TX_ENVELOPE);
    if (address_copy(t->mail, to, &kept) != 0)
        return NULL;
    struct recipient *r = new_recipient(t, &kept);
    if (r == NULL)
        return NULL;
    list_append(&t->recipients, &r->in_transaction);
    t->recipient_count++;
    return r;
}

void transaction_set_reply(struct recipient *r, struct arena *mail, const struct reply *reply)
{
    if (reply_copy(mail, reply, &r->reply) != 0)
        r->reply = reply_own(reply_is_positive(reply) ? REPLY_OK : REPLY_LOCAL_PROBLEM);
}

static void answer(struct recipient *r, struct reply reply)
{
    r->envelope = outcome_of_code(reply.code);
    r->reply = reply;
    r->answer = reply;
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
    b->may_spool = leg->may_spool;
    b->transaction = t;
    list_init(&b->recipients);
    list_init(&b->in_todo);
    list_append(&t->branches, &b->in_transaction);
    transaction_make_due(b, ACT_OPEN);
    return b;
}

static bool is_among(const struct branch *b, const struct routed *routed)
{
    for (int i = 0; i < routed->leg_count; i++)
        if (routed->legs[i].target == b->target)
            return true;
    return false;
}

/* Branches that no recipient can stand on make room. */
static void drop_empty(struct transaction *t, const struct routed *routed)
{
    LIST_EACH (link, &t->branches) {
        struct branch *b = branch_of(link);
        if (!has_recipients(b) && !is_among(b, routed))
            transaction_drop(b);
    }
}

static bool has_target(const struct transaction *t, const struct target *target)
{
    LIST_EACH (link, &t->branches) {
        const struct branch *b = branch_of(link);
        if (b->target == target && has_recipients(b))
            return true;
    }
    return false;
}

/* split = defer: all recipients of a transaction go to the same targets. */
static bool has_same_targets(const struct transaction *t, const struct routed *routed)
{
    bool has_any = false;

    LIST_EACH (link, &t->branches) {
        const struct branch *b = branch_of(link);
        if (!has_recipients(b))
            continue;
        if (!is_among(b, routed))
            return false;
        has_any = true;
    }
    for (int i = 0; has_any && i < routed->leg_count; i++)
        if (!has_target(t, routed->legs[i].target))
            return false;
    return true;
}

/* A relay that may not be spooled shares a transaction with no other one: the message can be all or
 * nothing for one that cannot be undone only. */
static bool is_alone_where_it_must(const struct transaction *t, const struct routed *routed)
{
    for (int i = 0; i < routed->leg_count; i++) {
        const struct routed_leg *leg = &routed->legs[i];
        if (leg->can_prepare)
            continue;
        LIST_EACH (link, &t->branches) {
            const struct branch *b = branch_of(link);
            if (!b->can_prepare && b->target != leg->target && has_recipients(b) &&
                !(b->may_spool && leg->may_spool))
                return false;
        }
    }
    return true;
}

static bool fits(struct transaction *t, const struct routed *routed)
{
    if (t->policy == TRANSACTION_QUEUED)
        return true;
    drop_empty(t, routed);
    return (t->splits || has_same_targets(t, routed)) && is_alone_where_it_must(t, routed);
}

/* A recipient that was accepted is lost already. */
static bool has_lost(const struct transaction *t)
{
    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = recipient_of(link);
        if (outcome_is_failure(r->final) && transaction_stands(r))
            return true;
    }
    return false;
}

bool transaction_has_failed(const struct transaction *t)
{
    return transaction_is_all_or_nothing(t) && has_lost(t);
}

static void attach(struct recipient *r, struct branch *b)
{
    assert(r->branch == NULL && b->state != BRANCH_DONE);
    r->branch = b;
    list_append(&b->recipients, &r->in_branch);
    if (b->unsent == NULL)
        b->unsent = r;
    transaction_make_due(b, ACT_RCPT);
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
        r->params = head->params;
        r->guard = routed->guard;
        r->names_domain = routed->names_domain;
        attach(r, b);
    }
    return true;
}

static void on_routed(struct transaction *t, struct recipient *r, const struct routed *routed)
{
    assert(t->state == TX_ENVELOPE && r->envelope == FATE_OPEN && r->branch == NULL);
    if (routed->reply.code != 0) {
        answer(r, routed->reply);
        return;
    }
    if (routed->is_discarded) {
        r->envelope = FATE_DISCARDED;
        r->final = FATE_DISCARDED;
        r->reply = reply_own(REPLY_RECIPIENT_OK);
        r->answer = r->reply;
        return;
    }
    if (transaction_has_failed(t)) {
        answer(r, reply_own(REPLY_TARGET_LOST));
        return;
    }
    if (!fits(t, routed)) {
        answer(r, reply_own(REPLY_ONE_TARGET_A_TRANSACTION));
        return;
    }
    if (attach_legs(t, r, routed))
        return;
    for (struct recipient *each = r; each != NULL; each = each->next_in_list)
        answer(each, reply_own(REPLY_LOCAL_PROBLEM)); /* one leg is missing: none shall go */
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
        if (!has_recipients(b)) {
            transaction_drop(b);
            continue;
        }
        b->state = BRANCH_CONTENT;
        transaction_make_due(b, ACT_GO);
    }
}

enum transaction_go transaction_go(struct transaction *t)
{
    bool stands = false;

    assert(t->state == TX_GOING);
    LIST_EACH (link, &t->recipients) {
        struct recipient *r = recipient_of(link);
        if (r->head == r && outcome_of_envelope(r)->envelope == FATE_OPEN)
            return TRANSACTION_GO_WAIT;
        stands = stands || transaction_stands(r);
    }
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
    if (!transaction_awaits(r))
        return;
    r->final = fate;
    transaction_set_reply(r, t->mail, reply);
}

static void on_answer(struct transaction *t, const struct event *ev)
{
    if (ev->rcpt->envelope != FATE_OPEN)
        return;
    ev->rcpt->envelope = ev->fate;
    ev->rcpt->is_unverified = ev->is_unverified;
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
            r->envelope = outcome_of_code(ev->reply.code);
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
    case EV_BYTES:
    case EV_EOF:
    case EV_STOP:
    case EV_ETRN:
    case EV_VERDICT:
        break; /* the session's */
    }
    transaction_advance(t);
}

/* ---- actions ---- */

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
    if (t->spool_todo != 0) {
        bool is_prepare = (t->spool_todo & (1U << ACT_PREPARE)) != 0;
        t->spool_todo = 0;
        *out = (struct action){.kind = is_prepare ? ACT_PREPARE : ACT_COMMIT};
        return true;
    }
    if (t->state != TX_SETTLED || t->is_told)
        return false;
    t->is_told = true;
    *out = (struct action){.kind = ACT_SETTLED};
    return true;
}
