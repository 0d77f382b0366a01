/* SPDX-License-Identifier: BSD-2-Clause */
/* Relays as targets: what the carrier of a transaction asks of a branch. */
#include "route/relay/relay.h"

#include "route/relay/relay_branch.h"
#include "route/relay/relay_health.h"
#include "route/relay/relay_identity.h"
#include "route/relay/relay_link.h"
#include "route/relay/relay_pool.h"
#include "route/relay/relay_tell.h"

static uint64_t now_ms(const struct relay_branch *w)
{
    return loop_now_ms(w->carrier->loop);
}

static void on_open(struct carrier *c, struct branch *b)
{
    struct relay_branch *w = arena_alloc(b->transaction->mail, sizeof(*w));

    b->facts.target = b->target->name;
    if (w == NULL)
        return;
    relay_branch_init(w, c, b);
    b->shell = w;
}

static void on_rcpt(struct branch *b, struct recipient *r)
{
    struct relay_branch *w = b->shell;

    w->last = r;
    if (r->envelope != FATE_OPEN) /* somebody else has answered it */
        return;
    w->pace.recipients++;
    if (w->unanswered++ == 0) {
        w->mark = r;
        w->envelope_due_ms = now_ms(w) + w->relay->conf->times.envelope_ms;
        relay_pace_asked(&w->pace, now_ms(w));
    }
    switch (w->state) {
    case RELAY_BRANCH_NEW:
        if (r->guard != REPLY_OK && !relay_identity_may_judge(w->relay->conf))
            w->has_guarded = true;
        else
            relay_branch_ask(w);
        break;
    case RELAY_BRANCH_ACTIVE:
        relay_branch_send(w, r);
        break;
    case RELAY_BRANCH_WAITING:
    case RELAY_BRANCH_NAMING:
    case RELAY_BRANCH_FAILED:
        break;
    }
    relay_branch_update_deadline(w);
}

static void on_go(struct branch *b)
{
    struct relay_branch *w = b->shell;

    w->wants_data = true;
    if (w->state == RELAY_BRANCH_ACTIVE)
        outbound_data(&w->link->out);
}

static void on_end(struct branch *b)
{
    struct relay_branch *w = b->shell;

    w->is_end_released = true;
    if (w->state == RELAY_BRANCH_NEW) /* the connection was taken back meanwhile */
        relay_branch_ask(w);
}

static void on_drop(struct branch *b)
{
    if (b->shell != NULL)
        relay_tell_detach(b->shell);
}

/* Its connection was taken back until the message is whole, and now the copy waits for it. */
static bool is_needed_again(const struct relay_branch *w)
{
    return w->state == RELAY_BRANCH_NEW && w->wants_data && w->carrier->copy != NULL &&
           copy_waits_for_readers(w->carrier->copy);
}

static void on_flush(struct branch *b)
{
    struct relay_branch *w = b->shell;

    if (!relay_tell_due(w))
        return;
    if (is_needed_again(w))
        relay_branch_ask(w);
    if (w->link != NULL)
        relay_link_drain(w->link);
}

static void on_named(struct branch *b)
{
    struct relay_branch *w = b->shell;

    if (w != NULL && w->state == RELAY_BRANCH_NAMING)
        relay_branch_named(w);
}

/* A connection that is bound to the client by XCLIENT or PROXY. */
static void on_let_go(struct carrier_hold *hold)
{
    struct relay_link *link = CONTAINER_OF(hold, struct relay_link, hold);

    if (link->state == RELAY_LINK_BOUND)
        relay_link_quit(link);
    else
        relay_link_unbind(link);
}

static void on_probe(struct target *t)
{
    relay_health_probe(CONTAINER_OF(t, struct relay, target));
}

static uint32_t on_capabilities(struct target *t)
{
    return relay_capabilities(CONTAINER_OF(t, struct relay, target));
}

const struct target_ops relay_ops = {
    .kind = "relay",
    .open = on_open,
    .rcpt = on_rcpt,
    .go = on_go,
    .end = on_end,
    .drop = on_drop,
    .flush = on_flush,
    .named = on_named,
    .let_go = on_let_go,
    .probe = on_probe,
    .capabilities = on_capabilities,
};

struct relay_view relay_view(const struct relay *r)
{
    return (struct relay_view){
        .is_down = relay_health_is_down(r),
        .connections = relay_host_connections(r),
        .idle = r->idle_count,
        .waiting = r->line.waiting_count,
        .addresses = r->places.count,
        .addresses_down = r->places.down_count,
    };
}
