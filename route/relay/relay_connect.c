/* SPDX-License-Identifier: BSD-2-Clause */
/* One attempt to get a connection that is greeted and EHLOed: address after address. */
#include "route/relay/relay_connect.h"

#include "proxy/base/error.h"
#include "route/relay/relay_branch.h"
#include "route/relay/relay_endpoint.h"
#include "route/relay/relay_identity.h"
#include "route/relay/relay_link.h"
#include "route/relay/relay_log.h"
#include "route/relay/relay_memory.h"
#include "route/relay/relay_pool.h"
#include "route/relay/relay_private.h"

static void end(struct relay_dial *d)
{
    struct relay *r = d->relay;

    list_remove(&d->in_relay);
    r->reserved -= d->link == NULL;
    relay_host_tell(r);
    r->dial_count -= !d->is_probe;
    if (d->user != NULL) {
        relay_line_let_go(&r->line, d->net);
        d->user->dial = NULL;
    }
    mem_free(d);
}

static void set_link(struct relay_dial *d, struct relay_link *link)
{
    struct relay *r = d->relay;

    r->reserved += (link == NULL) - (d->link == NULL);
    d->link = link;
}

static void miss(struct relay_dial *d, const struct reply *reply, bool is_words)
{
    struct relay *r = d->relay;
    struct relay_branch *user = d->user;
    bool is_probe = d->is_probe;

    end(d);
    if (!is_probe)
        relay_pool_miss(r, user, reply, is_words);
}

static void miss_own(struct relay_dial *d, enum reply_id id, bool is_words)
{
    struct reply reply = reply_own(id);
    miss(d, &reply, is_words);
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
    for (unsigned i = 0; i < known->count; i++) {
        const struct relay_endpoint *endpoint = &known->at[(d->start + i) % known->count];
        if (!endpoint->is_down && !was_tried(d, &endpoint->to))
            return &endpoint->to;
    }
    return NULL;
}

static void go_on(struct relay_dial *d)
{
    const struct stream_target *to = next_endpoint(d);
    struct relay_link *link;
    int error;

    if (to == NULL) {
        enum reply_id refusal = relay_endpoints_refusal(&d->relay->endpoints);
        miss_own(d, refusal == REPLY_OK ? REPLY_TARGET_DOWN : refusal, refusal != REPLY_OK);
        return;
    }
    d->tried[d->tried_count++] = *to;
    link = relay_link_open(d, to, d->user == NULL ? NULL : d->user->carrier, &error);
    if (link == NULL) /* a shortage of ours: other addresses would not help */
        miss_own(d, REPLY_LOCAL_PROBLEM, true);
    else
        set_link(d, link);
}

static struct relay_dial *dial_new(struct relay *r)
{
    struct relay_dial *d = mem_zalloc(sizeof(*d));

    if (d == NULL)
        return NULL;
    d->relay = r;
    list_append(&r->dials, &d->in_relay);
    r->reserved++;
    relay_host_tell(r);
    return d;
}

bool relay_connect_begin(struct relay *r, struct relay_branch *user)
{
    struct relay_dial *d = dial_new(r);

    if (d == NULL) {
        struct reply reply = reply_own(REPLY_LOCAL_PROBLEM);
        relay_pool_miss(r, user, &reply, true);
        return false;
    }
    r->dial_count++;
    if (r->conf->balance == RELAY_BALANCE_ROUND_ROBIN)
        d->start = r->endpoints.turn++;
    d->user = user;
    if (user != NULL) {
        user->dial = d;
        d->net = relay_line_hold(&r->line, relay_branch_net(user));
    }
    d->is_asleep = !relay_endpoints_resolve(&r->endpoints);
    if (!d->is_asleep)
        go_on(d);
    return true;
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
    relay_pool_serve_later(r);
}

/* ---- what the connection has to say ---- */

static void learn(struct relay *r, const struct capability *caps)
{
    struct relay_learnt *learnt = &r->learnt;

    if (!learnt->has_caps || learnt->caps.keywords != caps->keywords)
        r->service->caps_generation++;
    learnt->caps = *caps;
    learnt->has_caps = true;
    if (!capability_has(caps, CAPABILITY_XCLIENT) || r->conf->is_implicit)
        return;
    learnt->has_announced_xclient = true;
    if (r->service->memory != NULL)
        relay_memory_note_xclient(r->service->memory, r->target.name);
}

void relay_connect_ready(struct relay_dial *d)
{
    struct relay *r = d->relay;
    struct relay_branch *user = d->user;
    struct relay_link *link = d->link;
    bool is_useless = d->is_probe && relay_identity_proxy(r->conf) != 0;

    if (!outbound_is_idle(&link->out)) { /* more was said than there was to say */
        relay_link_close(link);
        relay_connect_broke(d, ERR_GARBAGE, NULL);
        return;
    }
    end(d); /* the link is counted by itself */
    link->dial = NULL;
    learn(r, &link->out.caps);
    relay_endpoints_worked(&r->endpoints, &link->to);
    if (is_useless)
        relay_link_quit(link);
    else
        relay_pool_add(link, user);
}

/* A target that serves others at this address and will not greet one more is busy, not down. */
static bool serves_others(const struct relay *r, const struct stream_target *to)
{
    LIST_EACH (at, &r->links) {
        const struct relay_link *link = LIST_ENTRY(at, struct relay_link, in_relay);
        bool is_greeted = link->state == RELAY_LINK_BUSY || link->state == RELAY_LINK_BOUND ||
                          link->state == RELAY_LINK_IDLE;
        if (is_greeted && relay_endpoint_equal(&link->to, to))
            return true;
    }
    return false;
}

void relay_connect_broke(struct relay_dial *d, int error, const struct outbound_event *ev)
{
    struct stream_target to = d->link->to;
    bool has_spoken = ev != NULL && ev->reply.wire.len != 0;

    set_link(d, NULL);
    if (ev != NULL && ev->why == GONE_VERDICT) { /* it is there, and has spoken: no fail-over */
        relay_endpoints_worked(&d->relay->endpoints, &to);
        miss(d, &ev->reply, true);
        return;
    }
    if (ev != NULL && ev->why == GONE_SHORTAGE) {
        relay_log_shortage(&d->relay->log, NULL);
        miss_own(d, REPLY_LOCAL_PROBLEM, true);
        return;
    }
    if (!has_spoken || ev->reply.code == 0 || !serves_others(d->relay, &to))
        relay_endpoints_failed(&d->relay->endpoints, &to, error, has_spoken ? &ev->reply : NULL);
    go_on(d);
}

void relay_connect_own(struct relay_dial *d)
{
    struct stream_target to = d->link->to;

    set_link(d, NULL);
    relay_endpoints_strike(&d->relay->endpoints, &to);
    go_on(d);
}
