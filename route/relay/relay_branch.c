/* SPDX-License-Identifier: BSD-2-Clause */
/* One branch on its connection: from the recipient that needs one to the target's last word. */
#include "route/relay/relay_branch.h"

#include <assert.h>

#include "proxy/base/buf.h"
#include "proxy/base/error.h"
#include "proxy/smtp/outcome.h"
#include "route/relay/relay_branch_private.h"
#include "route/relay/relay_job.h"
#include "route/relay/relay_link.h"
#include "route/relay/relay_log.h"
#include "route/relay/relay_memory.h"
#include "route/relay/relay_pool.h"
#include "route/relay/relay_private.h"
#include "route/relay/relay_recipient.h"
#include "route/relay/relay_report.h"

static const struct relay_link_events link_events;

static struct loop *loop_of(const struct relay_branch *w)
{
    return w->asker.carrier->loop;
}

static uint64_t now_ms(const struct relay_branch *w)
{
    return loop_now_ms(loop_of(w));
}

static struct arena *arena_of(const struct relay_branch *w)
{
    return w->branch->transaction->mail;
}

/* The envelope's time, or until when the client's name is waited for. */
void relay_branch_update_deadline(struct relay_branch *w)
{
    bool is_waiting = w->unanswered != 0 || w->asker.is_waiting;
    uint64_t due_ms = is_waiting ? w->envelope_due_ms : UINT64_MAX;

    if (w->state == RELAY_BRANCH_NAMING && w->asker.carrier->resolve_by_ms < due_ms)
        due_ms = w->asker.carrier->resolve_by_ms;
    if (due_ms != UINT64_MAX)
        deadline_set(loop_of(w), &w->deadline, due_ms);
}

static void enter(struct relay_branch *w, enum relay_branch_state state)
{
    static const unsigned after[] = {
        [RELAY_BRANCH_NEW] = 1U << RELAY_BRANCH_NAMING | 1U << RELAY_BRANCH_FAILED,
        [RELAY_BRANCH_NAMING] =
            1U << RELAY_BRANCH_NEW | 1U << RELAY_BRANCH_ACTIVE | 1U << RELAY_BRANCH_FAILED,
        [RELAY_BRANCH_ACTIVE] = 1U << RELAY_BRANCH_NEW | 1U << RELAY_BRANCH_FAILED,
        [RELAY_BRANCH_FAILED] = 1U << RELAY_BRANCH_FAILED,
    };

    assert((after[w->state] >> state & 1) != 0);
    w->state = state;
}

/* ---- letting go ---- */

/* The transaction on its connection is given up; the connection lives on where it can. */
static void release(struct relay_branch *w)
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
void relay_branch_detach(struct relay_branch *w)
{
    if (w->dropped_out != NULL)
        *w->dropped_out = true;
    w->branch->shell = NULL;
    deadline_clear(loop_of(w), &w->deadline);
    loop_unpost(loop_of(w), &w->post);
    relay_content_close(&w->content);
    if (w->asker.is_waiting)
        relay_pool_leave(&w->asker);
    release(w);
}

/* ---- reports ---- */

/* The last event. */
static void report_last(struct relay_branch *w, struct event *ev)
{
    struct carrier *c = w->asker.carrier;

    ev->branch = w->branch;
    relay_branch_detach(w);
    carrier_report(c, ev);
}

static bool report_answer(struct relay_branch *w, struct recipient *rcpt, enum fate fate,
                          const struct reply *reply)
{
    struct event ev = {.rcpt = rcpt, .fate = fate, .reply = *reply};
    return relay_report_answer(w, &ev);
}

static bool report_fallen(struct relay_branch *w, struct recipient *rcpt, enum fate fate,
                          const struct reply *reply)
{
    struct event ev = {.kind = EV_FINAL, .rcpt = rcpt, .fate = fate, .reply = *reply};

    if (!relay_recipient_is_last(w, rcpt))
        return relay_report(w, &ev);
    ev.rcpt = NULL; /* nobody is left to get the message */
    if (reply_copy(w->branch->transaction->mail, reply, &ev.reply) != 0)
        ev.reply = reply_own(REPLY_LOCAL_PROBLEM);
    report_last(w, &ev);
    return false;
}

