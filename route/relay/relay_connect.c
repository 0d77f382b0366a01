/* SPDX-License-Identifier: BSD-2-Clause */
/* One attempt to get a connection that is greeted and EHLOed: address after address. */
#include "route/relay/relay_connect.h"

#include <assert.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "route/relay/relay_endpoint.h"
#include "route/relay/relay_share.h"
#include "route/relay/relay_identity.h"
#include "route/relay/relay_learnt.h"
#include "route/relay/relay_link.h"
#include "route/relay/relay_own.h"
#include "route/relay/relay_private.h"

static const struct relay_link_events link_events;

static void end(struct relay_dial *d)
{
    struct relay *r = d->relay;

    list_remove(&d->in_relay);
    r->reserved -= d->link == NULL;
    relay_share_tell(r);
    if (!d->is_probe) {
        assert(r->dial_count != 0);
        r->dial_count--;
        r->dial_ops->over(r, &d->user);
    }
    mem_free(d);
}

static void set_link(struct relay_dial *d, struct relay_link *link)
{
    struct relay *r = d->relay;

    r->reserved += (link == NULL) - (d->link == NULL);
    d->link = link;
}

static void miss(struct relay_dial *d, const struct reply *reply, enum relay_failure how)
{
    struct relay *r = d->relay;
    struct relay_asker *asker = d->user.asker;
    bool is_probe = d->is_probe;

    end(d);
    if (!is_probe)
        r->dial_ops->missed(r, asker, reply, how);
}

static void miss_own(struct relay_dial *d, enum reply_id id, enum relay_failure how)
{
    struct reply reply = reply_own(id);
    miss(d, &reply, how);
}

static bool was_tried(const struct relay_dial *d, const struct stream_target *to)
{
    for (unsigned i = 0; i < d->tried_count; i++)
        if (relay_endpoint_equal(&d->tried[i], to))
            return true;
    return false;
}

/* The next address that may be tried; NULL: none is left. */
static const struct stream_target *next_endpoint(const struct relay_dial *d)
{
    const struct relay_endpoints *known = &d->relay->endpoints;

    if (d->tried_count == RELAY_ENDPOINTS_MAX)
        return NULL;
    if (d->is_probe)
        return d->tried_count == 0 ? &d->probed : NULL;
    if (known->count == 0)
        return NULL;
    unsigned start = relay_endpoints_position(known, d->turn);
    unsigned count = d->relay->conf->fails_over ? known->count : 1;
    for (unsigned i = 0; i < count; i++) {
        const struct relay_endpoint *endpoint = &known->at[(start + i) % known->count];
        if (!relay_health_is_down(&endpoint->health) && !was_tried(d, &endpoint->to))
            return &endpoint->to;
    }
    return NULL;
}

static void open_link(struct relay_dial *d, const struct stream_target *to, enum relay_link_tls tls)
{
    int error;
    struct relay_link *link =
        relay_link_open(d->relay, &(struct relay_link_user){.events = &link_events, .who = d}, to,
                        tls, d->user.client, &error);

    if (link == NULL) /* a shortage of ours: other addresses would not help */
        miss_own(d, REPLY_LOCAL_PROBLEM, RELAY_VERDICT);
    else
        set_link(d, link);
}

static void go_on(struct relay_dial *d)
{
    const struct stream_target *to = next_endpoint(d);

    if (to == NULL) {
        enum reply_id refusal = relay_endpoints_refusal(&d->relay->endpoints);
        if (refusal == REPLY_OK)
            miss_own(d, REPLY_TARGET_DOWN, RELAY_BREAKDOWN);
        else
            miss_own(d, refusal, RELAY_VERDICT);
        return;
    }
    assert(d->tried_count < RELAY_ENDPOINTS_MAX);
    d->tried[d->tried_count++] = *to;
    open_link(d, to, RELAY_LINK_TLS_AS_SET);
}

static struct relay_dial *dial_new(struct relay *r)
{
    struct relay_dial *d = mem_zalloc(sizeof(*d));

    if (d == NULL)
        return NULL;
    d->relay = r;
    list_append(&r->dials, &d->in_relay);
    r->reserved++;
    relay_share_tell(r);
    return d;
}

struct relay_dial *relay_connect_new(struct relay *r, const struct relay_dial_user *user)
{
    struct relay_dial *d = dial_new(r);

    assert((user->asker == NULL) == (user->client == NULL));
    if (d == NULL)
        return NULL;
    r->dial_count++;
    if (r->conf->balance == RELAY_BALANCE_ROUND_ROBIN)
        d->turn = r->endpoints.turn++;
    d->user = *user;
    return d;
}

void relay_connect_begin(struct relay_dial *d)
{
    d->is_asleep = !relay_endpoints_resolve(&d->relay->endpoints);
    if (!d->is_asleep)
        go_on(d);
}

