/* SPDX-License-Identifier: BSD-2-Clause */
/* One branch on its connection: from the recipient that needs one to the target's last word. */
#include "route/relay/relay_branch.h"

#include "proxy/base/error.h"
#include "proxy/smtp/header.h"
#include "route/relay/relay_endpoint.h"
#include "route/relay/relay_identity.h"
#include "route/relay/relay_learnt.h"
#include "route/relay/relay_link.h"
#include "route/relay/relay_log.h"
#include "route/relay/relay_memory.h"
#include "route/relay/relay_pool.h"
#include "route/relay/relay_private.h"
#include "route/relay/relay_tell.h"

static const struct relay_link_events link_events;

static struct loop *loop_of(const struct relay_branch *w)
{
    return w->carrier->loop;
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
    bool is_waiting = w->unanswered != 0 || w->state == RELAY_BRANCH_WAITING;
    uint64_t due_ms = is_waiting ? w->envelope_due_ms : UINT64_MAX;

    if (w->state == RELAY_BRANCH_NAMING && w->carrier->resolve_by_ms < due_ms)
        due_ms = w->carrier->resolve_by_ms;
    if (due_ms != UINT64_MAX)
        deadline_set(loop_of(w), &w->deadline, due_ms);
}

/* ---- on a connection ---- */

/* Among all of them, be they brought yet or not. */
static bool has_recipient(const struct relay_branch *w, bool is_unverified)
{
    LIST_EACH (at, &w->branch->recipients)
        if (LIST_ENTRY(at, struct recipient, in_branch)->is_unverified == is_unverified)
            return true;
    return false;
}

static struct relay_identity_choice choose(const struct relay_branch *w)
{
    const struct relay_conf *conf = w->relay->conf;
    struct relay_identity_facts facts = {
        .caps = &w->link->out.caps,
        .has_announced_xclient =
            (conf->identity & IDENTITY_KIND_AUTO) != 0 && relay_learnt_has_xclient(w->relay),
        .is_xclient_done = w->link->out.is_xclient_sent,
        .avoids_xclient = w->again.avoids_xclient,
    };
    if (w->carrier->is_spooled)
        return relay_identity_choose_again(conf, &facts, w->carrier->spooled_identity,
                                           has_recipient(w, false));
    return relay_identity_choose(conf, &facts);
}

static void fill_facts(struct relay_branch *w)
{
    struct branch_facts *facts = &w->branch->facts;
    char text[RELAY_ENDPOINT_TEXT_MAX];

    if (arena_copy(arena_of(w), bytes_of(relay_endpoint_text(&w->link->to, text)),
                   &facts->address) != 0)
        facts->address = bytes_make(NULL, 0);
    facts->identity = bytes_of(relay_identity_text(w->identity));
    facts->identity_kinds = w->identity;
    facts->is_reused = w->link->out.transactions != 0;
    w->branch->lacks_enhanced = !capability_has(&w->link->out.caps, CAPABILITY_ENHANCEDSTATUSCODES);
    w->branch->lacks_dsn = !capability_has(&w->link->out.caps, CAPABILITY_DSN);
}

/* True: it is to be asked for on this connection, be it once more. */
static bool is_wanted(const struct relay_branch *w, const struct recipient *r)
{
    return (r->envelope == FATE_OPEN || relay_tell_stands(r)) && !relay_tell_is_guarded(w, r);
}

void relay_branch_send(struct relay_branch *w, struct recipient *r)
{
    if (is_wanted(w, r))
        outbound_rcpt(&w->link->out, r);
    else if (relay_tell_is_guarded(w, r))
        w->has_guarded = true;
}

static bool has_wanted(const struct relay_branch *w)
{
    RELAY_EACH_RECIPIENT (r, w)
        if (is_wanted(w, r))
            return true;
    return false;
}

/* Everybody is answered without the target: the connection was not needed. */
static void not_needed(struct relay_branch *w)
{
    relay_tell_release(w); /* NAMING still: it goes back as it came */
    w->state = RELAY_BRANCH_NEW;
    w->has_guarded = true;
    relay_tell_later(w);
}

