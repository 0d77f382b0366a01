/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of a session: one row and one function each. */
#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/smtp/params.h"
#include "proxy/smtp/session_private.h"

/* ---- HELO, EHLO ---- */

static bool keep_helo(struct session *s, struct bytes argument)
{
    uint8_t *kept = mem_alloc(argument.len);
    if (kept == NULL)
        return false;
    memcpy(kept, argument.at, argument.len);
    session_forget_helo(s);
    s->client.helo = bytes_make(kept, argument.len);
    return true;
}

static bool greet_client(struct session *s, struct bytes argument, bool is_esmtp)
{
    if (!command_is_helo_argument(argument)) {
        session_say(s, REPLY_HELO_SYNTAX);
        return false;
    }
    if (!keep_helo(s, argument)) {
        session_close_with(s, REPLY_NO_MEMORY);
        return false;
    }
    if (s->tx != NULL)
        transaction_abandon(s->tx);
    s->client.is_esmtp = is_esmtp;
    session_do(s, &(struct session_action){.kind = SESSION_ACT_GREETED});
    return true;
}

static void on_helo(struct session *s, struct bytes argument)
{
    if (!greet_client(s, argument, false))
        return;
    s->offered = 0;
    buf_text(&s->out, "250 ");
    buf_put(&s->out, s->conf->name);
    buf_text(&s->out, "\r\n");
}

/* RFC 5321 4.1.1.1: the last line has a space behind the code, the others a hyphen. */
static void on_ehlo(struct session *s, struct bytes argument)
{
    if (!greet_client(s, argument, true))
        return;
    s->offered = s->conf->announces & (s->conf->bridges | s->bridged);
    if (!s->may_etrn)
        s->offered &= ~(uint32_t)CAPABILITY_ETRN;

    uint32_t left = s->offered;
    buf_text(&s->out, left == 0 ? "250 " : "250-");
    buf_put(&s->out, s->conf->name);
    for (const struct capability_row *row = capability_rows; row->name != NULL; row++) {
        if ((s->offered & row->bit) == 0)
            continue;
        left &= ~row->bit;
        buf_cat(&s->out, left == 0 ? "\r\n250 " : "\r\n250-", row->name, NULL);
        if (row->bit == CAPABILITY_SIZE) {
            buf_byte(&s->out, ' ');
            buf_decimal(&s->out, s->conf->message_max_bytes);
        }
    }
    buf_text(&s->out, "\r\n");
}

/* ---- MAIL ---- */

/* RFC 1870 6: up to 20 digits. A number beyond 64 bits is as good as the largest. */
static int read_size(struct bytes value, uint64_t *size_out)
{
    if (value.len > 20)
        return ERR_SYNTAX;
    int error = text_decimal(value, UINT64_MAX, size_out);
    if (error == ERR_RANGE) {
        *size_out = UINT64_MAX;
        return 0;
    }
    return error;
}

static enum reply_id read_size_param(const struct session *s, struct bytes value,
                                     struct envelope *envelope)
{
    uint64_t max = s->conf->message_max_bytes;

    if (read_size(value, &envelope->size_bytes) != 0)
        return REPLY_PARAMETER_SYNTAX;
    return max != 0 && envelope->size_bytes > max ? REPLY_MESSAGE_TOO_BIG : REPLY_OK;
}

static enum reply_id read_body(const struct session *s, struct bytes value,
                               struct envelope *envelope)
{
    (void)s;
    envelope->is_8bit = bytes_is_nocase(value, "8BITMIME");
    return envelope->is_8bit || bytes_is_nocase(value, "7BIT") ? REPLY_OK : REPLY_PARAMETER_SYNTAX;
}

static enum reply_id read_ret(const struct session *s, struct bytes value,
                              struct envelope *envelope)
{
    (void)s;
    envelope->is_dsn = true;
    return params_is_ret(value) ? REPLY_OK : REPLY_PARAMETER_SYNTAX;
}

static enum reply_id read_envid(const struct session *s, struct bytes value,
                                struct envelope *envelope)
{
    (void)s;
    envelope->is_dsn = true;
    return params_is_envid(value) ? REPLY_OK : REPLY_PARAMETER_SYNTAX;
}

static const struct mail_param {
    const char *keyword;
    uint32_t capability;
    enum reply_id (*read)(const struct session *s, struct bytes value, struct envelope *envelope);
} mail_params[] = {
    {"SIZE", CAPABILITY_SIZE, read_size_param},
    {"BODY", CAPABILITY_8BITMIME, read_body},
    {"RET", CAPABILITY_DSN, read_ret},
    {"ENVID", CAPABILITY_DSN, read_envid},
};

/* RFC 4954 5: AUTH=<> is all the same to a server without AUTH. Targets do not hear of it. */
static bool says_nothing(const struct param *param)
{
    return bytes_is_nocase(param->keyword, "AUTH") && bytes_is(param->value, "<>");
}

static enum reply_id read_mail_param(const struct session *s, const struct param *param,
                                     struct envelope *envelope, uint32_t *seen)
{
    size_t i = 0;

