/* SPDX-License-Identifier: BSD-2-Clause */
/* The test's own ends of connections: clients of postern, and its targets. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/error.h"
#include "tests/sim/world.h"

/* ---- what comes ---- */

static void receive(struct sim_peer *p)
{
    size_t most = sim_end_readable(p->end);

    if (most > 1 && p->world->ways.cuts && sim_below(p->world, 3) != 0)
        most = 1 + (size_t)sim_below(p->world, most);
    sim_put(&p->received, bytes_first(sim_end_peek(p->end), most));
    sim_end_consume(p->end, most);
}

/* ---- what goes ---- */

/* How much the next piece has; all of it is sent at once, or as much as fits. */
static size_t next_piece(struct sim_peer *p)
{
    size_t left = p->sending.len - p->sent, space = sim_end_space(p->end);

    if (p->cuts_always)
        left = left > 0 ? 1 : 0;
    else if (p->sent < p->cut_at && p->cut_at < p->sending.len)
        left = p->cut_at - p->sent;
    return left < space || p->end->other->is_closed ? left : space;
}

static void end_if_all_is_sent(struct sim_peer *p)
{
    if (p->sent < p->sending.len || p->end == NULL)
        return;
    if (p->wants_shutdown)
        sim_end_shutdown(p->end);
    p->wants_shutdown = false;
    if (!p->wants_close)
        return;
    sim_end_close(p->end, false);
    p->end = NULL;
}

static void send_some(struct sim_peer *p)
{
    if (p->state == SIM_PEER_ASKED || p->end == NULL || p->is_held)
        return;
    while (p->sent < p->sending.len && !p->is_held) {
        size_t len = next_piece(p);
        if (len == 0)
            break;
        p->sent += sim_end_write(p->end, bytes_make(p->sending.at + p->sent, len));
        p->is_held = p->sent < p->sending.len && (p->cuts_always || p->sent == p->cut_at);
        p->world->holds_peers = p->world->holds_peers || p->is_held;
    }
    end_if_all_is_sent(p);
}

bool sim_peers_go_on(struct sim *w)
{
    bool has_any = false;

    if (!w->holds_peers)
        return false;
    w->holds_peers = false;
    LIST_EACH (link, &w->peers) {
        struct sim_peer *p = LIST_ENTRY(link, struct sim_peer, link);
        if (!p->is_held)
            continue;
        p->is_held = false;
        send_some(p);
        has_any = true;
    }
    return has_any;
}

static void tell_asked(struct sim_peer *p)
{
    if (p->world->asked.fn == NULL || p->asked_by == NULL || p->is_told)
        return;
    p->is_told = true;
    p->world->asked.fn(p->world->asked.owner, p);
}

static void on_event(struct sim_event *e)
{
    struct sim_peer *p = CONTAINER_OF(e, struct sim_peer, event);

    if (p->state == SIM_PEER_ASKED)
        tell_asked(p);
    if (p->end == NULL)
        return;
    if (!p->is_deaf && sim_end_readable(p->end) > 0)
        receive(p);
    if (p->end->in.has_reset)
        p->was_reset = true;
    if (!p->is_deaf && sim_end_readable(p->end) == 0 && p->end->in.has_fin)
        p->has_eof = true;
    send_some(p);
    if (p->end != NULL && !p->is_deaf && sim_end_readable(p->end) > 0)
        sim_ready(p->world, e);
    if (p->news != NULL)
        p->news(p->news_owner);
}

void sim_on_news(struct sim_peer *p, void (*fn)(void *owner), void *owner)
{
    p->news = fn;
    p->news_owner = owner;
}

void sim_on_asked(struct sim *w, void (*fn)(void *owner, struct sim_peer *p), void *owner)
{
    w->asked.fn = fn;
    w->asked.owner = owner;
}

/* ---- beginning ---- */

static struct sim_peer *peer_new(struct sim *w)
{
    struct sim_peer *p = sim_alloc(sizeof(*p));

    p->world = w;
    p->event.fn = on_event;
    list_init(&p->event.link);
    list_append(&w->peers, &p->link);
    return p;
}

static void give_end(struct sim_peer *p, struct sim_end *end)
{
    p->end = end;
    p->state = SIM_PEER_OPEN;
    end->reader = &p->event;
}

static struct sim_peer *connect_to(struct sim *w, const struct netaddr *from,
                                   const struct netaddr *to, struct sim_bound *bound)
{
    struct sim_conn *c;
    struct sim_peer *p;

    if (bound == NULL || bound->listener == NULL)
        return NULL;
    c = sim_conn_new(w, from, to);
    p = peer_new(w);
    give_end(p, &c->ends[0]);
    sim_listener_arrive(bound->listener, &c->ends[1]);
    return p;
}

struct sim_peer *sim_connect(struct sim *w, const struct netaddr *from, const struct netaddr *to)
{
    return connect_to(w, from, to, sim_bound_at(w, to));
}

