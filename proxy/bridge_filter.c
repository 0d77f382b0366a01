/* SPDX-License-Identifier: BSD-2-Clause */
/* What a session asks filters, and what they answer. The listener's are asked first; those of a
 * target when a recipient is routed there, and from then on behind the listener's. */
#include "proxy/bridge_filter_private.h"

#include "proxy/base/error.h"
#include "proxy/services.h"

static void on_own_answered(void *owner, const struct reply *reply);
static void on_target_answered(void *owner, const struct reply *reply);
static const struct chain_walk_use own_use = {.answered = on_own_answered};
static const struct chain_walk_use target_use = {.answered = on_target_answered};

/* `edits`: FILTER_EDIT() bits of what its filters may do at most. */
static struct chain_walk *walk(struct bridge *b, const struct chain *chain, uint32_t edits,
                               const struct chain_walk_use *use, void *owner)
{
    const struct chain_log log = {
        .log = b->smtpd->services->log, .sinks = b->smtpd->log_sinks, .session = &b->id};
    const struct chain_client about = {.client = &b->session.client,
                                       .origin = session_origin(&b->session),
                                       .hostname = b->smtpd->conf->name,
                                       .listener = b->smtpd->conf->section,
                                       .edits = edits};

    return chain_walk_new(chain, b->carrier.loop, &about, &log, use, owner);
}

static bool make(struct bridge *b)
{
    struct bridge_filters *f = mem_zalloc(sizeof(*f));

    if (f == NULL)
        return false;
    header_strip_init(&f->strip, NULL, 0, &loop_pools(b->carrier.loop)->small);
    f->bridge = b;
    list_init(&f->targets);
    if (b->smtpd->chain.count != 0) {
        f->own = walk(b, &b->smtpd->chain, FILTER_EDITS_ALL, &own_use, f);
        if (f->own == NULL) {
            mem_free(f);
            return false;
        }
    }
    b->filters = f;
    return true;
}

static void answer(struct bridge *b, const struct reply *reply)
{
    session_feed(&b->session, &(struct session_event){.kind = SESSION_EV_ANSWER, .reply = *reply});
    carrier_drain(&b->carrier);
}

static void refuse(struct bridge_filters *f, const struct reply *reply)
{
    if (f->refusal.code == 0 && reply_copy(&f->bridge->session.mail, reply, &f->refusal) != 0)
        f->refusal = reply_own(REPLY_LOCAL_PROBLEM);
}

/* ---- the listener's filters, and then those of targets ---- */

/* A target whose filters refuse the message gets none of it. Where they defer it nobody gets it: in
 * the spool it would not be judged again. */
static void judge(struct bridge_filters *f, const struct target_walk *t)
{
    if (t->refusal.code / 100 == 5)
        transaction_judge(f->bridge->session.tx, t->target, &t->refusal);
    else if (t->refusal.code != 0)
        refuse(f, &t->refusal);
}

/* Those of targets are asked about the message beside the recipients that go there. */
static bool is_about_message(const struct bridge_filters *f)
{
    return f->about.stage == SESSION_STAGE_DATA || f->about.stage == SESSION_STAGE_END;
}

/* All agree to the message, but for targets of which judge() has said otherwise. REPLY_OK, or why
 * it cannot be as they want it. */
static enum reply_id take_answers(struct bridge_filters *f)
{
    struct copy *copy = f->bridge->carrier.copy;
    bool is_end = f->about.stage == SESSION_STAGE_END;
    int error = is_end ? 0 : bridge_filter_begin_content(f);

    if (is_end)
        LIST_EACH (link, &f->targets)
            if (error == 0)
                error = bridge_filter_take_target_content(target_walk_of(link));
    if (is_end && copy != NULL && !copy_is_finished(copy))
        copy_finish(copy);
    return error == 0 ? bridge_filter_take_fates(f) : REPLY_LOCAL_PROBLEM;
}

static void end_asking(struct bridge_filters *f)
{
    if (is_about_message(f))
        LIST_EACH (link, &f->targets)
            judge(f, target_walk_of(link));
    if (is_about_message(f) && f->refusal.code == 0) {
        enum reply_id id = take_answers(f);
        if (id != REPLY_OK)
            f->refusal = reply_own(id);
    }
    answer(f->bridge, &f->refusal);
}

static void feed_routed(struct bridge_filters *f);

/* One more chain has answered. `f` may be gone after this. */
static void note_answered(struct bridge_filters *f)
{
    if (--f->open > 0)
        return;
    if (f->routed != NULL)
        feed_routed(f);
    else
        end_asking(f);
}

static void on_target_answered(void *owner, const struct reply *reply)
{
    struct target_walk *t = owner;

    if (reply->code == 421) { /* the client's connection is not this target's to close */
        t->refusal = reply_own(REPLY_FILTER_AWAY);
        t->refusal.by = REPLY_BY_FILTER;
        t->refusal.by_name = reply->by_name;
    } else if (reply_copy(&t->of->bridge->session.mail, reply, &t->refusal) != 0)
        t->refusal = reply_own(REPLY_LOCAL_PROBLEM);
    note_answered(t->of);
}

