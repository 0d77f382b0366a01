/* SPDX-License-Identifier: BSD-2-Clause */
/* What hangs on who the client is. It is decided when a connection comes, and once more when who is
 * in front has said for whom it speaks. */
#include "proxy/bridge.h"
#include "proxy/etrn.h"
#include "proxy/services.h"

static uint32_t rights_of(const struct smtpd_conf *conf, const struct netaddr *client)
{
    return (etrn_may_ask(&conf->etrn_from, client) ? CAPABILITY_ETRN : 0U) |
           (setting_nets_hold(&conf->fronts.xclient, client)
                ? (uint32_t)CAPABILITY_XCLIENT | CAPABILITY_XRCPTFORWARD
                : 0U) |
           (setting_nets_hold(&conf->fronts.xforward, client) ? CAPABILITY_XFORWARD : 0U);
}

/* Envelopes are counted for a net; what was counted goes along. */
static void move_net(struct bridge *b)
{
    struct copy_limits *limits = &b->smtpd->services->copies;
    struct copy_net *net = copy_net_of(limits, &b->session.client.client);

    if (b->envelope_bytes != 0) {
        copy_count_envelope(limits, b->net, -(int64_t)b->envelope_bytes);
        copy_count_envelope(limits, net, (int64_t)b->envelope_bytes);
    }
    b->net = net;
}

void bridge_client_decide(struct bridge *b)
{
    struct smtpd *d = b->smtpd;
    const struct netaddr *client = &b->session.client.client;
    bool is_exempt = setting_nets_hold(&d->conf->bare_newline_exempt, client);

    b->session.conf = is_exempt ? &d->lenient : &d->strict;
    /* Who may say for whom it speaks has something to say of each recipient behind that as well. */
    b->session.peer.may &= CAPABILITY_XRCPTFORWARD;
    b->session.peer.may |= rights_of(d->conf, client);
    b->carrier.resolve_by_ms = loop_now_ms(b->carrier.loop) + d->conf->times.resolve_ms;
    b->carrier.login.at = d->login_at;
    move_net(b);
}

/* The connection counts for the client that it is said to be from. */
static enum reply_id count_anew(struct bridge *b)
{
    smtpd_count_out(b->smtpd, b->counted);
    return smtpd_count_in(b->smtpd, &b->session.client.client, &b->counted);
}

/* However long the connection lingers, it is not one of the client's. */
void bridge_client_turn_away(struct bridge *b, enum reply_id id)
{
    struct session_action refusal = {.kind = SESSION_ACT_REJECT, .reply = reply_own(id)};

    smtpd_count_out(b->smtpd, b->counted);
    b->counted = NULL;
    bridge_log_reject(b, &refusal);
    session_turn_away(&b->session, id);
}

void bridge_client_meet(struct bridge *b, const struct proxy_header *header, enum reply_id id)
{
    struct smtpd *d = b->smtpd;

    assert(b->state == BRIDGE_HEADER);
    b->state = BRIDGE_OPEN;
    b->session_end_ms = loop_now_ms(b->carrier.loop) + d->conf->times.session_ms;
    b->times.connected = loop_precise_us(b->carrier.loop);
    bridge_client_decide(b);
    bridge_log_connect(b, header);
    if (d->conf->tls.mode == SMTPD_TLS_IMPLICIT) {
        session_expect_tls(&b->session); /* from here on nothing can be said in plain */
        if (id == REPLY_OK && d->handshakes.is_full)
            id = REPLY_TLS_BUSY;
    }
    if (id != REPLY_OK) {
        bridge_client_turn_away(b, id);
        return;
    }
    bridge_name_ask(b);
    offer_warm(&d->offer);
    if (b->session.state == SESSION_NEW)
        bridge_client_greet(b);
}

void bridge_client_greet(struct bridge *b)
{
    if (b->smtpd->conf->times.greet_delay_ms == 0)
        session_greet(&b->session);
}

void bridge_client_asserted(struct bridge *b, uint32_t attributes)
{
    enum reply_id id = REPLY_OK;

    bridge_auth_forget(b);
    carrier_let_go(&b->carrier);
    bridge_filter_end(b); /* filters see another client */
    bridge_client_decide(b);
    if ((attributes & ATTRIBUTE_ADDR) != 0)
        id = count_anew(b);
    if ((attributes & (ATTRIBUTE_ADDR | ATTRIBUTE_NAME)) != 0)
        bridge_name_forget(b);
    bridge_log_asserted(b);
    if (b->session.state != SESSION_NEW) /* it ends, since we are shutting down */
        return;
    if (id != REPLY_OK) {
        bridge_client_turn_away(b, id);
        return;
    }
    if ((attributes & (ATTRIBUTE_ADDR | ATTRIBUTE_NAME)) == ATTRIBUTE_ADDR)
        bridge_name_ask(b);
    session_greet(&b->session);
}
