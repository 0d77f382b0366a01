/* SPDX-License-Identifier: BSD-2-Clause */
/* AUTH (RFC 4954): the exchange between the client and who knows its password, line by line. What
 * the client says is a secret: it is kept in one block, and wiped when it has been answered. */
#include "proxy/base/text.h"
#include "proxy/smtp/sasl.h"
#include "proxy/smtp/session_private.h"

uint32_t session_mechanisms(const struct session *s)
{
    uint32_t hidden = s->conf->auth == SESSION_AUTH_ANY || s->client.is_secured ? 0 : sasl_shown();

    return s->conf->auth == SESSION_AUTH_NONE ? 0 : s->peer.auth.mechanisms & ~hidden;
}

bool session_lacks_mechanisms(const struct session *s)
{
    return s->conf->auth != SESSION_AUTH_NONE && !s->peer.auth.is_known;
}

void session_on_mechanisms(struct session *s, uint32_t mechanisms)
{
    const struct reply go_on = {.code = 0};

    if (!session_awaits(s, SESSION_ACT_MECHANISMS))
        return;
    s->peer.auth.mechanisms = mechanisms;
    s->peer.auth.is_known = true;
    session_on_answer(s, &go_on);
}

/* ---- what the client says ---- */

enum line_content session_next_line(const struct session *s)
{
    if (s->conf->auth == SESSION_AUTH_NONE)
        return LINE_PLAIN;
    if (s->state == SESSION_LINE && s->command.rule->verb == VERB_AUTH)
        return LINE_SECRET;
    return LINE_PERHAPS_AUTH;
}

bool session_took_secret(const struct session *s)
{
    return s->peer.auth.took_secret;
}

void session_forget_response(struct session *s)
{
    if (s->peer.auth.response == NULL)
        return;
    explicit_bzero(s->peer.auth.response, s->peer.auth.response_len);
    mem_free(s->peer.auth.response);
    s->peer.auth.response = NULL;
    s->peer.auth.response_len = 0;
}

static enum reply_id keep_response(struct session *s, struct bytes response)
{
    assert(s->peer.auth.response == NULL);
    if (response.len > SASL_LINE_MAX)
        return REPLY_AUTH_TOO_LONG;
    if (!sasl_is_base64(response))
        return REPLY_AUTH_BASE64;
    s->peer.auth.response = mem_alloc(response.len + 1); /* it may be empty */
    if (s->peer.auth.response == NULL)
        return REPLY_NO_MEMORY;
    if (response.len != 0)
        memcpy(s->peer.auth.response, response.at, response.len);
    s->peer.auth.response_len = response.len;
    return REPLY_OK;
}

struct session_sasl session_sasl(const struct session *s)
{
    assert(session_awaits(s, SESSION_ACT_AUTH));
    return (struct session_sasl){
        .mechanism = s->peer.auth.mechanism,
        .is_first = s->peer.auth.is_first,
        .has_response = s->peer.auth.response != NULL,
        .response = bytes_make(s->peer.auth.response, s->peer.auth.response_len),
    };
}

static enum reply_id judge_mechanism(const struct session *s, uint32_t mechanism)
{
    if (mechanism == 0)
        return REPLY_AUTH_UNKNOWN;
    if ((mechanism & sasl_shown() & ~session_mechanisms(s) & s->peer.auth.mechanisms) != 0)
        return REPLY_AUTH_NEEDS_TLS;
    if (s->peer.auth.mechanisms == 0)
        return REPLY_AUTH_AWAY;
    return (mechanism & session_mechanisms(s)) != 0 ? REPLY_OK : REPLY_AUTH_UNKNOWN;
}

enum reply_id session_check_auth(struct session *s)
{
    struct bytes rest = s->command.argument;
    struct bytes name = text_word(&rest), response = text_trim(rest);

    if (s->conf->auth == SESSION_AUTH_NONE || (s->conf->announces & CAPABILITY_AUTH) == 0)
        return REPLY_NOT_IMPLEMENTED;
    if (s->tx != NULL)
        return REPLY_NOT_IN_MAIL;
    if (s->client.login.len != 0)
        return REPLY_AUTH_IS_DONE;
    if (!s->client.is_esmtp)
        return REPLY_NEED_EHLO;
    if (name.len == 0)
        return REPLY_SYNTAX;
    enum reply_id id = judge_mechanism(s, sasl_mechanism(name));
    if (id != REPLY_OK)
        return id;
    s->peer.auth.mechanism = sasl_mechanism(name);
    if (response.len == 0)
        return REPLY_OK;
    return keep_response(s, bytes_is(response, "=") ? bytes_make(NULL, 0) : response);
}

void session_auth(struct session *s)
{
    s->command.argument = bytes_make(NULL, 0); /* it lies in the line */
    s->peer.auth.is_first = true;
    session_wait_for(s, &(struct session_action){.kind = SESSION_ACT_AUTH});
}

void session_cancel_auth(struct session *s)
{
    session_do(s, &(struct session_action){.kind = SESSION_ACT_AUTH_CANCEL});
}

void session_auth_line(struct session *s, struct bytes line)
{
    enum reply_id id =
        bytes_is(line, "*") ? REPLY_AUTH_CANCELLED : keep_response(s, text_trim(line));

    s->peer.auth.is_first = false;
    if (id == REPLY_OK) {
        session_wait_for(s, &(struct session_action){.kind = SESSION_ACT_AUTH});
        return;
    }
    session_cancel_auth(s);
    if (id == REPLY_NO_MEMORY)
        session_close_with(s, id);
    else
        session_say(s, id);
}

/* ---- who it is ---- */

void session_forget_login(struct session *s)
{
    if (s->peer.auth.login != NULL && s->client.login.at == s->peer.auth.login) {
        s->client.login = bytes_make(NULL, 0);
        s->client.mechanism = 0;
    }
    mem_free(s->peer.auth.login);
    s->peer.auth.login = NULL;
    s->peer.auth.is_lost = false;
}

void session_on_authenticated(struct session *s, struct bytes login, const struct reply *reply)
{
    if (!session_awaits(s, SESSION_ACT_AUTH))
        return;
    assert(login.len != 0 && reply_is_positive(reply) && s->peer.auth.login == NULL);
    s->peer.auth.login = mem_alloc(login.len);
    if (s->peer.auth.login == NULL) {
        session_close_with(s, REPLY_NO_MEMORY);
        return;
    }
    memcpy(s->peer.auth.login, login.at, login.len);
    s->client.login = bytes_make(s->peer.auth.login, login.len);
    s->client.mechanism = s->peer.auth.mechanism;
    session_on_answer(s, reply);
}
