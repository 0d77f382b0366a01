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
    RULE_NO_ARGUMENT = 1 << 4
};

struct session_rule {
    enum verb verb;
    unsigned flags;
    void (*run)(struct session *s, struct bytes argument);
};

const struct session_rule *session_rule_find(enum verb verb);

struct session_held {
    const struct session_rule *rule;
    struct bytes argument;
};

/* Replies in command order. A refusal (4xx, 5xx) is logged, and counted where it is permanent. */
void session_say(struct session *s, enum reply_id id);
/* The answer of a RCPT comes when its recipient has one. False: no memory. */
bool session_say_when_answered(struct session *s, struct recipient *rcpt);

void session_do(struct session *s, const struct session_action *action);
/* Says it and closes, whatever runs. */
void session_close_with(struct session *s, enum reply_id id);
/* The same behind the replies that earlier commands wait for. */
void session_end_with(struct session *s, enum reply_id id);
void session_forget_helo(struct session *s);

/* session_content.c: the content, its end, and what the filters say of it. */
void session_begin_content(struct session *s);
size_t session_feed_content(struct session *s, struct bytes in);
/* The content that still comes goes nowhere; told at its end. */
void session_refuse_message(struct session *s, enum reply_id id);
void session_on_verdict(struct session *s, const struct reply *verdict);
void session_give_up_filters(struct session *s);

#endif
