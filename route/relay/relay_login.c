/* SPDX-License-Identifier: BSD-2-Clause */
/* Clients that log in at a relay. Each attempt has a connection of its own, on which the target is
 * told who the client is before AUTH; after 235 the client keeps it, else it is closed. */
#include "route/relay/relay_login.h"

#include <assert.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "route/relay/relay_asker.h"
#include "route/relay/relay_job.h"
#include "route/relay/relay_link.h"
#include "route/relay/relay_log.h"
#include "route/relay/relay_pool.h"
#include "route/relay/relay_private.h"
#include "route/relay/relay_stock.h"

/* Programs answer at once: who lets the target wait for longer gives its connection up. */
#define LINE_MS 30000
/* EHLO waits for it, of clients as well that do not log in. */
#define MEET_MS 5000

enum relay_login_state {
    LOGIN_WAITING,     /* for a connection */
    LOGIN_NAMING,      /* has one; the client's name is being looked up */
    LOGIN_INTRODUCING, /* XCLIENT was said */
    LOGIN_TALKING,     /* AUTH */
    LOGIN_DONE,
    LOGIN_LOST, /* it was DONE, and its connection is gone */
    LOGIN_OVER  /* nobody is known, and there is no connection */
};

struct relay_login {
    struct target_login base;
    struct relay_asker asker;
    enum target_login_aim aim;
    const struct target_login_use *use;
    void *owner;
    struct relay_link *link; /* NAMING to DONE */
    enum relay_login_state state;
    struct deadline deadline;
    struct loop_post post;
    struct reply verdict; /* OVER: the target's, on this client, in `words`; code 0: none */
    struct buf words;     /* ... or of its latest reply */
};

static const struct relay_link_events link_events;

static struct relay_login *login_of(struct target_login *base)
{
    return CONTAINER_OF(base, struct relay_login, base);
}

static struct loop *loop_of(const struct relay_login *l)
{
    return l->asker.carrier->loop;
}

static void wait_until(struct relay_login *l, uint64_t due_ms)
{
    deadline_set(loop_of(l), &l->deadline, due_ms);
}

/* ---- the end ---- */

/* Nothing holds it, and it holds nothing. */
static void let_go(struct relay_login *l)
{
    struct relay_link *link = l->link;

    l->link = NULL;
    l->state = LOGIN_OVER;
    loop_unpost(loop_of(l), &l->post);
    deadline_clear(loop_of(l), &l->deadline);
    if (l->asker.is_waiting)
        relay_pool_leave(&l->asker);
    if (link != NULL && relay_link_is_alive(link)) {
        relay_link_let_go(link);
        relay_link_quit(link);
    }
}

/* `l` may be gone after this. */
static void refuse(struct relay_login *l, const struct reply *reply)
{
    let_go(l);
    l->use->answered(l->owner, reply);
}

/* The target cannot be asked. */
static void give_up(struct relay_login *l)
{
    const struct reply away = reply_own(REPLY_AUTH_AWAY);

    refuse(l, l->verdict.code != 0 ? &l->verdict : &away);
}

/* What the target says of this client passes, but for 421, which would end the session. */
static void note_verdict(struct relay_login *l, const struct reply *reply)
{
    if (reply->by != REPLY_BY_TARGET || reply->code == 421 || l->verdict.code != 0)
        return;
    buf_put(&l->words, reply->wire);
    if (l->words.has_failed)
        return;
    l->verdict = *reply;
    l->verdict.wire = buf_bytes(&l->words);
}

/* ---- a connection ---- */

static void be_ready(struct relay_login *l)
{
    l->state = LOGIN_TALKING;
    wait_until(l, loop_now_ms(loop_of(l)) + LINE_MS);
    l->use->ready(l->owner);
}

