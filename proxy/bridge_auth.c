/* SPDX-License-Identifier: BSD-2-Clause */
/* AUTH: the client's exchange with Dovecot, who knows its password. */
#include "proxy/bridge.h"
#include "proxy/dovecot.h"
#include "proxy/services.h"
#include "proxy/smtp/sasl.h"

#define RESPONSE_MAX (DOVECOT_LINE_MAX - 1024) /* octets: what Dovecot takes beside the rest */

struct bridge_auth {
    struct bridge *bridge;
    struct dovecot_call call;
};

static struct bridge *bridge_of(struct dovecot_call *call)
{
    return CONTAINER_OF(call, struct bridge_auth, call)->bridge;
}

/* NULL: no memory. */
static struct dovecot_call *call_of(struct bridge *b)
{
    if (b->auth == NULL)
        b->auth = mem_zalloc(sizeof(*b->auth));
    if (b->auth == NULL)
        return NULL;
    b->auth->bridge = b;
    return &b->auth->call;
}

void bridge_auth_forget(struct bridge *b)
{
    if (b->auth != NULL)
        dovecot_forget(&b->auth->call);
    mem_free(b->auth);
    b->auth = NULL;
}

/* ---- what is offered ---- */

/* `b` may be gone after this, where nothing is being drained. */
static void tell_mechanisms(struct bridge *b)
{
    session_feed(&b->session,
                 &(struct session_event){.kind = SESSION_EV_MECHANISMS,
                                         .mechanisms = dovecot_mechanisms(b->smtpd->dovecot)});
    carrier_drain(&b->carrier);
}

static void on_settled(struct dovecot_call *call)
{
    tell_mechanisms(bridge_of(call));
}

static const struct dovecot_call_use mechanisms_use = {.settled = on_settled};

void bridge_auth_offer(struct bridge *b)
{
    struct dovecot_call *call = call_of(b);

    if (call == NULL || dovecot_is_settled(b->smtpd->dovecot))
        tell_mechanisms(b);
    else
        dovecot_await(b->smtpd->dovecot, call, &mechanisms_use);
}

/* ---- the exchange ---- */

/* As above. */
static void answer(struct bridge *b, const struct reply *reply)
{
    session_feed(&b->session, &(struct session_event){.kind = SESSION_EV_ANSWER, .reply = *reply});
    carrier_drain(&b->carrier);
}

static void refuse(struct bridge *b, enum reply_id id, struct bytes login)
{
    struct reply reply = reply_own(id);

    bridge_log_auth_failed(b, &reply, login);
    answer(b, &reply);
}

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
    answer(b, &reply);
    buf_done(&wire);
}

/* Targets were told of somebody who had no login. */
static void accept(struct bridge *b, struct bytes login)
{
    carrier_let_go(&b->carrier);
    session_feed(&b->session, &(struct session_event){.kind = SESSION_EV_AUTHENTICATED,
                                                      .bytes = login,
                                                      .reply = reply_own(REPLY_AUTHENTICATED)});
    bridge_log_auth(b);
    carrier_drain(&b->carrier);
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
        refuse(b, REPLY_AUTH_AWAY, bytes_make(NULL, 0));
    else if (said->kind == DOVECOT_AUTH_CHALLENGE)
        challenge(b, said->challenge);
    else if (said->kind == DOVECOT_AUTH_OK)
        accept(b, said->user);
    else
        refuse(b, reply_to(said->failure), said->user);
}

static void begin(struct bridge *b);

static void on_ready(struct dovecot_call *call)
{
    if (session_awaits(&bridge_of(call)->session, SESSION_ACT_AUTH))
        begin(bridge_of(call));
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
        refuse(b, REPLY_AUTH_AWAY, bytes_make(NULL, 0));
}

void bridge_auth_step(struct bridge *b)
{
    const struct session_sasl sasl = session_sasl(&b->session);
    struct dovecot_call *call = call_of(b);

    if (call == NULL || sasl.response.len > RESPONSE_MAX) {
        bridge_auth_forget(b);
        refuse(b, call == NULL ? REPLY_AUTH_AWAY : REPLY_AUTH_TOO_LONG, bytes_make(NULL, 0));
    } else if (!sasl.is_first) {
        if (!dovecot_continue(call, sasl.response))
            refuse(b, REPLY_AUTH_AWAY, bytes_make(NULL, 0));
    } else {
        dovecot_forget(call);
        if (dovecot_is_settled(b->smtpd->dovecot))
            begin(b);
        else
            dovecot_await(b->smtpd->dovecot, call, &exchange_use);
    }
}