static void identity_failed(struct relay_branch *w, unsigned kinds, const struct reply *heard)
{
    struct reply reply = reply_own(REPLY_IDENTITY_FAILED);

    relay_log_identity_failed(&w->relay->log, kinds, heard);
    relay_branch_fail(w, &reply, RELAY_VERDICT);
}

static void run(struct relay_branch *w, const struct outbound_job *job)
{
    w->state = RELAY_BRANCH_ACTIVE;
    relay_pace_begin(&w->pace, now_ms(w));
    relay_content_reset(&w->content);
    outbound_begin(&w->link->out, job);
    RELAY_EACH_RECIPIENT (r, w)
        relay_branch_send(w, r);
    if (w->wants_data)
        outbound_data(&w->link->out);
    if (w->has_guarded)
        relay_tell_later(w);
}

/* The state is NAMING: a connection is there, and nothing was said on it for this branch. */
static void begin(struct relay_branch *w)
{
    const struct relay_conf *conf = w->relay->conf;
    struct relay_identity_choice choice = choose(w);
    struct outbound_job job = {
        .envelope = &w->branch->transaction->envelope,
        .client = w->carrier->client,
        .sends_xclient = (choice.kinds & IDENTITY_KIND_XCLIENT) != 0,
        .sends_xforward = (choice.kinds & IDENTITY_KIND_XFORWARD) != 0,
        .passes_without_identity = conf->identity_failure == RELAY_IDENTITY_FAILURE_PASS,
        .form = relay_identity_form(conf),
        .size_bytes = w->carrier->is_spooled ? copy_length(w->carrier->copy) : 0,
    };

    if (choice.is_failure && !job.passes_without_identity) {
        identity_failed(w, choice.missing, NULL);
        return;
    }
    if (choice.is_failure || (choice.is_lost && has_recipient(w, true)))
        relay_log_identity_failed(&w->relay->log, choice.missing, NULL);
    if (choice.is_unannounced)
        relay_log_no_identity(&w->relay->log);
    w->identity = choice.kinds;
    w->is_lost = choice.is_lost && !job.passes_without_identity;
    fill_facts(w);
    if (!has_wanted(w)) {
        not_needed(w);
    } else if (job.sends_xclient && !relay_link_bind(w->link, w->carrier)) {
        struct reply reply = reply_own(REPLY_LOCAL_PROBLEM);
        relay_branch_fail(w, &reply, RELAY_VERDICT);
    } else {
        run(w, &job);
    }
}

void relay_branch_start(struct relay_branch *w, struct relay_link *link)
{
    bool waits_for_name;

    w->link = link;
    w->state = RELAY_BRANCH_NAMING;
    relay_link_use(link, &(struct relay_link_user){.events = &link_events,
                                                   .who = w,
                                                   .content = &w->content,
                                                   .is_spooled = w->carrier->is_spooled});
    waits_for_name = (choose(w).kinds & IDENTITY_KIND_XCLIENT) != 0 && !link->out.is_xclient_sent &&
                     w->carrier->client->name_state == IDENTITY_NAME_PENDING &&
                     now_ms(w) < w->carrier->resolve_by_ms;
    if (!waits_for_name)
        begin(w);
    relay_branch_update_deadline(w);
}

void relay_branch_named(struct relay_branch *w)
{
    struct relay_link *link = w->link;

    begin(w);
    relay_branch_update_deadline(w);
    relay_link_drain_later(link);
}

void relay_branch_ask(struct relay_branch *w)
{
    if (w->unanswered == 0)
        w->envelope_due_ms = now_ms(w) + w->relay->conf->times.envelope_ms;
    relay_pool_ask(w);
    relay_branch_update_deadline(w);
}

static void log_lost(const struct relay_branch *w, int error, const struct reply *heard)
{
    relay_log_lost(&w->relay->log, &w->branch->transaction->envelope.id, &w->link->to, error,
                   heard);
}

/* envelope-timeout: as no connection. At the limit of connections the target is there, and nothing
 * is spooled for that; the runner knows it by the words. */
