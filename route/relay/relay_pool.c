/* SPDX-License-Identifier: BSD-2-Clause */
/* The connections of one relay, and the branches that wait for one, in order. */
#include "route/relay/relay_pool.h"

#include "proxy/base/error.h"
#include "route/relay/relay_branch.h"
#include "route/relay/relay_connect.h"
#include "route/relay/relay_identity.h"
#include "route/relay/relay_link.h"
#include "route/relay/relay_memory.h"
#include "route/relay/relay_private.h"
#include "route/relay/relay_yield.h"

#define AGE_MAX_MS   300000 /* of a connection, when it is looked at between transactions */
#define REFUSALS_MAX 5      /* the target's count of errors must not fall on the next client */
#define KEPT_PART    8      /* of the connections: for nets that hold less than that themselves */

static uint64_t now_ms(const struct relay *r)
{
    return loop_now_ms(r->service->loop);
}

static struct relay_link *link_of(struct list *at)
{
    return LIST_ENTRY(at, struct relay_link, in_pool);
}

/* ---- which connection may serve once more ---- */

static bool may_serve_again(const struct relay_link *link)
{
    const struct relay *r = link->relay;

    return !r->is_closing && link->out.transactions < r->conf->limits.max_transactions &&
           link->out.refusals < REFUSALS_MAX && now_ms(r) - link->opened_ms < AGE_MAX_MS &&
           outbound_is_idle(&link->out);
}

/* XCLIENT comes first on a connection, or never. */
static bool is_stale_for_xclient(const struct relay_link *link, const struct relay_branch *w)
{
    const struct carrier *c = w->carrier;
    unsigned identity = link->relay->conf->identity;

    if (c->is_spooled)
        identity |= c->spooled_identity;
    return link->out.transactions != 0 && !w->again.avoids_xclient &&
           (identity & (IDENTITY_KIND_AUTO | IDENTITY_KIND_XCLIENT)) != 0 &&
           capability_has(&link->out.caps, CAPABILITY_XCLIENT);
}

/* A fresh one that was never idle needs no look at the kernel. */
static bool is_quiet(struct relay_link *link)
{
    return !link->is_pooled || stream_is_quiet(link->stream);
}

static struct relay_link *take_idle(struct relay *r, const struct relay_branch *w)
{
    LIST_EACH (at, &r->idle) {
        struct relay_link *link = link_of(at);
        if (w->again.needs_fresh && link->is_pooled)
            continue;
        if (!may_serve_again(link) || is_stale_for_xclient(link, w))
            relay_link_quit(link);
        else if (!is_quiet(link))
            relay_link_close(link);
        else
            return link;
    }
    return NULL;
}

static struct relay_link *take_bound(const struct relay *r, const struct relay_branch *w)
{
    LIST_EACH (at, &w->carrier->holds) {
        struct carrier_hold *hold = LIST_ENTRY(at, struct carrier_hold, in_carrier);
        if (hold->target != &r->target || w->again.needs_fresh)
            continue;
        struct relay_link *link = CONTAINER_OF(hold, struct relay_link, hold);
        if (link->state != RELAY_LINK_BOUND)
            continue;
        if (!may_serve_again(link) || !relay_link_fits(link, w->carrier->client))
            relay_link_quit(link);
        else if (!stream_is_quiet(link->stream))
            relay_link_close(link);
        else
            return link;
    }
    return NULL;
}

/* ---- the line ---- */

unsigned relay_pool_share(const struct relay *r)
{
    return relay_line_share(&r->line, r->link_count + r->reserved);
}

static unsigned kept(const struct relay *r)
{
    return r->conf->limits.max_connections / KEPT_PART;
}

/* Could a net that holds much begin one more transaction, and `coming` others before it? Without
 * the last connections being kept, a single net could hold all of them, and whoever comes next
 * would have to wait until one is taken back. */
static bool is_open_to_all(const struct relay *r, unsigned coming)
{
    return r->line.held_count + relay_host_elsewhere(r) + coming + kept(r) <
           r->conf->limits.max_connections;
}

