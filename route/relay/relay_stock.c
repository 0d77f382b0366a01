/* SPDX-License-Identifier: BSD-2-Clause */
/* The connections of one relay that are greeted: which lie idle, for whom, and how long. */
#include "route/relay/relay_stock.h"

#include <assert.h>

#include "route/carrier.h"
#include "route/relay/relay_line.h"
#include "route/relay/relay_link.h"
#include "route/relay/relay_private.h"

#define AGE_MAX_MS   300000 /* of a connection, when it is looked at between transactions */
#define REFUSALS_MAX 5      /* the target's count of errors must not fall on the next client */

static uint64_t now_ms(const struct relay *r)
{
    return loop_now_ms(r->service->loop);
}

static struct relay_link *link_of(struct list *at)
{
    return LIST_ENTRY(at, struct relay_link, pooled.in_lot);
}

/* ---- which connection may serve once more ---- */

uint32_t relay_stock_transactions_max(const struct relay_link *link)
{
    uint32_t ours = link->relay->conf->limits.max_transactions;
    uint32_t theirs = link->out.caps.limits.mails;

    return theirs != 0 && theirs < ours ? theirs : ours;
}

bool relay_stock_may_serve_again(const struct relay_link *link)
{
    const struct relay *r = link->relay;

    return !r->is_closing && link->out.transactions < relay_stock_transactions_max(link) &&
           link->out.refusals < REFUSALS_MAX && now_ms(r) - link->opened_ms < AGE_MAX_MS &&
           outbound_is_idle(&link->out);
}

/* XCLIENT comes first on a connection, or never. */
static bool is_stale_for_xclient(const struct relay_link *link, const struct carrier *client,
                                 const struct relay_again *again)
{
    unsigned identity = link->relay->conf->identity;

    if (client->is_spooled)
        identity |= client->spooled_identity;
    return link->out.transactions != 0 && !again->avoids_xclient &&
           (identity & (IDENTITY_KIND_AUTO | IDENTITY_KIND_XCLIENT)) != 0 &&
           capability_has(&link->out.caps, CAPABILITY_XCLIENT);
}

/* A fresh one that was never idle needs no look at the kernel. */
static bool is_quiet(struct relay_link *link)
{
    return !link->pooled.may_be_dead || stream_is_quiet(link->stream);
}

struct relay_link *relay_stock_find_idle(struct relay *r, const struct carrier *client,
                                         const struct relay_again *again)
{
    LIST_EACH (at, &r->stock.idle) {
        struct relay_link *link = link_of(at);
        if (again->needs_fresh && link->pooled.may_be_dead)
            continue;
        if (!relay_stock_may_serve_again(link) || is_stale_for_xclient(link, client, again))
            relay_link_quit(link);
        else if (!is_quiet(link))
            relay_link_close(link);
        else
            return link;
    }
    return NULL;
}

struct relay_link *relay_stock_find_bound(struct relay *r, const struct carrier *client,
                                          const struct relay_again *again)
{
    LIST_EACH (at, &client->holds) {
        struct carrier_hold *hold = LIST_ENTRY(at, struct carrier_hold, in_carrier);
        if (hold->target != &r->target || again->needs_fresh)
            continue;
        struct relay_link *link = CONTAINER_OF(hold, struct relay_link, hold);
        if (link->pooled.lot != RELAY_LOT_BOUND)
            continue;
        if (!relay_stock_may_serve_again(link) || !relay_link_fits(link, client->client))
            relay_link_quit(link);
        else if (!stream_is_quiet(link->stream))
            relay_link_close(link);
        else
            return link;
    }
    return NULL;
}

/* ---- from one lot into another ---- */

static void set_lot(struct relay_link *link, enum relay_link_lot lot)
{
    struct relay *r = link->relay;
    struct relay_stock *s = &r->stock;

    list_remove(&link->pooled.in_lot);
    if (link->pooled.net != NULL)
        relay_line_let_go(&r->line, link->pooled.net);
    link->pooled.net = NULL;
    assert(link->pooled.lot != RELAY_LOT_IDLE || s->idle_count != 0);
    s->idle_count -= link->pooled.lot == RELAY_LOT_IDLE;
    s->idle_count += lot == RELAY_LOT_IDLE;
    link->pooled.lot = lot;
    if (lot == RELAY_LOT_IDLE)
        list_prepend(&s->idle, &link->pooled.in_lot);
    else if (lot == RELAY_LOT_BOUND || lot == RELAY_LOT_BUSY)
        list_append(lot == RELAY_LOT_BOUND ? &s->bound : &s->busy, &link->pooled.in_lot);
}

