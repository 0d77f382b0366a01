/* SPDX-License-Identifier: BSD-2-Clause */
/* The conversation with a client: when input is read, and replies in the order of commands. */
#include "proxy/smtp/session.h"

#include "proxy/base/error.h"
#include "proxy/smtp/outcome.h"
#include "proxy/smtp/session_private.h"

#define MAIL_ARENA_MAX (8U << 20) /* of one transaction: a bound on what an envelope can cost */

void session_init(struct session *s, const struct session_conf *conf, struct pool *small,
                  struct pool *medium, const struct netaddr *client, const struct netaddr *local)
{
    *s = (struct session){.conf = conf, .over.after = "CONNECT"};
    arena_init(&s->mail, small, MAIL_ARENA_MAX);
    line_init(&s->line, small);
    list_init(&s->slots);
    buf_init(&s->out, medium, 2 * SESSION_UNSENT_MAX);
    s->client.client = *client;
    s->client.local = *local;
    s->peer.address = *client;
}

void session_done(struct session *s)
{
    assert(s->tx == NULL || list_is_empty(&s->tx->todo));
    session_forget_helo(s);
    session_forget_response(s);
    session_forget_login(s);
    session_forget_asserted(s);
    session_forget_origin(s);
    session_forget_tls(s);
    line_done(&s->line);
    buf_done(&s->out);
    arena_reset(&s->mail);
}

static void greet(struct session *s)
{
    buf_text(&s->out, "220 ");
    buf_put(&s->out, s->conf->name);
    buf_text(&s->out, s->conf->is_lmtp ? " LMTP postern\r\n" : " ESMTP postern\r\n");
    s->state = SESSION_COMMANDS;
}

/* RFC 5321 3.1, RFC 7504 2: after such a greeting every command but QUIT is refused. */
static void refuse_client(struct session *s, const struct reply *reply)
{
    s->farewell = *reply;
    s->state = SESSION_REFUSING;
    session_say_reply(s, reply);
}

static const struct session_rule greeting = {.flags = RULE_BEFORE_TLS,
                                             .stage = SESSION_STAGE_CONNECT,
                                             .proceed = greet,
                                             .refuse = refuse_client};

void session_greet(struct session *s)
{
    assert(s->state == SESSION_NEW);
    if (s->conf->refuse.code == 0) {
        session_run(s, &greeting, bytes_make(NULL, 0));
        return;
    }
    s->farewell = s->conf->refuse;
    s->state = SESSION_REFUSING;
    reply_put(&s->out, &s->farewell, 0, REPLY_AS_IT_IS);
}

void session_turn_away(struct session *s, enum reply_id id)
{
    assert(s->state == SESSION_NEW || s->state == SESSION_SECURING);
    session_close_with(s, id);
}

/* ---- actions of the session's own ---- */

void session_do(struct session *s, const struct session_action *action)
{
    if (s->todo_at == s->todo_count) /* fed while the last action is performed */
        s->todo_at = s->todo_count = 0;
    assert(s->todo_count < ARRAY_LENGTH(s->todo));
    s->todo[s->todo_count++] = *action;
}

bool session_has_room_to_do(const struct session *s)
{
    return s->todo_count < ARRAY_LENGTH(s->todo) || s->todo_at == s->todo_count;
}

void session_abandon(struct session *s, const char *why)
{
    s->end.why = why;
    transaction_abandon(s->tx);
}

/* What comes first counts: the client may be lost when it was told to go. */
static void note_why(struct session *s, const char *why)
{
    if (s->over.why == NULL)
        s->over.why = why;
}

/* Drops a transaction that is not released. SESSION_ACT_CLOSE follows when none runs any more. */
static void close_session(struct session *s, const char *why)
{
    note_why(s, why);
    if (s->tx != NULL && s->tx->state < TX_RELEASED)
        session_abandon(s, s->over.why);
    list_init(&s->slots);
    s->slot_count = 0;
    s->end.untold = NULL;
    session_forget_command(s);
    session_forget_response(s);
    s->state = SESSION_CLOSED;
}

