/* SPDX-License-Identifier: BSD-2-Clause */
/* A relay: its life, and what the carrier of a transaction asks of its branches. */
#include "route/relay/relay.h"

#include <assert.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "route/relay/relay_auth.h"
#include "route/relay/relay_branch.h"
#include "route/relay/relay_branch_private.h"
#include "route/relay/relay_check.h"
#include "route/relay/relay_connect.h"
#include "route/relay/relay_identity.h"
#include "route/relay/relay_link.h"
#include "route/relay/relay_login.h"
#include "route/relay/relay_memory.h"
#include "route/relay/relay_pool.h"
#include "route/relay/relay_private.h"
#include "route/relay/relay_tls.h"
#include "route/relay/relay_recipient.h"
#include "route/relay/relay_yield.h"

/* ---- a branch ---- */

static uint64_t now_ms(const struct relay_branch *w)
{
    return loop_now_ms(w->asker.carrier->loop);
}

static void on_open(struct carrier *c, struct branch *b)
{
    struct relay_branch *w = arena_alloc(b->transaction->mail, sizeof(*w));

    b->facts.target = target_section(b->target);
    if (w == NULL)
        return;
    relay_branch_init(w, c, b);
    b->shell = w;
}

static void note_asked(struct relay_branch *w, struct recipient *rcpt)
{
    w->pace.recipients++;
    if (w->unanswered++ != 0)
        return;
    w->mark = rcpt;
    relay_branch_owe_answer(w);
    relay_pace_asked(&w->pace, now_ms(w));
}

/* Does the target decide, perhaps, what this client may do? */
static bool may_judge(const struct relay_branch *w)
{
    return relay_identity_may_judge(w->asker.relay->conf) || relay_asker_has_login(&w->asker);
}

static void on_rcpt(struct branch *b, struct recipient *rcpt)
{
    struct relay_branch *w = b->shell;

    assert(rcpt->branch == b && rcpt != w->last);
    w->last = rcpt;
    if (rcpt->envelope == FATE_OPEN)
        note_asked(w, rcpt);
    else if (!relay_recipient_stands(rcpt)) /* somebody else has answered it */
        return;
    switch (w->state) {
    case RELAY_BRANCH_NEW:
        if (w->asker.is_waiting)
            break;
        if (rcpt->guard != REPLY_OK && !may_judge(w))
            w->has_guarded = true;
        else
            relay_branch_ask(w);
        break;
    case RELAY_BRANCH_ACTIVE:
        relay_branch_send(w, rcpt);
        break;
    case RELAY_BRANCH_NAMING:
    case RELAY_BRANCH_FAILED:
        break;
    }
    relay_branch_update_deadline(w);
}

static void on_go(struct branch *b)
{
    struct relay_branch *w = b->shell;

    assert(!w->wants_data);
    w->wants_data = true;
    if (w->state == RELAY_BRANCH_ACTIVE)
        outbound_data(&w->link->out);
}

/* It has no connection, and waits for none. */
static bool has_nothing(const struct relay_branch *w)
{
    return w->state == RELAY_BRANCH_NEW && !w->asker.is_waiting;
}

static void on_end(struct branch *b)
{
    struct relay_branch *w = b->shell;

    assert(w->wants_data && !w->content.is_end_released);
    w->content.is_end_released = true;
    if (has_nothing(w)) /* the connection was taken back meanwhile */
        relay_branch_ask(w);
}

static void on_drop(struct branch *b)
{
    if (b->shell != NULL)
        relay_branch_detach(b->shell);
}

/* Its connection was taken back until the message is whole, and now the copy waits for it. */
static bool is_needed_again(const struct relay_branch *w)
{
    return has_nothing(w) && w->wants_data && w->asker.carrier->copy != NULL &&
           copy_waits_for_readers(w->asker.carrier->copy);
}