static bool may_have_one(const struct relay *r, uint64_t net_key, unsigned coming)
{
    return kept(r) == 0 || is_open_to_all(r, coming) ||
           relay_line_held(&r->line, net_key) < kept(r);
}

/* Whose turn it is, and then whose. NULL: nobody's. */
static struct relay_branch *next_waiting(const struct relay *r, const struct relay_branch *after)
{
    unsigned share = relay_pool_share(r);
    struct relay_waiter *w;

    if (share > kept(r) && kept(r) != 0 && !is_open_to_all(r, 0))
        share = kept(r);
    w = relay_line_next(&r->line, share, after == NULL ? NULL : &after->waiter);
    return w == NULL ? NULL : CONTAINER_OF(w, struct relay_branch, waiter);
}

static void enter_line(struct relay_branch *w)
{
    w->state = RELAY_BRANCH_WAITING;
    relay_line_enter(&w->relay->line, &w->waiter, relay_branch_net(w));
}

static void leave_line(struct relay_branch *w)
{
    relay_line_leave(&w->relay->line, &w->waiter);
}

void relay_pool_leave(struct relay_branch *w)
{
    leave_line(w);
    if (w->relay->line.waiting_count == 0)
        relay_host_wait(w->relay, false);
    if (w->dial != NULL)
        relay_connect_cancel(w->dial);
}

/* New ones who wait do not put the look off. */
static void look_later(struct relay *r)
{
    if (r->share.is_starving)
        return;
    r->share.is_starving = true;
    deadline_set(r->service->loop, &r->share.starving, now_ms(r) + RELAY_HOST_WAIT_MS);
}

/* Is there room for one more connection? If not, room is made where a connection lies idle. */
static bool make_room(struct relay *r)
{
    struct list *oldest;

    if (!relay_host_is_over(r, 1) && relay_host_reserve(r))
        return true;
    oldest = !list_is_empty(&r->bound) ? r->bound.next : NULL;
    if (oldest == NULL && !list_is_empty(&r->idle))
        oldest = r->idle.prev;
    if (oldest != NULL)
        relay_link_quit(link_of(oldest));
    else
        look_later(r);
    return false;
}

/* `link` has left the pool for good: it belongs to one client now, or this is its last transaction.
 * The next one should be ready. */
static bool needs_successor(struct relay *r, const struct relay_link *link)
{
    bool is_last = link->out.transactions >= r->conf->limits.max_transactions;

    return is_last || (now_ms(r) < r->warm_until_ms && relay_pool_has_announced_xclient(r));
}

/* One idle connection, to the first for whom it will do. NULL: there is none, or nobody. */
static struct relay_link *hand_out_one(struct relay *r)
{
    struct relay_branch *w = next_waiting(r, NULL);

    for (; w != NULL && !list_is_empty(&r->idle); w = next_waiting(r, w)) {
        if (!may_have_one(r, w->waiter.net->key, 0))
            break;
        struct relay_link *link = take_idle(r, w);
        if (link == NULL)
            continue;
        leave_line(w);
        relay_branch_start(w, link);
        relay_link_drain_later(link);
        return link;
    }
    return NULL;
}

static void hand_out(struct relay *r)
{
    struct relay_link *link;
    bool is_short = false;

    while ((link = hand_out_one(r)) != NULL)
        is_short = needs_successor(r, link) || is_short;
    if (is_short) /* not before: it may end the waiting of others */
        relay_pool_warm(r);
}

static struct relay_branch *first_without_dial(struct relay *r)
{
    struct relay_branch *w = next_waiting(r, NULL);

    while (w != NULL && w->dial != NULL)
        w = next_waiting(r, w);
    return w;
}

/* May one more dial begin? `w`: who comes first of those for whom none has begun. A dial that has
 * an owner is counted as held by its net, any other is on its way to somebody. */
static bool may_dial(struct relay *r, const struct relay_branch *w, bool is_own)
{
    if (may_have_one(r, w->waiter.net->key, is_own ? 0 : r->dial_count))
        return make_room(r);
    look_later(r);
    return false;
}

