/* SPDX-License-Identifier: BSD-2-Clause */
/* What a branch tells its carrier, and how the two part. */
#include "route/relay/relay_tell.h"

#include "proxy/base/buf.h"
#include "proxy/smtp/outcome.h"
#include "route/relay/relay_identity.h"
#include "route/relay/relay_link.h"
#include "route/relay/relay_memory.h"
#include "route/relay/relay_pool.h"
#include "route/relay/relay_private.h"

static struct loop *loop_of(const struct relay_branch *w)
{
    return w->carrier->loop;
}

/* ---- recipients ---- */

struct recipient *relay_tell_next(const struct relay_branch *w, const struct recipient *r)
{
    struct list *next = r == NULL ? w->branch->recipients.next : r->in_branch.next;

    if (r == w->last || next == &w->branch->recipients)
        return NULL;
    return LIST_ENTRY(next, struct recipient, in_branch);
}

bool relay_tell_stands(const struct recipient *r)
{
    return r->envelope == FATE_ACCEPTED && r->final == FATE_OPEN && outcome_stands(r);
}

enum reply_id relay_tell_guard(const struct relay_branch *w, const struct recipient *r)
{
    if (relay_identity_judges(w->identity))
        return REPLY_OK;
    /* By our own address it would pass what the client's might not. */
    return w->is_lost && r->is_unverified ? REPLY_IDENTITY_FAILED : r->guard;
}

/* ---- letting go ---- */

/* The transaction on its connection is given up; the connection lives on where it can. */
void relay_tell_release(struct relay_branch *w)
{
    struct relay_link *link = w->link;

    w->link = NULL;
    if (link == NULL || !relay_link_is_alive(link))
        return;
    relay_link_let_go(link);
    if (w->state == RELAY_BRANCH_NAMING)
        relay_pool_give(link);
    else if (outbound_abort(&link->out))
        relay_link_hand_back(link);
    else
        relay_link_close(link);
}

/* Nothing points at it any more. */
void relay_tell_detach(struct relay_branch *w)
{
    if (w->dropped_out != NULL)
        *w->dropped_out = true;
    w->branch->shell = NULL;
    deadline_clear(loop_of(w), &w->deadline);
    loop_unpost(loop_of(w), &w->post);
    relay_content_close(&w->content);
    if (w->state == RELAY_BRANCH_WAITING)
        relay_pool_leave(w);
    relay_tell_release(w);
}

/* ---- reports ---- */

/* False: the branch is gone, its memory perhaps too. */
static bool tell(struct relay_branch *w, struct event *ev)
{
    bool *outer = w->dropped_out;
    bool is_dropped = false;

    ev->branch = w->branch;
    w->dropped_out = &is_dropped;
    carrier_report(w->carrier, ev);
    if (is_dropped) {
        if (outer != NULL)
            *outer = true;
        return false;
    }
    w->dropped_out = outer;
    return true;
}

/* The last event. */
void relay_tell_last(struct relay_branch *w, struct event *ev)
{
    struct carrier *c = w->carrier;

    ev->branch = w->branch;
    relay_tell_detach(w);
    carrier_report(c, ev);
}

/* The reply to a RCPT that had none. */
static bool answer(struct relay_branch *w, struct event *ev)
{
    struct recipient *r = ev->rcpt;

    ev->kind = EV_ANSWER;
    if (--w->unanswered == 0)
        relay_pace_answered(&w->pace, loop_now_ms(loop_of(w)));
    if (r == w->mark) {
        w->mark = w->last;
        w->envelope_due_ms = loop_now_ms(loop_of(w)) + w->relay->conf->times.envelope_ms;
    }
    return tell(w, ev);
}

bool relay_tell_answer(struct relay_branch *w, struct recipient *r, enum fate fate,
                       const struct reply *reply)
{
    struct event ev = {.rcpt = r, .fate = fate, .reply = *reply};
    return answer(w, &ev);
}

static bool stands_alone(const struct relay_branch *w, const struct recipient *r)
{
    RELAY_EACH_RECIPIENT (other, w)
        if (other != r && relay_tell_stands(other))
            return false;
    return w->unanswered == 0;
}

bool relay_tell_fallen(struct relay_branch *w, struct recipient *r, enum fate fate,
                       const struct reply *reply)
{
    struct event ev = {.kind = EV_FINAL, .rcpt = r, .fate = fate, .reply = *reply};

    if (!stands_alone(w, r))
        return tell(w, &ev);
    ev.rcpt = NULL; /* nobody is left to get the message */
    if (reply_copy(w->branch->transaction->mail, reply, &ev.reply) != 0)
        ev.reply = reply_own(REPLY_LOCAL_PROBLEM);
    relay_tell_last(w, &ev);
    return false;
}

/* ---- in an outage ---- */

/* What is known of the recipient stands for the target's answer; what is accepted so goes into the
 * spool. Nobody reaches the target through us who may not reach it through a pattern like "@". */
