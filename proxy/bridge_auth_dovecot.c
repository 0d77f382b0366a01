/* SPDX-License-Identifier: BSD-2-Clause */
/* AUTH: the client's exchange with Dovecot, who knows its password. */
#include "proxy/bridge_auth_private.h"
#include "proxy/services.h"
#include "proxy/smtp/sasl.h"

#define RESPONSE_MAX (DOVECOT_LINE_MAX - 1024) /* octets: what Dovecot takes beside the rest */

static struct bridge *bridge_of(struct dovecot_call *call)
{
    return CONTAINER_OF(call, struct bridge_auth, call)->bridge;
}

static void forget(struct bridge_auth *auth)
{
    dovecot_forget(&auth->call);
}

/* ---- what is offered ---- */

static uint32_t mechanisms(const struct smtpd *d)
{
    return dovecot_mechanisms(d->dovecot);
}

static void on_settled(struct dovecot_call *call)
{
    struct bridge *b = bridge_of(call);

    bridge_auth_tell_mechanisms(b, mechanisms(b->smtpd));
    carrier_drain(&b->carrier);
}

static const struct dovecot_call_use mechanisms_use = {.settled = on_settled};

static void offer(struct bridge_auth *auth)
{
    struct dovecot *dovecot = auth->bridge->smtpd->dovecot;

    if (dovecot_is_settled(dovecot))
        on_settled(&auth->call);
    else
        dovecot_await(dovecot, &auth->call, &mechanisms_use);
}

/* ---- the exchange ---- */

static void challenge(struct bridge *b, struct bytes text)
{
    struct reply reply = {.code = 334};
    struct buf wire;

    buf_init(&wire, &loop_pools(b->carrier.loop)->medium, text.len + 8);
    buf_text(&wire, "334 ");
    buf_put(&wire, text);
    buf_text(&wire, "\r\n");
    reply.wire = buf_bytes(&wire);
    if (wire.has_failed)
        reply = reply_own(REPLY_AUTH_AWAY);
    bridge_auth_answer(b, &reply);
    buf_done(&wire);
}

static void accept(struct bridge *b, struct bytes login)
{
    const struct reply reply = reply_own(REPLY_AUTHENTICATED);

    bridge_auth_accept(b, login, &reply);
}

static void refuse(struct bridge *b, enum reply_id id, struct bytes login)
{
    const struct reply reply = reply_own(id);

    bridge_auth_refuse(b, &reply, login);
}

static enum reply_id reply_to(enum dovecot_auth_failure failure)
{
    switch (failure) {
    case DOVECOT_AUTH_TEMPORARY:
        return REPLY_AUTH_AWAY;
    case DOVECOT_AUTH_DISABLED:
        return REPLY_AUTH_DISABLED;
    case DOVECOT_AUTH_REFUSED:
        break;
    }
    return REPLY_AUTH_FAILED;
}

static void on_answered(struct dovecot_call *call, const struct dovecot_auth_said *said)
{
    struct bridge *b = bridge_of(call);

    if (!session_awaits(&b->session, SESSION_ACT_AUTH))
        return;
    if (said == NULL)
        bridge_auth_refuse_own(b, REPLY_AUTH_AWAY);
    else if (said->kind == DOVECOT_AUTH_CHALLENGE)
        challenge(b, said->challenge);
    else if (said->kind == DOVECOT_AUTH_OK)
        accept(b, said->user);
    else
        refuse(b, reply_to(said->failure), said->user);
    carrier_drain(&b->carrier);
}

static void begin(struct bridge *b);

static void on_ready(struct dovecot_call *call)
{
    struct bridge *b = bridge_of(call);

    if (!session_awaits(&b->session, SESSION_ACT_AUTH))
        return;
    begin(b);
    carrier_drain(&b->carrier);
}

static const struct dovecot_call_use exchange_use = {.settled = on_ready, .answered = on_answered};

static void begin(struct bridge *b)
{
    const struct session_sasl sasl = session_sasl(&b->session);
    const struct dovecot_auth_client client = {.who = &b->session.client,
                                               .session = bytes_of(b->id.text)};
    const struct dovecot_request request = {.mechanism = sasl.mechanism,
                                            .client = &client,
                                            .has_response = sasl.has_response,
                                            .response = sasl.response};

    if (!dovecot_begin(b->smtpd->dovecot, &b->auth->call, &exchange_use, &request))
        bridge_auth_refuse_own(b, REPLY_AUTH_AWAY);
}

static void step(struct bridge_auth *auth)
{
    struct bridge *b = auth->bridge;
    const struct session_sasl sasl = session_sasl(&b->session);

    if (sasl.response.len > RESPONSE_MAX) {
        forget(auth);
        bridge_auth_refuse_own(b, REPLY_AUTH_TOO_LONG);
    } else if (!sasl.is_first) {
        if (!dovecot_continue(&auth->call, sasl.response))
            bridge_auth_refuse_own(b, REPLY_AUTH_AWAY);
    } else {
        dovecot_forget(&auth->call);
        if (dovecot_is_settled(b->smtpd->dovecot))
            begin(b);
        else
            dovecot_await(b->smtpd->dovecot, &auth->call, &exchange_use);
    }
}

const struct bridge_auth_way bridge_auth_dovecot = {
    .mechanisms = mechanisms, .offer = offer, .step = step, .forget = forget};