static void on_late(struct relay_branch *w)
{
    const struct relay *r = w->relay;
    bool is_busy = w->state == RELAY_BRANCH_WAITING && r->dial_count == 0 && relay_host_is_full(r);
    struct reply reply = reply_own(is_busy ? REPLY_TARGET_BUSY : REPLY_TARGET_DOWN);

    if (is_busy && w->branch->transaction->policy == TRANSACTION_LIVE) {
        relay_branch_fail(w, &reply, RELAY_VERDICT);
        return;
    }
    if (w->link != NULL) {
        log_lost(w, ERR_TIMEOUT, NULL);
        relay_link_close(w->link);
    }
    relay_tell_broken(w, &reply, false);
}

static void on_deadline(struct deadline *deadline)
{
    struct relay_branch *w = CONTAINER_OF(deadline, struct relay_branch, deadline);
    bool is_waiting = w->unanswered != 0 || w->state == RELAY_BRANCH_WAITING;

    if (is_waiting && now_ms(w) >= w->envelope_due_ms && w->state != RELAY_BRANCH_FAILED) {
        on_late(w);
        return;
    }
    if (w->state == RELAY_BRANCH_NAMING && now_ms(w) >= w->carrier->resolve_by_ms)
        relay_branch_named(w);
    relay_branch_update_deadline(w);
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

static void more(struct reader *reader)
{
    struct relay_content *c = CONTAINER_OF(reader, struct relay_content, reader);
    struct relay_branch *w = CONTAINER_OF(c, struct relay_branch, content);

    if (w->link == NULL)
        return;
    if (copy_error(w->carrier->copy) == 0) {
        relay_link_drain(w->link);
        return;
    }
    struct reply reply = reply_own(REPLY_LOCAL_PROBLEM);
    relay_branch_fail(w, &reply,
                      RELAY_VERDICT); /* what cannot be read cannot have been sent whole */
}

void relay_branch_init(struct relay_branch *w, struct carrier *c, struct branch *b)
{
    w->branch = b;
    w->carrier = c;
    w->relay = CONTAINER_OF(b->target, struct relay, target);
    list_init(&w->waiter.in_net);
    deadline_init(&w->deadline, &deadline_use);
    relay_content_init(&w->content, b, c->copy, more);
}

/* ---- what the target says ---- */

/* The connection is gone, and the branch has not reached its end of data: once more. */
static void ask_again(struct relay_branch *w)
{
    w->link = NULL;
    w->state = RELAY_BRANCH_NEW;
    w->branch->is_end_sent = false; /* the target has said that it did not take it */
    relay_content_reset(&w->content);
    relay_branch_ask(w);
    if (w->link != NULL) /* one that lay idle: no client's turn will flush it */
        relay_link_drain_later(w->link);
}

static void on_answer(struct relay_branch *w, const struct outbound_event *ev)
{
    struct recipient *r = ev->rcpt;
    struct relay_memory *memory = w->relay->service->memory;

    if (ev->is_heard && memory != NULL)
        relay_memory_note(memory, w->relay->target.name, &r->to, r->names_domain, &ev->reply);
    if (r->envelope == FATE_OPEN) {
        if (relay_tell_answer(w, r, ev->fate, &ev->reply))
            relay_branch_update_deadline(w);
        return;
    }
    if (ev->fate != FATE_ACCEPTED && relay_tell_stands(r))
        relay_tell_fallen(w, r, ev->fate, &ev->reply);
}

/* The connection goes back to the pool before the outcome is told: what follows from that may be
 * the next transaction. */
static void on_final(struct relay_branch *w, const struct outbound_event *ev)
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
    relay_tell_last(w, &last);
}

/* Our own Received line and an empty one, where it is wanted. Without memory for it the message
 * goes without. */
static struct bytes make_prefix(struct relay_branch *w)
{
    const struct carrier *carrier = w->carrier;
    enum relay_received received = w->relay->conf->received;
    struct bytes prefix = bytes_make(NULL, 0);
    struct recipient *only = relay_tell_next(w, NULL);
    struct header_trace trace = {
        .client = carrier->client,
        .by = carrier->hostname,
        .id = bytes_of(w->branch->transaction->envelope.id.text),
        .rcpt = only == w->last ? &only->to : NULL,
        .wall_s =
            (carrier->is_spooled ? carrier->spooled_wall_ms : loop_wall_ms(loop_of(w))) / 1000,
    };
    struct buf out;

