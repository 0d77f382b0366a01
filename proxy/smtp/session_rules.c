/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of a session: one row and one function each. */
#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/smtp/params.h"
#include "proxy/smtp/sasl.h"
#include "proxy/smtp/session_private.h"

/* ---- HELO, EHLO, LHLO ---- */

static enum reply_id check_helo(struct session *s)
{
    if (s->conf->is_lmtp && s->command.rule->verb != VERB_LHLO)
        return REPLY_LHLO_WANTED;
    return command_is_helo_argument(s->command.argument) ? REPLY_OK : REPLY_HELO_SYNTAX;
}

static bool greet_client(struct session *s)
{
    if (!session_keep_helo(s, s->command.argument)) {
        session_close_with(s, REPLY_NO_MEMORY);
        return false;
    }
    if (s->tx != NULL)
        session_abandon(s, command_name(s->command.rule->verb));
    else
        session_reset_origin(s);
    s->client.is_esmtp = s->command.rule->verb != VERB_HELO;
    s->client.is_lmtp = s->command.rule->verb == VERB_LHLO;
    session_do(s, &(struct session_action){.kind = SESSION_ACT_GREETED});
    return true;
}

static void on_helo(struct session *s)
{
    if (!greet_client(s))
        return;
    s->offered = 0;
    buf_text(&s->out, "250 ");
    buf_put(&s->out, s->conf->name);
    buf_text(&s->out, "\r\n");
}

/* What only some clients may say. */
static const uint32_t restricted =
    CAPABILITY_ETRN | CAPABILITY_XCLIENT | CAPABILITY_XFORWARD | CAPABILITY_XRCPTFORWARD;

/* 0: no limit. A recipient's own target may take more: a larger message is not refused by us. */
static uint64_t smallest_size(const struct session *s)
{
    uint64_t ours = s->conf->message_max_bytes, theirs = s->targets.limits.size_bytes;

    return theirs != 0 && (ours == 0 || theirs < ours) ? theirs : ours;
}

/* RFC 9422: limits that are applied. A session has as many transactions as the client likes, over
 * several connections to its targets where these limit them. */
static void put_limits(struct session *s)
{
    struct limits limits = s->targets.limits;

    limits.mails = 0;
    if (limits.rcpts == 0 || limits.rcpts > s->conf->recipients_max)
        limits.rcpts = s->conf->recipients_max;
    if (limits.rcpts > LIMITS_VALUE_MAX)
        limits.rcpts = LIMITS_VALUE_MAX;
    limits_put(&s->out, &limits);
}

/* RFC 5321 4.1.1.1: the last line has a space after the code, the others a hyphen. */
static void on_ehlo(struct session *s)
{
    if (session_lacks_mechanisms(s)) {
        if (session_keep_argument(s))
            session_wait_for(s, &(struct session_action){.kind = SESSION_ACT_MECHANISMS});
        return;
    }
    s->peer.auth.is_known = false;
    if (!greet_client(s))
        return;
    s->offered = s->conf->announces & (s->conf->bridges | s->targets.bridged);
    s->offered &= ~restricted | s->peer.may;
    if (s->client.is_lmtp)
        s->offered &= ~(uint32_t)CAPABILITY_X_LMTP;
    if (s->conf->tls == SESSION_TLS_NONE || s->peer.tls != NULL)
        s->offered &= ~(uint32_t)CAPABILITY_STARTTLS;
    if (session_mechanisms(s) == 0)
        s->offered &= ~(uint32_t)CAPABILITY_AUTH;
    if (s->peer.tls == NULL) /* RFC 8689 2 */
        s->offered &= ~(uint32_t)CAPABILITY_REQUIRETLS;
    if ((s->offered & CAPABILITY_CHUNKING) == 0)
        s->offered &= ~(uint32_t)CAPABILITY_BINARYMIME;

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
            buf_decimal(&s->out, smallest_size(s));
        } else if (row->bit == CAPABILITY_LIMITS) {
            put_limits(s);
        } else if (row->bit == CAPABILITY_AUTH) {
            sasl_put(&s->out, session_mechanisms(s), " ", " ");
        } else if (row->bit == CAPABILITY_XCLIENT) {
            capability_put_attributes(&s->out, IDENTITY_XCLIENT);
        } else if (row->bit == CAPABILITY_XFORWARD) {
            capability_put_attributes(&s->out, IDENTITY_XFORWARD);
        }
    }
    buf_text(&s->out, "\r\n");
}

/* ---- MAIL ---- */