/* The client's name is known, or was waited for long enough. */
static void introduce(struct relay_login *l)
{
    struct relay *r = l->asker.relay;
    struct outbound_job job;
    unsigned missing;

    if (l->link->out.hello.avoids_tls) { /* it announced TLS, which failed: no passwords in plain */
        give_up(l);
        return;
    }
    if (!relay_job_introduce(&l->asker, l->link, &job, &missing)) {
        relay_log_identity_failed(&r->log, missing, NULL);
        give_up(l);
        return;
    }
    l->state = LOGIN_INTRODUCING;
    wait_until(l, loop_now_ms(loop_of(l)) + r->conf->times.envelope_ms);
    if (outbound_introduce(&l->link->out, &job))
        relay_link_drain(l->link);
    else
        be_ready(l);
}

static void on_post(void *owner)
{
    struct relay_login *l = owner;

    if (l->state == LOGIN_LOST)
        l->use->lost(l->owner);
    else if (l->state == LOGIN_OVER)
        give_up(l);
    else if (l->aim == TARGET_LOGIN_MEET)
        be_ready(l);
    else if (relay_job_waits_for_name(&l->asker, l->link))
        wait_until(l, l->asker.carrier->resolve_by_ms);
    else
        introduce(l);
}

static void go_on_later(struct relay_login *l)
{
    loop_post(loop_of(l), &l->post, on_post, l);
}

static struct relay_login *login_of_asker(struct relay_asker *asker)
{
    return CONTAINER_OF(asker, struct relay_login, asker);
}

static void on_start(struct relay_asker *asker, struct relay_link *link)
{
    struct relay_login *l = login_of_asker(asker);

    relay_link_use(link, &(struct relay_link_user){.events = &link_events, .who = l});
    relay_stock_set_apart(link);
    l->link = link;
    l->state = LOGIN_NAMING;
    if (!relay_link_bind(link, asker->carrier))
        let_go(l);
    go_on_later(l);
}

static void on_fail(struct relay_asker *asker, const struct reply *reply, enum relay_failure how)
{
    struct relay_login *l = login_of_asker(asker);

    if (how == RELAY_VERDICT)
        note_verdict(l, reply);
    let_go(l);
    go_on_later(l);
}

static const struct relay_asker_ops asker_ops = {.start = on_start, .fail = on_fail};

static void ask(struct relay_login *l)
{
    uint64_t patience_ms = l->asker.relay->conf->times.envelope_ms;

    if (l->aim == TARGET_LOGIN_MEET && patience_ms > MEET_MS)
        patience_ms = MEET_MS;
    l->state = LOGIN_WAITING;
    wait_until(l, loop_now_ms(loop_of(l)) + patience_ms);
    relay_pool_ask(&l->asker);
}