static void on_flush(struct branch *b)
{
    struct relay_branch *w = b->shell;

    if (!relay_branch_report_due(w))
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

    if (link->pooled.lot == RELAY_LOT_BOUND)
        relay_link_quit(link);
    else
        relay_link_unbind(link);
}

/* ---- the target ---- */

static struct relay *relay_of(struct target *target)
{
    return CONTAINER_OF(target, struct relay, target);
}

static void on_probe(struct target *target)
{
    relay_endpoints_probe(&relay_of(target)->endpoints);
}

/* Binary messages go by BDAT alone. */
static struct capability on_capabilities(struct target *target)
{
    const struct relay *r = relay_of(target);
    struct capability caps = relay_learnt_caps(r);

    if (!r->outbound.uses_chunking || !capability_has(&caps, CAPABILITY_CHUNKING))
        caps.keywords &= ~(uint32_t)CAPABILITY_BINARYMIME;
    return caps;
}

static void on_warm(struct target *target)
{
    relay_pool_warm(relay_of(target));
}

static struct target_view on_view(struct target *target)
{
    struct relay *r = relay_of(target);
    relay_endpoints_resolve(
        &r->endpoints); /* operators want to see addresses that nobody has used */
    struct target_view view = {
        .connections = relay_share_connections(r),
        .idle = r->stock.idle_count,
        .waiting = r->line.waiting_count,
        .addresses = r->endpoints.count,
        .addresses_down = relay_endpoints_down_count(&r->endpoints),
        .announced = relay_learnt_caps(r),
    };
    bool is_met = view.announced.keywords != 0 || view.connections != 0;

    view.state = relay_endpoints_are_down(&r->endpoints) ? "down" : is_met ? "up" : "unknown";
    relay_memory_count(r->service->memory, target->name, &view.accepted, &view.refused);
    return view;
}

static bool on_is_down(struct target *target)
{
    return relay_endpoints_are_down(&relay_of(target)->endpoints);
}

static bool on_address(struct target *target, unsigned index, struct target_address *address_out)
{
    const struct relay *r = relay_of(target);

    if (index >= r->endpoints.count)
        return false;
    relay_endpoint_describe(&r->endpoints.at[index], loop_now_ms(r->service->loop), address_out);
    return true;
}

/* Closes idle connections with QUIT, and the others when their branches are gone. */
static void on_close(struct target *target)
{
    struct relay *r = relay_of(target);

    r->is_closing = true;
    relay_endpoints_close(&r->endpoints);
    relay_connect_cancel_all(r);
    loop_unpost(r->service->loop, &r->up_post);
    relay_share_stop(r);
    relay_pool_close(r);
}

static void on_abort(struct target *target)
{
    LIST_EACH (at, &relay_of(target)->links)
        relay_link_close(LIST_ENTRY(at, struct relay_link, in_relay));
}

static void on_free(struct target *target)
{
    struct relay *r = relay_of(target);

    relay_share_leave(r);
    relay_line_done(&r->line);
    relay_endpoints_done(&r->endpoints);
    relay_tls_done(r);
    mem_free(r);
}

static const struct target_ops target_ops = {
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
    .warm = on_warm,
    .login = &relay_login_ops,
    .is_down = on_is_down,
    .view = on_view,
    .address = on_address,
    .close = on_close,
    .abort = on_abort,
    .free = on_free,
};

/* ---- what becomes of its addresses ---- */

static void on_resolved(struct relay_endpoints *e)
{
    struct relay *r = CONTAINER_OF(e, struct relay, endpoints);

    relay_connect_resolved(r);
    relay_pool_serve_later(r);
}

static void on_probe_wanted(struct relay_endpoints *e, const struct stream_target *to)
{
    relay_connect_probe(CONTAINER_OF(e, struct relay, endpoints), to);
}

static void on_up_post(void *owner)
{
    struct relay *r = owner;

    if (r->service->came_up != NULL)
        r->service->came_up(r->service->owner, &r->target);
}