    if (received == RELAY_RECEIVED_NEVER || carrier->spooled_identity == IDENTITY_KIND_NONE ||
        (received == RELAY_RECEIVED_AUTO && !carrier->is_spooled &&
         relay_identity_judges(w->identity)))
        return prefix;
    buf_init(&out, &loop_pools(loop_of(w))->medium, REPLY_MAX_BYTES);
    header_put_received(&out, &trace);
    buf_text(&out, "\r\n");
    if (out.has_failed || arena_copy(arena_of(w), buf_bytes(&out), &prefix) != 0)
        prefix = bytes_make(NULL, 0);
    buf_done(&out);
    return prefix;
}

bool relay_branch_may_begin_anew(const struct relay_branch *w)
{
    return w->carrier->copy == NULL || copy_is_whole(w->carrier->copy);
}

/* `heard`, or NULL: the target's last words. */
static void lose(struct relay_branch *w, bool is_end_sent, int error, const struct reply *heard)
{
    struct reply reply = reply_own(error == ERR_TIMEOUT ? REPLY_TARGET_SLOW : REPLY_TARGET_LOST);

    if (!is_end_sent && w->link->pooled.may_be_dead && !w->again.is_replay &&
        relay_branch_may_begin_anew(w)) {
        w->again.is_replay = true;
        w->again.needs_fresh = true;
        w->branch->facts.is_replayed = true;
        ask_again(w);
        return;
    }
    log_lost(w, error, heard);
    w->link = NULL;
    relay_tell_broken(w, &reply, is_end_sent);
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
    relay_log_shortage(&w->relay->log, &w->branch->transaction->envelope.id);
    relay_branch_fail(w, &reply, RELAY_VERDICT);
}

static void on_gone(struct relay_branch *w, const struct outbound_event *ev)
{
    bool passes = w->relay->conf->identity_failure == RELAY_IDENTITY_FAILURE_PASS;

    switch (ev->why) {
    case GONE_VERDICT:
        relay_branch_fail(w, &ev->reply, RELAY_VERDICT);
        break;
    case GONE_IDENTITY:
        if (passes && !w->again.avoids_xclient) {
            relay_log_identity_failed(&w->relay->log, IDENTITY_KIND_XCLIENT, &ev->reply);
            w->again.avoids_xclient = true;
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
        relay_log_confused(&w->relay->log, &w->link->to, &ev->heard);
}

static void on_event(void *user, const struct outbound_event *ev)
{
    struct relay_branch *w = user;

    log_confused(w, ev);
    switch (ev->kind) {
    case OUTBOUND_ANSWER:
        on_answer(w, ev);
        break;
    case OUTBOUND_GO:
        if (w->content.reader.of != NULL) /* there was memory for a copy */
            relay_content_open(&w->content, make_prefix(w));
        break;
    case OUTBOUND_FINAL_ANSWER:
        on_final(w, ev);
        break;
    case OUTBOUND_READY:
    case OUTBOUND_IDLE:
    case OUTBOUND_REFUSED:
    case OUTBOUND_GONE:
        break; /* the connection's */
    }
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

uint64_t relay_branch_net(const struct relay_branch *w)
{
    return w->carrier->is_spooled ? RELAY_LINE_QUEUE : relay_line_key(&w->carrier->client->client);
}

bool relay_branch_is_unfinished(const struct relay_branch *w)
{
    return w->state == RELAY_BRANCH_ACTIVE && !w->content.is_end_released && w->unanswered == 0 &&
           !w->carrier->is_spooled;
}

void relay_branch_yield(struct relay_branch *w)
{
    struct reply reply = reply_own(REPLY_TARGET_BUSY);

    if (!relay_branch_may_begin_anew(w)) {
        relay_branch_fail(w, &reply, RELAY_VERDICT);
        return;
    }
    relay_tell_release(w);
    relay_content_reset(&w->content);
    w->state = RELAY_BRANCH_NEW;
}