void relay_connect_probe(struct relay *r, const struct stream_target *to)
{
    struct relay_dial *d;

    LIST_EACH (at, &r->dials) {
        const struct relay_dial *other = LIST_ENTRY(at, struct relay_dial, in_relay);
        if (other->is_probe && relay_endpoint_equal(&other->probed, to))
            return;
    }
    d = dial_new(r);
    if (d == NULL)
        return;
    d->is_probe = true;
    d->probed = *to;
    go_on(d);
}

void relay_connect_cancel(struct relay_dial *d)
{
    if (d->link != NULL)
        relay_link_close(d->link);
    end(d);
}

void relay_connect_cancel_all(struct relay *r)
{
    struct list *first;

    while ((first = list_first(&r->dials)) != NULL)
        relay_connect_cancel(LIST_ENTRY(first, struct relay_dial, in_relay));
}

static struct relay_dial *next_asleep(struct relay *r)
{
    LIST_EACH (at, &r->dials) {
        struct relay_dial *d = LIST_ENTRY(at, struct relay_dial, in_relay);
        if (d->is_asleep)
            return d;
    }
    return NULL;
}

void relay_connect_resolved(struct relay *r)
{
    struct relay_dial *d;

    while ((d = next_asleep(r)) != NULL) {
        d->is_asleep = false;
        go_on(d);
    }
}

/* ---- what the connection has to say ---- */

/* False: nobody needs it, or it leads to ourselves. */
static bool on_connected(void *user)
{
    struct relay_dial *d = user;
    struct relay_link *link = d->link;
    struct netaddr peer = stream_peer(link->stream), local = stream_local(link->stream);
    struct stream_target to = link->to;

    if (link->is_bound && link->client == NULL) { /* the client that it was for is gone */
        relay_connect_cancel(d);
        return false;
    }
    if (!relay_own_is_connection(d->relay->service, &peer, &local))
        return true;
    relay_link_close(link);
    set_link(d, NULL);
    relay_endpoints_strike(&d->relay->endpoints, &to);
    go_on(d);
    return false;
}

/* A target that serves others at this address and will not greet one more is busy, not down. */
static bool serves_others(const struct relay *r, const struct stream_target *to)
{
    LIST_EACH (at, &r->links) {
        const struct relay_link *link = LIST_ENTRY(at, struct relay_link, in_relay);
        if (link->state == RELAY_LINK_OPEN && relay_endpoint_equal(&link->to, to))
            return true;
    }
    return false;
}

/* What need not be encrypted is tried in plain, once. */
static bool may_go_plain(const struct relay_dial *d, int error)
{
    const struct relay *r = d->relay;
    bool may = r->conf->tls.mode == RELAY_TLS_MAY;

    if (!relay_link_is_securing(d->link) || error == ERR_MEMORY)
        return false;
    relay_log_tls_failed(&r->log, &d->link->to, error, stream_tls_problem(d->link->stream), may);
    return may;
}

static void on_lost(void *user, int error, const struct outbound_event *ev)
{
    struct relay_dial *d = user;
    struct stream_target to = d->link->to;
    bool has_spoken = ev != NULL && ev->reply.wire.len != 0;
    bool goes_plain = may_go_plain(d, error);

    set_link(d, NULL);
    if (goes_plain) {
        open_link(d, &to, RELAY_LINK_TLS_NONE);
        return;
    }
    if (ev != NULL && ev->why == GONE_VERDICT) { /* it is there, and has spoken: no fail-over */
        relay_endpoints_worked(&d->relay->endpoints, &to);
        miss(d, &ev->reply, RELAY_VERDICT);
        return;
    }
    if (error == ERR_MEMORY) { /* the target is not to blame */
        relay_log_shortage(&d->relay->log, NULL);
        miss_own(d, REPLY_LOCAL_PROBLEM, RELAY_VERDICT);
        return;
    }
    if (!has_spoken || ev->reply.code == 0 || !serves_others(d->relay, &to))
        relay_endpoints_failed(&d->relay->endpoints, &to, error, has_spoken ? &ev->reply : NULL);
    go_on(d);
}

static void on_ready(void *user)
{
    struct relay_dial *d = user;
    struct relay *r = d->relay;
    struct relay_asker *asker = d->user.asker;
    struct relay_link *link = d->link;
    bool is_useless = d->is_probe && relay_identity_proxy(r->conf) != 0;

    if (!outbound_is_idle(&link->out)) { /* more was said than there was to say */
        relay_link_close(link);
        on_lost(d, ERR_GARBAGE, NULL);
        return;
    }
    end(d); /* the link is counted by itself */
    relay_link_let_go(link);
    relay_learnt_note(r, &link->out.caps);
    relay_endpoints_worked(&r->endpoints, &link->to);
    if (is_useless)
        relay_link_quit(link);
    else
        r->dial_ops->got(link, asker);
}

static const struct relay_link_events link_events = {
    .connected = on_connected,
    .ready = on_ready,
    .lost = on_lost,
};