static void report_broken(struct relay_branch *w, const struct reply *reply, bool is_end_sent)
{
    struct event ev = {.kind = EV_BROKEN, .reply = *reply, .is_end_sent = is_end_sent};

    if (w->asker.is_waiting)
        relay_pool_leave(&w->asker);
    release(w);
    enter(w, RELAY_BRANCH_FAILED); /* for what the client sends meanwhile */
    w->is_breaking = true;
    if (!relay_report_stead(w))
        return;
    w->branch->facts.may_be_duplicate = is_end_sent;
    report_last(w, &ev);
}

/* Replies in the target's stead (relay-from, routed-recipients). */
static bool report_guarded(struct relay_branch *w)
{
    w->has_guarded = false;
    RELAY_EACH_RECIPIENT (rcpt, w) {
        enum reply_id guard = relay_recipient_guard(w, rcpt);
        struct reply reply = reply_own(guard);
        struct event ev = {.rcpt = rcpt,
                           .fate = outcome_of_code(reply.code),
                           .reply = reply,
                           .is_guarded = guard == rcpt->guard};
        if (guard == REPLY_OK)
            continue;
        if (rcpt->envelope == FATE_OPEN && !relay_report_answer(w, &ev))
            return false;
        if (relay_recipient_stands(rcpt) &&
            !report_fallen(w, rcpt, outcome_of_code(reply.code), &reply))
            return false;
    }
    return true;
}

/* Somebody's final word on all: as answers, and as outcome of those that stood. */
static bool report_verdict(struct relay_branch *w)
{
    struct event ev = {
        .kind = EV_FINAL, .fate = outcome_of_code(w->failure.code), .reply = w->failure};
    bool has_standing = false;

    RELAY_EACH_RECIPIENT (rcpt, w) {
        has_standing = has_standing || relay_recipient_stands(rcpt);
        if (rcpt->envelope == FATE_OPEN && !report_answer(w, rcpt, ev.fate, &w->failure))
            return false;
    }
    if (has_standing)
        report_last(w, &ev);
    return !has_standing;
}

bool relay_branch_report_due(struct relay_branch *w)
{
    if (w->is_breaking)
        return true;
    if (w->has_guarded && !report_guarded(w))
        return false;
    if (w->state != RELAY_BRANCH_FAILED)
        return true;
    if (w->failed == RELAY_VERDICT)
        return report_verdict(w);
    relay_report_note_error(w, relay_endpoints_why(&w->asker.relay->endpoints));
    report_broken(w, &w->failure, false);
    return false;
}

static void on_post(void *owner)
{
    struct relay_branch *w = owner;
    relay_branch_report_due(w);
}

static void report_later(struct relay_branch *w)
{
    loop_post(loop_of(w), &w->post, on_post, w);
}

/* No connection, or no way to use it. Reports later. The reply is copied. */
static void fail(struct relay_branch *w, const struct reply *reply, enum relay_failure how)
{
    struct buf told;

    if (w->asker.is_waiting)
        relay_pool_leave(&w->asker);
    release(w);
    relay_content_close(&w->content);
    enter(w, RELAY_BRANCH_FAILED);
    w->failed = how;
    w->failure = reply_own(REPLY_LOCAL_PROBLEM);
    /* 421 ends a session, and that is not the target's to end. */
    buf_init(&told, &loop_pools(loop_of(w))->medium, 2 * REPLY_MAX_BYTES);
    reply_put(&told, reply, reply->code == 421 ? 451 : 0, REPLY_AS_IT_IS);
    struct reply changed = *reply;
    changed.code = reply->code == 421 ? 451 : reply->code;
    changed.wire = buf_bytes(&told);
    if (!told.has_failed)
        reply_copy(w->branch->transaction->mail, &changed, &w->failure);
    buf_done(&told);
    report_later(w);
}

/* ---- on a connection ---- */

void relay_branch_send(struct relay_branch *w, struct recipient *rcpt)
{
    assert(w->state == RELAY_BRANCH_ACTIVE);
    if (relay_recipient_is_wanted(w, rcpt))
        outbound_rcpt(&w->link->out, rcpt);
    else if (relay_recipient_is_guarded(w, rcpt))
        w->has_guarded = true;
}