/* RFC 1870 6: up to 20 digits. A number of more than 64 bits is read as the largest. */
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
    envelope->is_binary = bytes_is_nocase(value, "BINARYMIME");
    bool is_known = envelope->is_8bit || envelope->is_binary || bytes_is_nocase(value, "7BIT");
    return is_known ? REPLY_OK : REPLY_PARAMETER_SYNTAX;
}

/* A parameter: is its value fine, and what follows from it. */
struct param_rule {
    const char *keyword;
    bool (*fits)(struct bytes value); /* NULL: `take` says */
    enum reply_id (*take)(const struct session *s, struct bytes value, struct envelope *envelope);
};

struct param_rules {
    const struct param_rule *at;
    size_t count;
};

static enum reply_id read_param(const struct session *s, const struct param *param,
                                struct param_rules rules, struct envelope *envelope, uint32_t *seen)
{
    size_t i = 0;

    while (i < rules.count && !bytes_is_nocase(param->keyword, rules.at[i].keyword))
        i++;
    if (i == rules.count || (params_keywords(param) & (s->offered | s->peer.may)) == 0)
        return REPLY_PARAMETER_UNKNOWN;
    const struct param_rule *rule = &rules.at[i];
    if ((*seen & (1U << i)) != 0 || (rule->fits != NULL && !rule->fits(param->value)))
        return REPLY_PARAMETER_SYNTAX;
    *seen |= 1U << i;
    return rule->take == NULL ? REPLY_OK : rule->take(s, param->value, envelope);
}

/* RFC 4954 5: AUTH=<> means nothing to a server without AUTH. */
static bool says_nothing(const struct param *param, const struct envelope *of_mail)
{
    return of_mail != NULL && params_is_of_author(param) && bytes_is(param->value, "<>");
}

/* `envelope`: NULL: they are of RCPT. */
static enum reply_id read_params(const struct session *s, struct bytes rest,
                                 struct param_rules rules, struct envelope *envelope)
{
    uint32_t seen = 0;
    struct param param;
    int error;

    while ((error = params_next(&rest, &param)) == 0) {
        enum reply_id id = says_nothing(&param, envelope)
                               ? REPLY_OK
                               : read_param(s, &param, rules, envelope, &seen);
        if (id != REPLY_OK)
            return id;
    }
    return error == ERR_NOT_FOUND ? REPLY_OK : REPLY_PARAMETER_SYNTAX;
}

static enum reply_id read_mail_params(struct session *s, struct bytes rest,
                                      struct envelope *envelope)
{
    static const struct param_rule rules[] = {
        {"SIZE", NULL, read_size_param},        {"BODY", NULL, read_body},
        {"RET", params_is_ret, NULL},           {"ENVID", params_is_envid, NULL},
        {"REQUIRETLS", params_is_absent, NULL}, {"AUTH", params_is_auth, NULL}};

    if (arena_copy(&s->mail, rest, &envelope->params) != 0)
        return REPLY_LOCAL_PROBLEM;
    envelope->is_dsn = params_has(rest, CAPABILITY_DSN);
    return read_params(s, rest, (struct param_rules){rules, ARRAY_LENGTH(rules)}, envelope);
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

static enum reply_id read_mail(struct session *s, struct envelope *envelope_out)
{
    struct address from;
    struct bytes rest;

    int error = command_path(s->command.argument, "FROM:", &s->mail, &from, &rest);
    if (error != 0)
        return path_reply(error, REPLY_SENDER_SYNTAX);
    enum reply_id id = read_mail_params(s, rest, envelope_out);
    if (id == REPLY_OK && address_copy(&s->mail, &from, &envelope_out->from) != 0)
        return REPLY_LOCAL_PROBLEM;
    return id;
}

static enum reply_id check_mail(struct session *s)
{
    struct envelope envelope = {.is_8bit = false};

    if (s->tx != NULL)
        return REPLY_NESTED_MAIL;
    if (s->conf->is_storage_low != NULL && *s->conf->is_storage_low)
        return REPLY_SPOOL_FULL;
    enum reply_id id = read_mail(s, &envelope);
    if (id != REPLY_OK)
        return id;
    struct transaction *tx = arena_alloc(&s->mail, sizeof(*tx));
    if (tx == NULL)
        return REPLY_LOCAL_PROBLEM;
    transaction_init(tx, &s->mail, &envelope, &s->client);
    tx->policy = s->client.is_lmtp ? TRANSACTION_EACH : TRANSACTION_LIVE;
    s->command.tx = tx;
    return REPLY_OK;
}

static void on_mail(struct session *s)
{
    s->tx = s->command.tx;
    s->counts.transactions++;
    session_do(s, &(struct session_action){.kind = SESSION_ACT_BEGIN});
    session_say(s, REPLY_SENDER_OK);
}

/* ---- RCPT ---- */

static enum reply_id read_rcpt_params(const struct session *s, struct bytes rest)
{
    static const struct param_rule rules[] = {{"NOTIFY", params_is_notify, NULL},
                                              {"ORCPT", params_is_orcpt, NULL},
                                              {"XRCPTFORWARD", params_is_given, NULL}};