    while (i < ARRAY_LENGTH(mail_params) &&
           !bytes_is_nocase(param->keyword, mail_params[i].keyword))
        i++;
    if (says_nothing(param))
        return REPLY_OK;
    if (i == ARRAY_LENGTH(mail_params) || (mail_params[i].capability & s->offered) == 0)
        return REPLY_PARAMETER_UNKNOWN;
    if (*seen & (1U << i))
        return REPLY_PARAMETER_SYNTAX;
    *seen |= 1U << i;
    return mail_params[i].read(s, param->value, envelope);
}

static enum reply_id read_mail_params(struct session *s, struct bytes rest,
                                      struct envelope *envelope)
{
    uint32_t seen = 0;
    struct param param;
    int error;

    if (arena_copy(&s->mail, rest, &envelope->params) != 0)
        return REPLY_LOCAL_PROBLEM;
    while ((error = params_next(&rest, &param)) == 0) {
        enum reply_id id = read_mail_param(s, &param, envelope, &seen);
        if (id != REPLY_OK)
            return id;
    }
    return error == ERR_NOT_FOUND ? REPLY_OK : REPLY_PARAMETER_SYNTAX;
}

static enum reply_id path_reply(int error, enum reply_id when_syntax)
{
    switch (error) {
    case ERR_TOO_LONG:
        return REPLY_ADDRESS_TOO_LONG;
    case ERR_RANGE:
        return REPLY_ADDRESS_UTF8;
    case ERR_MEMORY:
        return REPLY_LOCAL_PROBLEM;
    }
    return when_syntax;
}

static enum reply_id begin_mail(struct session *s, struct bytes argument)
{
    struct envelope envelope = {.is_8bit = false};
    struct address from;
    struct bytes rest;

    int error = command_path(argument, "FROM:", &s->mail, &from, &rest);
    if (error != 0)
        return path_reply(error, REPLY_SENDER_SYNTAX);
    enum reply_id id = read_mail_params(s, rest, &envelope);
    if (id != REPLY_OK)
        return id;
    struct transaction *tx = arena_alloc(&s->mail, sizeof(*tx));
    if (tx == NULL || address_copy(&s->mail, &from, &envelope.from) != 0)
        return REPLY_LOCAL_PROBLEM;
    transaction_init(tx, &s->mail, &envelope, &s->client);
    s->tx = tx;
    return REPLY_SENDER_OK;
}

static void on_mail(struct session *s, struct bytes argument)
{
    if (s->tx != NULL) {
        session_say(s, REPLY_NESTED_MAIL);
        return;
    }
    bool is_full = s->conf->is_storage_low != NULL && *s->conf->is_storage_low;
    enum reply_id id = is_full ? REPLY_SPOOL_FULL : begin_mail(s, argument);
    if (id == REPLY_SENDER_OK) {
        s->counts.transactions++;
        session_do(s, &(struct session_action){.kind = SESSION_ACT_BEGIN});
    } else {
        arena_reset(&s->mail);
    }
    session_say(s, id);
}

/* ---- RCPT ---- */

enum { SEEN_NOTIFY = 1, SEEN_ORCPT = 2 };

/* RFC 3461 4. */
static enum reply_id read_rcpt_params(const struct session *s, struct bytes rest)
{
    unsigned seen = 0;
    struct param param;
    int error;

    while ((error = params_next(&rest, &param)) == 0) {
        bool is_notify = bytes_is_nocase(param.keyword, "NOTIFY");
        unsigned which = is_notify ? SEEN_NOTIFY : SEEN_ORCPT;
        if ((!is_notify && !bytes_is_nocase(param.keyword, "ORCPT")) ||
            (s->offered & CAPABILITY_DSN) == 0)
            return REPLY_PARAMETER_UNKNOWN;
        if ((seen & which) != 0 ||
            !(is_notify ? params_is_notify(param.value) : params_is_orcpt(param.value)))
            return REPLY_PARAMETER_SYNTAX;
        seen |= which;
    }
    return error == ERR_NOT_FOUND ? REPLY_OK : REPLY_PARAMETER_SYNTAX;
}

static enum reply_id read_rcpt(struct session *s, struct bytes argument, struct address *to,
                               struct bytes *params)
{
    if (s->tx->recipient_count >= s->conf->recipients_max || s->tx->is_full)
        return REPLY_TOO_MANY_RECIPIENTS;
    int error = command_path(argument, "TO:", &s->mail, to, params);
    if (error != 0)
        return path_reply(error, REPLY_RECIPIENT_SYNTAX);
    if (to->local.len == 0)
        return REPLY_RECIPIENT_SYNTAX;
    if (to->domain.len == 0 && !address_is_postmaster(to))
        return REPLY_NEED_DOMAIN;
    return read_rcpt_params(s, *params);
}

static struct recipient *add_recipient(struct session *s, const struct address *to,
                                       struct bytes params)
{
    struct recipient *rcpt = transaction_add(s->tx, to);
    if (rcpt == NULL || arena_copy(&s->mail, params, &rcpt->params) != 0)
        return NULL;
    if (params.len != 0)
        s->tx->envelope.is_dsn = true;
    return rcpt;
}