/* Soon: branches may be in the midst of something. */
static void on_up(struct relay_endpoints *e)
{
    struct relay *r = CONTAINER_OF(e, struct relay, endpoints);

    relay_pool_serve_later(r);
    loop_post(r->service->loop, &r->up_post, on_up_post, r);
}

static const struct relay_endpoints_ops endpoints_ops = {
    .resolved = on_resolved,
    .probe = on_probe_wanted,
    .up = on_up,
};

/* ---- what becomes of its share ---- */

static void on_others_wait(struct relay *r, unsigned count)
{
    relay_yield_to_others(r, count);
}

/* Who does not move, or has too many, gives connections up; but not for those who can be served as
 * it is. */
static void on_starving(struct relay *r)
{
    relay_pool_serve_starving(r);
    relay_yield_to_waiting(r);
}

static const struct relay_share_ops share_ops = {
    .others_wait = on_others_wait,
    .starving = on_starving,
};

/* ---- the kind ---- */

static int make_implicit(struct bytes host, struct bytes helo, struct arena *arena,
                         const void **conf_out)
{
    struct relay_conf *conf = arena_alloc(arena, sizeof(*conf));

    if (conf == NULL)
        return ERR_MEMORY;
    *conf_out = conf;
    return relay_conf_implicit(host, helo, arena, conf);
}

static bool is_blind(const void *conf)
{
    return !relay_identity_may_judge(conf);
}

static const void *member(const void *settings, size_t index)
{
    const struct relay_conf *conf = settings;

    return index < conf->group.member_count ? &conf->group.members[index] : NULL;
}

static struct target describe(const void *settings)
{
    const struct relay_conf *conf = settings;
    struct rendezvous_node node = {.weight = 0};

    if (conf->group.whole != NULL)
        node = rendezvous_node(conf->group.address, conf->addresses.at->weight);
    return (struct target){
        .kind = &relay_kind,
        .conf = conf,
        .name = conf->section,
        .may_spool = conf->on_failure == RELAY_ON_FAILURE_SPOOL,
        .defers_unverified = conf->recipients.unverified == RELAY_UNVERIFIED_DEFER,
        .answers_each = conf->protocol == RELAY_LMTP,
        .takes_logins = !relay_auth_is_needed(conf) && member(conf, 0) == NULL,
        .queue = &conf->queue,
        .filters = &conf->filters,
        .fails_over = conf->fails_over,
        .node = node,
    };
}

static struct target *open_target(struct target_services *services, const void *settings)
{
    const struct relay_conf *conf = settings;
    struct relay_service *service = services->relays;
    struct relay *r = mem_zalloc(sizeof(*r));

    if (r == NULL)
        return NULL;
    r->target = describe(conf);
    r->target.ops = &target_ops;
    r->conf = conf;
    r->service = service;
    r->outbound = relay_link_conf(conf);
    relay_log_init(&r->log, service, conf);
    relay_pool_init(r);
    relay_share_join(r, &share_ops);
    if (service->memory != NULL)
        r->learnt.known =
            relay_memory_limit(service->memory, r->target.name, &conf->recipients.remember);
    if (relay_endpoints_init(&r->endpoints, &endpoints_ops, service, conf, &r->log) == 0 &&
        (service->memory == NULL || r->learnt.known != NULL))
        return &r->target;
    on_free(&r->target);
    return NULL;
}

static int load(struct setting_reading *section)
{
    int error = relay_tls_load(section);

    return error != 0 ? error : relay_auth_load(section);
}

const struct target_kind relay_kind = {
    .section = &relay_conf_section,
    .is_relay = true,
    .finish = relay_conf_finish,
    .load = load,
    .secrets = relay_tls_files,
    .secret = relay_auth_secret,
    .make_implicit = make_implicit,
    .is_blind = is_blind,
    .check = relay_check,
    .member = member,
    .describe = describe,
    .open = open_target,
};