/* Everybody is answered without the target: the connection was not needed. */
static void not_needed(struct relay_branch *w)
{
    release(w); /* NAMING still: it goes back as it came */
    enter(w, RELAY_BRANCH_NEW);
    w->has_guarded = true;
    report_later(w);
}

static void identity_failed(struct relay_branch *w, unsigned kinds, const struct reply *heard)
{
    struct reply reply = reply_own(REPLY_IDENTITY_FAILED);

    relay_log_identity_failed(&w->asker.relay->log, kinds, heard);
    fail(w, &reply, RELAY_VERDICT);
}

static void run(struct relay_branch *w, const struct outbound_job *job)
{
    enter(w, RELAY_BRANCH_ACTIVE);
    relay_pace_begin(&w->pace, now_ms(w));
    relay_content_reset(&w->content);
    outbound_begin(&w->link->out, job);
    RELAY_EACH_RECIPIENT (rcpt, w)
        relay_branch_send(w, rcpt);
    if (w->wants_data)
        outbound_data(&w->link->out);
    if (w->has_guarded)
        report_later(w);
}

/* The state is NAMING: a connection is there, and nothing was said on it for this branch. */
static void begin(struct relay_branch *w)
{
    struct outbound_job job;
    unsigned missing;

    if (!relay_job_make(w, &job, &missing)) {
        identity_failed(w, missing, NULL);
    } else if (!relay_recipient_is_any_wanted(w)) {
        not_needed(w);
    } else if (job.sends_xclient && !relay_link_bind(w->link, w->asker.carrier)) {
        struct reply reply = reply_own(REPLY_LOCAL_PROBLEM);
        fail(w, &reply, RELAY_VERDICT);
    } else {
        run(w, &job);
    }
}

static struct relay_branch *branch_of(struct relay_asker *asker)
{
    return CONTAINER_OF(asker, struct relay_branch, asker);
}

static void on_start(struct relay_asker *asker, struct relay_link *link)
{
    struct relay_branch *w = branch_of(asker);

    w->link = link;
    enter(w, RELAY_BRANCH_NAMING);
    relay_link_use(link, &(struct relay_link_user){.events = &link_events,
                                                   .who = w,
                                                   .content = &w->content,
                                                   .is_spooled = w->asker.carrier->is_spooled});
    if (!relay_job_waits_for_name(&w->asker, link))
        begin(w);
    relay_branch_update_deadline(w);
}

static void on_fail(struct relay_asker *asker, const struct reply *reply, enum relay_failure how)
{
    fail(branch_of(asker), reply, how);
}

static const struct relay_asker_ops asker_ops = {.start = on_start, .fail = on_fail};

void relay_branch_named(struct relay_branch *w)
{
    struct relay_link *link = w->link;

    assert(w->state == RELAY_BRANCH_NAMING);
    begin(w);
    relay_branch_update_deadline(w);
    relay_link_drain_later(link);
}

void relay_branch_ask(struct relay_branch *w)
{
    if (w->unanswered == 0)
        relay_branch_owe_answer(w);
    relay_pool_ask(&w->asker);
    relay_branch_update_deadline(w);
}

static void log_lost(const struct relay_branch *w, int error, const struct reply *heard)
{
    relay_log_lost(&w->asker.relay->log, &w->branch->transaction->envelope, &w->link->to, error,
                   heard);
}

/* envelope-timeout: as no connection. At the limit of connections the target is there, and nothing
 * is spooled for that; the runner knows it by the words. */
static void on_late(struct relay_branch *w)
{
    bool has_login = w->asker.is_waiting && relay_asker_has_login(&w->asker);
    bool is_busy = w->asker.is_waiting && !has_login && relay_pool_is_busy_for(&w->asker);
    struct reply reply = reply_own(is_busy ? REPLY_TARGET_BUSY : REPLY_TARGET_DOWN);

    if ((is_busy || has_login) && w->branch->transaction->policy != TRANSACTION_QUEUED) {
        fail(w, &reply, RELAY_VERDICT);
        return;
    }
    if (w->link != NULL) {
        log_lost(w, ERR_TIMEOUT, NULL);
        relay_link_close(w->link);
    }
    report_broken(w, &reply, false);
}

