/* SPDX-License-Identifier: BSD-2-Clause */
/* The connections of one relay, and the branches that wait for one, in order. */
#include "route/relay/relay_pool.h"

#include <assert.h>

#include "route/carrier.h"
#include "route/relay/relay_asker.h"
#include "route/relay/relay_connect.h"
#include "route/relay/relay_identity.h"
#include "route/relay/relay_learnt.h"
#include "route/relay/relay_link.h"
#include "route/relay/relay_private.h"

#define KEPT_PART 8 /* of the connections: for nets that hold less than that themselves */

static uint64_t now_ms(const struct relay *r)
{
    return loop_now_ms(r->service->loop);
}

/* ---- the line ---- */

/* For which client net it waits and holds a connection. */
static uint64_t net_of(const struct relay_asker *a)
{
    return a->carrier->is_spooled ? RELAY_LINE_QUEUE : relay_line_key(&a->carrier->client->client);
}

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
    return r->line.held_count + relay_share_used_elsewhere(r) + coming + kept(r) <
           r->conf->limits.max_connections;
}

/* `coming` others are before it, `own` of them of its own net. Only a net that holds much has to
 * look at what other processes hold. */
static bool may_have_one(const struct relay *r, uint64_t net_key, unsigned own, unsigned coming)
{
    assert(own <= coming);
    return kept(r) == 0 || r->line.held_count + coming < kept(r) ||
           relay_line_held(&r->line, net_key) + own < kept(r) || is_open_to_all(r, coming);
}

/* Whose turn it is, and then whose. NULL: nobody's. */
static struct relay_asker *next_waiting(const struct relay *r, const struct relay_asker *after)
{
    unsigned share = relay_pool_share(r);
    struct relay_waiter *waiter;

    if (share > kept(r) && kept(r) != 0 && !is_open_to_all(r, 0))
        share = kept(r);
    waiter = relay_line_next(&r->line, share, after == NULL ? NULL : &after->waiter);
    return waiter == NULL ? NULL : CONTAINER_OF(waiter, struct relay_asker, waiter);
}

static void enter_line(struct relay_asker *a)
{
    assert(!a->is_waiting);
    a->is_waiting = true;
    relay_line_enter(&a->relay->line, &a->waiter, net_of(a));
}

static void leave_line(struct relay_asker *a)
{
    assert(a->is_waiting);
    a->is_waiting = false;
    relay_line_leave(&a->relay->line, &a->waiter);
}

/* For its client's own connection: one transaction has ended, and the target owes an answer. */
static void wait_for_own(struct relay_asker *a, struct relay_link *link)
{
    a->is_waiting = true;
    list_append(&link->pooled.waiting, &a->waiter.in_net);
}

static void leave_own(struct relay_asker *a)
{
    assert(a->is_waiting);
    a->is_waiting = false;
    list_remove(&a->waiter.in_net);
}

void relay_pool_leave(struct relay_asker *a)
{
    if (a->waiter.net == NULL) {
        leave_own(a);
        return;
    }
    leave_line(a);
    if (a->relay->line.waiting_count == 0)
        relay_share_wait(a->relay, false);
    if (a->dial != NULL)
        relay_connect_cancel(a->dial);
}

bool relay_pool_is_busy_for(const struct relay_asker *a)
{
    const struct relay *r = a->relay;

    assert(a->is_waiting);
    return !may_have_one(r, a->waiter.net->key, 0, 0) ||
           (r->dial_count == 0 && relay_share_is_full(r));
}

/* Is there room for one more connection? If not, room is made where a connection lies idle. */
static bool make_room(struct relay *r)
{
    if (!relay_share_is_over(r, 1) && relay_share_reserve(r))
        return true;
    if (!relay_stock_make_room(r))
        relay_share_look_later(r);
    return false;
}

/* `link` has left the pool for good: it belongs to one client now, or this is its last transaction.
 * The next one should be ready. */
static bool needs_successor(struct relay *r, const struct relay_link *link)
{
    bool is_last = link->out.transactions >= relay_stock_transactions_max(link);

    return is_last || (now_ms(r) < r->warm_until_ms && relay_learnt_has_xclient(r));
}

static void lend(struct relay_asker *a, struct relay_link *link)
{
    assert(link->pooled.lot != RELAY_LOT_BUSY);
    relay_stock_lend(link, relay_line_hold(&a->relay->line, net_of(a)));
    a->ops->start(a, link);
}

/* One idle connection, to the first for whom it will do. NULL: there is none, or nobody. */
static struct relay_link *hand_out_one(struct relay *r)
{
    struct relay_asker *a = next_waiting(r, NULL);