/* Filters of a target to which nobody goes any more are not asked: they would defer the others. */
static void ask_about_message(struct bridge_filters *f)
{
    LIST_EACH (link, &f->targets) {
        struct target_walk *t = target_walk_of(link);
        t->refusal = (struct reply){.code = 0};
        if (!transaction_goes_to(f->bridge->session.tx, t->target))
            continue;
        f->open++;
        if (t->is_shown)
            chain_whole(t->walk);
        chain_ask(t->walk, &f->about);
    }
}

/* Filters of targets see the message with the edits of the listener's. */
static enum reply_id pass_on(struct bridge_filters *f)
{
    bool is_end = f->about.stage == SESSION_STAGE_END;
    int error = is_end ? bridge_filter_take_content(f) : 0;

    if (is_end && error == 0)
        bridge_filter_show_targets(f);
    return error == 0 ? REPLY_OK : REPLY_LOCAL_PROBLEM;
}

static void on_own_answered(void *owner, const struct reply *reply)
{
    struct bridge_filters *f = owner;
    enum reply_id id = reply->code == 0 ? pass_on(f) : REPLY_OK;

    if (reply->code != 0 || id != REPLY_OK) {
        const struct reply own = reply_own(id);
        f->open = 0;
        answer(f->bridge, reply->code != 0 ? reply : &own);
        return;
    }
    if (is_about_message(f))
        ask_about_message(f);
    note_answered(f);
}

/* While filters think about a recipient, its target gets a connection ready, unless the transaction
 * has one. */
static void warm(struct bridge *b, struct target *target)
{
    if (target->ops->warm != NULL && !transaction_names(b->session.tx, target))
        target->ops->warm(target);
}

static void warm_targets(struct bridge *b, const struct recipient *rcpt)
{
    struct routed routed;

    bridge_resolve(b, rcpt, &routed);
    for (int i = 0; i < routed.leg_count && routed.reply.code == 0; i++)
        warm(b, routed.legs[i].target);
}

void bridge_filter_ask(struct bridge *b)
{
    static const struct reply none = {.code = 0};

    if (b->filters == NULL && !make(b)) {
        struct reply reply = reply_own(REPLY_LOCAL_PROBLEM);
        answer(b, &reply);
        return;
    }
    struct bridge_filters *f = b->filters;
    f->about = session_question(&b->session);
    f->refusal = none;
    f->open = 1;
    if (f->own == NULL || (b->smtpd->chain.stages & (1U << f->about.stage)) == 0) {
        on_own_answered(f, &none);
        return;
    }
    chain_ask(f->own, &f->about);
    if (f->about.stage == SESSION_STAGE_RCPT && chain_is_asked(f->own))
        warm_targets(b, f->about.rcpt);
}

/* ---- RCPT: the filters of its targets ---- */

/* NULL: there is none yet. */
static struct target_walk *find(const struct bridge_filters *f, const struct target *target)
{
    LIST_EACH (link, &f->targets) {
        struct target_walk *t = target_walk_of(link);
        if (t->target == target)
            return t;
    }
    return NULL;
}

/* NULL: no memory. */
static struct target_walk *find_or_begin(struct bridge_filters *f, struct target *target)
{
    struct target_walk *t = find(f, target);

    if (t != NULL)
        return t;
    t = arena_alloc(&f->bridge->session.mail, sizeof(*t));
    if (t == NULL)
        return NULL;
    *t = (struct target_walk){.of = f, .target = target};
    /* The envelope is the listener's. */
    t->walk =
        walk(f->bridge, target->chain, FILTER_EDITS_ALL & ~FILTER_EDITS_ENVELOPE, &target_use, t);
    if (t->walk == NULL)
        return NULL;
    list_append(&f->targets, &t->in_filters);
    return t;
}

/* Their refusal is the fate of the recipient there. Where those of one target in a list defer it,
 * it is deferred as a whole: in the spool it would not be judged again. */
static void feed_routed(struct bridge_filters *f)
{
    struct bridge *b = f->bridge;
    struct routed *routed = f->routed;
    struct recipient *rcpt = b->session.command.rcpt;

    for (int i = 0; i < routed->leg_count; i++) {
        const struct target_walk *t = find(f, f->legs[i].target);
        if (t == NULL)
            continue; /* it has no filters, or there was no memory */
        f->legs[i].refusal = t->refusal;
        if (t->refusal.code / 100 == 4)
            refuse(f, &t->refusal);
    }
    if (f->refusal.code != 0)
        routed->reply = f->refusal;
    else if (routed->leg_count == 1)
        routed->reply = f->legs[0].refusal;
    f->routed = NULL;
    session_feed_transaction(&b->session,
                             &(struct event){.kind = EV_ROUTED, .rcpt = rcpt, .routed = routed});
    carrier_drain(&b->carrier);
}