static void on_deadline(struct deadline *deadline)
{
    struct relay_branch *w = CONTAINER_OF(deadline, struct relay_branch, deadline);
    bool is_waiting = w->unanswered != 0 || w->asker.is_waiting;

    if (is_waiting && now_ms(w) >= w->envelope_due_ms && w->state != RELAY_BRANCH_FAILED) {
        on_late(w);
        return;
    }
    if (w->state == RELAY_BRANCH_NAMING && now_ms(w) >= w->asker.carrier->resolve_by_ms)
        relay_branch_named(w);
    relay_branch_update_deadline(w);
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

static void more(struct reader *reader)
{
    struct relay_content *c = CONTAINER_OF(reader, struct relay_content, message.reader);
    struct relay_branch *w = CONTAINER_OF(c, struct relay_branch, content);

    if (w->link == NULL)
        return;
    if (copy_error(w->asker.carrier->copy) == 0) {
        relay_link_drain(w->link);
        return;
    }
    /* What cannot be read cannot have been sent whole. */
    struct reply reply = reply_own(REPLY_LOCAL_PROBLEM);
    fail(w, &reply, RELAY_VERDICT);
}

void relay_branch_init(struct relay_branch *w, struct carrier *c, struct branch *b)
{
    assert(w->state == RELAY_BRANCH_NEW && b->shell == NULL);
    w->branch = b;
    relay_asker_init(&w->asker, &asker_ops, CONTAINER_OF(b->target, struct relay, target), c);
    deadline_init(&w->deadline, &deadline_use);
    relay_content_init(&w->content, b, c->copy, more);
}

/* ---- what the target says ---- */

/* The connection is gone, and the branch has not reached its end of data: once more. */
static void ask_again(struct relay_branch *w)
{
    w->link = NULL;
    enter(w, RELAY_BRANCH_NEW);
    w->branch->is_end_sent = false; /* the target has said that it did not take it */
    relay_content_reset(&w->content);
    relay_branch_ask(w);
    if (w->link != NULL) /* one that lay idle: no client's turn will flush it */
        relay_link_drain_later(w->link);
}

static void on_answer(struct relay_branch *w, const struct outbound_event *ev)
{
    struct recipient *rcpt = ev->rcpt;
    struct relay_memory *memory = w->asker.relay->service->memory;

    if (ev->is_heard && memory != NULL)
        relay_memory_note(memory, w->asker.relay->target.name, &rcpt->to, rcpt->names_domain,
                          &ev->reply);
    if (rcpt->envelope == FATE_OPEN) {
        if (report_answer(w, rcpt, ev->fate, &ev->reply))
            relay_branch_update_deadline(w);
        return;
    }
    if (ev->fate != FATE_ACCEPTED && relay_recipient_stands(rcpt))
        report_fallen(w, rcpt, ev->fate, &ev->reply);
}

/* The connection goes back to the pool before the outcome is told: what follows from that may be
 * the next transaction. */
static void on_last(struct relay_branch *w, const struct outbound_event *ev)
{
    struct event last = {.kind = EV_FINAL, .fate = ev->fate, .reply = ev->reply};
    struct relay_link *link = w->link;

    if (reply_copy(arena_of(w), &ev->reply, &last.reply) != 0)
        last.reply = reply_own(REPLY_LOCAL_PROBLEM);
    w->link = NULL;
    relay_link_let_go(link);
    if (link->out.chunk_left != 0) /* a chunk that is announced cannot be taken back */
        relay_link_close(link);
    else
        relay_link_hand_back(link);
    report_last(w, &last);
}

/* LMTP answers for each recipient. Should one have been forgotten, its outcome is unknown. */
static void on_final(struct relay_branch *w, const struct outbound_event *ev)
{
    struct event one = {.kind = EV_FINAL, .rcpt = ev->rcpt, .fate = ev->fate, .reply = ev->reply};
    struct outbound_event rest = {.fate = FATE_UNKNOWN, .reply = reply_own(REPLY_TARGET_LOST)};

    if (ev->rcpt == NULL)
        on_last(w, ev);
    else if (relay_report(w, &one) && ev->is_last)
        on_last(w, &rest);
}

bool relay_branch_may_begin_anew(const struct relay_branch *w)
{
    return w->asker.carrier->copy == NULL || copy_is_whole(w->asker.carrier->copy);
}

/* `heard`, or NULL: the target's last words. */
static void lose(struct relay_branch *w, bool is_end_sent, int error, const struct reply *heard)
{
    struct reply reply = reply_own(error == ERR_TIMEOUT ? REPLY_TARGET_SLOW : REPLY_TARGET_LOST);

    if (!is_end_sent && w->link->pooled.may_be_dead && !relay_asker_has_login(&w->asker) &&
        !w->asker.again.is_replay && relay_branch_may_begin_anew(w)) {
        w->asker.again.is_replay = true;
        w->asker.again.needs_fresh = true;
        w->branch->facts.is_replayed = true;
        ask_again(w);
        return;
    }
    log_lost(w, error, heard);
    w->link = NULL;
    relay_report_note_error(w, error);
    report_broken(w, &reply, is_end_sent);
}

/* No memory: the target is there, and nothing is spooled in its stead. Only where it may have the
 * message already is that all the same to the client. */
static void run_short(struct relay_branch *w, bool is_end_sent)
{
    struct reply reply = reply_own(REPLY_LOCAL_PROBLEM);

    if (is_end_sent) {
        lose(w, is_end_sent, ERR_MEMORY, NULL);
        return;
    }
    relay_log_shortage(&w->asker.relay->log, &w->branch->transaction->envelope);
    fail(w, &reply, RELAY_VERDICT);
}

static void on_gone(struct relay_branch *w, const struct outbound_event *ev)
{
    bool passes = w->asker.relay->conf->identity_failure == RELAY_IDENTITY_FAILURE_PASS;

    switch (ev->why) {
    case GONE_VERDICT:
        fail(w, &ev->reply, RELAY_VERDICT);
        break;
    case GONE_IDENTITY:
        if (passes && !w->asker.again.avoids_xclient) {
            relay_log_identity_failed(&w->asker.relay->log, IDENTITY_KIND_XCLIENT, &ev->reply);
            w->asker.again.avoids_xclient = true;
            ask_again(w);
        } else {
            identity_failed(w, IDENTITY_KIND_XCLIENT, &ev->reply);
        }
        break;
    case GONE_SHORTAGE:
        run_short(w, ev->is_end_sent);
        break;
    case GONE_CLOSED:
    case GONE_REFUSED:
    case GONE_LOST:
    case GONE_ABORTED:
        lose(w, ev->is_end_sent, ev->error, &ev->reply);
        break;
    }
}

static void log_confused(const struct relay_branch *w, const struct outbound_event *ev)
{
    if (ev->is_confused)
        relay_log_confused(&w->asker.relay->log, &w->link->to, &ev->heard);
}

/* The target is ready for content. There is no reader where there was no memory for a copy. */
static void on_go(struct relay_branch *w)
{
    struct bytes received;

    if (!outgoing_is_open(&w->content.message))
        return;
    int error = relay_job_received(w, &received);
    if (error == 0)
        relay_content_open(&w->content, received);
    else
        carrier_report(w->asker.carrier, &(struct event){.kind = EV_COPY, .error = error});
}

static void on_event(void *user, const struct outbound_event *ev)
{
    struct relay_branch *w = user;

    log_confused(w, ev);
    if (ev->kind == OUTBOUND_ANSWER)
        on_answer(w, ev);
    else if (ev->kind == OUTBOUND_GO)
        on_go(w);
    else if (ev->kind == OUTBOUND_FINAL_ANSWER)
        on_final(w, ev);
    /* the others are the connection's */
}

static void on_lost(void *user, int error, const struct outbound_event *ev)
{
    struct relay_branch *w = user;

    if (ev == NULL) {
        lose(w, w->link->out.state == OUT_FINAL, error, NULL);
        return;
    }
    log_confused(w, ev);
    on_gone(w, ev);
}

static const struct relay_link_events link_events = {.event = on_event, .lost = on_lost};

/* ---- others wait for a connection ---- */

void relay_branch_yield(struct relay_branch *w)
{
    struct reply reply = reply_own(REPLY_TARGET_BUSY);

    if (!relay_branch_may_begin_anew(w)) {
        fail(w, &reply, RELAY_VERDICT);
        return;
    }
    release(w);
    relay_content_reset(&w->content);
    enter(w, RELAY_BRANCH_NEW);
}