struct sim_peer *sim_connect_path(struct sim *w, const char *path)
{
    struct netaddr nowhere = {.family = NETADDR_NONE};

    return connect_to(w, &nowhere, &nowhere, sim_bound_at_path(w, path));
}

void sim_ask_targets(struct sim *w, bool asks)
{
    w->asked.asks = asks;
}

struct sim_peer *sim_peer_asked(struct loop *l, struct stream *by, const char *address)
{
    struct sim_peer *p = peer_new(l->world);

    snprintf(p->address, sizeof(p->address), "%s", address);
    p->asked_by = by;
    p->asking = l->process;
    sim_ready(l->world, &p->event);
    return p;
}

struct sim_peer *sim_target(struct sim *w, unsigned index)
{
    LIST_EACH (link, &w->peers) {
        struct sim_peer *p = LIST_ENTRY(link, struct sim_peer, link);
        if (p->address[0] != '\0' && index-- == 0)
            return p;
    }
    return NULL;
}

const char *sim_target_address(const struct sim_peer *p)
{
    return p->address;
}

void sim_accept(struct sim_peer *p)
{
    struct netaddr from, to;
    struct sim_conn *c;

    if (p->state != SIM_PEER_ASKED)
        sim_fault("accepted twice");
    if (p->asked_by == NULL) {
        p->state = SIM_PEER_ENDED;
        return;
    }
    from = stream_local(p->asked_by);
    to = stream_peer(p->asked_by);
    c = sim_conn_new(p->world, &from, &to);
    c->ends[0].process = p->asking;
    give_end(p, &c->ends[1]);
    sim_stream_answer(p->asked_by, &c->ends[0], 0);
    p->asked_by = NULL;
    send_some(p);
}

void sim_refuse(struct sim_peer *p, int error)
{
    if (p->asked_by != NULL)
        sim_stream_answer(p->asked_by, NULL, error);
    p->asked_by = NULL;
    p->state = SIM_PEER_ENDED;
}

enum sim_peer_state sim_peer_state(const struct sim_peer *p)
{
    return p->state;
}

bool sim_is_orphan(const struct sim_peer *p)
{
    return p->is_orphan;
}

/* ---- what the test does with it ---- */

bool sim_may_send(const struct sim_peer *p)
{
    return p->state != SIM_PEER_ENDED && !p->is_shut;
}

void sim_send(struct sim_peer *p, struct bytes octets)
{
    if (!sim_may_send(p))
        sim_fault("sent behind the end");
    sim_put(&p->sending, octets);
    send_some(p);
}

uint64_t sim_pending(const struct sim_peer *p)
{
    return p->sending.len - p->sent;
}

uint64_t sim_unread(const struct sim_peer *p)
{
    return sim_pending(p) + (p->end == NULL ? 0 : sim_end_readable(p->end->other));
}

void sim_shutdown(struct sim_peer *p)
{
    p->wants_shutdown = !p->is_shut;
    p->is_shut = true;
    end_if_all_is_sent(p);
}

void sim_close(struct sim_peer *p)
{
    p->state = SIM_PEER_ENDED;
    p->wants_close = true;
    end_if_all_is_sent(p);
}

void sim_reset(struct sim_peer *p)
{
    p->state = SIM_PEER_ENDED;
    p->sent = p->sending.len;
    p->is_held = false;
    if (p->end != NULL)
        sim_end_close(p->end, true);
    p->end = NULL;
}

void sim_close_garbled(struct sim_peer *p)
{
    p->sent = p->sending.len;
    if (p->end != NULL)
        p->end->other->in.is_garbled = true;
    sim_close(p);
}

void sim_set_reading(struct sim_peer *p, bool is_reading)
{
    p->is_deaf = !is_reading;
    if (is_reading)
        sim_ready(p->world, &p->event);
}

struct bytes sim_received(const struct sim_peer *p)
{
    return bytes_skip(bytes_make(p->received.at, p->received.len), p->taken);
}

void sim_take(struct sim_peer *p, size_t octets)
{
    p->taken += octets;
    if (p->taken == p->received.len)
        p->taken = p->received.len = 0;
}

bool sim_has_eof(const struct sim_peer *p)
{
    return p->has_eof;
}

bool sim_was_reset(const struct sim_peer *p)
{
    return p->was_reset;
}

void sim_cut_at(struct sim_peer *p, uint64_t offset)
{
    p->cut_at = offset;
}

void sim_cut_always(struct sim_peer *p)
{
    p->cuts_always = true;
}

void sim_peers_free(struct sim *w)
{
    LIST_EACH (link, &w->peers) {
        struct sim_peer *p = LIST_ENTRY(link, struct sim_peer, link);
        if (p->end != NULL)
            sim_end_close(p->end, true);
        list_remove(&p->event.link);
        list_remove(link);
        free(p->received.at);
        free(p->sending.at);
        free(p);
    }
}