static void dial_more(struct relay *r)
{
    bool is_own = relay_identity_proxy(r->conf) != 0, is_begun = true;

    while (is_begun && r->dial_count < r->line.waiting_count) {
        struct relay_branch *w = is_own ? first_without_dial(r) : next_waiting(r, NULL);
        if (w == NULL || !may_dial(r, w, is_own))
            break;
        is_begun = relay_connect_begin(r, is_own ? w : NULL);
        relay_host_tell(r);
    }
    relay_host_wait(r, r->dial_count < r->line.waiting_count);
}

void relay_pool_thin_out(struct relay *r, unsigned count)
{
    for (; count > 0 && !list_is_empty(&r->idle); count--)
        relay_link_quit(link_of(r->idle.prev));
}

/* What stays idle, and for how long. */
static void settle(struct relay *r)
{
    if (r->idle_count > r->conf->limits.idle_connections)
        relay_pool_thin_out(r, r->idle_count - r->conf->limits.idle_connections);
    if (list_is_empty(&r->idle))
        return;
    LIST_EACH (at, &r->idle) {
        if (link_of(at)->is_pooled)
            break;
        link_of(at)->is_pooled = true;
    }
    deadline_set(r->service->loop, &r->idle_deadline,
                 link_of(r->idle.prev)->idle_ms + r->conf->times.idle_ms);
}

/* Those who wait get what is idle, or are dialled for. Never reports. */
static void serve(struct relay *r)
{
    if (r->is_serving || r->is_closing)
        return;
    r->is_serving = true;
    hand_out(r);
    dial_more(r);
    settle(r);
    r->is_serving = false;
}

static void on_post(void *owner)
{
    serve(owner);
}

void relay_pool_serve_later(struct relay *r)
{
    if (r->line.waiting_count != 0 && !r->is_closing)
        loop_post(r->service->loop, &r->post, on_post, r);
}

/* ---- asking ---- */

static struct relay_link *take(struct relay *r, const struct relay_branch *w)
{
    struct relay_link *link = take_bound(r, w);

    if (link == NULL && r->line.waiting_count == 0)
        link = take_idle(r, w);
    return link;
}

void relay_pool_ask(struct relay_branch *w)
{
    struct relay *r = w->relay;
    struct reply down = reply_own(REPLY_TARGET_DOWN);
    struct relay_link *link = r->is_closing ? NULL : take(r, w);

    if (link != NULL) {
        relay_branch_start(w, link);
        if (needs_successor(r, link))
            relay_pool_warm(r);
        return;
    }
    if (r->is_closing || relay_endpoints_are_down(&r->endpoints)) {
        relay_branch_fail(w, &down, false);
        return;
    }
    enter_line(w);
    serve(r);
}

/* ---- connections that come and go ---- */

static void lay_idle(struct relay_link *link)
{
    struct relay *r = link->relay;

    link->idle_ms = now_ms(r);
    relay_link_set(link, RELAY_LINK_IDLE, &r->idle);
    serve(r);
}

void relay_pool_add(struct relay_link *link, struct relay_branch *user)
{
    struct relay *r = link->relay;

    if (r->is_closing) {
        relay_link_quit(link);
        return;
    }
    if (user == NULL) {
        lay_idle(link);
        return;
    }
    leave_line(user);
    relay_branch_start(user, link);
    relay_link_drain_later(link);
}

void relay_pool_give(struct relay_link *link)
{
    struct relay *r = link->relay;

    link->is_pooled = link->is_pooled || link->out.transactions != 0;
    if (!may_serve_again(link) || (link->is_bound && link->client == NULL) ||
        relay_host_is_over(r, 0)) {
        relay_link_quit(link);
        return;
    }
    if (!link->is_bound) {
        lay_idle(link);
        return;
    }
    link->idle_ms = now_ms(r);
    relay_link_set(link, RELAY_LINK_BOUND, &r->bound);
    deadline_set(r->service->loop, &link->deadline, link->idle_ms + r->conf->times.idle_ms);
    relay_pool_serve_later(r);
}

