/* SPDX-License-Identifier: BSD-2-Clause */
/* One command from its line to its end: it is checked, filters are asked, it proceeds. */
#include "proxy/smtp/session_private.h"

void session_forget_command(struct session *s)
{
    s->command = (struct session_command){.rule = NULL};
}

/* After each step: forgets the command unless it waits. */
static void leave(struct session *s)
{
    bool goes_on = s->state == SESSION_PENDING || s->state == SESSION_LINE;

    assert(s->state != SESSION_HELD);
    assert(!goes_on || s->command.rule != NULL);
    if (!goes_on)
        session_forget_command(s);
}

/* ---- waiting ---- */

bool session_keep_argument(struct session *s)
{
    if (arena_copy(&s->mail, s->command.argument, &s->command.argument) == 0)
        return true;
    session_close_with(s, REPLY_NO_MEMORY);
    return false;
}

void session_wait_for(struct session *s, const struct session_action *question)
{
    assert(s->command.rule != NULL && s->state != SESSION_PENDING && s->state != SESSION_CLOSED);
    s->command.waits_for = question->kind;
    s->state = SESSION_PENDING;
    session_do(s, question);
}

static void ask_filters(struct session *s, enum session_stage stage)
{
    if (!session_keep_argument(s))
        return;
    s->command.stage = stage;
    session_wait_for(s, &(struct session_action){.kind = SESSION_ACT_FILTER});
}

void session_filter_line(struct session *s, struct bytes line)
{
    s->command.argument = line;
    ask_filters(s, SESSION_STAGE_LINE);
}

bool session_is_given_up(const struct session *s, enum session_action_kind question)
{
    bool is_question = question == SESSION_ACT_FILTER || question == SESSION_ACT_ROUTE ||
                       question == SESSION_ACT_ETRN || question == SESSION_ACT_MECHANISMS ||
                       question == SESSION_ACT_AUTH;

    return is_question && !session_awaits(s, question);
}

bool session_awaits(const struct session *s, enum session_action_kind question)
{
    return s->state == SESSION_PENDING && s->command.waits_for == question;
}

struct session_question session_question(const struct session *s)
{
    const struct session_command *command = &s->command;

    assert(session_awaits(s, SESSION_ACT_FILTER));
    return (struct session_question){.stage = command->stage,
                                     .text = command->argument,
                                     .transaction = command->tx != NULL ? command->tx : s->tx,
                                     .rcpt = command->rcpt};
}

void session_hold(struct session *s, const struct session_rule *rule, struct bytes argument)
{
    assert(s->command.rule == NULL && !list_is_empty(&s->slots));
    s->command = (struct session_command){.rule = rule, .argument = argument};
    if (session_keep_argument(s))
        s->state = SESSION_HELD;
}

/* ---- running ---- */

static enum reply_id check(struct session *s)
{
    const struct session_command *command = &s->command;

    if (session_lacks_tls(s, command->rule))
        return REPLY_NEED_TLS;
    if ((command->rule->flags & RULE_NEEDS_HELO) && s->client.helo.len == 0)
        return REPLY_NEED_HELO;
    if ((command->rule->flags & RULE_NO_ARGUMENT) && command->argument.len != 0)
        return REPLY_NO_ARGUMENT;
    return command->rule->check == NULL ? REPLY_OK : command->rule->check(s);
}

static void run(struct session *s)
{
    const struct session_rule *rule = s->command.rule;
    enum reply_id id;

    if (rule->verb != VERB_BDAT)
        s->chunk.failed = REPLY_OK;
    if ((rule->flags & RULE_IS_JUNK) && ++s->counts.junk > s->conf->junk_max)
        session_end_with(s, REPLY_TOO_MUCH_JUNK);
    else if ((id = check(s)) == REPLY_NO_MEMORY)
        session_close_with(s, id);
    else if (id != REPLY_OK)
        session_say(s, id);
    else if ((s->conf->asks & (1U << rule->stage)) != 0 && rule->stage != SESSION_STAGE_NONE)
        ask_filters(s, rule->stage);
    else
        rule->proceed(s);
    leave(s);
}

void session_run(struct session *s, const struct session_rule *rule, struct bytes argument)
{
    assert(s->command.rule == NULL);
    s->command = (struct session_command){.rule = rule, .argument = argument};
    run(s);
}

void session_run_held(struct session *s)
{
    assert(s->state == SESSION_HELD && s->command.rule != NULL);
    s->state = SESSION_COMMANDS;
    run(s);
}

void session_run_line(struct session *s, struct bytes line)
{
    assert(s->state == SESSION_LINE);
    s->state = SESSION_COMMANDS;
    s->command.rule->line(s, line);
    leave(s);
}

/* ---- answers ---- */

static void tell(struct session *s, const struct reply *answer)
{
    const struct session_rule *rule = s->command.rule;
    struct reply kept;

    if (reply_copy(&s->mail, answer, &kept) != 0)
        kept = reply_own(REPLY_LOCAL_PROBLEM);
    if (kept.code == 421)
        session_hang_up(s, &kept);
    else if (rule->refuse != NULL)
        rule->refuse(s, &kept);
    else
        session_say_reply(s, &kept);
    if (kept.code / 100 == 3 && s->state == SESSION_COMMANDS) /* the reply may have closed it */
        s->state = SESSION_LINE;
}

void session_on_answer(struct session *s, const struct reply *answer)
{
    if (s->state != SESSION_PENDING)
        return;
    const struct session_rule *rule = s->command.rule;
    assert(s->command.waits_for != SESSION_ACT_ROUTE);
    assert(answer->code != 0 || s->command.waits_for == SESSION_ACT_FILTER ||
           s->command.waits_for == SESSION_ACT_MECHANISMS);
    assert(answer->code / 100 != 3 || rule->line != NULL);
    assert(answer->code / 100 != 2 || rule->refuse == NULL);
    session_forget_response(s);
    s->state = SESSION_COMMANDS;
    if (answer->code == 0)
        rule->proceed(s);
    else
        tell(s, answer);
    leave(s);
}

void session_on_routed(struct session *s, const struct recipient *rcpt)
{
    if (s->state != SESSION_PENDING || s->command.rcpt != rcpt)
        return;
    assert(s->command.waits_for == SESSION_ACT_ROUTE);
    s->state = SESSION_COMMANDS;
    leave(s);
}