static void on_rcpt(struct session *s, struct bytes argument)
{
    struct address to;
    struct bytes params;

    if (s->tx == NULL) {
        session_say(s, REPLY_NEED_MAIL);
        return;
    }
    enum reply_id id = read_rcpt(s, argument, &to, &params);
    if (id != REPLY_OK) {
        session_say(s, id);
        return;
    }
    struct recipient *rcpt = add_recipient(s, &to, params);
    if (rcpt == NULL || !session_say_when_answered(s, rcpt)) {
        session_close_with(s, REPLY_NO_MEMORY);
        return;
    }
    s->state = SESSION_ROUTING;
    session_do(s, &(struct session_action){.kind = SESSION_ACT_ROUTE, .rcpt = rcpt});
}

/* ---- the others ---- */

static void on_data(struct session *s, struct bytes argument)
{
    (void)argument;
    if (s->tx == NULL) {
        session_say(s, REPLY_NEED_MAIL);
        return;
    }
    if (list_is_empty(&s->tx->recipients)) {
        session_say(s, REPLY_NEED_RCPT);
        return;
    }
    transaction_data(s->tx);
    s->state = SESSION_GOING;
}

static void on_rset(struct session *s, struct bytes argument)
{
    (void)argument;
    if (s->tx != NULL)
        transaction_abandon(s->tx);
    session_say(s, REPLY_OK);
}

static void on_noop(struct session *s, struct bytes argument)
{
    (void)argument;
    session_say(s, REPLY_OK);
}

static void on_quit(struct session *s, struct bytes argument)
{
    (void)argument;
    session_close_with(s, REPLY_BYE);
}

static void on_vrfy(struct session *s, struct bytes argument)
{
    session_say(s, argument.len == 0 ? REPLY_SYNTAX : REPLY_CANNOT_VERIFY);
}

/* PROTOCOLS 2.12. Whether this client may ask for that very node is the shell's to say. */
static void on_etrn(struct session *s, struct bytes argument)
{
    enum command_etrn_form form;
    struct bytes name;
    int error = command_etrn(argument, &form, &name);

    if (s->tx != NULL) {
        session_say(s, REPLY_ETRN_IN_MAIL);
    } else if (error != 0) {
        session_say(s, error == ERR_NOT_FOUND ? REPLY_ETRN_USAGE : REPLY_SYNTAX);
    } else if (!s->may_etrn) {
        session_say(s, REPLY_ETRN_DENIED);
    } else if (arena_copy(&s->mail, argument, &argument) !=
               0) { /* the line goes before it is read */
        session_close_with(s, REPLY_NO_MEMORY);
    } else {
        s->state = SESSION_ROUTING;
        session_do(s, &(struct session_action){.kind = SESSION_ACT_ETRN, .bytes = argument});
    }
}

static void on_not_implemented(struct session *s, struct bytes argument)
{
    (void)argument;
    session_say(s, REPLY_NOT_IMPLEMENTED);
}

static void on_unknown(struct session *s, struct bytes argument)
{
    (void)argument;
    session_say(s, REPLY_COMMAND_UNKNOWN);
}

#define GREETS (RULE_IS_JUNK | RULE_WAITS | RULE_ENDS_GROUP)

static const struct session_rule rules[] = {
    /* verb, what holds for it, what it does */
    {VERB_HELO, GREETS, on_helo},
    {VERB_EHLO, GREETS, on_ehlo},
    {VERB_MAIL, RULE_WAITS | RULE_NEEDS_HELO, on_mail},
    {VERB_RCPT, RULE_NEEDS_HELO, on_rcpt},
    {VERB_DATA, RULE_ENDS_GROUP | RULE_NEEDS_HELO | RULE_NO_ARGUMENT, on_data},
    {VERB_RSET, RULE_IS_JUNK | RULE_WAITS | RULE_NO_ARGUMENT, on_rset},
    {VERB_NOOP, RULE_IS_JUNK, on_noop},
    {VERB_QUIT, RULE_WAITS | RULE_NO_ARGUMENT, on_quit},
    {VERB_VRFY, RULE_IS_JUNK, on_vrfy},
    {VERB_HELP, RULE_IS_JUNK, on_not_implemented},
    {VERB_EXPN, RULE_IS_JUNK, on_not_implemented},
    {VERB_TURN, RULE_IS_JUNK, on_not_implemented},
    {VERB_SEND, RULE_IS_JUNK, on_not_implemented},
    {VERB_SOML, RULE_IS_JUNK, on_not_implemented},
    {VERB_SAML, RULE_IS_JUNK, on_not_implemented},
    {VERB_ETRN, RULE_IS_JUNK | RULE_WAITS | RULE_NEEDS_HELO, on_etrn},
    {VERB_UNKNOWN, RULE_IS_JUNK, on_unknown},
};

const struct session_rule *session_rule_find(enum verb verb)
{
    size_t i = 0;
    while (rules[i].verb != verb)
        i++;
    return &rules[i];
}