    return read_params(s, rest, (struct param_rules){rules, ARRAY_LENGTH(rules)}, NULL);
}

static enum reply_id read_rcpt(struct session *s, struct address *to, struct bytes *params)
{
    if (s->tx == NULL)
        return REPLY_NEED_MAIL;
    if (s->tx->state == TX_CONTENT)
        return REPLY_NOT_IN_CHUNKS;
    if (s->tx->recipient_count >= s->conf->recipients_max || s->tx->is_full)
        return REPLY_TOO_MANY_RECIPIENTS;
    int error = command_path(s->command.argument, "TO:", &s->mail, to, params);
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
    if (params_has(params, CAPABILITY_DSN))
        s->tx->envelope.is_dsn = true;
    return rcpt;
}

/* From here on the reply has its turn among the others, whoever gives it. */
static enum reply_id check_rcpt(struct session *s)
{
    struct address to;
    struct bytes params;

    enum reply_id id = read_rcpt(s, &to, &params);
    if (id != REPLY_OK)
        return id;
    struct recipient *rcpt = add_recipient(s, &to, params);
    if (rcpt == NULL || !session_say_when_answered(s, rcpt))
        return REPLY_NO_MEMORY;
    s->command.rcpt = rcpt;
    return REPLY_OK;
}

static void on_rcpt(struct session *s)
{
    s->command.argument = bytes_make(NULL, 0); /* the recipient has it all */
    session_wait_for(s,
                     &(struct session_action){.kind = SESSION_ACT_ROUTE, .rcpt = s->command.rcpt});
}

/* The filters' reply takes the place of a route. */
static void refuse_rcpt(struct session *s, const struct reply *reply)
{
    struct routed routed = {.reply = *reply};

    transaction_feed(
        s->tx, &(struct event){.kind = EV_ROUTED, .rcpt = s->command.rcpt, .routed = &routed});
}

/* ---- the others ---- */

static enum reply_id check_data(struct session *s)
{
    if (s->tx == NULL)
        return REPLY_NEED_MAIL;
    if (s->tx->state == TX_CONTENT)
        return REPLY_NOT_IN_CHUNKS;
    if (s->tx->envelope.is_binary)
        return REPLY_BINARY_NEEDS_BDAT;
    return list_is_empty(&s->tx->recipients) ? session_need_rcpt(s) : REPLY_OK;
}

static void on_data(struct session *s)
{
    transaction_data(s->tx);
    s->state = SESSION_GOING;
}

static void on_rset(struct session *s)
{
    if (s->tx != NULL)
        session_abandon(s, command_name(VERB_RSET));
    else
        session_reset_origin(s);
    session_say(s, REPLY_OK);
}

static void on_noop(struct session *s)
{
    session_say(s, REPLY_OK);
}

static void on_quit(struct session *s)
{
    session_close_with(s, REPLY_BYE);
}

static enum reply_id check_vrfy(struct session *s)
{
    return s->command.argument.len == 0 ? REPLY_SYNTAX : REPLY_OK;
}

static void on_vrfy(struct session *s)
{
    session_say(s, REPLY_CANNOT_VERIFY);
}

/* PROTOCOLS 2.12. Whether this client may ask for that very node is for the shell to say. */
static enum reply_id check_etrn(struct session *s)
{
    enum command_etrn_form form;
    struct bytes name;
    int error = command_etrn(s->command.argument, &form, &name);