static void on_deadline(struct deadline *deadline)
{
    struct relay_login *l = CONTAINER_OF(deadline, struct relay_login, deadline);

    if (l->state != LOGIN_NAMING) {
        give_up(l);
        return;
    }
    loop_unpost(loop_of(l), &l->post); /* the name may have come in this turn, too */
    on_post(l);
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

/* ---- what the target says ---- */

/* The connection is lost, and with it whom the target knew. A branch may be about to hear it. */
static void on_left(void *who)
{
    struct relay_login *l = who;

    l->link = NULL;
    l->asker.carrier->login.connection = NULL;
    l->state = LOGIN_LOST;
    go_on_later(l);
}

/* It has no user now but transactions, and nobody else gets it. */
static void keep(struct relay_login *l)
{
    struct carrier_login *login = &l->asker.carrier->login;

    l->state = LOGIN_DONE;
    relay_link_let_go(l->link);
    relay_link_keep(l->link, &(struct relay_link_keeper){.left = on_left, .who = l});
    login->is_done = true;
    login->connection = l->link;
}

/* The client was told of enhanced codes, and this target may have none: RFC 2034. */
static struct reply with_enhanced_code(struct relay_login *l, const struct reply *reply)
{
    struct reply changed = *reply;

    if (capability_has(&l->link->out.caps, CAPABILITY_ENHANCEDSTATUSCODES))
        return changed;
    buf_reset(&l->words);
    reply_put(&l->words, reply, 0, REPLY_ENHANCED_ADDED);
    if (!l->words.has_failed)
        changed.wire = buf_bytes(&l->words);
    return changed;
}

static void on_reply(struct relay_login *l, const struct reply *heard)
{
    const struct reply changed = with_enhanced_code(l, heard), *reply = &changed;

    if (reply->code != 334 && reply->code != 235) {
        refuse(l, reply);
        return;
    }
    if (reply->code == 334)
        wait_until(l, loop_now_ms(loop_of(l)) + LINE_MS);
    else
        keep(l);
    l->use->answered(l->owner, reply);
}

static void on_event(void *user, const struct outbound_event *ev)
{
    struct relay_login *l = user;

    if (ev->kind == OUTBOUND_READY)
        be_ready(l);
    else if (ev->kind == OUTBOUND_LOGIN)
        on_reply(l, &ev->reply);
    /* the others are a transaction's */
}

/* Without XCLIENT, once: identity-failure = pass. */
static bool may_ask_again(struct relay_login *l, const struct outbound_event *ev)
{
    const struct relay *r = l->asker.relay;

    if (ev == NULL || ev->why != GONE_IDENTITY || l->asker.again.avoids_xclient)
        return false;
    relay_log_identity_failed(&l->asker.relay->log, IDENTITY_KIND_XCLIENT, &ev->reply);
    l->asker.again.avoids_xclient = true;
    return r->conf->identity_failure == RELAY_IDENTITY_FAILURE_PASS;
}

/* The target's words are not logged: they may repeat what the client has said. */
static void on_lost(void *user, int error, const struct outbound_event *ev)
{
    struct relay_login *l = user;
    struct stream_target to = l->link->to;

    l->link = NULL;
    if (may_ask_again(l, ev)) {
        ask(l);
        return;
    }
    if (ev != NULL && ev->why == GONE_VERDICT)
        note_verdict(l, &ev->reply);
    else
        relay_log_lost(&l->asker.relay->log, NULL, &to, ev == NULL ? error : ev->error, NULL);
    give_up(l);
}

static const struct relay_link_events link_events = {.event = on_event, .lost = on_lost};

/* ---- what its owner asks for ---- */

static struct target_login *on_begin(struct target *target, struct carrier *carrier,
                                     enum target_login_aim aim, const struct target_login_use *use,
                                     void *owner)
{
    struct relay_login *l = mem_zalloc(sizeof(*l));

    if (l == NULL)
        return NULL;
    l->base.target = target;
    l->aim = aim;
    l->use = use;
    l->owner = owner;
    relay_asker_init(&l->asker, &asker_ops, CONTAINER_OF(target, struct relay, target), carrier);
    l->asker.again.needs_fresh = true; /* errors of others must not count against this client */
    deadline_init(&l->deadline, &deadline_use);
    buf_init(&l->words, &loop_pools(carrier->loop)->medium, REPLY_MAX_BYTES);
    ask(l);
    return &l->base;
}

static void on_say(struct target_login *base, struct bytes line)
{
    struct relay_login *l = login_of(base);

    assert(l->state == LOGIN_TALKING);
    deadline_clear(loop_of(l), &l->deadline); /* the target's time is the connection's to watch */
    outbound_login(&l->link->out, line);
    relay_link_drain_later(l->link);
}

static void on_named(struct target_login *base)
{
    struct relay_login *l = login_of(base);

    if (l->state == LOGIN_NAMING)
        go_on_later(l);
}

static void on_end(struct target_login *base)
{
    struct relay_login *l = login_of(base);
    struct relay_link *link = l->link;

    if (l->state == LOGIN_DONE) {
        relay_link_keep(link, &(struct relay_link_keeper){.who = NULL});
        l->asker.carrier->login.connection = NULL;
    }
    l->asker.carrier->login.is_done = false;
    if (link != NULL && l->state == LOGIN_DONE && relay_link_is_used(link)) {
        relay_link_unbind(link); /* it ends with its transaction */
        l->link = NULL;
    }
    let_go(l);
    buf_done(&l->words);
    mem_free(l);
}

const struct target_login_ops relay_login_ops = {
    .begin = on_begin, .say = on_say, .named = on_named, .end = on_end};