    for (; a != NULL && r->stock.idle_count != 0; a = next_waiting(r, a)) {
        if (!may_have_one(r, a->waiter.net->key, 0, 0))
            break;
        struct relay_link *link = relay_stock_find_idle(r, a->carrier, &a->again);
        if (link == NULL)
            continue;
        leave_line(a);
        lend(a, link);
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

/* So many dials are on their way to whoever waits first. */
static unsigned ownerless_dials(const struct relay *r)
{
    return relay_identity_proxy(r->conf) != 0 ? 0 : r->dial_count;
}

/* Behind `coming` others to whom a connection comes. `own_out`: so many of them are of its net,
 * whose waiters stand next to each other. */
static struct relay_asker *first_without_dial(const struct relay *r, unsigned coming,
                                              unsigned *own_out)
{
    struct relay_asker *a = next_waiting(r, NULL), *next;

    *own_out = 0;
    for (; a != NULL && (a->dial != NULL || coming != 0); a = next) {
        next = next_waiting(r, a);
        if (a->dial != NULL)
            continue;
        coming--;
        *own_out = next != NULL && next->waiter.net == a->waiter.net ? *own_out + 1 : 0;
    }
    return a;
}

static void on_dial_over(struct relay *r, const struct relay_dial_user *user)
{
    if (user->asker == NULL)
        return;
    relay_line_let_go(&r->line, user->net);
    user->asker->dial = NULL;
}

/* `asker` NULL: whoever waits first hears of it, or all where nobody can be helped. */
static void on_missed(struct relay *r, struct relay_asker *asker, const struct reply *reply,
                      enum relay_failure how)
{
    bool is_hopeless = relay_endpoints_are_down(&r->endpoints) ||
                       relay_endpoints_refusal(&r->endpoints) != REPLY_OK;
    struct relay_asker *a;

    if (asker != NULL) {
        asker->ops->fail(asker, reply, how);
        return;
    }
    while ((a = next_waiting(r, NULL)) != NULL) {
        a->ops->fail(a, reply, how);
        if (!is_hopeless)
            break;
    }
    relay_pool_serve_later(r);
}

/* False: no memory. */
static bool dial(struct relay *r, struct relay_asker *a)
{
    struct relay_dial_user user = {.asker = a};
    struct relay_dial *d;

    if (a != NULL) {
        user.client = a->carrier;
        user.net = relay_line_hold(&r->line, net_of(a));
    }
    d = relay_connect_new(r, &user);
    if (d == NULL) {
        struct reply reply = reply_own(REPLY_LOCAL_PROBLEM);
        on_dial_over(r, &user);
        on_missed(r, a, &reply, RELAY_VERDICT);
        return false;
    }
    if (a != NULL)
        a->dial = d;
    relay_connect_begin(d);
    return true;
}

/* Does somebody wait for a connection that other processes must give up? Not who may not have it,
 * nor who gets the place of one that is leaving here. */
static bool needs_others(const struct relay *r)
{
    unsigned own, coming = ownerless_dials(r) + r->leaving_count;
    struct relay_asker *a;

    if (r->dial_count + r->leaving_count >= r->line.waiting_count)
        return false;
    a = first_without_dial(r, coming, &own);
    return a != NULL && may_have_one(r, a->waiter.net->key, own, coming);
}

/* Dials for those who wait and for whom no dial has begun. A dial that has an owner is counted as
 * held by its net, any other is on its way to somebody. */
static void dial_more(struct relay *r)
{
    bool is_own = relay_identity_proxy(r->conf) != 0, is_begun = true, is_kept_out = false;
    unsigned own;

    while (is_begun && r->dial_count < r->line.waiting_count) {
        unsigned coming = ownerless_dials(r);
        struct relay_asker *a = first_without_dial(r, coming, &own);
        if (a == NULL)
            break;
        is_kept_out = !may_have_one(r, a->waiter.net->key, own, coming);
        if (is_kept_out || !make_room(r))
            break;
        is_begun = dial(r, is_own ? a : NULL);
        relay_share_tell(r);
    }
    if (is_kept_out)
        relay_share_look_later(r);
    relay_share_wait(r, needs_others(r));
}

/* Those who wait get what is idle, or are dialled for. Never reports. */
static void serve(struct relay *r)
{
    if (r->is_serving || r->is_closing)
        return;
    r->is_serving = true;
    hand_out(r);
    dial_more(r);
    relay_stock_keep(r);
    r->is_serving = false;
}

static void on_post(void *owner)
{
    serve(owner);
}

void relay_pool_serve_starving(struct relay *r)
{
    r->share.has_turn = true;
    serve(r);
    r->share.has_turn = false;
}

void relay_pool_serve_later(struct relay *r)
{
    if (r->line.waiting_count != 0 && !r->is_closing)
        loop_post(r->service->loop, &r->post, on_post, r);
}

/* ---- asking ---- */

static struct relay_link *take(struct relay *r, const struct relay_asker *a)
{
    struct relay_link *link = relay_stock_find_bound(r, a->carrier, &a->again);

    if (link == NULL && r->line.waiting_count == 0 && may_have_one(r, net_of(a), 0, 0))
        link = relay_stock_find_idle(r, a->carrier, &a->again);
    return link;
}

/* Without it the target would not know the client, and with any other it would judge us. */
static void fail_own(struct relay_asker *a)
{
    struct reply lost = reply_own(REPLY_TARGET_LOST);

    a->ops->fail(a, &lost, RELAY_VERDICT);
}

static void ask_for_own(struct relay_asker *a)
{
    struct relay_link *link = a->carrier->login.connection;

    assert(!a->is_waiting);
    if (link == NULL || a->relay->is_closing)
        fail_own(a);
    else if (relay_link_is_used(link) || !outbound_is_idle(&link->out))
        wait_for_own(a, link);
    else
        a->ops->start(a, link);
}

static struct relay_asker *first_for_own(struct relay_link *link)
{
    struct list *first = list_first(&link->pooled.waiting);

    return first == NULL ? NULL : LIST_ENTRY(first, struct relay_asker, waiter.in_net);
}

/* It is idle again. */
static void serve_own(struct relay_link *link)
{
    struct relay_asker *a = first_for_own(link);

    if (link->client == NULL || link->relay->is_closing) {
        relay_link_quit(link);
    } else if (a != NULL) {
        leave_own(a);
        a->ops->start(a, link);
        relay_link_drain_later(link);
    }
}

void relay_pool_ask(struct relay_asker *a)
{
    struct relay *r = a->relay;

    if (relay_asker_has_login(a)) {
        ask_for_own(a);
        return;
    }
    struct reply down = reply_own(REPLY_TARGET_DOWN);
    struct relay_link *link = r->is_closing ? NULL : take(r, a);

    assert(!a->is_waiting);
    if (link != NULL) {
        lend(a, link);
        if (needs_successor(r, link))
            relay_pool_warm(r);
        return;
    }
    if (r->is_closing || relay_endpoints_are_down(&r->endpoints)) {
        a->ops->fail(a, &down, RELAY_BREAKDOWN);
        return;
    }
    enter_line(a);
    serve(r);
}

/* ---- connections that come and go ---- */

void relay_pool_give(struct relay_link *link)
{
    struct relay *r = link->relay;

    if (link->pooled.lot == RELAY_LOT_APART) {
        serve_own(link);
        return;
    }
    link->pooled.may_be_dead = link->pooled.may_be_dead || link->out.transactions != 0;
    if (!relay_stock_may_serve_again(link) || (link->is_bound && link->client == NULL) ||
        relay_share_is_over(r, 0)) {
        relay_link_quit(link);
        return;
    }
    relay_stock_lay(link, !link->is_bound);
    if (link->is_bound)
        relay_pool_serve_later(r);
    else
        serve(r);
}

/* It may be needed again before the target has answered. */
static void on_busy(struct relay_link *link)
{
    if (link->pooled.lot != RELAY_LOT_APART)
        relay_stock_lend(link, NULL);
}

static void on_left(struct relay_link *link)
{
    struct relay_asker *a;

    relay_stock_forget(link);
    while ((a = first_for_own(link)) != NULL) {
        leave_own(a);
        fail_own(a);
    }
}

static void on_closed(struct relay_link *link)
{
    relay_share_tell(link->relay);
    relay_pool_serve_later(link->relay);
}

static const struct relay_link_home link_home = {
    .idle = relay_pool_give,
    .busy = on_busy,
    .left = on_left,
    .closed = on_closed,
};

static void on_got(struct relay_link *link, struct relay_asker *asker)
{
    struct relay *r = link->relay;

    if (r->is_closing) {
        relay_link_quit(link);
    } else if (asker != NULL) {
        leave_line(asker);
        lend(asker, link);
        relay_link_drain_later(link);
    } else {
        relay_stock_lay(link, true);
        serve(r);
    }
}

static const struct relay_dial_ops dial_ops = {
    .over = on_dial_over,
    .got = on_got,
    .missed = on_missed,
};

/* ---- the relay ---- */

/* Is there a connection, or a dial, for nobody yet? Those that wait while only the kept connections
 * are left are not counted, since they may not have it. */
static bool has_one_ready(const struct relay *r)
{
    unsigned ready = r->stock.idle_count + r->dial_count;

    if (ready == 0 || ready > r->line.waiting_count)
        return ready != 0;
    return kept(r) != 0 && !is_open_to_all(r, ready);
}

void relay_pool_warm(struct relay *r)
{
    const struct relay_limits *limits = &r->conf->limits;

    if (r->is_closing || relay_identity_proxy(r->conf) != 0 || limits->idle_connections == 0 ||
        relay_endpoints_are_down(&r->endpoints))
        return;
    r->warm_until_ms = now_ms(r) + r->conf->times.idle_ms;
    if (has_one_ready(r) || relay_share_is_over(r, 1) || !relay_share_reserve(r))
        return;
    dial(r, NULL);
    relay_share_tell(r);
}

void relay_pool_init(struct relay *r)
{
    list_init(&r->links);
    list_init(&r->dials);
    r->link_home = &link_home;
    r->dial_ops = &dial_ops;
    relay_stock_init(r);
    relay_line_init(&r->line, loop_hash_key(r->service->loop));
}

void relay_pool_close(struct relay *r)
{
    struct reply down = reply_own(REPLY_TARGET_DOWN);
    struct relay_asker *a;

    loop_unpost(r->service->loop, &r->post);
    while ((a = next_waiting(r, NULL)) != NULL)
        a->ops->fail(a, &down, RELAY_BREAKDOWN);
    relay_stock_close(r);
}