/* In the middle of a handshake nothing can be said. */
static void say_last(struct session *s, const struct reply *reply, const char *why)
{
    bool can_speak = s->state != SESSION_SECURING;

    close_session(s, why);
    s->over.is_cut_short = can_speak;
    if (can_speak)
        reply_put(&s->out, reply, 0, REPLY_AS_IT_IS);
}

void session_close_with(struct session *s, enum reply_id id)
{
    struct reply reply = reply_own(id);

    say_last(s, &reply, id == REPLY_BYE ? "quit" : reply_name(id));
    if (id == REPLY_BYE || id == REPLY_SHUTTING_DOWN)
        s->over.is_cut_short = false;
}

void session_end_with_reply(struct session *s, const struct reply *reply, const char *why)
{
    if (list_is_empty(&s->slots)) {
        say_last(s, reply, why);
        return;
    }
    note_why(s, why);
    session_forget_command(s);
    s->farewell = *reply;
    s->state = SESSION_ENDING;
}

void session_end_with(struct session *s, enum reply_id id)
{
    const struct reply reply = reply_own(id);
    session_end_with_reply(s, &reply, reply_name(id));
}

/* ---- reading ---- */

/* Where a command waits for this line, it ends. `begin`: how the line begins. */
static void refuse_line(struct session *s, struct bytes begin, int error)
{
    struct bytes argument;

    if (error == ERR_MEMORY) {
        session_close_with(s, REPLY_NO_MEMORY);
        return;
    }
    enum verb verb =
        s->state == SESSION_LINE ? s->command.rule->verb : command_verb(begin, &argument);
    if (s->state == SESSION_LINE) {
        if (verb == VERB_AUTH)
            session_cancel_auth(s);
        session_forget_command(s);
        s->state = SESSION_COMMANDS;
    } else if (verb == VERB_BDAT) {
        session_lose_frame(s);
        return;
    }
    enum reply_id too_long = verb == VERB_AUTH ? REPLY_AUTH_TOO_LONG : REPLY_LINE_TOO_LONG;
    session_say(s, error == ERR_TOO_LONG ? too_long : REPLY_BARE_NEWLINE_COMMAND);
}

static size_t feed_command(struct session *s, struct bytes in)
{
    struct bytes line, argument;
    int error;
    enum line_end wanted = s->conf->rejects_bare_newline ? LINE_END_CRLF : LINE_END_ANY;
    s->line.content = session_next_line(s);
    size_t used = line_take(&s->line, in, wanted, &line, &error);

    s->peer.auth.took_secret = s->line.content != LINE_PLAIN;
    if (error == ERR_NOT_FOUND)
        return used;
    if (error != 0) {
        refuse_line(s, line, error);
        return used;
    }
    const struct session_rule *rule = s->command.rule;
    if (s->state != SESSION_LINE) {
        rule = session_rule_find(command_verb(line, &argument));
        s->over.after = command_name(rule->verb);
        if (rule->verb == VERB_UNKNOWN)
            argument = line;
    }
    s->peer.auth.took_secret = rule->verb == VERB_AUTH;
    s->counts.early_bytes = in.len - used;
    if ((rule->flags & RULE_ENDS_GROUP) && used < in.len && s->conf->rejects_early_input)
        session_end_with(s, REPLY_TALKED_EARLY);
    else if (s->state == SESSION_LINE)
        session_run_line(s, line);
    else if ((rule->flags & RULE_WAITS) && !list_is_empty(&s->slots))
        session_hold(s, rule, argument);
    else
        session_run(s, rule, argument);
    return rule->flags & RULE_DROPS_EARLY ? in.len : used;
}

/* After a greeting that refuses the client. */
static size_t feed_refused(struct session *s, struct bytes in)
{
    struct bytes line, argument;
    int error;
    size_t used = line_take(&s->line, in, LINE_END_ANY, &line, &error);

    if (error == ERR_NOT_FOUND)
        return used;
    if (error == 0 && command_verb(line, &argument) == VERB_QUIT)
        session_close_with(s, REPLY_BYE);
    else
        session_say_reply(s, &s->farewell);
    return used;
}