    if (s->tx != NULL)
        return REPLY_NOT_IN_MAIL;
    if (error != 0)
        return error == ERR_NOT_FOUND ? REPLY_ETRN_USAGE : REPLY_SYNTAX;
    return s->peer.may & CAPABILITY_ETRN ? REPLY_OK : REPLY_ETRN_DENIED;
}

static void on_etrn(struct session *s)
{
    if (session_keep_argument(s))
        session_wait_for(
            s, &(struct session_action){.kind = SESSION_ACT_ETRN, .bytes = s->command.argument});
}

static void on_not_implemented(struct session *s)
{
    session_say(s, REPLY_NOT_IMPLEMENTED);
}

static void on_unknown(struct session *s)
{
    session_say(s, REPLY_COMMAND_UNKNOWN);
}

#define GREETS      (RULE_IS_JUNK | RULE_WAITS | RULE_ENDS_GROUP | RULE_BEFORE_TLS)
#define STAGE(name) SESSION_STAGE_##name

static const struct session_rule rules[] = {
    /* verb, flags, stage at which filters are asked, check before that, action after it, what its
     * further lines do, action where filters refuse the command */
    {VERB_HELO, GREETS, STAGE(HELO), check_helo, on_helo, NULL, NULL},
    {VERB_EHLO, GREETS, STAGE(HELO), check_helo, on_ehlo, NULL, NULL},
    {VERB_LHLO, GREETS, STAGE(HELO), check_helo, on_ehlo, NULL, NULL},
    {VERB_MAIL, RULE_WAITS | RULE_NEEDS_HELO, STAGE(MAIL), check_mail, on_mail, NULL, NULL},
    {VERB_RCPT, RULE_NEEDS_HELO, STAGE(RCPT), check_rcpt, on_rcpt, NULL, refuse_rcpt},
    {VERB_DATA, RULE_ENDS_GROUP | RULE_NEEDS_HELO | RULE_NO_ARGUMENT, STAGE(DATA), check_data,
     on_data, NULL, NULL},
    /* Checks and asks by itself; its octets are due even where it is refused. */
    {VERB_BDAT, RULE_BEFORE_TLS, STAGE(NONE), NULL, session_bdat, NULL, NULL},
    {VERB_RSET, RULE_IS_JUNK | RULE_WAITS | RULE_NO_ARGUMENT, STAGE(NONE), NULL, on_rset, NULL,
     NULL},
    {VERB_NOOP, RULE_IS_JUNK | RULE_BEFORE_TLS, STAGE(NONE), NULL, on_noop, NULL, NULL},
    {VERB_QUIT, RULE_WAITS | RULE_NO_ARGUMENT | RULE_BEFORE_TLS, STAGE(NONE), NULL, on_quit, NULL,
     NULL},
    {VERB_VRFY, RULE_IS_JUNK, STAGE(NONE), check_vrfy, on_vrfy, NULL, NULL},
    {VERB_HELP, RULE_IS_JUNK, STAGE(NONE), NULL, on_not_implemented, NULL, NULL},
    {VERB_EXPN, RULE_IS_JUNK, STAGE(NONE), NULL, on_not_implemented, NULL, NULL},
    {VERB_TURN, RULE_IS_JUNK, STAGE(NONE), NULL, on_not_implemented, NULL, NULL},
    {VERB_SEND, RULE_IS_JUNK, STAGE(NONE), NULL, on_not_implemented, NULL, NULL},
    {VERB_SOML, RULE_IS_JUNK, STAGE(NONE), NULL, on_not_implemented, NULL, NULL},
    {VERB_SAML, RULE_IS_JUNK, STAGE(NONE), NULL, on_not_implemented, NULL, NULL},
    {VERB_ATRN, RULE_IS_JUNK, STAGE(NONE), NULL, on_not_implemented, NULL, NULL},
    {VERB_ETRN, RULE_IS_JUNK | RULE_WAITS | RULE_NEEDS_HELO, STAGE(NONE), check_etrn, on_etrn, NULL,
     NULL},
    {VERB_XCLIENT, RULE_WAITS | RULE_ENDS_GROUP | RULE_DROPS_EARLY | RULE_BEFORE_TLS, STAGE(NONE),
     NULL, session_xclient, NULL, NULL},
    {VERB_STARTTLS,
     RULE_IS_JUNK | RULE_WAITS | RULE_ENDS_GROUP | RULE_DROPS_EARLY | RULE_NO_ARGUMENT |
         RULE_BEFORE_TLS,
     STAGE(NONE), session_check_starttls, session_starttls, NULL, NULL},
    {VERB_XFORWARD, RULE_WAITS, STAGE(NONE), NULL, session_xforward, NULL, NULL},
    {VERB_AUTH, RULE_IS_JUNK | RULE_ENDS_GROUP | RULE_NEEDS_HELO, STAGE(NONE), session_check_auth,
     session_auth, session_auth_line, NULL},
    {VERB_UNKNOWN, RULE_IS_JUNK, STAGE(COMMAND), NULL, on_unknown, session_filter_line, NULL},
};

const struct session_rule *session_rule_find(enum verb verb)
{
    size_t i = 0;
    while (rules[i].verb != verb)
        i++;
    return &rules[i];
}