static bool is_named_before(const struct routed *routed, int leg)
{
    for (int i = 0; i < leg; i++)
        if (routed->legs[i].target == routed->legs[leg].target)
            return true;
    return false;
}

/* False: no memory. */
static bool keep_route(struct bridge_filters *f, const struct routed *routed)
{
    struct arena *mail = &f->bridge->session.mail;
    size_t count = (size_t)routed->leg_count;

    f->routed = arena_alloc(mail, sizeof(*f->routed));
    f->legs = arena_alloc(mail, count * sizeof(*f->legs));
    if (f->routed == NULL || f->legs == NULL)
        return false;
    memcpy(f->legs, routed->legs, count * sizeof(*f->legs));
    *f->routed = *routed;
    f->routed->legs = f->legs;
    return true;
}

static void ask_targets(struct bridge_filters *f, struct recipient *rcpt)
{
    const struct session_question question = {
        .stage = SESSION_STAGE_RCPT, .transaction = f->bridge->session.tx, .rcpt = rcpt};

    f->refusal = (struct reply){.code = 0};
    f->open = 1;
    for (int i = 0; i < f->routed->leg_count; i++) {
        struct target *target = f->legs[i].target;
        if (target->chain == NULL || is_named_before(f->routed, i))
            continue;
        struct target_walk *t = find_or_begin(f, target);
        if (t == NULL) {
            f->refusal = reply_own(REPLY_LOCAL_PROBLEM);
            continue;
        }
        f->open++;
        warm(f->bridge, target);
        chain_ask(t->walk, &question);
    }
    note_answered(f);
}

static bool has_filters(const struct routed *routed)
{
    for (int i = 0; routed->reply.code == 0 && i < routed->leg_count; i++)
        if (routed->legs[i].target->chain != NULL)
            return true;
    return false;
}

void bridge_filter_route(struct bridge *b, struct recipient *rcpt, struct routed *routed)
{
    if (has_filters(routed) &&
        ((b->filters == NULL && !make(b)) || !keep_route(b->filters, routed)))
        routed->reply = reply_own(REPLY_LOCAL_PROBLEM);
    if (has_filters(routed))
        ask_targets(b->filters, rcpt);
    else
        session_feed_transaction(
            &b->session, &(struct event){.kind = EV_ROUTED, .rcpt = rcpt, .routed = routed});
}

/* ---- the rest ---- */

static void forget_all(struct bridge_filters *f)
{
    f->open = 0;
    f->routed = NULL;
    if (f->own != NULL)
        chain_forget(f->own);
    LIST_EACH (link, &f->targets)
        chain_forget(target_walk_of(link)->walk);
}

void bridge_filter_named(struct bridge *b)
{
    struct bridge_filters *f = b->filters;

    if (f == NULL)
        return;
    if (f->own != NULL)
        chain_named(f->own);
    LIST_EACH (link, &f->targets)
        chain_named(target_walk_of(link)->walk);
}

void bridge_filter_forget_late(struct bridge *b)
{
    struct bridge_filters *f = b->filters;
    const struct session *s = &b->session;

    if (f == NULL)
        return;
    if (f->open > 0 &&
        !session_awaits(s, f->routed != NULL ? SESSION_ACT_ROUTE : SESSION_ACT_FILTER))
        forget_all(f);
    /* They have refused the sender: no transaction ends that they know of. */
    if (f->own != NULL && s->tx == NULL && s->command.tx == NULL)
        chain_message_ended(f->own);
}

void bridge_filter_stop(struct bridge *b)
{
    struct bridge_filters *f = b->filters;

    if (f == NULL)
        return;
    bool is_asked = f->open > 0 && f->about.stage == SESSION_STAGE_END;
    if (is_asked)
        forget_all(f);
    bridge_filter_hide(f);
    if (is_asked)
        session_feed(&b->session, &(struct session_event){.kind = SESSION_EV_ANSWER,
                                                          .reply = b->session.tx->refusal});
}

void bridge_filter_message_ended(struct bridge *b)
{
    struct bridge_filters *f = b->filters;

    if (f == NULL)
        return;
    LIST_EACH (link, &f->targets)
        chain_walk_end(&target_walk_of(link)->walk);
    list_init(&f->targets);
    header_strip_done(&f->strip);
    if (f->own != NULL)
        chain_message_ended(f->own);
}

void bridge_filter_end(struct bridge *b)
{
    bridge_filter_message_ended(b);
    if (b->filters != NULL)
        chain_walk_end(&b->filters->own);
    mem_free(b->filters);
    b->filters = NULL;
}

void bridge_filter_put_words(const struct bridge *b, struct buf *out)
{
    const struct bridge_filters *f = b->filters;

    if (f == NULL)
        return;
    if (f->own != NULL)
        chain_put_words(f->own, out);
    LIST_EACH (link, &f->targets)
        chain_put_words(target_walk_of(link)->walk, out);
}