void relay_stock_lay(struct relay_link *link, bool is_for_all)
{
    struct relay *r = link->relay;

    assert(link->state == RELAY_LINK_OPEN && !relay_link_is_used(link) && !r->is_closing);
    link->pooled.idle_ms = now_ms(r);
    set_lot(link, is_for_all ? RELAY_LOT_IDLE : RELAY_LOT_BOUND);
    if (!is_for_all && r->stock.bound.next == &link->pooled.in_lot)
        deadline_set(r->service->loop, &r->stock.bound_deadline,
                     link->pooled.idle_ms + r->conf->times.idle_ms);
}

void relay_stock_lend(struct relay_link *link, struct relay_net *net)
{
    assert(link->state == RELAY_LINK_OPEN);
    set_lot(link, RELAY_LOT_BUSY);
    link->pooled.net = net;
}

void relay_stock_set_apart(struct relay_link *link)
{
    struct relay_net *net = link->pooled.net;

    assert(link->pooled.lot == RELAY_LOT_BUSY);
    link->pooled.net = NULL; /* it is counted on */
    set_lot(link, RELAY_LOT_APART);
    link->pooled.net = net;
}

void relay_stock_forget(struct relay_link *link)
{
    set_lot(link, RELAY_LOT_NONE);
}

/* ---- those that nobody needs ---- */

void relay_stock_keep(struct relay *r)
{
    struct relay_stock *s = &r->stock;

    if (s->idle_count > r->conf->limits.idle_connections)
        relay_stock_thin_out(r, s->idle_count - r->conf->limits.idle_connections);
    if (list_is_empty(&s->idle))
        return;
    LIST_EACH (at, &s->idle) {
        if (link_of(at)->pooled.may_be_dead)
            break;
        link_of(at)->pooled.may_be_dead = true;
    }
    deadline_set(r->service->loop, &s->idle_deadline,
                 link_of(s->idle.prev)->pooled.idle_ms + r->conf->times.idle_ms);
}

void relay_stock_thin_out(struct relay *r, unsigned count)
{
    for (; count > 0 && !list_is_empty(&r->stock.idle); count--)
        relay_link_quit(link_of(r->stock.idle.prev));
}

void relay_stock_make_way(struct relay *r)
{
    relay_stock_thin_out(r, r->stock.idle_count);
    while (!list_is_empty(&r->stock.bound))
        relay_link_quit(link_of(r->stock.bound.next));
}

bool relay_stock_make_room(struct relay *r)
{
    struct relay_stock *s = &r->stock;
    struct list *oldest = !list_is_empty(&s->bound)  ? s->bound.next
                          : !list_is_empty(&s->idle) ? s->idle.prev
                                                     : NULL;

    if (oldest != NULL)
        relay_link_quit(link_of(oldest));
    return oldest != NULL;
}

/* ---- deadlines ---- */

/* True: it was too old, and quits. */
static bool ends_if_old(struct relay *r, struct deadline *deadline, struct relay_link *oldest)
{
    uint64_t due_ms = oldest->pooled.idle_ms + r->conf->times.idle_ms;
    bool is_old = due_ms <= now_ms(r);

    if (is_old)
        relay_link_quit(oldest);
    else
        deadline_set(r->service->loop, deadline, due_ms);
    return is_old;
}

static void on_idle_deadline(struct deadline *deadline)
{
    struct relay *r = CONTAINER_OF(deadline, struct relay, stock.idle_deadline);
    struct list *idle = &r->stock.idle;

    while (!list_is_empty(idle) && ends_if_old(r, deadline, link_of(idle->prev)))
        ;
}

static void on_bound_deadline(struct deadline *deadline)
{
    struct relay *r = CONTAINER_OF(deadline, struct relay, stock.bound_deadline);
    struct list *bound = &r->stock.bound;

    while (!list_is_empty(bound) && ends_if_old(r, deadline, link_of(bound->next)))
        ;
}

static const struct deadline_use idle_use = {.reached = on_idle_deadline};
static const struct deadline_use bound_use = {.reached = on_bound_deadline};

/* ---- life ---- */

void relay_stock_init(struct relay *r)
{
    struct relay_stock *s = &r->stock;

    list_init(&s->idle);
    list_init(&s->bound);
    list_init(&s->busy);
    deadline_init(&s->idle_deadline, &idle_use);
    deadline_init(&s->bound_deadline, &bound_use);
}

void relay_stock_close(struct relay *r)
{
    assert(r->is_closing);
    deadline_clear(r->service->loop, &r->stock.idle_deadline);
    deadline_clear(r->service->loop, &r->stock.bound_deadline);
    relay_stock_make_way(r);
    LIST_EACH (at, &r->stock.busy)
        if (!relay_link_is_used(link_of(at))) /* answers that nobody waits for */
            relay_link_close(link_of(at));
}
