/* SPDX-License-Identifier: BSD-2-Clause */
/* What session*.c, and nobody else, know of each other. Pure. */
#ifndef POSTERN_SESSION_PRIVATE_H
#define POSTERN_SESSION_PRIVATE_H

#include "proxy/smtp/command.h"
#include "proxy/smtp/session.h"

enum session_rule_flags {
    RULE_IS_JUNK = 1 << 0,    /* does not lead to mail: counted against junk_max */
    RULE_WAITS = 1 << 1,      /* runs when every earlier command has its reply */
    RULE_ENDS_GROUP = 1 << 2, /* RFC 2920: the client must wait for its reply */
    RULE_NEEDS_HELO = 1 << 3,
    RULE_NO_ARGUMENT = 1 << 4,
    RULE_HAS_LINES = 1 << 5 /* 3xx may answer it: then the client's next line is a part of it */
};

/* A command is checked, filters are asked about it, and it proceeds; they all find it in
 * session.command. What is asked stands still until it is answered (SESSION_PENDING). */
struct session_rule {
    enum verb verb;
    unsigned flags;
    enum session_stage stage;
    /* REPLY_OK; or what the client is told instead, and with REPLY_NO_MEMORY the session ends.
     * NULL: nothing to check. */
    enum reply_id (*check)(struct session *s);
    void (*proceed)(struct session *s);
    /* Filters say so; the reply lies in `mail`. NULL: it is told, and that is all. */
    void (*refuse)(struct session *s, const struct reply *reply);
};

const struct session_rule *session_rule_find(enum verb verb);

/* session_command.c: one command from its line to its end. */
void session_run(struct session *s, const struct session_rule *rule, struct bytes argument);
/* Legal when a command runs. It waits for the answer to this. */
void session_wait_for(struct session *s, const struct session_action *question);
/* Its argument outlives the line that it came in. False: no memory, and the session ends. */
bool session_keep_argument(struct session *s);
/* It runs when every earlier command has its reply. */
void session_hold(struct session *s, const struct session_rule *rule, struct bytes argument);
void session_run_held(struct session *s);                    /* legal when it is in SESSION_HELD */
void session_run_line(struct session *s, struct bytes line); /* legal when it is in SESSION_LINE */
void session_forget_command(struct session *s);
/* What resumes it. */
void session_on_answer(struct session *s, const struct reply *reply);
void session_on_routed(struct session *s, const struct recipient *rcpt);

/* Replies in command order. A refusal (4xx, 5xx) is logged, and counted where it is permanent. The
 * reply's words are a constant, or lie in `mail`. */
void session_say(struct session *s, enum reply_id id);
void session_say_reply(struct session *s, const struct reply *reply);
/* The answer of a RCPT comes when its recipient has one. False: no memory. */
bool session_say_when_answered(struct session *s, struct recipient *rcpt);

void session_do(struct session *s, const struct session_action *action);
/* Says it and closes, whatever runs. */
void session_close_with(struct session *s, enum reply_id id);
/* The same behind the replies that earlier commands wait for. */
void session_end_with(struct session *s, enum reply_id id);
void session_forget_helo(struct session *s);

/* session_content.c: the content and its end. */
void session_begin_content(struct session *s);
size_t session_feed_content(struct session *s, struct bytes in);
/* The content that still comes goes nowhere; told at its end. */
void session_refuse_message(struct session *s, enum reply_id id);

#endif
