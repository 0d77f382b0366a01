/* SPDX-License-Identifier: BSD-2-Clause */
/* AUTH: the client's exchange with a target, in both sides' own words. */
#include <stdio.h>

#include "proxy/bridge_auth_private.h"
#include "proxy/services.h"
#include "proxy/smtp/sasl.h"

#define LINE_EXTRA 64 /* octets beside the response: AUTH, a mechanism, and a line end */

static void end(struct bridge_auth *auth)
{
    if (auth->login != NULL)
        auth->login->target->ops->login->end(auth->login);
    auth->login = NULL;
}

static uint32_t mechanisms(const struct smtpd *d)
{
    return d->login_at->ops->capabilities(d->login_at).sasl;
}

/* ---- what the client says ---- */

/* What is kept of it is its name, which stands in the first response: the next one of LOGIN is the
 * password. One more means that the target did not take the first for the name. */
static void note_user(struct bridge_auth *auth, const struct session_sasl *sasl)
{
    if (!sasl->has_response)
        return;
    auth->responses++;
    if (auth->responses > 2 && sasl->mechanism == SASL_LOGIN)
        auth->user_len = 0;
    if (auth->responses > 1)
        return;
    auth->user_len = sasl_user(sasl->mechanism, sasl->response, auth->user);
}

/* "AUTH PLAIN AGEAYg==", or what is said next. An empty first response is "=": RFC 4954 4. */
static size_t put_line(char *line, size_t room, const struct session_sasl *sasl)
{
    int len = (int)sasl->response.len;
    const char *text = len == 0 ? "" : (const char *)sasl->response.at;
    const char *between = !sasl->has_response ? "" : len == 0 ? " =" : " ";

    if (!sasl->is_first)
        return (size_t)snprintf(line, room, "%.*s\r\n", len, text);
    return (size_t)snprintf(line, room, "AUTH %s%s%.*s\r\n", sasl_name(sasl->mechanism), between,
                            len, text);
}

static void say(struct bridge_auth *auth)
{
    struct bridge *b = auth->bridge;
    const struct session_sasl sasl = session_sasl(&b->session);
    size_t room = sasl.response.len + LINE_EXTRA;
    char *line = mem_alloc(room);

    if (line == NULL) {
        end(auth);
        bridge_auth_refuse_own(b, REPLY_AUTH_AWAY);
        return;
    }
    note_user(auth, &sasl);
    size_t len = put_line(line, room, &sasl);
    auth->login->target->ops->login->say(auth->login, bytes_make(line, len));
    explicit_bzero(line, room);
    mem_free(line);
}

/* ---- what the target says ---- */

static void on_ready(void *owner)
{
    struct bridge_auth *auth = owner;
    struct bridge *b = auth->bridge;

    if (auth->aim == TARGET_LOGIN_MEET) {
        end(auth);
        bridge_auth_tell_mechanisms(b, mechanisms(b->smtpd));
    } else {
        say(auth);
    }
    carrier_drain(&b->carrier);
}

/* Where the client owes a line it hears when it has said it that the target is gone. */
static void pass(struct bridge_auth *auth, const struct reply *reply)
{
    struct bridge *b = auth->bridge;
    struct bytes user = bytes_make(auth->user, auth->user_len);

    if (auth->aim == TARGET_LOGIN_MEET)
        bridge_auth_tell_mechanisms(b, 0);
    else if (!session_awaits(&b->session, SESSION_ACT_AUTH))
        return;
    else if (reply->code == 334)
        bridge_auth_answer(b, reply);
    else if (reply->code == 235)
        bridge_auth_accept(b, user, reply);
    else
        bridge_auth_refuse(b, reply, user);
}

static void on_answered(void *owner, const struct reply *reply)
{
    struct bridge_auth *auth = owner;
    struct bridge *b = auth->bridge;
    bool is_over = reply->code != 334 && reply->code != 235;

    pass(auth, reply);
    if (is_over)
        end(auth);
    carrier_drain(&b->carrier);
}

static void on_lost(void *owner)
{
    struct bridge_auth *auth = owner;
    struct bridge *b = auth->bridge;

    bridge_log_login_lost(b);
    session_feed(&b->session, &(struct session_event){.kind = SESSION_EV_LOGIN_LOST});
    carrier_drain(&b->carrier);
}

static const struct target_login_use login_use = {
    .ready = on_ready, .answered = on_answered, .lost = on_lost};

/* ---- what the session asks for ---- */

/* False: no memory. */
static bool begin(struct bridge_auth *auth, enum target_login_aim aim)
{
    struct target *target = auth->bridge->smtpd->login_at;

    end(auth);
    auth->aim = aim;
    auth->user_len = 0;
    auth->responses = 0;
    auth->login = target->ops->login->begin(target, &auth->bridge->carrier, aim, &login_use, auth);
    return auth->login != NULL;
}

/* What the target announced last; where it was never met, it is met now. */
static void offer(struct bridge_auth *auth)
{
    struct bridge *b = auth->bridge;
    struct target *target = b->smtpd->login_at;
    bool is_known = target->ops->capabilities(target).keywords != 0;

    if (is_known || b->session.client.login.len != 0 || !begin(auth, TARGET_LOGIN_MEET))
        bridge_auth_tell_mechanisms(b, mechanisms(b->smtpd));
}

/* A target that has gone between two lines was said nothing more. */
static void step(struct bridge_auth *auth)
{
    const struct session_sasl sasl = session_sasl(&auth->bridge->session);

    if (sasl.is_first ? !begin(auth, TARGET_LOGIN_AUTH) : auth->login == NULL)
        bridge_auth_refuse_own(auth->bridge, REPLY_AUTH_AWAY);
    else if (!sasl.is_first)
        say(auth);
}

static void named(struct bridge_auth *auth)
{
    if (auth->login != NULL)
        auth->login->target->ops->login->named(auth->login);
}

const struct bridge_auth_way bridge_auth_target = {
    .mechanisms = mechanisms, .offer = offer, .step = step, .named = named, .forget = end};