static bool talks_early(const struct session *s)
{
    if (s->state == SESSION_NEW)
        return true;
    if (!s->conf->rejects_early_input)
        return false;
    return (s->state == SESSION_GOING && !s->chunk.is_open) ||
           ((s->state == SESSION_HELD || s->state == SESSION_PENDING) &&
            (s->command.rule->flags & RULE_ENDS_GROUP) != 0);
}

static size_t feed_bytes(struct session *s, struct bytes in)
{
    if (in.len == 0)
        return 0;
    if (talks_early(s))
        session_end_with(s, REPLY_TALKED_EARLY);
    if (s->state == SESSION_ENDING || s->state == SESSION_CLOSED)
        return in.len;
    if (!session_wants_input(s))
        return 0;
    if (s->state == SESSION_CONTENT)
        return session_feed_data(s, in);
    if (s->state == SESSION_CHUNK)
        return session_feed_chunk(s, in);
    size_t used = s->state == SESSION_REFUSING ? feed_refused(s, in) : feed_command(s, in);
    line_release(&s->line);
    return used;
}

/* ---- what follows from an event ---- */

/* Is the transaction over, has the client been told all of it, and does no action need it? */
static bool is_over(const struct session *s)
{
    return s->end.is_settled && s->end.untold == NULL && s->todo_at == s->todo_count;
}

static void forget_transaction(struct session *s)
{
    assert(s->command.rule == NULL && list_is_empty(&s->slots)); /* slots lie in `mail`, too */
    s->tx = NULL;
    s->end = (struct session_end){.is_settled = false};
    session_forget_origin(s);
    arena_reset(&s->mail);
}

/* Outside of a transaction nothing in `mail` is needed once replies and questions are done. */
static void forget_words(struct session *s)
{
    if (s->tx != NULL || s->command.rule != NULL || s->state == SESSION_REFUSING)
        return;
    assert(list_is_empty(&s->slots));
    arena_reset(&s->mail);
}

/* EOF, shutdown and a login that is lost close the session as soon as no reply is due. */
static void close_if_over(struct session *s)
{
    bool is_quiet =
        s->state == SESSION_COMMANDS || s->state == SESSION_NEW || s->state == SESSION_REFUSING ||
        (s->is_eof &&
         (session_takes_content(s) || s->state == SESSION_LINE || s->state == SESSION_SECURING));
    if (!is_quiet || !list_is_empty(&s->slots))
        return;
    if (s->is_eof)
        close_session(s, "client-lost");
    else if (s->is_stopping && s->tx == NULL)
        session_close_with(s, REPLY_SHUTTING_DOWN);
    else if (s->peer.auth.is_lost && s->tx == NULL)
        session_close_with(s, REPLY_LOGIN_LOST);
}

static void advance(struct session *s)
{
    session_tell_slots(s);
    if (s->end.untold != NULL)
        session_tell_untold(s);
    if (list_is_empty(&s->slots) && session_has_room_to_do(s)) {
        if (s->state == SESSION_GOING && s->chunk.is_open)
            session_decide_chunk(s);
        else if (s->state == SESSION_GOING)
            session_decide_data(s);
        else if (s->state == SESSION_HELD)
            session_run_held(s);
        else if (s->state == SESSION_ENDING)
            say_last(s, &s->farewell, s->over.why);
    }
    if (s->state == SESSION_CHUNK && s->chunk.left == 0 && s->todo_count == 0)
        session_end_chunk(s);
    close_if_over(s);
    if (s->out.has_failed && s->state != SESSION_CLOSED)
        close_session(s, reply_name(REPLY_NO_MEMORY));
}

/* A message waits for filters as long as for a target. */
static void give_filters_up(struct session *s)
{
    struct reply reply = reply_own(REPLY_LOCAL_PROBLEM);
    session_on_answer(s, &reply);
}

/* The key whose time is over says it. */
static void time_out(struct session *s, bool is_session)
{
    const struct reply reply = reply_own(REPLY_TIMEOUT);

    say_last(s, &reply,
             is_session                                ? "session-timeout"
             : session_wait(s) == SESSION_WAIT_CONTENT ? "data-timeout"
                                                       : "command-timeout");
}