void relay_pool_miss(struct relay *r, struct relay_branch *user, const struct reply *reply,
                     bool is_words)
{
    bool is_hopeless = relay_endpoints_are_down(&r->endpoints) ||
                       relay_endpoints_refusal(&r->endpoints) != REPLY_OK;
    struct relay_branch *w;

    if (user != NULL) {
        relay_branch_fail(user, reply, is_words);
        return;
    }
    while ((w = next_waiting(r, NULL)) != NULL) {
        relay_branch_fail(w, reply, is_words);
        if (!is_hopeless)
            break;
    }
    relay_pool_serve_later(r);
}

void relay_pool_make_way(struct relay *r)
{
    while (!list_is_empty(&r->idle))
        relay_link_quit(link_of(r->idle.next));
    while (!list_is_empty(&r->bound))
        relay_link_quit(link_of(r->bound.next));
}

/* ---- deadlines ---- */

static void on_idle_deadline(struct deadline *deadline)
{
    struct relay *r = CONTAINER_OF(deadline, struct relay, idle_deadline);
    uint64_t now = now_ms(r);

    while (!list_is_empty(&r->idle)) {
        struct relay_link *oldest = link_of(r->idle.prev);
        uint64_t due_ms = oldest->idle_ms + r->conf->times.idle_ms;
        if (due_ms > now) {
            deadline_set(r->service->loop, &r->idle_deadline, due_ms);
            return;
        }
        relay_link_quit(oldest);
    }
}

/* Others wait at the limit: who does not move, or has too many, gives connections up. */
static void on_starving(struct deadline *deadline)
{
    struct relay *r = CONTAINER_OF(deadline, struct relay, share.starving);

    r->share.is_starving = false;
    relay_yield_to_waiting(r);
    r->share.has_turn = true;
    serve(r);
    r->share.has_turn = false;
}

static const struct deadline_use idle_use = {.reached = on_idle_deadline};
static const struct deadline_use starving_use = {.reached = on_starving};

/* ---- the relay ---- */

bool relay_pool_has_announced_xclient(struct relay *r)
{
    struct relay_learnt *learnt = &r->learnt;

    if (!learnt->has_announced_xclient && r->service->memory != NULL)
        learnt->has_announced_xclient =
            relay_memory_has_xclient(r->service->memory, r->target.name);
    return learnt->has_announced_xclient;
}

void relay_pool_warm(struct relay *r)
{
    const struct relay_limits *limits = &r->conf->limits;

    if (r->is_closing || relay_identity_proxy(r->conf) != 0 || limits->idle_connections == 0 ||
        relay_endpoints_are_down(&r->endpoints))
        return;
    r->warm_until_ms = now_ms(r) + r->conf->times.idle_ms;
    if (r->idle_count + r->dial_count > r->line.waiting_count || relay_host_is_over(r, 1) ||
        !relay_host_reserve(r))
        return;
    relay_connect_begin(r, NULL);
    relay_host_tell(r);
}

void relay_pool_init(struct relay *r)
{
    list_init(&r->links);
    list_init(&r->idle);
    list_init(&r->bound);
    list_init(&r->busy);
    list_init(&r->dials);
    relay_line_init(&r->line, loop_hash_key(r->service->loop));
    deadline_init(&r->idle_deadline, &idle_use);
    deadline_init(&r->share.starving, &starving_use);
}

void relay_pool_close(struct relay *r)
{
    struct reply down = reply_own(REPLY_TARGET_DOWN);
    struct relay_branch *w;

    deadline_clear(r->service->loop, &r->idle_deadline);
    deadline_clear(r->service->loop, &r->share.starving);
    loop_unpost(r->service->loop, &r->post);
    while ((w = next_waiting(r, NULL)) != NULL)
        relay_branch_fail(w, &down, false);
    relay_pool_make_way(r);
    LIST_EACH (at, &r->busy)
        if (link_of(at)->user == NULL) /* answers that nobody waits for */
            relay_link_close(link_of(at));
}