static void foretell(struct relay_branch *w, struct recipient *r, struct event *ev)
{
    struct relay_memory *memory = w->relay->service->memory;
    enum relay_recall known = RELAY_RECALL_NOTHING;
    bool accepts = w->relay->conf->unverified == RELAY_UNVERIFIED_ACCEPT;

    *ev = (struct event){.rcpt = r, .reply = reply_own(REPLY_TARGET_DOWN)};
    if (memory != NULL && r->guard == REPLY_OK)
        known = relay_memory_recall(memory, w->relay->target.name, &r->to,
                                    w->branch->transaction->mail, &ev->reply);
    if (r->guard == REPLY_OK &&
        (known == RELAY_RECALL_ACCEPTED || (known == RELAY_RECALL_NOTHING && accepts))) {
        ev->reply = reply_own(REPLY_RECIPIENT_OK);
        ev->is_unverified = true;
    }
    ev->fate = outcome_of_code(ev->reply.code);
}

/* False: the branch is gone. */
static bool foretell_open(struct relay_branch *w)
{
    const struct transaction *t = w->branch->transaction;
    struct event ev;

    if (!w->relay->target.may_spool || t->policy != TRANSACTION_LIVE)
        return true;
    RELAY_EACH_RECIPIENT (r, w) {
        if (r->envelope != FATE_OPEN)
            continue;
        foretell(w, r, &ev);
        if (!answer(w, &ev))
            return false;
    }
    return true;
}

void relay_tell_broken(struct relay_branch *w, const struct reply *reply, bool is_end_sent)
{
    struct event ev = {.kind = EV_BROKEN, .reply = *reply, .is_end_sent = is_end_sent};

    if (w->state == RELAY_BRANCH_WAITING)
        relay_pool_leave(w);
    relay_tell_release(w);
    w->state = RELAY_BRANCH_FAILED; /* for what the client sends meanwhile */
    w->is_breaking = true;
    if (!foretell_open(w))
        return;
    w->branch->facts.may_be_duplicate = is_end_sent;
    relay_tell_last(w, &ev);
}

/* Replies in the target's stead (relay-from, routed-recipients). */
static bool tell_guarded(struct relay_branch *w)
{
    w->has_guarded = false;
    RELAY_EACH_RECIPIENT (r, w) {
        struct reply reply = reply_own(relay_tell_guard(w, r));
        if (!relay_tell_is_guarded(w, r))
            continue;
        if (r->envelope == FATE_OPEN &&
            !relay_tell_answer(w, r, outcome_of_code(reply.code), &reply))
            return false;
        if (relay_tell_stands(r) && !relay_tell_fallen(w, r, outcome_of_code(reply.code), &reply))
            return false;
    }
    return true;
}

/* Somebody's final word on all: as answers, and as outcome of those that stood. */
static bool tell_words(struct relay_branch *w)
{
    struct event ev = {
        .kind = EV_FINAL, .fate = outcome_of_code(w->failure.code), .reply = w->failure};
    bool has_standing = false;

    RELAY_EACH_RECIPIENT (r, w) {
        has_standing = has_standing || relay_tell_stands(r);
        if (r->envelope == FATE_OPEN && !relay_tell_answer(w, r, ev.fate, &w->failure))
            return false;
    }
    if (has_standing)
        relay_tell_last(w, &ev);
    return !has_standing;
}

/* What could not be told when it became known. False: the branch is gone. */
bool relay_tell_due(struct relay_branch *w)
{
    if (w->is_breaking)
        return true;
    if (w->has_guarded && !tell_guarded(w))
        return false;
    if (w->state != RELAY_BRANCH_FAILED)
        return true;
    if (w->failed == RELAY_VERDICT)
        return tell_words(w);
    relay_tell_broken(w, &w->failure, false);
    return false;
}

static void on_post(void *owner)
{
    struct relay_branch *w = owner;
    relay_tell_due(w);
}

void relay_tell_later(struct relay_branch *w)
{
    loop_post(loop_of(w), &w->post, on_post, w);
}

void relay_branch_fail(struct relay_branch *w, const struct reply *reply, enum relay_failure how)
{
    struct buf told;

    if (w->state == RELAY_BRANCH_WAITING)
        relay_pool_leave(w);
    relay_tell_release(w);
    relay_content_close(&w->content);
    w->state = RELAY_BRANCH_FAILED;
    w->failed = how;
    w->failure = reply_own(REPLY_LOCAL_PROBLEM);
    /* 421 ends a session, and that is not the target's to end. */
    buf_init(&told, &loop_pools(loop_of(w))->medium, 2 * REPLY_MAX_BYTES);
    reply_put(&told, reply, reply->code == 421 ? 451 : 0, false);
    struct reply changed = *reply;
    changed.code = reply->code == 421 ? 451 : reply->code;
    changed.wire = buf_bytes(&told);
    if (!told.has_failed)
        reply_copy(w->branch->transaction->mail, &changed, &w->failure);
    buf_done(&told);
    relay_tell_later(w);
}