static void on_deadline(struct session *s, bool is_session)
{
    if (s->state == SESSION_NEW && !is_session)
        session_greet(s);
    else if (s->state == SESSION_PENDING && session_wait(s) == SESSION_WAIT_FINAL)
        give_filters_up(s);
    else if (session_wait(s) == SESSION_WAIT_FINAL && s->tx != NULL)
        transaction_feed(s->tx, &(struct event){.kind = EV_DEADLINE});
    else if (s->state != SESSION_CLOSED)
        time_out(s, is_session);
}

static void on_lost(struct session *s)
{
    note_why(s, s->state == SESSION_SECURING ? "tls-failed" : "client-lost");
    if (s->tx != NULL) {
        s->end.why = s->over.why;
        transaction_feed(s->tx, &(struct event){.kind = EV_LOST});
    }
    close_session(s, s->over.why);
    buf_reset(&s->out);
}

static void on_stop(struct session *s, bool is_final)
{
    s->is_stopping = true;
    if (!is_final)
        return;
    if (s->state == SESSION_FINAL && transaction_hurry(s->tx))
        return; /* the client gets its reply, and then 421 */
    note_why(s, reply_name(REPLY_SHUTTING_DOWN));
    if (s->tx != NULL)
        session_abandon(s, s->over.why);
    if (s->state != SESSION_CLOSED)
        session_close_with(s, REPLY_SHUTTING_DOWN);
}

size_t session_feed(struct session *s, const struct session_event *ev)
{
    size_t used = 0;

    if (is_over(s))
        forget_transaction(s);
    switch (ev->kind) {
    case SESSION_EV_BYTES:
        used = feed_bytes(s, ev->bytes);
        break;
    case SESSION_EV_EOF:
        s->is_eof = true;
        break;
    case SESSION_EV_LOST:
        on_lost(s);
        break;
    case SESSION_EV_DEADLINE:
        on_deadline(s, ev->is_final);
        break;
    case SESSION_EV_STOP:
        on_stop(s, ev->is_final);
        break;
    case SESSION_EV_SECURED:
        session_on_secured(s, ev->tls);
        break;
    case SESSION_EV_MECHANISMS:
        session_on_mechanisms(s, ev->mechanisms);
        break;
    case SESSION_EV_AUTHENTICATED:
        session_on_authenticated(s, ev->bytes, &ev->reply);
        break;
    case SESSION_EV_LOGIN_LOST:
        s->peer.auth.is_lost = true;
        break;
    case SESSION_EV_ANSWER:
        session_on_answer(s, &ev->reply);
        break;
    }
    advance(s);
    return used;
}

void session_feed_transaction(struct session *s, const struct event *ev)
{
    if (is_over(s))
        forget_transaction(s);
    if (s->tx != NULL)
        transaction_feed(s->tx, ev);
    if (ev->kind == EV_ROUTED)
        session_on_routed(s, ev->rcpt);
    advance(s);
}

bool session_next(struct session *s, struct session_action *out)
{
    bool has_more = s->todo_count != 0 || !list_is_empty(&s->slots) || s->end.untold != NULL;

    if (s->todo_at == s->todo_count && has_more) {
        s->todo_at = s->todo_count = 0;
        advance(s);
    }
    if (is_over(s)) {
        forget_transaction(s);
        advance(s);
    }
    while (s->todo_at < s->todo_count) {
        *out = s->todo[s->todo_at++];
        if (!session_is_given_up(s, out->kind))
            return true;
    }
    if (s->tx != NULL && transaction_next(s->tx, &out->of_transaction)) {
        out->kind = SESSION_ACT_TRANSACTION;
        if (out->of_transaction.kind == ACT_SETTLED)
            session_tell_outcome(s);
        return true;
    }
    forget_words(s);
    if (s->state != SESSION_CLOSED || s->tx != NULL || s->over.is_closed)
        return false;
    s->over.is_closed = true;
    *out = (struct session_action){.kind = SESSION_ACT_CLOSE};
    return true;
}
